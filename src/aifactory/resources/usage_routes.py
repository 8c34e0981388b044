"""HTTP of usage: what a client has spent, holds and has left."""

from datetime import datetime
from decimal import Decimal

from litestar import get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from aifactory.kernel.db import Database
from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.kernel.principal import READERS, Principal
from aifactory.resources import schemas
from aifactory.resources.budgets import month_of
from aifactory.resources.interface import ClientNotFound, Resources
from aifactory.resources.interface.http import client_of
from aifactory.resources.queries import control, usage


class CurrentUsage(schemas.View, frozen=True, kw_only=True):
    """A client's budget of its month, in its time zone, and its work now.

    ``leftUsd`` is what is neither spent nor held; 0 also where a limit was lowered below that.
    """

    client_id: str
    period_start: datetime
    period_end: datetime
    time_zone: str
    limit_usd: Decimal
    held_usd: Decimal
    spent_usd: Decimal
    left_usd: Decimal
    unfinished_executions: int
    running_jobs: int


@get("/api/usage/{client_id:str}/current", roles=READERS, tags=["Cost"])
async def get_current_usage(
    client_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> CurrentUsage:
    """Show this month's budget and the work that is going on: one's own, or any client's to the operator."""
    async with db.begin() as tx:
        wanted = await client_of(tx, resources, client_id, principal)
        client = await resources.get_client(tx, wanted)
        period = month_of(tx.now, client.time_zone)
        level = await control.budget_now(tx, wanted, period)
        if level is None:
            raise ClientNotFound("There is no client with this id.")
        running = await usage.count_running_jobs(tx, wanted)
    return CurrentUsage(
        client_id=text_id("client", wanted),
        period_start=period.start,
        period_end=period.end,
        time_zone=client.time_zone,
        limit_usd=usd(level.limit_nano),
        held_usd=usd(level.held_nano),
        spent_usd=usd(level.spent_nano),
        left_usd=usd(max(0, level.limit_nano - level.spent_nano - level.held_nano)),
        unfinished_executions=level.unfinished,
        running_jobs=running,
    )


ROUTES: list[HTTPRouteHandler] = [get_current_usage]
