"""HTTP of usage: what a client has spent, holds and has left; what was used, by day, model and more."""

from collections.abc import AsyncGenerator, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter

from aifactory.kernel.csv_lines import CSV_MEDIA_TYPE, asked_format, download_headers, refuse_pages
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.http import JsonResponse
from aifactory.kernel.ids import ClientId, text_id
from aifactory.kernel.money import usd
from aifactory.kernel.principal import MONEY_READERS, Principal, Role
from aifactory.kernel.sse import PatientStream
from aifactory.resources import schemas, usage_schemas
from aifactory.resources.budgets import month_of
from aifactory.resources.interface import ClientNotFound, Resources
from aifactory.resources.interface.http import client_of
from aifactory.resources.queries import budgets, usage
from aifactory.resources.usage_schemas import Days, Group, Place, UsageReport, UsageRow, UsageSums

ALL = "all"


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


@get("/api/usage/{client_id:str}/current", roles=MONEY_READERS, tags=["Cost"])
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
        level = await budgets.budget_now(tx, wanted, period)
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


class _Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Whose usage is asked for, when, and how it is grouped; no ``client_id``: everybody's."""

    client_id: ClientId | None
    days: Days
    groups: tuple[Group, ...]
    is_operator: bool


@get("/api/usage/{client_id:str}", roles=MONEY_READERS, tags=["Cost"], gives=[CSV_MEDIA_TYPE])
async def get_usage(
    request: Request[Any, Any, Any],
    client_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
    since: Annotated[str | None, QueryParameter(name="from")] = None,
    until: Annotated[str | None, QueryParameter(name="to")] = None,
    group_by: Annotated[str, QueryParameter(name="groupBy")] = Group.DAY.value,
    form: Annotated[str | None, QueryParameter(name="format")] = None,
    cursor: FromQuery[str | None] = None,
) -> Response[UsageReport]:
    """Show what was used in whole days of UTC, by default this month's; an admin's ``all`` is every client.

    ``from`` and ``to`` (not included; at most 366 days later) are days or times. ``groupBy`` takes some of
    day, model, template, provider, client, like ``day,model``. ``format=csv`` or ``Accept: text/csv`` gives
    all rows as CSV, day by day if that is a group, JSON a page of at most 1,000.
    """
    groups = usage_schemas.read_groups(group_by)
    form = asked_format(form, request.headers.get("accept"))
    if form == "csv":
        refuse_pages(cursor=cursor)
    after = usage_schemas.read_cursor(cursor, groups)
    async with db.begin() as tx:
        wanted = _Wanted(
            client_id=await _whose(tx, resources, client_id, principal),
            days=usage_schemas.read_days(since, until, tx.now),
            groups=groups,
            is_operator=principal.role is Role.ADMIN,
        )
        if form != "csv":
            return JsonResponse(await _report(tx, wanted, after))
    return _download(db, wanted)


async def _whose(tx: Tx, resources: Resources, text: str, caller: Principal) -> ClientId | None:
    if text == ALL and caller.role is Role.ADMIN:
        return None
    return await client_of(tx, resources, text, caller)


async def _page(tx: Tx, wanted: _Wanted, after: Place | None, limit: int) -> list[Any]:
    return await usage.group_usage(tx, wanted.client_id, wanted.days, wanted.groups, after=after, limit=limit)


async def _report(tx: Tx, wanted: _Wanted, after: Place | None) -> UsageReport:
    rows = await _page(tx, wanted, after, usage_schemas.ROWS_PER_PAGE + 1)
    more, rows = len(rows) > usage_schemas.ROWS_PER_PAGE, rows[: usage_schemas.ROWS_PER_PAGE]
    totals = await usage.sum_usage(tx, wanted.client_id, wanted.days)
    return UsageReport(
        client_id=ALL if wanted.client_id is None else text_id("client", wanted.client_id),
        since=usage_schemas.moment_of(wanted.days.since),
        until=usage_schemas.moment_of(wanted.days.until),
        group_by=list(wanted.groups),
        data=[
            UsageRow(
                **usage_schemas.keys_of(row, wanted.groups),
                **usage_schemas.sums_of(row, is_operator=wanted.is_operator),
            )
            for row in rows
        ],
        totals=UsageSums(**usage_schemas.sums_of(totals, is_operator=wanted.is_operator)),
        has_more=more,
        next_cursor=usage_schemas.cursor_of(rows[-1], wanted.groups) if more else None,
    )


def _download(db: Database, wanted: _Wanted) -> Response[Any]:
    headers = download_headers(f"usage-{wanted.days.since}-{wanted.days.until}.csv")
    return PatientStream(_csv(db, wanted), media_type=CSV_MEDIA_TYPE, headers=headers)


async def _csv(db: Database, wanted: _Wanted) -> AsyncGenerator[bytes, None]:
    """Give all rows, reading each day once; nothing is open while the client reads.

    What is not grouped by day is added up here, and comes when the last day was read.
    """
    yield usage_schemas.csv_head(wanted.groups, is_operator=wanted.is_operator)
    whole: dict[Place, dict[str, Any]] = {}
    for day in wanted.days.each():
        async with db.begin() as tx:
            rows = await usage.group_day(tx, wanted.client_id, day, wanted.groups)
        if Group.DAY not in wanted.groups:
            usage_schemas.add_up(whole, rows, wanted.groups)
            continue
        for lines in _lines(wanted, rows):
            yield lines
    for lines in _lines(wanted, [row for _, row in sorted(whole.items())]):
        yield lines


def _lines(wanted: _Wanted, rows: list[Any]) -> Iterator[bytes]:
    """Give rows as CSV, so many at once that others have their turn."""
    for first in range(0, len(rows), usage_schemas.ROWS_PER_PAGE):
        yield b"".join(
            usage_schemas.csv_row(row, wanted.groups, is_operator=wanted.is_operator)
            for row in rows[first : first + usage_schemas.ROWS_PER_PAGE]
        )


ROUTES: list[HTTPRouteHandler] = [get_current_usage, get_usage]
