"""Handshakes: work that is held for another program until it says that it is to run."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import ClientId, ExecutionId

KEPT = timedelta(days=2)

_LOCK_CLASS = 0x41_49_48_53


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """A promise to another program, under the name that it gave to its execution."""

    id: UUID
    scope: str
    name: str
    body_sha256: bytes
    execution_id: ExecutionId
    timeout_ms: int
    answer: dict[str, Any]
    created_at: datetime
    expires_at: datetime
    processed_at: datetime | None


async def lock_name(tx: Tx, scope: str, name: str) -> None:
    """Let nobody else make or look for a handshake of this name until this transaction ends."""
    await tx.raw.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK_CLASS, f"{scope}\n{name}")


async def insert_handshake(tx: Tx, new: Handshake) -> None:
    """Store a handshake."""
    await tx.raw.execute(
        """
        INSERT INTO handshakes (id, scope, name, body_sha256, execution_id, timeout_ms, answer, created_at,
            expires_at, processed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        new.id,
        new.scope,
        new.name,
        new.body_sha256,
        new.execution_id,
        new.timeout_ms,
        encode_json(new.answer),
        new.created_at,
        new.expires_at,
        new.processed_at,
    )


async def find_handshake(tx: Tx, *, scope: str, name: str) -> Handshake | None:
    """Return the newest handshake of a name."""
    row = await tx.raw.fetchrow(
        """
        SELECT id, scope, name, body_sha256, execution_id, timeout_ms, answer, created_at, expires_at,
               processed_at
        FROM handshakes WHERE scope = $1 AND name = $2 ORDER BY id DESC LIMIT 1
        """,
        scope,
        name,
    )
    return None if row is None else Handshake(**dict(row))


async def release(tx: Tx, held: Handshake, deadline: datetime) -> None:
    """Let held work run: it is due now, and has until ``deadline``. Its execution is locked already."""
    await tx.raw.execute("UPDATE handshakes SET processed_at = $2 WHERE id = $1", held.id, tx.now)
    await tx.raw.execute(
        "UPDATE executions SET deadline = $2, aged_from = $3 WHERE id = $1",
        held.execution_id,
        deadline,
        tx.now,
    )
    await tx.raw.execute(
        """
        UPDATE queue_due SET due_at = $2, aged_from = $2
        WHERE job_id IN (SELECT id FROM jobs WHERE execution_id = $1 AND finished_at IS NULL)
        """,
        held.execution_id,
        tx.now,
    )


async def forget_old(tx: Tx, limit: int) -> int:
    """Delete at most so many handshakes that ended two days ago. Returns how many."""
    done = await tx.raw.execute(
        """
        DELETE FROM handshakes WHERE id IN (
            SELECT id FROM handshakes WHERE expires_at < $1
            ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        """,
        tx.now - KEPT,
        limit,
    )
    return int(done.split()[-1])


async def running_and_most(tx: Tx, client_id: ClientId) -> tuple[int, int]:
    """Return how many jobs of a client run, and how many may."""
    row: Any = await tx.raw.fetchrow(
        """
        SELECT (SELECT count(*) FROM running_jobs r WHERE r.client_id = c.client_id) AS running,
               coalesce(c.max_running, t.max_running) AS most
        FROM client_resource_limits c JOIN tiers t USING (tier) WHERE c.client_id = $1
        """,
        client_id,
    )
    return row["running"], row["most"]


async def tokens_used(tx: Tx, execution_id: ExecutionId) -> int:
    """Return how many tokens the model calls of an execution used, input and output."""
    used: int = await tx.raw.fetchval(
        """
        SELECT coalesce(sum((a.usage ->> 'inputUnits')::bigint
                            + (a.usage ->> 'outputUnits')::bigint), 0)::bigint
        FROM stage_executions s JOIN jobs j ON j.stage_id = s.id JOIN job_attempts a ON a.job_id = j.id
        WHERE s.execution_id = $1 AND a.usage IS NOT NULL AND a.provider <> 'local'
        """,
        execution_id,
    )
    return used
