"""Texts that several offline tests read."""

from pathlib import Path

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.digest import SourceFormat
from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.source import read_source
from aifactory.granulation.sizes import Counts
from aifactory.granulation.tree import Tree

EXAMPLES = Path(__file__).parents[4] / "examples"
DOCUMENTS = ("balance-sheet.md", "drinking-water.md", "sourdough.md", "tides.txt")


def example(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


def format_of(name: str) -> SourceFormat:
    return "markdown" if name.endswith(".md") else "text"


def brief(structure_type: str, *per_level: int, **wishes: object) -> Brief:
    return Brief(structure_type=structure_type, topic="Topic", counts=Counts(per_level=per_level), **wishes)  # type: ignore[arg-type]


def make(name: str, structure_type: str, *per_level: int, **wishes: object) -> tuple[str, Tree]:
    text = example(name)
    digest = read_source(text, format=format_of(name), name=name)
    return text, generate(digest, text, brief(structure_type, *per_level, **wishes))
