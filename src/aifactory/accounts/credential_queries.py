"""The SQL of workers' credentials: no decisions."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import func, or_, select, update

from aifactory.accounts.keys import ApiKey
from aifactory.accounts.models import WorkerCredentialRow
from aifactory.accounts.queries import newest_first
from aifactory.accounts.request_limits import Counted, counting, fetch_counted
from aifactory.kernel.allowance import WORKER_PER_MINUTE
from aifactory.kernel.db import Tx
from aifactory.kernel.page import PageRequest

Raw = asyncpg.Connection

# The check of a secret: one statement each, outside a transaction.

_SECRET = counting("""
SELECT id, worker, secret_sha256, scopes, expires_at, revoked_at, last_used_at, now,
       id AS holder, $6::integer AS per_minute,
       $5::boolean AND secret_sha256 = $2 AND worker = $3 AND revoked_at IS NULL
           AND (expires_at IS NULL OR expires_at > now) AS usable
FROM worker_credentials, (SELECT clock_timestamp() + $4::interval AS now OFFSET 0) AS moment
WHERE public_id = $1
""")
_USED = """
UPDATE worker_credentials SET last_used_at = $2
WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3)
"""


async def find_secret(
    raw: "Raw[Any]", secret: ApiKey, worker: str | None, *, offset: timedelta, counts: bool
) -> Counted | None:
    """Return a credential with the time; a request is counted when secret and worker are right and live."""
    return await fetch_counted(
        raw, _SECRET, secret.public_id, secret.sha256, worker, offset, counts, WORKER_PER_MINUTE
    )


async def note_use(raw: "Raw[Any]", credential_id: UUID, now: datetime, before: datetime) -> None:
    """Set a credential's last use unless another request has done so since ``before``."""
    await raw.execute(_USED, credential_id, now, before)


# Changing them.


async def lock_worker(tx: Tx, worker: str) -> None:
    """Let one change of a worker's credentials at a time happen, also while it has none."""
    key = func.hashtextextended(f"aifactory.worker_credentials.{worker}", 0)
    await tx.session.execute(select(func.pg_advisory_xact_lock(key)))


async def list_live(tx: Tx, worker: str) -> list[WorkerCredentialRow]:
    """Return a worker's credentials that still work, locked, newest first."""
    row = WorkerCredentialRow
    unexpired = or_(row.expires_at.is_(None), row.expires_at > tx.now)
    statement = select(row).where(row.worker == worker, row.revoked_at.is_(None), unexpired)
    return list(await tx.session.scalars(statement.order_by(row.id.desc()).with_for_update()))


async def retire_expired(tx: Tx, worker: str) -> None:
    """Mark a worker's expired credentials as replaced, so that there can be a new one."""
    row = WorkerCredentialRow
    await tx.session.execute(
        update(row)
        .where(row.worker == worker, row.replaced_at.is_(None), row.expires_at <= tx.now)
        .values(replaced_at=tx.now)
    )


async def find_credential(tx: Tx, credential_id: UUID) -> WorkerCredentialRow | None:
    """Return a credential, locked."""
    return await tx.session.get(WorkerCredentialRow, credential_id, with_for_update=True)


async def list_credentials(tx: Tx, page: PageRequest) -> list[WorkerCredentialRow]:
    """Return one more than a page, newest first."""
    return await newest_first(tx, select(WorkerCredentialRow), WorkerCredentialRow.id, page)
