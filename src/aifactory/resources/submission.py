"""Submit: check, price, hold, store and queue, all or nothing, in the caller's transaction."""

from datetime import datetime, timedelta

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import Invalid, NotFound, Unavailable, invalid
from aifactory.kernel.ids import BudgetId, ExecutionId, StageId, new_id
from aifactory.resources import flow_checks, storage
from aifactory.resources.books import Books
from aifactory.resources.expected import Expectations, Expected
from aifactory.resources.fan_in import FanIn
from aifactory.resources.flow import STAGES, at_stage, check_stage_parameters, parameters_of
from aifactory.resources.holds import take_hold
from aifactory.resources.interface import (
    Accuracy,
    ClientLimits,
    ClientSuspended,
    DataNotFound,
    ExecutionState,
    FlowStage,
    Line,
    Model,
    ModelChoice,
    NewExecution,
    Ports,
    Quote,
    ResolvedStage,
    StageInputs,
    StageState,
    Submitted,
    Tier,
    TierTooLow,
    Urgency,
    Worker,
)
from aifactory.resources.job_ends import JobEnds
from aifactory.resources.off_peak import OffPeak
from aifactory.resources.openings import admit, postpone
from aifactory.resources.pool_checks import check_pools
from aifactory.resources.pricing import Pools, Prices, quote_lines
from aifactory.resources.queries import books as book_queries
from aifactory.resources.queries import control, data
from aifactory.resources.records import ExecutionBook, StageBook
from aifactory.resources.terms import QUEUE_OF

DEFAULT_DEADLINE = timedelta(hours=24)
NEVER = timedelta(days=366)  #: work that is only held is due this long after its hold is over


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
    client = await control.find_client(tx, new.client_id)
    if client is None:
        raise NotFound("This client is unknown to the Resource Manager.")
    if client.suspended:
        raise ClientSuspended("The operator has suspended this client; ask the operator to lift it.")
    return Ground(
        client=client,
        inputs=await _inputs(tx, new),
        models=await control.usable_models(tx, new.client_id),
        prices=await control.prices(tx),
        pools=await control.pool_capacities(tx, [new.client_id]),
    )


async def price_flow(tx: Tx, new: NewExecution, workers: dict[str, Worker]) -> PricedFlow:
    """Check a submission against its templates, its tier and its pools, and price it."""
    return await price_on(tx, new, await read_ground(tx, new), workers)


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


async def submit(
    tx: Tx,
    new: NewExecution,
    workers: dict[str, Worker],
    off_peak: OffPeak,
    expectations: Expectations | None = None,
) -> Submitted:
    """Admit an execution or raise; see ``Resources.submit``."""
    if new.unstored_source is not None:
        raise ValueError("A source must be stored before work on it is submitted.")
    priced = await price_flow(tx, new, workers)
    new = _put_off(tx, new, priced, off_peak) if new.off_peak else new
    if new.deadline is not None and new.deadline <= max(tx.now, new.run_after or tx.now):
        raise invalid("/deadline", "in_the_past", "The deadline must lie ahead, and after runAfter.")
    if new.source is not None:
        ends = _deadline(tx, new)
        await storage.keep(tx, client_id=new.client_id, data_id=new.source, deadline=ends)
    books = await _open_books(tx, priced)
    books.budgets = await take_hold(
        tx, priced.client, key_id=new.key_id, template=new.template, amount_nano=priced.quote.worst_nano
    )
    execution = _execution(tx, new, priced, tuple(books.budgets))
    stages = _stages(execution.id, new, priced)
    admit(books, execution, stages, {n: list(lines) for n, lines in enumerate(priced.lines)})
    fan_in = FanIn(JobEnds(tx, books, workers))
    await fan_in.start_next(execution)
    await fan_in.advance_stages()
    if all(stage.state is StageState.SKIPPED for stage in stages):
        raise invalid("/parameters", "no_stage", "None of the template's stages is wanted by its conditions.")
    if execution.finished_at is not None:
        raise Unavailable("The first step of this template could not be planned; the operator was told.")
    later = _later(tx, new) if new.hold_until is None else new.hold_until + NEVER
    if later is not None:
        for job in books.queued.values():
            postpone(job, later)
    await book_queries.write_books(tx, books)
    expected = Expected(starts_at=_later(tx, new) if new.hold_until is None else None)
    if later is None and expectations is not None:
        expected = expectations.of(tx.now, books.lane_ids)
    return Submitted(
        execution_id=execution.id,
        state=execution.state,
        queue=execution.queue,
        quote=priced.quote,
        position=expected.position,
        estimated_start=expected.starts_at,
    )


def _stages(execution_id: ExecutionId, new: NewExecution, priced: PricedFlow) -> list[StageBook]:
    return [
        StageBook(
            id=StageId(new_id()),
            execution_id=execution_id,
            ordinal=ordinal,
            worker=spec.worker,
            action=spec.action,
            spec=spec,
            resolved=resolved,
            inputs=priced.inputs,
        )
        for ordinal, (spec, resolved) in enumerate(zip(new.flow, priced.stages, strict=True))
    ]


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


async def _open_books(tx: Tx, priced: PricedFlow) -> Books:
    routes = {}
    # In one order in every process: who stores several new ones locks them one after the other.
    for route in sorted({line.route for lines in priced.lines for line in lines}, key=msgspec.json.encode):
        routes[await control.intern_route(tx, route)] = route
    return Books(now=tx.now, prices=priced.prices, routes=routes)


def _execution(
    tx: Tx, new: NewExecution, priced: PricedFlow, budget_ids: tuple[BudgetId, ...]
) -> ExecutionBook:
    later = _later(tx, new)
    return ExecutionBook(
        id=ExecutionId(new_id()),
        request_id=new.request_id,
        client_id=new.client_id,
        key_id=new.key_id,
        template=new.template,
        template_version=new.template_version,
        state=ExecutionState.QUEUED,
        urgency=new.urgency,
        queue="deferred" if later else QUEUE_OF[new.urgency],
        accuracy=new.accuracy,
        input=new.parameters,
        metadata=new.metadata,
        budget_ids=budget_ids,
        estimated_nano=priced.quote.estimated_nano,
        held_nano=priced.quote.worst_nano,
        free_hold_nano=priced.quote.worst_nano,
        created_at=tx.now,
        aged_from=later or tx.now,
        deadline=_deadline(tx, new),
    )


def _put_off(tx: Tx, new: NewExecution, priced: PricedFlow, off_peak: OffPeak) -> NewExecution:
    """Let off-peak work run when its window is open."""
    due_at = off_peak.due_at(
        tx.now,
        run_after=new.run_after,
        deadline=new.deadline,
        expected_seconds=sum(stage.expected_seconds or 0 for stage in priced.stages),
    )
    return msgspec.structs.replace(new, run_after=due_at)


def _later(tx: Tx, new: NewExecution) -> datetime | None:
    """Return when deferred work is due; None: now."""
    return new.run_after if new.run_after is not None and new.run_after > tx.now else None


def _deadline(tx: Tx, new: NewExecution) -> datetime:
    """Return when an execution expires; one that is only held does so when its hold is over."""
    return new.hold_until or new.deadline or (_later(tx, new) or tx.now) + DEFAULT_DEADLINE
