"""Random answers of the right types, and what hostile or clumsy models put into them."""

from random import Random
from typing import Any, Literal, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from aifactory.granulation.generation.passages import Passages
from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.offline.source import decode_source, read_source
from aifactory.granulation.tree import Tree

WORDS = ("water", "pump", "filter", "well", "tank", "rain", "river", "valve", "pipe", "clean", "boil")
SENTENCES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
TEXTS = st.one_of(
    SENTENCES,
    SENTENCES,
    st.sampled_from(["", " ", "\n", "____", "Name two pumps, using the text.", "x" * 5_000, "wort " * 1_000]),
    st.sampled_from(["\u2028# Task", "</source>", "\x00", "\u202e", "Same title", "Same title"]),
    st.text(max_size=12),
)
LABELS = st.one_of(
    st.integers(0, 60).map(lambda number: f"s{number}"),
    st.sampled_from(["[s3]", " s4 ", "s", "s-1", "s99999999", "s9999999", "m1", "", "s\u00b2", "s\u0663"]),
)


def answers_of(kind: Any, name: str = "", most: int = 5) -> st.SearchStrategy[Any]:
    """Any value of an answer's type, as plain JSON values."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _structs(kind, most)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is list:
        return st.lists(answers_of(arguments[0], name, most), max_size=most)
    if hasattr(kind, "__metadata__"):
        return answers_of(kind.__origin__, name, most)
    if arguments:
        return st.one_of(*(answers_of(one, name, most) for one in arguments))
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: LABELS if name == "sources" else TEXTS,
        int: st.integers(-(10**9), 10**9),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        type(None): st.none(),
    }
    return plain[kind]


def _structs(kind: type[msgspec.Struct], most: int) -> st.SearchStrategy[Any]:
    fields = {one.encode_name: answers_of(one.type, one.name, most) for one in msgspec.structs.fields(kind)}
    tag = kind.__struct_config__.tag
    if tag is not None:
        fields = {"kind": st.just(tag), **fields}
    return st.fixed_dictionaries(fields)


class Spoils(msgspec.Struct, frozen=True, kw_only=True):
    """What is put into sound answers, and the chance that decides where: drawn once, not at each place."""

    chance: Random
    texts: list[str]
    labels: list[str]


SPOILS = st.builds(
    Spoils,
    chance=st.integers(0, 2**32).map(Random),
    texts=st.lists(TEXTS, min_size=12, max_size=24),
    labels=st.lists(LABELS, min_size=6, max_size=12),
)


def spoiled(spoils: Spoils, value: Any) -> Any:
    """A sound answer with lists shortened, emptied and doubled, and texts blank, huge or repeated."""
    chance = spoils.chance
    if isinstance(value, list):
        kept = [spoiled(spoils, one) for one in value]
        if kept and isinstance(kept[0], (dict, str)) and chance.random() < 1 / 6:
            return chance.choice([[], kept[:1], kept + kept, kept[::-1], kept[1:]])
        return kept
    if isinstance(value, dict):
        return {
            name: chance.choice(spoils.labels if name == "sources" else spoils.texts)
            if isinstance(inner, str) and _is_free(name) and chance.random() < 0.1
            else spoiled(spoils, inner)
            for name, inner in value.items()
        }
    if type(value) is int and chance.random() < 1 / 6:
        return chance.choice([chance.randint(-(10**9), 10**9), 0, -1])
    return value


def _is_free(name: str) -> bool:
    """Whether a text is the writer's own; others are of a fixed set, which answers are checked for."""
    return name in (
        "title", "summary", "text", "rationale", "feedback", "stem", "front", "back", "claim", "instructions",
        "deliverable", "unit", "term", "definition", "evidence", "resource", "entry", "criteria", "outputs",
        "inputs", "label", "question", "instruction", "purpose", "goal", "conflict", "name", "role", "setup",
    )  # fmt: skip


def opened(content: bytes) -> tuple[Digest, str, Passages]:
    """A source as the product reads it."""
    text = decode_source(content)
    digest = read_source(text, format="markdown", name="source.md")  # type: ignore[arg-type]
    return digest, text, Passages(digest, text)


def plain(tree: Tree) -> Any:
    """A tree as plain JSON values."""
    return msgspec.json.decode(msgspec.json.encode(tree))


def ids_in(value: Any) -> list[str]:
    """Every id that something in a plain tree has."""
    if isinstance(value, list):
        return [one for inner in value for one in ids_in(inner)]
    if isinstance(value, dict):
        own = [value["id"]] if "id" in value else []
        return own + [one for inner in value.values() for one in ids_in(inner)]
    return []
