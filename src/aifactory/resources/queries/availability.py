"""What one client may use now, and what the fleet has free. Changes nothing."""

from typing import Any

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId
from aifactory.resources.queries.processes import FENCE


class FreeSlots(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the scheduler is on, and how many more jobs its processes could run, elsewhere and here."""

    enabled: bool
    slots: int
    local_slots: int


async def free_slots(tx: Tx) -> FreeSlots:
    """Return the free slots of the processes that may start something."""
    row: Any = await tx.raw.fetchrow(
        """
        WITH ready AS (
            SELECT id, slots, local_slots FROM processes
            WHERE lease_until > $1 AND renewed_at > $2 AND NOT stopping),
        busy AS (
            SELECT count(*) FILTER (WHERE NOT local) AS slots, count(*) FILTER (WHERE local) AS local_slots
            FROM running_jobs WHERE process_id IN (SELECT id FROM ready))
        SELECT (SELECT enabled FROM scheduler_control) AS enabled,
               coalesce((SELECT sum(slots) FROM ready), 0)::bigint - busy.slots AS slots,
               coalesce((SELECT sum(local_slots) FROM ready), 0)::bigint - busy.local_slots AS local_slots
        FROM busy
        """,
        tx.now,
        tx.now - FENCE,
    )
    return FreeSlots(**dict(row))


async def running_by_pool(tx: Tx, client_id: ClientId) -> dict[str, int]:
    """Return how many jobs of a client run, by pool."""
    rows = await tx.raw.fetch(
        "SELECT pool, count(*) AS jobs FROM running_jobs WHERE client_id = $1 GROUP BY pool", client_id
    )
    return {row["pool"]: row["jobs"] for row in rows}


async def client_terms(tx: Tx, client_id: ClientId) -> Any:
    """Return how many jobs of a client may run at once, and whether it is suspended."""
    return await tx.raw.fetchrow(
        """
        SELECT coalesce(c.max_running, t.max_running) AS max_running, c.suspended
        FROM client_resource_limits c JOIN tiers t USING (tier) WHERE c.client_id = $1
        """,
        client_id,
    )
