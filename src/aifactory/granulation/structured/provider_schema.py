"""From a shape to the JSON Schema that a provider enforces. Pure."""

import re
from collections import Counter
from typing import Any

from aifactory.granulation.structured.shapes import (
    Choice,
    List,
    Mapping,
    Positions,
    Record,
    Scalar,
    Shape,
    Union,
    children,
)
from aifactory.resources.interface import SchemaProfile

_WORDS = {
    "minItems": "At least {} entries.",
    "maxItems": "At most {} entries.",
    "minLength": "At least {} characters.",
    "maxLength": "At most {} characters.",
    "minimum": "At least {}.",
    "exclusiveMinimum": "More than {}.",
    "maximum": "At most {}.",
    "exclusiveMaximum": "Less than {}.",
    "multipleOf": "A multiple of {}.",
    "pattern": "Matches {}.",
}
_LOOKAROUND = re.compile(r"\(\?<?[=!]")


def provider_schema(root: Record, profile: SchemaProfile) -> dict[str, Any]:
    """The schema of a root object, closed and without defaults; bounds as the profile takes them."""
    writer = _Writer(root, profile)
    schema = writer.record_body(root)
    return {**schema, "$defs": writer.defs} if writer.defs else schema


class _Writer:
    """Writes shapes, with structs used more than once as definitions where the profile knows them."""

    def __init__(self, root: Record, profile: SchemaProfile) -> None:
        self.keeps_bounds = profile is SchemaProfile.OPENAI
        self.names = {} if profile is SchemaProfile.GEMINI else _shared_names(root)
        self.defs: dict[str, Any] = {}

    def write(self, shape: Shape) -> dict[str, Any]:
        body = self.body(shape)
        words = [shape.description, *self.bound_words(shape)]
        description = " ".join(word for word in words if word)
        return {**body, "description": description} if description else body

    def body(self, shape: Shape) -> dict[str, Any]:
        match shape:
            case Scalar():
                return {"type": shape.kind, **self.bounds(shape)}
            case Choice():
                kind = "string" if isinstance(shape.values[0], str) else "integer"
                return {"type": kind, "enum": list(shape.values)}
            case List():
                return {"type": "array", "items": self.write(shape.item), **self.bounds(shape)}
            case Mapping():
                pair = {"key": self.write(shape.key), "value": self.write(shape.value)}
                return {"type": "array", "items": _closed(pair), **self.bounds(shape)}
            case Positions():
                items = zip(shape.names, shape.items, strict=True)
                return _closed({name: self.write(item) for name, item in items})
            case Union():
                return {"anyOf": [self.write(member) for member in shape.members]}
            case Record():
                return self.record(shape)

    def record(self, shape: Record) -> dict[str, Any]:
        name = self.names.get(shape.cls)
        if name is None or shape.description:  # a reference may carry no description
            return self.record_body(shape)
        if name not in self.defs:
            self.defs[name] = self.record_body(shape)
        return {"$ref": f"#/$defs/{name}"}

    def record_body(self, shape: Record) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        if shape.tag_field is not None:  # first: models decide by it, and OpenAI tells members by it
            kind = "integer" if isinstance(shape.tag, int) else "string"
            properties[shape.tag_field] = {"type": kind, "enum": [shape.tag]}
        properties |= {prop.name: self.write(prop.shape) for prop in shape.properties}
        return _closed(properties)

    def bounds(self, shape: Scalar | List | Mapping) -> dict[str, Any]:
        return {word: bound for word, bound in shape.bounds.items() if self.sends(word, bound)}

    def bound_words(self, shape: Shape) -> list[str]:
        if not isinstance(shape, Scalar | List | Mapping):
            return []
        return [
            _WORDS[word].format(bound) for word, bound in shape.bounds.items() if not self.sends(word, bound)
        ]

    def sends(self, word: str, bound: Any) -> bool:
        return self.keeps_bounds and not (word == "pattern" and _LOOKAROUND.search(bound))


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _shared_names(root: Record) -> dict[type, str]:
    """A name for each struct that is used more than once; the root is always written in place."""
    uses: Counter[type] = Counter()
    rest: list[Shape] = [root]
    while rest:
        for child in children(rest.pop()):
            seen = isinstance(child, Record) and child.cls in uses
            if isinstance(child, Record):
                uses[child.cls] += 1
            if not seen:
                rest.append(child)
    names: dict[type, str] = {}
    for cls, count in uses.items():
        if count > 1:
            plain = re.sub(r"[^A-Za-z0-9_]", "_", cls.__name__)
            names[cls] = plain if plain not in names.values() else f"{plain}_{len(names)}"
    return names
