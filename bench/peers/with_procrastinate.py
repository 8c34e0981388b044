"""Procrastinate through its public API: one process that runs many jobs at once, finished jobs deleted.

What is used: ``App`` with its tasks, its schema manager, its job manager and its workers. SQL of our own only
empties and fills the queue, which it has no call for, explains a claim, and vacuums.
"""

import asyncio
import contextlib
import importlib.metadata
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import procrastinate
import psycopg
import psycopg_pool

NAME = "Procrastinate"
VERSION = importlib.metadata.version("procrastinate")
QUEUE, TASK = "bench", "noop"
PRODUCER_CONNECTIONS = 4
REPEATS = 7  # a connection reads the catalog and plans at first


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What Procrastinate's documents let one tune.

    ``concurrency``: jobs at once, 30 in its how-to; the pool has one connection more, as its discussion of
    pools wants for short jobs. ``workers``: workers in this process, each of which fetches one job at a time.
    ``lean_pool``: a pool of our own, with autocommit and without the probe before each use; it is allowed,
    not advised.
    """

    concurrency: int = 30
    workers: int = 1
    delete_jobs: Literal["never", "successful", "always"] = "always"
    lean_pool: bool = False

    @property
    def connections(self) -> int:
        """Return the size of the pool; each worker listens on one more, outside of it."""
        return max(self.concurrency * self.workers + 1, PRODUCER_CONNECTIONS)


class Peer:
    """One installation in a database of its own; every measure is taken in this process, on this loop."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._dsn = ""
        self._app: procrastinate.App | None = None
        self._pool: psycopg_pool.AsyncConnectionPool[Any] | None = None
        self._ran = 0
        self._first = 0.0
        self._starts: asyncio.Queue[float] | None = None

    async def open(self, dsn: str, *, connections: int = PRODUCER_CONNECTIONS) -> None:
        """Make the app with its task, and connect it: its workers and the producers share one pool."""
        self._dsn = dsn
        size = max(self.settings.connections, connections)
        connector = procrastinate.PsycopgConnector(conninfo=dsn, min_size=size, max_size=size)
        self._app = procrastinate.App(connector=connector)
        self._app.task(self._noop, name=TASK, queue=QUEUE)
        if self.settings.lean_pool:
            self._pool = psycopg_pool.AsyncConnectionPool(
                dsn, min_size=size, max_size=size, open=False, configure=_autocommit
            )
            await self._pool.open(wait=True)
        await self._app.open_async(self._pool)

    async def close(self) -> None:
        """Disconnect."""
        await self._opened.close_async()
        if self._pool is not None:
            await self._pool.close()

    async def install(self) -> None:
        """Make its tables and functions."""
        await self._opened.schema_manager.apply_schema_async()

    async def clear(self) -> None:
        """Empty the queue and its events."""
        async with self._own_connection() as connection:
            await connection.execute("TRUNCATE procrastinate_jobs, procrastinate_events CASCADE")

    async def enqueue(self, n: int, *, at_once: int = 1) -> float:
        """Submit jobs one by one, so many callers at once; the seconds until all are durable."""
        task = self._opened.tasks[TASK]

        async def caller(count: int) -> None:
            for _ in range(count):
                await task.defer_async()

        counts = [n // at_once + (index < n % at_once) for index in range(at_once)]
        start = time.perf_counter()
        await asyncio.gather(*map(caller, counts))
        return time.perf_counter() - start

    async def enqueue_many(self, n: int, batch: int) -> float:
        """Submit jobs in batches, one after another; the seconds until all are durable."""
        task = self._opened.tasks[TASK]
        start = time.perf_counter()
        for first in range(0, n, batch):
            await task.batch_defer_async(*({} for _ in range(min(batch, n - first))))
        return time.perf_counter() - start

    async def drain(self, expected: int) -> float:
        """Run all jobs in this process; seconds from the first job's start until every end is durable.

        A worker that is not to wait stops at its first fetch that finds nothing, once its jobs have ended.
        """
        self._ran, self._starts = 0, None
        await asyncio.gather(*(self._run(wait=False) for _ in range(self.settings.workers)))
        seconds = time.perf_counter() - self._first
        assert self._ran == expected, (self._ran, expected)
        async with self._own_connection() as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
            )
            left = await cursor.fetchone()
        assert left == (0,), left
        return seconds

    async def latency(self, n: int, *, pause_seconds: float = 0.3) -> list[float]:
        """Submit single jobs to an idle worker; seconds from before the call until the job's function runs.

        The worker listens by the time the first job has run and a second has passed: what it misses before
        would wait for its next poll, 5 s later.
        """
        starts = self._starts = asyncio.Queue()
        task = self._opened.tasks[TASK]
        running = asyncio.create_task(self._run(wait=True))
        await task.defer_async()
        await starts.get()
        await asyncio.sleep(1)
        seconds: list[float] = []
        for _ in range(n):
            await asyncio.sleep(pause_seconds * random.uniform(1, 1.5))
            before = time.perf_counter()
            await task.defer_async()
            seconds.append(await starts.get() - before)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        return seconds

    async def depth(self, n: int) -> None:
        """Have exactly so many jobs queued, as `enqueue` would have left them, vacuumed and analyzed.

        Its triggers, two notifications and an event for each row, are off meanwhile; the events are written.
        """
        await self.clear()
        async with self._own_connection() as connection:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute(_FILL, (QUEUE, TASK, n))
            await connection.execute("VACUUM ANALYZE procrastinate_jobs, procrastinate_events")

    async def claim(self, times: int, *, batch: int = 1) -> list[float]:
        """Claim a job so many times, as its worker does; the seconds of each. They stay claimed."""
        assert batch == 1, "it claims one at a time"
        manager = self._opened.job_manager
        worker = await manager.register_worker()
        seconds: list[float] = []
        for _ in range(times):
            before = time.perf_counter()
            job = await manager.fetch_job(queues=None, worker_id=worker)
            seconds.append(time.perf_counter() - before)
            assert job is not None
        return seconds

    async def claim_buffers(self, *, batch: int = 1) -> int:
        """Return the shared buffers that one claim touches, the fewest of some; each is rolled back."""
        assert batch == 1, "it claims one at a time"
        worker = await self._opened.job_manager.register_worker()
        touched: list[int] = []
        async with self._own_connection() as connection:
            for _ in range(REPEATS):
                async with connection.transaction(force_rollback=True):
                    cursor = await connection.execute(_EXPLAIN, (worker,))
                    row = await cursor.fetchone()
                assert row is not None
                top = row[0][0]["Plan"]
                touched.append(top["Shared Hit Blocks"] + top["Shared Read Blocks"])
        return min(touched)

    @property
    def _opened(self) -> procrastinate.App:
        assert self._app is not None, "open it first"
        return self._app

    async def _noop(self) -> None:
        if not self._ran:
            self._first = time.perf_counter()
        self._ran += 1
        if self._starts is not None:
            self._starts.put_nowait(time.perf_counter())

    async def _run(self, *, wait: bool) -> None:
        await self._opened.run_worker_async(
            wait=wait,
            concurrency=self.settings.concurrency,
            delete_jobs=self.settings.delete_jobs,
            install_signal_handlers=False,
        )

    @contextlib.asynccontextmanager
    async def _own_connection(self) -> AsyncIterator["psycopg.AsyncConnection[Any]"]:
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            yield connection


async def _autocommit(connection: "psycopg.AsyncConnection[Any]") -> None:
    await connection.set_autocommit(True)


_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM procrastinate_fetch_job_v2(NULL, %s)"
_FILL = """
WITH made AS (
    INSERT INTO procrastinate_jobs (queue_name, task_name) SELECT %s, %s FROM generate_series(1, %s::int)
    RETURNING id
)
INSERT INTO procrastinate_events (job_id, type) SELECT id, 'deferred' FROM made
"""
