"""The fleet in memory: it starts what the policy says, keeps every gate, and loses no time at any pace."""

import math
import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.resources.rules import Replay
from tests.unit.resources.snapshots import (
    NOW,
    QUEUES,
    TIERS,
    client,
    client_id,
    head,
    hop,
    pool,
    quota,
    random_snapshot,
)

from aifactory.kernel.ids import ClientId, JobId
from aifactory.resources import buckets, policy
from aifactory.resources.gates import Decision, Lane, PoolGate, Snapshot, WorkerGate
from aifactory.resources.interface import Hop, Urgency
from aifactory.resources.policy import plan
from aifactory.resources.records import Run, UnitChanges
from aifactory.resources.virtual.clock import Action, Clock, Tick
from aifactory.resources.virtual.fleet import Controls, VirtualFleet
from aifactory.resources.virtual.lanes import LaneKey, VirtualLane, Work
from aifactory.resources.virtual.levels import VirtualPool, quota_of
from aifactory.resources.virtual.runs import VirtualRun

SECOND = timedelta(seconds=1)


def fleet_of(*pools: PoolGate, clients: int = 4, slots: int = 4, max_running: int = 100) -> VirtualFleet:
    gates = [client(n, list(TIERS)[n % 4], max_running=max_running) for n in range(clients)]
    controls = Controls(
        queues=QUEUES,
        pools=pools or (pool(),),
        clients=gates,
        workers=[WorkerGate(worker="w")],
        slots=slots,
        local_slots=1,
    )
    return VirtualFleet(controls, NOW)


def key(client: int = 0, urgency: Urgency = Urgency.NORMAL, hops: tuple[Hop, ...] = (hop(),)) -> LaneKey:
    queue = {Urgency.URGENT: "immediate", Urgency.HIGH: "fast", Urgency.NORMAL: "normal"}[urgency]
    return LaneKey(hops=hops, worker="w", queue=queue, client_id=client_id(client), urgency=urgency)


def work(
    seq: int, *, seconds: float = 1.0, units: int = 10, used: int | None = 10, waited: float = 0
) -> Work:
    return Work(head=head(seq, waited=waited, units=units), seconds=seconds, used=used, ready_at=NOW)


class Played:
    """A fleet played to its end."""

    def __init__(self, fleet: VirtualFleet, *, window: float = 0.0, check: bool = False) -> None:
        self.fleet = fleet
        self.ended: list[VirtualRun] = []
        self.clock = Clock(fleet, NOW, on_end=lambda run, _: self.ended.append(run))
        self.clock.window = timedelta(seconds=window)
        self.ticks: list[Tick] = []
        self.check = check

    def play(self) -> "Played":
        while tick := self.clock.step():
            self.ticks.append(tick)
        return self

    def started(self, run: VirtualRun) -> float:
        return (run.started_at - NOW) / SECOND


def fill(fleet: VirtualFleet, rng: random.Random, jobs: int) -> None:
    for seq in range(jobs):
        lane = fleet.lane(key(rng.randrange(4), rng.choice([Urgency.HIGH, Urgency.NORMAL, Urgency.URGENT])))
        units = rng.choice([1, 20, 90])
        done = work(seq, seconds=rng.uniform(0.1, 6), units=units, used=rng.choice([units, units // 3, None]))
        fleet.add(lane, done)


def test_one_slot_runs_one_job_after_the_other_in_their_order() -> None:
    fleet = fleet_of(slots=1)
    for seq in range(3):
        fleet.add(fleet.lane(key()), work(seq, seconds=2, waited=10 - seq))
    played = Played(fleet).play()
    assert [(run.work.head.seq, played.started(run)) for run in played.ended] == [(0, 0), (1, 2), (2, 4)]
    assert not fleet.runs
    assert fleet.running == {False: 0, True: 0}
    assert all(gate.running == 0 for gate in fleet.snapshot(NOW).clients.values())


def test_what_a_call_did_not_use_comes_back_when_it_ends() -> None:
    fleet = fleet_of(
        pool(capacity=100, level_micro=100 * buckets.MICRO, refill_per_second=0, reserved_percent=0)
    )
    for seq in range(2):
        fleet.add(fleet.lane(key()), work(seq, units=80, used=20, seconds=3))
    played = Played(fleet).play()
    assert [played.started(run) for run in played.ended] == [0, 3]
    assert fleet.pools["a"].level_micro == 60 * buckets.MICRO


def test_a_job_waits_for_its_units_and_starts_the_moment_that_they_are_there() -> None:
    fleet = fleet_of(pool(capacity=1000, level_micro=0, refill_per_second=50))
    fleet.add(fleet.lane(key()), work(1, units=100))
    (run,) = Played(fleet).play().ended
    assert run.started_at == NOW + 2 * SECOND


def test_follow_ups_of_begun_work_come_before_what_was_submitted_later() -> None:
    fleet = fleet_of(slots=1)
    lane = fleet.lane(key())
    fleet.add(lane, work(1, waited=50))
    fleet.add(lane, work(2, waited=10))
    done: list[int] = []

    def on_end(run: VirtualRun, now: datetime) -> None:
        done.append(run.work.head.seq)
        if run.work.head.seq == 1:
            fleet.add(lane, work(3, waited=50))

    clock = Clock(fleet, NOW, on_end=on_end)
    while clock.step():
        pass
    assert done == [1, 3, 2]


def test_what_was_put_off_comes_when_it_is_due_and_what_comes_is_asked_for_one_by_one() -> None:
    fleet = fleet_of()
    played = Played(fleet)
    lane = fleet.lane(key())
    played.clock.at(NOW + 5 * SECOND, lambda _: fleet.add(lane, work(1)))
    asked: list[int] = []

    def arrivals() -> Iterator[tuple[datetime, Action]]:
        for seq in (2, 3):
            asked.append(seq)
            yield NOW + seq * SECOND, partial(add, fleet, lane, work(seq))

    played.clock.feed(arrivals())
    assert asked == [2]
    played.play()
    assert [(run.work.head.seq, played.started(run)) for run in played.ended] == [(2, 2), (3, 3), (1, 5)]


def test_a_fleet_where_nothing_can_ever_start_comes_to_its_end() -> None:
    fleet = fleet_of(pool(paused=True))
    fleet.add(fleet.lane(key()), work(1))
    played = Played(fleet).play()
    assert played.ended == []
    assert 10 < played.clock.ticks < 200, "it looks again for a while, ever more rarely"


@pytest.mark.parametrize("window", [0.0, 0.5])
def test_no_tick_breaks_a_gate_whatever_the_pace(window: float, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[str] = []

    def checked(snapshot: Snapshot, now: datetime) -> Decision:
        decision = plan(snapshot, now)
        faults.extend(
            Replay(snapshot, now).faults(decision) if now != NOW else Replay(snapshot).faults(decision)
        )
        return decision

    monkeypatch.setattr(policy, "plan", checked)
    fleet = fleet_of(
        pool(capacity=400, level_micro=400 * buckets.MICRO, refill_per_second=60), slots=6, max_running=3
    )
    fill(fleet, random.Random(3), 120)
    played = Played(fleet, window=window).play()
    assert faults == []
    assert len(played.ended) == 120
    assert len({run.work.head.job_id for run in played.ended}) == 120
    for gate in (lambda run: True, lambda run: run.lane.key.client_id):
        most = Counter[object]()
        for run in played.ended:
            beside = [
                other
                for other in played.ended
                if other.started_at <= run.started_at < other.ends_at and gate(other) == gate(run)
            ]
            most[gate(run)] = max(most[gate(run)], len(beside))
        assert max(most.values()) <= (6 if gate(played.ended[0]) is True else 3)


def test_a_wide_pace_leaves_no_slot_idle_and_moves_waits_by_little() -> None:
    means, lasts = [], []
    for window in (0.0, 1.0):
        fleet = fleet_of(clients=4, slots=8)
        fill(fleet, random.Random(5), 400)
        played = Played(fleet, window=window).play()
        means.append(sum(map(played.started, played.ended)) / len(played.ended))
        lasts.append(max(run.ends_at for run in played.ended) - NOW)
    assert means[1] == pytest.approx(means[0], rel=0.01)
    assert lasts[1] == pytest.approx(lasts[0], rel=0.02)


def test_waits_behind_one_slot_are_as_lindleys_recursion_says() -> None:
    rng = random.Random(11)
    gaps, runs = [rng.expovariate(0.7) for _ in range(300)], [rng.uniform(0.1, 1.9) for _ in range(300)]
    fleet = fleet_of(slots=1, clients=1)
    played, lane = Played(fleet), fleet.lane(key())
    moment, expected, wait = NOW, [], 0.0
    for seq, (gap, seconds) in enumerate(zip(gaps, runs, strict=True)):
        moment += timedelta(seconds=gap)
        wait = max(0.0, wait - gap) if seq else 0.0
        expected.append(wait)
        wait += seconds
        first = msgspec.structs.replace(head(seq, units=0), aged_from=moment)
        one = Work(head=first, seconds=seconds, used=0, ready_at=moment)
        played.clock.at(moment, partial(add, fleet, lane, one))
    played.play()
    waits = [(run.started_at - run.work.ready_at) / SECOND for run in played.ended]
    assert waits == pytest.approx(expected, abs=0.005)


def add(fleet: VirtualFleet, lane: VirtualLane, one: Work, _: datetime) -> None:
    fleet.add(lane, one)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_fleet_made_from_a_snapshot_decides_as_the_snapshot_does(seed: int) -> None:
    found = msgspec.structs.replace(random_snapshot(random.Random(seed)), idle=True)
    idle = msgspec.structs.replace(
        found,
        lanes=tuple(msgspec.structs.replace(one, complete=True) for one in found.lanes),
        clients={name: msgspec.structs.replace(gate, running=0) for name, gate in found.clients.items()},
        workers={name: msgspec.structs.replace(gate, running=0) for name, gate in found.workers.items()},
        usage={name: msgspec.structs.replace(gate, running=0) for name, gate in found.usage.items()},
    )
    fleet = VirtualFleet.of(idle, NOW)
    for lane in idle.lanes:
        there = fleet.lane(lane_key(lane), lane.id)
        for one in lane.heads:
            fleet.add(there, Work(head=one, seconds=1.0, used=None, ready_at=NOW))
    same = len({lane_key(lane) for lane in idle.lanes}) == len(idle.lanes)
    if same:
        assert order(fleet.plan(NOW)[1]) == order(plan(idle, NOW))


def order(decision: Decision) -> list[tuple[int, int, str]]:
    return [(start.lane.id, start.head.seq, start.by) for start in decision.starts]


def lane_key(lane: Lane) -> LaneKey:
    return LaneKey(
        lane.hops,
        lane.worker,
        lane.queue,
        lane.client_id,
        lane.urgency,
        lane.further_pools,
        lane.local,
        lane.alone,
    )


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 300), st.integers(0, 500), st.integers(-50, 100), st.floats(0, 20))
def test_an_end_gives_back_what_settle_gives_back(units: int, used: int, level: int, seconds: float) -> None:
    gate = pool(capacity=100, level_micro=level * buckets.MICRO, refill_per_second=7)
    fleet = fleet_of(gate)
    run = VirtualRun(
        work=work(1, units=units, used=used),
        lane=VirtualLane(1, key()),
        hop=hop(),
        units=units,
        seq=1,
        by="fair",
        planned_at=NOW,
        started_at=NOW,
        ends_at=NOW + timedelta(seconds=seconds),
    )
    fleet.quotas.add(quota_of(client_id(0), "a", quota(10_000, 400)), "UTC")
    fleet.run(run)
    fleet.usage[client_id(0), "a"].usage = 40.0
    fleet.end(run, run.ends_at)
    changes, owner = UnitChanges(), ClientId(client_id(0))
    changes.settle(
        owner,
        Run(
            job_id=JobId(head(1).job_id),
            token=head(1).job_id,
            attempt=1,
            hop=hop(),
            units=units,
            has_quota=True,
            started_at=NOW,
        ),
        used,
    )
    elapsed = math.floor((run.ends_at - NOW) / timedelta(microseconds=1))
    settled = level * buckets.MICRO + changes.pools["a"].units * buckets.MICRO + 7 * elapsed
    assert fleet.pools["a"].at(run.ends_at).level_micro == max(
        -100 * buckets.MICRO, min(100 * buckets.MICRO, settled)
    )
    assert fleet.usage[client_id(0), "a"].usage == max(0, 40 + changes.usage[owner, "a"])
    (left,) = fleet.quotas.at(NOW)[client_id(0), "a"]
    assert left.units_used == max(0, 400 + changes.quotas[owner, "a", NOW])


def test_an_unknown_use_keeps_its_estimate_taken() -> None:
    fleet = fleet_of(pool(capacity=100, level_micro=100 * buckets.MICRO, refill_per_second=0))
    fleet.add(fleet.lane(key()), work(1, units=30, used=None))
    Played(fleet).play()
    assert fleet.pools["a"].level_micro == 70 * buckets.MICRO
    assert VirtualPool(pool(), NOW).at(NOW) == pool()
