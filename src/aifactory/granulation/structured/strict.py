"""A linter for provider schemas, written from the providers' rules and not from how we rewrite. Pure.

OpenAI: its guide to structured outputs. Anthropic: native mode, no numeric, length or list bounds. Gemini:
the keywords of its JSON Schema subset, less the bounds and references that its state limit makes unsafe.
"""

import re
from typing import Any

from aifactory.resources.interface import SchemaProfile

_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_COMMON = frozenset(
    {
        "type",
        "description",
        "title",
        "enum",
        "anyOf",
        "items",
        "properties",
        "required",
        "additionalProperties",
    }
)
_REFERENCES = frozenset({"$ref", "$defs", "const"})
_KEYWORDS = {
    SchemaProfile.OPENAI: _COMMON
    | _REFERENCES
    | {"pattern", "format", "minLength", "maxLength", "minItems", "maxItems"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    SchemaProfile.ANTHROPIC: _COMMON | _REFERENCES | {"format"},
    SchemaProfile.GEMINI: _COMMON | {"format", "propertyOrdering"},
}
_BELONGS_TO = {
    "string": {"pattern", "format", "minLength", "maxLength"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"},
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties", "propertyOrdering"},
}
_LIMITS = {
    SchemaProfile.OPENAI: {"properties": 5_000, "levels": 10, "characters": 120_000, "enum values": 1_000},
    SchemaProfile.ANTHROPIC: {"unions": 16},
    SchemaProfile.GEMINI: {},
}


def check_strict(schema: dict[str, Any], profile: SchemaProfile) -> list[str]:
    """What a provider of this profile would refuse in a schema: one line per problem, none if it is fine."""
    linter = _Linter(schema, profile)
    if schema.get("type") != "object":
        linter.found.append("#: the root must be an object")
    linter.node(schema, "#", 0)
    for name, definition in linter.defs.items():
        if name not in linter.followed:
            linter.node(definition, f"#/$defs/{name}", 0)
    linter.totals()
    return linter.found


class _Linter:
    def __init__(self, schema: dict[str, Any], profile: SchemaProfile) -> None:
        self.profile = profile
        self.defs: dict[str, Any] = schema.get("$defs", {})
        self.found: list[str] = []
        self.followed: set[str] = set()
        self.open: list[str] = []
        self.counts = {"properties": 0, "levels": 0, "enum values": 0, "unions": 0}
        self.counts["characters"] = sum(map(len, self.defs))

    def node(self, node: Any, path: str, level: int) -> None:
        if not isinstance(node, dict):
            self.found.append(f"{path}: not a schema")
            return
        for keyword in node.keys() - _KEYWORDS[self.profile]:
            self.found.append(f"{path}: {keyword} is not allowed")
        if "$defs" in node and path != "#":
            self.found.append(f"{path}: $defs below the root")
        if "$ref" in node:
            self.reference(node, path, level)
        elif "anyOf" in node:
            self.any_of(node, path, level)
        else:
            self.typed(node, path, level)

    def reference(self, node: dict[str, Any], path: str, level: int) -> None:
        target = node["$ref"]
        name = target.removeprefix("#/$defs/") if isinstance(target, str) else ""
        if len(node) > 1:
            self.found.append(f"{path}: $ref beside other keywords")
        if name not in self.defs:
            self.found.append(f"{path}: $ref to nothing")
        elif name in self.open:
            self.found.append(f"{path}: recursive through {name}")
        else:
            self.followed.add(name)
            self.open.append(name)
            self.node(self.defs[name], path, level)
            self.open.pop()

    def any_of(self, node: dict[str, Any], path: str, level: int) -> None:
        members = node["anyOf"]
        self.counts["unions"] += 1
        if path == "#":
            self.found.append("#: anyOf at the root")
        if node.keys() - {"anyOf", "description", "title", "$defs"}:
            self.found.append(f"{path}: anyOf beside other keywords")
        if not isinstance(members, list) or not members:
            self.found.append(f"{path}: anyOf needs a list of schemas")
            return
        for at, member in enumerate(members):
            self.node(member, f"{path}/anyOf/{at}", level)
        self.distinct(members, path)

    def distinct(self, members: list[Any], path: str) -> None:
        """Objects in one anyOf must differ in their first key, or in its fixed value."""
        firsts = []
        for member in members:
            resolved = self.resolved(member)
            for key, value in list(resolved.get("properties", {}).items())[:1]:
                firsts.append((key, str(value.get("enum", value.get("const")))))
        keys = [key for key, _ in firsts]
        if any(keys.count(key) > 1 and (firsts.count((key, v)) > 1 or v == "None") for key, v in firsts):
            self.found.append(f"{path}: objects in anyOf share their first key")

    def resolved(self, member: Any) -> dict[str, Any]:
        if isinstance(member, dict) and "$ref" in member:
            member = self.defs.get(str(member["$ref"]).removeprefix("#/$defs/"))
        return member if isinstance(member, dict) else {}

    def typed(self, node: dict[str, Any], path: str, level: int) -> None:
        kind = node.get("type")
        if kind not in _TYPES:
            self.found.append(f"{path}: type is missing or unknown")
            return
        for owner, keywords in _BELONGS_TO.items():
            if owner != ("number" if kind == "integer" else kind):
                others = node.keys() & keywords - _BELONGS_TO.get(kind, set())
                numeric_format = kind == "integer" and "format" in others
                self.found += [f"{path}: {word} on a {kind}" for word in sorted(others) if not numeric_format]
        if "enum" in node:
            self.enum(node["enum"], kind, path)
        if kind == "object":
            self.object(node, path, level + 1)
        elif kind == "array":
            if "items" not in node:
                self.found.append(f"{path}: an array without items")
            self.node(node.get("items"), f"{path}/items", level)
        self.pattern(node, path)

    def pattern(self, node: dict[str, Any], path: str) -> None:
        if "pattern" not in node:
            return
        try:
            re.compile(node["pattern"])
        except (re.error, TypeError):
            self.found.append(f"{path}: pattern is no regular expression")
        else:
            if any(look in node["pattern"] for look in ("(?=", "(?!", "(?<=", "(?<!")):
                self.found.append(f"{path}: pattern looks around")

    def enum(self, values: Any, kind: str, path: str) -> None:
        fits = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}.get(kind, ())
        if not isinstance(values, list) or not values:
            self.found.append(f"{path}: an empty enum")
            return
        if any(
            not isinstance(value, fits) or (isinstance(value, bool) and kind != "boolean") for value in values
        ):
            self.found.append(f"{path}: enum values of another type")
        if len(set(map(repr, values))) < len(values):
            self.found.append(f"{path}: the same enum value twice")
        characters = sum(len(str(value)) for value in values)
        self.counts["enum values"] += len(values)
        self.counts["characters"] += characters
        if self.profile is SchemaProfile.OPENAI and len(values) > 250 and characters > 15_000:
            self.found.append(f"{path}: a large enum of {characters} characters")

    def object(self, node: dict[str, Any], path: str, level: int) -> None:
        properties = node.get("properties")
        if not isinstance(properties, dict) or not properties:
            self.found.append(f"{path}: an object without properties")
            return
        if node.get("additionalProperties") is not False:
            self.found.append(f"{path}: additionalProperties must be false")
        required = node.get("required")
        if not isinstance(required, list) or sorted(required) != sorted(properties):
            self.found.append(f"{path}: required must name every property once")
        self.counts["properties"] += len(properties)
        self.counts["characters"] += sum(map(len, properties))
        self.counts["levels"] = max(self.counts["levels"], level)
        for name, child in properties.items():
            self.node(child, f"{path}/properties/{name}", level)

    def totals(self) -> None:
        self.found += [
            f"#: {self.counts[name]} {name}, at most {limit}"
            for name, limit in _LIMITS[self.profile].items()
            if self.counts[name] > limit
        ]
