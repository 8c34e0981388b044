"""Runs what this process claimed, and settles what ended."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import msgspec
import structlog
from msgspec.structs import replace

from aifactory.kernel.db import Database, DatabaseUnavailable, Tx
from aifactory.kernel.ids import ClientId, DataId, ExecutionId, JobId, text_id
from aifactory.resources import events, storage
from aifactory.resources.events import LockedExecution
from aifactory.resources.gates import Lane
from aifactory.resources.interface import (
    Endpoint,
    Health,
    Job,
    JobFault,
    Outcome,
    Signal,
    Usage,
    Worker,
)
from aifactory.resources.job_ends import Ended, is_transient
from aifactory.resources.lease import Lease
from aifactory.resources.queries import attempts, circuits, queue, quotas, starts, turns
from aifactory.resources.queries import events as event_queries
from aifactory.resources.queries.tick import Claimed
from aifactory.resources.records import UnitChanges
from aifactory.resources.reports import Reports
from aifactory.resources.settlement import LOST, SETTLE_TOGETHER, Settled, settle_free

log = structlog.get_logger()

HAND_BACK_SECONDS = 3.0
HALVED_FROM = 50
DATA_MISSING = JobFault(
    code="data_missing", message="What this step works from is not stored any more, or damaged."
)
NOT_STARTED = Outcome(
    usage=Usage(),
    fault=JobFault(
        code="not_started", message="This step could not be started; the operator was told.", retryable=True
    ),
)
ABORTED = JobFault(code="cancelled", message="The execution ended while this step was running.")


class _Run(msgspec.Struct, kw_only=True):
    """A job that runs here, within its time. ``stopped``: before that is over, to be tried again unless
    ``aborted``: then its execution is over.
    """

    job_id: JobId
    lane: Lane
    scope: anyio.CancelScope
    stopped: bool = False
    aborted: bool = False

    def stop(self) -> None:
        """End the run now."""
        self.stopped = True
        self.scope.cancel()


class Runner:
    """The slots of one process: tasks that run jobs, and one settler that ends them in groups."""

    def __init__(
        self,
        *,
        database: Database,
        workers: dict[str, Worker],
        lease: Lease,
        on_settled: Callable[[Settled], None],
    ) -> None:
        self.database = database
        self.workers = workers
        self.lease = lease
        self.on_settled = on_settled
        self.reports = Reports(database=database)
        self._starting: dict[UUID, Claimed] = {}
        self._running: dict[UUID, _Run] = {}
        self._ended: dict[UUID, Ended] = {}
        self._wake = anyio.Event()
        self._settling = anyio.Lock()

    @property
    def idle(self) -> bool:
        """Whether nothing runs here."""
        return not self._running and not self._starting

    @property
    def tokens(self) -> set[UUID]:
        """The runs that this process knows of."""
        return self._starting.keys() | self._ended.keys() | self._running.keys()

    def free_slots(self, *, local: bool) -> int:
        """Return how many more jobs may be claimed; none beside a job that runs alone.

        Results that pile up because they are stored more slowly than they come keep their slots.
        """
        starting, running = self._starting.values(), self._running.values()
        lanes = [one.start.lane for one in starting] + [run.lane for run in running]
        if any(lane.alone for lane in lanes):
            return 0
        limit = self.lease.local_slots if local else self.lease.slots
        piled_up = max(0, len(self._ended) - SETTLE_TOGETHER)
        return max(0, limit - piled_up - sum(1 for lane in lanes if lane.local is local))

    async def launch(self, claimed: list[Claimed], tasks: anyio.abc.TaskGroup) -> None:
        """Mark claimed jobs as running and run them; on a database fault they are lost, not forgotten."""
        self._starting |= {one.token: one for one in claimed}
        patient = False
        while claimed:
            begun, jobs = claimed, list[tuple[Claimed, Job]]()
            try:
                begun, jobs = await self._begin(claimed, patient=patient)
            finally:
                done = {one.token for one in begun}
                self._starting = {token: one for token, one in self._starting.items() if token not in done}
            for one, job in jobs:
                scope = anyio.CancelScope(deadline=anyio.current_time() + job.timeout_seconds)
                run = _Run(job_id=job.id, lane=one.start.lane, scope=scope)
                self._running[one.token] = run
                tasks.start_soon(self._run, one, job, run)
            claimed, patient = [one for one in claimed if one.token not in done], True

    async def _begin(
        self, claimed: list[Claimed], *, patient: bool
    ) -> tuple[list[Claimed], list[tuple[Claimed, Job]]]:
        """As ``_start``; after a fault each alone, so that only what can't be started is lost."""
        try:
            return await self._start(claimed, patient=patient)
        except Exception as error:
            log.exception("runner.start_failed", jobs=len(claimed))
            fault = error
        # Without an answer to the commit they may have been started: they are lost, and tried again.
        if isinstance(fault, DatabaseUnavailable) or len(claimed) == 1:
            for one in claimed:
                job_id = JobId(one.start.head.job_id)
                outcome = LOST if is_transient(fault) else NOT_STARTED
                self._put(one, Ended(job_id=job_id, token=one.token, outcome=outcome))
            return claimed, []
        jobs: list[tuple[Claimed, Job]] = []
        for one in claimed:
            jobs += (await self._begin([one], patient=True))[1]
        return claimed, jobs

    async def _start(
        self, claimed: list[Claimed], *, patient: bool
    ) -> tuple[list[Claimed], list[tuple[Claimed, Job]]]:
        """Write the start of claimed jobs whose executions are free; drop those that were cancelled since."""
        async with self.database.begin() as tx:
            claimed = await _take(tx, claimed, patient=patient)
            job_ids = [JobId(one.start.head.job_id) for one in claimed]
            executions = await starts.lock_executions(tx, job_ids)
            rows = await starts.start_jobs(tx, job_ids, [one.token for one in claimed])
            started = {row["id"]: row for row in rows}
            wanted = [one for one in claimed if one.start.head.job_id in started]
            await starts.insert_attempts(tx, wanted, self.lease.process_id)
            await _tell_starts(tx, executions, rows)
            dropped = [one for one in claimed if one.start.head.job_id not in started]
            await self._drop(tx, dropped)
            data = await _load_data(tx, rows)
            called = {one.start.hop.provider for one in wanted if not one.start.lane.local}
            endpoints = await circuits.load_endpoints(tx, called)
            jobs = [(one, _job(one, started[one.start.head.job_id], data, endpoints)) for one in wanted]
        return claimed, jobs

    async def _drop(self, tx: Tx, dropped: list[Claimed]) -> None:
        """Undo claims; for one that was taken back, that is done already."""
        if not dropped:
            return
        runs = await attempts.load_runs(tx, [JobId(one.start.head.job_id) for one in dropped])
        clients = {one.token: ClientId(one.start.lane.client_id) for one in dropped}
        changes, held = UnitChanges(), [run for run in runs.values() if run.token in clients]
        for run in held:
            changes.drop(clients[run.token], run)
        await queue.change_pools(tx, changes.pools_to_write())
        await queue.end_runs(tx, [run.token for run in held])
        await queue.correct_usage(tx, changes.usage)
        await quotas.correct(tx, changes.quotas)

    async def _run(self, one: Claimed, job: Job, run: _Run) -> None:
        """Run a job; one that is stopped here is lost, and so tried again, unless nobody wants it."""
        ended = Ended(job_id=job.id, token=one.token, outcome=LOST)
        structlog.contextvars.bind_contextvars(  # of this task, so nobody else has them
            execution_id=text_id("exec", job.execution_id), job_id=text_id("job", job.id), attempt=job.attempt
        )
        try:
            with run.scope:
                ended = await self._outcome(one, job)
            if run.scope.cancelled_caught:
                ended = Ended(job_id=job.id, token=one.token, outcome=_cut_short(one, job, run))
        finally:
            del self._running[one.token]
            self.reports.end(one.token)
            self._put(one, ended)

    async def _outcome(self, one: Claimed, job: Job) -> Ended:
        if job.missing_data:
            log.error("runner.data_missing", data=job.missing_data)
            outcome = Outcome(usage=Usage(), fault=DATA_MISSING)
            return Ended(job_id=job.id, token=one.token, outcome=outcome)
        crashed = False
        try:
            outcome = await self.workers[one.start.lane.worker].run(job, self.reports.begin(one.token, job))
            if not isinstance(outcome, Outcome):
                raise TypeError(f"worker {one.start.lane.worker} returned {type(outcome).__name__}")
        except TimeoutError:
            outcome = _timed_out(one, job)
        except anyio.BrokenWorkerProcess:
            crashed = True
            outcome = LOST
        except Exception:
            log.exception("runner.job_failed", kind=job.kind)
            fault = JobFault(
                code="worker_error", message="This step failed unexpectedly; the operator was told."
            )
            outcome = Outcome(fault=fault)
        return Ended(job_id=job.id, token=one.token, outcome=outcome, crashed=crashed)

    def cancel(self, job_ids: list[JobId]) -> None:
        """Abort the runs of jobs that nobody wants any more."""
        unwanted = set(job_ids)
        for run in list(self._running.values()):
            if run.job_id in unwanted:
                run.aborted = True
                run.stop()

    def cancel_all(self) -> None:
        """Stop everything that runs here; it will be tried again."""
        for run in list(self._running.values()):
            run.stop()

    async def stop(self, grace_seconds: float) -> None:
        """Wait for running jobs, then hand the rest back and settle everything that the database takes."""
        with anyio.move_on_after(grace_seconds):
            while self._running:
                await self.settle_round()
        self.cancel_all()
        with anyio.move_on_after(HAND_BACK_SECONDS):
            while self._running or self._ended:
                await self.settle_ended()
                await anyio.sleep(0.01)

    def _put(self, one: Claimed, ended: Ended) -> None:
        self._ended[one.token] = replace(ended, client_id=one.start.lane.client_id)
        self._wake.set()

    # Settling.

    def wake(self) -> None:
        """Let who waits for something to settle look now."""
        self._wake.set()

    async def settle_round(self) -> float:
        """Settle what ended; wait for more. Outcomes outlive a database that is away."""
        if not self._ended:
            with anyio.move_on_after(1):
                await self._wake.wait()
        self._wake = anyio.Event()
        await self.settle_ended()
        return 0.25 if self._ended else 0.0

    async def settle_ended(self) -> None:
        """Settle everything that has ended by now, in groups; what can't be settled now is kept.

        Much of it is settled in halves at the same time, apart by client, so that they meet at no budget:
        while one waits for the server, the other computes.
        """
        async with self._settling:
            waiting = list(self._ended.values())
            if len(waiting) < HALVED_FROM:
                await self._settle(waiting)
                return
            async with anyio.create_task_group() as tasks:
                for half in halves(waiting):
                    tasks.start_soon(self._settle, half)

    async def _settle(self, waiting: list[Ended]) -> None:
        passed: list[Ended] = []
        while waiting:
            group, rest = waiting[:SETTLE_TOGETHER], waiting[SETTLE_TOGETHER:]
            settled, again, passed = await settle_free(
                self.database, group, self.workers, patient=bool(passed)
            )
            for token in {one.token for one in group} - {one.token for one in passed}:
                del self._ended[token]
            self._ended |= {one.token: one for one in again}
            waiting = passed + rest
            for one in settled:
                self.on_settled(one)


def halves(ended: list[Ended]) -> tuple[list[Ended], list[Ended]]:
    """Part attempts by their clients."""
    parts: tuple[list[Ended], list[Ended]] = ([], [])
    for one in ended:
        parts[one.client_id.int % 2 if one.client_id else 0].append(one)
    return parts


def _cut_short(one: Claimed, job: Job, run: _Run) -> Outcome:
    """Return what a run comes to that was cancelled: by whoever stopped it, or by its time."""
    if run.aborted:
        return Outcome(fault=ABORTED)
    return LOST if run.stopped else _timed_out(one, job)


def _timed_out(one: Claimed, job: Job) -> Outcome:
    message = f"The step did not end within {job.timeout_seconds} s."
    fault = JobFault(code="timeout", message=message, retryable=True)
    # A stream's own limits tell a provider that hangs from one that writes for long.
    silent = job.endpoint is not None and not job.endpoint.streaming
    signal = Signal(health=Health.BAD if silent else Health.UNKNOWN, error=message)
    return Outcome(fault=fault, signal=None if one.start.lane.local else signal)


async def _take(tx: Tx, claimed: list[Claimed], *, patient: bool) -> list[Claimed]:
    """Lock what is free of the executions of claimed jobs, at least one."""
    job_ids = [JobId(one.start.head.job_id) for one in claimed]
    free = await turns.take_free(tx, job_ids, patient=patient)
    return [one for one in claimed if one.start.head.job_id in free]


async def _tell_starts(tx: Tx, executions: dict[ExecutionId, LockedExecution], rows: list[Any]) -> None:
    """Write the start events of executions and stages whose first job starts."""
    started = await starts.mark_stages_started(tx, {row["stage_id"] for row in rows})
    told = events.begin(executions, {row["execution_id"] for row in rows}, started)
    await event_queries.tell(tx, executions.values(), told)


def _job(one: Claimed, row: Any, data: dict[DataId, bytes], endpoints: dict[str, Endpoint]) -> Job:
    named = msgspec.convert(row["data"], dict[str, DataId])
    return Job(
        id=row["id"],
        execution_id=row["execution_id"],
        stage_id=row["stage_id"],
        client_id=row["client_id"],
        kind=row["kind"],
        payload=row["payload"],
        data={name: data[data_id] for name, data_id in named.items() if data_id in data},
        missing_data=tuple(name for name, data_id in named.items() if data_id not in data),
        attempt=row["attempt"],
        hop=one.start.hop,
        timeout_seconds=row["timeout_seconds"],
        input_bound=row["input_bound"],
        output_limit=row["output_limit"],
        endpoint=endpoints.get(one.start.hop.provider),
    )


async def _load_data(tx: Tx, rows: list[Any]) -> dict[DataId, bytes]:
    wanted = {data_id for row in rows for data_id in msgspec.convert(row["data"], dict[str, DataId]).values()}
    return await storage.load_intact(tx, sorted(wanted))
