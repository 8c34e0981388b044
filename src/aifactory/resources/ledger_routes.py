"""HTTP of the ledger: read and export."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, QueryParameter

from aifactory.kernel.csv_lines import CSV_MEDIA_TYPE, asked_format, download_headers, refuse_pages
from aifactory.kernel.db import Database
from aifactory.kernel.horizon import complete_to, complete_until
from aifactory.kernel.http import JsonResponse, encode
from aifactory.kernel.ids import ClientId, ExecutionId, parse_id
from aifactory.kernel.moments import read_span
from aifactory.kernel.page import Page, page_as, page_request
from aifactory.kernel.principal import OPERATORS
from aifactory.kernel.sse import PatientStream
from aifactory.resources.interface import ClientNotFound, ExecutionNotFound
from aifactory.resources.ledger_schemas import (
    CSV_HEAD,
    LedgerEntry,
    LedgerFilter,
    csv_of,
    entry_of,
    read_kinds,
)
from aifactory.resources.queries import ledger

CHUNK = 1000


@get("/api/cost/ledger", roles=OPERATORS, tags=["Cost"], gives=[CSV_MEDIA_TYPE], refusals=[404])
async def get_ledger(
    request: Request[Any, Any, Any],
    db: NamedDependency[Database],
    client_id: Annotated[str | None, QueryParameter(name="clientId")] = None,
    execution_id: Annotated[str | None, QueryParameter(name="executionId")] = None,
    kind: FromQuery[str | None] = None,
    account: FromQuery[str | None] = None,
    since: Annotated[str | None, QueryParameter(name="from")] = None,
    until: Annotated[str | None, QueryParameter(name="to")] = None,
    form: Annotated[str | None, QueryParameter(name="format")] = None,
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Response[Page[LedgerEntry]]:
    """List the ledger's entries, newest first; or export them all, oldest first: ``format=csv|json``.

    ``from`` and ``to`` (not included) are days or times. An export stops where entries may still be added:
    ``X-Complete-To`` says when that is, and an export from there goes on without a gap or a duplicate.
    """
    first, end = read_span(since, until)
    wanted = LedgerFilter(
        client_id=_client(client_id),
        execution_id=_execution(execution_id),
        kinds=read_kinds(kind, account),
        since=first,
        until=end,
    )
    form = asked_format(form, request.headers.get("accept"))
    if form is not None:
        refuse_pages(limit=limit, cursor=cursor)
        return await _export(db, wanted, form)
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        found = await ledger.list_entries(tx, wanted, page)
    return JsonResponse(page_as(found, [entry_of(row) for row in found.data]))


def _client(text: str | None) -> ClientId | None:
    found = None if text is None else parse_id("client", text)
    if text is not None and found is None:
        raise ClientNotFound("There is no client with this id.")
    return None if found is None else ClientId(found)


def _execution(text: str | None) -> ExecutionId | None:
    found = None if text is None else parse_id("exec", text)
    if text is not None and found is None:
        raise ExecutionNotFound("There is no execution with this id.")
    return None if found is None else ExecutionId(found)


async def _export(db: Database, wanted: LedgerFilter, form: str) -> Response[Any]:
    async with db.begin() as tx:
        complete = await complete_until(tx)
    wanted = msgspec.structs.replace(wanted, until=min(wanted.until or complete, complete))
    assert wanted.until is not None
    headers = download_headers(f"ledger-{wanted.until:%Y-%m-%dT%H%M%SZ}.{form}")
    headers |= complete_to(wanted.until)
    parts = _csv(db, wanted) if form == "csv" else _json(db, wanted)
    media_type = CSV_MEDIA_TYPE if form == "csv" else "application/json"
    return PatientStream(parts, media_type=media_type, headers=headers)


async def _chunks(db: Database, wanted: LedgerFilter) -> AsyncGenerator[list[Any], None]:
    """Give all entries, oldest first, chunk by chunk; nothing is open while the client reads."""
    after: tuple[datetime, int] | None = None
    while True:
        async with db.begin() as tx:
            rows = await ledger.next_entries(tx, wanted, after, CHUNK)
        if rows:
            yield rows
        if len(rows) < CHUNK:
            return
        after = (rows[-1]["at"], rows[-1]["id"])


async def _csv(db: Database, wanted: LedgerFilter) -> AsyncGenerator[bytes, None]:
    yield CSV_HEAD
    async for rows in _chunks(db, wanted):
        yield b"".join(map(csv_of, rows))


async def _json(db: Database, wanted: LedgerFilter) -> AsyncGenerator[bytes, None]:
    """Give one document; one that was cut off is no JSON."""
    period = encode({"from": wanted.since, "to": wanted.until})
    yield period[:-1] + b',"data":['
    comma = b""
    async for rows in _chunks(db, wanted):
        yield comma + b",\n".join(encode(entry_of(row)) for row in rows)
        comma = b",\n"
    yield b"]}"


ROUTES: list[HTTPRouteHandler] = [get_ledger]
