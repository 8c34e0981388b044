"""Where an execution's unfinished jobs stand: queued, put off, running. Changes nothing."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, ExecutionId
from aifactory.resources.gates import Head
from aifactory.resources.interface import Hop, JobState

MOST_OPEN = 10_000  #: of an execution's jobs, and of the jobs before its own, that one poll reads
MOST_LOOKED_UP = 2000  #: of these jobs, the oldest: where each stands takes three probes
MOST_STEPS = 20
# One probe for each job: as plain joins, the planner may read the whole of the queue instead.
_OF_JOB = """
        LEFT JOIN LATERAL (SELECT * FROM resource_queue WHERE job_id = j.id LIMIT 1) q ON true
        LEFT JOIN LATERAL (SELECT * FROM queue_due WHERE job_id = j.id LIMIT 1) d ON true
        LEFT JOIN running_jobs run ON run.job_id = j.id"""


class OpenJob(msgspec.Struct, frozen=True, kw_only=True):
    """An unfinished job; ``lane_id`` while it is queued, ``due_at`` while it is put off, ``runs`` if claimed.

    ``attempt`` is the one that runs, or comes next. ``others_pools`` are dedicated to other clients.
    """

    job_id: UUID
    kind: str
    state: JobState
    max_attempts: int
    worker: str
    hops: tuple[Hop, ...]
    others_pools: frozenset[str]
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


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Unfinished jobs of one state, kind and lane, with the first and the last of them."""

    state: str
    lane_id: int | None
    jobs: int
    first: UUID
    last: UUID
    due_at: datetime | None


class OpenWork(msgspec.Struct, frozen=True, kw_only=True):
    """An execution's unfinished jobs by state, kind and lane, oldest first; ``at_least``: of more, maybe."""

    groups: list[Group]
    at_least: bool

    @property
    def counts(self) -> dict[str, int]:
        """Return how many there are in each state; one that is claimed is running."""
        found: dict[str, int] = {}
        for group in self.groups:
            found[group.state] = found.get(group.state, 0) + group.jobs
        return found

    @property
    def steps(self) -> list[Group]:
        """Return those that are queued."""
        return [group for group in self.groups if group.lane_id is not None]

    @property
    def soonest(self) -> Group | None:
        """Return what comes first of the rest: what runs, then what is put off, the soonest first."""
        rest = [group for group in self.groups if group.lane_id is None]
        return min(
            rest,
            key=lambda one: (one.state != JobState.RUNNING, one.due_at is None, one.due_at or datetime.max),
            default=None,
        )


class Before(NamedTuple):
    """How many jobs of its lane are before a queued job; ``at_least``: it was counted no further."""

    jobs: int = 0
    at_least: bool = False


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


async def open_work(tx: Tx, execution_id: ExecutionId) -> OpenWork:
    """Return an execution's unfinished jobs in groups; of more than 2,000, the oldest of any 10,000."""
    rows = await tx.raw.fetch(
        f"""
        SELECT CASE WHEN run.job_id IS NULL THEN j.state ELSE 'running' END AS state, q.lane_id,
               count(*) AS jobs, min(d.due_at) AS due_at,
               (array_agg(j.id ORDER BY d.due_at, q.aged_from, q.seq, j.id))[1] AS first,
               (array_agg(j.id ORDER BY q.aged_from DESC, q.seq DESC, j.id DESC))[1] AS last
        FROM (SELECT * FROM (SELECT id, state, kind FROM jobs
                             WHERE execution_id = $1 AND finished_at IS NULL LIMIT $2) open_ones
              ORDER BY id LIMIT $3) j
        {_OF_JOB}
        GROUP BY 1, 2, j.kind ORDER BY min(q.aged_from), min(q.seq), 1, j.kind
        """,
        execution_id,
        MOST_OPEN,
        min(MOST_OPEN, MOST_LOOKED_UP),
    )
    groups = [Group(**row) for row in rows]
    return OpenWork(
        groups=groups, at_least=sum(group.jobs for group in groups) >= min(MOST_OPEN, MOST_LOOKED_UP)
    )


async def open_jobs(tx: Tx, job_ids: Sequence[UUID]) -> dict[UUID, OpenJob]:
    """Return those of some jobs that are unfinished."""
    rows = await tx.raw.fetch(
        f"""
        SELECT j.id AS job_id, j.kind, j.state, j.max_attempts, j.worker, r.hops, q.lane_id,
               ARRAY(SELECT p.pool FROM resource_pools p
                     WHERE p.dedicated_client_id <> j.client_id) AS others_pools,
               coalesce(q.aged_from, d.aged_from, e.aged_from) AS aged_from,
               coalesce(q.seq, d.seq, 0) AS seq,
               coalesce(q.units, d.units, j.input_bound + j.output_limit) AS units,
               coalesce(q.needs, d.needs, '{{}}') AS needs,
               coalesce(q.attempt, d.attempt, j.attempt) AS attempt, d.due_at, run.job_id IS NOT NULL AS runs
        FROM jobs j JOIN executions e ON e.id = j.execution_id JOIN routes r ON r.id = j.route_id
        {_OF_JOB}
        WHERE j.id = ANY($1) AND j.finished_at IS NULL
        """,
        list(job_ids),
    )
    return {row["job_id"]: _open_job(row) for row in rows}


def _open_job(row: Any) -> OpenJob:
    values = dict(row)
    values |= {
        "state": JobState(row["state"]),
        "hops": msgspec.convert(row["hops"], tuple[Hop, ...]),
        "others_pools": frozenset(row["others_pools"]),
    }
    return OpenJob(**values)


async def count_before(tx: Tx, jobs: Sequence[OpenJob], most: int | None = None) -> dict[UUID, Before]:
    """Return how many jobs of its lane are before each queued job; ``most`` in all (10,000) are counted."""
    deepest: dict[int, OpenJob] = {}
    for job in sorted(jobs, key=_order):
        deepest[job.lane_id or 0] = job
    most = (most or MOST_OPEN) // max(1, len(deepest))
    rows = await tx.raw.fetch(
        """
        SELECT one.* FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[]) AS l (lane_id, aged_from, seq)
        CROSS JOIN LATERAL (
            SELECT counted.* FROM (
                SELECT q.lane_id, q.aged_from, q.seq,
                       row_number() OVER (ORDER BY q.aged_from, q.seq) - 1 AS before
                FROM resource_queue q
                WHERE q.lane_id = l.lane_id AND (q.aged_from, q.seq) <= (l.aged_from, l.seq)
                ORDER BY q.aged_from, q.seq LIMIT $4) counted
            WHERE counted.seq = ANY($5) OR counted.before = $4 - 1) one
        """,
        list(deepest),
        [job.aged_from for job in deepest.values()],
        [job.seq for job in deepest.values()],
        most,
        [job.seq for job in jobs],
    )
    places = {(row["lane_id"], row["aged_from"], row["seq"]): row["before"] for row in rows}
    full = {row["lane_id"] for row in rows if row["before"] == most - 1}
    return {job.job_id: _before(job, places, most if job.lane_id in full else None) for job in jobs}


def _before(job: OpenJob, places: Mapping[tuple[int, datetime, int], int], most: int | None) -> Before:
    """Return a job's place; what is not there lies beyond what was counted, or was claimed just now."""
    place = places.get((job.lane_id or 0, job.aged_from, job.seq))
    if place is None and most is not None:
        return Before(most, at_least=True)
    return Before(place or 0)


def _order(job: OpenJob) -> tuple[datetime, int]:
    return job.aged_from, job.seq
