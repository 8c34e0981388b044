"""When each waiting job starts: the fleet as it is, run on in virtual time by the policy itself. Pure.

The policy is the real one; what is supposed are the things that nobody knows yet: how long runs take and what
they use (as the pool's latest did), what executions still have to come (as many jobs as they hold money for,
in the same lane, begun work first), what arrives (as fast as of late), and jobs deeper than was loaded (like
the mean of their lane's heads). What lies beyond the run ``foreseen`` continues.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import accumulate, count
from uuid import UUID

import msgspec

from aifactory.resources.admission import Admission
from aifactory.resources.gates import Head, Lane, Snapshot
from aifactory.resources.interface import Hop
from aifactory.resources.virtual.clock import Action, Clock
from aifactory.resources.virtual.coming import Coming
from aifactory.resources.virtual.fleet import VirtualFleet
from aifactory.resources.virtual.foreseen import Crowd, Foreseen
from aifactory.resources.virtual.lanes import LaneKey, VirtualLane, Work
from aifactory.resources.virtual.runs import VirtualRun

MOST_STARTS, MOST_PLANS = 4000, 400
_WINDOW = 0.25  #: of a run: what ends in this time one plan decides on; a slot is lent once in it
_COMING_LANES = -(10**9)  #: ids of lanes in which nothing waits yet, below those of runs


class Habit(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool's latest runs were: mean seconds, their variation (σ ÷ mean), used ÷ estimate."""

    seconds: float = 5.0
    variation: float = 1.0
    used: float | None = None


class RunNow(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is under way."""

    job_id: UUID
    key: LaneKey
    hop: Hop
    units: int
    aged_from: datetime
    started_at: datetime


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a forecast begins with. The snapshot's running jobs are ``runs``; its slots are the free ones.

    ``depths``: how many jobs wait in each lane, counted up to ``counted``. ``executions``: of a job that
    waits or runs, its execution; ``to_come``: of an execution, how many jobs it has still to open.
    """

    snapshot: Snapshot
    runs: Sequence[RunNow] = ()
    depths: Mapping[int, int] = {}
    counted: int | None = None
    habits: Mapping[str, Habit] = {}
    executions: Mapping[UUID, UUID] = {}
    to_come: Mapping[UUID, int] = {}
    coming: Sequence[Coming] = ()


class _Seat(msgspec.Struct, gc=False):
    """A queued job of today, in its lane; in what comes and follows, nobody sits."""

    lane_id: int


class _Came(msgspec.Struct, gc=False):
    """A job that has come meanwhile, and how many follow it."""

    follow: float


class Forecast:
    """A bounded run from now on; ``step`` until it is False, then ask what was ``found``."""

    def __init__(
        self, known: Known, now: datetime, *, most_starts: int = MOST_STARTS, most_plans: int = MOST_PLANS
    ) -> None:
        self.now = now
        self.known = known
        self.most_starts, self.most_plans = most_starts, most_plans
        self.complete = False
        self._lanes = {lane.id: lane for lane in known.snapshot.lanes}
        self._count = 0
        self._random = random.Random(1)
        self._numbers = count(2**127)
        self._to_come = dict(known.to_come)
        self._open: dict[UUID, int] = {}
        self._seated: dict[int, int] = {}
        self._unseen: dict[int, int] = {}
        self._follow: dict[int, float] = {}
        self._chunk = max(4, math.ceil(2 * self._slots() / max(1, len(self._lanes))))
        self.fleet = self._fleet()
        self.found = self._foreseen()
        most = known.counted or math.inf
        self.found.depths = {lane_id: jobs for lane_id, jobs in known.depths.items() if jobs < most}
        self._left = sum(self._seated.values()) + sum(self._unseen.values())
        self.clock = Clock(self.fleet, now, on_end=self._ended)
        self.clock.window = timedelta(seconds=_WINDOW * self._mean_seconds())
        self.clock.feed(self._arrivals())
        for gate in known.snapshot.providers.values():
            if gate.opens_at is not None and gate.active:
                self.clock.at(max(now, gate.opens_at), partial(self._recover, gate.provider))

    # The fleet as it is.

    def _slots(self) -> int:
        return self.known.snapshot.slots + self.known.snapshot.local_slots + len(self.known.runs)

    def _mean_seconds(self) -> float:
        pools = {lane.hops[0].pool for lane in self.known.snapshot.lanes}
        return min((self._habit(pool).seconds for pool in pools), default=1.0)

    def _habit(self, pool: str) -> Habit:
        return self.known.habits.get(pool) or self.known.habits.get("") or Habit()

    def _fleet(self) -> VirtualFleet:
        snapshot = self.known.snapshot
        busy = {local: sum(run.key.local is local for run in self.known.runs) for local in (True, False)}
        whole = msgspec.structs.replace(
            snapshot, slots=snapshot.slots + busy[False], local_slots=snapshot.local_slots + busy[True]
        )
        fleet = VirtualFleet.of(whole, self.now)
        for lane in snapshot.lanes:
            queued = fleet.lane(_key_of(lane), lane.id)
            for head in lane.heads:
                fleet.add(queued, self._work(head, lane.hops[0].pool, _Seat(lane_id=lane.id)))
                self._note_open(head.job_id)
            self._seated[lane.id] = len(lane.heads)
            self._follow[lane.id] = self._to_come_of(lane) / max(1, len(lane.heads))
            self._unseen[lane.id] = max(0, self.known.depths.get(lane.id, 0) - len(lane.heads))
            self._deepen(fleet, queued, lane)
        for number, run in enumerate(self.known.runs):
            if run.hop.pool in snapshot.pools:
                self._run(fleet, run, -1 - number)
        return fleet

    def _foreseen(self) -> Foreseen:
        """Return where starts are noted, which knows the lanes and pools as they are now."""
        snapshot = self.known.snapshot
        admission = Admission(snapshot, self.now)
        pool_of = {lane.id: (admission.choose_hop(lane)[0] or lane.hops[0]).pool for lane in snapshot.lanes}
        return Foreseen(
            self.now,
            lanes={lane.id: (lane.client_id, pool_of[lane.id]) for lane in snapshot.lanes},
            crowds=_crowds(self.known, pool_of, self._follow),
            seats={head.job_id: ahead for lane in snapshot.lanes for ahead, head in enumerate(lane.heads)},
            variation={"": self._habit("").variation}
            | {pool: habit.variation for pool, habit in self.known.habits.items()},
        )

    def _to_come_of(self, lane: Lane) -> int:
        known = self.known
        executions = {known.executions.get(head.job_id) for head in lane.heads}
        return sum(known.to_come.get(execution, 0) for execution in executions if execution)

    def _made_up(self) -> UUID:
        """Return an id that no real job has."""
        return UUID(int=next(self._numbers))

    def _work(self, head: Head, pool: str, owner: _Seat | _Came | None) -> Work:
        habit = self._habit(pool)
        return Work(
            head=head,
            seconds=self._seconds(habit),
            used=None if habit.used is None else round(head.units * habit.used),
            ready_at=self.now,
            owner=owner,
        )

    def _seconds(self, habit: Habit) -> float:
        """Draw a run's seconds: log-normal, as answers of models are."""
        if habit.variation <= 0:
            return habit.seconds
        sigma = math.sqrt(math.log1p(habit.variation**2))
        return habit.seconds * math.exp(sigma * self._random.gauss(0, 1) - sigma**2 / 2)

    def _run(self, fleet: VirtualFleet, run: RunNow, seq: int) -> None:
        """Have a run that is under way end when such runs do, or a quarter of that from now on."""
        habit = self._habit(run.hop.pool)
        elapsed = (self.now - run.started_at).total_seconds()
        left = max(self._seconds(habit) - elapsed, self._seconds(habit) / 4)
        head = Head(job_id=run.job_id, aged_from=run.aged_from, seq=0, units=run.units)
        work = self._work(head, run.hop.pool, None)
        self._note_open(run.job_id)
        fleet.run(
            VirtualRun(
                work=work,
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

    def _deepen(self, fleet: VirtualFleet, queued: VirtualLane, lane: Lane) -> None:
        """Queue jobs like the loaded ones behind them, as far as they are counted and soon wanted."""
        missing = min(self._unseen[lane.id], self._chunk - self._seated[lane.id])
        if missing <= 0:
            return
        last, ahead = lane.heads[-1], self.known.depths[lane.id] - self._unseen[lane.id]
        mean = round(sum(head.units for head in lane.heads) / len(lane.heads))
        for place in range(ahead, ahead + missing):
            head = msgspec.structs.replace(last, job_id=self._made_up(), seq=last.seq + place, units=mean)
            fleet.add(queued, self._work(head, lane.hops[0].pool, _Seat(lane_id=lane.id)))
        self._unseen[lane.id] -= missing
        self._seated[lane.id] += missing

    # What comes, and what follows a run.

    def _arrivals(self) -> Iterator[tuple[datetime, Action]]:
        """Have work come as it has of late, no more of it than the run may start."""
        snapshot, now = self.known.snapshot, self.now
        coming = [one for one in self.known.coming if _has_gates(one.key, snapshot)]
        rates = list(accumulate(one.a_second for one in coming))
        for number in range(self.most_starts if rates and rates[-1] > 0 else 0):
            now += timedelta(seconds=self._random.expovariate(rates[-1]))
            one = self._random.choices(range(len(coming)), cum_weights=rates)[0]
            yield now, partial(self._come, coming[one], _COMING_LANES - one, number)

    def _come(self, coming: Coming, lane_id: int, number: int, now: datetime) -> None:
        head = Head(job_id=self._made_up(), aged_from=now, seq=number, units=coming.units)
        lane = self.fleet.lane(coming.key, lane_id)
        self.fleet.add(lane, self._work(head, coming.key.hops[0].pool, _Came(follow=coming.follow)))

    def _note_open(self, job_id: UUID) -> None:
        execution = self.known.executions.get(job_id)
        if execution is not None:
            self._open[execution] = self._open.get(execution, 0) + 1

    def _ended(self, run: VirtualRun, now: datetime) -> None:
        """Queue what an execution has still to come when the last of its known jobs has ended."""
        self.found.ends.append((now, run.lane.key))
        for place in range(self._follow_ups(run)):
            head = msgspec.structs.replace(run.work.head, job_id=self._made_up(), seq=place)
            self.fleet.add(run.lane, self._work(head, run.hop.pool, None))

    def _follow_ups(self, run: VirtualRun) -> int:
        """Return how many jobs a run's end opens; of a job that was not loaded, as its lane's heads would."""
        execution = self.known.executions.get(run.work.head.job_id)
        if execution is None:
            owner = run.work.owner
            follow = owner.follow if isinstance(owner, _Came) else 0.0
            if isinstance(owner, _Seat):
                follow = self._follow.get(owner.lane_id, 0.0)
            return int(follow + self._random.random())
        self._open[execution] -= 1
        return 0 if self._open[execution] > 0 else self._to_come.pop(execution, 0)

    # Running on.

    def step(self) -> bool:
        """Decide once more; False when all has started, or enough."""
        if self._left <= 0 or self._count >= self.most_starts or self.clock.ticks >= self.most_plans:
            self.complete = self._left <= 0
            return False
        tick = self.clock.step()
        if tick is None:
            return False
        for run in tick.runs:
            self._count += 1
            if isinstance(seat := run.work.owner, _Seat):
                self._left -= 1
                self._seated[seat.lane_id] -= 1
                self.found.note(seat.lane_id, run.hop.pool, run.started_at)
                self._deepen(self.fleet, run.lane, self._lanes[seat.lane_id])
        self.found.until = self.clock.now
        return True


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


def _has_gates(key: LaneKey, snapshot: Snapshot) -> bool:
    """Whether a snapshot has all gates of a lane that may have no work in it now."""
    pools = {hop.pool for hop in key.hops} | set(key.further_pools)
    there = key.client_id in snapshot.clients and key.worker in snapshot.workers
    return there and key.queue in snapshot.queues and pools <= snapshot.pools.keys()


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
