"""Who starts next: ``plan(snapshot, now) -> Decision``. Pure; live, in explanations and in simulation.

Within one plan every gate only gets tighter (units, caps and slots are only taken), so a lane found closed
stays closed, and a client's key in a heap only gets worse; that is what makes the lazy heaps exact. The one
exception: when a big job starts, the lanes that it held up are opened again. A lane keeps its hop for the
whole plan: when the probe of a half-open provider has left, its other lanes wait for the next plan, which
gives them their next hop.
"""

import heapq
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from aifactory.resources import buckets
from aifactory.resources.gates import (
    BigJob,
    Decision,
    Gate,
    Head,
    Lane,
    PoolGate,
    QueueGate,
    Snapshot,
    Start,
    UsageChange,
    UsageGate,
    Wait,
)
from aifactory.resources.interface import Hop, Urgency

GUARD_EVERY = 20
RECENT_STARTS = 100
FAIRNESS_POINTS = 10.0
WAITING_POINTS = 20.0
USAGE_HALF_LIFE_SECONDS = 3600.0
RESERVE_LENT_AFTER = timedelta(seconds=60)
BIG_JOB_HOLDS_LOWER_AFTER = timedelta(seconds=5)
BIG_JOB_HOLDS_ALL_AFTER = timedelta(minutes=10)
URGENCY_POINTS = {Urgency.LOW: 0, Urgency.NORMAL: 10, Urgency.HIGH: 20, Urgency.URGENT: 30}


def plan(snapshot: Snapshot, now: datetime) -> Decision:
    """Fill the free slots by priority within every gate; take all gates of a job or none."""
    return _Plan(snapshot, now).decide()


def decayed(usage: float, seconds: float) -> float:
    """Return usage after some time: it halves every hour."""
    return usage * math.pow(0.5, max(0.0, seconds) / USAGE_HALF_LIFE_SECONDS)


def waiting_points(queue: QueueGate, aged_from: datetime, now: datetime) -> float:
    """Return 0 to 20 points, linear in the time waited, full after the queue's ``full_age_seconds``."""
    waited = max(0.0, (now - aged_from).total_seconds())
    return min(WAITING_POINTS, WAITING_POINTS * waited / queue.full_age_seconds)


def fairness_points(usage: float, weight: int, total_weight: int, total_usage: float) -> float:
    """Return 0 to 10 points, falling as the client's usage approaches its fair share."""
    share = weight / total_weight * total_usage if total_weight else 0.0
    return FAIRNESS_POINTS * max(0.0, 1.0 - usage / share) if share > 0 else FAIRNESS_POINTS


class _PoolPlan:
    """One pool's part of a plan: its level, and a heap of lanes per queue."""

    def __init__(self, gate: PoolGate) -> None:
        self.gate = gate
        self.level_micro = gate.level_micro
        self.requests_micro = gate.requests_micro
        self.start_seq = gate.start_seq
        self.last_start_seq = gate.last_start_seq
        self.recent = list(gate.recent_starts)
        self.lane_ids: list[int] = []
        self.heaps: dict[str, list[tuple[tuple[float, ...], int]]] = {}
        self.total_weight = 0
        self.total_usage = 0.0
        self.big_job_id = gate.big_job_id
        self.big_job_since = gate.big_job_since
        self.big_job_score: float | None = None

    def spendable_micro(self, urgency: Urgency, now: datetime) -> int:
        """Return the level above the floor that this urgency may not cross."""
        urgent_lately = (
            self.gate.last_urgent_at is not None and now - self.gate.last_urgent_at < RESERVE_LENT_AFTER
        )
        if urgency is Urgency.URGENT or not urgent_lately:
            return self.level_micro
        return self.level_micro - self.gate.capacity * buckets.MICRO * self.gate.reserved_percent // 100

    def charge(self, units: int, seq: int, queue: str) -> None:
        """Take a start's units and request slot and remember whose turn it was."""
        self.level_micro -= units * buckets.MICRO
        if self.gate.requests_per_minute is not None:
            self.requests_micro -= buckets.MICRO
        self.start_seq += 1
        self.last_start_seq = seq
        self.recent = [*self.recent, queue][-RECENT_STARTS:]


class _Plan:
    """The working state of one call of ``plan``."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self.snapshot = snapshot
        self.now = now
        self.lanes = {lane.id: lane for lane in snapshot.lanes}
        self.position = dict.fromkeys(self.lanes, 0)
        self.hop_of: dict[int, Hop] = {}
        self.closed: dict[int, Wait] = {}
        self.pools = {name: _PoolPlan(gate) for name, gate in snapshot.pools.items()}
        self.client_running = {key: gate.running for key, gate in snapshot.clients.items()}
        self.worker_running = {key: gate.running for key, gate in snapshot.workers.items()}
        self.probes = {key: gate.probes for key, gate in snapshot.providers.items()}
        self.usage = {key: gate.usage for key, gate in snapshot.usage.items()}
        self.served = {key: gate.last_start_seq for key, gate in snapshot.usage.items()}
        self.slots = {True: snapshot.local_slots, False: snapshot.slots}
        self.seq = snapshot.start_seq
        self.starts: list[Start] = []
        self.dry: list[int] = []

    def decide(self) -> Decision:
        changes: tuple[UsageChange, ...] = ()
        if self.snapshot.enabled:
            self._enter_lanes()
            changes = self._level_usage()
            self._fill_heaps()
            while self._grant_somewhere():
                pass
        else:
            for lane in self.snapshot.lanes:
                self._close(lane, Gate.SCHEDULER_OFF)
        return Decision(
            starts=tuple(self.starts),
            waits=tuple(self.closed.values()),
            next_wake=min((wait.opens_at for wait in self.closed.values() if wait.opens_at), default=None),
            dry=tuple(self.dry),
            usage=changes,
            big_jobs=self._big_jobs(),
        )

    # Setting up.

    def _enter_lanes(self) -> None:
        """Give each lane its pool, or close it by a gate that holds for the whole lane."""
        for lane in self.snapshot.lanes:
            hop, opens_at = self._choose_hop(lane)
            if hop is None:
                self._close(lane, Gate.NO_HOP, opens_at)
                continue
            self.hop_of[lane.id] = hop
            self.pools[hop.pool].lane_ids.append(lane.id)

    def _choose_hop(self, lane: Lane) -> tuple[Hop | None, datetime | None]:
        """Return the first hop that is open, or when the first closed one may be.

        A lane that this process can't call at all stays in its pool, where it counts as waiting: another
        process starts it (``_blocked`` keeps this one from it).
        """
        further = [self._pool_opens(lane, pool) for pool in lane.further_pools]
        if None in further:
            return None, None
        opens: list[datetime] = []
        for hop in tuple(filter(self._is_here, lane.hops)) or lane.hops:
            own, provider = self._pool_opens(lane, hop.pool), self._provider_opens(hop)
            if own is None or provider is None:
                continue
            at = max([own, provider, *filter(None, further)])
            if at <= self.now:
                return hop, None
            opens.append(at)
        return None, min(opens, default=None)

    def _is_here(self, hop: Hop) -> bool:
        """Whether this process can call a hop's provider."""
        gate = self.snapshot.providers.get(hop.provider)
        return gate is None or gate.here

    def _provider_opens(self, hop: Hop) -> datetime | None:
        """Return from when a provider may be called: now or later, or None when nobody can say."""
        gate = self.snapshot.providers.get(hop.provider)
        if gate is None:
            return self.now
        if not gate.active or self._probe_is_out(hop):
            return None
        return max(self.now, gate.opens_at or self.now)

    def _probe_is_out(self, hop: Hop) -> bool:
        """Whether a half-open provider is being tried: its answer decides, nobody else may start there."""
        gate = self.snapshot.providers.get(hop.provider)
        return gate is not None and gate.half_open(self.now) and self.probes[hop.provider] > 0

    def _pool_opens(self, lane: Lane, pool: str) -> datetime | None:
        """Return from when a pool is open to a lane: now or later, or None when nobody can say."""
        gate = self.snapshot.pools.get(pool)
        if gate is None or gate.paused or gate.dedicated_client_id not in (None, lane.client_id):
            return None
        return max(self.now, gate.blocked_until or self.now)

    def _level_usage(self) -> tuple[UsageChange, ...]:
        """Mark who is active in each pool; one that comes back may not live on old credit."""
        active: dict[str, dict[UUID, None]] = {}
        lanes = self.snapshot.lanes
        elsewhere = {
            (lane.client_id, hop.pool) for lane in lanes for hop in lane.hops if not self._is_here(hop)
        }
        for lane_id, hop in self.hop_of.items():
            active.setdefault(hop.pool, {})[self.lanes[lane_id].client_id] = None
        for (client_id, pool), gate in self.snapshot.usage.items():
            if gate.running:
                active.setdefault(pool, {})[client_id] = None
        changes: list[UsageChange] = []
        for pool, clients in active.items():
            changes += self._activate(pool, list(clients))
        for (client_id, pool), gate in self.snapshot.usage.items():
            if gate.active and client_id not in active.get(pool, {}) and (client_id, pool) not in elsewhere:
                changes.append(UsageChange(client_id=client_id, pool=pool, usage=gate.usage, active=False))
        return tuple(changes)

    def _activate(self, pool: str, clients: list[UUID]) -> Iterator[UsageChange]:
        weights = {client: self.snapshot.clients[client].weight for client in clients}
        gates = {client: self.snapshot.usage.get((client, pool), UsageGate()) for client in clients}
        least = min((gates[c].usage / weights[c] for c in clients if gates[c].active), default=0.0)
        for client, gate in gates.items():
            usage = gate.usage if gate.active else max(gate.usage, weights[client] * least)
            self.usage[client, pool] = usage
            self.served.setdefault((client, pool), gate.last_start_seq)
            if not gate.active:
                yield UsageChange(client_id=client, pool=pool, usage=usage, active=True)
        self.pools[pool].total_weight = sum(weights.values())
        self.pools[pool].total_usage = sum(self.usage[client, pool] for client in clients)

    def _fill_heaps(self) -> None:
        for pool in self.pools.values():
            for lane_id in pool.lane_ids:
                lane = self.lanes[lane_id]
                pool.heaps.setdefault(lane.queue, []).append((self._key(pool, lane), lane_id))
            for heap in pool.heaps.values():
                heapq.heapify(heap)
            self._find_big_job(pool)

    def _push(self, pool: _PoolPlan, lane: Lane) -> None:
        heapq.heappush(pool.heaps[lane.queue], (self._key(pool, lane), lane.id))

    # Keys.

    def score(self, pool: _PoolPlan, lane: Lane) -> float:
        """Return the published score of a lane's head, 0 to 100."""
        client = self.snapshot.clients[lane.client_id]
        return (
            client.points
            + URGENCY_POINTS[lane.urgency]
            + waiting_points(self.snapshot.queues[lane.queue], self._head(lane).aged_from, self.now)
            + fairness_points(
                self.usage[lane.client_id, pool.gate.pool],
                client.weight,
                pool.total_weight,
                pool.total_usage,
            )
        )

    def _key(self, pool: _PoolPlan, lane: Lane) -> tuple[float, ...]:
        """Order lanes of one queue, best first; grows with the client's usage."""
        head = self._head(lane)
        tail = (-self.score(pool, lane), head.aged_from.timestamp(), head.seq)
        if self.snapshot.queues[lane.queue].policy == "fair":
            client = self.snapshot.clients[lane.client_id]
            return (self.usage[lane.client_id, pool.gate.pool] / client.weight, *tail)
        return tail

    def _head(self, lane: Lane) -> Head:
        return lane.heads[self.position[lane.id]]

    # Granting.

    def _grant_somewhere(self) -> bool:
        """Grant one start in the pool whose last start is oldest; False when nothing can start."""
        turns = sorted(self.pools.values(), key=lambda pool: (pool.last_start_seq, pool.gate.pool))
        return any(pool.heaps and self._grant(pool) for pool in turns)

    def _grant(self, pool: _PoolPlan) -> bool:
        if (pool.start_seq + 1) % GUARD_EVERY == 0 and (guarded := self._guarded(pool)):
            self._start(pool, guarded, by="guard")
            return True
        open_queues = [queue for queue in list(pool.heaps) if self._best(pool, queue)]
        if not open_queues:
            return False
        queue, by = self._pick_queue(pool, open_queues)
        lane = self._best(pool, queue)
        assert lane is not None
        heapq.heappop(pool.heaps[queue])
        self._start(pool, lane, by=by)
        return True

    def _pick_queue(self, pool: _PoolPlan, open_queues: list[str]) -> tuple[str, str]:
        """Return the queue furthest below its share, else the top one; immediate may not take over half."""
        gates = self.snapshot.queues
        ranked = sorted(open_queues, key=lambda queue: gates[queue].rank)
        count = len(pool.recent)
        behind = {q: gates[q].share_percent * count // 100 - pool.recent.count(q) for q in ranked}
        furthest = max(ranked, key=behind.__getitem__)
        if behind[furthest] > 0:
            return furthest, "share"
        top = ranked[0]
        if len(ranked) > 1 and gates[top].rank == 0 and pool.recent.count(top) * 2 > count:
            top = ranked[1]
        return top, gates[top].policy

    def _best(self, pool: _PoolPlan, queue: str) -> Lane | None:
        """Return the best startable lane of a queue, on top of its heap; drop the closed ones above it."""
        heap = pool.heaps[queue]
        while heap:
            key, lane_id = heap[0]
            lane = self.lanes[lane_id]
            if lane_id in self.closed or self._exhausted(lane):
                heapq.heappop(heap)
                continue
            current = self._key(pool, lane)
            if current != key:
                heapq.heapreplace(heap, (current, lane_id))
                continue
            if wait := self._blocked(pool, lane):
                self.closed[lane_id] = wait
                heapq.heappop(heap)
                continue
            return lane
        return None

    def _guarded(self, pool: _PoolPlan) -> Lane | None:
        """Return the oldest startable head of the client served longest ago; note a big job on the way."""

        def turn(lane: Lane) -> tuple[int, datetime, int]:
            head = self._head(lane)
            return self.served[lane.client_id, pool.gate.pool], head.aged_from, head.seq

        lanes = [self.lanes[lane_id] for lane_id in pool.lane_ids]
        for lane in sorted((lane for lane in lanes if not self._exhausted(lane)), key=turn):
            wait = self.closed.get(lane.id) or self._blocked(pool, lane)
            if wait is None:
                return lane
            if wait.gate is Gate.UNITS and pool.big_job_id is None and self._ever_fits(pool, lane):
                pool.big_job_id, pool.big_job_since = wait.job_id, self.now
                pool.big_job_score = self.score(pool, lane)
        return None

    def _blocked(self, pool: _PoolPlan, lane: Lane) -> Wait | None:
        """Return the first closed gate of a lane's head, whole-lane gates first."""
        if not self._is_here(self.hop_of[lane.id]):
            return self._wait(lane, Gate.NO_HOP)
        if self._probe_is_out(self.hop_of[lane.id]):
            return self._wait(lane, *self._behind_probe(lane))
        if gate := self._lane_gate(lane):
            return self._wait(lane, gate)
        if self.slots[lane.local] <= 0 or (lane.alone and not (self.snapshot.idle and not self.starts)):
            return self._wait(lane, Gate.SLOTS)
        return self._lacks_units(pool, lane) or self._behind_big_job(pool, lane)

    def _behind_probe(self, lane: Lane) -> tuple[Gate, datetime | None]:
        """A lane whose probe has just left has another hop at once, in the next plan, or waits for one."""
        hop, opens_at = self._choose_hop(lane)
        return Gate.NO_HOP, self.now if hop else opens_at

    def _lane_gate(self, lane: Lane) -> Gate | None:
        """Return the first gate that is closed for the whole lane, in every process."""
        client = self.snapshot.clients[lane.client_id]
        worker = self.snapshot.workers.get(lane.worker)
        if self.snapshot.queues[lane.queue].paused:
            return Gate.QUEUE_PAUSED
        if client.suspended:
            return Gate.CLIENT_SUSPENDED
        if self.client_running[lane.client_id] >= client.max_running:
            return Gate.CLIENT_CAP
        if worker is None or not worker.active:
            return Gate.WORKER_PAUSED
        if worker.max_running is not None and self.worker_running[lane.worker] >= worker.max_running:
            return Gate.WORKER_CAP
        return None

    def _ever_fits(self, pool: _PoolPlan, lane: Lane) -> bool:
        """Whether the full pools would hold the lane's head (an operator may have shrunk them since)."""
        names = (pool.gate.pool, *lane.further_pools)
        return all(self._head(lane).units <= self.pools[name].gate.capacity for name in names)

    def _lacks_units(self, pool: _PoolPlan, lane: Lane) -> Wait | None:
        head = self._head(lane)
        for name in (pool.gate.pool, *lane.further_pools):
            other = self.pools[name]
            spendable = other.spendable_micro(lane.urgency, self.now)
            seconds = buckets.seconds_until(
                spendable, needed_units=head.units, refill_per_second=other.gate.refill_per_second
            )
            if seconds != 0:
                soon = seconds is not None and self._ever_fits(pool, lane)
                seconds = min(seconds or 0, buckets.LONGEST_WAIT_SECONDS)
                return self._wait(lane, Gate.UNITS, self.now + timedelta(seconds=seconds) if soon else None)
        if pool.gate.requests_per_minute is not None and pool.requests_micro < buckets.MICRO:
            missing = (buckets.MICRO - pool.requests_micro) * 60 / pool.gate.requests_per_minute
            return self._wait(lane, Gate.REQUESTS, self.now + timedelta(microseconds=math.ceil(missing)))
        return None

    def _behind_big_job(self, pool: _PoolPlan, lane: Lane) -> Wait | None:
        head = self._head(lane)
        if pool.big_job_score is None or pool.big_job_since is None or head.job_id == pool.big_job_id:
            return None
        remembered = self.now - pool.big_job_since
        if remembered >= BIG_JOB_HOLDS_ALL_AFTER and lane.urgency is not Urgency.URGENT:
            return self._wait(lane, Gate.BIG_JOB)
        if remembered >= BIG_JOB_HOLDS_LOWER_AFTER and self.score(pool, lane) < pool.big_job_score:
            return self._wait(lane, Gate.BIG_JOB)
        return None

    def _start(self, pool: _PoolPlan, lane: Lane, *, by: str) -> None:
        """Charge every gate virtually and move the lane to its next head."""
        head, hop = self._head(lane), self.hop_of[lane.id]
        self.seq += 1
        self.starts.append(Start(lane=lane, head=head, hop=hop, seq=self.seq, by=by))
        pool.charge(head.units, self.seq, lane.queue)
        for name in lane.further_pools:
            self.pools[name].level_micro -= head.units * buckets.MICRO
        self.slots[lane.local] -= 1
        self.probes[hop.provider] = self.probes.get(hop.provider, 0) + 1
        if lane.alone:
            self.slots = {True: 0, False: 0}
        self.client_running[lane.client_id] += 1
        self.worker_running[lane.worker] = self.worker_running.get(lane.worker, 0) + 1
        self.usage[lane.client_id, pool.gate.pool] += max(1, head.units)
        self.served[lane.client_id, pool.gate.pool] = self.seq
        self.position[lane.id] += 1
        if self._exhausted(lane):
            if not lane.complete and self.slots[lane.local] > 0:
                self.dry.append(lane.id)
        elif by != "guard":  # which leaves the lane in its heap
            self._push(pool, lane)
        if pool.big_job_id == head.job_id:
            self._let_pass(pool)

    # Big jobs and waits.

    def _find_big_job(self, pool: _PoolPlan) -> None:
        """Keep a pool's big job while it is a lane's head that only waits for units; else forget it."""
        if pool.big_job_id is None:
            return
        for lane in (self.lanes[lane_id] for lane_id in pool.lane_ids):
            if self._head(lane).job_id == pool.big_job_id:
                if self._lane_gate(lane) is None and self._ever_fits(pool, lane):
                    pool.big_job_score = self.score(pool, lane)
                    return
                break
        pool.big_job_id = pool.big_job_since = None

    def _let_pass(self, pool: _PoolPlan) -> None:
        """Forget a big job that has started, and open the lanes that it held up."""
        pool.big_job_id = pool.big_job_since = pool.big_job_score = None
        for lane_id in pool.lane_ids:
            if lane_id in self.closed and self.closed[lane_id].gate is Gate.BIG_JOB:
                del self.closed[lane_id]
                self._push(pool, self.lanes[lane_id])

    def _big_jobs(self) -> tuple[BigJob, ...]:
        return tuple(
            BigJob(pool=pool.gate.pool, job_id=pool.big_job_id, since=pool.big_job_since)
            for pool in self.pools.values()
            if pool.big_job_id != pool.gate.big_job_id
        )

    def _exhausted(self, lane: Lane) -> bool:
        return self.position[lane.id] >= len(lane.heads)

    def _wait(self, lane: Lane, gate: Gate, opens_at: datetime | None = None) -> Wait:
        return Wait(lane_id=lane.id, job_id=self._head(lane).job_id, gate=gate, opens_at=opens_at)

    def _close(self, lane: Lane, gate: Gate, opens_at: datetime | None = None) -> None:
        self.closed[lane.id] = self._wait(lane, gate, opens_at)
