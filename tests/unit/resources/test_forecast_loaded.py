"""Starts foreseen in the middle of a loaded run, against those that come: other seconds and use, arrivals."""

import math
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from tests.unit.resources.snapshots import NOW, TIERS, client, client_id, hop, pool, snapshot

from aifactory.resources.buckets import MICRO
from aifactory.resources.gates import Head
from aifactory.resources.interface import Urgency
from aifactory.resources.virtual.clock import Action, Clock
from aifactory.resources.virtual.fleet import VirtualFleet
from aifactory.resources.virtual.forecast import Forecast
from aifactory.resources.virtual.habits import Habit
from aifactory.resources.virtual.known import Known, RunNow
from aifactory.resources.virtual.lanes import LaneKey, VirtualLane, Work
from aifactory.resources.virtual.runs import VirtualRun

SECONDS = {"a": 2.0, "b": 3.0}  # a is bound by units, b by slots
VARIATION, USED = 0.6, 0.4
FOLLOWING = 3


class Load:
    """Eight clients whose executions are one job and then three more; some come while it runs."""

    def __init__(self, seed: int, *, slots: int) -> None:
        self.random = random.Random(seed)
        pools = [pool("a", capacity=20_000, refill_per_second=700, level_micro=20_000 * MICRO), pool("b")]
        clients = [client(number, list(TIERS)[number % 4]) for number in range(8)]
        self.fleet = VirtualFleet.of(snapshot(pools=pools, clients=clients, slots=slots), NOW)
        self.clock = Clock(self.fleet, NOW, on_end=self.ended)
        self.execution_of: dict[UUID, UUID] = {}
        self.to_come: dict[UUID, int] = {}
        self.open: dict[UUID, int] = {}

    def submit(self, now: datetime) -> None:
        execution = UUID(int=10**9 + len(self.to_come))
        self.to_come[execution] = FOLLOWING
        urgency = self.random.choice([Urgency.NORMAL, Urgency.NORMAL, Urgency.HIGH])
        key = LaneKey(
            hops=(hop(self.random.choice("ab")),),
            worker="w",
            queue="normal" if urgency is Urgency.NORMAL else "fast",
            client_id=client_id(self.random.randrange(8)),
            urgency=urgency,
        )
        self.add(self.fleet.lane(key), execution, now)

    def add(self, lane: VirtualLane, execution: UUID, aged_from: datetime) -> None:
        number = len(self.execution_of)
        head = Head(
            job_id=UUID(int=10**6 + number),
            aged_from=aged_from,
            seq=number,
            units=self.random.randint(300, 900),
        )
        self.execution_of[head.job_id] = execution
        self.open[execution] = self.open.get(execution, 0) + 1
        sigma = math.sqrt(math.log1p(VARIATION**2))
        seconds = SECONDS[lane.key.hops[0].pool] * self.random.lognormvariate(-(sigma**2) / 2, sigma)
        used = round(head.units * min(1.0, max(0.05, self.random.gauss(USED, 0.15))))
        self.fleet.add(lane, Work(head=head, seconds=seconds, used=used, ready_at=aged_from, owner=execution))

    def ended(self, run: VirtualRun, _: datetime) -> None:
        execution = self.execution_of[run.work.head.job_id]
        self.open[execution] -= 1
        if self.open[execution] == 0:
            for _number in range(self.to_come[execution]):
                self.add(run.lane, execution, run.work.head.aged_from)
            self.to_come[execution] = 0

    def arrivals(self, every: float) -> Iterator[tuple[datetime, Action]]:
        now = NOW
        while True:
            now += timedelta(seconds=self.random.expovariate(1 / every))
            yield now, self.submit

    def known(self, now: datetime) -> Known:
        """What the database would tell now."""
        for lane in self.fleet.filled.values():
            lane.depth = 64
        found = self.fleet.snapshot(now)
        runs = [
            RunNow(
                job_id=run.work.head.job_id,
                key=run.lane.key,
                hop=run.hop,
                units=run.units,
                aged_from=run.work.head.aged_from,
                started_at=run.started_at,
            )
            for run in self.fleet.runs.values()
        ]
        jobs = [one.job_id for lane in found.lanes for one in lane.heads] + [run.job_id for run in runs]
        executions = {job: self.execution_of[job] for job in jobs}
        return Known(
            snapshot=found,
            runs=runs,
            depths={lane.id: len(self.fleet.filled[lane.id]) for lane in found.lanes},
            habits={
                name: Habit(seconds=seconds, variation=VARIATION, used=USED)
                for name, seconds in SECONDS.items()
            },
            executions=executions,
            to_come={one: self.to_come[one] for one in executions.values() if self.to_come[one]},
        )

    def run(self, until: datetime | None = None) -> dict[UUID, datetime]:
        """Go on until then or, without a time, until all that was known before has started."""
        began: dict[UUID, datetime] = {}
        waiting = {one.job_id for lane in self.known(self.clock.now).snapshot.lanes for one in lane.heads}
        while (until is None and not waiting <= began.keys()) or (until and self.clock.now < until):
            tick = self.clock.step(until)
            if tick is None:
                break
            began |= {run.work.head.job_id: run.started_at for run in tick.runs}
        return began


def test_four_of_five_starts_in_a_loaded_run_are_foreseen_within_thirty_percent_or_half_a_second() -> None:
    load = Load(1, slots=16)
    for _ in range(200):
        load.submit(NOW - timedelta(seconds=load.random.uniform(0, 60)))
    load.clock.feed(load.arrivals(3.3))
    load.run(NOW + timedelta(seconds=12))
    now = load.clock.now
    forecast = Forecast(load.known(now), now)
    lanes = load.known(now).snapshot.lanes
    while forecast.step():
        pass
    began = load.run()
    close = []
    for lane in lanes:
        for ahead, one in enumerate(lane.heads):
            told = forecast.found.place(lane.id, ahead)
            assert told is not None
            wait = (began[one.job_id] - now).total_seconds()
            foreseen = (told.starts_at - now).total_seconds()
            close.append(abs(foreseen - wait) <= max(0.3 * wait, 0.5))
    assert len(close) > 150
    assert sum(close) / len(close) >= 0.8
