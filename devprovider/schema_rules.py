"""Whether a JSON Schema is fit for strict structured output, by OpenAI's published limits. Pure."""

from collections.abc import Iterator
from typing import Any

MAX_PROPERTIES, MAX_DEPTH, MAX_CHARACTERS, MAX_ENUM = 5_000, 10, 120_000, 1_000
LARGE_ENUM, LARGE_ENUM_CHARACTERS = 250, 15_000
KEYWORDS = frozenset(
    [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "anyOf",
        "enum",
        "const",
        "$ref",
        "$defs",
        "definitions",
        "description",
        "title",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "$schema",
        "$id",
    ]
)
Where = tuple[str, ...]


def strict_problem(schema: Any) -> str:
    """Why a strict request with this schema is refused; "" when it is fine."""
    if not isinstance(schema, dict):
        return "schema must be a JSON Schema of 'type: \"object\"', got something else."
    if schema.get("type") != "object" or "anyOf" in schema:
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {schema.get('type')!r}'."
    totals = {"properties": 0, "characters": 0, "enum": 0}
    return next(_problems(schema, (), 1, schema, totals), "") or _over(totals)


def _over(totals: dict[str, int]) -> str:
    for name, most in (("properties", MAX_PROPERTIES), ("characters", MAX_CHARACTERS), ("enum", MAX_ENUM)):
        if totals[name] > most:
            return f"the schema has {totals[name]} {name} in total, the maximum is {most}."
    return ""


def _problems(
    schema: Any, where: Where, depth: int, root: dict[str, Any], totals: dict[str, int]
) -> Iterator[str]:
    context = f"In context={where!r}, "
    if not isinstance(schema, dict):
        yield f"{context}a schema must be an object."
        return
    unknown = sorted(schema.keys() - KEYWORDS)
    if unknown:
        yield f"{context}{unknown[0]!r} is not permitted."
    if depth > MAX_DEPTH:
        yield f"{context}the schema exceeds the maximum nesting of {MAX_DEPTH}."
        return
    if "$ref" in schema:
        if resolve(schema, root) is None:
            yield f"{context}reference {schema['$ref']!r} is not defined."
        return
    if not schema.keys() & {"type", "anyOf", "enum", "const"}:
        yield f"{context}schema must have a 'type' key."
    yield from _enum_problems(schema, context, totals)
    types = schema.get("type")
    if types == "object" or (isinstance(types, list) and "object" in types):
        yield from _object_problems(schema, context, totals)
    if types == "array" and "items" not in schema:
        yield f"{context}array schema missing items."
    for name, part in _parts(schema):
        # A nested definition counts where it is used; walking it once is enough to check its form.
        deeper = 1 if "$defs" in name or "definitions" in name else depth + (name[0] == "properties")
        yield from _problems(part, (*where, *name), deeper, root, totals)


def _enum_problems(schema: dict[str, Any], context: str, totals: dict[str, int]) -> Iterator[str]:
    values = schema.get("enum")
    if values is None:
        return
    if not isinstance(values, list) or not values:
        yield f"{context}enum must be a list with values."
        return
    characters = sum(len(value) for value in values if isinstance(value, str))
    totals["enum"] += len(values)
    totals["characters"] += characters
    if len(values) > LARGE_ENUM and characters > LARGE_ENUM_CHARACTERS:
        yield f"{context}an enum of over {LARGE_ENUM} values exceeds {LARGE_ENUM_CHARACTERS} characters."


def _object_problems(schema: dict[str, Any], context: str, totals: dict[str, int]) -> Iterator[str]:
    if schema.get("additionalProperties") is not False:
        yield f"{context}'additionalProperties' is required to be supplied and to be false."
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        yield f"{context}'properties' must be an object."
        return
    totals["properties"] += len(properties)
    totals["characters"] += sum(map(len, properties))
    required = schema.get("required", [])
    missing = [name for name in properties if name not in required]
    if missing:
        yield (
            f"{context}'required' is required to be supplied and to be an array including every key in "
            f"properties. Missing {missing[0]!r}."
        )
    extra = [name for name in required if name not in properties]
    if extra:
        yield f"{context}extra required key {extra[0]!r} supplied."


def _parts(schema: dict[str, Any]) -> Iterator[tuple[Where, Any]]:
    for keyword in ("properties", "$defs", "definitions"):
        inner = schema.get(keyword)
        if isinstance(inner, dict):
            yield from (((keyword, name), part) for name, part in inner.items())
    if "items" in schema:
        yield ("items",), schema["items"]
    for position, part in enumerate(schema.get("anyOf") or ()):
        yield ("anyOf", str(position)), part


def resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any] | None:
    """The schema that a chain of references ends at; None for one that leads nowhere."""
    for _ in range(20):
        reference = schema.get("$ref")
        if reference is None:
            return schema
        found: Any = root
        for part in str(reference).removeprefix("#").strip("/").split("/") if reference != "#" else ():
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            return None
        schema = found
    return None
