from typing import Any

import msgspec
import pytest
from tests.unit.devprovider.prompts import PATCHES, answer, as_item, items_schema, user_text

from aifactory.granulation.item_rules import check_item
from aifactory.granulation.objective_rules import check_objective
from aifactory.granulation.tree import Bloom

ITEM_FLAWS = [
    ("single", "items.two_keys"),
    ("single", "items.no_key"),
    ("single", "items.duplicate_option"),
    ("single", "items.option_article"),
    ("single", "items.blank_option"),
    ("single", "items.option_count"),
    ("single", "items.no_rationale"),
    ("single", "items.double_negative"),
    ("single", "items.all_of_the_above"),
    ("single", "items.absolute_words"),
    ("single", "items.longest_key"),
    ("multi", "items.no_key"),
    ("true_false", "items.two_clauses"),
    ("single", "items.stem_too_long"),
    ("single", "items.lead_in"),
    ("single", "items.stem_form"),
    ("single", "items.negative_stem"),
    ("short", "items.incomplete"),
    ("order", "items.incomplete"),
    ("essay", "items.incomplete"),
]


def problem(path: str, rule: str, message: str, value: Any) -> dict[str, Any]:
    return {"path": path, "rule": rule, "message": message, "value": value}


def patched(
    *problems: dict[str, Any], quality: dict[str, float] | None = None, task: str = "Patch."
) -> list[Any]:
    lines = "# Problems\n" + "\n".join(msgspec.json.encode(one).decode() for one in problems)
    text = user_text(task, {"patches": len(problems)}, sections=lines)
    patches = answer(text, PATCHES, quality=quality or {})["patches"]
    assert [one["path"] for one in patches] == [one["path"] for one in problems]
    return [msgspec.json.decode(one["valueJson"]) for one in patches]


@pytest.mark.parametrize(("kind", "knob"), ITEM_FLAWS)
def test_a_flaw_of_an_item_is_gone_after_its_patch(kind: str, knob: str) -> None:
    text = user_text("Write items.", {"items": 3})
    for item in answer(text, items_schema(kind), quality={knob: 1})["items"]:
        flaws = check_item(as_item(item), "en")
        assert flaws
        # An option is judged beside the others, so all of them are shown, as the product does.
        asked: dict[str, dict[str, Any]] = {}
        for rule, _, message, pointer in flaws:
            name = pointer.split("/")[1]
            asked.setdefault(name, problem(f"/nodes/0/fields/items/0/{name}", rule, message, item[name]))
        for name, value in zip(asked, patched(*asked.values()), strict=True):
            item[name] = value
        left = {flaw[0] for flaw in check_item(as_item(item), "en")}
        assert not left & {flaw[0] for flaw in flaws}, item


@pytest.mark.parametrize(
    ("text", "rule", "message", "bloom"),
    [
        ("Understand the filter.", "objective.vague_verb", "'understand' cannot be observed", "understand"),
        (
            "List three facts about the filter using notes.",
            "objective.bloom",
            "'list' is a verb of remember, not of evaluate",
            "evaluate",
        ),
    ],
)
def test_an_objective_is_written_anew(text: str, rule: str, message: str, bloom: str) -> None:
    (value,) = patched(problem("/nodes/0/fields/objectives/1/text", rule, message, text))
    assert check_objective(value, Bloom(bloom), "en") == []


def test_a_title_becomes_unlike_those_that_are_taken() -> None:
    old = problem("/nodes/1/title", "text.sibling_title", "The sibling 1 has the same title", "Clean water")
    (first,) = patched(old)
    (second,) = patched(old, task=f"Patch.\nTitles already taken: {first}; Other")
    assert first != "Clean water"
    assert second not in (first, "Clean water")


def test_a_summary_is_written_and_one_too_long_is_cut() -> None:
    empty, long = patched(
        problem("/nodes/0/summary", "text.summary_missing", "The summary is empty", ""),
        problem("/nodes/1/summary", "text.summary_length", "at most 120 are allowed", "Water " * 100),
    )
    assert len(empty.split()) > 5
    assert 10 < len(long) <= 120
    assert empty != long


def test_a_number_comes_back_into_its_range_and_keeps_its_type() -> None:
    (value,) = patched(problem("/nodes/0/minutes", "load.minutes", "95 minutes; a leaf takes 3 to 12", 95))
    assert isinstance(value, int)
    assert 3 <= value <= 12


def test_a_useless_repair_gives_the_old_value_again() -> None:
    old = problem("/nodes/0/title", "text.sibling_title", "same", "Clean water")
    assert patched(old, quality={"repairs.useless": 1}) == ["Clean water"]
