"""What uses a pool, and what waits for it that a smaller one would never start."""

from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx


class PoolUses(msgspec.Struct, frozen=True, kw_only=True):
    """Whatever names a pool: models, clients with a quota of it, unfinished executions, work under way."""

    models: list[str]
    quotas: int
    executions: int
    running: int
    reservations: int


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """The most units of a pool that one job can get, if urgent or not, and the client whose alone it is."""

    urgent: int
    other: int
    client_id: UUID | None


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


async def count_outgrown(tx: Tx, pool: str, *, before: Reach, after: Reach) -> int:
    """Count the waiting jobs that a pool could start as it was, and never as it is to be; reads the queue.

    A job that is shut out because the pool becomes another client's is none of them if it has another model
    in a pool that is open to its client: it takes that.
    """
    found: int = await tx.raw.fetchval(
        """
        WITH routed AS MATERIALIZED (
            SELECT id, $1 = ANY(further_pools) AS needed,
                EXISTS (SELECT FROM jsonb_array_elements(hops) hop WHERE hop ->> 'pool' = $1) AS draws,
                ARRAY(SELECT coalesce(p.dedicated_client_id::text, 'all')
                      FROM jsonb_array_elements(hops) hop JOIN resource_pools p ON p.pool = hop ->> 'pool'
                      WHERE p.pool <> $1) AS elsewhere
            FROM routes),
        waiting AS (
            SELECT l.client_id, l.route_id, l.urgency, q.units, q.needs
            FROM resource_queue q JOIN lanes l ON l.id = q.lane_id
            UNION ALL
            SELECT client_id, route_id, urgency, units, needs FROM queue_due),
        draws AS (
            SELECT w.client_id, w.urgency = 'urgent' AS urgent, coalesce((w.needs ->> $1)::bigint, 0)
                + CASE WHEN r.draws THEN w.units ELSE 0 END AS units,
                r.needed OR r.draws AND NOT elsewhere && ARRAY['all', w.client_id::text] AS bound
            FROM waiting w JOIN routed r ON r.id = w.route_id
            WHERE r.needed OR r.draws)
        SELECT count(*) FROM draws
        WHERE units <= CASE WHEN urgent THEN $2::bigint ELSE $3::bigint END
          AND coalesce(client_id = $4, true)
          AND (units > CASE WHEN urgent THEN $5::bigint ELSE $6::bigint END
               OR bound AND coalesce(client_id <> $7, false))
        """,
        pool,
        *msgspec.structs.astuple(before),
        *msgspec.structs.astuple(after),
    )
    return found
