"""What the decision alone costs by the number of lanes: ``policy.plan``, without any database."""

import gc
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aifactory.resources import policy
from aifactory.resources.gates import (
    ClientGate,
    Head,
    Lane,
    PoolGate,
    ProviderGate,
    QueueGate,
    Snapshot,
    UsageGate,
)
from aifactory.resources.gates import WorkerGate as Worker
from aifactory.resources.interface import Urgency
from bench.figures import OURS, Row, spread
from bench.running import Bench, Measure
from prove.pools import hop_of

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LANES = (10, 100, 1_000, 10_000)
SLOTS = (64, 256)
POOLS = ("first", "second")
QUEUES = (
    QueueGate(queue="fast", rank=1, policy="score", share_percent=25, full_age_seconds=120),
    QueueGate(queue="normal", rank=2, policy="fair", share_percent=15, full_age_seconds=6000),
)
URGENCIES = (Urgency.HIGH, Urgency.NORMAL)


def made_snapshot(lanes: int, slots: int) -> Snapshot:
    """Return a snapshot with so many lanes, all of which can start; each client has four."""
    kinds = len(POOLS) * len(QUEUES)
    clients = [UUID(int=1 + number) for number in range(max(1, lanes // kinds))]
    depth = min(slots, max(2, -(-2 * slots // lanes)))
    return Snapshot(
        lanes=tuple(_lane(number, clients[number // kinds % len(clients)], depth) for number in range(lanes)),
        pools={
            name: PoolGate(pool=name, capacity=10**6, refill_per_second=50_000, level_micro=10**12)
            for name in POOLS
        },
        queues={queue.queue: queue for queue in QUEUES},
        clients={one: ClientGate(client_id=one, points=20, weight=20, max_running=1000) for one in clients},
        workers={"granulation": Worker(worker="granulation")},
        usage={
            (one, pool): UsageGate(usage=float(number % 97), active=True, last_start_seq=number)
            for number, one in enumerate(clients)
            for pool in POOLS
        },
        slots=slots,
        local_slots=1,
        start_seq=100_000,
        providers={name: ProviderGate(provider=name) for name in POOLS},
    )


def _lane(number: int, client_id: UUID, depth: int) -> Lane:
    heads = tuple(
        Head(
            job_id=UUID(int=10**9 + number * 1000 + place),
            aged_from=NOW - timedelta(seconds=1 + number % 50),
            seq=number * 1000 + place,
            units=20,
            needs={},
        )
        for place in range(depth)
    )
    return Lane(
        id=number,
        hops=(hop_of(POOLS[number // len(QUEUES) % len(POOLS)]),),
        further_pools=(),
        local=False,
        worker="granulation",
        queue=QUEUES[number % len(QUEUES)].queue,
        client_id=client_id,
        urgency=URGENCIES[number % len(QUEUES)],
        heads=heads,
        complete=False,
    )


async def plan_ours(*, lanes: int, slots: int, seconds: float) -> dict[str, Any]:
    """Plan the same again and again for some seconds; return the milliseconds of each, and its starts."""
    gc.collect()
    gc.freeze()  # as `aifactory serve` does; what a tick loads comes later, here too
    snapshot, taken, starts = made_snapshot(lanes, slots), list[float](), 0
    ends = time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < ends:
        began = time.perf_counter()
        decision = policy.plan(snapshot, NOW)
        taken.append(1000 * (time.perf_counter() - began))
        starts = len(decision.starts)
    return {"ms": taken, "starts": starts}


def run(bench: Bench) -> list[Row]:
    """Plan with more and more lanes."""
    seconds, rows = 0.2 if bench.quick else 3.0, list[Row]()
    for slots in SLOTS:
        for lanes in LANES:
            done = bench.alone("bench.plan:plan_ours", lanes=lanes, slots=slots, seconds=seconds)
            assert done["starts"] == slots, done["starts"]
            what = f"plan(), {lanes:,} lanes, {slots} starts"
            rows.append(Row(what=what, unit="ms", systems={OURS: spread(done["ms"])}))
    return rows


MEASURE = Measure(name="plan", shows="one call of plan() by lanes, no database", run=run)
