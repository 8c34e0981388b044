"""Settle: what ended becomes money, state and follow-up jobs, in one transaction."""

import random
from datetime import timedelta
from uuid import UUID

import asyncpg
import msgspec
import structlog

from aifactory.kernel.db import Database, DatabaseUnavailable, Tx
from aifactory.kernel.ids import DataId, ExecutionId, JobId
from aifactory.resources import flow
from aifactory.resources.books import REFUSED, Books
from aifactory.resources.interface import (
    ExecutionState,
    JobFault,
    JobState,
    NewJob,
    Outcome,
    Phase,
    Reason,
    RunningStage,
    StageResult,
    StageState,
    Worker,
)
from aifactory.resources.queries import books as book_queries
from aifactory.resources.queries import control
from aifactory.resources.records import ExecutionBook, JobBook, Run, StageBook

log = structlog.get_logger()

MAX_CRASHES = 2
MAX_TRIES = 10
MAX_REFUSALS = 3
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0
ARTIFACT_LIFE = timedelta(days=7)
LOST = Outcome(fault=JobFault(code="lost", message="The process that ran this step died.", retryable=True))
SETTLE_ERROR = JobFault(code="settle_error", message="The result of this step could not be stored.")
TRANSIENT = (
    DatabaseUnavailable,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
)
_FAILED_REASON = "The step that this result depends on failed."


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that ended: the job, the run's token, what it brought, whether its process crashed.

    ``tries`` counts how often the database refused to settle it.
    """

    job_id: JobId
    token: UUID
    outcome: Outcome
    crashed: bool = False
    tries: int = 0


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What one settle did."""

    settled: int
    late: int
    opened: int
    finished: tuple[ExecutionId, ...]


def is_transient(error: BaseException | None) -> bool:
    """Whether a fault is contention or a server in trouble: it says nothing about what was being settled."""
    while error is not None:
        if isinstance(error, TRANSIENT):
            return True
        error = error.__cause__
    return False


async def settle_group(
    database: Database, group: list[Ended], workers: dict[str, Worker]
) -> tuple[list[Settled], list[Ended]]:
    """Settle a group in one transaction; if that fails, each alone, so that none stands in another's way.

    Returns what was done, and what is to be given again because the database was away or busy.
    """
    try:
        async with database.begin() as tx:
            return [await settle(tx, group, workers)], []
    except DatabaseUnavailable:
        return [], group
    except Exception:
        log.warning("settle.group_failed", jobs=len(group), exc_info=True)
    done: list[Settled] = []
    again: list[Ended] = []
    for one in group:
        settled = await _settle_alone(database, one, workers)
        if isinstance(settled, Settled):
            done.append(settled)
        elif settled is not None:
            again.append(settled)
    return done, again


async def _settle_alone(database: Database, one: Ended, workers: dict[str, Worker]) -> Settled | Ended | None:
    """Settle one, or return it to be tried again.

    What can't be stored is settled as failed; if that can't be stored either, its whole execution fails: it
    must not run, and cost, again and again.
    """
    failed = Outcome(usage=one.outcome.usage, fault=SETTLE_ERROR)
    for outcome, give_up in ((one.outcome, False), (failed, False), (failed, True)):
        try:
            async with database.begin() as tx:
                if give_up:
                    execution_ids = await book_queries.executions_of_jobs(tx, [one.job_id])
                    reason = Reason(code=SETTLE_ERROR.code, message=SETTLE_ERROR.message)
                    await end_executions(tx, execution_ids, ExecutionState.FAILED, reason)
                return await settle(tx, [msgspec.structs.replace(one, outcome=outcome)], workers)
        except DatabaseUnavailable:
            return one
        except Exception as error:
            if is_transient(error) and one.tries < MAX_TRIES:
                return msgspec.structs.replace(one, tries=one.tries + 1)
            log.exception("settle.failed", job_id=str(one.job_id))
    return None


async def settle(tx: Tx, ended: list[Ended], workers: dict[str, Worker]) -> Settled:
    """Settle a group of attempts. Locks their executions, then budgets; nothing else begins or commits."""
    execution_ids = await book_queries.executions_of_jobs(tx, [one.job_id for one in ended])
    books = await book_queries.load_books(tx, execution_ids, [one.job_id for one in ended])
    runs = await book_queries.load_runs(tx, [one.job_id for one in ended])
    settlement = Settlement(tx, books, workers)
    late = 0
    for one in ended:
        run = runs.get(one.job_id)
        if run is None or run.token != one.token:
            late += 1
            await settlement.late(one)
        else:
            del runs[one.job_id]
            await settlement.end(one, run)
    await settlement.advance_stages()
    await book_queries.write_books(tx, books)
    return Settled(
        settled=len(ended) - late,
        late=late,
        opened=len(books.new_jobs),
        finished=tuple(e.id for e in books.executions.values() if e.finished_at == tx.now),
    )


class Settlement:
    """One settle at work on its books."""

    def __init__(self, tx: Tx, books: Books, workers: dict[str, Worker]) -> None:
        self.tx = tx
        self.books = books
        self.workers = workers

    # One attempt.

    async def end(self, one: Ended, run: Run) -> None:
        """Pay an attempt; then finish its job with record, or queue the next attempt."""
        job = self.books.jobs[one.job_id]
        execution = self.books.executions[job.execution_id]
        outcome = one.outcome
        if job.finished_at is not None:  # cancelled between its claim and its start
            self.books.drop_run(job, run)
            return
        if job.started_at is None and outcome.usage is None:  # its process died before the call began
            self.books.drop_run(job, run)
        else:
            cost = self.books.pay(job, run, outcome.usage)
            label = "succeeded" if outcome.fault is None else outcome.fault.code
            self.books.end_run(job, run, label, outcome.usage, cost)
        job.losses += outcome.fault is not None and outcome.fault.code == "lost"
        job.crashes += one.crashed and job.started_at is not None
        if execution.finished_at is not None:
            self.books.finish_job(job, JobState.CANCELLED)
        elif outcome.fault is None:
            await self._succeed(job, outcome)
        elif not (self._may_retry(job, outcome.fault) and await self._retry(job, outcome.fault)):
            job.fault = outcome.fault
            poisoned = one.crashed and job.crashes > MAX_CRASHES
            await self._finish(job, JobState.POISONED if poisoned else JobState.FAILED, outcome)

    async def late(self, one: Ended) -> None:
        """Refuse a result whose run was taken back; what it cost is the operator's waste."""
        usage = one.outcome.usage
        unreconciled = await book_queries.unreconciled_run(self.tx, one.job_id, one.token)
        if usage is not None and unreconciled is not None:
            run, amount = unreconciled
            self.books.waste(self.books.jobs[one.job_id], run, usage, amount)

    async def _succeed(self, job: JobBook, outcome: Outcome) -> None:
        job.output = outcome.output
        job.fault = None
        for name, content in outcome.artifacts.items():
            job.artifacts[name] = await self._store(job, name, content)
        await self._finish(job, JobState.SUCCEEDED, outcome)

    async def _store(self, job: JobBook, name: str, content: bytes) -> DataId:
        return await control.insert_data(
            self.tx,
            client_id=job.client_id,
            name=name,
            media_type="application/json",
            content=content,
            words=0,
            expires_at=self.tx.now + ARTIFACT_LIFE,
        )

    def _may_retry(self, job: JobBook, fault: JobFault) -> bool:
        """Whether another attempt may follow; those that were lost with their process do not count."""
        if not fault.retryable:
            return False
        if fault.code == "lost":
            return job.crashes <= MAX_CRASHES
        return job.attempt - job.losses < job.max_attempts

    async def _retry(self, job: JobBook, fault: JobFault) -> bool:
        """Queue the next attempt within the execution's deadline; a twice crashed one runs alone."""
        wait = fault.retry_after_seconds
        if wait is None:
            # A first loss is no fault of the job; a job that is lost again and again must not spin.
            at_once = fault.code == "lost" and job.attempt == 1
            wait = 0.0 if at_once else backoff_seconds(job.attempt)
        due_at = self.books.now + timedelta(seconds=wait)
        if due_at >= self.books.executions[job.execution_id].deadline:
            return False
        if job.crashes == MAX_CRASHES:
            alone = msgspec.structs.replace(self.books.routes[job.route_id], alone=True)
            job.route_id = await control.intern_route(self.tx, alone)
            self.books.routes[job.route_id] = alone
        return self.books.retry(job, due_at)

    async def _finish(self, job: JobBook, state: JobState, outcome: Outcome) -> None:
        """Put a job in a final state, let its worker record it, open what the worker asks for."""
        self.books.finish_job(job, state)
        await self._record_and_open(job, outcome)

    async def _open_all(self, stage: StageBook, wanted: tuple[NewJob, ...], refusals: int = 0) -> None:
        """Open jobs; one that nothing pays for goes to ``record`` at once."""
        for new in wanted:
            opened = await self._open(stage, new)
            if opened.finished_at is not None:
                await self._record_and_open(opened, Outcome(fault=opened.fault), refusals + 1)

    async def _record_and_open(self, job: JobBook, outcome: Outcome, refusals: int = 0) -> None:
        """Record a final job and open what its worker asks for; after a refusal only what needs no money.

        A worker that answers refusals by jobs that are refused too is not asked for ever.
        """
        wanted = await self._record(job, outcome)
        self.books.tell_job(job)
        if job.fault in REFUSED:
            wanted = [new for new in wanted if new.line is not None or (new.route and new.route.local)]
        if wanted and refusals > MAX_REFUSALS:
            log.error("settle.refused_in_a_row", job_id=str(job.id), kind=job.kind, dropped=len(wanted))
            return
        await self._open_all(self.books.stages[job.stage_id], tuple(wanted), refusals)

    async def _record(self, job: JobBook, outcome: Outcome) -> list[NewJob]:
        """Call ``record`` in a savepoint; if it raises, the job is failed: record_error, its cost stays."""
        try:
            async with self.tx.savepoint():
                return await self.workers[job.worker].record(self.tx, job.ended(), outcome)
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("settle.record_failed", job_id=str(job.id), kind=job.kind)
            job.state = JobState.FAILED
            job.fault = JobFault(code="record_error", message="The result of this step could not be stored.")
            return []

    async def _open(self, stage: StageBook, new: NewJob) -> JobBook:
        if new.route is not None and new.route not in self.books.route_ids:
            route_id = await control.intern_route(self.tx, new.route)
            self.books.routes[route_id], self.books.route_ids[new.route] = new.route, route_id
        return self.books.open_job(stage, new)

    # Fan-in.

    async def advance_stages(self) -> None:
        """Advance every touched stage that has no open job, and those that this opens: the only fan-in."""
        while stage := next(filter(self._is_due, self.books.stages.values()), None):
            await self._advance(self.books.executions[stage.execution_id], stage)

    def _is_due(self, stage: StageBook) -> bool:
        open_execution = self.books.executions[stage.execution_id].finished_at is None
        return open_execution and stage.state is StageState.RUNNING and stage.open_jobs == 0

    async def _advance(self, execution: ExecutionBook, stage: StageBook) -> None:
        """Call ``advance`` until it opens a job or ends the stage; at most once a phase."""
        seen = {stage.phase}
        while stage.open_jobs == 0:
            step = await self._next_step(stage)
            if isinstance(step, StageResult):
                self.books.finish_stage(stage, step.state, step.outputs, step.reasons)
                await self._after_stage(execution, stage)
                return
            if step.name in seen or not step.jobs:
                await self._fail_stage(
                    execution, stage, "advance_error", "The next step could not be planned."
                )
                return
            seen.add(step.name)
            self.books.enter_phase(stage, step.name)
            await self._open_all(stage, step.jobs)

    async def _next_step(self, stage: StageBook) -> Phase | StageResult:
        view = await self._running_stage(stage)
        try:
            async with self.tx.savepoint():
                return await self.workers[stage.worker].advance(self.tx, view)
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("settle.advance_failed", stage_id=str(stage.id), phase=stage.phase)
            return StageResult(
                state=StageState.FAILED,
                outputs={},
                reasons=(Reason(code="advance_error", message="The next step could not be planned."),),
            )

    async def _running_stage(self, stage: StageBook) -> RunningStage:
        stored = {job.id: job for job in await book_queries.ended_jobs(self.tx, stage.id)}
        for job in self.books.jobs.values():
            if job.stage_id == stage.id and job.finished_at is not None:
                stored[job.id] = job
        return RunningStage(
            id=stage.id,
            execution_id=stage.execution_id,
            client_id=self.books.executions[stage.execution_id].client_id,
            action=stage.action,
            phase=stage.phase,
            resolved=stage.resolved,
            inputs=stage.inputs,
            jobs=tuple(job.ended() for _, job in sorted(stored.items())),
        )

    async def _fail_stage(self, execution: ExecutionBook, stage: StageBook, code: str, message: str) -> None:
        self.books.finish_stage(stage, StageState.FAILED, None, (Reason(code=code, message=message),))
        await self._after_stage(execution, stage)

    async def _after_stage(self, execution: ExecutionBook, stage: StageBook) -> None:
        """Start the next stage whose condition holds, or end the execution."""
        if flow.is_fatal(stage.spec, stage.state):
            self.books.finish_execution(execution, ExecutionState.FAILED, stage.reasons)
            return
        stages = self.books.stages_of(execution.id)
        ended = [{"state": one.state, "outputs": one.outputs} for one in stages]
        document = {"request": execution.input, "stages": ended}
        for following in stages:
            if following.state is not StageState.WAITING:
                continue
            try:
                wanted = flow.holds(following.spec.condition, document)
                mapped = flow.mapped_inputs(following.spec, document)
            except (KeyError, TypeError, AttributeError):
                log.exception("settle.condition_failed", stage_id=str(following.id))
                await self._fail_stage(execution, following, "plan_error", "Its condition can't be read.")
                return
            if wanted:
                following.inputs = msgspec.structs.replace(following.inputs, mapped=mapped)
                await self.open_stage(following)
                return
            self.books.finish_stage(following, StageState.SKIPPED, None, ())
        execution.result = {"stages": [{"stage": one.ordinal, "outputs": one.outputs} for one in stages]}
        self.books.finish_execution(execution, *final_state(stages))

    async def open_stage(self, stage: StageBook) -> None:
        """Plan a waiting stage and open its first jobs; one that can't be planned fails."""
        try:
            phase = self.workers[stage.worker].plan(stage.resolved, stage.inputs)
            if not phase.jobs:
                raise ValueError(f"worker {stage.worker} planned no job")
        except Exception:
            log.exception("settle.plan_failed", stage_id=str(stage.id))
            execution = self.books.executions[stage.execution_id]
            await self._fail_stage(execution, stage, "plan_error", "This stage could not be planned.")
            return
        self.books.start_stage(stage, phase.name)
        await self._open_all(stage, phase.jobs)


def final_state(stages: list[StageBook]) -> tuple[ExecutionState, tuple[Reason, ...]]:
    """Return an execution's final state once no stage is left: the worst of its stages that count."""
    reasons = tuple(reason for stage in stages for reason in stage.reasons)
    states = {stage.state for stage in stages} - {StageState.SKIPPED}
    if states <= {StageState.SUCCEEDED}:
        return ExecutionState.SUCCEEDED, reasons
    reasons = reasons or (Reason(code="stage_failed", message=_FAILED_REASON),)
    return (ExecutionState.FAILED if states == {StageState.FAILED} else ExecutionState.PARTIAL), reasons


def backoff_seconds(attempt: int) -> float:
    """Return a jittered exponential pause: 1, 2, 4 … 60 seconds, times 0.5 to 1."""
    longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)


async def end_executions(
    tx: Tx, execution_ids: list[ExecutionId], state: ExecutionState, reason: Reason
) -> list[JobId]:
    """Put open executions in a final state that is no success, at once; return the jobs that still run.

    Queued jobs are deleted from the queue and their holds given back. A running call keeps its hold until
    its runner reports, or rescue does.
    """
    books = await book_queries.load_books(tx, execution_ids, [])
    await book_queries.load_open_jobs(tx, books)
    running: list[JobId] = []
    for job in list(books.jobs.values()):
        if books.executions[job.execution_id].finished_at is not None:
            continue
        if job.state in (JobState.RUNNING, JobState.AT_PROVIDER):
            running.append(job.id)
        else:
            books.finish_job(job, JobState(state))
            books.tell_job(job)
            books.unqueued.append(job.id)
    for execution in books.executions.values():
        if execution.finished_at is None:
            books.finish_execution(execution, state, (reason,))
    await book_queries.write_books(tx, books)
    return running
