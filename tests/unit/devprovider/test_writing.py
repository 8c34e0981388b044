import subprocess
import sys
from typing import Any

import jsonschema_rs
import pytest
from tests.unit.devprovider.prompts import (
    EXPANSION,
    EXPANSION_SIZES,
    ITEM_SCHEMAS,
    OBJECTIVE_KEYS,
    OUTLINE,
    OUTLINE_SIZES,
    TEXT,
    answer,
    as_item,
    closed,
    items_schema,
    many,
    messages,
    one_of,
    passages,
    user_text,
)

from aifactory.granulation.item_rules import check_item
from aifactory.granulation.objective_rules import check_objective
from aifactory.granulation.rules_cards import Card, check_card
from aifactory.granulation.tree import Bloom
from devprovider.writing.answering import write

SOURCES = ("drinking-water.md", "sourdough.md", "balance-sheet.md", "")


def material(name: str) -> tuple[str, ...]:
    return passages(name) if name else ()


def outline_text(name: str = "drinking-water.md") -> str:
    return user_text("Plan a course of 5 modules.", OUTLINE_SIZES, source=material(name))


def expansion_text(outline: dict[str, Any]) -> str:
    lines = ["# Outline", "Title: Water", "o1 (apply) Use the {p} given the text."]
    for node in outline["nodes"]:
        lines.append(f"{node['key']} {node['title']}")
        lines += [f"  {node['key']}.c{n} {one['title']}" for n, one in enumerate(node["children"], 1)]
    return user_text("Write the inside of the module m2.", EXPANSION_SIZES, sections="\n".join(lines))


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_outline_has_the_sizes_and_keys_that_were_asked_for(name: str, seed: int) -> None:
    made = answer(outline_text(name), OUTLINE, seed=seed)
    jsonschema_rs.validate(OUTLINE, made)
    assert len(made["outcomes"]) == 4
    assert [node["key"] for node in made["nodes"]] == ["m1", "m2", "m3", "m4", "m5"]
    assert all(len(node["objectives"]) == 3 and len(node["children"]) == 3 for node in made["nodes"])


@pytest.mark.parametrize("name", SOURCES)
def test_titles_are_three_to_eight_words_and_unlike_any_other(name: str) -> None:
    made = answer(outline_text(name), OUTLINE)
    titles = [node["title"] for node in made["nodes"]]
    titles += [child["title"] for node in made["nodes"] for child in node["children"]]
    assert all(3 <= len(title.split()) <= 8 for title in titles)
    assert len({title.lower() for title in titles}) == len(titles)


def test_modules_cite_passages_of_their_own_and_say_what_they_say() -> None:
    made = answer(outline_text(), OUTLINE)
    lines = {f"s{number}": line for number, line in enumerate(passages(), 1)}
    cited = [label for node in made["nodes"] for label in node["sources"]]
    assert len(set(cited)) == len(cited) >= 5
    for node in made["nodes"]:
        assert any(lines[label].split(",")[0][:40] in node["summary"] for label in node["sources"])


def test_modules_require_only_earlier_ones_and_serve_every_outcome() -> None:
    for seed in range(10):
        made = answer(outline_text(), OUTLINE, seed=seed)
        for position, node in enumerate(made["nodes"]):
            assert all(int(key[1:]) <= position for key in node["requires"])
        served = {one for node in made["nodes"] for o in node["objectives"] for one in o["outcomeIds"]}
        assert served == {"o1", "o2", "o3", "o4"}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_objectives_break_no_rule(name: str, seed: int) -> None:
    made = answer(outline_text(name), OUTLINE, seed=seed)
    for one in [*made["outcomes"], *(o for node in made["nodes"] for o in node["objectives"])]:
        assert check_objective(one["text"], Bloom(one["bloom"]), "en") == [], one["text"]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ITEM_SCHEMAS)
def test_items_of_every_kind_break_no_rule(kind: str, seed: int, name: str) -> None:
    text = user_text("Write items.", {"items": 4}, source=material(name))
    made = answer(text, items_schema(kind), seed=seed)
    jsonschema_rs.validate(items_schema(kind), made)
    assert [item["kind"] for item in made["items"]] == [kind] * 4
    for item in made["items"]:
        assert check_item(as_item(item), "en") == [], item


def test_a_single_choice_is_keyed_by_the_passage_that_it_cites() -> None:
    lines = {f"s{number}": line for number, line in enumerate(passages(), 1)}
    made = answer(user_text("Write items.", {"items": 8}), items_schema("single"))
    for item in made["items"]:
        quoted = " ".join(lines[label] for label in item["sources"]).lower()
        key = [option["text"].lower() for option in item["options"] if option["correct"]]
        wrong = [option["text"].lower() for option in item["options"] if not option["correct"]]
        assert len(key) == 1
        assert key[0] in quoted
        assert not [text for text in wrong if text in quoted]


def test_items_of_all_kinds_use_every_objective_and_its_level() -> None:
    section = "# Objectives\n" + "\n".join(f"{key} (apply) Use it given the text." for key in OBJECTIVE_KEYS)
    made = answer(user_text("Write items.", {"items": 20}, sections=section), items_schema())
    jsonschema_rs.validate(items_schema(), made)
    assert {item["kind"] for item in made["items"]} == set(ITEM_SCHEMAS)
    assert {key for item in made["items"] for key in item["objectiveIds"]} == set(OBJECTIVE_KEYS)
    assert {item["bloom"] for item in made["items"]} == {"apply"}


def test_an_expansion_follows_the_outline() -> None:
    outline = answer(outline_text(), OUTLINE)
    made = answer(expansion_text(outline), EXPANSION)
    jsonschema_rs.validate(EXPANSION, made)
    children = made["children"]
    assert [child["key"] for child in children] == ["m2.c1", "m2.c2", "m2.c3"]
    assert all(len(child["keyPoints"]) == 4 and len(child["children"]) == 2 for child in children)
    assert made["assessment"]["objectiveIds"] == ["m2.o1", "m2.o2", "m2.o3"]
    practised = {key for child in children for one in child["children"] for key in one["objectiveIds"]}
    assert practised == {"m2.o1", "m2.o2", "m2.o3"}
    assert all(3 <= one["minutes"] <= 12 for child in children for one in child["children"])
    introduced: set[str] = set()
    for child in children:
        assert set(child["needs"]) <= introduced
        introduced |= set(child["introduces"])
    assert any(child["needs"] for child in children)


def test_two_modules_are_written_from_different_passages() -> None:
    outline = answer(outline_text(), OUTLINE)
    text = expansion_text(outline)
    one = answer(text, EXPANSION)
    other = answer(text.replace("module m2", "module m4"), EXPANSION)
    cited = [{label for child in made["children"] for label in child["sources"]} for made in (one, other)]
    assert cited[0].isdisjoint(cited[1])


@pytest.mark.parametrize("kind_name", ["kind", "cardKind"])
def test_cards_break_no_rule(kind_name: str) -> None:
    card = closed(
        front=TEXT, back=TEXT, **{kind_name: one_of("basic", "reversed", "cloze")}, sources=many(TEXT)
    )
    made = answer(user_text("Write cards.", {"children": 9}), closed(children=many(card)))
    lines = {f"s{number}": line for number, line in enumerate(passages(), 1)}
    assert len({one["front"] for one in made["children"]}) == 9
    assert {one[kind_name] for one in made["children"]} == {"basic", "reversed", "cloze"}
    for one in made["children"]:
        quotes = tuple(lines[label] for label in one["sources"])
        checked = Card(
            owner=0, pointer="", kind=one[kind_name], front=one["front"], back=one["back"], quotes=quotes
        )
        assert check_card(checked, "en") == [], one


def test_claims_stand_in_the_passage_that_they_cite() -> None:
    schema = closed(points=many(closed(claim=TEXT, sources=many(TEXT))))
    lines = {f"s{number}": line for number, line in enumerate(passages(), 1)}
    made = answer(user_text("State claims.", {"points": 6}), schema)
    for point in made["points"]:
        assert [lines[label] for label in point["sources"]] == [point["claim"]]


def test_without_a_source_nothing_is_cited() -> None:
    made = answer(outline_text(""), OUTLINE)
    assert all(node["sources"] == [] for node in made["nodes"])


def test_a_plain_message_fills_any_schema_with_its_own_words() -> None:
    schema = closed(
        title=TEXT,
        mood=one_of("calm", "busy"),
        count={"type": "integer", "minimum": 40, "maximum": 42},
        short={"type": "string", "maxLength": 12},
        parts={"type": "array", "items": closed(name=TEXT), "minItems": 2, "maxItems": 2},
        maybe={"anyOf": [closed(deep=many(TEXT)), {"type": "null"}]},
    )
    made = answer("Bees make honey in a wooden hive. The keeper moves the hive in early spring.", schema)
    jsonschema_rs.validate(schema, made)
    assert "hive" in str(made)
    assert 40 <= made["count"] <= 42
    assert len(made["short"]) <= 12


def test_definitions_and_references_are_followed() -> None:
    inner = {"$defs": {"Part": closed(key=TEXT, title=TEXT)}}
    schema = closed(nodes=many({"$ref": "#/$defs/Part"})) | inner
    made = answer(user_text("Plan.", {"nodes": 2}), schema)
    jsonschema_rs.validate(schema, made)
    assert [node["key"] for node in made["nodes"]] == ["m1", "m2"]


def test_the_schema_may_stand_in_the_prompt() -> None:
    section = '# Schema\n```json\n{"type": "object", "properties": {"title": {"type": "string"}}}\n```'
    assert set(answer(user_text("Plan.", sections=section), None)) == {"title"}


def test_the_same_prompt_has_the_same_answer_and_another_seed_another_one() -> None:
    first = write(messages(outline_text()), OUTLINE, seed=1).text
    assert write(messages(outline_text()), OUTLINE, seed=1).text == first
    assert write(messages(outline_text()), OUTLINE, seed=2).text != first


def test_an_answer_does_not_depend_on_the_hash_seed() -> None:
    script = (
        "from tests.unit.devprovider.prompts import *\n"
        "print(write(messages(user_text('Plan.', OUTLINE_SIZES)), OUTLINE).text)\n"
        "print(write(messages(user_text('Items.', {'items': 12})), items_schema()).text)\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(texts) == 1
    assert texts.pop()
