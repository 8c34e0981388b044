"""Submit: check, price, hold, store and queue, each all or nothing, several in one transaction."""

from collections import Counter
from collections.abc import Sequence, Set
from datetime import datetime, timedelta

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import AppError, Unavailable, invalid
from aifactory.kernel.ids import BudgetId, ExecutionId, StageId, new_id
from aifactory.resources import flow, storage
from aifactory.resources.books import Books
from aifactory.resources.expected import Expectations, Expected
from aifactory.resources.fan_in import FanIn
from aifactory.resources.flow_prices import PricedFlow, price_each
from aifactory.resources.holds import Held, Wanted, take_holds
from aifactory.resources.interface import (
    ExecutionState,
    ExecutionView,
    NewExecution,
    StageState,
    Submitted,
    Worker,
)
from aifactory.resources.job_ends import JobEnds
from aifactory.resources.new_views import view_of
from aifactory.resources.off_peak import OffPeak
from aifactory.resources.openings import admit, postpone
from aifactory.resources.queries import control, new_work
from aifactory.resources.records import ExecutionBook, StageBook
from aifactory.resources.terms import QUEUE_OF

DEFAULT_DEADLINE = timedelta(hours=24)
NEVER = timedelta(days=366)  #: work that is only held is due this long after its hold is over

Result = Submitted | AppError | None


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A submission that was checked and priced and lacks only its hold."""

    new: NewExecution
    priced: PricedFlow


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What a process submits with: its workers, the operator's window, what is foreseen of what comes."""

    workers: dict[str, Worker]
    off_peak: OffPeak
    expectations: Expectations | None = None


async def submit(tx: Tx, new: NewExecution, desk: Desk) -> Submitted:
    """Admit an execution or raise; see ``Resources.submit``."""
    (result,) = await submit_many(tx, [new], desk)
    if isinstance(result, AppError):
        raise result
    assert result is not None  # alone, its own locks are the only ones
    return result


async def submit_many(tx: Tx, news: Sequence[NewExecution], desk: Desk) -> list[Result]:
    """Admit executions together, as if one after the other; give for each what it became or its refusal.

    What was refused has written nothing but routes. None: it needs a transaction of its own (its source is
    stored), or of those with its client, key and template; nothing was written of it either. What is found
    out too late for that is raised, and says that the transaction must be rolled back.
    """
    results: list[Result] = [None] * len(news)
    ready: dict[int, Ready] = {}
    for place, priced in enumerate(await price_each(tx, news, desk.workers)):
        try:
            if isinstance(priced, AppError):
                raise priced
            if (
                _brings_its_source(news[place]) or len(news) == 1
            ):  # what a refused one has kept must be undone
                ready[place] = await _ready(tx, news[place], priced, desk.off_peak)
        except AppError as refusal:
            results[place] = refusal
    if ready:
        books = await _open_books(tx, [one.priced for one in ready.values()])
        held = await take_holds(tx, [_wanted(one) for one in ready.values()])
        admitted: dict[int, ExecutionBook] = {}
        for (place, one), hold in zip(ready.items(), held, strict=True):
            if isinstance(hold, dict):
                admitted[place] = _admit(tx, books, one, hold)
            else:
                results[place] = hold
        await _open_work(tx, books, {place: ready[place].new for place in admitted}, admitted, desk.workers)
        if admitted:
            await _store_sources(tx, [ready[place].new for place in admitted])
            await new_work.write(tx, books)
        jobs = Counter(job.stage_id for job in books.new_jobs.values())
        for place, execution in admitted.items():
            view = view_of(execution, books.stages_of(execution.id), ready[place].priced.lines, jobs)
            lanes = books.lane_ids.get(execution.id, set())
            results[place] = _submitted(tx, ready[place], view, lanes, desk.expectations)
    return results


async def _ready(tx: Tx, new: NewExecution, priced: PricedFlow, off_peak: OffPeak) -> Ready:
    """Settle when a priced submission is due, and keep a stored source until its work must have ended."""
    _check_wanted(new)
    new = _put_off(tx, new, priced, off_peak) if new.off_peak else new
    if new.deadline is not None and new.deadline <= max(tx.now, new.run_after or tx.now):
        raise invalid("/deadline", "in_the_past", "The deadline must lie ahead, and after runAfter.")
    if not _brings_its_source(new):
        assert new.source is not None
        ends = _deadline(tx, new)
        await storage.keep(tx, client_id=new.client_id, data_id=new.source, deadline=ends)
    return Ready(new=new, priced=priced)


def _brings_its_source(new: NewExecution) -> bool:
    return new.source is None or new.unstored_source is not None


async def _store_sources(tx: Tx, news: Sequence[NewExecution]) -> None:
    """Store the sources that submissions bring along; they are kept with the request."""
    for new in news:
        if new.source is not None and (given := new.unstored_source) is not None:
            await storage.store(
                tx,
                data_id=new.source,
                client_id=new.client_id,
                kind=storage.SOURCE,
                name=given.name,
                media_type=given.media_type,
                content=given.content,
            )


def _check_wanted(new: NewExecution) -> None:
    """Refuse a flow of which no stage is wanted before money is held for it: it would spoil its group."""
    stages = [
        flow.EndedStage(ordinal=ordinal, name=spec.name, state=StageState.WAITING, outputs=None)
        for ordinal, spec in enumerate(new.flow)
    ]
    for ordinal, spec in enumerate(new.flow):
        try:
            if flow.holds(spec.condition, flow.document_of(new.parameters, stages)):
                return
        except (KeyError, TypeError, AttributeError):  # one that can't be read fails its stage
            return
        stages[ordinal] = msgspec.structs.replace(stages[ordinal], state=StageState.SKIPPED)
    raise invalid("/parameters", "no_stage", "None of the template's stages is wanted by its conditions.")


def _wanted(ready: Ready) -> Wanted:
    return Wanted(
        client=ready.priced.client,
        key_id=ready.new.key_id,
        template=ready.new.template,
        amount_nano=ready.priced.quote.worst_nano,
    )


def _admit(tx: Tx, books: Books, ready: Ready, held: Held) -> ExecutionBook:
    books.budgets |= held
    execution = _execution(tx, ready.new, ready.priced, tuple(held))
    lines = {ordinal: list(own) for ordinal, own in enumerate(ready.priced.lines)}
    admit(books, execution, _stages(execution.id, ready.new, ready.priced), lines)
    return execution


async def _open_work(
    tx: Tx,
    books: Books,
    news: dict[int, NewExecution],
    executions: dict[int, ExecutionBook],
    workers: dict[str, Worker],
) -> None:
    """Open the first jobs of new executions. Raises Unavailable for one that has none."""
    fan_in = FanIn(JobEnds(tx, books, workers))
    for execution in executions.values():
        await fan_in.start_next(execution)
    await fan_in.advance_stages()
    for place, execution in executions.items():
        if execution.finished_at is not None:
            raise Unavailable("The first step of this template could not be planned; the operator was told.")
        later = _not_before(tx, news[place])
        if later is not None:
            for job in books.queued.values():
                if job.execution_id == execution.id:
                    postpone(job, later)


def _submitted(
    tx: Tx, ready: Ready, view: ExecutionView, lanes: Set[int], expectations: Expectations | None
) -> Submitted:
    new = ready.new
    expected = Expected(starts_at=_later(tx, new) if new.hold_until is None else None)
    if _not_before(tx, new) is None and expectations is not None:
        expected = expectations.of(tx.now, lanes)
    return Submitted(
        execution=view,
        quote=ready.priced.quote,
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


async def _open_books(tx: Tx, priced: Sequence[PricedFlow]) -> Books:
    routes = {}
    every = {line.route for one in priced for lines in one.lines for line in lines}
    # In one order in every process: who stores several new ones locks them one after the other.
    for route in sorted(every, key=msgspec.json.encode):
        routes[await control.intern_route(tx, route)] = route
    return Books(now=tx.now, prices=priced[0].prices, routes=routes)


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


def _not_before(tx: Tx, new: NewExecution) -> datetime | None:
    """Return when the jobs of new work are due; None: now."""
    return _later(tx, new) if new.hold_until is None else new.hold_until + NEVER


def _deadline(tx: Tx, new: NewExecution) -> datetime:
    """Return when an execution expires; one that is only held does so when its hold is over."""
    return new.hold_until or new.deadline or (_later(tx, new) or tx.now) + DEFAULT_DEADLINE
