"""The processes of the fleet, their leases, and what dead ones left running."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

import asyncpg

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import ExecutionId, ProcessId

LEASE = timedelta(seconds=15)
FENCE = timedelta(seconds=10)
RESCUE_LOCK = 0x41_49_46_02
ENDED_TOGETHER = (
    1000  #: jobs at most whose executions expire in one transaction, but for those of the last one
)


async def register(
    tx: Tx,
    *,
    process_id: ProcessId,
    host: str,
    pid: int,
    lock_key: int,
    slots: int,
    local_slots: int,
    version: str = "",
) -> int:
    """Enter a process, also again when the answer to the first time was lost; returns its epoch."""
    epoch: int = await tx.raw.fetchval(
        """
        INSERT INTO processes
            (id, host, pid, lock_key, started_at, renewed_at, lease_until, slots, local_slots, version)
        VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9)
        ON CONFLICT (id) DO UPDATE SET renewed_at = $5, lease_until = $6
        RETURNING epoch
        """,
        process_id,
        host,
        pid,
        lock_key,
        tx.now,
        tx.now + LEASE,
        slots,
        local_slots,
        version,
    )
    return epoch


async def renew(
    connection: "asyncpg.Connection[Any]",
    process_id: ProcessId,
    *,
    now: datetime,
    stopping: bool,
    loops: Mapping[str, Any],
    timeout_seconds: float,
) -> bool:
    """Renew a lease, by one statement, and note how the process's loops are; False: it was taken."""
    epoch = await connection.fetchval(
        """
        UPDATE processes SET renewed_at = $2, lease_until = $3, stopping = $4, loops = $5::text::jsonb
        WHERE id = $1 RETURNING epoch
        """,
        process_id,
        now,
        now + LEASE,
        stopping,
        encode_json(loops).decode(),
        timeout=timeout_seconds,
    )
    return epoch is not None


async def mark_stopping(tx: Tx, process_id: ProcessId) -> None:
    """Let the fleet see that a process starts nothing any more."""
    await tx.raw.execute("UPDATE processes SET stopping = true WHERE id = $1", process_id)


async def remove(tx: Tx, process_id: ProcessId) -> None:
    """Forget a process that runs nothing."""
    await tx.raw.execute("DELETE FROM processes WHERE id = $1", process_id)


async def others(tx: Tx, process_id: ProcessId) -> list[Any]:
    """Return the other processes with their leases: whether they are over, whether their session is gone.

    A lease that lasts longer than one can is from before the clock was put back, and over too.
    """
    return await tx.raw.fetch(
        """
        SELECT p.id, p.host, p.pid, p.started_at, p.lease_until,
               p.lease_until NOT BETWEEN $2 AND $3 AS expired,
               NOT EXISTS (
                   SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
                     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                     AND (l.classid::bigint << 32) + l.objid::bigint = p.lock_key) AS session_gone
        FROM processes p WHERE p.id <> $1
        """,
        process_id,
        tx.now,
        tx.now + 2 * LEASE,
    )


async def living(tx: Tx, *, but: ProcessId | None = None) -> bool:
    """Return whether any process, but perhaps one, has a lease that is not over."""
    return bool(
        await tx.raw.fetchval(
            "SELECT EXISTS (SELECT FROM processes WHERE lease_until > $1 AND id IS DISTINCT FROM $2)",
            tx.now,
            but,
        )
    )


async def resumed_at(tx: Tx) -> datetime | None:
    """Return when ticking began, or began again after an outage; None before the first tick."""
    moment: datetime | None = await tx.raw.fetchval("SELECT resumed_at FROM scheduler_control")
    return moment


async def runs_of(tx: Tx, process_id: ProcessId, claimed_before: datetime) -> list[Any]:
    """Return job, token and attempt of what a process runs and claimed before a time."""
    return await tx.raw.fetch(
        "SELECT job_id, token, attempt FROM running_jobs WHERE process_id = $1 AND started_at <= $2",
        process_id,
        claimed_before,
    )


async def try_rescue_lock(tx: Tx) -> bool:
    """Become the only rescuer until the transaction ends, or return False at once."""
    return bool(await tx.raw.fetchval("SELECT pg_try_advisory_xact_lock($1)", RESCUE_LOCK))


async def orphaned_runs(tx: Tx) -> list[Any]:
    """Return job and token of runs whose process is not registered any more."""
    return await tx.raw.fetch(
        """
        SELECT r.job_id, r.token FROM running_jobs r
        WHERE NOT EXISTS (SELECT FROM processes p WHERE p.id = r.process_id)
        LIMIT 100
        """
    )


async def past_deadline(tx: Tx) -> list[ExecutionId]:
    """Lock open executions whose deadline has passed, at most so many jobs; others come next time.

    Left out is what somebody is at. Locked, so that a deadline that is put off at this moment is seen.
    """
    rows = await tx.raw.fetch(
        """
        SELECT id, jobs_total - jobs_done AS jobs FROM executions
        WHERE finished_at IS NULL AND deadline <= $1 ORDER BY deadline LIMIT 200
        FOR NO KEY UPDATE SKIP LOCKED
        """,
        tx.now,
    )
    before = accumulate((row["jobs"] for row in rows), initial=0)
    return [row["id"] for row, jobs in zip(rows, before, strict=False) if jobs < ENDED_TOGETHER]
