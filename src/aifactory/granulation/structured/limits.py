"""How large a provider's schema is, and how large it may be. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from aifactory.granulation.structured.shapes import Record, Shape, children
from aifactory.resources.interface import SchemaProfile

# We stay well below a provider's limits: they count in their own ways and change without notice.
SHARE_OF_LIMIT_PERCENT = 60
LARGE_ENUM = 250


class SchemaTooLarge(ValueError):
    """A schema over our limits or over 60 % of a provider's; the message names each one."""


class LimitReport(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a schema with every reference counted where it is used.

    ``depth`` counts nested objects (the root is 1; lists do not count); ``characters`` those of names and
    enum values; ``large_enum_characters`` those of the longest enum of over 250 values; ``unions`` the
    places with ``anyOf``; ``bytes`` of the compact JSON as sent.
    """

    properties: int
    depth: int
    characters: int
    enum_values: int
    largest_enum: int
    large_enum_characters: int
    unions: int
    bytes: int


OUR_LIMITS = {"properties": 119, "depth": 6, "bytes": 8 * 1024}
PROVIDER_LIMITS: dict[SchemaProfile, dict[str, int]] = {
    SchemaProfile.OPENAI: {
        "properties": 5_000,
        "depth": 10,
        "characters": 120_000,
        "enum_values": 1_000,
        "large_enum_characters": 15_000,
    },
    SchemaProfile.ANTHROPIC: {"unions": 16},
    SchemaProfile.GEMINI: {},
}


def measure(schema: dict[str, Any]) -> LimitReport:
    """Count a schema's properties, levels, names, enum values, unions and bytes."""
    defs = schema.get("$defs", {})
    names, depths, enums, unions = list(defs), [0], [], 0
    for node, depth in _nodes(schema, defs):
        names.extend(node.get("properties", ()))
        depths.append(depth)
        enums.extend([node["enum"]] if "enum" in node else [])
        unions += "anyOf" in node
    lengths = [sum(len(str(value)) for value in values) for values in enums]
    large = [length for values, length in zip(enums, lengths, strict=True) if len(values) > LARGE_ENUM]
    return LimitReport(
        properties=len(names) - len(defs),
        depth=max(depths),
        characters=sum(map(len, names)) + sum(lengths),
        enum_values=sum(map(len, enums)),
        largest_enum=max(map(len, enums), default=0),
        large_enum_characters=max(large, default=0),
        unions=unions,
        bytes=len(msgspec.json.encode(schema)),
    )


def excesses(report: LimitReport, profile: SchemaProfile) -> list[str]:
    """What is over our limits or over our share of the provider's."""
    allowed = {
        name: limit * SHARE_OF_LIMIT_PERCENT // 100 for name, limit in PROVIDER_LIMITS[profile].items()
    }
    for name, limit in OUR_LIMITS.items():
        allowed[name] = min(limit, allowed.get(name, limit))
    return [
        f"{name} {getattr(report, name)} > {limit}"
        for name, limit in allowed.items()
        if getattr(report, name) > limit
    ]


def refuse_wide(root: Record) -> None:
    """Refuse a shape with too many properties before anything is written out in full."""
    counted: dict[type, int] = {}

    def count(shape: Shape) -> int:
        if isinstance(shape, Record) and shape.cls in counted:
            return counted[shape.cls]
        own = shape.property_count if isinstance(shape, Record) else 0
        total = own + sum(count(child) for child in children(shape))
        if isinstance(shape, Record):
            counted[shape.cls] = total
        return total

    properties = count(root)
    if properties > OUR_LIMITS["properties"]:
        raise SchemaTooLarge(f"properties {properties} > {OUR_LIMITS['properties']}")


def _nodes(schema: dict[str, Any], defs: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int]]:
    """Every subschema with the number of objects down to it, references followed (they never loop)."""
    rest = [(schema, 0)]
    while rest:
        node, depth = rest.pop()
        if "$ref" in node:
            node = defs[node["$ref"].rpartition("/")[2]]
        depth += node.get("type") == "object"
        yield node, depth
        below = [*node.get("properties", {}).values(), *node.get("anyOf", ())]
        rest.extend((child, depth) for child in [*below, *([node["items"]] if "items" in node else [])])
