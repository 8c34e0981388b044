"""What granulation's routes give."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from aifactory.granulation.queries import StoredTree
from aifactory.granulation.scoring import SubScore
from aifactory.granulation.tree import Node, Tree, walk
from aifactory.kernel.ids import text_id


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what leaves: camelCase; may grow."""


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
    score: Decimal | None
    band: str
    sub_scores: dict[str, SubScore]
    gates_failed: tuple[str, ...]
    checks_run: tuple[str, ...]
    checks_skipped: dict[str, str]
    created_at: datetime


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


class Validations(View, frozen=True, kw_only=True):
    """All broken rules of a tree, gates first."""

    id: str
    violations: list[ViolationView]


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
        score=stored.score,
        band=assessed["band"],
        sub_scores=msgspec.convert(assessed["subScores"], dict[str, SubScore]),
        gates_failed=tuple(assessed["gatesFailed"]),
        checks_run=tuple(assessed["checksRun"]),
        checks_skipped=assessed["checksSkipped"],
        created_at=stored.created_at,
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
