"""Our side of a measure: the parts of ``aifactory serve`` with a worker whose jobs end at once."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Sequence

import anyio
import msgspec

from aifactory.factory import Factory, build_factory
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import ClientId, RequestId, new_id
from aifactory.resources.audit import audit
from aifactory.resources.interface import (
    ClientLimits,
    Emit,
    FlowStage,
    Health,
    Job,
    Line,
    NewExecution,
    Outcome,
    Phase,
    ResolvedStage,
    Route,
    RunningStage,
    Signal,
    StageInputs,
    StageResult,
    Tier,
    Urgency,
    Usage,
)
from aifactory.resources.queries import tick
from aifactory.settings import Settings
from prove.plain_worker import PlainWorker, line_of
from prove.pools import add_pool, hop_of

PRICE_NANO = 1000
BUDGET_NANO = 10**15
CAP = 1000  #: jobs of a client at once
TOGETHER = 50  #: executions that one transaction submits, where nobody looks at how fast that is
USED_UNITS = 16
COST_NANO = USED_UNITS * PRICE_NANO
WELL = Outcome(
    usage=Usage(input_units=USED_UNITS // 2, output_units=USED_UNITS // 2), signal=Signal(health=Health.GOOD)
)


class AtOnce(PlainWorker):
    """One phase of as many jobs as asked, over the pool that the request names; each ends at once.

    ``on_run`` is called on the first line of a job, ``on_end`` once the end of an execution is durable.
    """

    def __init__(self) -> None:
        self.outcome = WELL
        self.on_run: Callable[[], None] = lambda: None
        self.on_end: Callable[[], None] = lambda: None

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """See ``Worker.estimate``."""
        wanted = resolved.parameters
        route = Route(hops=(hop_of(wanted["pool"]),))
        half = wanted.get("units", 20) // 2
        return [line_of("write", wanted["jobs"], route, input_bound=half, output_limit=half)]

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """End at once."""
        self.on_run()
        return self.outcome

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        """End the stage, and say so after the commit."""
        tx.after_commit(self.on_end)
        return await super().advance(tx, stage)


class Ours(msgspec.Struct, frozen=True, kw_only=True):
    """One process's factory on a database, with the worker that takes the place of granulation."""

    factory: Factory
    worker: AtOnce

    @property
    def database(self) -> Database:
        """Return the factory's database."""
        return self.factory.database

    async def add_pools(self, *names: str, capacity: int = 1_000_000, refill: int = 50_000) -> None:
        """Add pools made for the purpose, each with a model that has a price."""
        async with self.database.begin() as tx:
            for name in names:
                await add_pool(tx, name, capacity=capacity, refill=refill, price_nano=PRICE_NANO)

    async def add_clients(self, count: int) -> list[ClientId]:
        """Add clients of every tier, with money enough and a cap that is in nobody's way."""
        clients = [ClientId(new_id()) for _ in range(count)]
        async with self.database.begin() as tx:
            for number, client_id in enumerate(clients):
                limits = ClientLimits(
                    client_id=client_id,
                    name=f"client {number}",
                    tier=list(Tier)[number % len(Tier)],
                    max_running=CAP,
                    monthly_budget_nano=BUDGET_NANO,
                )
                await self.factory.resources.set_client(tx, limits)
        return clients

    async def submit(self, *executions: NewExecution) -> None:
        """Submit executions as callers do that come at the same time."""
        await asyncio.gather(*map(self.factory.submissions.submit, executions))

    async def fill(self, executions: Sequence[NewExecution]) -> None:
        """Submit many, some at a time."""
        for first in range(0, len(executions), TOGETHER):
            await self.submit(*executions[first : first + TOGETHER])

    async def switch(self, *, on: bool) -> None:
        """Switch the fleet's scheduler."""
        async with self.database.begin() as tx:
            await tick.set_enabled(tx, enabled=on, by="bench")
        self.factory.engine.wake()

    async def durably_stored(self) -> int:
        """Return how many executions are stored; fail where a commit would not wait for the disk."""
        async with self.database.begin() as tx:
            for name in ("fsync", "synchronous_commit"):
                assert await tx.raw.fetchval(f"SHOW {name}") == "on", name
            return int(await tx.raw.fetchval("SELECT count(*) FROM executions"))

    async def vacuum(self) -> None:
        """Vacuum and analyze, as is done for every system before it is measured."""
        connection = await self.database.own_connection()
        try:
            await connection.execute("VACUUM ANALYZE", timeout=600)
        finally:
            await connection.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run a process's loops, without the worker processes of local steps, which nothing here needs."""
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.factory.notices.listen())
            await stack.enter_async_context(self.factory.feed.run())
            if self.factory.settings.scheduler:
                await stack.enter_async_context(self.factory.deliveries.start())
                await stack.enter_async_context(self.factory.engine.start())
            yield

    async def drain(self, *, jobs: int, executions: int) -> "Drained":
        """Run what is queued, from the first job's start until the last end is durable; see what it left."""
        ran, ended, started, all_ended = 0, 0, 0.0, asyncio.Event()

        def on_run() -> None:
            nonlocal ran, started
            if not ran:
                started = time.perf_counter()
            ran += 1

        def on_end() -> None:
            nonlocal ended
            ended += 1
            if ended == executions:
                all_ended.set()

        self.worker.on_run, self.worker.on_end = on_run, on_end
        await self.switch(on=True)
        with anyio.fail_after(900):
            await all_ended.wait()
        seconds = time.perf_counter() - started
        return await self._checked(ran=ran, jobs=jobs, executions=executions, seconds=seconds)

    async def _checked(self, *, ran: int, jobs: int, executions: int, seconds: float) -> "Drained":
        """Fail unless every job ran once, succeeded, is booked and paid for, and has left nothing behind."""
        async with self.database.begin() as tx:
            row = await tx.raw.fetchrow(_LEFT, COST_NANO)
        assert row is not None
        wanted = {
            "succeeded": executions,
            "told": executions,
            "left_over": 0,
            "holding": 0,
            "paid": jobs,
            "attempts": jobs,
            "booked": jobs,
            "booked_nano": jobs * COST_NANO,
            "spent_nano": jobs * COST_NANO,
            "budget_nano": jobs * COST_NANO,
        }
        assert ran == jobs, (ran, jobs)
        assert dict(row) == wanted, (dict(row), wanted)
        report = await audit(self.database)
        assert not report.differences, report.differences[:3]
        return Drained(jobs=row["paid"], seconds=seconds, entries=report.entries)


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """What a drain did, once it is seen that nothing is amiss; ``entries``: of the ledger, all kinds."""

    jobs: int
    seconds: float
    entries: int


# What a drain has to leave; $1: what each job costs.
_LEFT = """
SELECT (SELECT count(*) FROM executions WHERE state = 'succeeded') AS succeeded,
    (SELECT count(*) FROM execution_events WHERE type = 'execution.succeeded') AS told,
    (SELECT count(*) FROM resource_queue) + (SELECT count(*) FROM running_jobs) AS left_over,
    (SELECT count(*) FROM budgets WHERE held_nano <> 0 OR unfinished <> 0) AS holding,
    (SELECT count(*) FROM jobs WHERE state = 'succeeded' AND cost_nano = $1) AS paid,
    (SELECT count(*) FROM job_attempts WHERE finished_at IS NOT NULL AND cost_nano = $1) AS attempts,
    (SELECT count(*) FROM cost_tracking WHERE kind = 'spend' AND amount_nano = $1) AS booked,
    (SELECT sum(amount_nano) FROM cost_tracking WHERE kind = 'spend')::bigint AS booked_nano,
    (SELECT sum(spent_nano) FROM executions)::bigint AS spent_nano,
    (SELECT sum(spent_nano) FROM budgets WHERE scope = 'client')::bigint AS budget_nano
"""


def execution(
    client_id: ClientId, pool: str, *, jobs: int, urgency: Urgency, units: int = 20
) -> NewExecution:
    """Return a submission of so many equal jobs; each may use so many units."""
    return NewExecution(
        request_id=RequestId(new_id()),
        client_id=client_id,
        key_id=None,
        template="bench",
        template_version=1,
        flow=(FlowStage(worker="granulation", template_ref="bench"),),
        parameters={"jobs": jobs, "pool": pool, "units": units},
        urgency=urgency,
    )


@contextlib.asynccontextmanager
async def open_ours(dsn: str, *, slots: int = 64, scheduler: bool = True) -> AsyncIterator[Ours]:
    """Build a process's parts on a migrated database; what is not given is as the settings have it."""
    settings = Settings(database_url=dsn, max_in_flight=slots, scheduler=scheduler)
    database = Database(url=dsn, pool_size=settings.pool_size)
    try:
        factory = build_factory(settings, database, environ={})
        worker = AtOnce()
        factory.resources.workers[worker.name] = worker  # the engine has the same mapping
        gc.collect()
        gc.freeze()  # as `aifactory serve` does once it is built
        yield Ours(factory=factory, worker=worker)
    finally:
        await database.close()
