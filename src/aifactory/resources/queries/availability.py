"""What one client may use now. Changes nothing."""

from typing import Any

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId


async def running_by_pool(tx: Tx, client_id: ClientId) -> dict[str, int]:
    """Return how many jobs of a client run, by pool."""
    rows = await tx.raw.fetch(
        "SELECT pool, count(*) AS jobs FROM running_jobs WHERE client_id = $1 GROUP BY pool", client_id
    )
    return {row["pool"]: row["jobs"] for row in rows}


async def client_terms(tx: Tx, client_id: ClientId) -> Any:
    """Return how many jobs of a client may run at once, whether it is suspended, and its time zone."""
    return await tx.raw.fetchrow(
        """
        SELECT coalesce(c.max_running, t.max_running) AS max_running, c.suspended,
               c.time_zone
        FROM client_resource_limits c JOIN tiers t USING (tier) WHERE c.client_id = $1
        """,
        client_id,
    )
