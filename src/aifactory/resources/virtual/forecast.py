"""When each waiting job starts: the fleet as it is, run on in virtual time by the policy itself. Pure.

The policy is the real one; what is supposed are the things that nobody knows yet: how long runs take and what
they use (as the pool's latest did), what executions still have to come (as many jobs as they hold money for,
in the same lane, begun work first), what arrives (about as fast as of late), and jobs deeper than was loaded
(like the mean of their lane's heads). What lies beyond the run ``foreseen`` continues.
"""

import math
import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import count, islice
from uuid import UUID

import msgspec

from aifactory.resources.admission import Admission
from aifactory.resources.gates import Head, Lane
from aifactory.resources.virtual.arrivals import Arrivals
from aifactory.resources.virtual.clock import Clock
from aifactory.resources.virtual.coming import Arrived
from aifactory.resources.virtual.fleet import VirtualFleet
from aifactory.resources.virtual.foreseen import Crowd, Foreseen
from aifactory.resources.virtual.known import Known, RunNow
from aifactory.resources.virtual.lanes import LaneKey, VirtualLane
from aifactory.resources.virtual.runs import VirtualRun
from aifactory.resources.virtual.supposed import Execution, Part, Supposed

MOST_STARTS, MOST_PLANS = 4000, 400
_WINDOW = 0.1  #: of a run: what ends in this time one plan decides on; a slot is lent once in it
_FIRST_SEQ = -(10**15)  #: of what follows or comes: no two of them, nor of what waits, are equal in order
_COMING_LANES = -(10**9)  #: ids of lanes in which nothing waits yet, below those of runs


class Forecast:
    """A bounded run from now on; ``step`` until it is False, then ask what was ``found``."""

    def __init__(
        self, known: Known, now: datetime, *, most_starts: int = MOST_STARTS, most_plans: int = MOST_PLANS
    ) -> None:
        self.known, self.now = known, now
        self.most_starts, self.most_plans = most_starts, most_plans
        self.complete = False
        self._count = 0
        self._supposed = Supposed(known, now)
        self._seqs = count(_FIRST_SEQ)
        self._coming_lanes: dict[LaneKey, int] = {}
        self._backlog = _Backlog(known, self._supposed)
        self.fleet = self._fleet()
        self.found = self._foreseen()
        self._arrivals = Arrivals(known.coming, known.snapshot, now, self._come)
        self.clock = self._clock()

    # The fleet as it is.

    def _fleet(self) -> VirtualFleet:
        snapshot, runs = self.known.snapshot, self.known.runs
        busy = {local: sum(run.key.local is local for run in runs) for local in (True, False)}
        whole = msgspec.structs.replace(
            snapshot, slots=snapshot.slots + busy[False], local_slots=snapshot.local_slots + busy[True]
        )
        fleet = VirtualFleet.of(whole, self.now)
        for lane in snapshot.lanes:
            self._backlog.fill(fleet, fleet.lane(_key_of(lane), lane.id), lane)
        for number, (run, left) in enumerate(zip(runs, self._supposed.left(runs), strict=True)):
            if run.hop.pool in snapshot.pools:
                self._run(fleet, run, left, -1 - number)
        return fleet

    def _foreseen(self) -> Foreseen:
        """Return where starts are noted, which knows the lanes and pools as they are now."""
        known, snapshot = self.known, self.known.snapshot
        admission = Admission(snapshot, self.now)
        pool_of = {lane.id: (admission.choose_hop(lane)[0] or lane.hops[0]).pool for lane in snapshot.lanes}
        most = known.counted or math.inf
        return Foreseen(
            self.now,
            lanes={lane.id: (lane.client_id, pool_of[lane.id]) for lane in snapshot.lanes},
            crowds=_crowds(known, pool_of, self._backlog.follow),
            seats={head.job_id: ahead for lane in snapshot.lanes for ahead, head in enumerate(lane.heads)},
            variation={"": known.habit("").variation}
            | {pool: habit.variation for pool, habit in known.habits.items()},
            depths={lane_id: jobs for lane_id, jobs in known.depths.items() if jobs < most},
        )

    def _clock(self) -> Clock:
        snapshot = self.known.snapshot
        clock = Clock(self.fleet, self.now, on_end=self._ended)
        pools = {lane.hops[0].pool for lane in snapshot.lanes}
        seconds = min((self.known.habit(pool).seconds for pool in pools), default=1.0)
        clock.window = timedelta(seconds=_WINDOW * seconds)
        clock.feed(islice(self._arrivals.evenly(), self.most_starts))  # no more than the run may start
        for gate in snapshot.providers.values():
            if gate.opens_at is not None and gate.active:
                clock.at(max(self.now, gate.opens_at), partial(self._recover, gate.provider))
        return clock

    def _run(self, fleet: VirtualFleet, run: RunNow, left: float, seq: int) -> None:
        """Have a run that is under way, and ends in so many seconds."""
        head = Head(job_id=run.job_id, aged_from=run.aged_from, seq=0, units=run.units)
        part = Part(self._supposed.execution_of(run.job_id))
        fleet.run(
            VirtualRun(
                work=self._supposed.work(head, run.key.client_id, run.hop.pool, part),
                lane=fleet.lane(run.key, seq),  # below the ids of real lanes
                hop=run.hop,
                units=run.units,
                seq=seq,
                by="",
                planned_at=run.started_at,
                started_at=run.started_at,
                ends_at=self.now + timedelta(seconds=left),
            )
        )

    def _recover(self, provider: str, _: datetime) -> None:
        """Take a circuit's probe to succeed."""
        gate = self.fleet.providers[provider]
        self.fleet.providers[provider] = msgspec.structs.replace(gate, opens_at=None, probes=0)

    # What comes, and what follows a run.

    def _come(self, sent: Arrived, now: datetime) -> None:
        """Queue an execution that comes."""
        lane_id = self._coming_lanes.setdefault(sent.key, _COMING_LANES - len(self._coming_lanes))
        lane, part = self.fleet.lane(sent.key, lane_id), Part(Execution(sent.jobs, sent.follow))
        for _ in range(sent.jobs):
            head = Head(
                job_id=self._supposed.next_id(), aged_from=now, seq=next(self._seqs), units=sent.units
            )
            self.fleet.add(
                lane, self._supposed.work(head, sent.key.client_id, sent.key.hops[0].pool, part, now)
            )

    def _ended(self, run: VirtualRun, now: datetime) -> None:
        """Queue what an execution has still to come when its known jobs have ended, or the next."""
        self.found.ends.append((now, run.lane.key))
        assert isinstance(run.work.owner, Part)
        execution = run.work.owner.execution
        execution.open -= 1
        if execution.open > 0:
            return
        execution.open, execution.follow = execution.follow, 0
        for _ in range(execution.open):
            job_id, seq = self._supposed.next_id(), next(self._seqs)
            head = msgspec.structs.replace(run.work.head, job_id=job_id, seq=seq)
            work = self._supposed.work(head, run.lane.key.client_id, run.hop.pool, Part(execution), now)
            self.fleet.add(run.lane, work)
        if execution.open == 0:
            self._arrivals.at_end(run.lane.key.client_id, now)

    # Running on.

    def step(self) -> bool:
        """Decide once more; False when all has started, or enough."""
        left = self._backlog.left
        if left <= 0 or self._count >= self.most_starts or self.clock.ticks >= self.most_plans:
            self.complete = left <= 0
            return False
        tick = self.clock.step()
        if tick is None:
            return False
        for run in tick.runs:
            self._count += 1
            self.found.note_any(run.lane.id, run.work.ready_at, run.started_at)
            assert isinstance(run.work.owner, Part)
            lane_id = run.work.owner.lane_id
            if lane_id is not None:
                self.found.note(lane_id, run.hop.pool, run.started_at)
                self._backlog.started(self.fleet, run.lane, lane_id)
        self.found.until = self.clock.now
        return True


class _Backlog:
    """The jobs that wait as a forecast begins: the loaded ones, and behind them such as they are.

    ``left``: how many of them have not started yet. ``follow``: of a job of each lane, how many follow it.
    """

    def __init__(self, known: Known, supposed: Supposed) -> None:
        self._known, self._supposed = known, supposed
        self._lanes = {lane.id: lane for lane in known.snapshot.lanes}
        self._random = random.Random(1)
        self._seated: dict[int, int] = {}
        self._unseen: dict[int, int] = {}
        self.follow: dict[int, float] = {}
        self.left = 0
        slots = known.snapshot.slots + known.snapshot.local_slots + len(known.runs)
        self._chunk = max(4, math.ceil(2 * slots / max(1, len(self._lanes))))

    def fill(self, fleet: VirtualFleet, queued: VirtualLane, lane: Lane) -> None:
        """Queue a lane's jobs."""
        known, supposed = self._known, self._supposed
        for head in lane.heads:
            part = Part(supposed.execution_of(head.job_id), lane.id)
            fleet.add(queued, supposed.work(head, lane.client_id, lane.hops[0].pool, part))
        executions = {known.execution_of(head.job_id) for head in lane.heads}
        to_come = sum(known.to_come.get(one, 0) for one in executions)
        self.follow[lane.id] = to_come / max(1, len(lane.heads))
        self._seated[lane.id] = len(lane.heads)
        self._unseen[lane.id] = max(0, known.depths.get(lane.id, 0) - len(lane.heads))
        self.left += self._seated[lane.id] + self._unseen[lane.id]
        self._deepen(fleet, queued, lane)

    def started(self, fleet: VirtualFleet, queued: VirtualLane, lane_id: int) -> None:
        """Count a start, and queue what may start next behind it."""
        self.left -= 1
        self._seated[lane_id] -= 1
        self._deepen(fleet, queued, self._lanes[lane_id])

    def _deepen(self, fleet: VirtualFleet, queued: VirtualLane, lane: Lane) -> None:
        """Queue jobs like the loaded ones behind them, as far as they are counted and soon wanted."""
        missing = min(self._unseen[lane.id], self._chunk - self._seated[lane.id])
        if missing <= 0:
            return
        last, ahead = lane.heads[-1], self._known.depths[lane.id] - self._unseen[lane.id]
        mean = round(sum(head.units for head in lane.heads) / len(lane.heads))
        size = max(
            1, round(len(lane.heads) / len({self._known.execution_of(head.job_id) for head in lane.heads}))
        )
        part = Part(Execution(), lane.id)
        for place in range(ahead, ahead + missing):
            if part.execution.open == size:
                part = Part(Execution(), lane.id)
            if part.execution.open == 0:
                part.execution.follow = int(size * self.follow[lane.id] + self._random.random())
            part.execution.open += 1
            job_id = self._supposed.next_id()
            head = msgspec.structs.replace(last, job_id=job_id, seq=last.seq + place, units=mean)
            fleet.add(queued, self._supposed.work(head, lane.client_id, lane.hops[0].pool, part))
        self._unseen[lane.id] -= missing
        self._seated[lane.id] += missing


def _key_of(lane: Lane) -> LaneKey:
    return LaneKey(
        hops=lane.hops,
        worker=lane.worker,
        queue=lane.queue,
        client_id=lane.client_id,
        urgency=lane.urgency,
        further_pools=lane.further_pools,
        local=lane.local,
        alone=lane.alone,
    )


def _crowds(known: Known, pool_of: Mapping[int, str], to_come: Mapping[int, float]) -> dict[str, Crowd]:
    """Return what waits in each pool; ``to_come``: how many jobs follow one of a lane."""
    jobs: dict[str, float] = {}
    work: dict[str, dict[UUID, float]] = {}
    for lane in known.snapshot.lanes:
        pool, waiting = pool_of[lane.id], float(max(len(lane.heads), known.depths.get(lane.id, 0)))
        if known.counted is not None and waiting >= known.counted:
            waiting = math.inf
        jobs[pool] = jobs.get(pool, 0) + waiting
        there = work.setdefault(pool, {})
        there[lane.client_id] = there.get(lane.client_id, 0) + waiting * (1 + to_come[lane.id])
    for run in known.runs:
        there, execution = work.setdefault(run.hop.pool, {}), known.executions.get(run.job_id)
        follow = known.to_come.get(execution, 0) if execution else 0
        there[run.key.client_id] = there.get(run.key.client_id, 0) + follow
    return {pool: Crowd(jobs=jobs.get(pool, 0), work_of=there) for pool, there in work.items()}
