"""Providers and their models: stored, read, their circuits closed by hand."""

from collections.abc import Mapping
from typing import Any

from aifactory.kernel.db import Tx
from aifactory.resources.buckets import MICRO
from aifactory.resources.providers import LOCAL, ModelPrice, NewModel, NewPool, NewProvider

_REGISTRY_LOCK = 0x70726F76696465  # "provide"


async def lock_registry(tx: Tx) -> None:
    """Let one transaction at a time change providers."""
    await tx.raw.execute("SELECT pg_advisory_xact_lock($1)", _REGISTRY_LOCK)


async def list_providers(tx: Tx) -> list[Any]:
    """Return every provider, by name."""
    return list(await tx.raw.fetch("SELECT * FROM providers ORDER BY provider"))


async def lock_providers(tx: Tx) -> list[Any]:
    """Lock every provider, in the order of their names as everyone does, and return them."""
    return list(await tx.raw.fetch("SELECT * FROM providers ORDER BY provider FOR NO KEY UPDATE"))


async def find_provider(tx: Tx, name: str) -> Any | None:
    """Return a provider."""
    return await tx.raw.fetchrow("SELECT * FROM providers WHERE provider = $1", name)


async def list_models(tx: Tx, provider: str | None = None) -> list[Any]:
    """Return the models of a provider, or of all, by provider and name."""
    return list(
        await tx.raw.fetch(
            "SELECT * FROM models WHERE $1::text IS NULL OR provider = $1 ORDER BY provider, model", provider
        )
    )


async def pool_names(tx: Tx) -> set[str]:
    """Return the names of all pools, none of which is deleted before this transaction ends."""
    rows = await tx.raw.fetch("SELECT pool FROM resource_pools ORDER BY pool FOR KEY SHARE")
    return {row["pool"] for row in rows}


async def insert_missing_pool(tx: Tx, name: str, pool: NewPool) -> None:
    """Make a full pool, unless there is one of this name, which stays as it is."""
    await tx.raw.execute(
        """
        INSERT INTO resource_pools (pool, unit, capacity, refill_per_second, price_nano_per_million,
            requests_per_minute, level_micro, requests_micro, as_of)
        VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8)
        ON CONFLICT (pool) DO NOTHING
        """,
        name,
        pool.unit,
        pool.capacity,
        pool.refill_per_second,
        pool.requests_per_minute,
        pool.capacity * MICRO,
        (pool.requests_per_minute or 0) * MICRO,
        tx.now,
    )


async def store_provider(tx: Tx, name: str, provider: NewProvider, *, source: str, key_present: bool) -> None:
    """Create a provider, or replace all of it but its circuit."""
    await tx.raw.execute(
        """
        INSERT INTO providers AS p (provider, title, base_url, api_key_variable, source, active, profile,
            structured, streaming, connect_seconds, first_token_seconds, idle_seconds, simulated, key_present)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        ON CONFLICT (provider) DO UPDATE SET title = $2, base_url = $3, api_key_variable = $4, source = $5,
            active = $6, profile = $7, structured = $8, streaming = $9, connect_seconds = $10,
            first_token_seconds = $11, idle_seconds = $12, simulated = $13, key_present = $14,
            version = p.version + 1
        """,
        name,
        provider.title,
        provider.base_url,
        provider.api_key_variable,
        source,
        provider.active,
        provider.profile.value,
        provider.structured.value,
        provider.streaming,
        provider.connect_seconds,
        provider.first_token_seconds,
        provider.idle_seconds,
        provider.simulated,
        key_present,
    )


_STORE_MODEL = """
INSERT INTO models AS m (provider, model, pool, input_nano_per_million, cached_nano_per_million,
    output_nano_per_million, price_source, price_at, context_tokens, max_output_tokens, source,
    active)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (provider, model) DO UPDATE SET pool = $3, input_nano_per_million = $4,
    cached_nano_per_million = $5, output_nano_per_million = $6, price_source = $7,
    price_at = CASE WHEN (m.input_nano_per_million, m.cached_nano_per_million,
        m.output_nano_per_million, m.price_source) = ($4, $5, $6, $7) THEN m.price_at ELSE $8 END,
    context_tokens = $9, max_output_tokens = $10, source = $11, active = $12
"""


async def store_models(
    tx: Tx,
    provider: str,
    models: Mapping[str, tuple[NewModel, ModelPrice]],
    *,
    source: str,
    all_of_them: bool = True,
) -> None:
    """Create or replace a provider's models; if these are all of them, others become inactive.

    A price keeps its date until it changes, or is found elsewhere.
    """
    await tx.raw.execute(
        """
        UPDATE models SET active = active AND NOT $4, source = $3 WHERE provider = $1 AND model <> ALL($2)
        """,
        provider,
        list(models),
        source,
        all_of_them,
    )
    await tx.execute_many(
        _STORE_MODEL,
        [
            (
                provider,
                name,
                model.pool,
                price.input_nano,
                price.cached_nano,
                price.output_nano,
                price.source,
                tx.now,
                model.context_tokens,
                model.max_output_tokens,
                source,
                model.active,
            )
            for name, (model, price) in models.items()
        ],
    )


async def deactivate(tx: Tx, name: str) -> None:
    """Switch a provider and its models off."""
    await tx.raw.execute("UPDATE models SET active = false WHERE provider = $1 AND active", name)
    await tx.raw.execute("UPDATE providers SET active = false WHERE provider = $1 AND active", name)


async def set_keys_present(tx: Tx, present: Mapping[str, bool]) -> None:
    """Note which providers have the key that they need."""
    await tx.execute_many(
        "UPDATE providers SET key_present = $2 WHERE provider = $1 AND key_present <> $2",
        sorted(present.items()),
    )


async def close_circuit(tx: Tx, name: str) -> None:
    """Close a provider's circuit as if it had never failed; the last error stays to be read."""
    await tx.raw.execute(
        """
        UPDATE providers SET circuit = 'closed', circuit_until = NULL, circuit_changed_at = $2, failures = 0,
            openings = 0
        WHERE provider = $1
        """,
        name,
        tx.now,
    )


async def reachability(tx: Tx) -> list[Any]:
    """Return the active model providers with their circuits and whether they have their keys."""
    return list(
        await tx.raw.fetch(
            """
            SELECT provider, circuit, circuit_until, key_present FROM providers
            WHERE active AND provider <> $1 ORDER BY provider
            """,
            LOCAL,
        )
    )
