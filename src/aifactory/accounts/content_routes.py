"""HTTP of erasing a client's content."""

from typing import Annotated

import msgspec
from litestar import Response, delete
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter

from aifactory.accounts import clients
from aifactory.accounts.routes import own_client
from aifactory.kernel.db import Database
from aifactory.kernel.http import JsonResponse
from aifactory.kernel.principal import OPERATORS, Principal
from aifactory.resources.interface import ContentEraser

ERASING_SECONDS = 3.0


class ErasureView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was erased now; not ``complete``: the rest follows in the background, or after asking again."""

    erased_requests: int
    erased_executions: int
    erased_trees: int
    erased_data: int
    complete: bool


@delete(
    "/clients/{client_id:str}/content",
    roles=OPERATORS,
    status_code=200,
    tags=["Clients"],
    refusals=[409],
)
async def erase_content(
    client_id: FromPath[str],
    db: NamedDependency[Database],
    eraser: NamedDependency[ContentEraser],
    principal: NamedDependency[Principal],
    cancel_unfinished: Annotated[bool, QueryParameter(name="cancelUnfinished")] = False,
) -> Response[ErasureView]:
    """Erase all content of a client up to now: parameters, sources, results, trees, messages. For good.

    Ids, states, times, counts, usage and the ledger stay. 409 ``unfinished_work`` while executions run,
    unless ``cancelUnfinished=true``. What is submitted later is not touched. Asking again does no harm.
    """
    wanted = own_client(principal, client_id)
    async with db.begin() as tx:
        await clients.get_client(tx, wanted)
        await eraser.order(tx, client_id=wanted, cancel_unfinished=cancel_unfinished, actor=principal.label)
    done = await eraser.carry_out(wanted, seconds=ERASING_SECONDS, actor=principal.label)
    view = ErasureView(
        erased_requests=done.erased.requests,
        erased_executions=done.erased.executions,
        erased_trees=done.erased.trees,
        erased_data=done.erased.data,
        complete=done.complete,
    )
    return JsonResponse(view, status_code=200)


ROUTES: list[HTTPRouteHandler] = [erase_content]
