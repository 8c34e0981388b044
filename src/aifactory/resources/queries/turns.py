"""Whose turn it is, where the processes of the fleet meet: to decide, and at an execution."""

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import JobId
from aifactory.resources.queries.quotas import DECIDER_LOCK


async def wait_for_decider_lock(tx: Tx, seconds: float) -> None:
    """Wait in line to become the only decider. Raises asyncpg's LockNotAvailableError after ``seconds``."""
    await tx.raw.execute(
        f"""
        SET LOCAL lock_timeout = {round(seconds * 1000)};
        SELECT pg_advisory_xact_lock({DECIDER_LOCK});
        SET LOCAL lock_timeout = 0
        """
    )


async def take_free(tx: Tx, job_ids: list[JobId], *, patient: bool) -> set[JobId]:
    """Lock the executions of jobs as far as nobody is at them; return the jobs whose turn it is now.

    Waits for the first job's execution if none is free, or if ``patient``, and then holds no other yet: who
    waits keeps nobody waiting. A job without an execution is free.
    """
    if len(job_ids) == 1:
        return set(job_ids)
    if not patient and (free := await _lock_free(tx, job_ids)):
        return free
    await tx.raw.execute(
        """
        SELECT FROM executions WHERE id = (SELECT execution_id FROM jobs WHERE id = $1) FOR NO KEY UPDATE
        """,
        job_ids[0],
    )
    return await _lock_free(tx, job_ids)


async def _lock_free(tx: Tx, job_ids: list[JobId]) -> set[JobId]:
    rows = await tx.raw.fetch(
        """
        WITH free AS MATERIALIZED (
            SELECT id FROM executions WHERE id IN (SELECT execution_id FROM jobs WHERE id = ANY($1))
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
        SELECT id FROM jobs WHERE id = ANY($1) AND execution_id NOT IN (SELECT id FROM free)
        """,
        job_ids,
    )
    return set(job_ids) - {row["id"] for row in rows}
