"""The fleet at one moment, for its metrics. Changes nothing."""

from typing import Any

from aifactory.kernel.db import Tx
from aifactory.resources.circuit import circuit_state
from aifactory.resources.metrics import FleetNow
from aifactory.resources.queries import providers, tick, views

COSTLIEST = 100


async def fleet_now(tx: Tx) -> FleetNow:
    """Read queues, pools, circuits, processes and the scheduler's switch."""
    control, processes = await views.scheduler_state(tx)
    reachable = await providers.reachability(tx)
    return FleetNow(
        now=tx.now,
        queues=await views.queue_depths(tx, None),
        pools=await tick.read_pools(tx),
        circuits={row["provider"]: circuit_state(row, tx.now) for row in reachable},
        processes=processes,
        enabled=control["enabled"],
        last_tick_at=views.last_tick_at(control, processes),
    )


async def costliest_clients(tx: Tx) -> list[Any]:
    """Return the clients that spent most in their present month: id, spent and held, nano-dollars."""
    return await tx.raw.fetch(
        """
        SELECT client_id, spent_nano, held_nano FROM budgets
        WHERE scope = 'client' AND period_start <= $1 AND period_end > $1
        ORDER BY spent_nano DESC, client_id LIMIT $2
        """,
        tx.now,
        COSTLIEST,
    )
