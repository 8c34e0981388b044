"""HTTP of tiers: what each gives, and the operator's changes of it."""

from typing import Any

from litestar import Request, Response, get, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from aifactory.kernel.db import Database
from aifactory.kernel.etags import etag_of
from aifactory.kernel.http import JsonResponse
from aifactory.kernel.page import Page
from aifactory.kernel.principal import OPERATORS, Principal
from aifactory.resources import steering
from aifactory.resources.queue_schemas import TierInput, TierSettings, TierView
from aifactory.resources.schemas import part_of

AnyRequest = Request[Any, Any, Any]


@get("/admin/tiers", roles=OPERATORS, tags=["Tiers"])
async def list_tiers(db: NamedDependency[Database]) -> Page[TierView]:
    """List the tiers, the highest first: points, weight, caps, budget, rate, retention."""
    async with db.begin() as tx:
        tiers = await steering.list_tiers(tx)
    return Page(data=tiers, has_more=False, next_cursor=None)


@get("/admin/tiers/{tier:str}", roles=OPERATORS, tags=["Tiers"])
async def get_tier(tier: FromPath[str], db: NamedDependency[Database]) -> Response[TierView]:
    """Show a tier; its ETag is for ``If-Match``."""
    async with db.begin() as tx:
        return _answer(await steering.get_tier(tx, tier))


@put("/admin/tiers/{tier:str}", roles=OPERATORS, tags=["Tiers"], refusals=[412])
async def put_tier(
    request: AnyRequest,
    tier: FromPath[str],
    data: JSONBody[TierInput],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> Response[TierView]:
    """Replace what a tier gives; it holds at once, for what waits too, unless a client has its own limits.

    What runs goes on, and no usage is forgotten: over a lower cap or budget nothing new starts or is taken.
    ``If-Match`` with the ETag guards against races.
    """
    if_match = request.headers.get("if-match")
    async with db.begin() as tx:
        return _answer(await steering.put_tier(tx, tier, data, if_match=if_match, actor=principal.label))


def _answer(tier: TierView) -> Response[TierView]:
    return JsonResponse(tier, headers={"ETag": etag_of(part_of(tier, TierSettings))})


ROUTES: list[HTTPRouteHandler] = [list_tiers, get_tier, put_tier]
