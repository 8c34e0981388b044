"""What is found wrong with a learning path and with hand-over targets, and what the score makes of it."""

import pytest
from tests.unit.granulation.changes import Plain, at, findings, sub_score
from tests.unit.granulation.trees_path import path_tree

from aifactory.granulation.violations import Severity


def fields(plain: Plain, name: str) -> Plain:
    return at(plain, name)["fields"]


CASES = [
    (
        "skill.no_rise",
        Severity.ERROR,
        lambda p: fields(p, "m1s1").update(to=0),
        "/nodes/0/children/0/fields/to",
    ),
    ("skill.no_rise", Severity.ERROR, lambda p: p["fields"].update(targetLevel=0), "/fields/targetLevel"),
    ("skill.short", Severity.WARNING, lambda p: p["fields"].update(targetLevel=5), "/fields/targetLevel"),
    ("workload.over", Severity.WARNING, lambda p: fields(p, "m2").update(weeks=0.5), "/nodes/1/fields/weeks"),
    ("workload.under", Severity.WARNING, lambda p: fields(p, "m2").update(weeks=2), "/nodes/1/fields/weeks"),
    (
        "handover.type",
        Severity.WARNING,
        lambda p: fields(p, "m1").update(targetWords="many"),
        "/nodes/0/fields/targetWords",
    ),
    ("handover.type", Severity.WARNING, lambda p: fields(p, "m1").update(tone=3), "/nodes/0/fields/tone"),
    (
        "handover.type",
        Severity.WARNING,
        lambda p: fields(p, "m1").update(priority=True),
        "/nodes/0/fields/priority",
    ),
    (
        "handover.bounds",
        Severity.WARNING,
        lambda p: fields(p, "m1").update(priority=6),
        "/nodes/0/fields/priority",
    ),
    ("handover.bounds", Severity.WARNING, lambda p: fields(p, "m1").update(tone=" "), "/nodes/0/fields/tone"),
    (
        "handover.bounds",
        Severity.WARNING,
        lambda p: p["fields"].update(estimatedMinutes=0),
        "/fields/estimatedMinutes",
    ),
    (
        "order.late",
        Severity.ERROR,
        lambda p: fields(p, "m1").update(requires=["m2"]),
        "/nodes/0/fields/requires/0",
    ),
    (
        "bounds.field",
        Severity.ERROR,
        lambda p: fields(p, "m1s1").update(to=6),
        "/nodes/0/children/0/fields/to",
    ),
]


@pytest.mark.parametrize(("rule", "severity", "change", "pointer"), CASES)
def test_a_broken_rule_is_found_in_a_path_at_its_place(rule, severity, change, pointer):
    assert findings(path_tree()) == []
    assert (rule, severity, pointer) in findings(path_tree(), change)


def test_good_handover_targets_are_no_fault():
    targets = {"targetWords": 1200, "tone": "plain and warm", "priority": 1, "estimatedMinutes": 45}
    assert (
        findings(path_tree(), lambda p: fields(p, "m1s1").update(targets) or p["fields"].update(targets))
        == []
    )


def test_evidence_and_activities_about_something_else_cost_alignment():
    def elsewhere(plain: Plain) -> None:
        fields(plain, "m1s1")["evidence"] = "Lists seven planets from memory"

    def idle(plain: Plain) -> None:
        for child in at(plain, "m1s1")["children"]:
            child.update(title="Planets", summary="Name seven planets.")
            child["fields"] = {"activityKind": "read", "deliverable": "Sketches"}

    assert sub_score(path_tree(), "alignment") == 1
    assert sub_score(path_tree(), "alignment", elsewhere) == pytest.approx(1 - 1 / 24)
    assert sub_score(path_tree(), "alignment", idle) == pytest.approx(1 - 1 / 24)


@pytest.mark.parametrize("value", [None, -1, True, "x", [], {}, [[]], 1e308])
@pytest.mark.parametrize(
    "name", ["from", "to", "evidence", "weeks", "requires", "hoursPerWeek", "targetLevel"]
)
def test_fields_of_any_shape_are_checked_without_a_crash(name, value):
    def change(plain: Plain) -> None:
        for holder in (fields(plain, "m1"), fields(plain, "m1s1"), plain["fields"]):
            holder[name] = value

    findings(path_tree(), change)
