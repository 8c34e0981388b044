"""What there is to keep up, seen in one look that changes nothing."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import JobId, ProcessId
from aifactory.resources.queries.queue import lane_ids

FORGOTTEN_AFTER = timedelta(seconds=10)

# The rest of what runs in one process's name, by its tokens, is what it knows nothing of. What is late and
# what is empty is asked by an end of an index: with EXISTS, a plan made while there was little reads it all.
_LOOK = """
SELECT coalesce((SELECT min(deadline) FROM executions WHERE finished_at IS NULL) <= $1, false) AS late,
       EXISTS (SELECT FROM running_jobs r
           WHERE NOT EXISTS (SELECT FROM processes p WHERE p.id = r.process_id)
              OR (r.process_id = $2 AND r.started_at <= $3 AND r.token <> ALL($4))) AS lost,
       EXISTS (SELECT FROM lanes l
           WHERE (SELECT seq FROM resource_queue q WHERE q.lane_id = l.id
               ORDER BY aged_from, seq LIMIT 1) IS NULL) AS empty_lanes,
       EXISTS (SELECT FROM lanes) OR EXISTS (SELECT FROM queue_due) AS waiting,
       EXISTS (SELECT FROM processes WHERE id <> $2) AS has_neighbours,
       EXISTS (SELECT FROM processes WHERE id <> $2 AND lease_until > $1) AS has_living_neighbours,
       ARRAY(SELECT DISTINCT coalesce(api_key_variable, '') FROM providers
           WHERE NOT key_present) AS missing_keys,
       ARRAY(SELECT r.job_id FROM running_jobs r
           JOIN jobs j ON j.id = r.job_id JOIN executions e ON e.id = j.execution_id
           WHERE r.process_id = $2 AND e.finished_at IS NOT NULL) AS unwanted,
       (SELECT last_tick_at FROM scheduler_control) AS last_tick_at
"""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one process sees. ``unwanted``: its runs whose executions have ended.

    ``missing_keys``: variables of keys that nobody is noted to have; ``""`` for a provider that needs none.
    """

    late: bool
    lost: bool
    empty_lanes: bool
    waiting: bool
    has_neighbours: bool
    has_living_neighbours: bool
    missing_keys: tuple[str, ...]
    unwanted: tuple[JobId, ...]
    last_tick_at: datetime | None


async def look(tx: Tx, process_id: ProcessId, known_tokens: set[UUID]) -> Look:
    """Look once, for a process that knows of these runs of its own."""
    row = await tx.raw.fetchrow(_LOOK, tx.now, process_id, tx.now - FORGOTTEN_AFTER, list(known_tokens))
    assert row is not None
    lists = {name: tuple(row[name]) for name in ("missing_keys", "unwanted")}
    return Look(**{**dict(row), **lists})


async def count_lost_runs(tx: Tx) -> int:
    """Return how many jobs are run by no process of the fleet, and will be rescued."""
    count: int = await tx.raw.fetchval(
        """
        SELECT count(*) FROM running_jobs r
        WHERE NOT EXISTS (SELECT FROM processes p WHERE p.id = r.process_id)
        """
    )
    return count


# Jobs whose lane is gone.


_ORPHAN_LANES = """
WITH RECURSIVE used AS (
    (SELECT lane_id FROM resource_queue ORDER BY lane_id LIMIT 1)
    UNION ALL
    SELECT (SELECT q.lane_id FROM resource_queue q WHERE q.lane_id > u.lane_id ORDER BY q.lane_id LIMIT 1)
    FROM used u WHERE u.lane_id IS NOT NULL)
SELECT lane_id FROM used WHERE lane_id IS NOT NULL AND NOT EXISTS (SELECT FROM lanes l WHERE l.id = lane_id)
"""


async def _orphan_lanes(tx: Tx) -> list[int]:
    """Return the lanes that are gone and have queued jobs. Reads one row of each lane in use."""
    return [row["lane_id"] for row in await tx.raw.fetch(_ORPHAN_LANES)]


async def count_orphans(tx: Tx) -> int:
    """Return how many queued jobs are in no lane, so that no tick sees them."""
    lanes = await _orphan_lanes(tx)
    if not lanes:  # a statement of its own: joined with the queue, a plan may read all of it
        return 0
    count: int = await tx.raw.fetchval("SELECT count(*) FROM resource_queue WHERE lane_id = ANY($1)", lanes)
    return count


async def reopen_orphans(tx: Tx) -> int:
    """Put queued jobs whose lane is gone into their lanes again. Returns how many; it must be 0."""
    gone = await _orphan_lanes(tx)
    if not gone:
        return 0
    rows: list[Any] = await tx.raw.fetch(
        """
        SELECT q.job_id, j.route_id, j.worker, e.queue, e.client_id, e.urgency
        FROM resource_queue q JOIN jobs j ON j.id = q.job_id JOIN executions e ON e.id = j.execution_id
        WHERE q.lane_id = ANY($1) ORDER BY q.job_id LIMIT 1000
        """,
        gone,
    )
    lanes = await lane_ids(tx, {tuple(row[1:6]) for row in rows})
    await tx.execute_many(
        "UPDATE resource_queue SET lane_id = $2 WHERE job_id = $1",
        [(row["job_id"], lanes[tuple(row[1:6])]) for row in rows],
    )
    return len(rows)
