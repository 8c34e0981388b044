"""The content tree: what every generator makes and every check, score and export reads. Pure."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec

SCHEMA_VERSION = 1
MAX_NODES = 1_500

SIMULATED_NOTICE = "Written by a simulated provider, for development: not by a model."


class Origin(StrEnum):
    """Who wrote a node; ``simulated`` is a stand-in for a model, for development, and never a model."""

    LLM = "llm"
    SIMULATED = "simulated"
    OFFLINE = "offline"
    HUMAN = "human"


class NodeState(StrEnum):
    """How far a node got."""

    DRAFT = "draft"
    OK = "ok"
    REPAIRED = "repaired"
    FAILED = "failed"


class Bloom(StrEnum):
    """The six levels of Bloom's revised taxonomy, lowest first."""

    REMEMBER = "remember"
    UNDERSTAND = "understand"
    APPLY = "apply"
    ANALYZE = "analyze"
    EVALUATE = "evaluate"
    CREATE = "create"


class ItemKind(StrEnum):
    """The kinds of assessment item."""

    SINGLE = "single"
    MULTI = "multi"
    TRUE_FALSE = "true_false"
    SHORT = "short"
    NUMERIC = "numeric"
    MATCH = "match"
    ORDER = "order"
    CLOZE = "cloze"
    ESSAY = "essay"


class Difficulty(StrEnum):
    """The intended difficulty of an item."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of everything inside a tree: camelCase outside, defaults left out."""


class Span(Part, frozen=True, kw_only=True):
    """A passage of the source text: ``text[start:end] == quote``, in characters, half-open."""

    start: int
    end: int
    quote: str


class Objective(Part, frozen=True, kw_only=True):
    """One thing a learner can do afterwards: one measurable verb."""

    id: str
    text: str
    bloom: Bloom
    outcome_ids: tuple[str, ...] = ()


class Concept(Part, frozen=True, kw_only=True):
    """A glossary entry."""

    term: str
    definition: str
    sources: tuple[Span, ...] = ()


class Option(Part, frozen=True, kw_only=True):
    """A choice of a single or multi item."""

    text: str
    correct: bool = False
    rationale: str = ""


class Pair(Part, frozen=True, kw_only=True):
    """A left and right side that belong together in a match item."""

    left: str
    right: str


class Criterion(Part, frozen=True, kw_only=True):
    """A line of an essay's rubric."""

    criterion: str
    points: int


class Item(Part, frozen=True, kw_only=True):
    """One assessment item; which optional fields are used follows from ``kind``.

    single, multi: ``options``; true_false: ``answer``; short, cloze: ``accepted`` (a cloze stem has one
    ``____``); numeric: ``value``, ``tolerance``; match: ``pairs``; order: ``steps`` in the right order;
    essay: ``rubric``.
    """

    id: str
    kind: ItemKind
    stem: str
    objective_ids: tuple[str, ...]
    bloom: Bloom
    difficulty: Difficulty
    points: int = 1
    feedback: str = ""
    hint: str | None = None
    options: tuple[Option, ...] = ()
    answer: bool | None = None
    accepted: tuple[str, ...] = ()
    value: float | None = None
    tolerance: float | None = None
    unit: str | None = None
    pairs: tuple[Pair, ...] = ()
    steps: tuple[str, ...] = ()
    rubric: tuple[Criterion, ...] = ()
    sources: tuple[Span, ...] = ()


class Node(Part, frozen=True, kw_only=True):
    """A node of a tree. ``fields`` holds what its kind's spec names, camelCase, plain JSON values."""

    id: str
    kind: str
    level: int
    ordinal: int
    title: str
    summary: str = ""
    minutes: int | None = None
    tags: tuple[str, ...] = ()
    sources: tuple[Span, ...] = ()
    origin: Origin = Origin.OFFLINE
    state: NodeState = NodeState.DRAFT
    fields: dict[str, Any] = {}
    children: tuple["Node", ...] = ()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The node's own objectives (empty where its kind has none)."""
        return msgspec.convert(self.fields.get("objectives", []), tuple[Objective, ...])

    @property
    def items(self) -> tuple[Item, ...]:
        """The node's own items: a quiz's item node has one, a course's lesson up to five."""
        if "item" in self.fields:
            return (msgspec.convert(self.fields["item"], Item),)
        return msgspec.convert(self.fields.get("items", []), tuple[Item, ...])


class SourceInfo(Part, frozen=True, kw_only=True):
    """What the spans of a tree point into."""

    name: str
    characters: int
    words: int
    sha256: str


class Tree(Part, frozen=True, kw_only=True):
    """A whole result. ``fields`` holds what the type names at the root (outcomes, glossary, blueprint…)."""

    schema_version: int = SCHEMA_VERSION
    structure_type: str
    title: str
    summary: str
    language: str
    origin: Origin
    depth: int
    target_audience: str = ""
    level: str = ""
    source: SourceInfo | None = None
    fields: dict[str, Any] = {}
    nodes: tuple[Node, ...] = ()


def walk(tree: Tree) -> Iterator[tuple[str, Node]]:
    """Yield every node with its path (``1``, ``1.2``, ``1.2.3``), parents before children."""

    def visit(prefix: str, nodes: tuple[Node, ...]) -> Iterator[tuple[str, Node]]:
        for position, node in enumerate(nodes, 1):
            path = f"{prefix}{position}"
            yield path, node
            yield from visit(f"{path}.", node.children)

    return visit("", tree.nodes)


def leaves(tree: Tree) -> Iterator[tuple[str, Node]]:
    """Yield the nodes without children, with their paths."""
    return ((path, node) for path, node in walk(tree) if not node.children)
