"""Texts that several offline tests read."""

import hashlib
from functools import cache
from pathlib import Path

import msgspec

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.digest import Digest, SourceFormat
from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.source import read_source
from aifactory.granulation.sizes import Counts
from aifactory.granulation.tree import Tree

EXAMPLES = Path(__file__).parents[4] / "examples"
DOCUMENTS = ("balance-sheet.md", "drinking-water.md", "sourdough.md", "tides.txt")


@cache
def example(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


def format_of(name: str) -> SourceFormat:
    return "markdown" if name.endswith(".md") else "text"


def brief(structure_type: str, *per_level: int, **wishes: object) -> Brief:
    return Brief(structure_type=structure_type, topic="Topic", counts=Counts(per_level=per_level), **wishes)  # type: ignore[arg-type]


@cache
def digest_of(name: str) -> Digest:
    return read_source(example(name), format=format_of(name), name=name)


@cache
def make(name: str, structure_type: str, *per_level: int, **wishes: object) -> tuple[str, Tree]:
    """A text and its tree, the same for all who ask: it is only to be read."""
    text = example(name)
    return text, generate(digest_of(name), text, brief(structure_type, *per_level, **wishes))


def hashes(shapes: tuple[tuple[str, *tuple[int, ...]], ...]) -> list[str]:
    """Of the trees of two texts in each shape, for comparing processes."""
    return [
        hashlib.sha256(msgspec.json.encode(make(name, *shape)[1])).hexdigest()
        for shape in shapes
        for name in ("drinking-water.md", "tides.txt")
    ]
