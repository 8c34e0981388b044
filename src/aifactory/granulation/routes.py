"""HTTP of granulation: trees (called jobs in the paths, an older name), their structure, checks, exports."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from aifactory.granulation import queries, schemas
from aifactory.granulation.exports import EXPORTS
from aifactory.granulation.generation.repairs import Repair
from aifactory.granulation.queries import StoredTree
from aifactory.granulation.violations import Severity
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.errors import NotFound, invalid
from aifactory.kernel.http import path_id
from aifactory.kernel.ids import ExecutionId, RequestId, TreeId, parse_id
from aifactory.kernel.page import Page, page_as, page_of, page_request
from aifactory.kernel.principal import READERS, Principal
from aifactory.resources.interface import Resources, refuse_erased

MOST_COUNTED = 10_000


class TreeNotFound(NotFound):
    """Unknown, or another client's."""

    code, title = "tree_not_found", "There is no such tree"


async def find_visible_tree(tx: Tx, text: str, caller: Principal) -> StoredTree:
    """Return a tree that the caller may see, its content erased or not. Raises TreeNotFound."""
    found = await queries.find_tree(
        tx, client_id=caller.visible_client(), tree_id=TreeId(path_id("tree", text))
    )
    if found is None:
        raise TreeNotFound("There is no tree with this id.")
    return found


async def find_kept_tree(tx: Tx, text: str, caller: Principal) -> StoredTree:
    """Return a tree that the caller may see, with its content. Raises TreeNotFound or ContentErased."""
    found = await find_visible_tree(tx, text, caller)
    refuse_erased(found.erased_at, found.erasure)
    return found


@get("/api/jobs", roles=READERS, tags=["Granulation"])
async def list_jobs(
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
    execution_id: Annotated[str | None, QueryParameter(name="executionId")] = None,
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[schemas.TreeSummary]:
    """List trees, newest first; with ``executionId`` those of an execution, or of a request's latest."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        wanted = None if execution_id is None else await _execution_meant(tx, resources, execution_id)
        found = await queries.list_trees(
            tx, client_id=principal.visible_client(), execution_id=wanted, page=page
        )
    return page_as(found, [schemas.summary_of(stored) for stored in found.data])


async def _execution_meant(tx: Tx, resources: Resources, text: str) -> ExecutionId:
    """Return the execution that is named, or the latest one of the request; id 0 where there is none."""
    if (request_id := parse_id("req", text)) is not None:
        latest = await resources.latest_executions(tx, [RequestId(request_id)])
        view = latest.get(RequestId(request_id))
        return ExecutionId(UUID(int=0)) if view is None else view.id
    if (execution_id := parse_id("exec", text)) is not None:
        return ExecutionId(execution_id)
    raise invalid("/executionId", "bad_id", "executionId is an id like exec_… or req_….")


@get("/api/jobs/{tree_id:str}", roles=READERS, tags=["Granulation"])
async def get_job(
    tree_id: FromPath[str], db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> schemas.TreeSummary:
    """Show a tree: what it is, its score with sub-scores, what was checked."""
    async with db.begin() as tx:
        return schemas.summary_of(await find_visible_tree(tx, tree_id, principal))


@get("/api/jobs/{tree_id:str}/structure", roles=READERS, tags=["Granulation"], refusals=[410])
async def get_job_structure(
    tree_id: FromPath[str], db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> schemas.Structure:
    """Show a tree as an outline."""
    async with db.begin() as tx:
        tree = await queries.load_tree(tx, await find_kept_tree(tx, tree_id, principal))
    return schemas.structure_of(tree_id, tree)


@get("/api/jobs/{tree_id:str}/validations", roles=READERS, tags=["Granulation"], refusals=[410])
async def get_job_validations(
    tree_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
    severity: FromQuery[Severity | None] = None,
    rule: FromQuery[str | None] = None,
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[schemas.ViolationView]:
    """List the broken rules of a tree, gates first; of one ``severity``, of one ``rule``."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        stored = await find_kept_tree(tx, tree_id, principal)
        rows = await queries.violations_of(
            tx,
            stored.id,
            severity=severity,
            rule=rule,
            after=-1 if page.before is None else page.before.int,
            limit=page.limit + 1,
        )
    # A violation has no id of its own: its place in the list makes the cursor.
    return page_of(
        [schemas.violation_of(row) for row in rows], [UUID(int=row["position"]) for row in rows], page
    )


@get("/api/jobs/{tree_id:str}/repairs", roles=READERS, tags=["Granulation"], refusals=[410])
async def get_job_repairs(
    tree_id: FromPath[str], db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> schemas.Repairs:
    """Show what was changed between the models' answers and the tree: where, why and by whom."""
    async with db.begin() as tx:
        stored = await find_kept_tree(tx, tree_id, principal)
    return schemas.Repairs(id=tree_id, repairs=msgspec.convert(stored.repairs, list[Repair]))


@get("/api/jobs/{tree_id:str}/export", roles=READERS, tags=["Granulation"], refusals=[410])
async def export_job(
    tree_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
    export_format: Annotated[str, QueryParameter(name="format")] = "json",
) -> Response[Any]:
    """Export a tree as ``json`` (complete), ``markdown`` or ``html`` (one page).

    ``X-Export-Losses`` counts what is dropped.
    """
    export = EXPORTS.get(export_format)
    if export is None:
        raise invalid("/format", "unknown_format", f"Known formats: {', '.join(sorted(EXPORTS))}.")
    async with db.begin() as tx:
        tree = await queries.load_tree(tx, await find_kept_tree(tx, tree_id, principal))
    return Response(
        export.write(tree),
        media_type=export.media_type,
        headers={
            "Content-Disposition": f'inline; filename="{tree_id}.{export.extension}"',
            "X-Export-Losses": str(len(export.losses(tree))),
            **({"Content-Security-Policy": export.security()} if export.security else {}),
        },
    )


@get("/api/stats", roles=READERS, tags=["Granulation"])
async def get_stats(db: NamedDependency[Database], principal: NamedDependency[Principal]) -> schemas.Stats:
    """Count the caller's newest trees (at most 10,000) by type, state and origin, with their mean score."""
    async with db.begin() as tx:
        rows = await queries.count_trees(tx, client_id=principal.visible_client(), most=MOST_COUNTED)
    return schemas.stats_of(rows, most=MOST_COUNTED)


ROUTES = [list_jobs, get_job, get_job_structure, get_job_validations, get_job_repairs, export_job, get_stats]
