"""What an answer's type is made of, read once from msgspec and shared by the schema and the codec. Pure."""

import enum
import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import inspect as types

JsonType = Literal["boolean", "integer", "number", "string", "null"]

_EMPTY_WORDS = {"List": "Empty list if none.", "Mapping": "Empty list if none.", "Scalar": "Empty if none."}
_NUMBER_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_TEXT_BOUNDS = {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"}
_LIST_BOUNDS = {"min_length": "minItems", "max_length": "maxItems"}


class UnsupportedType(TypeError):
    """A type that no provider's schema can say without loss; the message names where it stands."""


class RecursiveType(UnsupportedType):
    """A type that contains itself: send one schema of fixed depth per level instead."""


class Scalar(msgspec.Struct, frozen=True, kw_only=True):
    """A plain value; ``bounds`` are JSON Schema keywords."""

    kind: JsonType
    bounds: dict[str, Any] = {}
    description: str = ""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of fixed values, all strings or all integers."""

    values: tuple[str, ...] | tuple[int, ...]
    description: str = ""


class List(msgspec.Struct, frozen=True, kw_only=True):
    """A list or a tuple of any length."""

    item: "Shape"
    bounds: dict[str, Any] = {}
    description: str = ""


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """A map from strings; travels as a list of {key, value}."""

    key: "Scalar | Choice"
    value: "Shape"
    bounds: dict[str, Any] = {}
    description: str = ""


class Positions(msgspec.Struct, frozen=True, kw_only=True):
    """A tuple of fixed length; travels as an object with one named key per position."""

    names: tuple[str, ...]
    items: tuple["Shape", ...]
    description: str = ""


class Property(msgspec.Struct, frozen=True, kw_only=True):
    """A field: its name in JSON and in Python; ``required`` is False where the type has a default."""

    name: str
    attribute: str
    shape: "Shape"
    required: bool


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A struct; a tagged one starts with its tag."""

    cls: type
    tag_field: str | None
    tag: str | int | None
    properties: tuple[Property, ...]
    description: str = ""

    @property
    def property_count(self) -> int:
        """How many properties it has itself, its tag among them."""
        return len(self.properties) + (self.tag_field is not None)


class Union(msgspec.Struct, frozen=True, kw_only=True):
    """One of several shapes, told apart by their JSON type and, for structs, by the tag."""

    members: tuple["Shape", ...]
    description: str = ""


Shape = Scalar | Choice | List | Mapping | Positions | Record | Union


def shape_of(type_: Any) -> Record:
    """The shape of a struct type; raises `RecursiveType` or `UnsupportedType`."""
    found = types.type_info(type_)
    if not isinstance(found, types.StructType):
        raise UnsupportedType(f"{type_!r}: the root of an answer must be one struct")
    shape = _Reader().read(found, "$")
    assert isinstance(shape, Record)
    return shape


def children(shape: Shape) -> Iterator[Shape]:
    """The shapes directly below one."""
    match shape:
        case List():
            yield shape.item
        case Mapping():
            yield shape.key
            yield shape.value
        case Positions():
            yield from shape.items
        case Record():
            yield from (prop.shape for prop in shape.properties)
        case Union():
            yield from shape.members


class _Reader:
    """Reads types into shapes, each struct once, and notices a struct inside itself."""

    def __init__(self) -> None:
        self.done: dict[type, Record] = {}
        self.open: list[type] = []

    def read(self, found: types.Type, path: str) -> Shape:
        match found:
            case types.Metadata():
                inner = self.read(found.type, path)
                words = (found.extra_json_schema or {}).get("description", "")
                return msgspec.structs.replace(inner, description=words) if words else inner
            case types.StructType():
                return self.record(found, path)
            case types.UnionType():
                return _union([self.read(member, path) for member in found.types], path)
            case types.ListType() | types.VarTupleType():
                item = self.read(found.item_type, f"{path}[]")
                return List(item=item, bounds=_bounds(found, _LIST_BOUNDS))
            case types.DictType():
                return self.mapping(found, path)
            case types.TupleType():
                names = [f"item{position}" for position in range(1, len(found.item_types) + 1)]
                return self.positions(names, found.item_types, path)
            case types.NamedTupleType():
                names = [field.encode_name for field in found.fields]
                return self.positions(names, [field.type for field in found.fields], path)
            case _:
                return _plain(found, path)

    def record(self, found: types.StructType, path: str) -> Record:
        cls = found.cls
        if cls in self.open:
            raise RecursiveType(f"{path}: {cls.__name__} contains itself")
        if cls in self.done:
            return self.done[cls]
        if found.array_like:
            raise UnsupportedType(f"{path}: {cls.__name__} is written as an array")
        if getattr(cls, "__parameters__", ()):
            raise UnsupportedType(f"{path}: {cls.__name__} is generic")
        if not found.fields and found.tag_field is None:
            raise UnsupportedType(f"{path}: {cls.__name__} has no fields")
        self.open.append(cls)
        properties = tuple(self.property(field, path) for field in found.fields)
        self.open.pop()
        self.done[cls] = Record(cls=cls, tag_field=found.tag_field, tag=found.tag, properties=properties)
        return self.done[cls]

    def property(self, field: types.Field, path: str) -> Property:
        here = f"{path}.{field.encode_name}"
        shape = self.read(field.type, here)
        if not field.required:
            default = _default(field)
            _refuse_filled_list(default, here)
            shape = _told_when_empty(shape, default)
        return Property(
            name=field.encode_name, attribute=field.name, shape=shape, required=bool(field.required)
        )

    def mapping(self, found: types.DictType, path: str) -> Mapping:
        key = self.read(found.key_type, f"{path}{{}}")
        textual = isinstance(key, Scalar) and key.kind == "string"
        if not textual and not (isinstance(key, Choice) and isinstance(key.values[0], str)):
            raise UnsupportedType(f"{path}: the keys of a map must be strings")
        assert isinstance(key, Scalar | Choice)
        value = self.read(found.value_type, f"{path}{{}}")
        return Mapping(key=key, value=value, bounds=_bounds(found, _LIST_BOUNDS))

    def positions(self, names: Any, found: Any, path: str) -> Positions:
        if not names:
            raise UnsupportedType(f"{path}: an empty tuple")
        items = tuple(self.read(item, f"{path}.{name}") for name, item in zip(names, found, strict=True))
        return Positions(names=tuple(names), items=items)


def _plain(found: types.Type, path: str) -> Shape:
    match found:
        case types.BoolType():
            return Scalar(kind="boolean")
        case types.IntType():
            return Scalar(kind="integer", bounds=_bounds(found, _NUMBER_BOUNDS))
        case types.FloatType():
            return Scalar(kind="number", bounds=_bounds(found, _NUMBER_BOUNDS))
        case types.StrType():
            return Scalar(kind="string", bounds=_bounds(found, _TEXT_BOUNDS))
        case types.NoneType():
            return Scalar(kind="null")
        case types.LiteralType():
            return _choices(found.values, path)
        case types.EnumType():
            return _choices([member.value for member in found.cls], path)
    raise UnsupportedType(f"{path}: {type(found).__name__} has no lossless schema")


def _choices(values: Any, path: str) -> Shape:
    """Fixed values, one choice per JSON type, with null beside them where it is one of them."""
    texts = tuple(value for value in values if isinstance(value, str))
    numbers = tuple(value for value in values if type(value) is int)
    members: list[Shape] = [Choice(values=group) for group in (texts, numbers) if group]
    if None in values:
        members.append(Scalar(kind="null"))
    if len(texts) + len(numbers) + (None in values) != len(values):
        raise UnsupportedType(f"{path}: fixed values must be strings, integers or null")
    return members[0] if len(members) == 1 else _union(members, path)


def _union(members: list[Shape], path: str) -> Union:
    flat = [
        inner for member in members for inner in (member.members if isinstance(member, Union) else [member])
    ]
    lists = sum(isinstance(member, List | Mapping) for member in flat)
    fixed = sum(isinstance(member, Positions) for member in flat)
    records = sum(isinstance(member, Record) for member in flat)
    if lists > 1 or fixed > 1 or (fixed and records):
        raise UnsupportedType(f"{path}: the members of this union look alike once written for a provider")
    return Union(members=tuple(flat))


def _bounds(found: Any, keywords: dict[str, str]) -> dict[str, Any]:
    named = {word: getattr(found, name) for name, word in keywords.items()}
    return {
        word: bound.pattern if isinstance(bound, re.Pattern) else bound
        for word, bound in named.items()
        if bound is not None
    }


def _default(field: types.Field) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _refuse_filled_list(default: Any, path: str) -> None:
    """A cut answer may fall back on defaults, which must never look like elements that the model wrote."""
    plain = msgspec.to_builtins(default, enc_hook=lambda other: None)
    rest = [plain]
    while rest:
        value = rest.pop()
        if isinstance(value, list | tuple) and value:
            raise UnsupportedType(f"{path}: the default of a list must be empty")
        rest.extend(value.values() if isinstance(value, dict) else ())


def _told_when_empty(shape: Shape, default: Any) -> Shape:
    """Defaults are not sent, so say in words what an absent value looks like."""
    if default is None or isinstance(default, bool | int | float | enum.Enum) or default:
        return shape
    words = "" if shape_minimum(shape) else _EMPTY_WORDS.get(type(shape).__name__, "")
    if not words or words in shape.description:
        return shape
    return msgspec.structs.replace(shape, description=f"{shape.description} {words}".strip())


def shape_minimum(shape: Shape) -> int:
    """The fewest elements or characters that a shape allows."""
    bounds = shape.bounds if isinstance(shape, Scalar | List | Mapping) else {}
    return int(bounds.get("minItems", bounds.get("minLength", 0)))
