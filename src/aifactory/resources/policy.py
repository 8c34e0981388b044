"""Who starts next: ``plan(snapshot, now) -> Decision``. Pure; live, in explanations and in simulation.

Each lane gets the first of its hops that is open, and with it its pool. Pools then take turns, one start
each, the pool whose last start is oldest first. Within a pool

1. every 20th start is the guard's: the client with a startable head that was served longest ago, its oldest
   head, so that with N active clients every client starts a job within 20·N starts of the pool;
2. else the queue furthest below its share of the last 100 starts;
3. else the top queue that can start, immediate left out while over half of the recent starts were its own;

and in the queue the best lane by its policy (``score``, or ``fair``: least usage for its weight first). A
lane is ordered by age, so only heads are looked at. A head that lacks units blocks its own lane; at the
guard's turn it becomes the big job of the pool that lacks them.

Within one plan every gate only gets tighter (``admission``), so a lane found closed stays closed, and a
client's key in a heap only gets worse; that is what makes the lazy heaps exact. The one exception: when a
big job starts, the lanes that it held up are opened again. A lane keeps its hop for the whole plan: when the
probe of a half-open provider has left, its other lanes wait for the next plan, which gives them their next
hop.

Lanes are loaded a few heads deep. Where one would have to be looked at further, a plan stops and can go on
(``advance``, ``deepen``); what it has started by then stands.
"""

import heapq
from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec.structs import replace

from aifactory.resources.admission import Admission
from aifactory.resources.gates import Decision, Gate, Head, Lane, Snapshot, Start, UsageChange, Wait
from aifactory.resources.interface import Hop, Urgency
from aifactory.resources.pool_plan import Key, PoolPlan
from aifactory.resources.scores import URGENCY_POINTS, Parts, waiting_points
from aifactory.resources.usage_plan import Standing, UsagePlan

GUARD_EVERY = 20
BIG_JOB_HOLDS_LOWER_AFTER = timedelta(seconds=5)
BIG_JOB_HOLDS_ALL_AFTER = timedelta(minutes=10)


def plan(snapshot: Snapshot, now: datetime) -> Decision:
    """Fill the free slots by priority within every gate; take all gates of a job or none."""
    return Plan(snapshot, now).decide()


class _RanDry(Exception):
    """A lane's next head must be looked at and isn't loaded."""

    def __init__(self, lane_id: int) -> None:
        self.lane_id = lane_id


class Plan:
    """The working state of one call of ``plan``."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self.snapshot = snapshot
        self.now = now
        self.admission = Admission(snapshot, now)
        self.pools = self.admission.pools
        self.usage = UsagePlan(snapshot, self.admission.clients)
        self.lanes = {lane.id: lane for lane in snapshot.lanes}
        self.position = dict.fromkeys(self.lanes, 0)
        self.hop_of: dict[int, Hop] = {}
        self.standing: dict[int, Standing] = {}
        self.keyed_at: dict[int, int] = {}
        self.closed: dict[int, Wait] = {}
        self.seq = snapshot.start_seq
        self.starts: list[Start] = []
        self.dry: list[int] = []
        self.turns: list[PoolPlan] = []
        self.changes: tuple[UsageChange, ...] | None = None

    def decide(self) -> Decision:
        """Plan to the end; a lane whose loaded heads don't reach starts no more, and is named ``dry``."""
        while dry := self.advance():
            self.dry.append(dry[0])
        for lane_id in self.hop_of:
            lane = self.lanes[lane_id]
            if lane_id not in self.closed and not self.exhausted(lane) and (wait := self.blocked(lane)):
                self.closed[lane_id] = wait
        return self.decision()

    def advance(self) -> list[int]:
        """Start what can start, up to where a lane's next head must be looked at and is not loaded.

        Returns that lane, and after it all others that have come to their end, to be loaded deeper and given
        to ``deepen`` before going on; none when nothing more can start. What has been started by then is what
        whole lanes would start.
        """
        if not self.snapshot.enabled:
            for lane in self.snapshot.lanes:
                self._close(lane, Gate.SCHEDULER_OFF)
            return []
        if self.changes is None:
            self.changes = self.set_up()
        try:
            while self.admission.has_slots() and self._grant_somewhere():
                pass
        except _RanDry as stop:
            others = (lane for lane in self.lanes.values() if lane.id != stop.lane_id)
            return [stop.lane_id, *(lane.id for lane in others if self.exhausted(lane) and not lane.complete)]
        return []

    def deepen(self, asked: Iterable[int], found: Iterable[Lane]) -> None:
        """Go on with lanes loaded deeper, as far as they still exist; what is new at their front waits."""
        deeper = {lane.id: lane for lane in found}
        for lane_id in asked:
            lane, there = self.lanes[lane_id], deeper.get(lane_id)
            last = lane.heads[-1].place
            behind = tuple(head for head in there.heads if head.place > last) if there else ()
            complete = there is None or there.complete
            self.lanes[lane_id] = replace(lane, heads=lane.heads + behind, complete=complete)
            self.keyed_at[lane_id] = -1  # its key was made with an older head

    def decision(self) -> Decision:
        """Return what has been decided by now."""
        opening = (wait.opens_at for wait in self.closed.values() if wait.opens_at)
        return Decision(
            starts=tuple(self.starts),
            waits=tuple(self.closed.values()),
            next_wake=min(opening, default=None),
            dry=tuple(self.dry),
            usage=self.changes or (),
            big_jobs=tuple(filter(None, (pool.big_job_change() for pool in self.pools.values()))),
            urgent_pools=tuple(name for name, pool in self.pools.items() if pool.urgent_waits),
        )

    # Setting up.

    def set_up(self) -> tuple[UsageChange, ...]:
        """Give each lane its pool, level the usage, order the lanes; return the changes of usage."""
        self._enter_lanes()
        changes = self.usage.level(self.hop_of, self.admission.is_here)
        for name, pool in self.pools.items():
            for lane_id in pool.lane_ids:
                lane = self.lanes[lane_id]
                self.standing[lane_id] = self.usage.standings[lane.client_id, name]
                pool.heaps.setdefault(lane.queue, []).append((self._key(lane), lane_id))
            for heap in pool.heaps.values():
                heapq.heapify(heap)
            pool.heaps = dict(sorted(pool.heaps.items(), key=lambda one: self.snapshot.queues[one[0]].rank))
            pool.shares = {queue: self.snapshot.queues[queue].share_percent for queue in pool.heaps}
        used = (pool for pool in self.pools.values() if pool.heaps)
        self.turns = sorted(used, key=lambda pool: (pool.last_start_seq, pool.gate.pool))
        self._find_big_jobs()
        return changes

    def _enter_lanes(self) -> None:
        """Give each lane its pool, or close it by a gate that holds for the whole lane."""
        for lane in self.snapshot.lanes:
            hop, opens_at = self.admission.choose_hop(lane)
            if hop is None:
                self._close(lane, Gate.NO_HOP, opens_at)
                continue
            self.hop_of[lane.id] = hop
            self.pools[hop.pool].lane_ids.append(lane.id)
            self.admission.note_urgent(lane, lane.heads[0], hop)

    def _push(self, pool: PoolPlan, lane: Lane) -> None:
        heapq.heappush(pool.heaps[lane.queue], (self._key(lane), lane.id))

    # Keys.

    def score(self, lane: Lane) -> float:
        """Return the published score of a lane's head, 0 to 100."""
        return sum(self.parts(lane, self.head(lane).aged_from, self.standing[lane.id]))

    def parts(self, lane: Lane, aged_from: datetime, standing: Standing) -> Parts:
        """Return what makes the score of a lane's job that has aged since ``aged_from``."""
        waited = waiting_points(self.snapshot.queues[lane.queue], aged_from, self.now)
        return standing.points, URGENCY_POINTS[lane.urgency], waited, standing.fairness

    def _key(self, lane: Lane) -> Key:
        """Order lanes of one queue, best first; grows with the client's usage, so with its starts here.

        The score is that of ``parts``, summed in place: this is called before and after each start.
        """
        head, standing = self.head(lane), self.standing[lane.id]
        self.keyed_at[lane.id] = standing.starts
        queue, aged_from = self.snapshot.queues[lane.queue], head.aged_from
        waited = waiting_points(queue, aged_from, self.now)
        score = standing.points + URGENCY_POINTS[lane.urgency] + waited + standing.fairness
        if queue.policy == "fair":
            return (standing.per_weight, -score, aged_from, head.seq)
        return (-score, aged_from, head.seq)

    def head(self, lane: Lane) -> Head:
        """Return the lane's next head; once all that are loaded have been started the last: none is older."""
        return lane.heads[min(self.position[lane.id], len(lane.heads) - 1)]

    def exhausted(self, lane: Lane) -> bool:
        """Whether all loaded heads of a lane have been started."""
        return self.position[lane.id] >= len(lane.heads)

    def _is_over(self, lane: Lane) -> bool:
        """Whether a lane can start nothing more. Raises _RanDry when its next head must be loaded to tell."""
        if not self.exhausted(lane):
            return False
        if lane.complete or lane.id in self.dry or not self.admission.may_start(lane):
            return True
        raise _RanDry(lane.id)

    # Granting.

    def _grant_somewhere(self) -> bool:
        """Grant one start in the pool whose last start is oldest; False when nothing can start."""
        turns = self.turns
        for place, pool in enumerate(turns):
            if self._grant(pool):
                turns.append(turns.pop(place))  # its last start is the newest of all
                return True
        return False

    def _grant(self, pool: PoolPlan) -> bool:
        if (pool.start_seq + 1) % GUARD_EVERY == 0 and (guarded := self._guarded(pool)):
            self._start(pool, guarded, by="guard")
            return True
        if (picked := self._pick(pool)) is None:
            return False
        lane, by = picked
        heapq.heappop(pool.heaps[lane.queue])
        self._start(pool, lane, by=by)
        return True

    def _pick(self, pool: PoolPlan) -> tuple[Lane, str] | None:
        """Return the best lane of the queue furthest below its share, else of the top one, and why.

        Only queues that can start something count. Immediate may not take over half of the starts from them.
        """
        gates = self.snapshot.queues
        behind = pool.behind_share(pool.shares)
        short = [queue for queue, lacking in behind.items() if lacking > 0]
        if len(short) > 1:
            short.sort(key=behind.__getitem__, reverse=True)
        for queue in short:
            if lane := self._best(pool, queue):
                return lane, "share"
        top: Lane | None = None
        for queue, heap in pool.heaps.items():
            if heap and (lane := self._best(pool, queue)):
                if top or gates[queue].rank or not pool.mostly(queue):
                    return lane, gates[queue].policy
                top = lane
        return (top, gates[top.queue].policy) if top else None

    def _best(self, pool: PoolPlan, queue: str) -> Lane | None:
        """Return the best startable lane of a queue, on top of its heap; drop the closed ones above it."""
        heap = pool.heaps[queue]
        while heap:
            lane_id = heap[0][1]
            lane = self.lanes[lane_id]
            if lane_id in self.closed:
                heapq.heappop(heap)
                continue
            if self.keyed_at[lane_id] != self.standing[lane_id].starts:
                heapq.heapreplace(heap, (self._key(lane), lane_id))
                continue
            if self._is_over(lane):
                heapq.heappop(heap)
                continue
            if wait := self.blocked(lane):
                self.closed[lane_id] = wait
                heapq.heappop(heap)
                continue
            return lane
        return None

    def _guarded(self, pool: PoolPlan) -> Lane | None:
        """Return the oldest startable head of the client served longest ago; note big jobs on the way."""
        lanes = [self.lanes[lane_id] for lane_id in pool.lane_ids]
        turns = [
            (self.standing[lane.id].last_start_seq, head.aged_from, head.seq, lane.id)
            for lane in lanes
            if (head := self.head(lane))
        ]
        heapq.heapify(turns)  # hardly ever more than the first few are looked at
        while turns:
            lane = self.lanes[heapq.heappop(turns)[-1]]
            if self._is_over(lane):
                continue
            wait = self.closed.get(lane.id) or self.blocked(lane)
            if wait is None:
                return lane
            if wait.gate is Gate.UNITS and wait.pool is not None:
                self._note_big_job(self.pools[wait.pool], lane)
        return None

    def blocked(self, lane: Lane) -> Wait | None:
        """Return the first closed gate of a lane's next head, after what has been started."""
        wait = self.admission.blocked(lane, self.head(lane), self.hop_of[lane.id])
        return wait or self._behind_big_job(lane)

    def _start(self, pool: PoolPlan, lane: Lane, *, by: str) -> None:
        """Charge every gate and move the lane to its next head."""
        head, hop = self.head(lane), self.hop_of[lane.id]
        self.seq += 1
        self.starts.append(Start(lane=lane, head=head, hop=hop, seq=self.seq, by=by))
        self.admission.take(lane, head, hop)
        pool.note_start(self.seq, lane.queue)
        self.standing[lane.id].charge(head.units, self.seq)
        self.position[lane.id] += 1
        if by != "guard":  # which leaves the lane in its heap
            self._push(pool, lane)
        for name in (hop.pool, *lane.further_pools):
            big_job_id = self.pools[name].big_job_id
            if big_job_id is not None and big_job_id == head.job_id:
                self._let_pass(self.pools[name])

    # Big jobs.

    def _find_big_jobs(self) -> None:
        """Keep each pool's big job while it is a lane's head that only waits for units; else forget it."""
        remembered = {pool.big_job_id for pool in self.pools.values()} - {None}
        if not remembered:
            return
        heads = {self.head(self.lanes[lane_id]).job_id: lane_id for lane_id in self.hop_of}
        for name, pool in self.pools.items():
            lane = self.lanes.get(heads.get(pool.big_job_id, -1)) if pool.big_job_id else None
            if lane is not None and self._draws_on(lane, name) and self._may_be_big(pool, lane):
                pool.big_job_score = self.score(lane)
            else:
                pool.forget()

    def _draws_on(self, lane: Lane, pool: str) -> bool:
        return pool == self.hop_of[lane.id].pool or pool in lane.further_pools

    def _may_be_big(self, pool: PoolPlan, lane: Lane) -> bool:
        """Whether holding others up in a pool would bring a head its units."""
        fills = pool.gate.refill_per_second > 0
        return fills and self.admission.can_ever_start(lane, self.head(lane), self.hop_of[lane.id])

    def _note_big_job(self, pool: PoolPlan, lane: Lane) -> None:
        """Make a head that lacks a pool's units that pool's big job, if it has none."""
        if pool.big_job_id is None and self._may_be_big(pool, lane):
            pool.remember(self.head(lane).job_id, self.score(lane))

    def _behind_big_job(self, lane: Lane) -> Wait | None:
        """Return the wait behind a big job of a pool that the lane draws on.

        A big job of one pool is held up by an older one of another pool, never by a younger: two that need
        the same pools must not wait for each other.
        """
        for name in (self.hop_of[lane.id].pool, *lane.further_pools):
            pool = self.pools[name]
            since = pool.big_job_since
            if pool.big_job_score is None or since is None:
                continue
            job_id = self.head(lane).job_id
            if pool.big_job_id == job_id:
                continue
            if self._holds(pool, since, lane) and not self._is_older(lane, (since, name)):
                return Wait(lane_id=lane.id, job_id=job_id, gate=Gate.BIG_JOB, pool=name)
        return None

    def _holds(self, pool: PoolPlan, since: datetime, lane: Lane) -> bool:
        """Whether a pool's big job has waited long enough to hold this lane up."""
        remembered = self.now - since
        if remembered >= BIG_JOB_HOLDS_ALL_AFTER and lane.urgency is not Urgency.URGENT:
            return True
        score = pool.big_job_score
        return remembered >= BIG_JOB_HOLDS_LOWER_AFTER and score is not None and self.score(lane) < score

    def _is_older(self, lane: Lane, other: tuple[datetime, str]) -> bool:
        """Whether a lane's head is itself a big job, remembered before another one."""
        job_id = self.head(lane).job_id
        own = [
            (pool.big_job_since, name)
            for name, pool in self.pools.items()
            if pool.big_job_id == job_id and pool.big_job_since is not None
        ]
        return bool(own) and min(own) < other

    def _let_pass(self, pool: PoolPlan) -> None:
        """Forget a big job that has started, and open the lanes that it held up."""
        pool.forget()
        for lane_id, wait in list(self.closed.items()):
            if wait.gate is Gate.BIG_JOB and wait.pool == pool.gate.pool:
                del self.closed[lane_id]
                lane = self.lanes[lane_id]
                self._push(self.pools[self.hop_of[lane_id].pool], lane)

    def _close(self, lane: Lane, gate: Gate, opens_at: datetime | None = None) -> None:
        head = self.head(lane)
        self.closed[lane.id] = Wait(lane_id=lane.id, job_id=head.job_id, gate=gate, opens_at=opens_at)
