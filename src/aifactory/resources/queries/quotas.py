"""Clients' quotas of pools: read, set, charged by the tick, corrected when a run ends."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import NotFound
from aifactory.kernel.ids import ClientId
from aifactory.resources.gates import QuotaGate
from aifactory.resources.quotas import Quota, QuotaPeriod, period_around, rolled

DECIDER_LOCK = 0x41_49_46_01


async def quotas_of(tx: Tx, client_id: ClientId) -> list[Quota]:
    """Return a client's quotas as they stand now, by pool and period; one whose period is over is unused."""
    return await _read(tx, [client_id])


async def _read(tx: Tx, client_ids: Collection[UUID]) -> list[Quota]:
    rows = await tx.raw.fetch(
        """
        SELECT q.client_id, q.pool, q.period, q.units_limit, q.units_used, q.period_start, q.period_end,
               c.time_zone
        FROM quotas q JOIN client_resource_limits c USING (client_id)
        WHERE q.client_id = ANY($1) ORDER BY q.client_id, q.pool, q.period
        """,
        list(client_ids),
    )
    return [rolled(msgspec.convert(dict(row), Quota), row["time_zone"], tx.now) for row in rows]


async def set_quotas(tx: Tx, client_id: ClientId, limits: Mapping[tuple[str, str], int]) -> None:
    """Replace a client's quotas by these, units by pool and period; what stays keeps its use and its period.

    A new one counts the starts from now on. Waits for the decider lock, so that no tick starts in between
    what nobody counts. Raises NotFound for a pool or a client that is not there.
    """
    await tx.raw.execute("SELECT pg_advisory_xact_lock($1)", DECIDER_LOCK)
    time_zone = await _check(tx, client_id, {pool for pool, _ in limits})
    await tx.raw.execute(
        "SELECT FROM quotas WHERE client_id = $1 ORDER BY pool, period FOR UPDATE", client_id
    )
    await tx.raw.execute(
        """
        DELETE FROM quotas q WHERE client_id = $1 AND NOT EXISTS (
            SELECT FROM unnest($2::text[], $3::text[]) AS kept (pool, period)
            WHERE kept.pool = q.pool AND kept.period = q.period)
        """,
        client_id,
        [pool for pool, _ in limits],
        [period for _, period in limits],
    )
    since = await _uncounted_until(tx, client_id)
    ends = {period: period_around(since, period, time_zone).end for period in QuotaPeriod}
    await tx.execute_many(
        """
        INSERT INTO quotas (client_id, pool, period, units_limit, period_start, period_end)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (client_id, pool, period) DO UPDATE SET units_limit = $4
        """,
        [
            (client_id, pool, period, limit, since, ends[QuotaPeriod(period)])
            for (pool, period), limit in sorted(limits.items())
        ],
    )


async def _check(tx: Tx, client_id: ClientId, pools: set[str]) -> str:
    """Return the client's time zone."""
    rows = await tx.raw.fetch("SELECT pool FROM resource_pools ORDER BY pool FOR KEY SHARE")  # none goes now
    known = {row["pool"] for row in rows}
    for pool in sorted(pools - known):
        raise NotFound(f"There is no pool {pool!r}.")
    time_zone: str | None = await tx.raw.fetchval(
        "SELECT time_zone FROM client_resource_limits WHERE client_id = $1", client_id
    )
    if time_zone is None:
        raise NotFound("This client is unknown to the Resource Manager.")
    return time_zone


async def _uncounted_until(tx: Tx, client_id: ClientId) -> datetime:
    """Return a moment after every start that no new quota has counted, so that none is corrected on it."""
    since: datetime = await tx.raw.fetchval(
        """
        SELECT greatest($2::timestamptz, max(started_at) + interval '1 microsecond') FROM running_jobs
        WHERE client_id = $1
        """,
        client_id,
        tx.now,
    )
    return since


async def load_gates(tx: Tx, client_ids: Collection[UUID]) -> dict[tuple[UUID, str], tuple[QuotaGate, ...]]:
    """Return these clients' quotas as gates, by client and pool."""
    gates: dict[tuple[UUID, str], tuple[QuotaGate, ...]] = {}
    for quota in await _read(tx, client_ids):
        gate = QuotaGate(
            period=quota.period,
            units_limit=quota.units_limit,
            units_used=quota.units_used,
            period_start=quota.period_start,
            period_end=quota.period_end,
        )
        key = quota.client_id, quota.pool
        gates[key] = (*gates.get(key, ()), gate)
    return gates


async def charge(tx: Tx, taken: Mapping[tuple[UUID, str], tuple[tuple[QuotaGate, ...], int]]) -> None:
    """Count starts on quotas, by client and pool; a period that has just begun begins at 0."""
    rows: list[Any] = [
        (client_id, pool, gate.period, gate.period_start, gate.period_end, units)
        for (client_id, pool), (gates, units) in sorted(taken.items())
        for gate in gates
        if units
    ]
    await tx.execute_many(
        """
        UPDATE quotas SET units_used = CASE WHEN period_start = $4 THEN units_used ELSE 0 END + $6,
            period_start = $4, period_end = $5
        WHERE client_id = $1 AND pool = $2 AND period = $3
        """,
        rows,
    )


async def correct(tx: Tx, units: Mapping[tuple[ClientId, str, datetime], int]) -> None:
    """Correct quotas by the difference between estimate and truth, if the period of the start still runs.

    Row by row, in the order in which a tick charges them: by client, pool, period.
    """
    await tx.execute_many(
        """
        UPDATE quotas SET units_used = least(1000000000000000000, greatest(0, units_used + $5::numeric))
        WHERE client_id = $1 AND pool = $2 AND period = $3 AND period_start <= $4 AND period_end > $4
        """,
        sorted(
            (client_id, pool, period, started_at, change)
            for (client_id, pool, started_at), change in units.items()
            for period in QuotaPeriod
            if change
        ),
    )
