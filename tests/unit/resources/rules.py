"""What every decision must keep to: the gates by the rules alone, and a slow policy that is plain to see."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from tests.unit.resources.snapshots import NOW

from aifactory.resources import buckets, scores
from aifactory.resources.gates import Decision, Gate, Head, Lane, Snapshot
from aifactory.resources.interface import Hop, Urgency


class Rules:
    """The gates as the rules say them, on what was started so far; slow, and plain to see."""

    def __init__(self, given: Snapshot, now: datetime = NOW) -> None:
        self.given = given
        self.now = now
        self.clients = {key: gate.running for key, gate in given.clients.items()}
        self.workers = {key: gate.running for key, gate in given.workers.items()}
        self.levels = {key: gate.level_micro for key, gate in given.pools.items()}
        self.requests = {key: gate.requests_micro for key, gate in given.pools.items()}
        self.slots = {False: given.slots, True: given.local_slots}
        self.probes = {key: gate.probes for key, gate in given.providers.items()}
        self.quota_used: dict[tuple[UUID, str], int] = {}
        self.started: dict[int, int] = {}
        self.alone = False
        self.count = 0
        self.hops = {one.id: self.hop_of(one) for one in given.lanes}
        self.kept = {name for name in given.pools if self._keeps_reserve(name)}

    def hop_of(self, one: Lane) -> Hop | None:
        if not all(self.pool_open(one, name) for name in one.further_pools):
            return None
        for each in one.hops:
            if self.pool_open(one, each.pool) and self.provider_open(each.provider):
                return each
        return None

    def provider_open(self, name: str) -> bool:
        """Whether a provider took starts when the plan began."""
        gate = self.given.providers.get(name)
        if gate is None or (gate.active and gate.opens_at is None):
            return True
        return gate.active and gate.opens_at is not None and gate.opens_at <= self.now and gate.probes == 0

    def tried(self, name: str) -> bool:
        """Whether the one probe of a half-open provider has left."""
        gate = self.given.providers.get(name)
        return gate is not None and gate.opens_at is not None and self.probes[name] > 0

    def pool_open(self, one: Lane, name: str) -> bool:
        gate = self.given.pools.get(name)
        if gate is None or gate.paused or gate.dedicated_client_id not in (None, one.client_id):
            return False
        return gate.blocked_until is None or gate.blocked_until <= self.now

    def taken(self, one: Lane, first: Head, used: Hop) -> list[tuple[str, int]]:
        """What a start takes from each pool."""
        names = {used.pool, *one.further_pools}
        return [
            (
                name,
                (first.units if name == used.pool else 0)
                + (first.needs.get(name, 0) if name in one.further_pools else 0),
            )
            for name in names
        ]

    def closed(self, one: Lane, first: Head, used: Hop | None) -> Gate | None:
        """The gate that is closed for a head, big jobs left out."""
        given = self.given
        if used is None or used != self.hops[one.id] or self.tried(used.provider):
            return Gate.NO_HOP
        if gate := self.lane_closed(one):
            return gate
        if self.slots[one.local] <= 0 or self.alone or (one.alone and not (given.idle and self.count == 0)):
            return Gate.SLOTS
        if self.over_quota(one, first, used):
            return Gate.QUOTA
        for name, units in self.taken(one, first, used):
            if units and self.levels[name] - self.floor(name, one.urgency) < units * buckets.MICRO:
                return Gate.UNITS
        for name, _ in self.taken(one, first, used):
            if given.pools[name].requests_per_minute is not None and self.requests[name] < buckets.MICRO:
                return Gate.REQUESTS
        return None

    def lane_closed(self, one: Lane) -> Gate | None:
        given, who = self.given, self.given.clients[one.client_id]
        worker = given.workers[one.worker]
        if given.queues[one.queue].paused:
            return Gate.QUEUE_PAUSED
        if who.suspended or self.clients[one.client_id] >= who.max_running:
            return Gate.CLIENT_CAP
        if not worker.active or (
            worker.max_running is not None and self.workers[one.worker] >= worker.max_running
        ):
            return Gate.WORKER_CAP
        return None

    def over_quota(self, one: Lane, first: Head, used: Hop) -> bool:
        return any(
            units > 0
            and gate.units_used + self.quota_used.get((one.client_id, name), 0) + units > gate.units_limit
            for name, units in self.taken(one, first, used)
            for gate in self.given.quotas.get((one.client_id, name), ())
        )

    def reserve(self, name: str) -> int:
        gate = self.given.pools[name]
        return gate.capacity * gate.reserved_percent * buckets.MICRO // 100

    def floor(self, name: str, urgency: Urgency) -> int:
        return self.reserve(name) if name in self.kept and urgency is not Urgency.URGENT else 0

    def waits_for_units_only(self, one: Lane, first: Head, used: Hop) -> bool:
        """Whether a head would start if the pools were full, the reserve being kept."""
        if self.lane_closed(one) or self.over_quota(one, first, used):
            return False
        urgent = one.urgency is Urgency.URGENT
        return all(
            units * buckets.MICRO
            <= self.given.pools[name].capacity * buckets.MICRO - (0 if urgent else self.reserve(name))
            for name, units in self.taken(one, first, used)
        )

    def _keeps_reserve(self, name: str) -> bool:
        """Whether urgent work started in the last minute, or waits for units."""
        last = self.given.pools[name].last_urgent_at
        if last is not None and self.now - last < timedelta(seconds=60):
            return True
        urgent = [one for one in self.given.lanes if one.urgency is Urgency.URGENT]
        drawing = [
            (one, used)
            for one in urgent
            if (used := self.hops[one.id]) and name in (used.pool, *one.further_pools)
        ]
        return any(self.waits_for_units_only(one, one.heads[0], used) for one, used in drawing)

    def charge(self, one: Lane, first: Head, used: Hop) -> None:
        for name, units in self.taken(one, first, used):
            self.levels[name] -= units * buckets.MICRO
            self.requests[name] -= buckets.MICRO
            key = one.client_id, name
            self.quota_used[key] = self.quota_used.get(key, 0) + units
        self.probes[used.provider] = self.probes.get(used.provider, 0) + 1
        self.clients[one.client_id] += 1
        self.workers[one.worker] += 1
        self.slots[one.local] -= 1
        self.alone = self.alone or one.alone
        self.started[one.id] = self.started.get(one.id, 0) + 1
        self.count += 1


class Replay(Rules):
    """Charges a decision's starts one by one, by the rules alone, and lists what they break."""

    def faults(self, decision: Decision) -> list[str]:
        found = []
        for start in decision.starts:
            expected = start.lane.heads[self.started.get(start.lane.id, 0)]
            if start.head != expected:
                found.append(f"lane {start.lane.id}: out of order")
            if gate := self.closed(start.lane, start.head, start.hop):
                found.append(f"lane {start.lane.id}: started through {gate}")
            self.charge(start.lane, start.head, start.hop)
        waits = {wait.lane_id: wait for wait in decision.waits}
        for one in self.given.lanes:
            place = self.started.get(one.id, 0)
            if place == len(one.heads):
                continue
            if one.id not in waits:
                found.append(f"lane {one.id}: neither started nor explained")
                continue
            gate, wait = self.closed(one, one.heads[place], self.hops[one.id]), waits[one.id]
            if wait.job_id != one.heads[place].job_id:
                found.append(f"lane {one.id}: another head is explained")
            if gate is None and not (wait.gate is Gate.BIG_JOB and self.big_job_waits(decision, one)):
                found.append(f"lane {one.id}: could start, {wait.gate} was said")
        return found

    def big_job_waits(self, decision: Decision, one: Lane) -> bool:
        """Whether a pool of the lane remembers a big job that did not start now."""
        used = self.hops[one.id]
        names = {used.pool, *one.further_pools} if used else set()
        big = {self.given.pools[name].big_job_id for name in names} - {None}
        return bool(big - {start.head.job_id for start in decision.starts})


class Slow(Rules):
    """The policy again: after every start all lanes are looked at anew. No heaps, nothing remembered."""

    def __init__(self, given: Snapshot, now: datetime = NOW) -> None:
        super().__init__(given, now)
        self.lanes = [one for one in given.lanes if self.hops[one.id] is not None]
        self.usage = {key: gate.usage for key, gate in given.usage.items()}
        self.served = {key: gate.last_start_seq for key, gate in given.usage.items()}
        self.totals: dict[str, tuple[int, float]] = {}
        self.recent = {name: list(gate.recent_starts) for name, gate in given.pools.items()}
        self.start_seq = {name: gate.start_seq for name, gate in given.pools.items()}
        self.last_seq = {name: gate.last_start_seq for name, gate in given.pools.items()}
        for name in given.pools:
            self._level(name)
        self.big = {name: self._big_job(name) for name in given.pools}
        self.order: list[tuple[int, int, str]] = []

    def pool_of(self, one: Lane) -> str:
        used = self.hops[one.id]
        assert used is not None
        return used.pool

    def draws_on(self, one: Lane) -> set[str]:
        return {self.pool_of(one), *one.further_pools}

    def head(self, one: Lane) -> Head | None:
        place = self.started.get(one.id, 0)
        return one.heads[place] if place < len(one.heads) else None

    def _level(self, name: str) -> None:
        """A client that comes back is lifted to the least usage for its weight among the active ones."""
        given = self.given
        clients = {one.client_id for one in self.lanes if self.pool_of(one) == name}
        clients |= {who for (who, pool), gate in given.usage.items() if pool == name and gate.running}
        weight = {who: given.clients[who].weight for who in clients}
        active = [who for who in clients if (who, name) in given.usage and given.usage[who, name].active]
        least = min((given.usage[who, name].usage / weight[who] for who in active), default=0.0)
        for who in clients:
            known = self.usage.get((who, name), 0.0)
            self.usage[who, name] = known if who in active else max(known, weight[who] * least)
            self.served.setdefault((who, name), 0)
        total = math.fsum(self.usage[who, name] for who in clients)
        self.totals[name] = sum(weight.values()), total

    def score(self, one: Lane, first: Head) -> float:
        name, who = self.pool_of(one), self.given.clients[one.client_id]
        waited = scores.waiting_points(self.given.queues[one.queue], first.aged_from, self.now)
        weights, usage = self.totals[name]
        share = who.weight / weights * usage
        fair = 10 * max(0, 1 - self.usage[one.client_id, name] / share) if share else 10
        return who.points + scores.URGENCY_POINTS[one.urgency] + waited + fair

    def _big_job(self, name: str) -> tuple[UUID, timedelta, float] | None:
        gate = self.given.pools[name]
        for one in self.lanes:
            first, used = one.heads[0], self.hops[one.id]
            if first.job_id != gate.big_job_id or name not in self.draws_on(one):
                continue
            if used and self.waits_for_units_only(one, first, used) and gate.refill_per_second:
                assert gate.big_job_since is not None
                return first.job_id, self.now - gate.big_job_since, self.score(one, first)
        return None

    def held_up(self, one: Lane, first: Head) -> bool:
        """Whether a big job of one of its pools holds a head up; an older big job never is by a younger."""
        own = [(-big[1], name) for name, big in self.big.items() if big and big[0] == first.job_id]
        for name in self.draws_on(one):
            big = self.big[name]
            if big is None or big[0] == first.job_id or (own and min(own) < (-big[1], name)):
                continue
            if big[1] >= timedelta(minutes=10) and one.urgency is not Urgency.URGENT:
                return True
            if big[1] >= timedelta(seconds=5) and self.score(one, first) < big[2]:
                return True
        return False

    def run(self) -> list[tuple[int, int, str]]:
        """Start what may start; returns lanes, heads' numbers and why each was picked."""
        while self.given.enabled and self._start_one():
            pass
        return self.order

    def _start_one(self) -> bool:
        for name in sorted(self.given.pools, key=lambda each: (self.last_seq[each], each)):
            can = [
                (one, first)
                for one in self.lanes
                if self.pool_of(one) == name
                and (first := self.head(one))
                and self.closed(one, first, self.hops[one.id]) is None
                and not self.held_up(one, first)
            ]
            if can:
                self._start(name, *self._pick(name, can))
                return True
        return False

    def _pick(self, name: str, can: list[tuple[Lane, Head]]) -> tuple[Lane, Head, str]:
        if (self.start_seq[name] + 1) % 20 == 0:
            key = lambda each: (self.served[each[0].client_id, name], each[1].aged_from, each[1].seq)  # noqa: E731
            return (*min(can, key=key), "guard")
        queue, by = self._queue(name, sorted({one.queue for one, _ in can}, key=self._rank))
        return (*min([each for each in can if each[0].queue == queue], key=self._key(name, queue)), by)

    def _rank(self, queue: str) -> int:
        return self.given.queues[queue].rank

    def _queue(self, name: str, ranked: list[str]) -> tuple[str, str]:
        gates, recent = self.given.queues, self.recent[name][-100:]
        missing = {
            each: gates[each].share_percent * len(recent) // 100 - recent.count(each) for each in ranked
        }
        if max(missing.values()) > 0:
            return max(ranked, key=lambda each: missing[each]), "share"
        first = ranked[0]
        if first == "immediate" and len(ranked) > 1 and recent.count(first) > len(recent) / 2:
            first = ranked[1]
        return first, gates[first].policy

    def _key(self, name: str, queue: str) -> Callable[[tuple[Lane, Head]], tuple[float, ...]]:
        def key(each: tuple[Lane, Head]) -> tuple[float, ...]:
            one, first = each
            tail = (-self.score(one, first), first.aged_from.timestamp(), first.seq)
            weight = self.given.clients[one.client_id].weight
            fair = self.given.queues[queue].policy == "fair"
            return (self.usage[one.client_id, name] / weight, *tail) if fair else tail

        return key

    def _start(self, name: str, one: Lane, first: Head, by: str) -> None:
        used = self.hops[one.id]
        assert used is not None
        self.charge(one, first, used)
        seq = self.given.start_seq + self.count
        self.usage[one.client_id, name] += max(1, first.units)
        self.served[one.client_id, name] = self.last_seq[name] = seq
        self.start_seq[name] += 1
        self.recent[name].append(one.queue)
        self.big = {each: None if big and big[0] == first.job_id else big for each, big in self.big.items()}
        self.order.append((one.id, first.seq, by))
