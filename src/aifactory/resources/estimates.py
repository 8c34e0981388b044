"""What a submission would need and cost, line by line and tier by tier; stores nothing."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import AppError
from aifactory.kernel.ids import ClientId
from aifactory.resources import budgets, flow_prices
from aifactory.resources.flow_prices import PricedFlow
from aifactory.resources.gates import PoolGate
from aifactory.resources.interface import (
    BudgetNow,
    Estimate,
    Line,
    NewExecution,
    PricedLine,
    PricedStage,
    Quote,
    Tier,
    TierEstimate,
    TierTooLow,
    Urgency,
    Worker,
)
from aifactory.resources.pool_plan import Opening, PoolPlan
from aifactory.resources.pricing import quote_lines
from aifactory.resources.queries import budgets as budget_queries
from aifactory.resources.queries import control


async def estimate(tx: Tx, new: NewExecution, workers: dict[str, Worker]) -> Estimate:
    """Price a submission; see ``Resources.estimate``."""
    ground = await flow_prices.read_ground(tx, new)
    client = ground.client
    found: dict[Tier, PricedFlow | AppError] = {}
    for tier in Tier:
        there = msgspec.structs.replace(ground, client=msgspec.structs.replace(client, tier=tier))
        try:
            found[tier] = await flow_prices.price_on(tx, new, there, workers)
        except AppError as error:
            if error.status >= 500:
                raise
            found[tier] = error
    shown_tier, priced = _shown(found, client.tier)
    scopes = budgets.scopes_of(tx.now, client.time_zone, key_id=new.key_id, template=new.template)
    levels = await budget_queries.levels(tx, client.client_id, scopes)
    level = levels[0]  # the client's own
    limits = await control.tier_budgets(tx)
    return Estimate(
        client_id=client.client_id,
        urgency=new.urgency,
        required_tier=None if shown_tier is client.tier else shown_tier,
        quote=priced.quote,
        stages=_stages(new, priced),
        tiers=tuple(_at_tier(tier, found[tier], limits.get(tier)) for tier in Tier),
        budget=BudgetNow(
            limit_nano=level.limit_nano,
            held_nano=level.held_nano,
            spent_nano=level.spent_nano,
            period_end=level.period_end,
        ),
        fits=shown_tier is client.tier and all(one.allows(priced.quote.worst_nano) for one in levels),
    )


def _shown(found: dict[Tier, PricedFlow | AppError], own: Tier) -> tuple[Tier, PricedFlow]:
    """Return the client's tier, or the lowest above that allows it. Raises the own tier's refusal."""
    for tier in [one for one in Tier if one.rank >= own.rank]:
        priced = found[tier]
        if isinstance(priced, PricedFlow):
            return tier, priced
        if not isinstance(priced, TierTooLow):
            raise priced
    refusal = found[own]
    assert isinstance(refusal, AppError)
    raise refusal


def _stages(new: NewExecution, priced: PricedFlow) -> tuple[PricedStage, ...]:
    return tuple(
        PricedStage(
            worker=stage.worker,
            template=resolved.template,
            template_version=resolved.template_version,
            minimum_tier=resolved.minimum_tier,
            lines=tuple(_line(line, priced) for line in lines),
            expected_seconds=resolved.expected_seconds,
            memory_mb=resolved.memory_mb,
        )
        for stage, resolved, lines in zip(new.flow, priced.stages, priced.lines, strict=True)
    )


def _line(line: Line, priced: PricedFlow) -> PricedLine:
    estimated, worst = quote_lines([line], priced.prices)
    return PricedLine(line=line, quote=Quote(estimated_nano=estimated, worst_nano=worst))


def _at_tier(tier: Tier, found: PricedFlow | AppError, limit: int | None) -> TierEstimate:
    if isinstance(found, AppError):
        return TierEstimate(tier=tier, quote=None, refusal=found.code, monthly_budget_nano=limit, fits=False)
    fits = limit is None or found.quote.worst_nano <= limit
    return TierEstimate(tier=tier, quote=found.quote, refusal=None, monthly_budget_nano=limit, fits=fits)


# What pools must give. Pure.


class PoolNeed(msgspec.Struct, frozen=True, kw_only=True):
    """What a submission takes from a pool at its lines' first hops, and when the largest job could start.

    ``available_at`` None: not as things are, because of ``obstacle``.
    """

    gate: PoolGate
    unit: str
    jobs: int
    largest_job_units: int
    total_units: int
    available_at: datetime | None
    obstacle: str | None


def pool_needs(found: Estimate, pools: Sequence[tuple[PoolGate, str]], now: datetime) -> list[PoolNeed]:
    """Return what each pool must give, by its name; ``pools`` are refilled to ``now``."""
    drawn: dict[str, list[Line]] = {}
    for stage in found.stages:
        for priced in stage.lines:
            route = priced.line.route
            for pool in dict.fromkeys((route.hops[0].pool, *route.further_pools)):
                drawn.setdefault(pool, []).append(priced.line)
    return [_need(gate, unit, drawn[gate.pool], found, now) for gate, unit in pools if gate.pool in drawn]


def _need(gate: PoolGate, unit: str, lines: list[Line], found: Estimate, now: datetime) -> PoolNeed:
    draws = [_drawn(gate.pool, line) for line in lines]
    largest = max(draws)
    opening = promised_opening(gate, largest, found.urgency, found.client_id, now)
    return PoolNeed(
        gate=gate,
        unit=unit,
        jobs=sum(line.count for line in lines),
        largest_job_units=largest,
        total_units=sum(line.count * units for line, units in zip(lines, draws, strict=True)),
        available_at=opening.at,
        obstacle=opening.obstacle,
    )


def _drawn(pool: str, line: Line) -> int:
    """Return what one job of a line takes from a pool at the route's first hop."""
    own = line.input_bound + line.output_limit if line.route.hops[0].pool == pool else 0
    return own + line.needs.get(pool, 0)


def promised_opening(
    gate: PoolGate, units: int, urgency: Urgency, client_id: ClientId, now: datetime
) -> Opening:
    """Return when a pool can start a job if nothing else does.

    Counted with the reserve kept for urgent work, which the scheduler lends while there is none.
    """
    pool = PoolPlan(gate, now)
    pool.urgent_waits = True
    return pool.opens_at(units, urgency, client_id)
