"""Schemas of parameters: what the types' say, which may be stored, how a fault is told; and merging."""

from typing import Any

import pytest

from aifactory.granulation.parameter_schema import (
    check_against_schema,
    check_schema,
    merge_parameters,
    schema_of_type,
)
from aifactory.granulation.parameters import read_parameters
from aifactory.granulation.specs import builtin_specs
from aifactory.kernel.errors import Invalid

COURSE = builtin_specs()["course"]
GOOD: list[dict[str, Any]] = [
    {},
    {"topic": "x", "structureType": "course", "depth": 3, "granularityLevel": 5},
    {"size": {"perLevel": [2, 0]}, "constraints": {"maxModules": 2}, "language": None},
    {"objects": [{"name": "x"}], "validation": {"threshold": 0}},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"topic": ""}, "/parameters/topic"),
    ({"structureType": "quiz"}, "/parameters/structureType"),
    ({"granularityLevel": 6}, "/parameters/granularityLevel"),
    ({"granularityLevel": "3"}, "/parameters/granularityLevel"),
    ({"constraints": {"maxModules": 0}}, "/parameters/constraints/maxModules"),
    ({"objects": [{"kind": "x"}]}, "/parameters/objects/0/name"),
    ({"surprise": 1}, "/parameters/surprise"),
]


def pointers(parameters: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    with pytest.raises(Invalid) as caught:
        check_against_schema(parameters, schema)
    return [one.pointer for one in caught.value.errors]


@pytest.mark.parametrize("spec", builtin_specs().values(), ids=lambda spec: spec.type)
def test_the_schema_of_every_type_may_be_stored_and_takes_what_the_type_takes(spec: Any) -> None:
    schema = schema_of_type(spec)
    check_schema(schema)
    for parameters in GOOD:
        given = {**parameters, "structureType": spec.type}
        check_against_schema(given, schema)
        read_parameters(given, spec)


@pytest.mark.parametrize(("parameters", "pointer"), BAD, ids=lambda one: str(one)[:30])
def test_the_schema_and_the_struct_refuse_the_same(parameters: dict[str, Any], pointer: str) -> None:
    assert pointers(parameters, schema_of_type(COURSE)) == [pointer]
    with pytest.raises(Invalid) as caught:
        read_parameters(parameters, COURSE)
    assert caught.value.errors[0].pointer == pointer


def test_a_source_is_a_text_or_a_reference() -> None:
    schema = schema_of_type(COURSE)
    check_against_schema({"source": {"text": "x"}}, schema)
    check_against_schema({"source": {"dataRef": "data_1", "format": "text"}}, schema)
    assert pointers({"source": {"text": "x", "dataRef": "y"}}, schema) == ["/parameters/source"]


def test_the_fault_of_an_alternative_is_told_where_it_is() -> None:
    assert pointers({"size": {"perLevel": [0, 2]}}, schema_of_type(COURSE)) == ["/parameters/size/perLevel/0"]


def test_every_fault_is_told_and_no_value_is_repeated() -> None:
    schema = {"properties": {"a/b": {"maximum": 1}, "c": {"pattern": "^x+$"}}, "required": ["d"]}
    with pytest.raises(Invalid) as caught:
        check_against_schema({"a/b": 2, "c": "secret"}, schema)
    found = {one.pointer: one.code for one in caught.value.errors}
    assert found == {
        "/parameters/a~1b": "out_of_range",
        "/parameters/c": "invalid_value",
        "/parameters/d": "missing_field",
    }
    assert "secret" not in caught.value.detail


def test_an_empty_schema_restricts_nothing() -> None:
    check_against_schema({"anything": [1]}, {})


def test_a_pattern_that_kills_other_engines_is_answered() -> None:
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}}
    check_schema(schema)
    assert pointers({"a": "a" * 20_000 + "!"}, schema) == ["/parameters/a"]


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ({"type": "obj"}, "/parameterSchema/type"),
        ({"properties": {"a": {"minimum": "1"}}}, "/parameterSchema/properties/a/minimum"),
        ({"properties": {"a": {"pattern": "("}}}, "/parameterSchema/properties/a/pattern"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/parameterSchema/$schema"),
        ({"$ref": "https://example.com/schema"}, "/parameterSchema/$ref"),
        ({"properties": {"a": {"$ref": "#"}}}, "/parameterSchema/properties/a/$ref"),
        ({"maximum": 2**60}, "/parameterSchema/maximum"),
        ({"enum": ["x" * 70_000]}, "/parameterSchema"),
    ],
)
def test_a_schema_that_is_none_is_refused_with_its_place(schema: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_schema(schema)
    assert [one.pointer for one in caught.value.errors] == [pointer]


def test_a_schema_that_is_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(30):
        schema = {"not": schema}
    with pytest.raises(Invalid, match="nested"):
        check_schema(schema)


def test_a_property_may_be_called_like_a_reference() -> None:
    check_schema({"properties": {"$ref": {"type": "string"}}})


def test_later_parameters_win_and_what_is_left_out_stays() -> None:
    template = {"granularityLevel": 2, "validation": {"level": 1, "threshold": 80}, "size": {"perLevel": [1]}}
    client = {"validation": {"level": 2}, "size": {"perLevel": [2, 2]}, "depth": 2}
    stage = {"depth": 3, "validation": {"enabled": False}}
    assert merge_parameters(template, client, stage) == {
        "granularityLevel": 2,
        "validation": {"level": 2, "threshold": 80, "enabled": False},
        "size": {"perLevel": [2, 2]},
        "depth": 3,
    }
    assert merge_parameters(template, {"validation": 5})["validation"] == 5
    assert template["validation"] == {"level": 1, "threshold": 80}
