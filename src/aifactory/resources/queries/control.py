"""Clients' limits, prices, routes, pools."""

from collections.abc import Collection
from datetime import datetime
from functools import partial
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import ClientId
from aifactory.resources.interface import ClientLimits, Hop, Model, Route, Tier
from aifactory.resources.pricing import Pools, PoolSize, Price, Prices

_PRICES = """
    SELECT provider, model, input_nano_per_million, cached_nano_per_million, output_nano_per_million,
           price_source, price_at
    FROM models"""
# Of active providers that have their key, cheapest output first; $1: now, $2: whose dedicated pools count.
_MODELS = """
    SELECT m.provider, m.model, m.pool, m.context_tokens, m.max_output_tokens, m.input_nano_per_million,
           m.output_nano_per_million, p.simulated,
           p.circuit <> 'open' OR p.circuit_until <= $1 AS reachable, dedicated_client_id
    FROM models m JOIN providers p USING (provider) JOIN resource_pools USING (pool)
    WHERE m.active AND p.active AND p.key_present AND p.provider <> 'local'
      AND (dedicated_client_id IS NULL OR dedicated_client_id = ANY($2))
    ORDER BY m.output_nano_per_million, m.input_nano_per_million, m.provider, m.model"""
_POOLS = """
    SELECT pool, capacity, reserved_percent, unit,
           ARRAY(SELECT client_id FROM quotas q WHERE q.client_id = ANY({clients}) AND q.pool = p.pool
                 ORDER BY client_id, period) AS clients,
           ARRAY(SELECT units_limit FROM quotas q WHERE q.client_id = ANY({clients}) AND q.pool = p.pool
                 ORDER BY client_id, period) AS limits
    FROM resource_pools p"""
_GROUNDS = f"""
    SELECT json_build_object(
        'clients', (SELECT coalesce(json_agg(o), '[]') FROM client_resource_limits o
            WHERE client_id = ANY($2)),
        'models', (SELECT coalesce(json_agg(json_build_object(
            'dedicated', o.dedicated_client_id, 'model', o)), '[]') FROM ({_MODELS}) o),
        'prices', (SELECT coalesce(json_agg(o), '[]') FROM ({_PRICES}) o),
        'pools', (SELECT coalesce(json_agg(o), '[]') FROM ({_POOLS.format(clients="$2")}) o))::text
    """


class _PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    model: str
    input_nano_per_million: int
    cached_nano_per_million: int
    output_nano_per_million: int
    price_source: str
    price_at: datetime


class _PoolRow(msgspec.Struct, frozen=True, kw_only=True):
    pool: str
    capacity: int
    reserved_percent: int
    unit: str
    clients: list[ClientId]
    limits: list[int]


class _ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    dedicated: ClientId | None
    model: Model


class _GroundRows(msgspec.Struct, frozen=True, kw_only=True):
    clients: list[ClientLimits]
    models: list[_ModelRow]
    prices: list[_PriceRow]
    pools: list[_PoolRow]


_GROUND_ROWS = msgspec.json.Decoder(_GroundRows)


class Grounds(msgspec.Struct, frozen=True, kw_only=True):
    """What submissions of some clients are priced against; ``models``: each with whose alone it is, if so."""

    clients: dict[ClientId, ClientLimits]
    models: tuple[tuple[ClientId | None, Model], ...]
    prices: Prices
    pools: Pools

    def models_of(self, client_id: ClientId) -> tuple[Model, ...]:
        """Return the models that a client may use, cheapest output first."""
        return tuple(model for owner, model in self.models if owner is None or owner == client_id)


async def prices(tx: Tx) -> Prices:
    """Return the price of every model, also of one that is switched off: its calls may still be running."""
    return {
        (row["provider"], row["model"]): _price(_PriceRow(**dict(row))) for row in await tx.raw.fetch(_PRICES)
    }


async def usable_models(tx: Tx, client_id: ClientId | None) -> tuple[Model, ...]:
    """Return the models of active providers that have their key, cheapest output first.

    Pools that are dedicated to another client are left out; without a client, every dedicated one. A paused
    pool counts: work for it waits, as whoever paused it wants.
    """
    rows = await tx.raw.fetch(_MODELS, tx.now, [] if client_id is None else [client_id])
    return tuple(msgspec.convert(dict(row), Model) for row in rows)


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
    kept: dict[str, int] = tx.kept.setdefault("route_ids", {})
    if key in kept:
        return kept[key]
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
    tx.after_commit(partial(kept.__setitem__, key, found))  # until then it may be rolled back
    return found


async def pool_capacities(tx: Tx, client_ids: Collection[ClientId]) -> Pools:
    """Return what each pool can hold, and the least quota of it that each of these clients has."""
    rows = await tx.raw.fetch(_POOLS.format(clients="$1"), list(client_ids))
    return {row["pool"]: _pool_size(_PoolRow(**dict(row))) for row in rows}


def _pool_size(row: _PoolRow) -> PoolSize:
    quotas: dict[UUID, int] = {}
    for client_id, limit in zip(row.clients, row.limits, strict=True):
        quotas[client_id] = min(limit, quotas.get(client_id, limit))
    return PoolSize(
        pool=row.pool,
        capacity=row.capacity,
        reserved_percent=row.reserved_percent,
        unit=row.unit,
        quotas=quotas,
    )


def _price(row: _PriceRow) -> Price:
    return Price(
        input_nano_per_million=row.input_nano_per_million,
        cached_nano_per_million=row.cached_nano_per_million,
        output_nano_per_million=row.output_nano_per_million,
        source=row.price_source,
        at=row.price_at,
    )


async def read_grounds(tx: Tx, client_ids: Collection[ClientId]) -> Grounds:
    """Return what clients' submissions are priced against, in one statement; unknown clients are left out."""
    text = await tx.raw.fetchval(_GROUNDS, tx.now, list(client_ids))
    rows = _GROUND_ROWS.decode(text)
    return Grounds(
        clients={client.client_id: client for client in rows.clients},
        models=tuple((one.dedicated, one.model) for one in rows.models),
        prices={(row.provider, row.model): _price(row) for row in rows.prices},
        pools={row.pool: _pool_size(row) for row in rows.pools},
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


async def tier_limits(tx: Tx, tier: Tier) -> tuple[int, int, int | None]:
    """Return a tier's running jobs, requests per minute and monthly budget, if it has one."""
    row = await tx.raw.fetchrow(
        "SELECT max_running, requests_per_minute, monthly_budget_nano FROM tiers WHERE tier = $1", tier
    )
    assert row is not None  # a client's tier is there
    return row["max_running"], row["requests_per_minute"], row["monthly_budget_nano"]


async def lock_client(tx: Tx, client_id: ClientId) -> None:
    """Let one editor at a time change a client's limits; submissions do not wait."""
    await tx.raw.execute(
        "SELECT FROM client_resource_limits WHERE client_id = $1 FOR NO KEY UPDATE", client_id
    )
