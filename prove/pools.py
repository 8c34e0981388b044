"""Pools for proofs and tests: each with one model of a provider of its own, all under one name."""

from aifactory.kernel.db import Tx
from aifactory.resources.interface import Hop


def hop_of(name: str) -> Hop:
    """Return the way through the only model of a pool."""
    return Hop(provider=name, model=f"{name}-model", pool=name)


async def add_pool(
    tx: Tx, name: str, *, capacity: int, refill: int, price_nano: int, per_minute: int | None = None
) -> None:
    """Add a full pool, and its model, which costs the same for every unit; ``per_minute``: requests."""
    await tx.raw.execute(
        """
        INSERT INTO resource_pools (pool, unit, capacity, refill_per_second, price_nano_per_million,
            level_micro, requests_per_minute, requests_micro, as_of)
        VALUES ($1, 'tokens', $2, $3, 0, $4, $5, $6, $7)
        """,
        name,
        capacity,
        refill,
        capacity * 1_000_000,
        per_minute,
        (per_minute or 0) * 1_000_000,
        tx.now,
    )
    hop = hop_of(name)
    await tx.raw.execute("INSERT INTO providers (provider, source) VALUES ($1, 'file')", hop.provider)
    await tx.raw.execute(
        """
        INSERT INTO models (provider, model, pool, input_nano_per_million, cached_nano_per_million,
            output_nano_per_million, price_source, price_at, max_output_tokens)
        VALUES ($1, $2, $3, $4, $4, $4, 'a proof', $5, 4096)
        """,
        hop.provider,
        hop.model,
        hop.pool,
        price_nano * 1_000_000,
        tx.now,
    )
