"""What the routes of pools take and give."""

import math
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from aifactory.kernel.ids import text_id
from aifactory.kernel.money import exact_nano, usd
from aifactory.resources import buckets
from aifactory.resources.gates import PoolGate
from aifactory.resources.interface import Urgency
from aifactory.resources.pool_plan import PoolPlan
from aifactory.resources.queries.control_edit import PoolWork
from aifactory.resources.schemas import PoolState, View
from aifactory.resources.terms import MOST_PRICE_USD, PoolTerms

THOUSANDS_PER_PRICE = 1000  #: prices are kept for a million units and told for a thousand


class PoolInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A pool; ``requestsPerMinute`` null: not limited, ``dedicatedClientId`` null: shared by all clients."""

    unit: Annotated[str, Meta(min_length=1, max_length=32, pattern=r"\S")]
    capacity: Annotated[int, Meta(ge=1, le=10**12)]
    refill_per_second: Annotated[int, Meta(ge=1, le=10**9)]
    price_usd_per_thousand: Decimal
    requests_per_minute: Annotated[int, Meta(ge=1, le=10**6)] | None = None
    reserved_percent: Annotated[int, Meta(ge=0, le=90)] = 10
    dedicated_client_id: Annotated[str, Meta(max_length=64)] | None = None
    paused: bool = False


class PoolSettings(View, frozen=True, kw_only=True):
    """What of a pool can be edited: what its ETag stands for and the audit log shows."""

    unit: str
    capacity: int
    refill_per_second: int
    price_usd_per_thousand: Decimal
    requests_per_minute: int | None
    reserved_percent: int
    dedicated_client_id: str | None
    paused: bool


class BigJobView(View, frozen=True, kw_only=True):
    """The job that a pool gathers units for; after a while smaller ones stop passing it."""

    job_id: str
    since: datetime


class PoolView(PoolState, frozen=True, kw_only=True):
    """A pool's settings and how it stands.

    ``spendable`` is what work that is not urgent may take now: all of it while the reserve is lent
    (``reserveLent``), else what is above ``reserved``. ``recallSeconds`` is how long it takes at most until a
    lent reserve is there for urgent work. ``requestsLeft`` null: requests are not limited.
    """

    price_usd_per_thousand: Decimal
    requests_per_minute: int | None
    reserved_percent: int
    dedicated_client_id: str | None
    spendable: int
    reserved: int
    reserve_lent: bool
    recall_seconds: int | None
    requests_left: int | None
    big_job: BigJobView | None
    waiting_jobs: int
    running_jobs: int
    active_clients: int


def pool_state_of(gate: PoolGate, unit: str) -> PoolState:
    """Return a pool, refilled to now, as it leaves."""
    return PoolState(**pool_fields(gate, unit))


def pool_view(
    gate: PoolGate, unit: str, *, price_nano_per_million: int, work: PoolWork, now: datetime
) -> PoolView:
    """Return a pool, refilled to now, with its settings and its work as it leaves."""
    floor = floor_micro(gate, now, urgent_waits=work.urgent_waits)
    return PoolView(
        **pool_fields(gate, unit),
        price_usd_per_thousand=usd_per_thousand(price_nano_per_million),
        requests_per_minute=gate.requests_per_minute,
        reserved_percent=gate.reserved_percent,
        dedicated_client_id=_client(gate.dedicated_client_id),
        spendable=spendable_units(gate, floor),
        reserved=buckets.reserve_micro(gate.capacity, gate.reserved_percent) // buckets.MICRO,
        reserve_lent=floor == 0,
        recall_seconds=_recall_seconds(gate),
        requests_left=requests_left(gate),
        big_job=_big_job(gate),
        waiting_jobs=work.waiting,
        running_jobs=work.running,
        active_clients=work.clients,
    )


def pool_terms(data: PoolInput, dedicated_client_id: UUID | None) -> PoolTerms:
    """Return the terms that a body asks for. Raises Invalid."""
    price = exact_nano(
        "/priceUsdPerThousand", data.price_usd_per_thousand, times=THOUSANDS_PER_PRICE, most=MOST_PRICE_USD
    )
    return PoolTerms(
        unit=data.unit,
        capacity=data.capacity,
        refill_per_second=data.refill_per_second,
        price_nano_per_million=price,
        requests_per_minute=data.requests_per_minute,
        reserved_percent=data.reserved_percent,
        dedicated_client_id=dedicated_client_id,
        paused=data.paused,
    )


def usd_per_thousand(price_nano_per_million: int) -> Decimal:
    """Return a price as it is told, exact."""
    return usd(price_nano_per_million) / THOUSANDS_PER_PRICE


def floor_micro(gate: PoolGate, now: datetime, *, urgent_waits: bool) -> int:
    """Return the level that work that is not urgent may not cross now, as the scheduler sees it."""
    plan = PoolPlan(gate, now)
    plan.urgent_waits = urgent_waits
    return plan.floor_micro(Urgency.NORMAL)


def spendable_units(gate: PoolGate, floor: int) -> int:
    """Return the whole units above a floor in micro-units."""
    return max(0, (gate.level_micro - floor) // buckets.MICRO)


def requests_left(gate: PoolGate) -> int | None:
    """Return how many requests may start at once now; None: any number."""
    return None if gate.requests_per_minute is None else max(0, gate.requests_micro // buckets.MICRO)


def pool_fields(gate: PoolGate, unit: str) -> dict[str, Any]:
    """Return the members of a pool's state."""
    return {
        "pool": gate.pool,
        "unit": unit,
        "capacity": gate.capacity,
        "level": gate.level_micro // buckets.MICRO,
        "refill_per_second": gate.refill_per_second,
        "paused": gate.paused,
        "blocked_until": gate.blocked_until,
    }


def _client(client_id: UUID | None) -> str | None:
    return None if client_id is None else text_id("client", client_id)


def _recall_seconds(gate: PoolGate) -> int | None:
    seconds = buckets.recall_seconds(
        capacity=gate.capacity,
        reserved_percent=gate.reserved_percent,
        refill_per_second=gate.refill_per_second,
    )
    return None if seconds is None else math.ceil(seconds)


def _big_job(gate: PoolGate) -> BigJobView | None:
    if gate.big_job_id is None or gate.big_job_since is None:
        return None
    return BigJobView(job_id=text_id("job", gate.big_job_id), since=gate.big_job_since)
