"""What the cost of an execution looks like: estimated, held and real, by stage and call by call."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.resources.interface import ExecutionState, ExecutionView, StageView, Usage
from aifactory.resources.pricing import Price
from aifactory.resources.schemas import View


class PriceUsed(View, frozen=True, kw_only=True):
    """The price of a call, per million units, and where and when it was found."""

    input_usd_per_million: Decimal
    cached_usd_per_million: Decimal
    output_usd_per_million: Decimal
    source: str
    at: datetime


class Call(View, frozen=True, kw_only=True):
    """One attempt of one job: where it ran, what it used, the price used, what it cost.

    ``stage`` is the ordinal of the job's.
    """

    job_id: str
    stage: int
    kind: str
    state: str
    attempt: int
    provider: str
    model: str
    pool: str
    outcome: str | None
    usage: Usage | None
    price: PriceUsed | None
    cost_usd: Decimal
    duration_ms: int | None
    started_at: datetime
    finished_at: datetime | None


class StageCost(View, frozen=True, kw_only=True):
    """What a stage's calls have cost so far."""

    ordinal: int
    name: str | None
    template: str
    cost_usd: Decimal


class Cost(View, frozen=True, kw_only=True):
    """What an execution was estimated to cost, still holds, and really cost, by stage and call by call.

    ``heldCostUsd`` is everything that was ever held, extensions and top-ups included; never all of it at
    once. ``heldNowUsd`` is what it holds at this moment, 0 after its end.
    """

    execution_id: str
    state: ExecutionState
    estimated_cost_usd: Decimal
    held_cost_usd: Decimal
    held_now_usd: Decimal
    cost_usd: Decimal
    stages: list[StageCost]
    calls: list[Call]


def price_used(stored: dict[str, Any] | None) -> PriceUsed | None:
    """Return a stored price as it leaves."""
    if stored is None:
        return None
    price = msgspec.convert(stored, Price)
    return PriceUsed(
        input_usd_per_million=usd(price.input_nano_per_million),
        cached_usd_per_million=usd(price.cached_nano_per_million),
        output_usd_per_million=usd(price.output_nano_per_million),
        source=price.source,
        at=price.at,
    )


def stage_cost_of(view: StageView, calls: Iterable[Call]) -> StageCost:
    """Return what a stage's part of an execution's calls has cost."""
    costs = (call.cost_usd for call in calls if call.stage == view.ordinal)
    return StageCost(
        ordinal=view.ordinal, name=view.name, template=view.template, cost_usd=sum(costs, Decimal(0))
    )


def call_of(row: Any) -> Call:
    """Return an attempt's row as it leaves."""
    ended = row["finished_at"]
    return Call(
        job_id=text_id("job", row["job_id"]),
        stage=row["stage"],
        kind=row["kind"],
        state=row["state"],
        attempt=row["attempt"],
        provider=row["provider"],
        model=row["model"],
        pool=row["pool"],
        outcome=row["outcome"],
        usage=msgspec.convert(row["usage"], Usage | None),
        price=price_used(row["price"]),
        cost_usd=usd(row["cost_nano"]),
        duration_ms=None if ended is None else round((ended - row["started_at"]).total_seconds() * 1000),
        started_at=row["started_at"],
        finished_at=ended,
    )


def cost_of(view: ExecutionView, rows: Iterable[Any], held_nano: int) -> Cost:
    """Return an execution's cost as it leaves: ``rows`` are its attempts, ``held_nano`` what it holds now."""
    calls = [call_of(row) for row in rows]
    return Cost(
        execution_id=text_id("exec", view.id),
        state=view.state,
        estimated_cost_usd=usd(view.estimated_nano),
        held_cost_usd=usd(view.held_nano),
        held_now_usd=usd(held_nano),
        cost_usd=usd(view.spent_nano),
        stages=[stage_cost_of(stage, calls) for stage in view.stages],
        calls=calls,
    )
