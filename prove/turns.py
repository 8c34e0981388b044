"""Ground for proofs of turns: one pool, clients with work of their own, a process whose rounds are called."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import asyncpg

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import ClientId, RequestId, new_id
from aifactory.resources.engine import Engine
from aifactory.resources.interface import (
    ClientLimits,
    FlowStage,
    NewExecution,
    Submitted,
    Tier,
    Urgency,
    Worker,
)
from aifactory.resources.queries.tick import Claimed
from aifactory.resources.service import ResourceService
from prove.pools import add_pool
from prove.sized_worker import HOP, SizedWorker

CAPACITY = 1_000_000_000
RUNNING = 10_000
BUDGET_NANO = 10**15


class StillTime(Database):
    """A database whose time moves when it is told to: all that depends on it comes out the same each time."""

    def __init__(self, *, url: str) -> None:
        super().__init__(url=url)
        self.moment = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)

    async def _run(self, connection: Any, raw: "asyncpg.Connection[Any]") -> Tx:
        tx = await super()._run(connection, raw)
        tx.now = self.moment
        return tx


class Turns:
    """A database with one pool, and one process that decides, runs and settles when it is told to."""

    def __init__(self, database: Database, engine: Engine, tasks: anyio.abc.TaskGroup) -> None:
        self.database = database
        self.engine = engine
        self.tasks = tasks
        self.worker = SizedWorker()
        self.workers: dict[str, Worker] = {"granulation": self.worker}
        self.service = ResourceService(workers=self.workers, wake=lambda: None, abort=lambda _: None)

    async def client(self, tier: Tier = Tier.STANDARD, *, max_running: int = RUNNING) -> ClientId:
        """Add a client with money enough."""
        client_id = ClientId(new_id())
        limits = ClientLimits(
            client_id=client_id,
            name="a client",
            tier=tier,
            max_running=max_running,
            monthly_budget_nano=BUDGET_NANO,
        )
        async with self.database.begin() as tx:
            await self.service.set_client(tx, limits)
        return client_id

    async def submit(self, client_id: ClientId, **changes: Any) -> Submitted:
        """Queue one execution's jobs of a client; see ``submission``."""
        async with self.database.begin() as tx:
            return await self.service.submit(tx, submission(client_id, **changes))

    async def round(self) -> list[Claimed]:
        """Start what may start, run it to its end and settle it; return it in the order of the starts."""
        if not self.engine.lease.may_start:
            await self.engine.lease.round()
        tick = await self.engine.tick()
        await self.settle()
        return list(tick.claimed)

    async def settle(self) -> None:
        """Settle what runs, as soon as it has ended."""
        runner = self.engine.runner
        while not runner.idle:
            await anyio.lowlevel.checkpoint()
        await runner.settle_ended()

    async def execute(self, sql: str, *values: Any) -> None:
        """Send one statement of the proof's own."""
        async with self.database.begin() as tx:
            await tx.raw.execute(sql, *values)

    async def fetch(self, sql: str, *values: Any) -> Sequence[Any]:
        """Read by one statement of the proof's own."""
        async with self.database.begin() as tx:
            return list(await tx.raw.fetch(sql, *values))


def submission(
    client_id: ClientId,
    *,
    jobs: int = 1,
    units: int = 10,
    urgency: Urgency = Urgency.NORMAL,
    run_after: datetime | None = None,
) -> NewExecution:
    """Return work of so many jobs of so many units."""
    return NewExecution(
        request_id=RequestId(new_id()),
        client_id=client_id,
        key_id=None,
        template="turns",
        template_version=1,
        flow=(FlowStage(worker="granulation", template_ref="turns"),),
        parameters={"jobs": jobs, "units": units},
        urgency=urgency,
        run_after=run_after,
    )


@contextlib.asynccontextmanager
async def open_turns(
    database: Database, *, slots: int = 64, capacity: int = CAPACITY, refill: int = CAPACITY
) -> AsyncIterator[Turns]:
    """Open the ground on a database, with a registered process of so many slots."""
    async with database.begin() as tx:
        await add_pool(tx, HOP.pool, capacity=capacity, refill=refill, price_nano=1)
    async with anyio.create_task_group() as tasks:
        engine = Engine(
            database=database,
            workers={"granulation": SizedWorker()},
            slots=slots,
            local_slots=1,
            grace_seconds=1,
            environ={},
        )
        engine._tasks = tasks
        await engine.lease.round()
        try:
            yield Turns(database, engine, tasks)
        finally:
            await engine.lease.release()
            tasks.cancel_scope.cancel()
