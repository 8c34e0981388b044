"""How a pool leaves the server."""

from aifactory.resources import buckets
from aifactory.resources.gates import PoolGate
from aifactory.resources.schemas import PoolState


def pool_state_of(gate: PoolGate, unit: str) -> PoolState:
    """Return a pool, refilled to now, as it leaves."""
    return PoolState(
        pool=gate.pool,
        unit=unit,
        capacity=gate.capacity,
        level=gate.level_micro // buckets.MICRO,
        refill_per_second=gate.refill_per_second,
        paused=gate.paused,
        blocked_until=gate.blocked_until,
    )
