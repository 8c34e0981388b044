"""The SQL of accounts: no decisions."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import Select, func, select, text, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import InstrumentedAttribute

from aifactory.accounts.keys import ApiKey
from aifactory.accounts.models import (
    ApiKeyRow,
    ClientRequestRow,
    ClientRow,
    MasterTemplateRow,
    Row,
)
from aifactory.accounts.request_limits import Counted, counting, fetch_counted
from aifactory.kernel.db import Tx
from aifactory.kernel.page import PageRequest

Raw = asyncpg.Connection

_Row = TypeVar("_Row", bound=Row)


async def newest_first(
    tx: Tx, statement: Select[_Row], row_id: InstrumentedAttribute[UUID], page: PageRequest
) -> list[_Row]:
    """Return one more than a page of what a statement selects, by descending id."""
    statement = statement.order_by(row_id.desc()).limit(page.limit + 1)
    if page.before is not None:
        statement = statement.where(row_id < page.before)
    return list(await tx.session.scalars(statement))


# The key check: one statement each, outside a transaction.

_KEY = counting("""
SELECT id, client_id, secret_sha256, scopes, expires_at, revoked_at, last_used_at, now,
       id AS holder, requests_per_minute AS per_minute,
       $4::boolean AND secret_sha256 = $2 AND revoked_at IS NULL
           AND (expires_at IS NULL OR expires_at > now) AS usable
FROM api_keys JOIN client_request_limits USING (client_id),
     (SELECT clock_timestamp() + $3::interval AS now OFFSET 0) AS moment
WHERE public_id = $1
""")
_USED = """
UPDATE api_keys SET last_used_at = $2
WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3)
"""


async def find_key(raw: "Raw[Any]", key: ApiKey, *, offset: timedelta, counts: bool) -> Counted | None:
    """Return a key with the time; a request of it is counted when the secret is right and it is live."""
    return await fetch_counted(raw, _KEY, key.public_id, key.sha256, offset, counts)


async def note_key_used(raw: "Raw[Any]", key_id: UUID, now: datetime, before: datetime) -> None:
    """Set a key's last use unless another request has done so since ``before``."""
    await raw.execute(_USED, key_id, now, before)


# The first start.


async def lock_first_start(tx: Tx) -> None:
    """Let one process at a time seed."""
    await tx.session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('aifactory.seeds', 0))"))


# Clients and keys.


async def find_client(tx: Tx, client_id: UUID, *, lock: bool = False) -> ClientRow | None:
    """Return a client, locked if asked."""
    return await tx.session.get(ClientRow, client_id, with_for_update=lock or None)


async def list_clients(tx: Tx, page: PageRequest) -> list[ClientRow]:
    """Return one more than a page, newest first."""
    return await newest_first(tx, select(ClientRow), ClientRow.id, page)


async def find_client_key(tx: Tx, *, client_id: UUID, key_id: UUID, lock: bool = False) -> ApiKeyRow | None:
    """Return a client's key, locked if asked."""
    statement = select(ApiKeyRow).where(ApiKeyRow.id == key_id, ApiKeyRow.client_id == client_id)
    return await tx.session.scalar(statement.with_for_update() if lock else statement)


async def list_keys(tx: Tx, client_id: UUID, page: PageRequest) -> list[ApiKeyRow]:
    """Return one more than a page of a client's keys, newest first."""
    statement = select(ApiKeyRow).where(ApiKeyRow.client_id == client_id)
    return await newest_first(tx, statement, ApiKeyRow.id, page)


async def count_live_keys(tx: Tx, client_id: UUID) -> int:
    """Count the keys that still work or will."""
    statement = select(func.count()).where(
        ApiKeyRow.client_id == client_id,
        ApiKeyRow.revoked_at.is_(None),
        (ApiKeyRow.expires_at.is_(None)) | (ApiKeyRow.expires_at > tx.now),
    )
    return await tx.session.scalar(statement) or 0


# Master templates.


async def find_template(tx: Tx, name: str, version: int | None = None) -> MasterTemplateRow | None:
    """Return a version of a template, by default the newest active one."""
    statement = select(MasterTemplateRow).where(MasterTemplateRow.name == name)
    if version is None:
        statement = statement.where(MasterTemplateRow.active)
    else:
        statement = statement.where(MasterTemplateRow.version == version)
    return await tx.session.scalar(statement.order_by(MasterTemplateRow.version.desc()).limit(1))


async def find_active_flow(tx: Tx, name: str) -> tuple[int, list[Any]] | None:
    """Return the number and the flow of the newest active version: every submission asks for it."""
    row = await tx.raw.fetchrow(
        """
        SELECT version, flow FROM master_templates WHERE name = $1 AND active ORDER BY version DESC LIMIT 1
        """,
        name,
    )
    return None if row is None else (row["version"], row["flow"])


async def lock_template(tx: Tx, name: str) -> None:
    """Let one change of a template at a time happen, also before there is one."""
    key = func.hashtextextended(f"aifactory.master_templates.{name}", 0)
    await tx.session.execute(select(func.pg_advisory_xact_lock(key)))


async def find_newest_template(tx: Tx, name: str) -> MasterTemplateRow | None:
    """Return the newest version of a template, active or not."""
    statement = (
        select(MasterTemplateRow)
        .where(MasterTemplateRow.name == name)
        .order_by(MasterTemplateRow.version.desc())
        .limit(1)
    )
    return await tx.session.scalar(statement)


async def list_templates(tx: Tx, page: PageRequest) -> list[MasterTemplateRow]:
    """Return one more than a page of the newest active versions, newest first."""
    newest = (
        select(MasterTemplateRow.id)
        .where(MasterTemplateRow.active)
        .ext(distinct_on(MasterTemplateRow.name))
        .order_by(MasterTemplateRow.name, MasterTemplateRow.version.desc())
        .subquery()
    )
    statement = select(MasterTemplateRow).where(MasterTemplateRow.id.in_(select(newest.c.id)))
    return await newest_first(tx, statement, MasterTemplateRow.id, page)


async def find_template_of_stage(tx: Tx, *, worker: str, template_ref: str) -> str | None:
    """Return the name of the oldest master template whose newest active version is this stage alone."""
    name: str | None = await tx.raw.fetchval(
        """
        SELECT name FROM (
            SELECT DISTINCT ON (name) name, flow, created_at FROM master_templates
            WHERE active ORDER BY name, version DESC
        ) newest
        WHERE jsonb_array_length(flow) = 1 AND flow -> 0 ->> 'worker' = $1
          AND flow -> 0 ->> 'templateRef' = $2
          AND coalesce(flow -> 0 ->> 'action', 'granulate') = 'granulate'
        ORDER BY created_at, name LIMIT 1
        """,
        worker,
        template_ref,
    )
    return name


async def list_template_versions(tx: Tx, name: str, page: PageRequest) -> list[MasterTemplateRow]:
    """Return one more than a page of a template's versions, newest first."""
    statement = (
        select(MasterTemplateRow)
        .where(MasterTemplateRow.name == name)
        .order_by(MasterTemplateRow.version.desc())
        .limit(page.limit + 1)
    )
    if page.before is not None:
        older_than = (
            select(MasterTemplateRow.version)
            .where(MasterTemplateRow.name == name, MasterTemplateRow.id == page.before)
            .scalar_subquery()
        )
        statement = statement.where(MasterTemplateRow.version < older_than)
    return list(await tx.session.scalars(statement))


async def list_template_names(tx: Tx) -> list[str]:
    """Return the names of all templates that can be used."""
    statement = select(MasterTemplateRow.name).where(MasterTemplateRow.active).distinct()
    return list(await tx.session.scalars(statement))


async def deactivate_template(tx: Tx, name: str) -> None:
    """Make every version of a template unusable for new requests."""
    await tx.session.execute(
        update(MasterTemplateRow).where(MasterTemplateRow.name == name).values(active=False)
    )


# Requests.


_REQUEST = """
    id uuid, client_id uuid, key_id uuid, template text, parameters jsonb, source_data_id uuid, urgency text,
    accuracy text, run_after timestamptz, deadline timestamptz, timeout_ms integer, off_peak boolean,
    flow jsonb, metadata jsonb, created_at timestamptz, executed boolean, erased_at timestamptz,
    erasure text"""
_REQUEST_NAMES = ", ".join(column.split()[0] for column in _REQUEST.split(","))


async def insert_requests(tx: Tx, rows: Sequence[ClientRequestRow]) -> None:
    """Store requests, in one statement."""
    columns = ClientRequestRow.__mapper__.columns.items()
    await tx.execute_set(
        f"""
        INSERT INTO client_requests ({_REQUEST_NAMES})
        SELECT {_REQUEST_NAMES} FROM json_to_recordset($1) AS n ({_REQUEST})
        """,
        [{column.name: getattr(row, name) for name, column in columns} for row in rows],
    )


async def find_request(
    tx: Tx, *, request_id: UUID, client_id: UUID | None, lock: bool = False
) -> ClientRequestRow | None:
    """Return a request, of one client or (None) of any, locked if asked."""
    statement = select(ClientRequestRow).where(ClientRequestRow.id == request_id)
    if client_id is not None:
        statement = statement.where(ClientRequestRow.client_id == client_id)
    return await tx.session.scalar(statement.with_for_update() if lock else statement)


async def list_requests(tx: Tx, *, client_id: UUID | None, page: PageRequest) -> list[ClientRequestRow]:
    """Return one more than a page of requests, newest first."""
    statement = select(ClientRequestRow)
    if client_id is not None:
        statement = statement.where(ClientRequestRow.client_id == client_id)
    return await newest_first(tx, statement, ClientRequestRow.id, page)


async def load_requests(tx: Tx, request_ids: list[UUID]) -> dict[UUID, ClientRequestRow]:
    """Return requests by id."""
    statement = select(ClientRequestRow).where(ClientRequestRow.id.in_(request_ids))
    return {row.id: row for row in await tx.session.scalars(statement)}


async def find_client_by_name(tx: Tx, name: str) -> ClientRow | None:
    """Return the oldest client with a name; names need not be unique."""
    found = await tx.session.scalars(
        select(ClientRow).where(ClientRow.name == name).order_by(ClientRow.id).limit(1)
    )
    return found.first()
