"""Runs what this process claimed, and settles what ended."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import asyncpg
import msgspec
import structlog

from aifactory.kernel.db import Database, DatabaseUnavailable, Tx
from aifactory.kernel.ids import DataId, JobId
from aifactory.resources.interface import Job, JobFault, Outcome, Worker
from aifactory.resources.lease import Lease
from aifactory.resources.queries import control, queue, tick
from aifactory.resources.queries.tick import Claimed
from aifactory.resources.settlement import LOST, Ended, Settled, settle

log = structlog.get_logger()

SETTLE_TOGETHER = 100
ABORTED = JobFault(code="cancelled", message="The execution ended while this step was running.")


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
        self._running: dict[UUID, tuple[JobId, bool, anyio.CancelScope]] = {}
        self._reserved = {True: 0, False: 0}
        self._ended: list[Ended] = []
        self._wake = anyio.Event()
        self._settling = anyio.Lock()
        self._stopping = False

    @property
    def idle(self) -> bool:
        """Whether nothing runs here."""
        return not self._running and not any(self._reserved.values())

    def free_slots(self, *, local: bool) -> int:
        """Return how many more jobs may be claimed."""
        limit = self.lease.local_slots if local else self.lease.slots
        used = sum(1 for _, is_local, _ in self._running.values() if is_local is local)
        return max(0, limit - used - self._reserved[local])

    async def launch(self, claimed: list[Claimed], tasks: anyio.abc.TaskGroup) -> None:
        """Mark claimed jobs as running and run them; on a database fault they are lost, not forgotten."""
        for one in claimed:
            self._reserved[one.start.lane.local] += 1
        try:
            jobs = await self._start(claimed)
        except Exception:
            log.exception("runner.start_failed", jobs=len(claimed))
            for one in claimed:
                self._put(Ended(job_id=JobId(one.start.head.job_id), token=one.token, outcome=LOST))
            jobs = []
        finally:
            for one in claimed:
                self._reserved[one.start.lane.local] -= 1
        for one, job in jobs:
            scope = anyio.CancelScope()
            self._running[one.token] = (job.id, one.start.lane.local, scope)
            tasks.start_soon(self._run, one, job, scope)

    async def _start(self, claimed: list[Claimed]) -> list[tuple[Claimed, Job]]:
        """Write the start of claimed jobs; drop those that were cancelled since."""
        async with self.database.begin() as tx:
            rows = await tick.start_jobs(tx, [JobId(one.start.head.job_id) for one in claimed])
            started = {row["id"]: row for row in rows}
            wanted = [one for one in claimed if one.start.head.job_id in started]
            await tick.insert_attempts(tx, wanted, self.lease.process_id)
            await tick.mark_executions_running(tx, [row["execution_id"] for row in rows])
            dropped = [one for one in claimed if one.start.head.job_id not in started]
            await self._drop(tx, dropped)
            data = await _load_data(tx, rows)
        return [(one, self._job(one, started[one.start.head.job_id], data)) for one in wanted]

    async def _drop(self, tx: Tx, dropped: list[Claimed]) -> None:
        units: dict[str, int] = {}
        for one in dropped:
            units[one.start.hop.pool] = units.get(one.start.hop.pool, 0) + one.start.head.units
        await queue.return_units(tx, units)
        await queue.end_runs(tx, [one.token for one in dropped])

    def _job(self, one: Claimed, row: Any, data: dict[DataId, bytes]) -> Job:
        named = msgspec.convert(row["data"], dict[str, DataId])
        return Job(
            id=row["id"],
            execution_id=row["execution_id"],
            stage_id=row["stage_id"],
            client_id=row["client_id"],
            kind=row["kind"],
            payload=row["payload"],
            data={name: data[data_id] for name, data_id in named.items() if data_id in data},
            attempt=row["attempt"],
            hop=one.start.hop,
            timeout_seconds=row["timeout_seconds"],
        )

    async def _run(self, one: Claimed, job: Job, scope: anyio.CancelScope) -> None:
        ended = Ended(job_id=job.id, token=one.token, outcome=LOST)
        try:
            with scope:
                ended = await self._outcome(one, job)
            if scope.cancelled_caught and not self._stopping:
                ended = Ended(job_id=job.id, token=one.token, outcome=Outcome(fault=ABORTED))
        finally:
            del self._running[one.token]
            self._put(ended)

    async def _outcome(self, one: Claimed, job: Job) -> Ended:
        crashed = False
        try:
            with anyio.fail_after(job.timeout_seconds):
                outcome = await self.workers[one.start.lane.worker].run(job, _ignore_progress)
        except TimeoutError:
            message = f"The step did not end within {job.timeout_seconds} s."
            outcome = Outcome(fault=JobFault(code="timeout", message=message, retryable=True))
        except anyio.BrokenWorkerProcess:
            crashed = True
            outcome = LOST
        except Exception:
            log.exception("runner.job_failed", job_id=str(job.id), kind=job.kind)
            fault = JobFault(
                code="worker_error", message="This step failed unexpectedly; the operator was told."
            )
            outcome = Outcome(fault=fault)
        return Ended(job_id=job.id, token=one.token, outcome=outcome, crashed=crashed)

    def cancel(self, job_ids: list[JobId]) -> None:
        """Abort the runs of jobs that nobody wants any more."""
        unwanted = set(job_ids)
        for job_id, _, scope in list(self._running.values()):
            if job_id in unwanted:
                scope.cancel()

    def cancel_all(self) -> None:
        """Abort everything that runs here."""
        for _, _, scope in list(self._running.values()):
            scope.cancel()

    async def stop(self, grace_seconds: float) -> None:
        """Wait for running jobs, then hand the rest back and settle everything."""
        with anyio.move_on_after(grace_seconds):
            while self._running:
                await self._wake.wait()
                await self.settle_ended()
        self._stopping = True
        self.cancel_all()
        with anyio.move_on_after(5):
            while self._running or self._ended:
                await self.settle_ended()
                await anyio.sleep(0.01)

    def _put(self, ended: Ended) -> None:
        self._ended.append(ended)
        self._wake.set()

    # Settling.

    async def settle_round(self) -> float:
        """Settle what ended; wait for more. Outcomes outlive a database that is away."""
        if not self._ended:
            with anyio.move_on_after(1):
                await self._wake.wait()
        self._wake = anyio.Event()
        try:
            await self.settle_ended()
        except DatabaseUnavailable:
            return 0.25
        return 0.0

    async def settle_ended(self) -> None:
        """Settle everything that has ended by now, in groups; a group that fails is settled one by one."""
        async with self._settling:
            while self._ended:
                group = self._ended[:SETTLE_TOGETHER]
                try:
                    await self._settle(group)
                except (DatabaseUnavailable, asyncpg.DeadlockDetectedError):
                    raise
                except Exception:
                    log.exception("settle.group_failed", jobs=len(group))
                    for one in group:
                        await self._settle_alone(one)
                del self._ended[: len(group)]

    async def _settle(self, group: list[Ended]) -> None:
        async with self.database.begin() as tx:
            settled = await settle(tx, group, self.workers)
        self.on_settled(settled)

    async def _settle_alone(self, one: Ended) -> None:
        """Settle one; if even that fails, settle it as failed, so that nothing is ever stuck."""
        try:
            await self._settle([one])
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("settle.failed", job_id=str(one.job_id))
            fault = JobFault(code="settle_error", message="The result of this step could not be stored.")
            failed = Outcome(usage=one.outcome.usage, fault=fault)
            await self._settle([msgspec.structs.replace(one, outcome=failed)])


def _ignore_progress(_: dict[str, Any]) -> None:
    """Progress inside a step is not kept; the steps themselves are."""


async def _load_data(tx: Tx, rows: list[Any]) -> dict[DataId, bytes]:
    wanted = {data_id for row in rows for data_id in msgspec.convert(row["data"], dict[str, DataId]).values()}
    return await control.load_data(tx, sorted(wanted))
