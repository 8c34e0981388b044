"""What one tick holds and writes: the decider lock, the pools, due jobs, the claims."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import ProcessId
from aifactory.resources import buckets, effects
from aifactory.resources.gates import Decision, PoolGate, Snapshot, Start
from aifactory.resources.queries import quotas
from aifactory.resources.queries.queue import lane_ids
from aifactory.resources.queries.quotas import DECIDER_LOCK

OUTAGE = timedelta(seconds=5)
NOTED_AGAIN_AFTER = timedelta(seconds=1)
_INITIALS = {"immediate": "i", "fast": "f", "normal": "n", "batch": "b", "deferred": "d"}
_QUEUES = {initial: queue for queue, initial in _INITIALS.items()}


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A start that was applied: the job is this process's to run, under this token."""

    start: Start
    token: UUID


async def try_decider_lock(tx: Tx) -> bool:
    """Become the only decider until the transaction ends, or return False at once."""
    return bool(await tx.raw.fetchval("SELECT pg_try_advisory_xact_lock($1)", DECIDER_LOCK))


async def end_decider(tx: Tx, started_before: datetime) -> int:
    """End the backend that has held the decider lock since before a time of the server's own clock.

    Its process stopped in the middle. Returns how many were ended.
    """
    rows = await tx.raw.fetch(
        """
        SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = $1::bigint::oid AND objsubid = 1
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND pid IN (SELECT pid FROM pg_stat_activity WHERE xact_start < $2)
        """,
        DECIDER_LOCK,
        started_before,
    )
    return len(rows)


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What a tick reads first: the number of the fleet's last start, when the next later job is due."""

    enabled: bool
    start_seq: int
    lanes: int
    has_quotas: bool
    first_due: datetime | None = None


async def read_control(tx: Tx) -> Control:
    """Note the tick, and when ticking resumed after an outage; return what steers a tick.

    A tick in the time to come is from before the clock was put back: that counts as an outage.
    """
    row = await tx.raw.fetchrow(
        """
        UPDATE scheduler_control SET last_tick_at = $1, resumed_at = CASE
            WHEN last_tick_at BETWEEN $2 AND $3 THEN resumed_at ELSE $1 END
        RETURNING enabled, start_seq, (SELECT count(*) FROM lanes) AS lanes,
            (SELECT min(due_at) FROM queue_due) AS first_due, EXISTS (SELECT FROM quotas) AS has_quotas
        """,
        tx.now,
        tx.now - OUTAGE,
        tx.now + OUTAGE,
    )
    assert row is not None
    return Control(**dict(row))


async def note_tick(tx: Tx) -> None:
    """Note that somebody of the fleet is there, unless that was noted a moment ago; waits for nobody."""
    await tx.raw.execute(
        """
        UPDATE scheduler_control SET last_tick_at = $1, resumed_at = CASE
            WHEN last_tick_at BETWEEN $2 AND $3 THEN resumed_at ELSE $1 END
        WHERE only_row IN (
            SELECT only_row FROM scheduler_control WHERE last_tick_at IS NULL
                OR last_tick_at NOT BETWEEN $4 AND $3
            FOR NO KEY UPDATE SKIP LOCKED)
        """,
        tx.now,
        tx.now - OUTAGE,
        tx.now + OUTAGE,
        tx.now - NOTED_AGAIN_AFTER,
    )


async def begin_tick(tx: Tx) -> bool:
    """Begin a tick; tell whether it would find nothing to start, to promote, or to note of an activity.

    Nobody waits for the disk with a tick: no call is made before the start of its job is durable, and what
    was committed earlier is durable by then. A claim that is lost with the server was never started.
    """
    row = await tx.raw.fetchrow(
        """
        SELECT set_config('synchronous_commit', 'off', true),
               NOT EXISTS (SELECT FROM lanes) AND NOT EXISTS (SELECT FROM queue_due WHERE due_at <= $1)
               AND NOT EXISTS (SELECT FROM client_pool_usage WHERE active) AS at_rest
        """,
        tx.now,
    )
    assert row is not None
    return bool(row["at_rest"])


async def lock_pools(tx: Tx) -> dict[str, PoolGate]:
    """Lock every pool, by name, and return it refilled to now.

    One that was refilled in the time to come is from before the clock was put back: it goes on from now.
    """
    rows = await tx.raw.fetch("SELECT * FROM resource_pools ORDER BY pool FOR NO KEY UPDATE")
    if any(row["as_of"] > tx.now + OUTAGE for row in rows):
        rows = await tx.raw.fetch(
            "UPDATE resource_pools SET as_of = least(as_of, $1::timestamptz) RETURNING *", tx.now
        )
    return {row["pool"]: _pool(row, tx) for row in rows}


async def read_pools(tx: Tx) -> list[tuple[PoolGate, str]]:
    """Return every pool refilled to now, with its unit; locks nothing."""
    rows = await tx.raw.fetch("SELECT * FROM resource_pools ORDER BY pool")
    return [(_pool(row, tx), row["unit"]) for row in rows]


def _pool(row: Any, tx: Tx) -> PoolGate:
    per_minute = row["requests_per_minute"]
    return PoolGate(
        pool=row["pool"],
        capacity=row["capacity"],
        refill_per_second=row["refill_per_second"],
        level_micro=buckets.refilled(
            row["level_micro"],
            capacity=row["capacity"],
            refill_per_second=row["refill_per_second"],
            since=row["as_of"],
            now=tx.now,
        ),
        requests_per_minute=per_minute,
        requests_micro=0
        if per_minute is None
        else buckets.refilled_requests(
            row["requests_micro"], per_minute=per_minute, since=row["as_of"], now=tx.now
        ),
        reserved_percent=row["reserved_percent"],
        dedicated_client_id=row["dedicated_client_id"],
        blocked_until=row["blocked_until"],
        paused=row["paused"],
        last_urgent_at=row["last_urgent_at"],
        last_start_seq=row["last_start_seq"],
        start_seq=row["start_seq"],
        recent_starts=tuple(_QUEUES[initial] for initial in row["recent_starts"]),
        big_job_id=row["big_job_id"],
        big_job_since=row["big_job_since"],
    )


async def promote_due(tx: Tx, limit: int = 1000) -> int:
    """Move jobs whose time has come into their lanes. Returns how many."""
    rows = await tx.raw.fetch(
        """
        DELETE FROM queue_due WHERE job_id = ANY(ARRAY(
            SELECT job_id FROM queue_due WHERE due_at <= $1 ORDER BY due_at LIMIT $2
            FOR UPDATE SKIP LOCKED))
        RETURNING job_id, route_id, worker, queue, client_id, urgency, aged_from, seq, units, needs,
            attempt, timeout_seconds
        """,
        tx.now,
        limit,
    )
    if not rows:
        return 0
    keys = [tuple(row[1:6]) for row in rows]
    lanes = await lane_ids(tx, set(keys))
    await tx.insert_rows(
        "resource_queue",
        "job_id, lane_id, aged_from, seq, units, needs, attempt, timeout_seconds",
        [
            (row["job_id"], lanes[key], *row[6:9], _json(row["needs"]), *row[10:])
            for row, key in zip(rows, keys, strict=True)
        ],
    )
    return len(rows)


async def next_due(tx: Tx) -> Any:
    """Return when the next later job is due."""
    return await tx.raw.fetchval("SELECT min(due_at) FROM queue_due")


async def apply(tx: Tx, decision: Decision, snapshot: Snapshot, *, process_id: ProcessId) -> list[Claimed]:
    """Take the starts out of the queue; charge only those that were still there."""
    planned = [Claimed(start=start, token=uuid4()) for start in decision.starts]
    there = await _begin_runs(tx, planned, process_id)
    claimed = [one for one in planned if one.token in there]
    await _write_pools(tx, decision, snapshot, claimed)
    await _write_usage(tx, decision, snapshot, claimed)
    await quotas.charge(tx, effects.quota_changes(snapshot, [one.start for one in claimed]))
    return claimed


async def _write_pools(tx: Tx, decision: Decision, snapshot: Snapshot, claimed: list[Claimed]) -> None:
    changes = effects.pool_changes(decision, snapshot, [one.start for one in claimed], tx.now)
    await tx.execute_many(
        """
        UPDATE resource_pools SET level_micro = $2, requests_micro = $3, as_of = greatest(as_of, $4),
            start_seq = $5, last_start_seq = $6, recent_starts = $7, last_urgent_at = $8, big_job_id = $9,
            big_job_since = $10
        WHERE pool = $1
        """,
        [
            (
                one.pool,
                one.level_micro,
                one.requests_micro,
                tx.now,
                one.start_seq,
                one.last_start_seq,
                "".join(_INITIALS[queue] for queue in one.recent_starts),
                one.last_urgent_at,
                one.big_job_id,
                one.big_job_since,
            )
            for one in changes
        ],
    )


async def _begin_runs(tx: Tx, planned: list[Claimed], process_id: ProcessId) -> set[UUID]:
    """Move starts from the queue to the running jobs and count them; return those that were still there."""
    if not planned:
        return set()
    rows = [
        {
            "job_id": one.start.head.job_id,
            "token": one.token,
            "client_id": one.start.lane.client_id,
            "worker": one.start.lane.worker,
            "pool": one.start.hop.pool,
            "provider": one.start.hop.provider,
            "model": one.start.hop.model,
            "local": one.start.lane.local,
            "lane_id": one.start.lane.id,
            "units": one.start.head.units,
            "needs": {pool: one.start.head.needs.get(pool, 0) for pool in one.start.lane.further_pools}
            or None,
            "attempt": one.start.head.attempt,
            "deadline": tx.now + timedelta(seconds=one.start.head.timeout_seconds),
            "seq": one.start.seq,
        }
        for one in planned
    ]
    begun = await tx.raw.fetch(
        """
        WITH planned AS (
            SELECT * FROM json_to_recordset($1) AS n (job_id uuid, token uuid, client_id uuid, worker text,
                pool text, provider text, model text, local boolean, lane_id bigint, units bigint,
                needs jsonb, attempt smallint, deadline timestamptz, seq bigint)
        ), taken AS (
            DELETE FROM resource_queue WHERE job_id = ANY($2) RETURNING job_id
        ), counted AS (
            UPDATE scheduler_control SET start_seq = last.seq
            FROM (SELECT max(seq) AS seq FROM planned JOIN taken USING (job_id)) last
            WHERE last.seq IS NOT NULL
        )
        INSERT INTO running_jobs (job_id, token, process_id, client_id, worker, pool, provider, model, local,
            lane_id, units, needs, attempt, started_at, deadline)
        SELECT job_id, token, $3, client_id, worker, pool, provider, model, local,
            lane_id, units, needs, attempt, $4, deadline
        FROM planned JOIN taken USING (job_id)
        RETURNING token
        """,
        encode_json(rows),
        [row["job_id"] for row in rows],
        process_id,
        tx.now,
    )
    return {row["token"] for row in begun}


async def _write_usage(tx: Tx, decision: Decision, snapshot: Snapshot, claimed: list[Claimed]) -> None:
    await tx.execute_set(
        """
        INSERT INTO client_pool_usage (client_id, pool, usage, as_of, active, last_start_seq)
        SELECT * FROM json_to_recordset($1) AS n (client_id uuid, pool text, usage double precision,
            as_of timestamptz, active boolean, last_start_seq bigint)
        ON CONFLICT (client_id, pool) DO UPDATE SET usage = excluded.usage, as_of = excluded.as_of,
            active = excluded.active, last_start_seq = excluded.last_start_seq
        """,
        [
            {
                "client_id": one.client_id,
                "pool": one.pool,
                "usage": one.usage,
                "as_of": tx.now,
                "active": one.active,
                "last_start_seq": one.last_start_seq,
            }
            for one in effects.usage_changes(decision, snapshot, [one.start for one in claimed])
        ],
    )


def _json(needs: dict[str, int] | None) -> bytes | None:
    return encode_json(needs) if needs else None


async def set_enabled(tx: Tx, *, enabled: bool, by: str) -> None:
    """Switch the scheduler of the whole fleet on or off."""
    await tx.raw.execute(
        "UPDATE scheduler_control SET enabled = $1, changed_at = $2, changed_by = $3", enabled, tx.now, by
    )
