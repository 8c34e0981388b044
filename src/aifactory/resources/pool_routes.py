"""HTTP of resource pools: the operator's view of them and their settings."""

from typing import Any

from litestar import Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from aifactory.kernel.db import Database
from aifactory.kernel.etags import etag_of
from aifactory.kernel.http import JsonResponse
from aifactory.kernel.page import Page
from aifactory.kernel.principal import OPERATOR_READERS, OPERATORS, Principal
from aifactory.resources import steering
from aifactory.resources.pool_schemas import PoolInput, PoolSettings, PoolView
from aifactory.resources.schemas import part_of

AnyRequest = Request[Any, Any, Any]


@get("/admin/pools", roles=OPERATOR_READERS, tags=["Pools"])
async def list_pools(db: NamedDependency[Database]) -> Page[PoolView]:
    """List the pools by name: settings, level, reserve, and the work that waits and runs."""
    async with db.begin() as tx:
        pools = await steering.list_pools(tx)
    return Page(data=pools, has_more=False, next_cursor=None)


@get("/admin/pools/{name:str}", roles=OPERATOR_READERS, tags=["Pools"])
async def get_pool(name: FromPath[str], db: NamedDependency[Database]) -> Response[PoolView]:
    """Show a pool; its ETag is of its settings only, for ``If-Match``."""
    async with db.begin() as tx:
        return _answer(await steering.get_pool(tx, name))


@put(
    "/admin/pools/{name:str}",
    roles=OPERATORS,
    tags=["Pools"],
    refusals=[409, 412],
    also={201: ("A new pool, full.", PoolView)},
)
async def put_pool(
    request: AnyRequest,
    name: FromPath[str],
    data: JSONBody[PoolInput],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
    force: FromQuery[bool] = False,
) -> Response[PoolView]:
    """Create a pool, or replace its settings; usage, the level (cut to the capacity) and blocks stay.

    They hold from the next scheduling round on, also for work that waits. A pool that becomes too small for
    work that waits is refused, unless ``force=true``: that work then waits until there is one again that
    holds it, or its deadline has come. ``If-Match`` with the ETag guards against races.
    """
    if_match = request.headers.get("if-match")
    async with db.begin() as tx:
        pool, is_new = await steering.put_pool(
            tx, name, data, if_match=if_match, force=force, actor=principal.label
        )
    return _answer(pool, status=201 if is_new else 200)


@delete("/admin/pools/{name:str}", roles=OPERATORS, tags=["Pools"], refusals=[409, 412])
async def delete_pool(
    request: AnyRequest,
    name: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> None:
    """Delete a pool that no model, quota, client or unfinished execution names; honours ``If-Match``."""
    if_match = request.headers.get("if-match")
    async with db.begin() as tx:
        await steering.delete_pool(tx, name, if_match=if_match, actor=principal.label)


@post("/admin/pools/{name:str}/pause", roles=OPERATORS, status_code=200, tags=["Pools"])
async def pause_pool(
    name: FromPath[str], db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> Response[PoolView]:
    """Start nothing more from a pool until it is resumed; what runs goes on, what waits keeps its age."""
    async with db.begin() as tx:
        return _answer(await steering.pause_pool(tx, name, paused=True, actor=principal.label))


@post("/admin/pools/{name:str}/resume", roles=OPERATORS, status_code=200, tags=["Pools"])
async def resume_pool(
    name: FromPath[str], db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> Response[PoolView]:
    """Let work start from a pool again."""
    async with db.begin() as tx:
        return _answer(await steering.pause_pool(tx, name, paused=False, actor=principal.label))


def _answer(pool: PoolView, *, status: int = 200) -> Response[PoolView]:
    return JsonResponse(pool, status_code=status, headers={"ETag": etag_of(part_of(pool, PoolSettings))})


ROUTES: list[HTTPRouteHandler] = [list_pools, get_pool, put_pool, delete_pool, pause_pool, resume_pool]
