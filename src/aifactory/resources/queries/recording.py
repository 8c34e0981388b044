"""What really ran, read back as a workload: executions, jobs, attempts, without their content."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from aifactory.kernel.db import Tx

_BATCH = 500
_MARGIN = timedelta(minutes=1)


async def read_controls(tx: Tx) -> dict[str, list[Any]]:
    """Return the rows of what the operator sets, by table, and the fleet's slots."""
    return {
        name: await tx.raw.fetch(statement)
        for name, statement in {
            "pools": """
                SELECT p.pool, p.capacity, p.refill_per_second, p.requests_per_minute, p.reserved_percent,
                    p.dedicated_client_id, p.paused,
                    (SELECT min(provider) FROM models m WHERE m.pool = p.pool) AS provider
                FROM resource_pools p ORDER BY pool""",
            "queues": "SELECT queue, rank, policy, share_percent, full_age_seconds, paused FROM queues",
            "tiers": "SELECT tier, points, weight, max_running FROM tiers",
            "clients": """
                SELECT client_id, tier, suspended, time_zone, max_running FROM client_resource_limits
                ORDER BY client_id""",
            "workers": "SELECT worker, max_running FROM worker_registry",
            "quotas": "SELECT client_id, pool, period, units_limit FROM quotas",
            "routes": "SELECT id, hops, further_pools, local FROM routes ORDER BY id",
            "slots": """
                SELECT coalesce(sum(slots), 0)::int AS slots,
                    coalesce(sum(local_slots), 0)::int AS local_slots
                FROM processes WHERE NOT stopping""",
        }.items()
    }


async def read_batch(tx: Tx, after: UUID, before: UUID) -> list[tuple[Any, list[Any], dict[UUID, list[Any]]]]:
    """Return the next executions between two ids, oldest first, with their jobs and attempts by job."""
    rows = await tx.raw.fetch(
        """
        SELECT id, client_id, state, urgency, queue, created_at, aged_from, finished_at, held_nano
        FROM executions WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3
        """,
        after,
        before,
        _BATCH,
    )
    jobs = await _jobs(tx, [row["id"] for row in rows])
    attempts = await _attempts(tx, [job["id"] for of_one in jobs.values() for job in of_one])
    return [(row, jobs[row["id"]], attempts) for row in rows]


def ids_around(since: datetime, until: datetime) -> tuple[UUID, UUID]:
    """Return ids before and after those of a span of time, which begin with it."""
    return _least_id(since - _MARGIN), _least_id(until + _MARGIN)


async def _jobs(tx: Tx, execution_ids: list[UUID]) -> dict[UUID, list[Any]]:
    rows = await tx.raw.fetch(
        """
        SELECT j.id, j.execution_id, j.kind, j.worker, j.route_id, j.input_bound, j.output_limit, j.needs,
            j.created_at, j.finished_at
        FROM jobs j
        WHERE j.execution_id = ANY($1) ORDER BY j.execution_id, j.created_at, j.id
        """,
        execution_ids,
    )
    found: dict[UUID, list[Any]] = {execution_id: [] for execution_id in execution_ids}
    for row in rows:
        found[row["execution_id"]].append(row)
    return found


async def _attempts(tx: Tx, job_ids: list[UUID]) -> dict[UUID, list[Any]]:
    rows = await tx.raw.fetch(
        """
        SELECT job_id, attempt, provider, model, pool, started_at, finished_at, usage, price
        FROM job_attempts WHERE job_id = ANY($1) ORDER BY job_id, started_at
        """,
        job_ids,
    )
    found: dict[UUID, list[Any]] = {}
    for row in rows:
        found.setdefault(row["job_id"], []).append(row)
    return found


def _least_id(moment: datetime) -> UUID:
    return UUID(int=max(0, round(moment.timestamp() * 1000)) << 80)
