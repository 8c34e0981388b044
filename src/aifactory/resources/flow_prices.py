"""What a flow costs: every stage resolved and bounded for its client, at the prices of now."""

from collections.abc import Sequence

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import AppError, Invalid, NotFound, Unavailable, invalid
from aifactory.resources import flow_checks, storage
from aifactory.resources.flow import STAGES, at_stage, check_stage_parameters, parameters_of
from aifactory.resources.interface import (
    Accuracy,
    ClientLimits,
    ClientSuspended,
    DataNotFound,
    FlowStage,
    Line,
    Model,
    ModelChoice,
    NewExecution,
    Ports,
    Quote,
    ResolvedStage,
    StageInputs,
    Tier,
    TierTooLow,
    Urgency,
    Worker,
)
from aifactory.resources.pool_checks import check_pools
from aifactory.resources.pricing import Pools, Prices, quote_lines
from aifactory.resources.queries import control, data


class PricedFlow(msgspec.Struct, frozen=True, kw_only=True):
    """A submission checked and priced: per stage what will run, its inputs and its lines."""

    client: ClientLimits
    inputs: StageInputs
    stages: tuple[ResolvedStage, ...]
    lines: tuple[tuple[Line, ...], ...]
    prices: Prices
    quote: Quote


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What a submission is priced against, read once: its client and inputs, models, prices and pools now."""

    client: ClientLimits
    inputs: StageInputs
    models: tuple[Model, ...]
    prices: Prices
    pools: Pools


async def read_ground(tx: Tx, new: NewExecution) -> Ground:
    """Read what a submission is priced against. Raises NotFound or ClientSuspended."""
    return await _ground(tx, new, await control.read_grounds(tx, [new.client_id]))


async def _ground(tx: Tx, new: NewExecution, grounds: control.Grounds) -> Ground:
    client = grounds.clients.get(new.client_id)
    if client is None:
        raise NotFound("This client is unknown to the Resource Manager.")
    if client.suspended:
        raise ClientSuspended("The operator has suspended this client; ask the operator to lift it.")
    return Ground(
        client=client,
        inputs=await _inputs(tx, new),
        models=grounds.models_of(new.client_id),
        prices=grounds.prices,
        pools=grounds.pools,
    )


async def price_flow(tx: Tx, new: NewExecution, workers: dict[str, Worker]) -> PricedFlow:
    """Check a submission against its templates, its tier and its pools, and price it."""
    return await price_on(tx, new, await read_ground(tx, new), workers)


async def price_each(
    tx: Tx, news: Sequence[NewExecution], workers: dict[str, Worker]
) -> list[PricedFlow | AppError]:
    """Check and price submissions, all at the same prices; give for each its price or why it is refused."""
    grounds = await control.read_grounds(tx, {new.client_id for new in news})
    found: list[PricedFlow | AppError] = []
    for new in news:
        try:
            found.append(await price_on(tx, new, await _ground(tx, new, grounds), workers))
        except AppError as refusal:
            found.append(refusal)
    return found


async def price_on(tx: Tx, new: NewExecution, ground: Ground, workers: dict[str, Worker]) -> PricedFlow:
    """Check and price a submission on given ground, which may be another tier's."""
    client, inputs = ground.client, ground.inputs
    best_first = new.accuracy is Accuracy.HIGH or new.urgency is Urgency.URGENT
    choice = ModelChoice(models=ground.models, best_first=best_first)
    stages, lines = await _resolve(tx, new, ground, choice, workers)
    every = [line for own in lines for line in own]
    _check_models(every, ground.prices)
    check_pools(every, new.client_id, new.urgency, ground.pools)
    estimated, worst = quote_lines(every, ground.prices)
    return PricedFlow(
        client=client,
        inputs=inputs,
        stages=tuple(stages),
        lines=tuple(lines),
        prices=ground.prices,
        quote=Quote(estimated_nano=estimated, worst_nano=worst),
    )


async def _resolve(
    tx: Tx, new: NewExecution, ground: Ground, choice: ModelChoice, workers: dict[str, Worker]
) -> tuple[list[ResolvedStage], list[tuple[Line, ...]]]:
    """Resolve every stage with what the request asks of it; a refusal says of which stage it is."""
    flow_checks.check_flow(new.flow)
    check_stage_parameters(new.flow, new.parameters)
    stages, lines, ports = [], [], []
    for ordinal, stage in enumerate(new.flow):
        worker = _worker(workers, stage)
        parameters = parameters_of(ordinal, stage, new.parameters)
        try:
            resolved = await worker.resolve(tx, stage, parameters, ground.client.tier, choice)
            if ground.client.tier.rank < resolved.minimum_tier.rank:
                raise tier_too_low(resolved, ground.client.tier)
            lines.append(tuple(worker.estimate(resolved, ground.inputs)))
        except Invalid as refusal:
            if len(new.flow) == 1 and STAGES not in new.parameters:
                raise
            raise at_stage(refusal, ordinal, stage, new.parameters) from refusal
        stages.append(resolved)
        ports.append(worker.ports(resolved))
    flow_checks.check_links(new.flow, ports)
    return stages, lines


def tier_too_low(resolved: ResolvedStage, tier: Tier) -> TierTooLow:
    """Return the refusal of a template above the client's tier."""
    return TierTooLow(
        f"Template {resolved.template} needs tier {resolved.minimum_tier}; yours is {tier}. Upgrade the tier "
        "or choose another template.",
        requiredTier=resolved.minimum_tier,
        tier=tier,
    )


async def describe_flow(
    tx: Tx, flow: tuple[FlowStage, ...], tier: Tier, workers: dict[str, Worker]
) -> tuple[Tier, Quote]:
    """Check a flow; return the tier that it needs and its price for the templates' default parameters.

    Raises Invalid with pointers below ``/flow``.
    """
    flow_checks.check_flow(flow)
    models = await control.usable_models(tx, None)
    lines: list[Line] = []
    ports: list[Ports | None] = []
    needed = Tier.BASIC
    for index, stage in enumerate(flow):
        at = f"/flow/{index}"
        if stage.worker not in workers:
            raise invalid(f"{at}/worker", "unknown_worker", _no_worker(workers, stage))
        worker = workers[stage.worker]
        try:
            resolved = await worker.resolve(tx, stage, {}, tier, ModelChoice(models=models))
            lines += worker.estimate(resolved, None)
        except NotFound as refusal:
            raise invalid(f"{at}/templateRef", refusal.code, f"{at}: {refusal.detail}") from refusal
        except Invalid as refusal:
            raise flow_checks.below_stage(refusal, index) from refusal
        needed = max(needed, resolved.minimum_tier, key=lambda one: one.rank)
        ports.append(worker.ports(resolved))
    flow_checks.check_links(flow, ports)
    prices = await control.prices(tx)
    _check_models(lines, prices)
    estimated, worst = quote_lines(lines, prices)
    return needed, Quote(estimated_nano=estimated, worst_nano=worst)


def _worker(workers: dict[str, Worker], stage: FlowStage) -> Worker:
    if stage.worker not in workers:
        raise NotFound(_no_worker(workers, stage))
    return workers[stage.worker]


def _no_worker(workers: dict[str, Worker], stage: FlowStage) -> str:
    return f"There is no worker {stage.worker!r}; known are: {', '.join(sorted(workers))}."


async def _inputs(tx: Tx, new: NewExecution) -> StageInputs:
    if new.source is None:
        return StageInputs()
    if (given := new.unstored_source) is not None:
        return StageInputs(
            source=new.source, source_name=given.name, source_words=storage.count_words(given.content)
        )
    stored = await data.find_data(tx, client_id=new.client_id, data_id=new.source)
    if stored is None:
        raise DataNotFound("The source of this request is not stored any more; upload it again.")
    return StageInputs(source=stored.id, source_name=stored.name, source_words=stored.words)


def _check_models(lines: list[Line], prices: Prices) -> None:
    """Refuse by name a line on a model that has no price."""
    for line in lines:
        for hop in line.route.hops:
            if (hop.provider, hop.model) not in prices:
                raise Unavailable(
                    f"Model {hop.model} of provider {hop.provider}, for step {line.kind}, is not set up; the "
                    "operator must add it to the provider."
                )
