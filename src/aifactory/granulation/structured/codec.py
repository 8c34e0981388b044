"""Between a value and the form it travels in: maps as pairs, fixed tuples as objects. Pure."""

import enum
import math
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
)

# Above this a float no longer tells one integer from the next.
_EXACT_FLOAT = 2**53


class AnswerError(ValueError):
    """An answer that its type refuses: ``path`` is a JSON Pointer into the answer."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path or '/'}: {message}")
        self.path = path
        self.message = message


def to_wire(shape: Shape, value: Any) -> Any:
    """A value in the provider's form; every property is written. Raises ValueError for what JSON lacks."""
    match shape:
        case Record():
            tag = {} if shape.tag_field is None else {shape.tag_field: shape.tag}
            return tag | {
                prop.name: to_wire(prop.shape, getattr(value, prop.attribute)) for prop in shape.properties
            }
        case List():
            return [to_wire(shape.item, item) for item in value]
        case Mapping():
            return [
                {"key": to_wire(shape.key, key), "value": to_wire(shape.value, item)}
                for key, item in value.items()
            ]
        case Positions():
            parts = zip(shape.names, shape.items, value, strict=True)
            return {name: to_wire(item, part) for name, item, part in parts}
        case Union():
            return to_wire(_member_of_value(shape, value), value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("JSON has no word for a number that is not finite")
    return value.value if isinstance(value, enum.Enum) else value


def _member_of_value(union: Union, value: Any) -> Shape:
    """The member that a Python value belongs to."""
    for member in union.members:
        match member:
            case Record():
                fits = type(value) is member.cls
            case Mapping():
                fits = isinstance(value, dict)
            case Positions():
                fits = isinstance(value, tuple) and len(value) == len(member.names)
            case List():
                fits = isinstance(value, list | tuple)
            case _:
                fits = value is None or isinstance(value, bool | int | float | str | enum.Enum)
        if fits:
            return member
    raise ValueError(f"a {type(value).__name__} is no member of this union")


class FromWire:
    """Undoes `to_wire` on parsed JSON; with ``lenient``, whole floats pass as integers and enum values lose
    surrounding whitespace, each said in ``notes``. What it doesn't know it leaves for the types to refuse.
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self.lenient = lenient
        self.notes: list[str] = []

    def read(self, shape: Shape, value: Any, path: str = "") -> Any:
        """The value as msgspec expects it; raises `AnswerError`."""
        match shape:
            case Union():
                return self._read_member(shape, value, path)
            case Record() if isinstance(value, dict):
                return self._read_record(shape, value, path)
            case List() if isinstance(value, list):
                return [self.read(shape.item, item, f"{path}/{at}") for at, item in enumerate(value)]
            case Mapping() if isinstance(value, list):
                return self._read_pairs(shape, value, path)
            case Mapping():
                raise AnswerError(path, "expected a list of objects with key and value")
            case Positions():
                if not isinstance(value, dict) or set(value) != set(shape.names):
                    raise AnswerError(path, f"expected an object with {', '.join(shape.names)}")
                parts = zip(shape.names, shape.items, strict=True)
                return [self.read(item, value[name], f"{path}/{name}") for name, item in parts]
            case Scalar(kind="integer"):
                return self._whole(value, path)
            case Choice():
                return self._choice(shape, value, path)
        return value

    def _read_record(self, shape: Record, value: dict[str, Any], path: str) -> dict[str, Any]:
        read = dict(value)
        if shape.tag_field is not None and shape.tag_field in value:
            read[shape.tag_field] = self._tag(shape, value[shape.tag_field], f"{path}/{shape.tag_field}")
        for prop in shape.properties:
            if prop.name in value:
                read[prop.name] = self.read(prop.shape, value[prop.name], f"{path}/{pointer_part(prop.name)}")
        return read

    def _read_pairs(self, shape: Mapping, value: list[Any], path: str) -> dict[Any, Any]:
        read: dict[Any, Any] = {}
        for at, pair in enumerate(value):
            here = f"{path}/{at}"
            if not isinstance(pair, dict) or set(pair) != {"key", "value"}:
                raise AnswerError(here, "expected an object with key and value")
            key = self.read(shape.key, pair["key"], f"{here}/key")
            if not isinstance(key, str):
                raise AnswerError(f"{here}/key", "expected a string")
            if key in read:
                raise AnswerError(f"{here}/key", "the same key twice")
            read[key] = self.read(shape.value, pair["value"], f"{here}/value")
        return read

    def _read_member(self, union: Union, value: Any, path: str) -> Any:
        """Read by the member that has the value's JSON type (and tag)."""
        kinds = {member.kind for member in union.members if isinstance(member, Scalar)}
        for member in union.members:
            match member:
                case Record():
                    fits = isinstance(value, dict) and self._has_tag(member, value)
                case Positions():
                    fits = isinstance(value, dict)
                case List() | Mapping():
                    fits = isinstance(value, list)
                case Choice():
                    fits = isinstance(value, type(member.values[0])) and "string" not in kinds
                case Scalar():
                    fits = member.kind == "integer" and isinstance(value, float) and "number" not in kinds
            if fits:
                return self.read(member, value, path)
        return value

    def _has_tag(self, member: Record, value: dict[str, Any]) -> bool:
        if member.tag_field is None:
            return True
        tag = value.get(member.tag_field)
        trimmed = tag.strip() if self.lenient and isinstance(tag, str) else tag
        return bool(trimmed == member.tag)

    def _tag(self, member: Record, value: Any, path: str) -> Any:
        if isinstance(value, str) and isinstance(member.tag, str):
            return self._choice(Choice(values=(member.tag,)), value, path)
        return value

    def _choice(self, shape: Choice, value: Any, path: str) -> Any:
        if not isinstance(value, str):
            return self._whole(value, path) if isinstance(shape.values[0], int) else value
        trimmed = value.strip()
        if self.lenient and value not in shape.values and trimmed in shape.values:
            self.notes.append(f"{path}: surrounding whitespace removed")
            return trimmed
        return value

    def _whole(self, value: Any, path: str) -> Any:
        if self.lenient and isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT:
            self.notes.append(f"{path}: {value!r} read as an integer")
            return int(value)
        return value


def pointer_part(name: str) -> str:
    """A property name as a part of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")
