"""What uses a pool, and what waits for it that a smaller one would never start."""

from typing import Any

import msgspec

from aifactory.kernel.db import Tx


class PoolUses(msgspec.Struct, frozen=True, kw_only=True):
    """Whatever names a pool: models, clients with a quota of it, unfinished executions, work under way."""

    models: list[str]
    quotas: int
    executions: int
    running: int
    reservations: int


async def lock_pool(tx: Tx, pool: str) -> Any | None:
    """Return a pool's row, locked against the tick and against whoever is about to name it."""
    return await tx.raw.fetchrow("SELECT * FROM resource_pools WHERE pool = $1 FOR UPDATE", pool)


async def find_uses(tx: Tx, pool: str) -> PoolUses:
    """Return what uses a pool; inactive models too, for they may be switched on again."""
    row = await tx.raw.fetchrow(
        """
        WITH own AS (
            SELECT id FROM routes WHERE $1 = ANY(further_pools)
                OR EXISTS (SELECT FROM jsonb_array_elements(hops) hop WHERE hop ->> 'pool' = $1))
        SELECT ARRAY(SELECT provider || '/' || model FROM models WHERE pool = $1 ORDER BY 1) AS models,
            (SELECT count(DISTINCT client_id) FROM quotas WHERE pool = $1) AS quotas,
            (SELECT count(*) FROM executions e WHERE finished_at IS NULL AND (
                EXISTS (SELECT FROM execution_lines l JOIN own ON own.id = l.route_id
                        WHERE l.execution_id = e.id)
                OR EXISTS (SELECT FROM jobs j JOIN own ON own.id = j.route_id
                        WHERE j.execution_id = e.id AND j.finished_at IS NULL))) AS executions,
            (SELECT count(*) FROM running_jobs WHERE pool = $1) AS running,
            (SELECT count(*) FROM reservations WHERE pool = $1) AS reservations
        """,
        pool,
    )
    assert row is not None
    return PoolUses(**dict(row))


async def delete_pool(tx: Tx, pool: str) -> None:
    """Delete a locked pool that nothing uses, with what it remembers of clients' turns."""
    await tx.raw.execute("DELETE FROM client_pool_usage WHERE pool = $1", pool)
    await tx.raw.execute("DELETE FROM resource_pools WHERE pool = $1", pool)


async def count_outgrown(tx: Tx, pool: str, *, before: tuple[int, int], after: tuple[int, int]) -> int:
    """Count the waiting jobs that a pool could start as it was, and never as it is to be; reads the queue.

    ``before`` and ``after``: the most units for urgent work, and for other work.
    """
    found: int = await tx.raw.fetchval(
        """
        WITH waiting AS (
            SELECT l.route_id, l.urgency, q.units, q.needs
            FROM resource_queue q JOIN lanes l ON l.id = q.lane_id
            UNION ALL
            SELECT route_id, urgency, units, needs FROM queue_due),
        draws AS (
            SELECT w.urgency = 'urgent' AS urgent, coalesce((w.needs ->> $1)::bigint, 0) + CASE
                WHEN EXISTS (SELECT FROM jsonb_array_elements(r.hops) hop WHERE hop ->> 'pool' = $1)
                THEN w.units ELSE 0 END AS units
            FROM waiting w JOIN routes r ON r.id = w.route_id)
        SELECT count(*) FROM draws
        WHERE units <= CASE WHEN urgent THEN $2::bigint ELSE $3::bigint END
          AND units > CASE WHEN urgent THEN $4::bigint ELSE $5::bigint END
        """,
        pool,
        *before,
        *after,
    )
    return found
