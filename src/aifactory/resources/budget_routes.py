"""HTTP of budgets and limits of clients."""

from typing import Any

from litestar import Request, Response, get, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from aifactory.kernel.db import Database
from aifactory.kernel.errors import invalid
from aifactory.kernel.http import JsonResponse
from aifactory.kernel.ids import ClientId
from aifactory.kernel.page import Page, page_of, page_request
from aifactory.kernel.principal import OPERATORS, WRITERS, Principal
from aifactory.resources import budget_edits
from aifactory.resources.budget_schemas import (
    BudgetsInput,
    BudgetsView,
    ClientBudgets,
    ClientLimitsView,
    LimitsInput,
)
from aifactory.resources.interface import RequestBook, Resources
from aifactory.resources.interface.http import client_of
from aifactory.resources.queries import budgets as queries

AnyRequest = Request[Any, Any, Any]
_CHUNK = 200
_MOST_PERCENT = 1000


@get("/api/budgets", roles=WRITERS, tags=["Cost"])
async def list_budgets(
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
    over: FromQuery[int | None] = None,
) -> Page[ClientBudgets]:
    """Show the budgets of the periods that are running now: one's own, or every client's to the operator.

    ``over`` leaves those clients of whose budgets one is spent or held to so many percent of its limit.
    """
    page, own = page_request(limit, cursor), principal.visible_client()
    if over is not None and not 0 <= over <= _MOST_PERCENT:
        raise invalid("/over", "out_of_range", f"over must be between 0 and {_MOST_PERCENT} percent.")
    found: list[tuple[ClientId, ClientBudgets]] = []
    before: Any = page.before
    while len(found) <= page.limit:
        async with db.begin() as tx:
            accounts = await queries.list_accounts(tx, client_id=own, before=before, limit=_CHUNK)
            found += await budget_edits.list_budgets(tx, accounts, over_percent=over)
        if len(accounts) < _CHUNK:
            break
        before = accounts[-1].client_id
    found = found[: page.limit + 1]
    return page_of([shown for _, shown in found], [client_id for client_id, _ in found], page)


@get("/clients/{client_id:str}/budgets", roles=WRITERS, tags=["Clients"])
async def get_budgets(
    client_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[BudgetsView]:
    """Show a client's limits of spending and how far each is used; the ETag is for ``If-Match``."""
    async with db.begin() as tx:
        wanted = await client_of(tx, resources, client_id, principal)
        view, etag = await budget_edits.read_budgets(tx, wanted)
    return JsonResponse(view, headers={"ETag": etag})


@put("/clients/{client_id:str}/budgets", roles=OPERATORS, tags=["Clients"], refusals=[412])
async def put_budgets(
    request: AnyRequest,
    client_id: FromPath[str],
    data: JSONBody[BudgetsInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    book: NamedDependency[RequestBook],
    principal: NamedDependency[Principal],
) -> Response[BudgetsView]:
    """Replace all of a client's limits of spending: month, day, by API key, by template.

    What is spent and held stays counted: a limit below that refuses new holds and nothing else. A new limit
    counts from now on. ``If-Match`` with the ETag guards against races.
    """
    async with db.begin() as tx:
        wanted = await client_of(tx, resources, client_id, principal)
        if_match = request.headers.get("if-match")
        await budget_edits.put_budgets(tx, wanted, data, book=book, if_match=if_match, actor=principal.label)
        view, etag = await budget_edits.read_budgets(tx, wanted)
    return JsonResponse(view, headers={"ETag": etag})


@get("/clients/{client_id:str}/limits", roles=WRITERS, tags=["Clients"])
async def get_limits(
    client_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[ClientLimitsView]:
    """Show a client's own limits beside its tier's, and its quotas; the ETag is for ``If-Match``."""
    async with db.begin() as tx:
        wanted = await client_of(tx, resources, client_id, principal)
        view, etag = await budget_edits.read_limits(tx, wanted)
    return JsonResponse(view, headers={"ETag": etag})


@put("/clients/{client_id:str}/limits", roles=OPERATORS, tags=["Clients"], refusals=[412])
async def put_limits(
    request: AnyRequest,
    client_id: FromPath[str],
    data: JSONBody[LimitsInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[ClientLimitsView]:
    """Replace a client's own limits and quotas; they hold at once. PATCH of the client changes its tier.

    What runs goes on, and what was used of a quota that stays is kept. ``If-Match`` with the ETag guards
    against races.
    """
    async with db.begin() as tx:
        wanted = await client_of(tx, resources, client_id, principal)
        if_match = request.headers.get("if-match")
        await budget_edits.put_limits(tx, wanted, data, if_match=if_match, actor=principal.label)
        view, etag = await budget_edits.read_limits(tx, wanted)
        tx.announce("work")  # a higher cap lets more start
    return JsonResponse(view, headers={"ETag": etag})


ROUTES: list[HTTPRouteHandler] = [list_budgets, get_budgets, put_budgets, get_limits, put_limits]
