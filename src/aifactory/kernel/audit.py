"""The audit log: who changed what, in the transaction of the change. Lines are added, never changed."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import DateTime, Text, Uuid, column, func, select, table
from sqlalchemy.dialects.postgresql import JSONB

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import new_id
from aifactory.kernel.problems import camel

_LOG = table(
    "audit_log",
    column("id", Uuid()),
    column("at", DateTime(timezone=True)),
    *(column(name, Text()) for name in ("actor", "action", "object_kind", "object_id")),
    *(column(name, Text()) for name in ("client_id", "request_id")),
    column("before", JSONB()),
    column("after", JSONB()),
)
_INSERT = """
INSERT INTO audit_log (id, at, actor, action, object_kind, object_id, client_id, request_id, before, after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


Told = msgspec.Struct | dict[str, Any] | None  #: how an object was, or is


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """A change as it was recorded; ``client_id``: the client that it concerns, as a public id."""

    id: UUID
    at: datetime
    actor: str
    action: str
    object_kind: str
    object_id: str
    client_id: str | None
    request_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines: ``action`` with a dot at its end are those that begin so; ``until`` is not included."""

    actor: str | None = None
    action: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    client_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def record(
    tx: Tx,
    *,
    actor: str,
    action: str,
    object_kind: str,
    object_id: str,
    before: Told = None,
    after: Told = None,
    client_id: str | None = None,
) -> None:
    """Write one line of the audit log, with the API's names of members; never give it a secret.

    ``client_id`` (``client_…``) is taken from the object or a member ``client`` where it is not given.
    """
    await tx.raw.execute(
        _INSERT,
        new_id(),
        tx.now,
        actor,
        action,
        object_kind,
        object_id,
        client_id or _client_of(object_kind, object_id, after or before),
        structlog.contextvars.get_contextvars().get("request_id"),
        _encoded(before),
        _encoded(after),
    )


async def record_change(
    tx: Tx, *, actor: str, action: str, object_kind: str, object_id: str, before: Told, after: Told
) -> None:
    """Write one line as ``record`` does, but none for what was set to what it was."""
    if before != after:
        await record(
            tx,
            actor=actor,
            action=action,
            object_kind=object_kind,
            object_id=object_id,
            before=before,
            after=after,
        )


async def list_lines(
    tx: Tx, wanted: AuditFilter, *, before: UUID | None = None, limit: int
) -> list[AuditLine]:
    """Return at most so many lines, newest first, from the one before ``before`` on."""
    statement = select(_LOG).order_by(_LOG.c.id.desc()).limit(limit)
    for name in ("actor", "object_kind", "object_id", "client_id"):
        if (value := getattr(wanted, name)) is not None:
            statement = statement.where(_LOG.c[name] == value)
    if wanted.action is not None:
        begins = wanted.action.endswith(".")
        same = func.starts_with(_LOG.c.action, wanted.action) if begins else _LOG.c.action == wanted.action
        statement = statement.where(same)
    if wanted.since is not None:
        statement = statement.where(_LOG.c.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(_LOG.c.at < wanted.until)
    if before is not None:
        statement = statement.where(_LOG.c.id < before)
    return [AuditLine(**row) for row in (await tx.session.execute(statement)).mappings()]


def _encoded(told: Told) -> bytes | None:
    if isinstance(told, dict):
        told = {camel(name): value for name, value in told.items()}
    return None if told is None else encode_json(told)


def _client_of(object_kind: str, object_id: str, told: Told) -> str | None:
    named = told.get("client") if isinstance(told, dict) else None
    found = object_id if object_kind == "client" else named
    return found if isinstance(found, str) else None
