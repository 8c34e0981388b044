"""Snapshots for the policy: small ones by hand, random ones, and what every decision must keep to."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from aifactory.resources import buckets
from aifactory.resources.gates import (
    ClientGate,
    Head,
    Lane,
    PoolGate,
    ProviderGate,
    QueueGate,
    QuotaGate,
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


def head(seq: int, *, waited: float = 0, units: int = 10, needs: dict[str, int] | None = None) -> Head:
    return Head(
        job_id=UUID(int=1000 + seq),
        aged_from=NOW - timedelta(seconds=waited),
        seq=seq,
        units=units,
        needs=needs or {},
    )


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


def quota(limit: int, used: int = 0, *, period: str = "day", ends: float = 3600) -> QuotaGate:
    start = NOW - timedelta(hours=9)
    end = NOW + timedelta(seconds=ends)
    return QuotaGate(period=period, units_limit=limit, units_used=used, period_start=start, period_end=end)


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
        quotas=_random_quotas(rng, clients, pools),
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


def _random_quotas(
    rng: random.Random, clients: list[ClientGate], pools: list[PoolGate]
) -> dict[tuple[UUID, str], tuple[QuotaGate, ...]]:
    if rng.random() < 0.4:
        return {}
    return {
        (one.client_id, gate.pool): tuple(
            quota(rng.choice([0, 50, 500]), rng.randint(0, 60), period=period, ends=ends)
            for period, ends in (("day", 3600), ("month", 9000))
            if rng.random() < 0.7
        )
        for one in clients
        for gate in pools
        if rng.random() < 0.4
    }


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
    further = tuple(rng.sample(names, rng.randint(1, len(names)))) if rng.random() < 0.3 else ()
    return lane(
        number,
        rng.randrange(clients),
        *(
            head(
                number * 10 + place,
                waited=age,
                units=rng.choice([0, 1, 10, 40, 200]),
                needs={name: rng.choice([0, 1, 30, 200]) for name in further if rng.random() < 0.9},
            )
            for place, age in enumerate(ages)
        ),
        hops=tuple(hop(rng.choice(names), rng.choice("pq")) for _ in range(rng.randint(1, 2))),
        further_pools=further,
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
    pools = {
        name: msgspec.structs.replace(
            gate,
            big_job_id=rng.choice(heads).job_id,
            big_job_since=NOW - timedelta(seconds=rng.choice([1, 10, 700])),
        )
        for name, gate in found.pools.items()
    }
    return msgspec.structs.replace(found, pools=pools)
