"""HTTP of queues: how deep they are; the operator's pausing, policies and shares."""

from typing import Any

from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from aifactory.kernel.db import Database
from aifactory.kernel.etags import etag_of
from aifactory.kernel.http import JsonResponse
from aifactory.kernel.page import Page
from aifactory.kernel.principal import OPERATOR_READERS, OPERATORS, Principal
from aifactory.resources import steering
from aifactory.resources.queue_schemas import QueueInput, QueueSettings
from aifactory.resources.schemas import QueueDepth, part_of

AnyRequest = Request[Any, Any, Any]


@get("/admin/queues", roles=OPERATOR_READERS, tags=["Queue"])
async def list_queues(db: NamedDependency[Database]) -> Page[QueueDepth]:
    """List the queues from the top: terms, what waits and runs, since when the oldest waits."""
    async with db.begin() as tx:
        queues = await steering.list_queues(tx)
    return Page(data=queues, has_more=False, next_cursor=None)


@get("/admin/queues/{name:str}", roles=OPERATOR_READERS, tags=["Queue"])
async def get_queue_terms(name: FromPath[str], db: NamedDependency[Database]) -> Response[QueueDepth]:
    """Show a queue; its ETag is of its terms only, for ``If-Match``."""
    async with db.begin() as tx:
        return _answer(await steering.get_queue(tx, name))


@put("/admin/queues/{name:str}", roles=OPERATORS, tags=["Queue"], refusals=[412])
async def put_queue(
    request: AnyRequest,
    name: FromPath[str],
    data: JSONBody[QueueInput],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> Response[QueueDepth]:
    """Replace a queue's terms. They hold from the next scheduling round on, also for what waits.

    The shares of all queues may be 50 % together. ``If-Match`` with the ETag guards against races.
    """
    if_match = request.headers.get("if-match")
    async with db.begin() as tx:
        return _answer(await steering.put_queue(tx, name, data, if_match=if_match, actor=principal.label))


@post("/admin/queues/{name:str}/pause", roles=OPERATORS, status_code=200, tags=["Queue"])
async def pause_queue(
    name: FromPath[str], db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> Response[QueueDepth]:
    """Start nothing more from a queue until it is resumed; what runs goes on, what waits keeps its age."""
    async with db.begin() as tx:
        return _answer(await steering.pause_queue(tx, name, paused=True, actor=principal.label))


@post("/admin/queues/{name:str}/resume", roles=OPERATORS, status_code=200, tags=["Queue"])
async def resume_queue(
    name: FromPath[str], db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> Response[QueueDepth]:
    """Let work start from a queue again."""
    async with db.begin() as tx:
        return _answer(await steering.pause_queue(tx, name, paused=False, actor=principal.label))


def _answer(queue: QueueDepth) -> Response[QueueDepth]:
    return JsonResponse(queue, headers={"ETag": etag_of(part_of(queue, QueueSettings))})


ROUTES: list[HTTPRouteHandler] = [list_queues, get_queue_terms, put_queue, pause_queue, resume_queue]
