"""JSON Schemas of worker templates' parameters: made, checked and applied; and how parameters merge. Pure."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

from aifactory.granulation.parameters import Parameters
from aifactory.granulation.specs import StructureSpec
from aifactory.kernel.errors import FieldError, Invalid, invalid
from aifactory.kernel.problems import escape

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_BYTES = 65_536
MAX_DEPTH = 24
# Objects that the three sources of parameters fill together; every other value is replaced as a whole.
MERGED = ("constraints", "validation")

_LARGEST = 2**53
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef", "$id")
_MOST_ERRORS = 20


def merge_parameters(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """Merge parameters, later sources over earlier ones: the template's, the client's, the stage's."""
    merged: dict[str, Any] = {}
    for source in sources:
        for name, value in source.items():
            old = merged.get(name)
            if name in MERGED and isinstance(old, dict) and isinstance(value, dict):
                value = {**old, **value}
            merged[name] = value
    return merged


def schema_of_type(spec: StructureSpec) -> dict[str, Any]:
    """Return what a template of a structure type takes, with no reference inside."""
    (root,), parts = msgspec.json.schema_components([Parameters], ref_template="{name}")
    schema: dict[str, Any] = _written_out(root, parts)
    kinds = [level.kind for level in spec.levels]
    named = schema["properties"]
    named["structureType"] = {"enum": [spec.type, None], "default": None}
    _add_text(named["source"]["anyOf"][0])
    named["depth"]["description"] = (
        f"The number of levels, of {len(kinds)}: {', '.join(kinds)}; more means all."
    )
    presets = "; ".join(f"{name}: {'×'.join(map(str, one))}" for name, one in sorted(spec.presets.items()))
    named["granularityLevel"]["description"] = f"The most nodes per parent on each level: {presets}."
    counts = named["size"]["anyOf"][0]["properties"]["perLevel"]
    counts["prefixItems"] = [{**counts["items"], "minimum": 1}]
    del schema["title"]
    return {"$schema": DIALECT, **schema}


def _add_text(source: dict[str, Any]) -> None:
    """A client may send a text, which is stored before parameters are checked; a reference stays."""
    source["description"] = "Source material: its text, or a reference to stored data; one of them."
    source["properties"] = {"text": {"type": "string", "minLength": 1}, **source["properties"]}
    source["oneOf"] = [{"required": ["text"]}, {"required": ["dataRef"]}]
    del source["required"]


def check_schema(schema: dict[str, Any]) -> None:
    """Check that a schema is one of 2020-12, small, and refers to nothing. Raises Invalid."""
    pointer = "/parameterSchema"
    _check_shape(schema, pointer, MAX_DEPTH)
    if len(json.dumps(schema)) > MAX_BYTES:
        raise invalid(pointer, "too_large", f"{pointer}: a schema has at most {MAX_BYTES:,} bytes.")
    if schema.get("$schema", DIALECT) != DIALECT:
        raise invalid(f"{pointer}/$schema", "unknown_dialect", f"{pointer}/$schema: only {DIALECT} is taken.")
    try:
        _validator(json.dumps(schema))
    except jsonschema_rs.ValidationError as error:
        at = pointer + _pointer(error.instance_path)
        raise invalid(at, "bad_schema", f"{at}: no JSON Schema 2020-12: {error.message[:200]}.") from error


def check_against_schema(parameters: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Check merged parameters against a template's schema. Raises Invalid with a pointer for each fault."""
    if not schema:
        return
    errors = []
    for error in _validator(json.dumps(schema)).iter_errors(dict(parameters)):
        errors.append(_fault(error))
        if len(errors) == _MOST_ERRORS:
            break
    if errors:
        raise Invalid("; ".join(f"{one.pointer}: {one.message}" for one in errors[:5]), errors=tuple(errors))


@lru_cache(256)
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    """Compile a schema: patterns run in linear time, nothing is fetched, messages repeat no value."""
    return jsonschema_rs.Draft202012Validator(
        json.loads(schema), offline=True, mask="This", pattern_options=jsonschema_rs.RegexOptions()
    )


def _check_shape(value: Any, pointer: str, depth: int) -> None:
    if depth == 0:
        raise invalid(pointer[:200], "too_deep", f"A schema is nested at most {MAX_DEPTH} levels deep.")
    if isinstance(value, dict):
        for name in _REFERENCES:
            if isinstance(value.get(name), str):
                at = f"{pointer}/{name}"
                raise invalid(at, "reference", f"{at}: references are not taken; write the schema out.")
        for name, inner in value.items():
            _check_shape(inner, f"{pointer}/{escape(name)}", depth - 1)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            _check_shape(inner, f"{pointer}/{position}", depth - 1)
    elif isinstance(value, int | float) and not -_LARGEST <= value <= _LARGEST:
        raise invalid(pointer, "out_of_range", f"{pointer}: numbers beyond ±2^53 are not taken.")


def _written_out(schema: Any, parts: dict[str, Any]) -> Any:
    if isinstance(schema, list | tuple):
        return [_written_out(one, parts) for one in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {name: _written_out(one, parts) for name, one in schema.items() if name != "$ref"}
    return _written_out(parts[schema["$ref"]], parts) | rest if "$ref" in schema else rest


_CODES = {
    "required": "missing_field",
    "additionalProperties": "unknown_field",
    "type": "wrong_type",
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"),
        "out_of_range",
    ),
}


def _fault(error: jsonschema_rs.ValidationError) -> FieldError:
    kind = error.kind.name
    if kind in ("anyOf", "oneOf") and (nearest := _nearest(error)) is not None:
        return _fault(nearest)
    at = "/parameters" + _pointer(error.instance_path) + "".join(_named(error.kind))
    return FieldError(pointer=at, code=_CODES.get(kind, "invalid_value"), message=f"{error.message[:200]}.")


def _nearest(error: jsonschema_rs.ValidationError) -> jsonschema_rs.ValidationError | None:
    """Return the fault of the alternative that fits best: the one that goes wrong furthest inside."""
    branches = error.kind.as_dict().get("context", [])
    inside = [one for branch in branches for one in branch if one.kind.name != "type" or one.instance_path]
    deeper = [one for one in inside if len(one.instance_path) > len(error.instance_path)]
    return max(deeper, key=lambda one: len(one.instance_path), default=None)


def _named(kind: Any) -> Iterator[str]:
    """Yield the member that is missing or too much: the fault is there, not at the object around it."""
    told = kind.as_dict()
    if kind.name == "required":
        yield f"/{escape(told['property'])}"
    elif kind.name == "additionalProperties":
        yield f"/{escape(told['unexpected'][0])}"


def _pointer(path: list[str | int]) -> str:
    return "".join(f"/{escape(str(step))}" for step in path)
