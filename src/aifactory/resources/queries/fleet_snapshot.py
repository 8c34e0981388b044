"""What the whole fleet would decide from now: every free slot, every key. Locks and changes nothing."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx
from aifactory.resources.gate_words import Fleet
from aifactory.resources.gates import Lane, Snapshot
from aifactory.resources.interface import Hop, Urgency
from aifactory.resources.queries import snapshot as snapshots
from aifactory.resources.queries import tick as tick_queries
from aifactory.resources.queries.processes import FENCE
from aifactory.resources.queries.tick import Control
from aifactory.resources.virtual.coming import Arrived, Coming, coming
from aifactory.resources.virtual.habits import Habit, Ran, habits
from aifactory.resources.virtual.known import RunNow
from aifactory.resources.virtual.lanes import LaneKey

LATEST_RUNS, LATEST_JOBS = 500, 2000
COMING_OVER = timedelta(seconds=10), timedelta(seconds=60)


class FleetSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The gates with the slots that are free anywhere, and what the processes have in all."""

    snapshot: Snapshot
    fleet: Fleet


async def load_fleet(tx: Tx, lanes: list[Lane]) -> FleetSnapshot:
    """Load the gates of these lanes as a tick of a process would that has all free slots and all keys."""
    row = await _peek(tx)
    loaded = await snapshots.load_snapshot(
        tx,
        lanes=lanes,
        pools={gate.pool: gate for gate, _ in await tick_queries.read_pools(tx)},
        control=Control(
            enabled=row["enabled"],
            start_seq=row["start_seq"],
            lanes=len(lanes),
            has_quotas=row["has_quotas"],
        ),
        slots=row["slots"] - row["busy"],
        local_slots=row["local_slots"] - row["local_busy"],
        idle=row["idle"],
        environ={},  # whose keys are where is told by the rows below
    )
    keyed = await tx.raw.fetch("SELECT provider, key_present FROM providers")
    here = {each["provider"]: each["key_present"] for each in keyed}
    providers = {
        name: msgspec.structs.replace(gate, here=here.get(name, gate.here))
        for name, gate in loaded.providers.items()
    }
    return FleetSnapshot(
        snapshot=msgspec.structs.replace(loaded, providers=providers),
        fleet=Fleet(processes=row["processes"], slots=row["slots"], local_slots=row["local_slots"]),
    )


async def _peek(tx: Tx) -> Any:
    """Return what steers a tick, and the slots of the processes that may start something."""
    return await tx.raw.fetchrow(
        """
        WITH ready AS (
            SELECT p.id, p.slots, p.local_slots,
                   count(r.job_id) FILTER (WHERE NOT r.local) AS busy,
                   count(r.job_id) FILTER (WHERE r.local) AS local_busy
            FROM processes p LEFT JOIN running_jobs r ON r.process_id = p.id
            WHERE p.lease_until > $1 AND p.renewed_at > $2 AND NOT p.stopping GROUP BY p.id)
        SELECT c.enabled, c.start_seq, EXISTS (SELECT FROM quotas) AS has_quotas,
               count(ready.id) AS processes,
               coalesce(sum(slots), 0)::bigint AS slots, coalesce(sum(local_slots), 0)::bigint AS local_slots,
               coalesce(sum(busy), 0)::bigint AS busy, coalesce(sum(local_busy), 0)::bigint AS local_busy,
               coalesce(bool_or(busy + local_busy = 0), false) AS idle
        FROM scheduler_control c LEFT JOIN ready ON true GROUP BY c.enabled, c.start_seq
        """,
        tx.now,
        tx.now - FENCE,
    )


async def count_lanes(tx: Tx) -> int:
    """Return how many lanes there are."""
    count: int = await tx.raw.fetchval("SELECT count(*) FROM lanes")
    return count


async def lane_depths(tx: Tx, most: int) -> dict[int, int]:
    """Return how many jobs wait in each lane, counted up to ``most`` a lane."""
    rows = await tx.raw.fetch(
        """
        SELECT l.id, h.jobs FROM lanes l CROSS JOIN LATERAL (
            SELECT count(*) AS jobs FROM (SELECT FROM resource_queue q WHERE q.lane_id = l.id LIMIT $1) one) h
        """,
        most,
    )
    return {row["id"]: row["jobs"] for row in rows}


async def load_runs(tx: Tx) -> list[RunNow]:
    """Return what runs now in the whole fleet."""
    rows = await tx.raw.fetch(
        """
        SELECT run.job_id, run.client_id, run.worker, run.pool, run.provider, run.model, run.units,
               run.started_at, e.queue, e.urgency, e.aged_from, r.hops, r.further_pools, r.local, r.alone
        FROM running_jobs run JOIN jobs j ON j.id = run.job_id JOIN executions e ON e.id = j.execution_id
        JOIN routes r ON r.id = j.route_id
        """
    )
    return [_run(row) for row in rows]


def _key(row: Any) -> LaneKey:
    return LaneKey(
        hops=msgspec.convert(row["hops"], tuple[Hop, ...]),
        worker=row["worker"],
        queue=row["queue"],
        client_id=row["client_id"],
        urgency=Urgency(row["urgency"]),
        further_pools=tuple(row["further_pools"]),
        local=row["local"],
        alone=row["alone"],
    )


def _run(row: Any) -> RunNow:
    return RunNow(
        job_id=row["job_id"],
        key=_key(row),
        hop=Hop(provider=row["provider"], model=row["model"], pool=row["pool"]),
        units=row["units"],
        aged_from=row["aged_from"],
        started_at=row["started_at"],
    )


async def jobs_to_come(tx: Tx, job_ids: Sequence[UUID]) -> tuple[dict[UUID, UUID], dict[UUID, int]]:
    """Return the executions of jobs, and how many jobs each of these may still open, as is held for."""
    rows = await tx.raw.fetch("SELECT id, execution_id FROM jobs WHERE id = ANY($1)", list(job_ids))
    executions = {row["id"]: row["execution_id"] for row in rows}
    counts = await tx.raw.fetch(
        """
        SELECT id, jobs_total - jobs_done - (
            SELECT count(*) FROM jobs j WHERE j.execution_id = e.id AND j.finished_at IS NULL) AS to_come
        FROM executions e WHERE id = ANY($1)
        """,
        list(set(executions.values())),
    )
    return executions, {row["id"]: row["to_come"] for row in counts if row["to_come"] > 0}


async def load_habits(tx: Tx) -> dict[str, Habit]:
    """Return how the latest runs of each pool were and are, and of all together under the name ''."""
    rows = await tx.raw.fetch(
        """
        SELECT a.pool, extract(epoch FROM a.finished_at - a.started_at)::float8 AS seconds, true AS ended,
               ((a.usage ->> 'inputUnits')::numeric + (a.usage ->> 'outputUnits')::numeric)::bigint AS used,
               j.input_bound + j.output_limit AS estimate
        FROM (SELECT * FROM (SELECT * FROM job_attempts ORDER BY job_id DESC LIMIT $1) latest
              WHERE outcome = 'succeeded' AND finished_at > started_at
              ORDER BY finished_at DESC LIMIT $2) a JOIN jobs j ON j.id = a.job_id
        UNION ALL
        SELECT pool, extract(epoch FROM $3 - started_at)::float8, false, NULL, 0
        FROM (SELECT * FROM running_jobs WHERE started_at < $3 ORDER BY started_at DESC LIMIT $2) going
        """,
        LATEST_JOBS,
        LATEST_RUNS,
        tx.now,
    )
    return habits(Ran(**row) for row in rows)


async def load_coming(tx: Tx) -> list[Coming]:
    """Return how work has come in the last minute; since the first of it, or the 2,000th latest job."""
    earliest, latest = tx.now - COMING_OVER[1], tx.now - COMING_OVER[0]
    rows = await tx.raw.fetch(
        """
        SELECT j.execution_id, j.created_at, j.worker, e.queue, e.client_id, e.urgency, e.jobs_total,
               e.finished_at, e.created_at = j.created_at AS first, j.input_bound + j.output_limit AS units,
               r.hops, r.further_pools, r.local, r.alone
        FROM (SELECT * FROM jobs WHERE id >= $1 ORDER BY id DESC LIMIT $2) j
        JOIN executions e ON e.id = j.execution_id JOIN routes r ON r.id = j.route_id
        """,
        UUID(int=int(earliest.timestamp() * 1000) << 80),
        LATEST_JOBS,
    )
    since = max(earliest, min((row["created_at"] for row in rows), default=latest))
    if len(rows) < LATEST_JOBS:
        since = min(since, latest)  # a few that came at once are no rate
    first: dict[UUID, list[Any]] = {}
    for row in reversed(rows):
        if row["first"] and row["created_at"] >= since:
            first.setdefault(row["execution_id"], []).append(row)
    return coming([_arrived(jobs) for jobs in first.values()], since, tx.now)


def _arrived(jobs: Sequence[Any]) -> Arrived:
    row = jobs[0]
    return Arrived(
        key=_key(row),
        at=row["created_at"],
        ended_at=row["finished_at"],
        jobs=len(jobs),
        units=round(sum(one["units"] for one in jobs) / len(jobs)),
        follow=max(0, row["jobs_total"] - len(jobs)),
    )
