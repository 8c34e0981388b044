"""Clients' limits, prices, routes, pools, budgets."""

import msgspec

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import BudgetId, ClientId, new_id
from aifactory.resources.budgets import MAX_UNFINISHED, BudgetLevel, Period
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


async def routes(tx: Tx) -> dict[int, Route]:
    """Return every interned route."""
    rows = await tx.raw.fetch("SELECT id, hops, further_pools, alone, local FROM routes")
    return {
        row["id"]: Route(
            hops=msgspec.convert(row["hops"], tuple[Hop, ...]),
            further_pools=tuple(row["further_pools"]),
            alone=row["alone"],
            local=row["local"],
        )
        for row in rows
    }


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


async def pool_capacities(tx: Tx) -> Pools:
    """Return what each pool can hold."""
    rows = await tx.raw.fetch("SELECT pool, capacity, reserved_percent, unit FROM resource_pools")
    return {row["pool"]: PoolSize(**dict(row)) for row in rows}


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


async def hold(tx: Tx, client_id: ClientId, period: Period, amount_nano: int) -> BudgetId | None:
    """Hold an amount on the client's budget of a period, if it fits; None if it does not, or no row."""
    return await tx.raw.fetchval(  # type: ignore[no-any-return]
        """
        UPDATE budgets b SET held_nano = b.held_nano + $3, unfinished = b.unfinished + 1
        FROM client_resource_limits c JOIN tiers t USING (tier)
        WHERE b.client_id = $1 AND b.scope = 'client' AND b.scope_key = '' AND b.period_start = $2
          AND c.client_id = b.client_id
          AND b.spent_nano + b.held_nano + $3
              <= coalesce(b.limit_nano, c.monthly_budget_nano, t.monthly_budget_nano)
          AND b.unfinished < $4 - coalesce((
              SELECT sum(old.unfinished) FROM budgets old
              WHERE old.client_id = $1 AND old.scope = 'client' AND old.period_start < $2), 0)
        RETURNING b.id
        """,
        client_id,
        period.start,
        amount_nano,
        MAX_UNFINISHED,
    )


async def open_budget(tx: Tx, client_id: ClientId, period: Period) -> None:
    """Make sure that the client's budget row of a period exists."""
    await tx.raw.execute(
        """
        INSERT INTO budgets (id, client_id, scope, period_start, period_end) VALUES ($1, $2, 'client', $3, $4)
        ON CONFLICT DO NOTHING
        """,
        new_id(),
        client_id,
        period.start,
        period.end,
    )


async def find_budget_level(tx: Tx, client_id: ClientId, period: Period) -> BudgetLevel | None:
    """Return a client's budget of a period as it stands, if it was opened."""
    row = await tx.raw.fetchrow(
        """
        SELECT coalesce(b.limit_nano, c.monthly_budget_nano, t.monthly_budget_nano) AS limit_nano,
               b.held_nano, b.spent_nano, b.period_end,
               (SELECT sum(every.unfinished)::bigint FROM budgets every
                WHERE every.client_id = $1 AND every.scope = 'client') AS unfinished
        FROM budgets b JOIN client_resource_limits c USING (client_id) JOIN tiers t USING (tier)
        WHERE b.client_id = $1 AND b.scope = 'client' AND b.scope_key = '' AND b.period_start = $2
        """,
        client_id,
        period.start,
    )
    return None if row is None else BudgetLevel(**dict(row))


async def budget_now(tx: Tx, client_id: ClientId, period: Period) -> BudgetLevel | None:
    """Return a client's budget of a period, also one that nothing was held on yet; None: unknown client."""
    row = await tx.raw.fetchrow(
        """
        SELECT coalesce(b.limit_nano, c.monthly_budget_nano, t.monthly_budget_nano, 0) AS limit_nano,
               coalesce(b.held_nano, 0) AS held_nano, coalesce(b.spent_nano, 0) AS spent_nano,
               $3::timestamptz AS period_end,
               (SELECT coalesce(sum(every.unfinished), 0)::bigint FROM budgets every
                WHERE every.client_id = $1 AND every.scope = 'client') AS unfinished
        FROM client_resource_limits c JOIN tiers t USING (tier)
        LEFT JOIN budgets b ON b.client_id = c.client_id AND b.scope = 'client' AND b.scope_key = ''
            AND b.period_start = $2
        WHERE c.client_id = $1
        """,
        client_id,
        period.start,
        period.end,
    )
    return None if row is None else BudgetLevel(**dict(row))


async def tier_budgets(tx: Tx) -> dict[Tier, int | None]:
    """Return each tier's monthly budget; None: a number of each client's own."""
    rows = await tx.raw.fetch("SELECT tier, monthly_budget_nano FROM tiers")
    return {Tier(row["tier"]): row["monthly_budget_nano"] for row in rows}
