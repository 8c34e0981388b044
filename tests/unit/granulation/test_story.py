"""What is found wrong with a plot, and what its score makes of it."""

import pytest
from tests.unit.granulation.changes import Plain, at, findings, sub_score
from tests.unit.granulation.trees_novel import novel_tree

from aifactory.granulation.rules_source import MandatoryObject
from aifactory.granulation.violations import Severity


def fields(plain: Plain, name: str) -> Plain:
    return at(plain, name)["fields"]


def swap_ledger(plain: Plain) -> None:
    fields(plain, "a1c1s1")["opens"], fields(plain, "a2c3s1")["closes"] = [], []
    fields(plain, "a1c1s1")["closes"], fields(plain, "a2c3s1")["opens"] = ["ledger"], ["ledger"]


CASES = [
    ("story.thread_open", Severity.ERROR, lambda p: fields(p, "a2c3s1").pop("closes"), "/fields/threads/0"),
    (
        "story.thread_unopened",
        Severity.ERROR,
        lambda p: fields(p, "a1c1s1").pop("opens"),
        "/fields/threads/0",
    ),
    ("story.thread_early", Severity.ERROR, swap_ledger, "/fields/threads/0"),
    (
        "story.thread_early",
        Severity.ERROR,
        lambda p: fields(p, "a2c3s1").update(opens=["ledger"]) or fields(p, "a1c1s1").update(opens=[]),
        "/fields/threads/0",
    ),
    (
        "story.thread_again",
        Severity.WARNING,
        lambda p: fields(p, "a3c1s1").update(closes=["ledger"]),
        "/fields/threads/0",
    ),
    (
        "story.pov_absent",
        Severity.WARNING,
        lambda p: fields(p, "a1c1").update(pov="jonas"),
        "/nodes/0/children/0/fields/pov",
    ),
    ("story.words", Severity.ERROR, lambda p: p["fields"].update(targetWords=20_000), "/fields/targetWords"),
    (
        "story.words",
        Severity.ERROR,
        lambda p: fields(p, "a2").update(targetWords=4_000),
        "/nodes/1/fields/targetWords",
    ),
    (
        "ids.unused",
        Severity.WARNING,
        lambda p: p["fields"]["cast"].append({"id": "pal", "name": "Pal", "role": "Friend"}),
        "/fields/cast/3",
    ),
    (
        "ids.unused",
        Severity.WARNING,
        lambda p: p["fields"]["places"].append({"id": "pub", "name": "Pub"}),
        "/fields/places/3",
    ),
    (
        "ids.closed",
        Severity.GATE,
        lambda p: fields(p, "a1c1s1").update(cast=["ghost"]),
        "/nodes/0/children/0/children/0/fields/cast/0",
    ),
    (
        "ids.closed",
        Severity.GATE,
        lambda p: fields(p, "a1c1s1").update(place="ada"),
        "/nodes/0/children/0/children/0/fields/place",
    ),
]


@pytest.mark.parametrize(("rule", "severity", "change", "pointer"), CASES)
def test_a_broken_rule_is_found_in_a_plot_at_its_place(rule, severity, change, pointer):
    assert findings(novel_tree()) == []
    assert (rule, severity, pointer) in findings(novel_tree(), change)


def test_words_may_miss_their_target_by_a_tenth():
    total = novel_tree().fields["targetWords"]
    for target, is_kept in ((total * 10 // 11 + 1, True), (total * 10 // 9, True), (total * 9 // 10, False)):
        found = findings(novel_tree(), lambda p, target=target: p["fields"].update(targetWords=target))
        assert ("story.words" not in {rule for rule, _, _ in found}) is is_kept


def test_a_loose_thread_and_an_idle_cast_cost_closure_and_order():
    def loose(plain: Plain) -> None:
        fields(plain, "a2c3s1").pop("closes")

    def crowd(plain: Plain) -> None:
        plain["fields"]["cast"] += [{"id": f"x{n}", "name": f"X{n}", "role": "None"} for n in range(9)]

    assert sub_score(novel_tree(), "alignment") == sub_score(novel_tree(), "order") == 1
    assert sub_score(novel_tree(), "order", loose) == pytest.approx(2 / 3)
    assert sub_score(novel_tree(), "alignment", loose) == pytest.approx(5 / 6)
    assert sub_score(novel_tree(), "alignment", crowd) == pytest.approx((1 + 9 / 18) / 2)
    assert sub_score(novel_tree(), "form", loose) < sub_score(novel_tree(), "form")


@pytest.mark.parametrize(
    ("wanted", "is_missing"),
    [
        (MandatoryObject(name="Jonas Vik", kind="character"), False),
        (MandatoryObject(name="jonas vik", where="character"), False),
        (MandatoryObject(name="Jonas Vik", where="cast"), False),
        (MandatoryObject(name="Jonas Vik", where="place"), True),
        (MandatoryObject(name="Jonas Vik", where="1.3.1"), False),
        (MandatoryObject(name="Jonas Vik", where="1.1"), True),
        (MandatoryObject(name="The reef at low tide", where="act"), True),
        (MandatoryObject(name="The reef at low tide", where="scene"), False),
        (MandatoryObject(name="jonas", where="1.1.1"), True),
        (MandatoryObject(name="Ahab"), True),
    ],
)
def test_mandatory_objects_may_be_declared_at_the_root_and_are_where_they_are_referred_to(wanted, is_missing):
    found = findings(novel_tree(), objects=(wanted,))
    assert ("object.missing" in {rule for rule, _, _ in found}) is is_missing


@pytest.mark.parametrize("value", [None, 5, True, "x", [], {}, [[]], [{"id": 1}], [{"id": "a"}, {"id": "a"}]])
@pytest.mark.parametrize("name", ["cast", "places", "threads", "targetWords"])
def test_root_objects_of_any_shape_are_checked_without_a_crash(name, value):
    findings(novel_tree(), lambda plain: plain["fields"].update({name: value}))


@pytest.mark.parametrize("value", [None, -1, True, "x", [], {}, [[]], [{"id": 1}]])
@pytest.mark.parametrize("name", ["cast", "place", "opens", "closes", "words"])
def test_fields_of_scenes_of_any_shape_are_checked_without_a_crash(name, value):
    findings(novel_tree(), lambda plain: fields(plain, "a1c1s1").update({name: value}))
