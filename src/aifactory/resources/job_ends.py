"""The end of one attempt: paid, recorded, tried again or followed by other jobs."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import asyncpg
import msgspec
import structlog

from aifactory.kernel.db import DatabaseUnavailable, Tx
from aifactory.kernel.ids import DataId, JobId, text_id
from aifactory.resources import retries, storage
from aifactory.resources.books import Books
from aifactory.resources.interface import JobFault, JobState, NewJob, Outcome, Worker
from aifactory.resources.openings import REFUSED, open_job
from aifactory.resources.queries import attempts, control
from aifactory.resources.records import JobBook, Run, StageBook
from aifactory.resources.retries import MAX_CRASHES

log = structlog.get_logger()
T = TypeVar("T")

MAX_REFUSALS = 3
KEPT_AFTER_DEADLINE = timedelta(days=1)
PROVIDERS_DOWN = JobFault(
    code="providers_down", message="None of the model providers that this step may use can be reached."
)
TRANSIENT = (
    DatabaseUnavailable,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
)


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that ended: the job, the run's token, what it brought, whether its process crashed.

    ``client_id``: whose it was, where whoever ran it says so; what is of one client pays from the same
    budgets. ``tries`` counts how often the database refused to settle it.
    """

    job_id: JobId
    token: UUID
    outcome: Outcome
    crashed: bool = False
    client_id: UUID | None = None
    tries: int = 0


def is_transient(error: BaseException | None) -> bool:
    """Whether a fault is contention or a server in trouble: it says nothing about what was being settled."""
    while error is not None:
        if isinstance(error, TRANSIENT):
            return True
        error = error.__cause__
    return False


class WorkerRaised(Exception):
    """A worker raised where no savepoint could undo what it had written; the cause is its error."""


class JobEnds:
    """The jobs of one settle at work on its books.

    ``apart``: each call of a worker is made in a savepoint, which is two round trips, so that one that raises
    fails for itself. Without, it raises WorkerRaised.
    """

    def __init__(self, tx: Tx, books: Books, workers: dict[str, Worker], *, apart: bool = True) -> None:
        self.tx = tx
        self.books = books
        self.workers = workers
        self.apart = apart

    async def end(self, one: Ended, run: Run) -> None:
        """Pay an attempt; then finish its job with record, or queue the next attempt."""
        job = self.books.jobs[one.job_id]
        execution = self.books.executions[job.execution_id]
        outcome = one.outcome
        blocked_seconds = self._heed(job, run, outcome)
        if job.finished_at is not None:  # cancelled between its claim and its start
            self.books.drop_run(job, run)
            return
        if job.started_at is None and outcome.usage is None:  # its process died before the call began
            self.books.drop_run(job, run)
        else:
            self.books.note_start(job)
            cost = self.books.pay(job, run, outcome.usage)
            label = "succeeded" if outcome.fault is None else outcome.fault.code
            self.books.end_run(job, run, label, outcome.usage, cost)
        job.fault = outcome.fault  # kept while it waits for another try: a deadline may come first
        job.losses += retries.is_uncounted(outcome.fault)
        job.crashes += one.crashed and job.started_at is not None
        if execution.finished_at is not None:
            job.fault = retries.without_text(outcome.fault)  # the content may have been erased meanwhile
            self.books.finish_job(job, JobState.CANCELLED)
        elif outcome.fault is None:
            await self._succeed(job, outcome)
        elif not (
            retries.may_retry(job, outcome.fault) and await self._retry(job, outcome.fault, blocked_seconds)
        ):
            poisoned = one.crashed and job.crashes > MAX_CRASHES
            await self._finish(job, JobState.POISONED if poisoned else JobState.FAILED, outcome)

    def _heed(self, job: JobBook, run: Run, outcome: Outcome) -> float | None:
        """Note what an answer says of its provider and pool; return for how long the pool is blocked."""
        if self.books.routes[job.route_id].local:
            return None
        said = outcome.signal.blocked_seconds if outcome.signal else None
        blocked_seconds = retries.block_seconds(said, outcome.fault, run.attempt)
        self.books.heed(run, outcome.signal, blocked_seconds)
        return blocked_seconds

    async def late(self, one: Ended) -> None:
        """Refuse a result whose run was taken back; what it cost is the operator's waste.

        What it says of its provider is as true as ever.
        """
        if one.outcome.signal and (past := await attempts.find_attempt(self.tx, one.job_id, one.token)):
            self._heed(self.books.jobs[one.job_id], past, one.outcome)
        usage = one.outcome.usage
        unreconciled = await attempts.unreconciled_run(self.tx, one.job_id, one.token)
        if usage is not None and unreconciled is not None:
            run, amount = unreconciled
            self.books.waste(self.books.jobs[one.job_id], run, usage, amount)

    async def strand(self, job: JobBook) -> None:
        """End a queued job, taken out of the queue before, because none of its providers can be reached."""
        job.fault = PROVIDERS_DOWN
        await self._finish(job, JobState.FAILED, Outcome(fault=PROVIDERS_DOWN))

    async def _succeed(self, job: JobBook, outcome: Outcome) -> None:
        job.output = outcome.output
        job.fault = None
        for name, content in outcome.artifacts.items():
            job.artifacts[name] = await self._store(job, name, content)
        await self._finish(job, JobState.SUCCEEDED, outcome)

    async def _store(self, job: JobBook, name: str, content: bytes) -> DataId:
        return await storage.store(
            self.tx,
            client_id=job.client_id,
            kind=storage.STEP,
            name=name,
            media_type="application/json",
            content=content,
            expires_at=self.books.executions[job.execution_id].deadline + KEPT_AFTER_DEADLINE,
        )

    async def _retry(self, job: JobBook, fault: JobFault, blocked_seconds: float | None) -> bool:
        """Queue the next attempt within the execution's deadline; a twice crashed one runs alone."""
        wait = retries.wait_seconds(job, fault, self.books.routes[job.route_id], blocked_seconds)
        due_at = self.books.now + timedelta(seconds=wait)
        if due_at >= self.books.executions[job.execution_id].deadline:
            return False
        if job.crashes == MAX_CRASHES:
            alone = msgspec.structs.replace(self.books.routes[job.route_id], alone=True)
            job.route_id = await control.intern_route(self.tx, alone)
            self.books.add_routes({job.route_id: alone})
        return self.books.retry(job, due_at)

    async def _finish(self, job: JobBook, state: JobState, outcome: Outcome) -> None:
        """Put a job in a final state, let its worker record it, open what the worker asks for."""
        self.books.finish_job(job, state)
        await self._record_and_open(job, outcome)

    async def open_all(self, stage: StageBook, wanted: tuple[NewJob, ...], refusals: int = 0) -> None:
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
            log.error(
                "settle.refused_in_a_row", job_id=text_id("job", job.id), kind=job.kind, dropped=len(wanted)
            )
            return
        await self.open_all(self.books.stages[job.stage_id], tuple(wanted), refusals)

    async def ask(self, call: Awaitable[T]) -> T:
        """Await a worker's answer, in a savepoint if what it writes is to be undone when it raises."""
        if self.apart:
            async with self.tx.savepoint():
                return await call
        try:
            return await call
        except Exception as error:
            if is_transient(error):
                raise
            raise WorkerRaised from error

    async def _record(self, job: JobBook, outcome: Outcome) -> list[NewJob]:
        """Call ``record``; if it raises, the job is failed: record_error, its cost stays."""
        try:
            return await self.ask(self.workers[job.worker].record(self.tx, job.ended(), outcome))
        except WorkerRaised:
            raise
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("settle.record_failed", job_id=text_id("job", job.id), kind=job.kind)
            job.state = JobState.FAILED
            job.fault = JobFault(code="record_error", message="The result of this step could not be stored.")
            return []

    async def _open(self, stage: StageBook, new: NewJob) -> JobBook:
        if new.route is not None and new.route not in self.books.route_ids:
            self.books.add_routes({await control.intern_route(self.tx, new.route): new.route})
        if new.line is None and not self.books.pools:
            clients = {execution.client_id for execution in self.books.executions.values()}
            self.books.pools = await control.pool_capacities(self.tx, clients)
        return open_job(self.books, stage, new)
