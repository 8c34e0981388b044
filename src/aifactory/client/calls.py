"""Requests, built from arguments. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from aifactory.client.errors import Invalid
from aifactory.client.exchange import Call, Session

_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_encode = msgspec.json.Encoder(decimal_format="number").encode


def checked_id(text: str) -> str:
    """Return an id or a name for a path. Raises Invalid for what can't be one: it would mean another path."""
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise Invalid(f"{str(text)[:80]!r} is no id.", code="bad_id")
    return text


def get(path: str, **query: object) -> Call:
    """Return a GET; arguments that are None are left out, names become camelCase."""
    return Call(method="GET", path=path, query=_query(query))


def post(path: str, body: object = None, *, headers: Mapping[str, str] | None = None) -> Call:
    """Return a POST of JSON that may be repeated as it is."""
    return Call(method="POST", path=path, headers={**_JSON, **(headers or {})}, body=encode(body or {}))


def create(session: Session, path: str, body: object, *, key: str | None = None) -> Call:
    """Return a POST that creates something, once: with an Idempotency-Key."""
    return post(path, body, headers={"Idempotency-Key": key or session.new_key()})


def delete(path: str) -> Call:
    """Return a DELETE."""
    return Call(method="DELETE", path=path)


def events_call(execution_id: str, seen: int, silence_seconds: float) -> Call:
    """Return the call for the events after one."""
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-store"}
    if seen:
        headers["Last-Event-ID"] = str(seen)
    path = f"/api/execution/{execution_id}/events"
    return Call(method="GET", path=path, headers=headers, read_seconds=silence_seconds)


def encode(body: object) -> bytes:
    """Return JSON. Raises Invalid for what JSON can't hold."""
    try:
        return _encode(body)
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        raise Invalid(f"This can't be sent as JSON: {error}.", code="not_json") from error


def moment(value: datetime | timedelta | None) -> datetime | None:
    """Return a time as UTC: a naive one is this machine's, a span counts from now."""
    if isinstance(value, timedelta):
        return datetime.now(UTC) + value
    return None if value is None else value.astimezone(UTC)


def given(**members: Any) -> dict[str, Any]:
    """Return a body of the arguments that are not None; names become camelCase."""
    return {camel(name): value for name, value in members.items() if value is not None}


def camel(name: str) -> str:
    """Return ``snake_case`` as ``camelCase``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


_JSON = {"Content-Type": "application/json"}


def _query(query: Mapping[str, object]) -> dict[str, str]:
    return {camel(name): str(value) for name, value in query.items() if value is not None}
