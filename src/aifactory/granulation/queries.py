"""The SQL of granulation: worker templates and trees; no decisions."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from aifactory.granulation.scoring import Assessment
from aifactory.granulation.tree import Node, Tree, walk
from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import ClientId, ExecutionId, StageId, TreeId
from aifactory.kernel.page import Page, PageRequest, page_of
from aifactory.resources.interface import Tier


class WorkerTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A worker template's newest version, or the one asked for."""

    name: str
    version: int
    structure_type: str
    minimum_tier: Tier
    tier_reason: str
    default_parameters: dict[str, Any]
    validation: dict[str, Any]


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
    created_at: datetime


_TREE = """
    id, execution_id, client_id, structure_type, template, template_version, title, state, origin, score,
    assessment, head, created_at"""


async def find_template(tx: Tx, name: str) -> WorkerTemplate | None:
    """Return the newest active version of a worker template."""
    row = await tx.raw.fetchrow(
        """
        SELECT name, version, structure_type, minimum_tier, tier_reason, default_parameters, validation
        FROM granulator_templates WHERE name = $1 AND active ORDER BY version DESC LIMIT 1
        """,
        name,
    )
    return None if row is None else msgspec.convert(dict(row), WorkerTemplate)


async def template_names(tx: Tx) -> list[str]:
    """Return the names of all active worker templates."""
    rows = await tx.raw.fetch("SELECT DISTINCT name FROM granulator_templates WHERE active ORDER BY name")
    return [row["name"] for row in rows]


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
) -> None:
    """Store a tree, its nodes and its violations; a second tree of a stage is refused."""
    score = assessment.score.score
    await tx.raw.execute(
        """
        INSERT INTO granulation_trees (id, execution_id, stage_id, client_id, structure_type, template,
            template_version, title, state, origin, score, assessment, head, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
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
        tx.now,
    )
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


async def violations_of(tx: Tx, tree_id: TreeId) -> list[Any]:
    """Return a tree's violations, worst first."""
    return await tx.raw.fetch(
        """
        SELECT severity, rule, path, node_id, message FROM validation_results
        WHERE tree_id = $1 ORDER BY position
        """,
        tree_id,
    )
