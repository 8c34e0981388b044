"""HTTP of estimates: what a request would cost and need, before anything is stored."""

from datetime import datetime
from decimal import Decimal

from litestar import post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.http import MAX_SOURCE_BODY
from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.kernel.principal import MONEY_READERS, Principal
from aifactory.resources import estimates, schemas
from aifactory.resources.buckets import MICRO
from aifactory.resources.execution_inputs import check_choice, new_request, pointers_of
from aifactory.resources.interface import (
    Estimate,
    NewExecution,
    PricedLine,
    PricedStage,
    RequestBook,
    Resources,
    Tier,
    TierEstimate,
)
from aifactory.resources.queries import tick as tick_queries


class LineView(schemas.View, frozen=True, kw_only=True):
    """At most ``count`` jobs of a kind, each within its bounds, at the first hop of its route."""

    kind: str
    phase: str
    count: int
    provider: str
    model: str
    pool: str
    further_pools: tuple[str, ...]
    input_bound: int
    output_limit: int
    expected_input: int
    expected_output: int
    estimated_cost_usd: Decimal
    worst_cost_usd: Decimal


class StageEstimateView(schemas.View, frozen=True, kw_only=True):
    """A stage: the worker template that would run, its price and its lines."""

    ordinal: int
    name: str | None
    worker: str
    template: str
    template_version: int
    minimum_tier: Tier
    estimated_cost_usd: Decimal
    worst_cost_usd: Decimal
    lines: list[LineView]


class TierView(schemas.View, frozen=True, kw_only=True):
    """What a tier says: allowed, or the refusal's code; the price; whether its monthly budget would do."""

    tier: Tier
    allowed: bool
    refusal: str | None
    estimated_cost_usd: Decimal | None
    worst_cost_usd: Decimal | None
    monthly_budget_usd: Decimal | None
    fits: bool


class BudgetView(schemas.View, frozen=True, kw_only=True):
    """The client's budget of this month."""

    limit_usd: Decimal
    spent_usd: Decimal
    held_usd: Decimal
    left_usd: Decimal
    resets_at: datetime


class CostEstimate(schemas.View, frozen=True, kw_only=True):
    """What a request would cost; ``worstCostUsd`` is what would be held, ``fits``: it would be taken now.

    ``requiredTier`` is set when the client's tier is too low; the figures are then that tier's.
    """

    client_id: str
    template: str
    template_version: int
    estimated_cost_usd: Decimal
    worst_cost_usd: Decimal
    fits: bool
    required_tier: Tier | None
    budget: BudgetView
    stages: list[StageEstimateView]
    tiers: list[TierView]


class PoolNeedView(schemas.View, frozen=True, kw_only=True):
    """What a pool must give, and when its largest job could start if nothing else did.

    ``availableAt`` null: not as things are; ``obstacle`` says why.
    """

    pool: str
    unit: str
    jobs: int
    largest_job_units: int
    total_units: int
    level: int
    capacity: int
    refill_per_second: int
    available_now: bool
    available_at: datetime | None
    obstacle: str | None


class ResourceEstimate(schemas.View, frozen=True, kw_only=True):
    """What a request would need of each pool, and what it would cost."""

    pools: list[PoolNeedView]
    cost: CostEstimate


@post(
    "/api/cost/estimate",
    roles=MONEY_READERS,
    scope="read",
    status_code=200,
    tags=["Cost"],
    request_max_body_size=MAX_SOURCE_BODY,
    refusals=[404],
)
async def estimate_cost(
    data: JSONBody[schemas.ExecuteInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    book: NamedDependency[RequestBook],
    principal: NamedDependency[Principal],
) -> CostEstimate:
    """Say what a request would cost, line by line and tier by tier, and whether it fits the budget now.

    Takes what ``/api/execute`` takes, a source's text included; stores nothing and holds nothing.
    """
    async with db.begin() as tx:
        new, found = await estimate_body(tx, data, resources, book, principal)
    return _cost_view(new, found)


@post(
    "/api/resources/estimate",
    roles=MONEY_READERS,
    scope="read",
    status_code=200,
    tags=["Resources"],
    request_max_body_size=MAX_SOURCE_BODY,
    refusals=[404],
)
async def estimate_resources(
    data: JSONBody[schemas.ExecuteInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    book: NamedDependency[RequestBook],
    principal: NamedDependency[Principal],
) -> ResourceEstimate:
    """Say what a request would need of each pool and when that pool has it, with what it would cost.

    Takes what ``/api/execute`` takes, a source's text included; stores nothing and holds nothing.
    """
    async with db.begin() as tx:
        new, found = await estimate_body(tx, data, resources, book, principal)
        pools = await tick_queries.read_pools(tx)
        needs = estimates.pool_needs(found, pools, tx.now)
    return ResourceEstimate(pools=[_need_view(need, tx.now) for need in needs], cost=_cost_view(new, found))


async def estimate_body(
    tx: Tx, data: schemas.ExecuteInput, resources: Resources, book: RequestBook, caller: Principal
) -> tuple[NewExecution, Estimate]:
    """Check and price what a body asks for; stores nothing."""
    check_choice(data, caller)
    with pointers_of(data):
        new = (await book.check_request(tx, await new_request(tx, resources, book, data, caller))).new
        return new, await resources.estimate(tx, new)


def _cost_view(new: NewExecution, found: Estimate) -> CostEstimate:
    budget = found.budget
    return CostEstimate(
        client_id=text_id("client", found.client_id),
        template=new.template,
        template_version=new.template_version,
        estimated_cost_usd=usd(found.quote.estimated_nano),
        worst_cost_usd=usd(found.quote.worst_nano),
        fits=found.fits,
        required_tier=found.required_tier,
        budget=BudgetView(
            limit_usd=usd(budget.limit_nano),
            spent_usd=usd(budget.spent_nano),
            held_usd=usd(budget.held_nano),
            left_usd=usd(max(0, budget.limit_nano - budget.spent_nano - budget.held_nano)),
            resets_at=budget.period_end,
        ),
        stages=[
            _stage_view(ordinal, new.flow[ordinal].name, stage) for ordinal, stage in enumerate(found.stages)
        ],
        tiers=[_tier_view(tier) for tier in found.tiers],
    )


def _stage_view(ordinal: int, name: str | None, stage: PricedStage) -> StageEstimateView:
    return StageEstimateView(
        ordinal=ordinal,
        name=name,
        worker=stage.worker,
        template=stage.template,
        template_version=stage.template_version,
        minimum_tier=stage.minimum_tier,
        estimated_cost_usd=usd(sum(line.quote.estimated_nano for line in stage.lines)),
        worst_cost_usd=usd(sum(line.quote.worst_nano for line in stage.lines)),
        lines=[_line_view(priced) for priced in stage.lines],
    )


def _line_view(priced: PricedLine) -> LineView:
    line, hop = priced.line, priced.line.route.hops[0]
    return LineView(
        kind=line.kind,
        phase=line.phase,
        count=line.count,
        provider=hop.provider,
        model=hop.model,
        pool=hop.pool,
        further_pools=line.route.further_pools,
        input_bound=line.input_bound,
        output_limit=line.output_limit,
        expected_input=line.expected_input,
        expected_output=line.expected_output,
        estimated_cost_usd=usd(priced.quote.estimated_nano),
        worst_cost_usd=usd(priced.quote.worst_nano),
    )


def _tier_view(found: TierEstimate) -> TierView:
    quote, limit = found.quote, found.monthly_budget_nano
    return TierView(
        tier=found.tier,
        allowed=quote is not None,
        refusal=found.refusal,
        estimated_cost_usd=None if quote is None else usd(quote.estimated_nano),
        worst_cost_usd=None if quote is None else usd(quote.worst_nano),
        monthly_budget_usd=None if limit is None else usd(limit),
        fits=found.fits,
    )


def _need_view(need: estimates.PoolNeed, now: datetime) -> PoolNeedView:
    gate = need.gate
    return PoolNeedView(
        pool=gate.pool,
        unit=need.unit,
        jobs=need.jobs,
        largest_job_units=need.largest_job_units,
        total_units=need.total_units,
        level=gate.level_micro // MICRO,
        capacity=gate.capacity,
        refill_per_second=gate.refill_per_second,
        available_now=need.available_at is not None and need.available_at <= now,
        available_at=need.available_at,
        obstacle=need.obstacle,
    )


ROUTES: list[HTTPRouteHandler] = [estimate_cost, estimate_resources]
