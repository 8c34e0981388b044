"""What a type becomes for each provider, and back."""

import json
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, reject, settings
from msgspec import Meta, defstruct
from tests.unit.granulation.structured.random_types import Level, typed_values

from aifactory.granulation.structured import (
    AnswerError,
    RecursiveType,
    SchemaTooLarge,
    UnsupportedType,
    answer_format,
    check_strict,
    wire,
)
from aifactory.resources.interface import SchemaProfile

OPENAI, ANTHROPIC, GEMINI = SchemaProfile
SLOW = settings(max_examples=60, suppress_health_check=list(HealthCheck))


class Closed(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class Single(Closed, frozen=True, kw_only=True, tag_field="kind", tag="single"):
    stem: str
    options: tuple[str, ...] = ()


class Numeric(Closed, frozen=True, kw_only=True, tag_field="kind", tag="numeric"):
    stem: Annotated[str, Meta(min_length=1, max_length=80, description="The question")]
    value: float


class Pair(NamedTuple):
    left: str
    right: str


class Answer(Closed, frozen=True, kw_only=True):
    title: str
    items: Annotated[tuple[Single | Numeric, ...], Meta(min_length=1, max_length=5)]
    level: Level | None = None
    weights: dict[str, int] = {}
    size: tuple[int, str] | None = None
    best: Single | None = None
    pairs: tuple[Pair, ...] = ()
    which: Literal["a", "b"] = "a"


ANSWER = Answer(
    title="T",
    items=(Single(stem="S"), Numeric(stem="N", value=1.5)),
    level=Level.HIGH,
    weights={"x": 1, "": 2},
    size=(3, "cm"),
    best=Single(stem="B", options=("o",)),
    pairs=(Pair("l", "r"),),
)


def schema(type_: Any, profile: SchemaProfile = OPENAI) -> dict[str, Any]:
    return answer_format(type_, name="answer", profile=profile).schema


def one_field(type_: Any, profile: SchemaProfile = OPENAI) -> dict[str, Any]:
    found: dict[str, Any] = schema(defstruct("T", [("x", type_)]), profile)["properties"]["x"]
    return found


@pytest.mark.parametrize("profile", SchemaProfile)
@SLOW
@given(typed=typed_values())
def test_a_random_value_comes_back_equal_through_a_schema_that_the_provider_takes(
    profile: SchemaProfile, typed: tuple[Any, Any]
) -> None:
    type_, value = typed
    try:
        form = answer_format(type_, name="answer", profile=profile)
    except SchemaTooLarge:
        reject()
    assert check_strict(form.schema, profile) == []
    written = wire(value, type_)
    assert matches(form.schema, written, form.schema.get("$defs", {}))
    assert form.decode(json.dumps(written)) == value
    assert form.decode(msgspec.json.encode(written).decode()) == value


def matches(node: dict[str, Any], value: Any, defs: dict[str, Any]) -> bool:
    """A JSON Schema validator for exactly what the schemas use."""
    if "$ref" in node:
        return matches(defs[node["$ref"].rpartition("/")[2]], value, defs)
    if "anyOf" in node:
        return any(matches(member, value, defs) for member in node["anyOf"])
    if "enum" in node:
        return any(type(value) is type(one) and value == one for one in node["enum"])
    match node["type"]:
        case "object":
            properties = node["properties"]
            return (
                isinstance(value, dict)
                and list(value) == list(properties)
                and all(matches(properties[name], inner, defs) for name, inner in value.items())
            )
        case "array":
            return isinstance(value, list) and all(matches(node["items"], one, defs) for one in value)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case kind:
            python = {"string": str, "boolean": bool, "integer": int, "null": type(None)}[kind]
            return type(value) is python


def test_the_root_is_an_object_with_everything_required_and_nothing_else_allowed() -> None:
    root = schema(Answer)
    assert root["type"] == "object"
    assert root["required"] == list(root["properties"])
    assert root["additionalProperties"] is False
    assert "default" not in json.dumps(root)
    assert "discriminator" not in json.dumps(root)


def test_null_is_allowed_only_where_the_type_allows_it() -> None:
    fields = schema(Answer)["properties"]
    nullable = {name for name, node in fields.items() if {"type": "null"} in node.get("anyOf", ())}
    assert nullable == {"level", "size", "best"}
    assert "Empty list if none." in fields["pairs"]["description"]


def test_a_tag_is_the_first_property_and_has_one_value() -> None:
    item = schema(Answer, GEMINI)["properties"]["items"]["items"]["anyOf"][1]
    assert next(iter(item["properties"].items())) == ("kind", {"type": "string", "enum": ["numeric"]})


def test_a_map_is_a_list_of_pairs_and_a_fixed_tuple_an_object() -> None:
    written = wire(ANSWER, Answer)
    assert written["weights"] == [{"key": "x", "value": 1}, {"key": "", "value": 2}]
    assert written["size"] == {"item1": 3, "item2": "cm"}
    assert written["pairs"] == [{"left": "l", "right": "r"}]
    fields = schema(Answer)["properties"]
    assert fields["weights"]["items"]["required"] == ["key", "value"]
    assert fields["pairs"]["items"]["required"] == ["left", "right"]


@pytest.mark.parametrize("profile", SchemaProfile)
def test_a_typical_answer_comes_back_equal(profile: SchemaProfile) -> None:
    form = answer_format(Answer, name="answer", profile=profile)
    assert check_strict(form.schema, profile) == []
    assert form.decode(json.dumps(wire(ANSWER, Answer))) == ANSWER


def test_bounds_are_sent_to_openai_and_said_in_words_to_the_others() -> None:
    bounded = Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=2)]
    sent = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2}
    assert one_field(bounded, OPENAI) == sent
    for profile in (ANTHROPIC, GEMINI):
        assert one_field(bounded, profile) == {
            "type": "array",
            "items": {"type": "integer", "description": "At least 1."},
            "description": "At least 2 entries.",
        }


def test_a_struct_used_twice_is_a_definition_where_the_profile_knows_references() -> None:
    assert list(schema(Answer, OPENAI)["$defs"]) == ["Single"]
    assert list(schema(Answer, ANTHROPIC)["$defs"]) == ["Single"]
    assert "$ref" not in json.dumps(schema(Answer, GEMINI))


def test_two_structs_of_the_same_name_keep_their_own_definitions() -> None:
    one, other = (defstruct("Node", [(name, int)]) for name in "ab")
    root = defstruct("Root", [("w", one), ("x", one), ("y", other), ("z", other)])
    assert len(schema(root)["$defs"]) == 2
    value = root(w=one(a=1), x=one(a=2), y=other(b=3), z=other(b=4))
    assert answer_format(root, name="r", profile=OPENAI).decode(json.dumps(wire(value, root))) == value


class Endless(msgspec.Struct):
    children: list["Endless"]


class Back(msgspec.Struct):
    to: "Forth | None"


class Forth(msgspec.Struct):
    to: Back


@pytest.mark.parametrize("type_", [Endless, Back, Forth])
def test_a_type_inside_itself_is_refused(type_: Any) -> None:
    with pytest.raises(RecursiveType):
        answer_format(type_, name="answer", profile=OPENAI)


@pytest.mark.parametrize(
    "type_",
    [Any, bytes, dict[int, str], set[str], tuple[()], list[int] | dict[str, int], Single | tuple[int, int]],
)
def test_a_type_that_would_lose_something_is_refused_with_its_place(type_: Any) -> None:
    with pytest.raises(UnsupportedType, match=r"\$\.x"):
        one_field(type_)


@pytest.mark.parametrize("default", [["a"], {"a": ["b"]}])
def test_a_default_with_elements_is_refused(default: Any) -> None:
    with pytest.raises(UnsupportedType, match="empty"):
        schema(defstruct("T", [("x", list[str] | str, msgspec.field(default_factory=lambda: default))]))


def test_only_a_struct_can_be_the_root() -> None:
    with pytest.raises(UnsupportedType):
        answer_format(list[int], name="answer", profile=OPENAI)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ä"])
def test_a_name_that_providers_refuse_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        answer_format(Answer, name=name, profile=OPENAI)


def nested(levels: int) -> Any:
    type_: Any = str
    for level in range(levels):
        type_ = defstruct(f"L{level}", [("x", type_)])
    return type_


def test_the_sixth_level_is_the_last() -> None:
    assert answer_format(nested(6), name="n", profile=OPENAI).report.depth == 6
    with pytest.raises(SchemaTooLarge, match="depth 7"):
        answer_format(nested(7), name="n", profile=OPENAI)


def test_fewer_than_120_properties_are_allowed_counted_where_they_are_used() -> None:
    wide = defstruct("Wide", [(f"f{at}", int) for at in range(58)])
    fits = defstruct("Fits", [("a", wide), ("b", wide), ("c", int)])
    assert answer_format(fits, name="n", profile=OPENAI).report.properties == 119
    with pytest.raises(SchemaTooLarge, match="properties 120"):
        answer_format(defstruct("Over", [("a", fits)]), name="n", profile=OPENAI)


def test_a_type_that_doubles_at_each_level_is_refused_without_being_written_out() -> None:
    type_: Any = defstruct("Leaf", [("x", int)])
    for level in range(60):
        type_ = defstruct(f"D{level}", [("a", type_), ("b", type_)])
    with pytest.raises(SchemaTooLarge):
        answer_format(type_, name="n", profile=GEMINI)


def literal(count: int, length: int) -> Any:
    return Literal[tuple(f"{at:0{length}}" for at in range(count))]  # type: ignore[misc]


def test_enums_count_against_openai_only_from_sixty_percent_of_its_limit() -> None:
    assert one_field(literal(600, 3))["enum"][599] == "599"
    with pytest.raises(SchemaTooLarge, match="enum_values 601"):
        one_field(literal(601, 3))
    assert one_field(literal(601, 3), GEMINI)["type"] == "string"


def test_a_large_enum_may_not_be_long() -> None:
    report = answer_format(defstruct("T", [("x", literal(251, 20))]), name="n", profile=OPENAI).report
    assert (report.largest_enum, report.large_enum_characters) == (251, 5020)
    with pytest.raises(SchemaTooLarge, match="large_enum_characters 9036"):
        one_field(literal(251, 36))


def test_a_schema_over_eight_kilobytes_is_refused() -> None:
    words = Annotated[str, Meta(description="w" * 8_000)]
    assert one_field(words)["type"] == "string"
    with pytest.raises(SchemaTooLarge, match="bytes"):
        one_field(Annotated[str, Meta(description="w" * 8_192)])


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"title": 1}, "/title"),
        ({"items": [{"kind": "single", "stem": 1}]}, "/items/0/stem"),
        ({"items": [{"kind": "essay", "stem": "S"}]}, "/items/0/kind"),
        ({"items": []}, "/items"),
        ({"weights": [{"key": "a", "value": 1}, {"key": "a", "value": 2}]}, "/weights/1/key"),
        ({"weights": [{"key": "a"}]}, "/weights/0"),
        ({"weights": [{"key": None, "value": 1}]}, "/weights/0/key"),
        ({"weights": {"a": 1}}, "/weights"),
        ({"size": {"item1": 1}}, "/size"),
        ({"which": " a "}, "/which"),
        ({"surprise": 1}, ""),
        ({"items": [{"kind": "numeric", "stem": "S", "value": True}]}, "/items/0/value"),
    ],
)
def test_what_the_types_refuse_is_refused_with_its_place(change: dict[str, Any], path: str) -> None:
    form = answer_format(Answer, name="answer", profile=OPENAI)
    with pytest.raises(AnswerError) as refused:
        form.decode(json.dumps(wire(ANSWER, Answer) | change))
    assert refused.value.path == path
    assert refused.value.message


@pytest.mark.parametrize("bad", ["a\x00b", "a\ud800b", "a\x1bb"])
def test_a_strict_decode_refuses_characters_that_no_text_column_holds(bad: str) -> None:
    form = answer_format(Answer, name="answer", profile=OPENAI)
    with pytest.raises(AnswerError, match="characters"):
        form.decode(json.dumps(wire(ANSWER, Answer) | {"title": bad}))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        wire(Numeric(stem="S", value=number), Numeric)


def test_anthropic_takes_nine_unions_of_its_sixteen() -> None:
    def nullable(count: int) -> Any:
        return defstruct("T", [(f"f{at}", int | None) for at in range(count)])

    assert answer_format(nullable(9), name="n", profile=ANTHROPIC).report.unions == 9
    with pytest.raises(SchemaTooLarge, match="unions 10"):
        answer_format(nullable(10), name="n", profile=ANTHROPIC)
    assert answer_format(nullable(10), name="n", profile=OPENAI).report.unions == 10
