"""Random struct types with values of them."""

from enum import Enum, StrEnum
from typing import Annotated, Any, Literal

import msgspec
from hypothesis import strategies as st
from msgspec import Meta

# A type and a strategy for its values.
Typed = tuple[Any, st.SearchStrategy[Any]]


class Level(StrEnum):
    LOW = "low"
    HIGH = "high"


class Points(Enum):
    ONE = 1
    TWO = 2


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
NAMES = st.sampled_from(["title", "summary", "nodes", "key_points", "item1", "value", "key", "ordinal"])
PLAIN: list[Typed] = [
    (bool, st.booleans()),
    (int, st.integers(-(2**60), 2**60)),
    (Annotated[int, Meta(ge=1, lt=9)], st.integers(1, 8)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (str, WORDS),
    (Annotated[str, Meta(max_length=80, description="A short text")], WORDS),
    (Annotated[str, Meta(pattern="^(?!x)[a-z]+$")], st.sampled_from(["ab", "c"])),
    (Literal["a", "b", " c"], st.sampled_from(["a", "b", " c"])),
    (Literal[1, 2, "x", None], st.sampled_from([1, 2, "x", None])),
    (Level, st.sampled_from(Level)),
    (Points, st.sampled_from(Points)),
    (int | str, st.one_of(st.integers(-9, 9), WORDS)),
    (int | float, st.one_of(st.integers(-9, 9), st.floats(-9, 9))),
]


def optional(inner: Typed) -> Typed:
    return inner[0] | None, st.none() | inner[1]


def list_of(inner: Typed) -> Typed:
    return list[inner[0]], st.lists(inner[1], max_size=3)  # type: ignore[name-defined]


def tuple_of(inner: Typed) -> Typed:
    bounded = Annotated[tuple[inner[0], ...], Meta(max_length=4)]  # type: ignore[name-defined]
    return bounded, st.lists(inner[1], max_size=4).map(tuple)


def map_of(inner: Typed) -> Typed:
    return dict[str, inner[0]], st.dictionaries(WORDS, inner[1], max_size=3)  # type: ignore[name-defined]


def fixed(inner: list[Typed]) -> Typed:
    return tuple[tuple(one[0] for one in inner)], st.tuples(*(one[1] for one in inner))  # type: ignore[misc]


@st.composite
def structs(draw: st.DrawFn, inner: st.SearchStrategy[Typed], tag: str | None = None) -> Typed:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    fields, values = [], {}
    for name in names:
        type_, strategy = draw(inner)
        default = draw(st.sampled_from([(), (None,)])) if tag is None else ()
        fields.append((name, type_ | None if default else type_, *default))
        values[name] = strategy
    cls = msgspec.defstruct(
        draw(st.sampled_from(["Node", "Item"])),
        fields,
        kw_only=True,
        frozen=draw(st.booleans()),
        forbid_unknown_fields=True,
        rename="camel",
        omit_defaults=draw(st.booleans()),
        tag=tag,
        tag_field="kind" if tag else None,
    )
    return cls, st.builds(cls, **values)


@st.composite
def tagged(draw: st.DrawFn, inner: st.SearchStrategy[Typed]) -> Typed:
    one, other = draw(structs(inner, "one")), draw(structs(inner, "other"))
    return one[0] | other[0], one[1] | other[1]


def wider(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    return st.one_of(
        inner.filter(lambda one: not is_union(one[0])).map(optional),
        inner.map(list_of),
        inner.map(tuple_of),
        inner.map(map_of),
        st.lists(inner, min_size=1, max_size=3).map(fixed),
        structs(inner),
        tagged(inner),
    )


def is_union(type_: Any) -> bool:
    """Whether null may already be inside, or the type is a list written like another one."""
    return "Annotated" in repr(type_) or "|" in repr(type_) or "Literal" in repr(type_)


ROOTS = structs(st.recursive(st.sampled_from(PLAIN), wider, max_leaves=4))


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[Any, Any]:
    type_, values = draw(ROOTS)
    return type_, draw(values)
