"""Opening work in the books: executions with lines, jobs that a line or a further hold pays for. Pure."""

from datetime import datetime

from aifactory.kernel.ids import ExecutionId, JobId, new_id
from aifactory.resources.books import Books
from aifactory.resources.interface import JobFault, JobState, Line, NewJob
from aifactory.resources.ledger import EntryKind
from aifactory.resources.pricing import largest_draws, too_large, worst_of_route
from aifactory.resources.records import ExecutionBook, JobBook, LineBook, StageBook

NO_MONEY = JobFault(code="no_money", message="The budget did not allow a larger hold for this step.")
NO_LINE = JobFault(code="no_line", message="This step was not part of what was held for.")
UNKNOWN_MODEL = JobFault(code="unknown_model", message="A model on this step's route is not set up.")
EXCEEDS_POOL = JobFault(code="exceeds_pool", message="This step needs more units than a pool or quota has.")
REFUSED = (NO_MONEY, NO_LINE)  # after the others, a smaller step or another route may do


def admit(
    books: Books, execution: ExecutionBook, stages: list[StageBook], lines: dict[int, list[Line]]
) -> None:
    """Enter a new execution with its stages and lines, its hold already taken from the budgets."""
    books.executions[execution.id] = execution
    books.new_executions.append(execution)
    for stage in stages:
        books.stages[stage.id] = stage
        books.new_stages.append(stage)
    for ordinal, stage_lines in lines.items():
        for line in stage_lines:
            book = _line_book(books, execution.id, ordinal, line)
            books.lines[execution.id, ordinal, line.kind] = book
            books.new_lines.append(book)
            execution.jobs_total += book.count
    books.enter(execution, execution.id, 0, EntryKind.HOLD, execution.held_nano)
    books.emit(execution, "execution.queued", {"template": execution.template, "queue": execution.queue})


def _line_book(books: Books, execution_id: ExecutionId, ordinal: int, line: Line) -> LineBook:
    return LineBook(
        execution_id=execution_id,
        stage_ordinal=ordinal,
        kind=line.kind,
        phase=line.phase,
        count=line.count,
        remaining=line.count,
        route_id=books.route_ids[line.route],
        input_bound=line.input_bound,
        output_limit=line.output_limit,
        worst_nano=worst_of_route(line.route, line.input_bound, line.output_limit, books.prices),
        needs=line.needs,
    )


def open_job(books: Books, stage: StageBook, new: NewJob) -> JobBook:
    """Open a job that a line pays for, or extend the hold; what nothing pays for is failed at once."""
    execution = books.executions[stage.execution_id]
    line = books.lines.get((execution.id, stage.ordinal, new.line)) if new.line is not None else None
    job = _job_book(books, execution, stage, new, line)
    job.fault = _draw(execution, job, line) if new.line is not None else _fund(books, execution, job, new)
    execution.jobs_total += 1
    if job.fault is None:
        stage.open_jobs += 1
        books.queued[job.id] = job
    else:
        job.state, job.finished_at = JobState.FAILED, books.now
        execution.jobs_done += 1
    books.jobs[job.id] = books.new_jobs[job.id] = job
    return job


def _draw(execution: ExecutionBook, job: JobBook, line: LineBook | None) -> JobFault | None:
    """Move one worst case from a line to a job, which may need no more of further pools than the line."""
    if line is None or line.remaining < 1:
        return NO_LINE
    if not all(0 <= units <= line.needs.get(pool, 0) for pool, units in job.needs.items()):
        return NO_LINE
    line.remaining -= 1
    execution.jobs_total -= 1  # it was counted as a place; it is counted as a job next
    execution.free_hold_nano -= line.worst_nano
    job.hold_nano = line.worst_nano
    return None


def _fund(books: Books, execution: ExecutionBook, job: JobBook, new: NewJob) -> JobFault | None:
    """Hold what a job outside the lines may cost, unless it could never start."""
    if new.route is None or new.input_bound is None or new.output_limit is None:
        return NO_LINE
    if any((hop.provider, hop.model) not in books.prices for hop in new.route.hops):
        return UNKNOWN_MODEL
    draws = largest_draws(new.route, job.units, job.needs)
    if too_large(draws, execution.client_id, execution.urgency, books.pools):
        return EXCEEDS_POOL
    return None if books.extend(execution, job, EntryKind.HOLD, books.worst_of(job)) else NO_MONEY


def _attempts(new: NewJob, stage: StageBook) -> int:
    allowed = stage.spec.retries + 1
    return allowed if new.max_attempts is None else min(new.max_attempts, allowed)


def postpone(job: JobBook, due_at: datetime) -> None:
    """Queue an opened job for later."""
    job.state, job.due_at = JobState.SCHEDULED, due_at


def _job_book(
    books: Books, execution: ExecutionBook, stage: StageBook, new: NewJob, line: LineBook | None
) -> JobBook:
    if line is not None:
        route_id, input_bound, output_limit = line.route_id, line.input_bound, line.output_limit
    else:
        route_id = books.route_ids[new.route] if new.route else next(iter(books.routes))
        input_bound, output_limit = new.input_bound or 0, new.output_limit or 0
    return JobBook(
        id=JobId(new_id()),
        stage_id=stage.id,
        execution_id=execution.id,
        client_id=execution.client_id,
        worker=stage.worker,
        kind=new.kind,
        line=new.line,
        state=JobState.READY,
        max_attempts=_attempts(new, stage),
        timeout_seconds=new.timeout_seconds,
        route_id=route_id,
        input_bound=input_bound,
        output_limit=output_limit,
        needs=new.needs if new.needs is not None else line.needs if line is not None else {},
        hold_nano=0,
        payload=new.payload,
        data=dict(new.data),
        created_at=books.now,
    )
