"""HTTP of the audit log: pages, and exports that are sent as they are read."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, QueryParameter

from aifactory.accounts.schemas import View
from aifactory.kernel import audit
from aifactory.kernel.audit import AuditFilter, AuditLine
from aifactory.kernel.csv_lines import (
    CSV_MEDIA_TYPE,
    asked_format,
    csv_line,
    download_headers,
    refuse_pages,
)
from aifactory.kernel.db import Database
from aifactory.kernel.errors import invalid
from aifactory.kernel.horizon import complete_to, complete_until
from aifactory.kernel.http import JsonResponse, encode
from aifactory.kernel.ids import parse_id, text_id
from aifactory.kernel.moments import read_span
from aifactory.kernel.page import Page, page_of, page_request
from aifactory.kernel.principal import OPERATORS
from aifactory.kernel.sse import PatientStream

LINES_AT_ONCE = 500
ACTORS = ("system", "demo")  #: who is no caller


class AuditLineView(View, frozen=True, kw_only=True):
    """A change: who did it, to what, and how that was before and after.

    ``actor`` is a user, a client (by one of its keys), ``worker:`` and a name, ``system`` or ``demo``.
    """

    id: str
    at: datetime
    actor: str
    action: str
    object_kind: str
    object_id: str
    client_id: str | None
    request_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@get("/api/audit", roles=OPERATORS, tags=["Audit log"], gives=[CSV_MEDIA_TYPE])
async def list_audit_lines(
    request: Request[Any, Any, Any],
    db: NamedDependency[Database],
    actor: FromQuery[str | None] = None,
    action: FromQuery[str | None] = None,
    object_kind: Annotated[str | None, QueryParameter(name="objectKind")] = None,
    object_id: Annotated[str | None, QueryParameter(name="objectId")] = None,
    client_id: Annotated[str | None, QueryParameter(name="clientId")] = None,
    since: Annotated[str | None, QueryParameter(name="from")] = None,
    until: Annotated[str | None, QueryParameter(name="to")] = None,
    form: Annotated[str | None, QueryParameter(name="format")] = None,
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Response[Page[AuditLineView]]:
    """List every change of money, keys, users, tiers, limits, templates and the scheduler, newest first.

    ``action`` with a dot at its end takes all that begin so (``api_key.``). Times are RFC 3339 or a day;
    ``to`` is not included. ``format=csv|json`` exports all that is asked for, without pages, up to where
    lines may still be added: ``X-Complete-To`` says when that is, for the ``from`` of the next export.
    """
    page = page_request(limit, cursor)
    first, end = read_span(since, until)
    _check_names(actor, client_id)
    wanted = AuditFilter(
        actor=actor,
        action=action,
        object_kind=object_kind,
        object_id=object_id,
        client_id=client_id,
        since=first,
        until=end,
    )
    form = asked_format(form, request.headers.get("accept"))
    if form is not None:
        refuse_pages(limit=limit, cursor=cursor)
        return await _export(db, wanted, form)
    async with db.begin() as tx:
        lines = await audit.list_lines(tx, wanted, before=page.before, limit=page.limit + 1)
    return JsonResponse(page_of([_view(line) for line in lines], [line.id for line in lines], page))


def _check_names(actor: str | None, client_id: str | None) -> None:
    """Raise Invalid for names that no line can have: a mistyped one must not look like "nothing was done"."""
    known = actor is None or actor in ACTORS or actor.startswith("worker:")
    if actor is not None and not known and not any(parse_id(kind, actor) for kind in ("user", "client")):
        message = f"An actor is a user_… or client_… id, worker: and its name, {' or '.join(ACTORS)}."
        raise invalid("/actor", "bad_actor", message)
    if client_id is not None and parse_id("client", client_id) is None:
        raise invalid("/clientId", "bad_id", "A client's id is client_… with 26 letters and digits.")


async def _export(db: Database, wanted: AuditFilter, form: str) -> Response[Any]:
    """Return an export; what goes wrong on the way breaks the connection: no part looks like the whole."""
    async with db.begin() as tx:
        complete = await complete_until(tx)
        end = min(wanted.until or complete, complete)
        wanted = msgspec.structs.replace(wanted, until=end)
        first = await audit.list_lines(tx, wanted, limit=LINES_AT_ONCE)
    batches = _batches(db, wanted, first)
    return PatientStream(
        _as_csv(batches) if form == "csv" else _as_json(batches),
        media_type=CSV_MEDIA_TYPE if form == "csv" else "application/json",
        headers=download_headers(f"audit.{form}") | complete_to(end),
    )


async def _batches(
    db: Database, wanted: AuditFilter, lines: list[AuditLine]
) -> AsyncGenerator[list[AuditLineView], None]:
    """Give the first lines and those after them; no transaction is open while they are sent."""
    while lines:
        yield [_view(line) for line in lines]
        async with db.begin() as tx:
            lines = await audit.list_lines(tx, wanted, before=lines[-1].id, limit=LINES_AT_ONCE)


async def _as_csv(batches: AsyncGenerator[list[AuditLineView], None]) -> AsyncGenerator[bytes, None]:
    yield csv_line(AuditLineView.__struct_encode_fields__)
    async for views in batches:
        yield b"".join(csv_line(map(_cell, msgspec.structs.astuple(view))) for view in views)


def _cell(value: Any) -> Any:
    return encode(value).decode() if isinstance(value, dict) else value


async def _as_json(batches: AsyncGenerator[list[AuditLineView], None]) -> AsyncGenerator[bytes, None]:
    before = b"[\n"
    async for views in batches:
        yield before + b",\n".join(map(encode, views))
        before = b",\n"
    yield b"\n]\n" if before == b",\n" else b"[]\n"


def _view(line: AuditLine) -> AuditLineView:
    told = msgspec.structs.asdict(line) | {"id": text_id("audit", line.id)}
    return AuditLineView(**told)


ROUTES: list[HTTPRouteHandler] = [list_audit_lines]
