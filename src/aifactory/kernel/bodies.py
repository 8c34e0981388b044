"""What msgspec takes too easily, or refuses in too few words: money as text, a value of an enum. Pure."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import inspect


def money_as_text(decoded: Any, body: bytes) -> str | None:
    """Return the JSON Pointer of an exact number that was sent as a text; None if there is none."""
    kind: Any = type(decoded)
    if not _has_decimals(kind):
        return None
    return next(_decimals_as_text(decoded, msgspec.json.decode(body), ""), None)


@lru_cache(256)
def _has_decimals(kind: Any) -> bool:
    if not issubclass(kind, msgspec.Struct):
        return False
    return b'"decimal"' in msgspec.json.encode(msgspec.json.schema(kind, schema_hook=lambda _: {}))


def _decimals_as_text(value: Any, sent: Any, pointer: str) -> Iterator[str]:
    if isinstance(value, Decimal) and isinstance(sent, str):
        yield pointer
    elif isinstance(value, msgspec.Struct):
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        for field, name in names:
            if name in sent:
                yield from _decimals_as_text(getattr(value, field), sent[name], f"{pointer}/{name}")
    elif isinstance(value, list | tuple):
        for index, (inner, inner_sent) in enumerate(zip(value, sent, strict=True)):
            yield from _decimals_as_text(inner, inner_sent, f"{pointer}/{index}")


def allowed_values(kind: Any, pointer: str) -> list[str]:
    """Return the values that a type takes at a JSON Pointer, where that is one of a few; else none."""
    found: list[inspect.Type] = [inspect.type_info(kind)]
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = [inner for one in _alternatives(found) for inner in _inside(one, name)]
    values: dict[str, None] = {}
    for one in _alternatives(found):
        if isinstance(one, inspect.EnumType):
            values |= dict.fromkeys(str(member.value) for member in one.cls)
        elif isinstance(one, inspect.LiteralType):
            values |= dict.fromkeys(map(str, one.values))
    return list(values)


def _alternatives(kinds: Iterable[inspect.Type]) -> Iterator[inspect.Type]:
    for kind in kinds:
        if isinstance(kind, inspect.Metadata):
            yield from _alternatives([kind.type])
        elif isinstance(kind, inspect.UnionType):
            yield from _alternatives(kind.types)
        else:
            yield kind


def _inside(kind: inspect.Type, name: str) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.StructType):
        yield from (field.type for field in kind.fields if field.encode_name == name)
    elif isinstance(kind, inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType):
        yield kind.item_type
    elif isinstance(kind, inspect.DictType):
        yield kind.value_type
