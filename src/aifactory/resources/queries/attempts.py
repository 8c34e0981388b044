"""Attempts at jobs: those that run now, those that ended, and how they ended."""

from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import JobId
from aifactory.resources.books import Books
from aifactory.resources.interface import Hop
from aifactory.resources.pricing import Price
from aifactory.resources.records import Run


async def load_runs(tx: Tx, job_ids: list[JobId]) -> dict[JobId, Run]:
    """Return the running rows of jobs."""
    rows = await tx.raw.fetch(
        """
        SELECT r.job_id, r.token, r.attempt, r.provider, r.model, r.pool, r.units, r.needs, r.started_at,
               a.price, a.token IS NOT NULL AS recorded,
               EXISTS (SELECT FROM quotas q WHERE q.client_id = r.client_id) AS has_quota
        FROM running_jobs r LEFT JOIN job_attempts a USING (job_id, attempt, token)
        WHERE r.job_id = ANY($1)
        """,
        job_ids,
    )
    return {
        row["job_id"]: Run(
            job_id=row["job_id"],
            token=row["token"],
            attempt=row["attempt"],
            hop=Hop(provider=row["provider"], model=row["model"], pool=row["pool"]),
            units=row["units"],
            needs=row["needs"] or {},
            has_quota=row["has_quota"],
            started_at=row["started_at"],
            price=msgspec.convert(row["price"], Price | None),
            recorded=row["recorded"],
        )
        for row in rows
    }


async def find_attempt(tx: Tx, job_id: JobId, token: UUID) -> Run | None:
    """Return an attempt that ended before, by its token."""
    row = await tx.raw.fetchrow("SELECT * FROM job_attempts WHERE job_id = $1 AND token = $2", job_id, token)
    return None if row is None else _past_run(row)


def _past_run(row: Any) -> Run:
    return Run(
        job_id=row["job_id"],
        token=row["token"],
        attempt=row["attempt"],
        hop=Hop(provider=row["provider"], model=row["model"], pool=row["pool"]),
        units=0,
        started_at=row["started_at"],
        price=msgspec.convert(row["price"], Price | None),
    )


async def unreconciled_run(tx: Tx, job_id: JobId, token: UUID) -> tuple[Run, int] | None:
    """Return an attempt whose cost was booked as unreconciled and not yet reversed, and that amount."""
    row = await tx.raw.fetchrow(
        """
        SELECT a.*, c.amount_nano FROM job_attempts a
        JOIN cost_tracking c ON c.subject_id = a.job_id AND c.attempt = a.attempt AND c.kind = 'unreconciled'
        WHERE a.job_id = $1 AND a.token = $2 AND NOT EXISTS (
            SELECT FROM cost_tracking r
            WHERE r.subject_id = a.job_id AND r.attempt = a.attempt AND r.kind = 'reconciled')
        """,
        job_id,
        token,
    )
    return None if row is None else (_past_run(row), row["amount_nano"])


async def record_ends(tx: Tx, books: Books) -> None:
    """Write down how the attempts of books ended, also of those whose start nobody lived to record."""
    await _record_untold(tx, books)
    await tx.execute_set(
        """
        UPDATE job_attempts a SET finished_at = n.finished_at, outcome = n.outcome, usage = n.usage,
            price = coalesce(n.price, a.price), cost_nano = n.cost_nano
        FROM json_to_recordset($1) AS n (job_id uuid, attempt smallint, token uuid, finished_at timestamptz,
            outcome text, usage jsonb, price jsonb, cost_nano bigint)
        WHERE a.job_id = ANY(ARRAY[n.job_id]) AND a.attempt = n.attempt AND a.token = n.token
        """,
        [
            {
                "job_id": end.job_id,
                "attempt": end.attempt,
                "token": end.token,
                "finished_at": books.now,
                "outcome": end.outcome,
                "usage": end.usage,
                "price": end.price,
                "cost_nano": end.cost_nano,
            }
            for end in books.attempts
        ],
    )


async def _record_untold(tx: Tx, books: Books) -> None:
    """Record attempts that end here and whose start nobody lived to write down."""
    ended = {end.token for end in books.attempts}
    untold = [run.token for run in books.ended_runs if not run.recorded and run.token in ended]
    if untold:
        await tx.raw.execute(
            """
            INSERT INTO job_attempts
                (job_id, attempt, token, process_id, provider, model, pool, started_at)
            SELECT job_id, attempt, token, process_id, provider, model, pool, started_at FROM running_jobs
            WHERE token = ANY($1) AND job_id = ANY($2)
            """,
            untold,
            [end.job_id for end in books.attempts],
        )
