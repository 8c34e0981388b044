"""Processes of the Resource Manager, driven round by round on one database, without their loops."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import anyio.abc
import msgspec
from tests.fake_worker import NANO_PER_UNIT, ScriptedWorker

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import ClientId, ExecutionId, RequestId, new_id
from aifactory.resources.engine import Engine
from aifactory.resources.interface import (
    ClientLimits,
    ExecutionView,
    FlowStage,
    NewExecution,
    Submitted,
    Tier,
    Worker,
)
from aifactory.resources.scheduler import Tick
from aifactory.resources.service import ResourceService
from prove.pools import add_pool


class Process:
    """One process of the fleet: an engine whose rounds a test calls."""

    def __init__(self, engine: Engine, tasks: anyio.abc.TaskGroup) -> None:
        self.engine = engine
        self.tasks = tasks
        engine._tasks = tasks
        engine.scheduler.longest_wait_seconds = 0.05  # tests are deciders too, and then keep others out

    @property
    def database(self) -> Database:
        return self.engine.database

    async def tick(self) -> Tick:
        """Claim and launch what may start."""
        return await self.engine.tick()

    async def claim(self) -> Tick:
        """Claim without starting, as a process does that dies in between."""
        runner = self.engine.runner
        return await self.engine.scheduler.tick(
            slots=runner.free_slots(local=False), local_slots=runner.free_slots(local=True), idle=runner.idle
        )

    async def settle(self) -> None:
        """Settle once everything that runs here has ended."""
        await until(lambda: self.engine.runner.idle)
        await self.engine.runner.settle_ended()

    async def work(self, rounds: int = 100) -> None:
        """Tick and settle until nothing can start now."""
        for _ in range(rounds):
            if not (await self.tick()).claimed:
                return
            await self.settle()
        raise AssertionError("there is always more to start")

    async def rescue(self) -> int:
        return await self.engine.maintenance.rescue()

    async def age(self, seconds: float) -> None:
        """Let time pass for this process, as a fleet does that ticks all the while."""
        until_then = self.database.clock_offset + timedelta(seconds=seconds)
        while self.database.clock_offset < until_then:
            self.database.clock_offset = min(until_then, self.database.clock_offset + timedelta(seconds=4))
            async with self.database.begin() as tx:
                await tx.raw.execute("UPDATE scheduler_control SET last_tick_at = $1", tx.now)
            await self.engine.lease.round()


class Fleet:
    """A database with a pool and a model for tests, clients, and processes."""

    def __init__(self, database: Database, tasks: anyio.abc.TaskGroup) -> None:
        self.database = database
        self.worker = ScriptedWorker()
        self.workers: dict[str, Worker] = {"granulation": self.worker}
        self.audited = True
        self._tasks = tasks
        self._opened: list[Database] = []
        self._processes: list[Process] = []  # else the session that says that one lives ends with the garbage

    def script(self, phases: dict[str, int], **options: Any) -> ScriptedWorker:
        """Replace the worker; processes and submissions from now on use the new one."""
        self.worker = ScriptedWorker(phases, **options)
        self.workers[self.worker.name] = self.worker
        return self.worker

    @property
    def service(self) -> ResourceService:
        return ResourceService(workers=self.workers, wake=lambda: None, abort=lambda _: None)

    def engine(
        self, *, slots: int = 64, local_slots: int = 2, grace_seconds: float = 2.0, **options: Any
    ) -> Engine:
        """An engine with a connection pool of its own."""
        database = Database(url=self.database.url, pool_size=10)
        self._opened.append(database)
        return Engine(
            database=database,
            workers=self.workers,
            slots=slots,
            local_slots=local_slots,
            grace_seconds=grace_seconds,
            **options,
        )

    async def process(self, *, clock_offset: timedelta = timedelta(), **options: Any) -> Process:
        """A registered process."""
        engine = self.engine(**options)
        engine.database.clock_offset = clock_offset
        await engine.lease.round()
        self._processes.append(Process(engine, self._tasks))
        return self._processes[-1]

    async def client(self, tier: Tier = Tier.ENTERPRISE, **limits: Any) -> ClientId:
        client_id = ClientId(new_id())
        await self.set_client(client_id, tier=tier, **limits)
        return client_id

    async def set_client(self, client_id: ClientId, tier: Tier = Tier.ENTERPRISE, **limits: Any) -> None:
        limits.setdefault("monthly_budget_nano", 10**12)
        async with self.database.begin() as tx:
            await self.service.set_client(
                tx, ClientLimits(client_id=client_id, name="a client", tier=tier, **limits)
            )

    def submission(self, client_id: ClientId, **changes: Any) -> NewExecution:
        new = NewExecution(
            request_id=RequestId(new_id()),
            client_id=client_id,
            key_id=None,
            template="tests",
            template_version=1,
            flow=(FlowStage(worker="granulation", template_ref="tests"),),
            parameters={},
        )
        return msgspec.structs.replace(new, **changes)

    async def submit(self, client_id: ClientId, **changes: Any) -> ExecutionId:
        return (await self.submitted(client_id, **changes)).execution_id

    async def submitted(self, client_id: ClientId, **changes: Any) -> Submitted:
        async with self.database.begin() as tx:
            return await self.service.submit(tx, self.submission(client_id, **changes))

    async def cancel(self, execution_id: ExecutionId) -> ExecutionView:
        async with self.database.begin() as tx:
            return await self.service.cancel(tx, execution_id)

    async def view(self, execution_id: ExecutionId) -> ExecutionView:
        async with self.database.begin() as tx:
            found = await self.service.find_execution(tx, client_id=None, execution_id=execution_id)
        assert found is not None
        return found

    async def ended(self, execution_id: ExecutionId, seconds: float = 20) -> ExecutionView:
        """Wait until running engines have brought an execution to its end."""

        async def final() -> bool:
            return (await self.view(execution_id)).state.final

        await until(final, seconds)
        return await self.view(execution_id)

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        async with self.database.begin() as tx:
            return list(await tx.raw.fetch(sql, *values))

    async def value(self, sql: str, *values: Any) -> Any:
        rows = await self.fetch(sql, *values)
        return rows[0][0] if rows else None

    async def execute(self, sql: str, *values: Any) -> None:
        async with self.database.begin() as tx:
            await tx.raw.execute(sql, *values)

    async def budget(self, client_id: ClientId) -> tuple[int, int, int]:
        """A client's held, spent and unfinished of all periods."""
        sql = """
            SELECT coalesce(sum(held_nano), 0)::bigint, coalesce(sum(spent_nano), 0)::bigint,
                   coalesce(sum(unfinished), 0)::bigint
            FROM budgets WHERE client_id = $1
            """
        (row,) = await self.fetch(sql, client_id)
        return row[0], row[1], row[2]

    async def ledger(self, kind: str) -> list[int]:
        """The amounts of a kind of entry, oldest first."""
        rows = await self.fetch("SELECT amount_nano FROM cost_tracking WHERE kind = $1 ORDER BY id", kind)
        return [row[0] for row in rows]

    async def add_spare(self) -> None:
        """A second provider with a pool of its own, as dear as the first."""
        async with self.database.begin() as tx:
            await add_test_pool(tx, name="spare")

    async def provider(self, name: str = "test") -> Any:
        """A provider's row."""
        (row,) = await self.fetch("SELECT * FROM providers WHERE provider = $1", name)
        return row

    async def open_circuit(self, name: str = "test", *, since: float, until: float) -> None:
        """Open a circuit that was opened so many seconds ago, for so many seconds from now."""
        async with self.database.begin() as tx:
            await tx.raw.execute(
                """
                UPDATE providers SET circuit = 'open', circuit_changed_at = $2, circuit_until = $3,
                    failures = 5, openings = 1
                WHERE provider = $1
                """,
                name,
                tx.now - timedelta(seconds=since),
                tx.now + timedelta(seconds=until),
            )

    async def counts(self) -> dict[str, int]:
        """Rows of the hot tables."""
        tables = ("resource_queue", "queue_due", "running_jobs")
        return {table: await self.value(f"SELECT count(*) FROM {table}") for table in tables}

    async def job_states(self) -> list[str]:
        return [row[0] for row in await self.fetch("SELECT state FROM jobs ORDER BY id")]

    async def events(self, execution_id: ExecutionId) -> list[str]:
        sql = "SELECT type FROM execution_events WHERE execution_id = $1 ORDER BY seq"
        return [row[0] for row in await self.fetch(sql, execution_id)]

    async def close(self) -> None:
        for database in self._opened:
            await database.close()


@contextlib.asynccontextmanager
async def open_fleet(database: Database) -> AsyncIterator[Fleet]:
    async with database.begin() as tx:
        await add_test_pool(tx)
    async with anyio.create_task_group() as tasks:
        fleet = Fleet(database, tasks)
        try:
            yield fleet
        finally:
            tasks.cancel_scope.cancel()
    await fleet.close()


async def add_test_pool(tx: Tx, capacity: int = 1_000_000, name: str = "test") -> None:
    """A pool that is never in the way, and a model on it that costs the same for every unit."""
    await add_pool(tx, name, capacity=capacity, refill=50_000, price_nano=NANO_PER_UNIT)


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 20) -> None:
    """Wait for a condition; fail when it does not come true in time."""
    with anyio.move_on_after(seconds):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await anyio.sleep(0.005)
    raise AssertionError(f"not within {seconds} s")
