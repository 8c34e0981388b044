from typing import Any

import msgspec
import pytest

from aifactory.granulation.scoring.total import _SUB_SCORES
from aifactory.granulation.specs import SUB_SCORES, SpecError, builtin_specs, load_spec
from aifactory.granulation.validation import _BY_NAME


def plain(name: str = "course") -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(builtin_specs()[name]))


def problems(spec: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as refusal:
        load_spec(msgspec.json.encode(spec))
    return "\n".join(refusal.value.problems)


@pytest.mark.parametrize("name", ["course", "quiz", "flashcards", "document"])
def test_a_builtin_type_survives_a_round_trip(name):
    assert load_spec(msgspec.json.encode(plain(name))) == builtin_specs()[name]


def test_the_course_has_the_weights_of_the_design():
    assert builtin_specs()["course"].weights == {
        "coverage": 0.22,
        "alignment": 0.20,
        "order": 0.12,
        "nonRedundancy": 0.12,
        "balance": 0.10,
        "form": 0.10,
        "itemQuality": 0.08,
        "readability": 0.06,
    }


def test_every_name_that_a_type_may_use_has_code_behind_it():
    from aifactory.granulation.specs import TREE_RULES

    assert set(SUB_SCORES) == set(_SUB_SCORES)
    assert {name for name, _ in _BY_NAME} | {"coherence"} == TREE_RULES


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
