"""The start of claimed jobs: their states, attempts and executions."""

from typing import Any
from uuid import UUID

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import JobId, ProcessId
from aifactory.resources.queries.tick import Claimed


async def start_jobs(tx: Tx, job_ids: list[JobId], tokens: list[UUID]) -> list[Any]:
    """Lock the executions of claimed jobs and mark what is still wanted as running.

    Returns a row per started job: its facts, its stage's worker. Left out is a job that was cancelled since,
    or whose run, by its token, was taken back: it may be somebody else's by now.
    """
    await tx.raw.fetch(
        """
        SELECT id FROM executions WHERE id IN (SELECT execution_id FROM jobs WHERE id = ANY($1))
        ORDER BY id FOR NO KEY UPDATE
        """,
        job_ids,
    )
    return await tx.raw.fetch(
        """
        UPDATE jobs j SET state = 'running', started_at = $2 FROM running_jobs r
        WHERE j.id = ANY($1) AND j.state IN ('ready', 'scheduled') AND r.job_id = j.id AND r.token = ANY($3)
        RETURNING j.id, j.execution_id, j.stage_id, j.client_id, j.worker, j.kind, j.payload, j.data,
            j.attempt, j.timeout_seconds, j.input_bound, j.output_limit
        """,
        job_ids,
        tx.now,
        tokens,
    )


async def insert_attempts(tx: Tx, claimed: list[Claimed], process_id: ProcessId) -> None:
    """Record the attempts that begin, each with its price of now."""
    await tx.execute_many(
        """
        INSERT INTO job_attempts
            (job_id, attempt, token, process_id, provider, model, pool, started_at, price)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, (
            SELECT jsonb_build_object('inputNanoPerMillion', input_nano_per_million,
                'cachedNanoPerMillion', cached_nano_per_million,
                'outputNanoPerMillion', output_nano_per_million, 'source', price_source, 'at', price_at)
            FROM models WHERE provider = $5 AND model = $6))
        """,
        [
            (
                one.start.head.job_id,
                one.start.head.attempt,
                one.token,
                process_id,
                one.start.hop.provider,
                one.start.hop.model,
                one.start.hop.pool,
                tx.now,
            )
            for one in claimed
        ],
    )


async def mark_executions_running(tx: Tx, execution_ids: list[UUID]) -> None:
    """Move queued executions to running, with their event."""
    rows = await tx.raw.fetch(
        """
        UPDATE executions SET state = 'running', started_at = $2, event_seq = event_seq + 1
        WHERE id = ANY($1) AND state = 'queued' RETURNING id, event_seq
        """,
        execution_ids,
        tx.now,
    )
    await tx.execute_many(
        """
        INSERT INTO execution_events (execution_id, seq, at, type, data)
        VALUES ($1, $2, $3, 'execution.running', '{}')
        """,
        [(row["id"], row["event_seq"], tx.now) for row in rows],
    )
