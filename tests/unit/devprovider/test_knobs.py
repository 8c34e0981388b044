from typing import Any

import pytest
from tests.unit.devprovider.prompts import (
    INTEGER,
    OUTLINE,
    OUTLINE_SIZES,
    TEXT,
    answer,
    as_item,
    closed,
    items_schema,
    many,
    messages,
    user_text,
)

from aifactory.granulation.item_rules import check_item
from aifactory.granulation.objective_rules import check_objective
from aifactory.granulation.tree import Bloom
from devprovider.settings import Settings, SettingsError, changed
from devprovider.writing.answering import write
from devprovider.writing.flaws import FLAWS

# The knob, the kind of item, and the product's rule that finds it.
ITEM_KNOBS = [
    ("items.two_keys", "single", "item.one_key"),
    ("items.no_key", "single", "item.one_key"),
    ("items.no_key", "multi", "item.no_key"),
    ("items.longest_key", "single", "item.longest_key"),
    ("items.all_of_the_above", "single", "item.all_or_none"),
    ("items.absolute_words", "single", "item.absolute"),
    ("items.duplicate_option", "single", "item.duplicate_option"),
    ("items.option_article", "single", "item.option_article"),
    ("items.blank_option", "multi", "item.blank_option"),
    ("items.option_count", "single", "item.option_count"),
    ("items.no_rationale", "single", "item.rationale"),
    ("items.negative_stem", "single", "item.negative_stem"),
    ("items.double_negative", "single", "item.double_negative"),
    ("items.stem_form", "single", "item.stem_form"),
    ("items.stem_too_long", "short", "item.long_stem"),
    ("items.lead_in", "single", "item.lead_in"),
    ("items.two_clauses", "true_false", "item.two_clauses"),
    ("items.no_objective", "cloze", "item.no_objective"),
    ("items.incomplete", "order", "item.incomplete"),
    ("items.no_gap", "cloze", "item.incomplete"),
]
OBJECTIVE_KNOBS = [
    ("objectives.vague_verb", "objective.vague_verb"),
    ("objectives.two_verbs", "objective.two_verbs"),
    ("objectives.too_short", "objective.length"),
    ("objectives.too_long", "objective.length"),
    ("objectives.no_condition", "objective.condition"),
    ("objectives.no_degree", "objective.degree"),
    ("objectives.wrong_bloom", "objective.bloom"),
]
OUTLINE_TEXT = user_text("Plan a course.", OUTLINE_SIZES)


def outline(**quality: float) -> Any:
    return answer(
        OUTLINE_TEXT, OUTLINE, quality={name.replace("__", "."): rate for name, rate in quality.items()}
    )


def items(kind: str, quality: dict[str, float], count: int = 6) -> list[dict[str, Any]]:
    made = answer(user_text("Write items.", {"items": count}), items_schema(kind), quality=quality)
    return list(made["items"])


def rules_of(item: dict[str, Any]) -> set[str]:
    return {flaw[0] for flaw in check_item(as_item(item), "en")}


@pytest.mark.parametrize(("knob", "kind", "rule"), ITEM_KNOBS)
def test_an_item_knob_breaks_its_rule_in_every_item_and_only_when_it_is_on(
    knob: str, kind: str, rule: str
) -> None:
    assert all(rule in rules_of(item) for item in items(kind, {knob: 1}))
    assert all(rule not in rules_of(item) for item in items(kind, {knob: 0}))


def test_a_wrong_key_is_right_in_form_and_false_by_the_source() -> None:
    good, bad = items("single", {}), items("single", {"items.wrong_key": 1})
    for one, other in zip(good, bad, strict=True):
        assert rules_of(other) == set()
        keys = [[option["text"] for option in item["options"] if option["correct"]] for item in (one, other)]
        assert len(keys[1]) == 1
        assert keys[0] != keys[1]


def test_the_key_comes_first_when_asked_and_anywhere_when_not() -> None:
    first = [item["options"][0]["correct"] for item in items("single", {"items.key_first": 1}, 10)]
    usual = [item["options"][0]["correct"] for item in items("single", {}, 10)]
    assert all(first)
    assert not all(usual)


def test_every_item_knob_is_shown_to_break_something() -> None:
    shown = {knob for knob, _, _ in ITEM_KNOBS} | {"items.wrong_key", "items.key_first"}
    assert shown == {name for name in FLAWS if name.startswith("items.")}
    objectives = {name for name in FLAWS if name.startswith("objectives.")}
    assert {knob for knob, _ in OBJECTIVE_KNOBS} == objectives


@pytest.mark.parametrize(("knob", "rule"), OBJECTIVE_KNOBS)
def test_an_objective_knob_breaks_its_rule_in_every_objective(knob: str, rule: str) -> None:
    made = answer(OUTLINE_TEXT, OUTLINE, quality={knob: 1})
    for one in made["outcomes"]:
        found = {flaw[0] for flaw in check_objective(one["text"], Bloom(one["bloom"]), "en")}
        assert rule in found, one


def test_a_rate_is_kept_roughly_and_the_same_prompt_breaks_the_same_places() -> None:
    made = items("single", {"items.two_keys": 0.4}, 60)
    broken = ["item.one_key" in rules_of(item) for item in made]
    assert 12 <= sum(broken) <= 36
    assert broken == [
        "item.one_key" in rules_of(item) for item in items("single", {"items.two_keys": 0.4}, 60)
    ]


def test_the_flaws_that_were_made_are_told() -> None:
    made = write(messages(OUTLINE_TEXT), OUTLINE, quality={"summaries.empty": 1}).flaws
    assert made == tuple(f"summaries.empty {place}" for place in ("", *(f"/nodes/{n}" for n in range(5))))


def test_titles_are_repeated() -> None:
    assert len({node["title"] for node in outline(titles__duplicate=1)["nodes"]}) == 1


def test_titles_get_too_long() -> None:
    assert all(len(node["title"]) > 120 for node in outline(titles__too_long=1)["nodes"])


def test_summaries_are_left_empty() -> None:
    assert all(node["summary"] == "" for node in outline(summaries__empty=1)["nodes"])


def test_summaries_get_too_long() -> None:
    assert all(len(node["summary"]) > 400 for node in outline(summaries__too_long=1)["nodes"])


def test_summaries_are_repeated() -> None:
    assert len({node["summary"] for node in outline(summaries__repeated=1)["nodes"]}) == 1


def test_labels_are_invented() -> None:
    lines = OUTLINE_TEXT
    cited = [label for node in outline(sources__fake=1)["nodes"] for label in node["sources"]]
    assert cited
    assert not [label for label in cited if f"[{label}]" in lines]


def test_labels_are_left_out() -> None:
    assert all(node["sources"] == [] for node in outline(sources__none=1)["nodes"])


def test_modules_require_later_ones() -> None:
    nodes = outline(requires__later=1)["nodes"]
    assert [node["requires"] for node in nodes[:-1]] == [["m5"]] * 4


def test_lists_come_short() -> None:
    made = outline(counts__short=1)
    assert len(made["nodes"]) < 5
    assert all(len(node["children"]) < 3 for node in made["nodes"])


def test_minutes_leave_their_range() -> None:
    schema = closed(nodes=many(closed(title=TEXT, minutes=INTEGER)))
    made = answer(user_text("Plan.", {"nodes": 3}), schema, quality={"minutes.out_of_range": 1})
    assert [node["minutes"] for node in made["nodes"]] == [95, 95, 95]


def test_an_unknown_knob_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(SettingsError, match=r"items\.two_keys"):
        changed(Settings(), {"quality": {"items.two_kings": 1}})
    with pytest.raises(SettingsError, match="more than 1"):
        changed(Settings(), {"faults": {"hang": 0.6, "drop": 0.6}})
    with pytest.raises(SettingsError):
        changed(Settings(), {"faults": {"hang": 1.5}})
