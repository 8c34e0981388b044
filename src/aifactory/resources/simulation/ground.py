"""What a simulated fleet is made of: pools, queues, tiers, clients, quotas, outages, slots. Pure.

As the operator writes it down; what is left out is as a new installation has it.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal, cast
from uuid import UUID

import msgspec
from msgspec import Meta

from aifactory.kernel.ids import ClientId
from aifactory.kernel.money import NANO_PER_USD
from aifactory.resources import buckets
from aifactory.resources.gates import ClientGate, PoolGate, ProviderGate, QueueGate, WorkerGate
from aifactory.resources.pricing import Price
from aifactory.resources.quotas import Quota, QuotaPeriod, period_around
from aifactory.resources.virtual.fleet import Controls, VirtualFleet

Percent = Annotated[int, Meta(ge=0, le=100)]
Count = Annotated[int, Meta(ge=0, le=10**12)]
Some = Annotated[int, Meta(ge=1, le=10**12)]
Usd = Decimal
MOST_USD = Decimal(10**9)


class PriceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dollars for a million units of each kind; cached input costs as input unless it is given."""

    input: Usd = Decimal(0)
    output: Usd = Decimal(0)
    cached: Usd | None = None


class PoolSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool with the one model that draws on it; it begins full."""

    capacity: Some = 90_000
    refill_per_second: Count = 1_500
    requests_per_minute: Some | None = None
    reserved_percent: Percent = 10
    provider: str | None = None
    dedicated_client: str | None = None
    paused: bool = False
    price: PriceSpec = PriceSpec()


class QueueSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A queue's policy; ``rank`` 0 is the top."""

    rank: Annotated[int, Meta(ge=0, le=100)]
    policy: Literal["score", "fair"]
    share_percent: Percent
    full_age_seconds: Some
    paused: bool = False


class TierSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tier gives."""

    points: Annotated[int, Meta(ge=0, le=40)]
    weight: Some
    max_running: Count
    monthly_budget_usd: Usd | None = None


class ClientSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client, or ``count`` alike of them; what is given here overrides the tier."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    count: Annotated[int, Meta(ge=1, le=10_000)] = 1
    tier: str = "standard"
    max_running: Count | None = None
    weight: Some | None = None
    points: Annotated[int, Meta(ge=0, le=40)] | None = None
    budget_usd: Usd | None = None
    suspended: bool = False
    time_zone: str = "UTC"

    @property
    def names(self) -> list[str]:
        """Return the names of the clients that this is."""
        return [self.name] if self.count == 1 else [f"{self.name}-{n}" for n in range(1, self.count + 1)]


class QuotaSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A quota of a pool, for each of some clients."""

    clients: str
    pool: str
    period: QuotaPeriod
    units: Count


class OutageSpec(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"since": "from", "until": "to"},
):
    """A provider that nothing starts at for a while; what runs there goes on."""

    provider: str
    since: datetime
    until: datetime


class RunSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When it plays and with how many slots; ``drain``: it goes on until nothing waits any more.

    ``turnaround_ms``: how long a free slot or a new job waits for the tick that sees it.
    """

    seed: int = 1
    start: datetime = datetime(2026, 1, 5, 8, tzinfo=UTC)
    hours: Annotated[float, Meta(ge=1e-6, le=24 * 366)] = 8.0
    drain: bool = True
    slots: Count = 64
    local_slots: Count = 3
    turnaround_ms: Annotated[float, Meta(ge=0, le=60_000)] = 15.0


QUEUES = {
    "immediate": QueueSpec(rank=0, policy="score", share_percent=0, full_age_seconds=30),
    "fast": QueueSpec(rank=1, policy="score", share_percent=25, full_age_seconds=120),
    "normal": QueueSpec(rank=2, policy="fair", share_percent=15, full_age_seconds=6000),
    "batch": QueueSpec(rank=3, policy="fair", share_percent=8, full_age_seconds=7200),
    "deferred": QueueSpec(rank=4, policy="fair", share_percent=2, full_age_seconds=7200),
}
TIERS = {
    "basic": TierSpec(points=10, weight=10, max_running=5, monthly_budget_usd=Decimal(100)),
    "standard": TierSpec(points=20, weight=20, max_running=20, monthly_budget_usd=Decimal(500)),
    "premium": TierSpec(points=30, weight=30, max_running=50, monthly_budget_usd=Decimal(1000)),
    "enterprise": TierSpec(points=40, weight=40, max_running=100),
}


class Ground(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that work is played on. Workers are told by name where they have a cap."""

    run: RunSpec = RunSpec()
    pools: dict[str, PoolSpec]
    queues: dict[str, QueueSpec] = {}
    tiers: dict[str, TierSpec] = {}
    clients: list[ClientSpec]
    workers: dict[str, Count | None] = {}
    quotas: list[QuotaSpec] = []
    outages: list[OutageSpec] = []

    def tier(self, name: str) -> TierSpec:
        """Return a tier, one of the ground's own or a usual one."""
        return (TIERS | self.tiers)[name]


def client_ids(ground: Ground) -> dict[str, ClientId]:
    """Return an id for each client's name."""
    names = [name for spec in ground.clients for name in spec.names]
    return {name: ClientId(quick_id(number)) for number, name in enumerate(names, 1)}


def quick_id(number: int) -> UUID:
    """Return an id as a number: ids are only hashed, compared and sorted here, and that all the time."""
    return cast(UUID, number)


def fleet_of(ground: Ground) -> VirtualFleet:
    """Return the ground as a fleet without work, its pools full."""
    ids, now = client_ids(ground), ground.run.start
    controls = Controls(
        queues={
            name: QueueGate(queue=name, **msgspec.structs.asdict(spec))
            for name, spec in (QUEUES | ground.queues).items()
        },
        pools=[_pool(name, spec, ids) for name, spec in ground.pools.items()],
        clients=[
            _client(ids[name], spec, ground.tier(spec.tier)) for spec in ground.clients for name in spec.names
        ],
        workers=[WorkerGate(worker=name, max_running=most) for name, most in ground.workers.items()],
        providers=[ProviderGate(provider=name) for name in sorted(providers_of(ground).values())],
        slots=ground.run.slots,
        local_slots=ground.run.local_slots,
    )
    fleet = VirtualFleet(controls, now)
    zones = {name: spec.time_zone for spec in ground.clients for name in spec.names}
    for quota in ground.quotas:
        for name in names_of(ground, quota.clients):
            fleet.quotas.add(_quota(quota, ids[name], zones[name], now), zones[name])
    return fleet


def names_of(ground: Ground, clients: str) -> list[str]:
    """Return the clients that a name stands for: one, all of a kind, or ``*``."""
    return [name for spec in ground.clients for name in spec.names if clients in ("*", spec.name, name)]


def providers_of(ground: Ground) -> dict[str, str]:
    """Return the provider of each pool's model; one of its own unless it is named."""
    return {name: spec.provider or name for name, spec in ground.pools.items()}


def price_of_pool(spec: PoolSpec, at: datetime) -> Price:
    """Return the price of a pool's model."""
    cached = spec.price.input if spec.price.cached is None else spec.price.cached
    input_nano, cached_nano, output_nano = (
        int(usd * NANO_PER_USD) for usd in (spec.price.input, cached, spec.price.output)
    )
    return Price(
        input_nano_per_million=input_nano,
        cached_nano_per_million=cached_nano,
        output_nano_per_million=output_nano,
        source="simulated",
        at=at,
    )


def _pool(name: str, spec: PoolSpec, ids: dict[str, ClientId]) -> PoolGate:
    return PoolGate(
        pool=name,
        capacity=spec.capacity,
        refill_per_second=spec.refill_per_second,
        level_micro=spec.capacity * buckets.MICRO,
        requests_per_minute=spec.requests_per_minute,
        requests_micro=(spec.requests_per_minute or 0) * buckets.MICRO,
        reserved_percent=spec.reserved_percent,
        dedicated_client_id=ids[spec.dedicated_client] if spec.dedicated_client else None,
        paused=spec.paused,
    )


def _client(client_id: ClientId, spec: ClientSpec, tier: TierSpec) -> ClientGate:
    return ClientGate(
        client_id=client_id,
        points=tier.points if spec.points is None else spec.points,
        weight=tier.weight if spec.weight is None else spec.weight,
        max_running=tier.max_running if spec.max_running is None else spec.max_running,
        suspended=spec.suspended,
    )


def _quota(spec: QuotaSpec, client_id: ClientId, zone: str, now: datetime) -> Quota:
    period = period_around(now, spec.period, zone)
    return Quota(
        client_id=client_id,
        pool=spec.pool,
        period=spec.period,
        units_limit=spec.units,
        units_used=0,
        period_start=period.start,
        period_end=period.end,
    )
