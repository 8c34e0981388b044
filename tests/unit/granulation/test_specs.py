from typing import Any

import msgspec
import pytest

from aifactory.granulation.scoring.total import _SUB_SCORES
from aifactory.granulation.sizes import resolve_counts
from aifactory.granulation.specs import (
    LEVEL_RULES,
    SUB_SCORES,
    TREE_RULES,
    SpecError,
    builtin_specs,
    load_spec,
)
from aifactory.granulation.specs.model import FIELDS_OF_RULES, ROOT_FIELDS_OF_RULES
from aifactory.granulation.tree import Tree
from aifactory.granulation.validation import _BY_LEVEL, _BY_NAME, validate


def plain(name: str = "course") -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(builtin_specs()[name]))


def problems(spec: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as refusal:
        load_spec(msgspec.json.encode(spec))
    return "\n".join(refusal.value.problems)


NAMES = (
    "course",
    "quiz",
    "flashcards",
    "document",
    "learning_path",
    "knowledge_map",
    "workflow",
    "novel",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_builtin_type_survives_a_round_trip(name):
    assert load_spec(msgspec.json.encode(plain(name))) == builtin_specs()[name]


COLUMNS = ("course", "quiz", "learning_path", "knowledge_map", "workflow", "novel", "document")
# The table of the design, a line for each sub-score.
WEIGHTS = {
    "coverage": (0.22, 0.20, 0.20, 0.26, 0.14, 0.10, 0.30),
    "alignment": (0.20, 0.15, 0.20, 0.12, 0.20, 0.22, 0.10),
    "order": (0.12, 0, 0.18, 0.18, 0.22, 0.12, 0.08),
    "nonRedundancy": (0.12, 0.12, 0.12, 0.16, 0.10, 0.14, 0.16),
    "balance": (0.10, 0.08, 0.10, 0.12, 0.10, 0.12, 0.10),
    "form": (0.10, 0.05, 0.12, 0.10, 0.16, 0.20, 0.08),
    "itemQuality": (0.08, 0.34, 0, 0, 0, 0, 0),
    "readability": (0.06, 0.06, 0.08, 0.06, 0.08, 0.10, 0.18),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_type_has_the_weights_of_the_design(name):
    column = COLUMNS.index(name)
    expected = {part: line[column] for part, line in WEIGHTS.items() if line[column]}
    assert builtin_specs()[name].weights == expected
    assert sum(expected.values()) == pytest.approx(1)


def test_the_builtin_types_are_the_eight_of_the_design():
    assert tuple(builtin_specs()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_presets_lie_within_the_bounds_of_the_levels_and_rise(name):
    spec = builtin_specs()[name]
    sizes = [resolve_counts(spec, granularity_level=level) for level in range(1, 6)]
    for counts in sizes:
        for count, level in zip(counts.per_level, spec.levels, strict=False):
            assert level.min <= count <= level.max
    assert [counts.nodes for counts in sizes] == sorted({counts.nodes for counts in sizes})
    assert sizes[2].nodes <= 120


def test_a_level_that_a_parent_may_do_without_is_made_where_its_depth_is_asked_for():
    spec = builtin_specs()["knowledge_map"]
    assert resolve_counts(spec, granularity_level=1).per_level == (3, 2)
    assert resolve_counts(spec, granularity_level=1, depth=3).per_level == (3, 2, 1)
    assert resolve_counts(msgspec.structs.replace(spec, presets={})).per_level == (3, 2, 1)


def test_every_name_that_a_type_may_use_has_code_behind_it():
    assert set(SUB_SCORES) == set(_SUB_SCORES)
    assert {name for name, _ in _BY_NAME} | {"coherence"} == TREE_RULES
    everywhere = {"leafMinutes", "conceptLoad", "card", "claim"}
    assert {name for name, _ in _BY_LEVEL} | everywhere == LEVEL_RULES
    assert FIELDS_OF_RULES.keys() <= LEVEL_RULES
    assert ROOT_FIELDS_OF_RULES.keys() <= LEVEL_RULES | TREE_RULES


def test_a_new_type_needs_data_only():
    spec = load_spec(
        b"""{"type": "checklist", "title": "Checklist", "weights": {"coverage": 0.5, "form": 0.5},
        "levels": [{"kind": "group", "title": "Group", "min": 1, "max": 9,
                    "fields": {"owner": {"type": "text", "required": true}}},
                   {"kind": "point", "title": "Point", "min": 1, "max": 20,
                    "fields": {"after": {"type": "list",
                                          "of": {"type": "reference", "refersTo": "point"}}}}]}"""
    )
    assert [level.kind for level in spec.levels] == ["group", "point"]


def _set(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *parents, last = path.split("/")
    place: Any = spec
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return spec


TEXT = {"type": "text", "required": True}
TOOL = {"type": "object", "defines": "tool", "fields": {"id": TEXT}}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("schemaVersion", 2, "schemaVersion: 2 is not supported"),
        ("type", "Bad Type", "$.type"),
        ("levels", [], "$.levels"),
        ("levels/1/kind", "module", "two levels have the same kind"),
        ("levels/0/min", 20, "levels[0]: min 20 is above max 12"),
        ("levels/0/rules", ["nonsense"], "levels[0].rules: 'nonsense' is unknown"),
        ("levels/0/unknown", 1, "unknown"),
        ("levels/0/min", 0, "levels[0]: min 0"),
        ("levels/1/kind", "node", "no kind can be 'node'"),
        ("rootFields/x", TOOL | {"fields": {"name": TEXT}}, "rootFields.x: an object that defines 'tool'"),
        ("rootFields/x", TOOL | {"fields": {"id": {"type": "text"}}}, "needs a required text field 'id'"),
        ("rootFields/x", TOOL | {"defines": "module"}, "rootFields.x: defines 'module', which is the ids of"),
        (
            "rootFields/x",
            {"type": "list", "of": TOOL | {"defines": "node"}},
            "rootFields.x.of: defines 'node'",
        ),
        ("rules", ["nonsense"], "rules: 'nonsense' is unknown"),
        ("weights/coverage", 0.5, "weights: they add up to 1.28"),
        ("weights/coverage", -1, "weights: each must lie between 0 and 1"),
        ("weights/sparkle", 0.0, "weights: 'sparkle' is unknown"),
        ("optionalSubScores/itemQuality", "itemQuality", "optionalSubScores.itemQuality"),
        ("readability/child", [6, 3], "readability.child: 6 is above 3"),
        ("presets/6", [1], "presets.6: granularity levels are 1 to 5"),
        ("presets/1", [0, 1], "presets.1"),
        ("presets/1", [1, 1, 1, 1], "presets.1"),
        ("leafMinutes", [9, 3], "leafMinutes"),
        ("bands", {"accept": 50, "review": 60}, "bands: review is above accept"),
        ("rootFields/x", {"type": "list"}, "rootFields.x: 'of' belongs to a list field"),
        ("rootFields/x", {"type": "object"}, "rootFields.x: 'fields' belong to an object"),
        ("rootFields/x", {"type": "choice"}, "rootFields.x: choices belong to a choice field"),
        ("rootFields/x", {"type": "reference"}, "rootFields.x: a reference needs refersTo"),
        ("rootFields/x", {"type": "reference", "refersTo": "ghost"}, "refersTo 'ghost'"),
        ("rootFields/x", {"type": "text", "min": 5, "max": 2}, "rootFields.x: min 5 is above max 2"),
        ("rootFields/x", {"type": "sparkle"}, "sparkle"),
    ],
)
def test_a_broken_type_is_refused_with_the_reason(path, value, words):
    assert words in problems(_set(plain(), path, value))


def _without(fields: dict[str, Any], path: str) -> None:
    name, _, rest = path.partition(".")
    field = fields[name].get("of", fields[name])
    if rest and len(field["fields"]) > 1:
        _without(field["fields"], rest)
    else:
        del fields[name]


@pytest.mark.parametrize(
    ("name", "rule", "path", "place"),
    [
        (name, rule, path, place)
        for name, rules in {
            "flashcards": ["card"],
            "document": ["claim"],
            "learning_path": ["skillRise", "workload"],
            "knowledge_map": ["edges"],
            "workflow": ["flow"],
            "novel": ["story"],
        }.items()
        for rule in rules
        for table, place in ((FIELDS_OF_RULES, ""), (ROOT_FIELDS_OF_RULES, " at the root"))
        for path in table.get(rule, {})
    ],
)
def test_a_rule_without_the_fields_that_it_reads_is_refused(name, rule, path, place):
    spec = plain(name)
    fields = next(level["fields"] for level in spec["levels"] if place or rule in level.get("rules", ()))
    _without(spec["rootFields"] if place else fields, path)
    assert f"rules: {rule!r} needs the field {path!r}{place}" in problems(spec)


def test_a_field_that_a_rule_reads_otherwise_is_refused():
    spec = plain("learning_path")
    spec["levels"][1]["fields"]["to"] = {"type": "text"}
    assert problems(spec) == "levels[1].rules: 'skillRise' reads 'to' as integer, not as text"
    spec = _set(plain("learning_path"), "rootFields/hoursPerWeek", {"type": "integer", "required": True})
    assert load_spec(msgspec.json.encode(spec)).has_rule("workload")


def test_all_problems_are_told_at_once():
    spec = _set(_set(plain(), "rules", ["nonsense"]), "weights/coverage", 0.5)
    assert len(problems(spec).splitlines()) == 2


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_document_is_refused(raw):
    with pytest.raises(SpecError):
        load_spec(raw)


def test_deep_fields_are_refused():
    field: dict[str, Any] = {"type": "text"}
    for _ in range(9):
        field = {"type": "list", "of": field}
    assert "nested deeper" in problems(_set(plain(), "rootFields/x", field))


def _kit(tools: Any, uses: list[str], **fields: Any) -> list[tuple[str, str]]:
    """The rules and places that a tree of a type with tools at its root breaks, but for its texts."""
    tool = {
        "type": "object",
        "defines": "tool",
        "fields": {"id": {"type": "text", "required": True, "max": 9}, "name": {"type": "text"}},
    }
    task = {
        "tool": {"type": "reference", "refersTo": "tool"},
        "after": {"type": "reference", "refersTo": "node"},
    }
    plan = {
        "type": "kit",
        "title": "Kit",
        "weights": {"form": 1},
        "rootFields": {"tools": {"type": "list", "of": tool}},
        "levels": [
            {"kind": "task", "title": "Task", "min": 1, "max": 9, "fields": task},
            {"kind": "part", "title": "Part", "min": 0, "max": 9},
        ],
    }
    nodes = [
        {
            "id": f"n{place}",
            "kind": "task",
            "level": 1,
            "ordinal": place,
            "title": f"Task {place}",
            "fields": own,
        }
        for place, own in enumerate([{"tool": name} for name in uses] + ([fields] if fields else []), 1)
    ]
    nodes[0]["children"] = [{"id": "p1", "kind": "part", "level": 2, "ordinal": 1, "title": "The only part"}]
    tree = {
        "structureType": "kit",
        "title": "A kit",
        "summary": "Tools.",
        "language": "en",
        "origin": "human",
    }
    tree |= {"depth": 2, "fields": {"tools": tools}, "nodes": nodes}
    found = validate(msgspec.convert(tree, Tree), load_spec(msgspec.json.encode(plan)))
    return [(one.rule, one.pointer) for one in found if not one.rule.startswith("text.")]


def test_an_object_declares_its_id_and_a_reference_may_point_at_any_node():
    saw, axe = {"id": "saw", "name": "Saw"}, {"id": "axe"}
    assert _kit([saw, axe], ["saw", "axe"], after="p1") == []
    assert ("ids.closed", "/nodes/0/fields/tool") in _kit([saw], ["axe"])
    assert _kit([saw, axe], ["axe"]) == [("ids.unused", "/fields/tools/0")]
    assert _kit([saw], ["saw"], after="saw") == [("ids.closed", "/nodes/1/fields/after")]
    assert _kit([saw, saw], ["saw"]) == [("ids.unique", "/fields/tools/1/id")]
    assert _kit([{"name": "Saw"}, saw], ["saw"]) == [("schema.required", "/fields/tools/0/id")]
    assert _kit([{"id": 7}, saw], ["saw"]) == [("schema.type", "/fields/tools/0/id")]
    assert ("ids.blank", "/fields/tools/0/id") in _kit([{"id": ""}, saw], ["saw"])
    assert _kit([saw, {"id": "chainsaws.."}], ["saw", "chainsaws.."]) == [
        ("bounds.field", "/fields/tools/1/id")
    ]
