"""Content: trees, exports, checks."""

from collections.abc import Mapping
from typing import Any

from aifactory.client.calls import checked_id, get, given, post
from aifactory.client.catalogue import Checked, Export, Outline, Tree, Violation
from aifactory.client.errors import NotFound
from aifactory.client.exchange import Plan, Session, exchange, fetch
from aifactory.client.models import Page
from aifactory.client.sources import Source, prepare
from aifactory.client.work import execution


def tree(session: Session, wanted: str, *, stage: str | int | None = None) -> Plan[Tree]:
    """Return what a tree is and how good, by its id or by that of the execution or request that made it.

    ``stage``: which of several, by the stage's name or ordinal; ``export`` and the others take it too.
    """
    tree_id = yield from _tree_of(session, wanted, stage)
    return (yield from fetch(session, get(f"/api/jobs/{tree_id}"), Tree))


def _tree_of(session: Session, wanted: str, stage: str | int | None) -> Plan[str]:
    if checked_id(wanted).startswith("tree_"):
        return wanted
    found = yield from execution(session, wanted)
    only = (found.result or {}).get("treeId")
    if isinstance(only, str) and stage is None:
        return checked_id(only)
    made = [(one, (one.outputs or {}).get("treeId")) for one in found.stages]
    trees = [(one, tree_id) for one, tree_id in made if isinstance(tree_id, str)]
    if stage is not None:
        trees = [(one, tree_id) for one, tree_id in trees if str(stage) in (one.name, str(one.ordinal))]
    if len(trees) > 1:
        names = ", ".join(one.name or str(one.ordinal) for one, _ in trees)
        raise NotFound(f"{found.id} has several trees: say of which stage ({names}).", code="several_trees")
    if not trees:
        whose = "" if stage is None else f" of stage {stage}"
        raise NotFound(f"{found.id} is {found.state} and has no tree{whose}.", code="no_tree")
    return checked_id(trees[0][1])


def list_trees(
    session: Session,
    *,
    execution_id: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Plan[Page[Tree]]:
    """Return a page of trees, newest first; those of one execution."""
    return fetch(session, get("/api/jobs", execution_id=execution_id, limit=limit, cursor=cursor), Page[Tree])


def outline(session: Session, wanted: str, *, stage: str | int | None = None) -> Plan[Outline]:
    """Return a tree as an outline, by its id or by that of its execution or request."""
    tree_id = yield from _tree_of(session, wanted, stage)
    return (yield from fetch(session, get(f"/api/jobs/{tree_id}/structure"), Outline))


def violations(
    session: Session,
    wanted: str,
    *,
    stage: str | int | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Plan[Page[Violation]]:
    """Return a page of the rules that a tree breaks, the worst first."""
    tree_id = yield from _tree_of(session, wanted, stage)
    call = get(f"/api/jobs/{tree_id}/validations", limit=limit, cursor=cursor)
    return (yield from fetch(session, call, Page[Violation]))


def export(
    session: Session, wanted: str, format: str = "markdown", *, stage: str | int | None = None
) -> Plan[Export]:
    """Return a tree in a format, by its id or by that of its execution or request."""
    tree_id = yield from _tree_of(session, wanted, stage)
    answer = yield from exchange(session, get(f"/api/jobs/{tree_id}/export", format=format))
    losses = answer.headers.get("x-export-losses", "")
    return Export(
        content=answer.body,
        media_type=answer.headers.get("content-type", ""),
        file_name=_file_name(answer.headers.get("content-disposition", ""), f"{tree_id}.{format}"),
        losses=int(losses) if losses.isascii() and losses.isdigit() else 0,
    )


def _file_name(disposition: str, otherwise: str) -> str:
    """Return the last part of the name in Content-Disposition: never another folder's."""
    name = disposition.partition('filename="')[2].partition('"')[0]
    name = name.replace("\\", "/").rpartition("/")[2].strip()
    return name if name.strip(".") and name.isprintable() else otherwise


def validate(
    session: Session,
    tree: Mapping[str, Any] | str,
    *,
    structure_type: str | None = None,
    source: Source | None = None,
    parameters: Mapping[str, Any] | None = None,
    threshold: float | None = None,
) -> Plan[Checked]:
    """Check a tree, given whole (``tree`` of the JSON export) or by its id: score, and what is wrong."""
    prepared = yield from prepare(session, {}, source)
    body = given(
        tree=None if isinstance(tree, str) else dict(tree),
        tree_id=tree if isinstance(tree, str) else None,
        structure_type=structure_type,
        source=prepared.get("source"),
        parameters=None if parameters is None else dict(parameters),
        threshold=threshold,
    )
    return (yield from fetch(session, post("/api/validate", body), Checked))
