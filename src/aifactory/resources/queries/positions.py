"""Where an execution's unfinished jobs stand: queued, put off, running. Changes nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, ExecutionId
from aifactory.resources.gates import Head, Lane
from aifactory.resources.interface import Hop, JobState, Urgency

MOST_JOBS = 200
MOST_AHEAD = 100_000


class OpenJob(msgspec.Struct, frozen=True, kw_only=True):
    """An unfinished job; ``lane_id`` while it is queued, ``due_at`` while it is put off, ``runs`` if claimed.

    ``attempt`` is the one that runs, or comes next.
    """

    job_id: UUID
    kind: str
    state: JobState
    max_attempts: int
    worker: str
    queue: str
    client_id: UUID
    urgency: Urgency
    hops: tuple[Hop, ...]
    further_pools: tuple[str, ...]
    local: bool
    alone: bool
    lane_id: int | None
    aged_from: datetime
    seq: int
    units: int
    needs: dict[str, int]
    attempt: int
    due_at: datetime | None
    runs: bool

    def head(self) -> Head:
        """Return the job as a lane has it."""
        return Head(
            job_id=self.job_id, aged_from=self.aged_from, seq=self.seq, units=self.units, needs=self.needs
        )

    def lane(self) -> Lane:
        """Return a lane of this job alone."""
        return Lane(
            id=self.lane_id or 0,
            hops=self.hops,
            further_pools=self.further_pools,
            local=self.local,
            alone=self.alone,
            worker=self.worker,
            queue=self.queue,
            client_id=self.client_id,
            urgency=self.urgency,
            heads=(self.head(),),
            complete=True,
        )


async def execution_of_job(
    tx: Tx, job_id: UUID, client_id: ClientId | None
) -> tuple[ExecutionId, JobState] | None:
    """Return the execution and the state of a job, of one client or of any."""
    row = await tx.raw.fetchrow(
        "SELECT execution_id, state FROM jobs WHERE id = $1 AND ($2::uuid IS NULL OR client_id = $2)",
        job_id,
        client_id,
    )
    return None if row is None else (row["execution_id"], JobState(row["state"]))


async def open_jobs(tx: Tx, execution_id: ExecutionId, job_id: UUID | None = None) -> list[OpenJob]:
    """Return an execution's unfinished jobs, oldest first, at most 200, ``job_id`` among them."""
    rows = await tx.raw.fetch(
        """
        SELECT j.id AS job_id, j.kind, j.state, j.max_attempts, j.worker, e.queue, j.client_id, e.urgency,
               r.hops, r.further_pools, r.local, r.alone, q.lane_id,
               coalesce(q.aged_from, d.aged_from, e.aged_from) AS aged_from,
               coalesce(q.seq, d.seq, 0) AS seq,
               coalesce(q.units, d.units, j.input_bound + j.output_limit) AS units,
               coalesce(q.needs, d.needs, '{}') AS needs,
               coalesce(q.attempt, d.attempt, j.attempt) AS attempt, d.due_at, run.job_id IS NOT NULL AS runs
        FROM jobs j JOIN executions e ON e.id = j.execution_id JOIN routes r ON r.id = j.route_id
        LEFT JOIN resource_queue q ON q.job_id = j.id LEFT JOIN queue_due d ON d.job_id = j.id
        LEFT JOIN running_jobs run ON run.job_id = j.id
        WHERE j.execution_id = $1 AND j.finished_at IS NULL
        ORDER BY j.id IS DISTINCT FROM $2, j.id LIMIT $3
        """,
        execution_id,
        job_id,
        MOST_JOBS,
    )
    return sorted(map(_open_job, rows), key=lambda job: (job.aged_from, job.seq, job.job_id))


def _open_job(row: Any) -> OpenJob:
    values = dict(row)
    values |= {
        "state": JobState(row["state"]),
        "urgency": Urgency(row["urgency"]),
        "hops": msgspec.convert(row["hops"], tuple[Hop, ...]),
        "further_pools": tuple(row["further_pools"]),
    }
    return OpenJob(**values)


async def count_open(tx: Tx, execution_id: ExecutionId) -> dict[str, int]:
    """Return how many unfinished jobs of an execution are in each state; one that is claimed is running."""
    rows = await tx.raw.fetch(
        """
        SELECT CASE WHEN run.job_id IS NULL THEN j.state ELSE 'running' END AS state, count(*) AS jobs
        FROM jobs j LEFT JOIN running_jobs run ON run.job_id = j.id
        WHERE j.execution_id = $1 AND j.finished_at IS NULL GROUP BY 1
        """,
        execution_id,
    )
    return {row["state"]: row["jobs"] for row in rows}


async def count_ahead(tx: Tx, jobs: Sequence[OpenJob]) -> dict[UUID, int]:
    """Return how many jobs of its own lane are before each queued job, counted up to 100,000 in all."""
    rows = await tx.raw.fetch(
        """
        SELECT w.job_id, h.jobs
        FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::bigint[])
            AS w (job_id, lane_id, aged_from, seq)
        CROSS JOIN LATERAL (
            SELECT count(*) AS jobs FROM (
                SELECT FROM resource_queue q
                WHERE q.lane_id = w.lane_id AND (q.aged_from, q.seq) < (w.aged_from, w.seq) LIMIT $5) one) h
        """,
        [job.job_id for job in jobs],
        [job.lane_id for job in jobs],
        [job.aged_from for job in jobs],
        [job.seq for job in jobs],
        MOST_AHEAD // max(1, len(jobs)),
    )
    return {row["job_id"]: row["jobs"] for row in rows}
