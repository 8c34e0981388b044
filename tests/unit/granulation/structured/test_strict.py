"""What providers refuse in a schema."""

from copy import deepcopy
from typing import Any

import pytest

from aifactory.granulation.structured import check_strict
from aifactory.resources.interface import SchemaProfile

OPENAI, ANTHROPIC, GEMINI = SchemaProfile
TEXT = {"type": "string"}


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def with_defs(**defs: Any) -> dict[str, Any]:
    return closed(x={"$ref": "#/$defs/A"}) | {"$defs": defs}


GOOD = closed(
    title=TEXT,
    level={"type": "string", "enum": ["a", "b"]},
    hint={"anyOf": [TEXT, {"type": "null"}]},
    nodes={"type": "array", "items": closed(ordinal={"type": "integer", "enum": [1, 2]})},
)


@pytest.mark.parametrize("profile", SchemaProfile)
def test_the_common_subset_is_fine_everywhere(profile: SchemaProfile) -> None:
    assert check_strict(GOOD, profile) == []


@pytest.mark.parametrize("profile", SchemaProfile)
@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "array", "items": TEXT}, "root must be an object"),
        ({"anyOf": [closed(x=TEXT)]}, "root"),
        ({"$ref": "#/$defs/A", "$defs": {"A": closed(x=TEXT)}}, "root"),
        (closed(x=TEXT) | {"required": []}, "required"),
        (closed(x=TEXT) | {"required": ["x", "x"]}, "required"),
        (closed(x=TEXT) | {"additionalProperties": True}, "additionalProperties"),
        ({"type": "object", "properties": {"x": TEXT}, "required": ["x"]}, "additionalProperties"),
        (closed(x=closed()), "without properties"),
        (closed(x={"type": "object", "additionalProperties": TEXT}), "without properties"),
        (closed(x=TEXT | {"default": ""}), "default"),
        (closed(x={}), "type is missing"),
        (closed(x={"type": "date"}), "type is missing"),
        (closed(x=True), "not a schema"),
        (closed(x={"type": "array"}), "items"),
        (closed(x={"type": "array", "items": False}), "not a schema"),
        (closed(x={"type": "array", "prefixItems": [TEXT], "items": TEXT}), "prefixItems"),
        (closed(x={"oneOf": [TEXT]}), "oneOf"),
        (closed(x={"anyOf": []}), "anyOf needs"),
        (closed(x={"anyOf": [TEXT], "discriminator": {"propertyName": "kind"}}), "discriminator"),
        (closed(x={"anyOf": [closed(a=TEXT), closed(a=TEXT, b=TEXT)]}), "first key"),
        (closed(x={"type": "string", "enum": []}), "empty enum"),
        (closed(x={"type": "string", "enum": ["a", "a"]}), "twice"),
        (closed(x={"type": "string", "enum": ["a", 1]}), "another type"),
        (closed(x={"type": "integer", "enum": [True]}), "another type"),
        (closed(x={"type": "string", "items": TEXT}), "items on a string"),
        (closed(x={"$ref": "#/$defs/None"}), "$ref"),
        (closed(x=closed(y=TEXT) | {"$defs": {}}), "$defs"),
    ],
)
def test_what_no_provider_takes_is_found(
    schema: dict[str, Any], problem: str, profile: SchemaProfile
) -> None:
    assert any(problem in line for line in check_strict(schema, profile))


@pytest.mark.parametrize(
    ("node", "refusing"),
    [
        ({"type": "integer", "minimum": 1}, {ANTHROPIC, GEMINI}),
        ({"type": "string", "maxLength": 5}, {ANTHROPIC, GEMINI}),
        ({"type": "array", "items": TEXT, "minItems": 1}, {ANTHROPIC, GEMINI}),
        ({"type": "string", "pattern": "^a$"}, {ANTHROPIC, GEMINI}),
        ({"type": "string", "pattern": "^(?!a)"}, {OPENAI, ANTHROPIC, GEMINI}),
        ({"type": "string", "pattern": "("}, {OPENAI, ANTHROPIC, GEMINI}),
        ({"type": "string", "const": "a"}, {GEMINI}),
        (TEXT, set()),
    ],
)
def test_each_provider_has_its_own_keywords(node: dict[str, Any], refusing: set[SchemaProfile]) -> None:
    assert {profile for profile in SchemaProfile if check_strict(closed(x=node), profile)} == refusing


def test_references_are_followed_but_never_in_a_circle() -> None:
    assert check_strict(with_defs(A=closed(y=TEXT)), OPENAI) == []
    assert check_strict(with_defs(A=closed(y=TEXT)), GEMINI) != []
    assert any(
        "recursive" in line for line in check_strict(with_defs(A=closed(y={"$ref": "#/$defs/A"})), OPENAI)
    )
    circle = with_defs(A=closed(y={"$ref": "#/$defs/B"}), B=closed(z={"$ref": "#/$defs/A"}))
    assert any("recursive" in line for line in check_strict(circle, ANTHROPIC))


def test_a_definition_that_nothing_uses_is_checked_too() -> None:
    assert check_strict(with_defs(A=closed(y=TEXT), B={}), OPENAI) == [
        "#/$defs/B: type is missing or unknown"
    ]


def test_a_description_beside_a_reference_is_refused() -> None:
    schema = with_defs(A=closed(y=TEXT))
    schema["properties"]["x"]["description"] = "words"
    assert any("beside" in line for line in check_strict(schema, OPENAI))


def test_openai_counts_levels_properties_and_enum_values() -> None:
    deep = deepcopy(closed(x=TEXT))
    for _ in range(10):
        deep = closed(x=deep)
    assert check_strict(deep, OPENAI) == ["#: 11 levels, at most 10"]
    assert check_strict(deep["properties"]["x"], OPENAI) == []
    wide = closed(**{f"p{at}": TEXT for at in range(5_001)})
    assert check_strict(wide, OPENAI) == ["#: 5001 properties, at most 5000"]
    many = closed(x={"type": "string", "enum": [str(at) for at in range(1_001)]})
    assert check_strict(many, OPENAI) == ["#: 1001 enum values, at most 1000"]
    large = closed(x={"type": "string", "enum": [f"{at:060}" for at in range(251)]})
    assert any("large enum" in line for line in check_strict(large, OPENAI))
    assert check_strict(large, ANTHROPIC) == []


def test_anthropic_counts_unions() -> None:
    nullable = {"anyOf": [TEXT, {"type": "null"}]}
    assert check_strict(closed(**{f"p{at}": nullable for at in range(16)}), ANTHROPIC) == []
    too_many = closed(**{f"p{at}": nullable for at in range(17)})
    assert check_strict(too_many, ANTHROPIC) == ["#: 17 unions, at most 16"]
    assert check_strict(too_many, OPENAI) == []
