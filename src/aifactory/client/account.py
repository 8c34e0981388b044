"""The server's health, templates, usage, keys and webhooks."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec

from aifactory.client.calls import checked_id, create, delete, get, given, moment
from aifactory.client.catalogue import (
    ApiKey,
    Budgets,
    Caller,
    Health,
    Template,
    Usage,
    UsageReport,
    UsageRow,
    Webhook,
)
from aifactory.client.errors import Invalid
from aifactory.client.exchange import Call, Plan, Session, exchange, fetch
from aifactory.client.models import Page


def health(session: Session) -> Plan[Health]:
    """Say how the server is; needs no key."""
    return fetch(session, get("/health"), Health)


def templates(
    session: Session, *, limit: int | None = 100, cursor: str | None = None
) -> Plan[Page[Template]]:
    """Return a page of the templates that requests can name, each with its price for the caller."""
    return fetch(session, get("/api/master-templates", limit=limit, cursor=cursor), Page[Template])


def template(session: Session, name: str) -> Plan[Template]:
    """Return a template. Raises NotFound, which lists the near names."""
    return fetch(session, get(f"/api/master-templates/{checked_id(name)}"), Template)


def caller(session: Session) -> Plan[Caller]:
    """Say who the credential belongs to."""
    return fetch(session, get("/auth/session"), Caller)


def usage(session: Session, client_id: str | None = None) -> Plan[Usage]:
    """Return the budget and the work of this period: one's own, or a client's that the operator names."""
    wanted = yield from _client(session, client_id)
    return (yield from fetch(session, get(f"/api/usage/{wanted}/current"), Usage))


def budgets(session: Session, client_id: str | None = None) -> Plan[Budgets]:
    """Return every budget of the periods that run now: one's own, or a client's that the operator names."""
    wanted = yield from _client(session, client_id)
    return (yield from fetch(session, get(f"/clients/{wanted}/budgets"), Budgets))


def usage_report(
    session: Session,
    client_id: str | None = None,
    *,
    group_by: Sequence[str] = ("day",),
    since: date | str | None = None,
    until: date | str | None = None,
) -> Plan[UsageReport]:
    """Return what was used in whole days of UTC, ``until`` not included; by default this month's.

    ``group_by`` takes some of day, model, template, provider, client. The operator's ``client_id="all"`` is
    every client.
    """
    wanted, cursor = (yield from _client(session, client_id)), None
    rows: list[UsageRow] = []
    while True:
        call = _report_call(wanted, group_by, since, until, cursor=cursor)
        page = yield from fetch(session, call, UsageReport)
        rows += page.data
        cursor = page.next_cursor
        if cursor is None:
            return msgspec.structs.replace(page, data=rows)


def usage_csv(
    session: Session,
    client_id: str | None = None,
    *,
    group_by: Sequence[str] = ("day",),
    since: date | str | None = None,
    until: date | str | None = None,
) -> Plan[str]:
    """Return the same as CSV."""
    wanted = yield from _client(session, client_id)
    call = _report_call(wanted, group_by, since, until, format="csv")
    return (yield from exchange(session, call)).body.decode()


def _report_call(
    client_id: str,
    group_by: Sequence[str],
    since: date | str | None,
    until: date | str | None,
    **rest: str | None,
) -> Call:
    first, end = _time(since), _time(until)
    path = f"/api/usage/{client_id}"
    return get(path, group_by=",".join(group_by), **{"from": first, "to": end}, **rest)


def _time(value: date | str | None) -> str | None:
    """Return a day as it is and a time as UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value) if value is not None else None


def _client(session: Session, client_id: str | None) -> Plan[str]:
    if client_id is None:
        client_id = (yield from caller(session)).client_id
    if client_id is None:
        raise Invalid("This credential belongs to no client: name one (client_id).", code="no_client")
    return checked_id(client_id)


def keys(
    session: Session, *, client_id: str | None = None, limit: int | None = 100, cursor: str | None = None
) -> Plan[Page[ApiKey]]:
    """Return a page of API keys, newest first, without their secrets."""
    wanted = yield from _client(session, client_id)
    call = get(f"/clients/{wanted}/api-keys", limit=limit, cursor=cursor)
    return (yield from fetch(session, call, Page[ApiKey]))


def create_key(
    session: Session,
    name: str,
    *,
    scopes: Sequence[str] | None = None,
    expires_at: datetime | timedelta | None = None,
    client_id: str | None = None,
    idempotency_key: str | None = None,
) -> Plan[ApiKey]:
    """Make an API key. ``key`` is its secret; None when an answer was lost and the server gave it again."""
    wanted = yield from _client(session, client_id)
    body = given(name=name, scopes=None if scopes is None else list(scopes), expires_at=moment(expires_at))
    call = create(session, f"/clients/{wanted}/api-keys", body, key=idempotency_key)
    return (yield from fetch(session, call, ApiKey))


def rotate_key(
    session: Session,
    key_id: str,
    *,
    overlap: timedelta | None = None,
    client_id: str | None = None,
    idempotency_key: str | None = None,
) -> Plan[ApiKey]:
    """Make a key like this one; the old one goes on working for ``overlap`` (a day)."""
    wanted = yield from _client(session, client_id)
    body = given(overlap_ms=None if overlap is None else round(overlap.total_seconds() * 1000))
    path = f"/clients/{wanted}/api-keys/{checked_id(key_id)}/rotate"
    return (yield from fetch(session, create(session, path, body, key=idempotency_key), ApiKey))


def revoke_key(session: Session, key_id: str, *, client_id: str | None = None) -> Plan[None]:
    """End an API key now."""
    wanted = yield from _client(session, client_id)
    yield from exchange(session, delete(f"/clients/{wanted}/api-keys/{checked_id(key_id)}"))


def webhooks(session: Session, *, limit: int | None = 100, cursor: str | None = None) -> Plan[Page[Webhook]]:
    """Return a page of webhooks, newest first, without their secrets."""
    return fetch(session, get("/api/webhooks", limit=limit, cursor=cursor), Page[Webhook])


def create_webhook(
    session: Session,
    url: str,
    *,
    events: Sequence[str] | None = None,
    client_id: str | None = None,
    idempotency_key: str | None = None,
) -> Plan[Webhook]:
    """Have an address told how executions end. ``secret`` checks the signatures, and is shown this once."""
    body = given(url=url, events=None if events is None else list(events), client_id=client_id)
    return (yield from fetch(session, create(session, "/api/webhooks", body, key=idempotency_key), Webhook))


def delete_webhook(session: Session, webhook_id: str) -> Plan[None]:
    """Stop telling an address."""
    yield from exchange(session, delete(f"/api/webhooks/{checked_id(webhook_id)}"))
