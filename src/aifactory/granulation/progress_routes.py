"""HTTP of progress: how far an execution is, with its tree as it grows."""

import hashlib
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter

from aifactory.granulation.progress_schemas import (
    ExecutionProgress,
    GrowingTree,
    progress_of,
    stored_tree,
    tree_of,
)
from aifactory.granulation.progress_trees import GrowingTrees
from aifactory.granulation.service import Granulation
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.etags import is_known
from aifactory.kernel.http import JsonResponse
from aifactory.kernel.principal import READERS, Principal
from aifactory.resources.interface import ExecutionView, Resources
from aifactory.resources.interface.http import execution_by_any_id

AnyRequest = Request[Any, Any, Any]


@get("/api/progress/{execution_id:str}", roles=READERS, tags=["Granulation"])
async def get_progress(
    request: AnyRequest,
    execution_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    growing_trees: NamedDependency[GrowingTrees],
    principal: NamedDependency[Principal],
    with_tree: Annotated[bool, QueryParameter(name="tree")] = True,
) -> Response[ExecutionProgress]:
    """Show how far an execution (or a request's latest) is, with the tree as far as it is written.

    ``tree=false`` leaves the tree out. With ``If-None-Match`` the answer is 304 while no job has ended;
    elapsed and estimated times alone make no other ETag.
    """
    async with db.begin() as tx:
        view = await execution_by_any_id(tx, resources, execution_id, principal)
        etag = _etag(view, with_tree=with_tree)
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if is_known(etag, request.headers.get("if-none-match")):
            return JsonResponse[Any](None, status_code=304, headers=headers)
        steps = await resources.find_steps(tx, view.id)
        tree = await _tree(tx, resources, growing_trees, view) if with_tree else None
    return JsonResponse(progress_of(view, steps, tree, tx.now), headers=headers)


async def _tree(tx: Tx, resources: Resources, trees: GrowingTrees, view: ExecutionView) -> GrowingTree | None:
    """Return the tree that is growing; where there is none yet, the latest one that is stored."""
    if view.erased_at is not None:
        return None
    begun = [stage for stage in view.stages if stage.phase]
    for stage in reversed(begun):
        if (stage.outputs or {}).get("treeId") is not None:
            return stored_tree(stage)
        if stage is begun[-1] and stage.worker == Granulation.name:
            growing = await trees.look(tx, resources, stage)
            if growing is not None:
                return tree_of(stage, growing)
    return None


def _etag(view: ExecutionView, *, with_tree: bool) -> str:
    stages = [
        (stage.shown_state, stage.phase, stage.jobs_done, stage.jobs_total, stage.open_jobs)
        for stage in view.stages
    ]
    said = (view.id, view.state, view.spent_nano, view.started_at, view.erased_at, with_tree, stages)
    return f'W/"{hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:32]}"'


ROUTES: list[HTTPRouteHandler] = [get_progress]
