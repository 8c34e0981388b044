"""What the operator edits: pools, queues and tiers, and how much work they have."""

from typing import Any

import msgspec

from aifactory.kernel.db import Tx
from aifactory.resources.buckets import MICRO, refilled, refilled_requests
from aifactory.resources.interface import Tier
from aifactory.resources.terms import PoolTerms, QueueTerms, TierTerms

_CONTROL_LOCK = 0x636F6E74726F6C  # "control"


class PoolWork(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs wait for a pool (the first of their routes) and run on it, and of how many clients."""

    waiting: int = 0
    running: int = 0
    clients: int = 0
    urgent_waits: bool = False


async def lock_control(tx: Tx) -> None:
    """Let one transaction at a time edit pools, queues and tiers."""
    await tx.raw.execute("SELECT pg_advisory_xact_lock($1)", _CONTROL_LOCK)


# Pools.


async def find_pool(tx: Tx, pool: str) -> Any | None:
    """Return a pool's row, locked against the tick."""
    return await tx.raw.fetchrow("SELECT * FROM resource_pools WHERE pool = $1 FOR NO KEY UPDATE", pool)


async def insert_pool(tx: Tx, pool: str, terms: PoolTerms) -> None:
    """Make a full pool."""
    await tx.raw.execute(
        """
        INSERT INTO resource_pools (pool, unit, capacity, refill_per_second, price_nano_per_million,
            requests_per_minute, reserved_percent, dedicated_client_id, paused, level_micro, requests_micro,
            as_of)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        pool,
        *msgspec.structs.astuple(terms),
        terms.capacity * MICRO,
        (terms.requests_per_minute or 0) * MICRO,
        tx.now,
    )


async def update_pool(tx: Tx, row: Any, terms: PoolTerms) -> None:
    """Replace the terms of a locked pool; what was used stays used.

    The levels are refilled to now as the old terms say, and cut to what the new ones can hold. Request slots
    that were not counted before start empty: nobody knows how many calls the last minute had.
    """
    level = refilled(
        row["level_micro"],
        capacity=row["capacity"],
        refill_per_second=row["refill_per_second"],
        since=row["as_of"],
        now=tx.now,
    )
    requests = 0
    if row["requests_per_minute"] is not None:
        per_minute = row["requests_per_minute"]
        requests = refilled_requests(
            row["requests_micro"], per_minute=per_minute, since=row["as_of"], now=tx.now
        )
    await tx.raw.execute(
        """
        UPDATE resource_pools SET unit = $2, capacity = $3, refill_per_second = $4,
            price_nano_per_million = $5, requests_per_minute = $6, reserved_percent = $7,
            dedicated_client_id = $8, paused = $9, level_micro = $10, requests_micro = $11,
            as_of = greatest(as_of, $12)
        WHERE pool = $1
        """,
        row["pool"],
        *msgspec.structs.astuple(terms),
        min(level, terms.capacity * MICRO),
        min(requests, (terms.requests_per_minute or 0) * MICRO),
        tx.now,
    )


async def set_pool_paused(tx: Tx, pool: str, *, paused: bool) -> None:
    """Pause a pool or let it go on."""
    await tx.raw.execute("UPDATE resource_pools SET paused = $2 WHERE pool = $1", pool, paused)


async def reprice_models(tx: Tx, pool: str, price_nano_per_million: int) -> None:
    """Let the models whose price is their pool's have its new one."""
    await tx.raw.execute(
        """
        UPDATE models SET input_nano_per_million = $2, cached_nano_per_million = $2,
            output_nano_per_million = $2, price_at = $3
        WHERE pool = $1 AND price_source = 'pool ' || $1
        """,
        pool,
        price_nano_per_million,
        tx.now,
    )


async def pool_prices(tx: Tx) -> dict[str, int]:
    """Return what a million units of each pool cost, nano-dollars."""
    rows = await tx.raw.fetch("SELECT pool, price_nano_per_million FROM resource_pools")
    return {row["pool"]: row["price_nano_per_million"] for row in rows}


async def pool_work(tx: Tx) -> dict[str, PoolWork]:
    """Count the jobs of every pool that has some; reads the whole queue once."""
    rows = await tx.raw.fetch(
        """
        WITH ready AS (SELECT lane_id, count(*) AS jobs FROM resource_queue GROUP BY lane_id),
        work AS (
            SELECT r.hops -> 0 ->> 'pool' AS pool, l.client_id, ready.jobs AS waiting, 0 AS running,
                   l.urgency = 'urgent' AS urgent
            FROM ready JOIN lanes l ON l.id = ready.lane_id JOIN routes r ON r.id = l.route_id
            UNION ALL
            SELECT pool, client_id, 0, count(*), false FROM running_jobs GROUP BY pool, client_id)
        SELECT pool, sum(waiting)::bigint AS waiting, sum(running)::bigint AS running,
               count(DISTINCT client_id) AS clients, bool_or(urgent) AS urgent_waits
        FROM work GROUP BY pool
        """
    )
    return {row["pool"]: PoolWork(**dict(tuple(row.items())[1:])) for row in rows}


async def pools_with_urgent_work(tx: Tx) -> set[str]:
    """Return the pools for which urgent work waits; reads the lanes, not the queue."""
    rows = await tx.raw.fetch(
        """
        SELECT DISTINCT r.hops -> 0 ->> 'pool' AS pool
        FROM lanes l JOIN routes r ON r.id = l.route_id
        WHERE l.urgency = 'urgent' AND EXISTS (SELECT FROM resource_queue q WHERE q.lane_id = l.id)
        """
    )
    return {row["pool"] for row in rows}


# Queues.


async def update_queue(tx: Tx, queue: str, terms: QueueTerms) -> None:
    """Replace the terms of a queue."""
    await tx.raw.execute(
        "UPDATE queues SET policy = $2, share_percent = $3, full_age_seconds = $4 WHERE queue = $1",
        queue,
        *msgspec.structs.astuple(terms),
    )


async def set_queue_paused(tx: Tx, queue: str, *, paused: bool) -> None:
    """Pause a queue or let it go on."""
    await tx.raw.execute("UPDATE queues SET paused = $2 WHERE queue = $1", queue, paused)


# Tiers.


async def list_tiers(tx: Tx) -> list[Any]:
    """Return every tier with its terms and how many clients have it, the highest first."""
    return list(
        await tx.raw.fetch(
            """
            SELECT t.*, (SELECT count(*) FROM client_resource_limits c WHERE c.tier = t.tier) AS clients
            FROM tiers t ORDER BY array_position(ARRAY['enterprise', 'premium', 'standard', 'basic'], t.tier)
            """
        )
    )


async def update_tier(tx: Tx, tier: Tier, terms: TierTerms) -> None:
    """Replace the terms of a tier."""
    await tx.raw.execute(
        """
        UPDATE tiers SET points = $2, weight = $3, max_running = $4, monthly_budget_nano = $5,
            requests_per_minute = $6, retention_days = $7
        WHERE tier = $1
        """,
        tier,
        *msgspec.structs.astuple(terms),
    )
