"""The fleet in memory and the real one, from the same queue: the same starts, for the same reasons."""

from datetime import timedelta

import pytest

from aifactory.kernel.db import Database
from aifactory.resources.interface import Tier, Urgency
from aifactory.resources.queries import snapshot as snapshots
from aifactory.resources.queries import tick
from aifactory.resources.virtual.fleet import VirtualFleet
from aifactory.resources.virtual.lanes import LaneKey, Work
from prove.turns import StillTime, Turns, open_turns

pytestmark = pytest.mark.anyio
SLOTS = 7


async def fleet_like(turns: Turns) -> VirtualFleet:
    """Return a fleet in memory with everything that waits in the real one."""
    async with turns.database.begin() as tx:
        snapshot = await snapshots.load_snapshot(
            tx,
            lanes=await snapshots.load_lanes(tx, depth=1000),
            pools=await tick.lock_pools(tx),
            control=await tick.read_control(tx),
            slots=SLOTS,
            local_slots=1,
            idle=True,
            environ={},
        )
    fleet = VirtualFleet.of(snapshot, tx.now)
    for lane in snapshot.lanes:
        key = LaneKey(lane.hops, lane.worker, lane.queue, lane.client_id, lane.urgency)
        for head in lane.heads:
            work = Work(head=head, seconds=0.0, used=head.units, ready_at=tx.now)
            fleet.add(fleet.lane(key, lane.id), work)
    return fleet


async def test_a_virtual_fleet_starts_what_the_real_one_starts_round_by_round(database: Database) -> None:
    time = StillTime(url=database.url)
    try:
        async with open_turns(time, slots=SLOTS, capacity=2_000, refill=900) as turns:
            for number, urgency in enumerate((Urgency.NORMAL, Urgency.HIGH, Urgency.LOW, Urgency.URGENT)):
                for tier in (Tier.BASIC, Tier.ENTERPRISE):
                    client = await turns.client(tier, max_running=3)
                    await turns.submit(client, jobs=9 + number, units=100 + 60 * number, urgency=urgency)
                    time.later(3)
            fleet = await fleet_like(turns)
            live, virtual = [], []
            for _ in range(40):
                claimed = await turns.round()
                live.append([(one.start.head.seq, one.start.by) for one in claimed])
                snapshot, decision = fleet.plan(time.moment)
                runs = fleet.apply(snapshot, decision, time.moment)
                virtual.append([(run.work.head.seq, run.by) for run in runs])
                for run in runs:
                    fleet.end(run, time.moment)
                time.moment += timedelta(seconds=1)
    finally:
        await time.close()
    assert virtual == live
    assert sum(map(len, live)) == 2 * (9 + 10 + 11 + 12)
    assert {by for round_ in live for _, by in round_} >= {"guard", "share", "fair", "score"}
