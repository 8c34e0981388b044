"""Snapshots for the policy: small ones by hand, random ones, and what every decision must keep to."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from aifactory.resources import buckets
from aifactory.resources.gates import (
    ClientGate,
    Decision,
    Gate,
    Head,
    Lane,
    PoolGate,
    ProviderGate,
    QueueGate,
    Snapshot,
    UsageGate,
    WorkerGate,
)
from aifactory.resources.interface import Hop, Urgency

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
QUEUES = {
    "immediate": QueueGate(queue="immediate", rank=0, policy="score", share_percent=0, full_age_seconds=30),
    "fast": QueueGate(queue="fast", rank=1, policy="score", share_percent=25, full_age_seconds=120),
    "normal": QueueGate(queue="normal", rank=2, policy="fair", share_percent=15, full_age_seconds=6000),
    "batch": QueueGate(queue="batch", rank=3, policy="fair", share_percent=8, full_age_seconds=7200),
    "deferred": QueueGate(queue="deferred", rank=4, policy="fair", share_percent=2, full_age_seconds=7200),
}
TIERS = {"basic": (10, 10), "standard": (20, 20), "premium": (30, 30), "enterprise": (40, 40)}


def client_id(number: int) -> UUID:
    return UUID(int=number + 1)


def hop(pool: str = "a", provider: str = "p") -> Hop:
    return Hop(provider=provider, model="m", pool=pool)


def head(seq: int, *, waited: float = 0, units: int = 10) -> Head:
    return Head(job_id=UUID(int=1000 + seq), aged_from=NOW - timedelta(seconds=waited), seq=seq, units=units)


def lane(number: int, client: int, *heads: Head, **changes: Any) -> Lane:
    plain = Lane(
        id=number,
        hops=(hop(),),
        further_pools=(),
        local=False,
        worker="w",
        queue="normal",
        client_id=client_id(client),
        urgency=Urgency.NORMAL,
        heads=heads,
        complete=True,
    )
    return msgspec.structs.replace(plain, **changes)


def client(number: int, tier: str = "standard", **changes: Any) -> ClientGate:
    points, weight = TIERS[tier]
    plain = ClientGate(client_id=client_id(number), points=points, weight=weight, max_running=100)
    return msgspec.structs.replace(plain, **changes)


def pool(name: str = "a", **changes: Any) -> PoolGate:
    plain = PoolGate(pool=name, capacity=1_000_000, refill_per_second=1000, level_micro=10**12)
    return msgspec.structs.replace(plain, **changes)


def provider(name: str = "p", **changes: Any) -> ProviderGate:
    return msgspec.structs.replace(ProviderGate(provider=name), **changes)


def snapshot(*lanes: Lane, clients: list[ClientGate] | None = None, **changes: Any) -> Snapshot:
    pools = changes.pop("pools", [pool()])
    providers = changes.pop("providers", [])
    given = clients or [client(number) for number in range(10)]
    plain = Snapshot(
        lanes=lanes,
        pools={one.pool: one for one in pools},
        queues=dict(QUEUES),
        clients={one.client_id: one for one in given},
        workers={"w": WorkerGate(worker="w")},
        usage={},
        providers={one.provider: one for one in providers},
        slots=64,
        local_slots=4,
    )
    return msgspec.structs.replace(plain, **changes)


def random_snapshot(rng: random.Random) -> Snapshot:
    """A crowded snapshot in which every gate is near its limit."""
    pools = [_random_pool(rng, name) for name in "abc"[: rng.randint(1, 3)]]
    clients = [
        client(
            number,
            rng.choice(list(TIERS)),
            max_running=rng.randint(0, 6),
            running=rng.randint(0, 3),
            suspended=rng.random() < 0.1,
        )
        for number in range(rng.randint(1, 5))
    ]
    lanes = [_random_lane(rng, number, len(clients), pools) for number in range(rng.randint(0, 10))]
    usage = {
        (one.client_id, gate.pool): UsageGate(
            usage=rng.choice([0.0, rng.uniform(0, 5000)]),
            active=rng.random() < 0.6,
            last_start_seq=rng.randint(0, 90),
            running=rng.randint(0, 2),
        )
        for one in clients
        for gate in pools
        if rng.random() < 0.7
    }
    workers = {
        "w": WorkerGate(worker="w", max_running=rng.choice([None, rng.randint(0, 8)]), running=2),
        "v": WorkerGate(worker="v", active=rng.random() < 0.8),
    }
    queues = {
        name: msgspec.structs.replace(gate, paused=rng.random() < 0.08) for name, gate in QUEUES.items()
    }
    found = snapshot(
        *lanes,
        clients=clients,
        pools=pools,
        usage=usage,
        workers=workers,
        queues=queues,
        slots=rng.randint(0, 12),
        local_slots=rng.randint(0, 3),
        idle=rng.random() < 0.5,
        start_seq=100,
        providers=[_random_provider(rng, name) for name in "pq" if rng.random() < 0.5],
    )
    return _with_big_jobs(rng, found)


def _random_pool(rng: random.Random, name: str) -> PoolGate:
    capacity = rng.choice([50, 200, 1000])
    return pool(
        name,
        capacity=capacity,
        refill_per_second=rng.choice([0, 10, 100]),
        level_micro=rng.randint(-20, capacity) * buckets.MICRO,
        requests_per_minute=rng.choice([None, 10]),
        requests_micro=rng.randint(0, 10) * buckets.MICRO,
        reserved_percent=rng.choice([0, 10, 50]),
        dedicated_client_id=client_id(0) if rng.random() < 0.1 else None,
        blocked_until=rng.choice([None, None, NOW - timedelta(seconds=1), NOW + timedelta(seconds=5)]),
        paused=rng.random() < 0.1,
        last_urgent_at=rng.choice([None, NOW - timedelta(seconds=30), NOW - timedelta(seconds=90)]),
        last_start_seq=rng.randint(0, 100),
        start_seq=rng.randint(0, 60),
        recent_starts=tuple(rng.choice(list(QUEUES)) for _ in range(rng.randint(0, 100))),
    )


def _random_provider(rng: random.Random, name: str) -> ProviderGate:
    return provider(
        name,
        active=rng.random() < 0.9,
        opens_at=rng.choice([None, NOW - timedelta(seconds=1), NOW, NOW + timedelta(seconds=5)]),
        probes=rng.choice([0, 0, 1]),
    )


def _random_lane(rng: random.Random, number: int, clients: int, pools: list[PoolGate]) -> Lane:
    ages = sorted((rng.choice([0, 10, 100, 8000]) for _ in range(rng.randint(1, 5))), reverse=True)
    names = [one.pool for one in pools]
    return lane(
        number,
        rng.randrange(clients),
        *(
            head(number * 10 + place, waited=age, units=rng.choice([0, 1, 10, 40, 200]))
            for place, age in enumerate(ages)
        ),
        hops=tuple(hop(rng.choice(names), rng.choice("pq")) for _ in range(rng.randint(1, 2))),
        further_pools=(rng.choice(names),) if rng.random() < 0.15 else (),
        local=rng.random() < 0.3,
        alone=rng.random() < 0.1,
        worker=rng.choice("wwv"),
        queue=rng.choice(list(QUEUES)),
        urgency=rng.choice(list(Urgency)),
        complete=rng.random() < 0.5,
    )


def _with_big_jobs(rng: random.Random, found: Snapshot) -> Snapshot:
    heads = [one.heads[0] for one in found.lanes]
    if not heads or rng.random() < 0.5:
        return found
    big = rng.choice(heads).job_id
    since = NOW - timedelta(seconds=rng.choice([1, 10, 700]))
    pools = {
        name: msgspec.structs.replace(gate, big_job_id=big, big_job_since=since)
        for name, gate in found.pools.items()
    }
    return msgspec.structs.replace(found, pools=pools)


class Replay:
    """Charges a decision's starts one by one, by the rules alone, and lists what they break."""

    def __init__(self, given: Snapshot) -> None:
        self.given = given
        self.clients = {key: gate.running for key, gate in given.clients.items()}
        self.workers = {key: gate.running for key, gate in given.workers.items()}
        self.levels = {key: gate.level_micro for key, gate in given.pools.items()}
        self.requests = {key: gate.requests_micro for key, gate in given.pools.items()}
        self.slots = {False: given.slots, True: given.local_slots}
        self.probes = {key: gate.probes for key, gate in given.providers.items()}
        self.started: dict[int, int] = {}
        self.alone = False
        self.count = 0

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
            gate, wait = self.closed(one, one.heads[place], self.hop_of(one)), waits[one.id]
            if wait.job_id != one.heads[place].job_id:
                found.append(f"lane {one.id}: another head is explained")
            if gate is None and not (wait.gate is Gate.BIG_JOB and self.big_job_waits(decision, one)):
                found.append(f"lane {one.id}: could start, {wait.gate} was said")
        return found

    def big_job_waits(self, decision: Decision, one: Lane) -> bool:
        """Whether the pool remembers a big job that did not start now."""
        hop = self.hop_of(one)
        big = self.given.pools[hop.pool].big_job_id if hop else None
        return big is not None and big not in {start.head.job_id for start in decision.starts}

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
        return gate.active and gate.opens_at is not None and gate.opens_at <= NOW and gate.probes == 0

    def tried(self, name: str) -> bool:
        """Whether the one probe of a half-open provider has left."""
        gate = self.given.providers.get(name)
        return gate is not None and gate.opens_at is not None and self.probes[name] > 0

    def pool_open(self, one: Lane, name: str) -> bool:
        gate = self.given.pools.get(name)
        if gate is None or gate.paused or gate.dedicated_client_id not in (None, one.client_id):
            return False
        return gate.blocked_until is None or gate.blocked_until <= NOW

    def closed(self, one: Lane, first: Head, used: Hop | None) -> Gate | None:
        given, who = self.given, self.given.clients[one.client_id]
        worker = given.workers[one.worker]
        if used is None or used != self.hop_of(one):
            return Gate.NO_HOP
        if self.tried(used.provider):
            return Gate.NO_HOP
        if given.queues[one.queue].paused:
            return Gate.QUEUE_PAUSED
        if who.suspended or self.clients[one.client_id] >= who.max_running:
            return Gate.CLIENT_CAP
        if not worker.active or (
            worker.max_running is not None and self.workers[one.worker] >= worker.max_running
        ):
            return Gate.WORKER_CAP
        if self.slots[one.local] <= 0 or self.alone or (one.alone and not (given.idle and self.count == 0)):
            return Gate.SLOTS
        for name in (used.pool, *one.further_pools):
            if self.spendable(name, one.urgency) < first.units * buckets.MICRO:
                return Gate.UNITS
        limited = given.pools[used.pool].requests_per_minute is not None
        return Gate.REQUESTS if limited and self.requests[used.pool] < buckets.MICRO else None

    def spendable(self, name: str, urgency: Urgency) -> int:
        gate = self.given.pools[name]
        lately = gate.last_urgent_at is not None and NOW - gate.last_urgent_at < timedelta(seconds=60)
        floor = gate.capacity * gate.reserved_percent * buckets.MICRO // 100
        return self.levels[name] - (floor if lately and urgency is not Urgency.URGENT else 0)

    def charge(self, one: Lane, first: Head, used: Hop) -> None:
        for name in (used.pool, *one.further_pools):
            self.levels[name] -= first.units * buckets.MICRO
        self.requests[used.pool] -= buckets.MICRO
        self.probes[used.provider] = self.probes.get(used.provider, 0) + 1
        self.clients[one.client_id] += 1
        self.workers[one.worker] += 1
        self.slots[one.local] -= 1
        self.alone = self.alone or one.alone
        self.started[one.id] = self.started.get(one.id, 0) + 1
        self.count += 1
