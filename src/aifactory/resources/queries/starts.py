"""The start of claimed jobs: their states, attempts and executions."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ExecutionId, JobId, ProcessId, StageId
from aifactory.resources.events import LockedExecution
from aifactory.resources.queries.tick import Claimed


async def lock_executions(tx: Tx, job_ids: list[JobId]) -> dict[ExecutionId, LockedExecution]:
    """Lock the executions of claimed jobs and return what their events tell."""
    rows = await tx.raw.fetch(
        """
        SELECT id, state, event_seq, jobs_done, jobs_total, spent_nano FROM executions
        WHERE id IN (SELECT execution_id FROM jobs WHERE id = ANY($1))
        ORDER BY id FOR NO KEY UPDATE
        """,
        job_ids,
    )
    return {row["id"]: msgspec.convert(dict(row), LockedExecution) for row in rows}


async def start_jobs(tx: Tx, job_ids: list[JobId], tokens: list[UUID]) -> list[Any]:
    """Mark claimed jobs of locked executions as running, as far as they are still wanted.

    Returns a row per started job: its facts, its stage's worker. Left out is a job that was cancelled since,
    or whose run, by its token, was taken back: it may be somebody else's by now.
    """
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
    await tx.execute_set(
        """
        INSERT INTO job_attempts
            (job_id, attempt, token, process_id, provider, model, pool, started_at, price)
        SELECT n.*, (
            SELECT jsonb_build_object('inputNanoPerMillion', m.input_nano_per_million,
                'cachedNanoPerMillion', m.cached_nano_per_million,
                'outputNanoPerMillion', m.output_nano_per_million, 'source', m.price_source, 'at', m.price_at)
            FROM models m WHERE m.provider = n.provider AND m.model = n.model)
        FROM json_to_recordset($1) AS n (job_id uuid, attempt smallint, token uuid, process_id uuid,
            provider text, model text, pool text, started_at timestamptz)
        """,
        [
            {
                "job_id": one.start.head.job_id,
                "attempt": one.start.head.attempt,
                "token": one.token,
                "process_id": process_id,
                "provider": one.start.hop.provider,
                "model": one.start.hop.model,
                "pool": one.start.hop.pool,
                "started_at": tx.now,
            }
            for one in claimed
        ],
    )


async def mark_stages_started(
    tx: Tx, stage_ids: Collection[StageId]
) -> list[tuple[ExecutionId, int, str, str]]:
    """Note the start of stages whose first job starts now; returns executions, ordinals, workers, names."""
    rows = await tx.raw.fetch(
        """
        UPDATE stage_executions SET started_at = $2 WHERE id = ANY($1) AND started_at IS NULL
        RETURNING execution_id, ordinal, worker, coalesce(spec ->> 'name', '') AS name
        """,
        list(stage_ids),
        tx.now,
    )
    return sorted((row["execution_id"], row["ordinal"], row["worker"], row["name"]) for row in rows)
