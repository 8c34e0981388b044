"""What granulation's routes give."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from aifactory.granulation.generation.repairs import Repair
from aifactory.granulation.queries import StoredTree
from aifactory.granulation.scoring import SubScore
from aifactory.granulation.tree import Node, Tree, walk
from aifactory.kernel.ids import text_id


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what leaves: camelCase; may grow."""


class Grade(View, frozen=True, kw_only=True):
    """A judge's grade for one criterion, 1 to 5, with the reason."""

    key: str
    grade: int
    reason: str


class Judgement(View, frozen=True, kw_only=True):
    """What a model said as a judge, beside the score and without effect on it: advice, not a check."""

    model: str
    verdict: str
    steps: list[str]
    grades: list[Grade]


class Repairs(View, frozen=True, kw_only=True):
    """Everything that was changed between the models' answers and the stored tree, in order."""

    id: str
    repairs: list[Repair]


class TreeSummary(View, frozen=True, kw_only=True):
    """A stored tree without its nodes: what it is, how good it is."""

    id: str
    execution_id: str
    client_id: str
    structure_type: str
    template: str
    template_version: int
    title: str
    state: str
    origin: str
    models: list[str]
    score: Decimal | None
    band: str
    sub_scores: dict[str, SubScore]
    gates_failed: tuple[str, ...]
    checks_run: tuple[str, ...]
    checks_skipped: dict[str, str]
    repairs: int
    judgement: Judgement | None
    created_at: datetime
    erased: bool


class OutlineNode(View, frozen=True, kw_only=True):
    """A node of a structure: its path, kind and title, and the nodes below."""

    path: str
    id: str
    kind: str
    title: str
    summary: str
    minutes: int | None
    state: str
    children: list["OutlineNode"]


class Structure(View, frozen=True, kw_only=True):
    """A tree as an outline, and how many nodes of each kind it has."""

    id: str
    title: str
    counts: dict[str, int]
    nodes: list[OutlineNode]


class ViolationView(View, frozen=True, kw_only=True):
    """A broken rule: where and how bad."""

    severity: str
    rule: str
    path: str
    node_id: str | None
    message: str


class Stats(View, frozen=True, kw_only=True):
    """The newest trees, counted; ``complete``: there are no older ones."""

    trees: int
    complete: bool
    by_type: dict[str, int]
    by_state: dict[str, int]
    by_origin: dict[str, int]
    mean_score: Decimal | None


def summary_of(stored: StoredTree) -> TreeSummary:
    """Return a stored tree as it leaves."""
    assessed = stored.assessment
    return TreeSummary(
        id=text_id("tree", stored.id),
        execution_id=text_id("exec", stored.execution_id),
        client_id=text_id("client", stored.client_id),
        structure_type=stored.structure_type,
        template=stored.template,
        template_version=stored.template_version,
        title=stored.title,
        state=stored.state,
        origin=stored.origin,
        models=stored.models,
        score=stored.score,
        band=assessed["band"],
        sub_scores=msgspec.convert(assessed["subScores"], dict[str, SubScore]),
        gates_failed=tuple(assessed["gatesFailed"]),
        checks_run=tuple(assessed["checksRun"]),
        checks_skipped=assessed["checksSkipped"],
        repairs=len(stored.repairs),
        judgement=msgspec.convert(stored.judgement, Judgement | None),
        created_at=stored.created_at,
        erased=stored.erased_at is not None,
    )


def structure_of(tree_id: str, tree: Tree) -> Structure:
    """Return a tree as an outline."""
    counts: dict[str, int] = {}
    for _, node in walk(tree):
        counts[node.kind] = counts.get(node.kind, 0) + 1
    return Structure(id=tree_id, title=tree.title, counts=counts, nodes=_outline(tree.nodes, ""))


def _outline(nodes: tuple[Node, ...], prefix: str) -> list[OutlineNode]:
    return [
        OutlineNode(
            path=f"{prefix}{position}",
            id=node.id,
            kind=node.kind,
            title=node.title,
            summary=node.summary,
            minutes=node.minutes,
            state=node.state,
            children=_outline(node.children, f"{prefix}{position}."),
        )
        for position, node in enumerate(nodes, 1)
    ]


def violation_of(row: Any) -> ViolationView:
    """Return a violation's row as it leaves."""
    return ViolationView(
        severity=row["severity"],
        rule=row["rule"],
        path=row["path"],
        node_id=row["node_id"],
        message=row["message"],
    )


def stats_of(rows: list[Any], *, most: int) -> Stats:
    """Add up groups of trees."""

    def by(name: str) -> dict[str, int]:
        counted: dict[str, int] = {}
        for row in rows:
            counted[row[name]] = counted.get(row[name], 0) + row["trees"]
        return dict(sorted(counted.items()))

    trees = sum(row["trees"] for row in rows)
    scored = sum(row["scored"] for row in rows)
    scores = sum((row["scores"] or Decimal(0) for row in rows), Decimal(0))
    return Stats(
        trees=trees,
        complete=trees < most,
        by_type=by("structure_type"),
        by_state=by("state"),
        by_origin=by("origin"),
        mean_score=round(scores / scored, 1) if scored else None,
    )
