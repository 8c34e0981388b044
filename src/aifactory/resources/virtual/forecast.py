"""When each waiting job starts: the fleet as it is, run on in virtual time by the policy itself. Pure.

The policy is the real one; what is supposed are the things that nobody knows yet: how long runs take and what
they use (as the pool's latest did), what executions still have to come (as many jobs as they hold money for,
in the same lane, begun work first), and jobs deeper than was loaded (like the mean of their lane's heads).
No arrivals are supposed. What lies beyond the run is continued at its lane's rate.
"""

import math
import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from uuid import UUID

import msgspec

from aifactory.resources.gates import Head, Lane, Snapshot
from aifactory.resources.interface import Hop
from aifactory.resources.policy import GUARD_EVERY
from aifactory.resources.virtual.clock import Clock
from aifactory.resources.virtual.fleet import VirtualFleet
from aifactory.resources.virtual.lanes import LaneKey, VirtualLane, Work
from aifactory.resources.virtual.runs import VirtualRun

MOST_STARTS, MOST_PLANS = 2000, 400
NARROWEST = timedelta(milliseconds=500)
_WINDOW = 0.25  #: of a run: what ends in this time one plan decides on; a slot is lent once in it
_SURE, _SPREAD = 0.15, 1.28


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

    ``depths``: how many jobs wait in each lane. ``executions``: of a job that waits or runs, its execution;
    ``to_come``: of an execution, how many jobs it has still to open.
    """

    snapshot: Snapshot
    runs: Sequence[RunNow] = ()
    depths: Mapping[int, int] = {}
    habits: Mapping[str, Habit] = {}
    executions: Mapping[UUID, UUID] = {}
    to_come: Mapping[UUID, int] = {}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """When a job starts, between which bounds, and its place in its pool; ``basis``: how that was found."""

    starts_at: datetime
    earliest: datetime
    latest: datetime
    place: int
    exact: bool
    basis: str


class _Seat(msgspec.Struct, gc=False):
    """A queued job of today: its lane, and how many were ahead of it there."""

    lane_id: int
    ahead: int


class Forecast:
    """A bounded run from now on; ``step`` until it is False, then ask for places."""

    def __init__(
        self, known: Known, now: datetime, *, most_starts: int = MOST_STARTS, most_plans: int = MOST_PLANS
    ) -> None:
        self.now = now
        self.known = known
        self.most_starts, self.most_plans = most_starts, most_plans
        self.starts: dict[int, list[tuple[datetime, int]]] = {}
        self.pool_of: dict[int, str] = {}
        self._started: dict[str, list[datetime]] = {}
        self._seats: dict[UUID, int] = {}
        self.places: dict[str, int] = {}
        self.complete = False
        self._count = 0
        self._random = random.Random(1)
        self._numbers = count(2**127)
        self._to_come = dict(known.to_come)
        self._open: dict[UUID, int] = {}
        self._unseen: dict[int, int] = {}
        self._follow: dict[int, float] = {}
        self._chunk = max(4, math.ceil(2 * self._slots() / max(1, len(known.snapshot.lanes))))
        self.fleet = self._fleet()
        self.clock = Clock(self.fleet, now, on_end=self._ended)
        self.clock.window = timedelta(seconds=_WINDOW * self._mean_seconds())
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
            key = LaneKey(
                hops=lane.hops,
                worker=lane.worker,
                queue=lane.queue,
                client_id=lane.client_id,
                urgency=lane.urgency,
                further_pools=lane.further_pools,
                local=lane.local,
                alone=lane.alone,
            )
            queued = fleet.lane(key, lane.id)
            for ahead, head in enumerate(lane.heads):
                fleet.add(queued, self._work(head, lane.hops[0].pool, _Seat(lane_id=lane.id, ahead=ahead)))
                self._note_open(head.job_id)
                self._seats[head.job_id] = ahead
            self._follow[lane.id] = self._to_come_of(lane) / max(1, len(lane.heads))
            self._unseen[lane.id] = max(0, self.known.depths.get(lane.id, 0) - len(lane.heads))
            self._deepen(fleet, queued)
        for number, run in enumerate(self.known.runs):
            if run.hop.pool in snapshot.pools:
                self._run(fleet, run, -1 - number)
        return fleet

    def _to_come_of(self, lane: Lane) -> int:
        known = self.known
        executions = {known.executions.get(head.job_id) for head in lane.heads}
        return sum(known.to_come.get(execution, 0) for execution in executions if execution)

    def _made_up(self) -> UUID:
        """Return an id that no real job has."""
        return UUID(int=next(self._numbers))

    def _work(self, head: Head, pool: str, seat: _Seat | None) -> Work:
        habit = self._habit(pool)
        return Work(
            head=head,
            seconds=self._seconds(habit),
            used=None if habit.used is None else round(head.units * habit.used),
            ready_at=self.now,
            owner=seat,
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

    def _deepen(self, fleet: VirtualFleet, lane: VirtualLane) -> None:
        """Queue jobs like the loaded ones behind them, as far as they are counted and soon wanted."""
        missing = min(self._unseen.get(lane.id, 0), self._chunk - len(lane))
        if missing <= 0:
            return
        heads = next(one.heads for one in self.known.snapshot.lanes if one.id == lane.id)
        ahead = self.known.depths[lane.id] - self._unseen[lane.id]
        mean = round(sum(head.units for head in heads) / len(heads))
        for place in range(ahead, ahead + missing):
            head = msgspec.structs.replace(
                heads[-1], job_id=self._made_up(), seq=heads[-1].seq + place, units=mean
            )
            fleet.add(lane, self._work(head, lane.key.hops[0].pool, _Seat(lane_id=lane.id, ahead=place)))
        self._unseen[lane.id] -= missing

    # What follows a run.

    def _note_open(self, job_id: UUID) -> None:
        execution = self.known.executions.get(job_id)
        if execution is not None:
            self._open[execution] = self._open.get(execution, 0) + 1

    def _ended(self, run: VirtualRun, now: datetime) -> None:
        """Queue what an execution has still to come when the last of its known jobs has ended."""
        for place in range(self._follow_ups(run)):
            head = msgspec.structs.replace(run.work.head, job_id=self._made_up(), seq=place)
            self.fleet.add(run.lane, self._work(head, run.hop.pool, None))

    def _follow_ups(self, run: VirtualRun) -> int:
        """Return how many jobs a run's end opens; of a job that was not loaded, as its lane's heads would."""
        execution = self.known.executions.get(run.work.head.job_id)
        if execution is None:
            return int(self._follow.get(run.lane.id, 0.0) + self._random.random()) if run.work.owner else 0
        self._open[execution] -= 1
        return 0 if self._open[execution] > 0 else self._to_come.pop(execution, 0)

    # Running on.

    def step(self) -> bool:
        """Decide once more; False when all has started, or enough."""
        if self._count >= self.most_starts or self.clock.ticks >= self.most_plans:
            return False
        tick = self.clock.step()
        if tick is None:
            self.complete = True
            return False
        for run in tick.runs:
            self._count += 1
            if isinstance(seat := run.work.owner, _Seat):
                place = self.places[run.hop.pool] = self.places.get(run.hop.pool, 0) + 1
                self._started.setdefault(run.hop.pool, []).append(run.started_at)
                self.starts.setdefault(seat.lane_id, []).append((run.started_at, place))
                self.pool_of[seat.lane_id] = run.hop.pool
                self._deepen(self.fleet, run.lane)
        return True

    # What came of it.

    def pace(self, pool: str | None) -> float | None:
        """Return how many jobs of today a pool starts a second; None: it starts none, or all at once."""
        span = (self.clock.now - self.now).total_seconds()
        started = self.places.get(pool or "", 0)
        return started / span if started and span > 0 else None

    def place(
        self, lane_id: int, ahead: int, *, job_id: UUID | None = None, bounded: bool = True
    ) -> Place | None:
        """Return when a job of a lane starts that has so many ahead of it there, if that can be told.

        ``ahead``: as of the forecast's beginning, unless it knows the job itself. ``bounded``: its gate opens
        by itself, so that the guard comes to it.
        """
        ahead = self._seats.get(job_id, ahead) if job_id else ahead
        starts = self.starts.get(lane_id, ())
        if ahead < len(starts):
            at, place = starts[ahead]
            return self._told(lane_id, at, place, exact=True, basis="simulated")
        span = (self.clock.now - self.now).total_seconds()
        if starts and span > 0:
            return self._extrapolated(lane_id, starts, ahead, span)
        return self._guarded(lane_id, ahead, span) if bounded else None

    def place_at(
        self, now: datetime, lane_id: int, ahead: int, *, job_id: UUID, bounded: bool = True
    ) -> Place | None:
        """Return the same for a job that has so many ahead of it now, if all has gone as was foreseen."""
        gone = sum(at <= now for at, _ in self.starts.get(lane_id, ())) if now > self.now else 0
        found = self.place(lane_id, ahead + gone, job_id=job_id, bounded=bounded)
        if found is None:
            return None
        pool = self.pool_of.get(lane_id, "")
        gone = sum(at <= now for at in self._started.get(pool, ())) if now > self.now else 0
        return msgspec.structs.replace(
            found,
            starts_at=max(now, found.starts_at),
            earliest=max(now, found.earliest),
            latest=max(now, found.latest),
            place=max(1, found.place - gone),
        )

    def _extrapolated(
        self, lane_id: int, starts: Sequence[tuple[datetime, int]], ahead: int, span: float
    ) -> Place:
        half = self.now + timedelta(seconds=span / 2)
        late = sum(at >= half for at, _ in starts)
        rate = late / (span / 2) if late >= 2 else len(starts) / span
        seconds = span + (ahead + 1 - len(starts)) / rate
        pool_rate = self.places[self.pool_of[lane_id]] / span
        place = self.places[self.pool_of[lane_id]] + math.ceil((seconds - span) * pool_rate)
        at = self.now + timedelta(seconds=seconds)
        return self._told(lane_id, at, place, exact=False, basis="extrapolated")

    def _guarded(self, lane_id: int, ahead: int, span: float) -> Place | None:
        lane = next((one for one in self.known.snapshot.lanes if one.id == lane_id), None)
        pool = lane.hops[0].pool if lane else ""
        started = self.places.get(pool, 0)
        if not started or span <= 0:
            return None
        clients = {one.client_id for one in self.known.snapshot.lanes if one.hops[0].pool == pool}
        starts = GUARD_EVERY * len(clients) * (ahead + 1)
        at = self.now + timedelta(seconds=starts * span / started)
        told = self._told(lane_id, at, starts, exact=False, basis="guard_bound")
        return msgspec.structs.replace(told, earliest=self.now, latest=at)

    def _told(self, lane_id: int, at: datetime, place: int, *, exact: bool, basis: str) -> Place:
        """Return a place with its band: a share of the wait for what is supposed, more with few runs."""
        variation = self._habit(self.pool_of.get(lane_id, "")).variation
        share = _SURE + _SPREAD * variation / math.sqrt(max(1, place - 1))
        half = max(NARROWEST, (at - self.now) * share)
        return Place(
            starts_at=at,
            earliest=max(self.now, at - half),
            latest=at + half,
            place=place,
            exact=exact,
            basis=basis,
        )
