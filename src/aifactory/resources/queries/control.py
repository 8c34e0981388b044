"""Clients' limits, prices, routes, pools."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import ClientId
from aifactory.resources.interface import ClientLimits, Hop, Model, Route, Tier
from aifactory.resources.pricing import Pools, PoolSize, Price, Prices


async def prices(tx: Tx) -> Prices:
    """Return the price of every model, also of one that is switched off: its calls may still be running."""
    rows = await tx.raw.fetch(
        """
        SELECT provider, model, input_nano_per_million, cached_nano_per_million, output_nano_per_million,
               price_source, price_at
        FROM models
        """
    )
    return {
        (row["provider"], row["model"]): Price(
            input_nano_per_million=row["input_nano_per_million"],
            cached_nano_per_million=row["cached_nano_per_million"],
            output_nano_per_million=row["output_nano_per_million"],
            source=row["price_source"],
            at=row["price_at"],
        )
        for row in rows
    }


async def usable_models(tx: Tx, client_id: ClientId | None) -> tuple[Model, ...]:
    """Return the models of active providers that have their key, cheapest output first.

    Pools that are dedicated to another client are left out; without a client, every dedicated one. A paused
    pool counts: work for it waits, as whoever paused it wants.
    """
    rows = await tx.raw.fetch(
        """
        SELECT m.provider, m.model, m.pool, m.context_tokens, m.max_output_tokens, m.input_nano_per_million,
               m.output_nano_per_million, p.simulated,
               p.circuit <> 'open' OR p.circuit_until <= $1 AS reachable
        FROM models m JOIN providers p USING (provider) JOIN resource_pools USING (pool)
        WHERE m.active AND p.active AND p.key_present AND p.provider <> 'local'
          AND (dedicated_client_id IS NULL OR dedicated_client_id = $2)
        ORDER BY m.output_nano_per_million, m.input_nano_per_million, m.provider, m.model
        """,
        tx.now,
        client_id,
    )
    return tuple(Model(**dict(row)) for row in rows)


async def routes(tx: Tx, ids: Collection[int]) -> dict[int, Route]:
    """Return interned routes; they never change, so each is read once."""
    kept: dict[int, Route] = tx.kept.setdefault("routes", {})
    wanted = set(ids)
    if missing := wanted - kept.keys():
        rows = await tx.raw.fetch(
            "SELECT id, hops, further_pools, alone, local FROM routes WHERE id = ANY($1)", list(missing)
        )
        kept |= {
            row["id"]: Route(
                hops=msgspec.convert(row["hops"], tuple[Hop, ...]),
                further_pools=tuple(row["further_pools"]),
                alone=row["alone"],
                local=row["local"],
            )
            for row in rows
        }
    return {route_id: kept[route_id] for route_id in wanted}


async def intern_route(tx: Tx, route: Route) -> int:
    """Return a route's id, storing it first if it is new."""
    key = msgspec.json.encode(route, order="deterministic").decode()
    found: int | None = await tx.raw.fetchval("SELECT id FROM routes WHERE key = $1", key)
    if found is None:
        await tx.raw.execute(
            """
            INSERT INTO routes (key, hops, further_pools, alone, local) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (key) DO NOTHING
            """,
            key,
            encode_json(route.hops),
            list(route.further_pools),
            route.alone,
            route.local,
        )
        found = await tx.raw.fetchval("SELECT id FROM routes WHERE key = $1", key)
    assert found is not None
    return found


async def pool_capacities(tx: Tx, client_ids: Collection[ClientId]) -> Pools:
    """Return what each pool can hold, and the least quota of it that each of these clients has."""
    rows = await tx.raw.fetch(
        """
        SELECT pool, capacity, reserved_percent, unit,
               ARRAY(SELECT client_id FROM quotas q WHERE q.client_id = ANY($1) AND q.pool = p.pool
                     ORDER BY client_id, period) AS clients,
               ARRAY(SELECT units_limit FROM quotas q WHERE q.client_id = ANY($1) AND q.pool = p.pool
                     ORDER BY client_id, period) AS limits
        FROM resource_pools p
        """,
        list(client_ids),
    )
    return {row["pool"]: _pool_size(row) for row in rows}


def _pool_size(row: Any) -> PoolSize:
    quotas: dict[UUID, int] = {}
    for client_id, limit in zip(row["clients"], row["limits"], strict=True):
        quotas[client_id] = min(limit, quotas.get(client_id, limit))
    return PoolSize(
        pool=row["pool"],
        capacity=row["capacity"],
        reserved_percent=row["reserved_percent"],
        unit=row["unit"],
        quotas=quotas,
    )


async def find_client(tx: Tx, client_id: ClientId) -> ClientLimits | None:
    """Return a client's tier and limits."""
    row = await tx.raw.fetchrow("SELECT * FROM client_resource_limits WHERE client_id = $1", client_id)
    return None if row is None else msgspec.convert(dict(row), ClientLimits)


async def set_client(tx: Tx, limits: ClientLimits) -> None:
    """Create or replace a client's tier and limits."""
    await tx.raw.execute(
        """
        INSERT INTO client_resource_limits (client_id, name, tier, suspended, time_zone, max_running,
            monthly_budget_nano, requests_per_minute)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (client_id) DO UPDATE SET name = $2, tier = $3, suspended = $4, time_zone = $5,
            max_running = $6, monthly_budget_nano = $7, requests_per_minute = $8
        """,
        *msgspec.structs.astuple(limits),
    )


async def dedicated_pool(tx: Tx, client_id: ClientId) -> str | None:
    """Return a pool that is a client's own, if it has any."""
    pool: str | None = await tx.raw.fetchval(
        "SELECT pool FROM resource_pools WHERE dedicated_client_id = $1 ORDER BY pool LIMIT 1", client_id
    )
    return pool


async def tier_budgets(tx: Tx) -> dict[Tier, int | None]:
    """Return each tier's monthly budget; None: a number of each client's own."""
    rows = await tx.raw.fetch("SELECT tier, monthly_budget_nano FROM tiers")
    return {Tier(row["tier"]): row["monthly_budget_nano"] for row in rows}
