"""The SQL of granulation: worker templates and trees; no decisions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from aifactory.granulation.generation.repairs import Repair
from aifactory.granulation.scoring import Assessment
from aifactory.granulation.tree import Node, Tree, walk
from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import ClientId, ExecutionId, StageId, TreeId
from aifactory.kernel.page import Page, PageRequest, page_of


class StoredTree(msgspec.Struct, frozen=True, kw_only=True):
    """A tree's row without its nodes."""

    id: TreeId
    execution_id: ExecutionId
    client_id: ClientId
    structure_type: str
    template: str
    template_version: int
    title: str
    state: str
    origin: str
    score: Decimal | None
    assessment: dict[str, Any]
    head: dict[str, Any]
    models: list[str]
    repairs: list[dict[str, Any]]
    judgement: dict[str, Any] | None
    created_at: datetime
    erased_at: datetime | None = None
    erasure: str | None = None


_TREE = """
    id, execution_id, client_id, structure_type, template, template_version, title, state, origin, score,
    assessment, head, models, repairs, judgement, created_at, erased_at, erasure"""


async def insert_tree(
    tx: Tx,
    *,
    tree_id: TreeId,
    execution_id: ExecutionId,
    stage_id: StageId,
    client_id: ClientId,
    template: str,
    template_version: int,
    state: str,
    tree: Tree,
    assessment: Assessment,
    models: Sequence[str] = (),
    repairs: Sequence[Repair] = (),
) -> None:
    """Store a tree, its nodes and its violations; a second tree of a stage is refused."""
    score = assessment.score.score
    await tx.raw.execute(
        """
        INSERT INTO granulation_trees (id, execution_id, stage_id, client_id, structure_type, template,
            template_version, title, state, origin, score, assessment, head, models, repairs, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        """,
        tree_id,
        execution_id,
        stage_id,
        client_id,
        tree.structure_type,
        template,
        template_version,
        tree.title,
        state,
        tree.origin,
        None if score is None or state == "invalid" else Decimal(str(score)),
        encode_json(assessment.score),
        encode_json(msgspec.structs.replace(tree, nodes=())),
        encode_json(list(models)),
        encode_json(list(repairs)),
        tx.now,
    )
    await _insert_parts(tx, tree_id, tree, assessment)


async def _insert_parts(tx: Tx, tree_id: TreeId, tree: Tree, assessment: Assessment) -> None:
    await tx.raw.copy_records_to_table(
        "structure_elements",
        records=_elements(tree_id, tree),
        columns=["tree_id", "position", "path", "node_id", "parent_id", "level", "kind", "title", "body"],
    )
    await tx.raw.copy_records_to_table(
        "validation_results",
        records=[
            (tree_id, position, one.severity, one.rule, one.path, one.node_id or None, one.message)
            for position, one in enumerate(assessment.violations)
        ],
        columns=["tree_id", "position", "severity", "rule", "path", "node_id", "message"],
    )


def _elements(tree_id: TreeId, tree: Tree) -> list[tuple[Any, ...]]:
    ids: dict[str, str] = {}
    records = []
    for position, (path, node) in enumerate(walk(tree)):
        ids[path] = node.id
        body = encode_json(msgspec.structs.replace(node, children=()))
        parent = ids.get(path.rpartition(".")[0])
        records.append((tree_id, position, path, node.id, parent, node.level, node.kind, node.title, body))
    return records


async def store_judgement(tx: Tx, stage_id: StageId, judgement: dict[str, Any]) -> None:
    """Put a judge's verdict beside the tree that a stage stored."""
    await tx.raw.execute(
        "UPDATE granulation_trees SET judgement = $2 WHERE stage_id = $1", stage_id, encode_json(judgement)
    )


async def find_tree(tx: Tx, *, client_id: ClientId | None, tree_id: TreeId) -> StoredTree | None:
    """Return a tree's row, of one client or of any."""
    row = await tx.raw.fetchrow(
        f"SELECT {_TREE} FROM granulation_trees WHERE id = $1 AND ($2::uuid IS NULL OR client_id = $2)",
        tree_id,
        client_id,
    )
    return None if row is None else StoredTree(**dict(row))


async def tree_of_stage(tx: Tx, stage_id: StageId) -> StoredTree:
    """Return the tree that a stage stored."""
    row = await tx.raw.fetchrow(f"SELECT {_TREE} FROM granulation_trees WHERE stage_id = $1", stage_id)
    assert row is not None, "a scored stage has stored its tree"
    return StoredTree(**dict(row))


async def list_trees(
    tx: Tx, *, client_id: ClientId | None, execution_id: ExecutionId | None, page: PageRequest
) -> Page[StoredTree]:
    """List trees, newest first."""
    rows = await tx.raw.fetch(
        f"""
        SELECT {_TREE} FROM granulation_trees
        WHERE ($1::uuid IS NULL OR client_id = $1) AND ($2::uuid IS NULL OR execution_id = $2)
          AND ($3::uuid IS NULL OR id < $3)
        ORDER BY id DESC LIMIT $4
        """,
        client_id,
        execution_id,
        page.before,
        page.limit + 1,
    )
    return page_of([StoredTree(**dict(row)) for row in rows], [row["id"] for row in rows], page)


async def load_tree(tx: Tx, stored: StoredTree) -> Tree:
    """Return a stored tree with its nodes."""
    rows = await tx.raw.fetch(
        "SELECT path, body FROM structure_elements WHERE tree_id = $1 ORDER BY position DESC", stored.id
    )
    children: dict[str, list[Node]] = {}
    for row in rows:  # children before parents, so every node is built once
        path: str = row["path"]
        own = children.pop(path, [])
        node = msgspec.convert(row["body"], Node)
        node = msgspec.structs.replace(node, children=tuple(reversed(own)))
        children.setdefault(path.rpartition(".")[0], []).append(node)
    head = msgspec.convert(stored.head, Tree)
    return msgspec.structs.replace(head, nodes=tuple(reversed(children.get("", []))))


async def violations_of(
    tx: Tx,
    tree_id: TreeId,
    *,
    severity: str | None = None,
    rule: str | None = None,
    after: int = -1,
    limit: int | None = None,
) -> list[Any]:
    """Return a tree's violations behind a position, worst first."""
    return await tx.raw.fetch(
        """
        SELECT position, severity, rule, path, node_id, message FROM validation_results
        WHERE tree_id = $1 AND ($2::text IS NULL OR severity = $2) AND ($3::text IS NULL OR rule = $3)
          AND position > $4
        ORDER BY position LIMIT $5
        """,
        tree_id,
        severity,
        rule,
        min(after, 2**31 - 1),
        limit,
    )


async def count_trees(tx: Tx, *, client_id: ClientId | None, most: int) -> list[Any]:
    """Count the newest trees, of one client or of all, by type, state and origin, and add up their scores."""
    return await tx.raw.fetch(
        """
        SELECT structure_type, state, origin, count(*) AS trees, count(score) AS scored, sum(score) AS scores
        FROM (
            SELECT structure_type, state, origin, score FROM granulation_trees
            WHERE $1::uuid IS NULL OR client_id = $1
            ORDER BY id DESC LIMIT $2
        ) newest
        GROUP BY structure_type, state, origin
        """,
        client_id,
        most,
    )


async def erase_trees(tx: Tx, erasures: Mapping[ExecutionId, str]) -> int:
    """Erase the trees of locked executions, each for its reason; return how many.

    Type, state, origin, models and scores stay; titles, nodes, violations, repairs and judgements go.
    """
    rows = await tx.raw.fetch(
        """
        UPDATE granulation_trees t SET erased_at = $1, erasure = due.erasure, title = '', head = '{}',
            repairs = '[]', judgement = NULL,
            assessment = assessment || '{"subScores": {}, "checksSkipped": {}}'
        FROM unnest($2::uuid[], $3::text[]) AS due(execution_id, erasure)
        WHERE t.execution_id = due.execution_id AND t.erased_at IS NULL RETURNING t.id
        """,
        tx.now,
        list(erasures.keys()),
        list(erasures.values()),
    )
    ids = [row["id"] for row in rows]
    await tx.raw.execute("DELETE FROM structure_elements WHERE tree_id = ANY($1)", ids)
    await tx.raw.execute("DELETE FROM validation_results WHERE tree_id = ANY($1)", ids)
    return len(ids)
