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
from heapq import merge
from itertools import count, cycle, islice
from operator import itemgetter
from uuid import UUID

import msgspec

from aifactory.resources.admission import Admission
from aifactory.resources.gates import Head, Lane, Snapshot
from aifactory.resources.interface import Hop
from aifactory.resources.virtual.clock import Action, Clock
from aifactory.resources.virtual.coming import Coming
from aifactory.resources.virtual.fleet import VirtualFleet
from aifactory.resources.virtual.foreseen import Crowd, Foreseen
from aifactory.resources.virtual.habits import Habit
from aifactory.resources.virtual.lanes import LaneKey, VirtualLane, Work
from aifactory.resources.virtual.runs import VirtualRun

MOST_STARTS, MOST_PLANS = 4000, 400
_WINDOW = 0.1  #: of a run: what ends in this time one plan decides on; a slot is lent once in it
_GOLDEN = 0.618
_COMING_LANES = -(10**9)  #: ids of lanes in which nothing waits yet, below those of runs


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


class _Execution(msgspec.Struct, gc=False):
    """An execution: its open jobs, and how many follow when the last of them has ended."""

    open: int = 0
    follow: int = 0


class _Part(msgspec.Struct, frozen=True, gc=False):
    """What a job is of: its execution and, of one that waits today, its lane."""

    execution: _Execution
    lane_id: int | None = None


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
        self._numbers, self._seqs = count(2**127), count()
        self._executions: dict[UUID, _Execution] = {}
        self._coming = {one.client_id: one for one in _with_gates(known.coming, known.snapshot)}
        self._next_of = {client_id: cycle(one.sent) for client_id, one in self._coming.items()}
        self._coming_lanes: dict[LaneKey, int] = {}
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
                part = _Part(self._execution_of(head.job_id), lane.id)
                fleet.add(queued, self._work(head, lane.hops[0].pool, part))
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
        return sum(self.known.to_come.get(one, 0) for one in {self._known_of(head) for head in lane.heads})

    def _known_of(self, head: Head) -> UUID:
        """Return the id of a job's execution, if that was loaded, else its own."""
        return self.known.executions.get(head.job_id, head.job_id)

    def _made_up(self) -> UUID:
        """Return an id that no real job has."""
        return UUID(int=next(self._numbers))

    def _execution_of(self, job_id: UUID) -> _Execution:
        """Return the execution of a job of today, with that job open."""
        known = self.known.executions.get(job_id, job_id)
        found = self._executions.get(known)
        if found is None:
            follow = self.known.to_come.get(known, 0)
            found = self._executions[known] = _Execution(follow=follow)
        found.open += 1
        return found

    def _work(self, head: Head, pool: str, owner: _Part) -> Work:
        habit = self._habit(pool)
        return Work(
            head=head,
            seconds=habit.seconds,
            used=None if habit.used is None else round(head.units * habit.used),
            ready_at=self.now,
            owner=owner,
        )

    def _run(self, fleet: VirtualFleet, run: RunNow, seq: int) -> None:
        """Have a run that is under way end when such runs do, or a quarter of that from now on."""
        habit = self._habit(run.hop.pool)
        elapsed = (self.now - run.started_at).total_seconds()
        left = max(habit.seconds - elapsed, habit.seconds / 4)
        head = Head(job_id=run.job_id, aged_from=run.aged_from, seq=0, units=run.units)
        work = self._work(head, run.hop.pool, _Part(self._execution_of(run.job_id)))
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
        size = max(1, round(len(lane.heads) / len({self._known_of(head) for head in lane.heads})))
        part = _Part(_Execution(), lane.id)
        for place in range(ahead, ahead + missing):
            if part.execution.open == size:
                part = _Part(_Execution(), lane.id)
            if part.execution.open == 0:
                part.execution.follow = int(size * self._follow[lane.id] + self._random.random())
            part.execution.open += 1
            head = msgspec.structs.replace(last, job_id=self._made_up(), seq=last.seq + place, units=mean)
            fleet.add(queued, self._work(head, lane.hops[0].pool, part))
        self._unseen[lane.id] -= missing
        self._seated[lane.id] += missing

    # What comes, and what follows a run.

    def _arrivals(self) -> Iterator[tuple[datetime, Action]]:
        """Have work come as fast as of late, evenly, no more of it than the run may start."""
        sent = [self._sent(one, number) for number, one in enumerate(self._coming.values()) if one.a_second]
        return islice(merge(*sent, key=itemgetter(0)), self.most_starts)

    def _sent(self, coming: Coming, number: int) -> Iterator[tuple[datetime, Action]]:
        """Give a client's arrivals; clients of the same rate don't send at the same moments."""
        for place in count(_GOLDEN * (number + 1) % 1):
            at = self.now + timedelta(seconds=place / coming.a_second)
            yield at, partial(self._come, coming.client_id)

    def _come(self, client_id: UUID, now: datetime) -> None:
        """Have a client send an execution like its latest ones, in their order."""
        sent = next(self._next_of[client_id])
        lane_id = self._coming_lanes.setdefault(sent.key, _COMING_LANES - len(self._coming_lanes))
        lane, part = self.fleet.lane(sent.key, lane_id), _Part(_Execution(sent.jobs, sent.follow))
        for _ in range(sent.jobs):
            head = Head(job_id=self._made_up(), aged_from=now, seq=next(self._seqs), units=sent.units)
            work = self._work(head, sent.key.hops[0].pool, part)
            work.ready_at = now
            self.fleet.add(lane, work)

    def _ended(self, run: VirtualRun, now: datetime) -> None:
        """Queue what an execution has still to come when its known jobs have ended, or the next."""
        self.found.ends.append((now, run.lane.key))
        assert isinstance(run.work.owner, _Part)
        execution = run.work.owner.execution
        execution.open -= 1
        if execution.open > 0:
            return
        execution.open, execution.follow = execution.follow, 0
        for place in range(execution.open):
            head = msgspec.structs.replace(run.work.head, job_id=self._made_up(), seq=place)
            work = self._work(head, run.hop.pool, _Part(execution))
            work.ready_at = now
            self.fleet.add(run.lane, work)
        coming = self._coming.get(run.lane.key.client_id)
        if execution.open == 0 and coming is not None and coming.keeps:
            self._come(coming.client_id, now)

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
            self.found.note_any(run.lane.id, run.work.ready_at, run.started_at)
            assert isinstance(run.work.owner, _Part)
            lane_id = run.work.owner.lane_id
            if lane_id is not None:
                self._left -= 1
                self._seated[lane_id] -= 1
                self.found.note(lane_id, run.hop.pool, run.started_at)
                self._deepen(self.fleet, run.lane, self._lanes[lane_id])
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


def _with_gates(coming: Sequence[Coming], snapshot: Snapshot) -> Iterator[Coming]:
    """Give what comes, but for work in lanes whose gates are not all known."""
    for one in coming:
        sent = tuple(arrived for arrived in one.sent if _has_gates(arrived.key, snapshot))
        if sent:
            yield msgspec.structs.replace(one, sent=sent, a_second=one.a_second * len(sent) / len(one.sent))


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
