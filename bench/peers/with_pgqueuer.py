"""PgQueuer through its public API, in its fastest documented shape: consumers of their own, batches.

What is used: ``PgQueuer``, ``Queries``, their drivers and settings. SQL of our own only fills the queue and
explains a claim, both as its own `tools/dequeue_benchmark.py` does, and vacuums.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import random
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
from pgqueuer import AsyncpgDriver, AsyncpgPoolDriver, Job, PgQueuer, Queries
from pgqueuer.domain.settings import Durability, db_settings
from pgqueuer.domain.types import QueueEntrypoint, QueueManagerId
from pgqueuer.ports.repository import EntrypointExecutionParameter

NAME = "PgQueuer"
VERSION = importlib.metadata.version("pgqueuer")
ENTRYPOINT = "noop"
HEARTBEAT_TIMEOUT = timedelta(seconds=30)  # their default
REPEATS = 7  # a connection reads the catalog at first
LATENCY_BATCH = 10  # their default; an idle worker claims one job whatever it is


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What PgQueuer's documents let one tune; the defaults are those of its own `tools/benchmark.py`.

    ``pool``: one pool for each consumer instead of one connection; its documents recommend both.
    ``autovacuum``: their `pgq autovac`, first on their checklist. ``aggregate_seconds``: how often the log is
    folded into statistics; 0 is never, which saves them an update of each row of the log.
    """

    consumers: int = 5
    batch: int = 10
    pool: bool = False
    durability: Durability = Durability.durable
    autovacuum: bool = True
    aggregate_seconds: float = 0


class Peer:
    """One installation in a database of its own; every measure is taken in this process, on this loop."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self._dsn = ""
        self._pool: asyncpg.Pool[Any] | None = None

    async def open(self, dsn: str, *, connections: int = 4) -> None:
        """Connect the producers: a pool, as the documents recommend for them."""
        db_settings.cache_clear()
        self._dsn = dsn
        self._pool = await asyncpg.create_pool(dsn, min_size=connections, max_size=connections)

    async def close(self) -> None:
        """Disconnect the producers."""
        await self._opened.close()

    async def install(self) -> None:
        """Make its tables, with the durability and the autovacuum that the settings name."""
        queries = self._queries()
        queries.qbe.settings.durability = self.settings.durability
        await queries.install()
        if self.settings.autovacuum:
            await queries.optimize_autovacuum()

    async def clear(self) -> None:
        """Empty the queue, its log and its statistics."""
        queries = self._queries()
        await queries.clear_queue()
        await queries.clear_queue_log()
        await queries.clear_statistics_log()

    async def enqueue(self, n: int, *, at_once: int = 1) -> float:
        """Submit jobs one by one, so many callers at once; the seconds until all are durable."""
        queries = self._queries()

        async def caller(count: int) -> None:
            for _ in range(count):
                await queries.enqueue(ENTRYPOINT, None)

        counts = [n // at_once + (index < n % at_once) for index in range(at_once)]
        start = time.perf_counter()
        await asyncio.gather(*map(caller, counts))
        return time.perf_counter() - start

    async def enqueue_many(self, n: int, batch: int) -> float:
        """Submit jobs in batches, one after another; the seconds until all are durable."""
        queries = self._queries()
        start = time.perf_counter()
        for first in range(0, n, batch):
            count = min(batch, n - first)
            await queries.enqueue([ENTRYPOINT] * count, [None] * count, [0] * count)
        return time.perf_counter() - start

    async def drain(self, expected: int) -> float:
        """Run all jobs in this process; seconds from the first job's start until every end is durable.

        Not in its mode ``drain``: with jobs in flight that may sleep a whole ``dequeue_timeout`` at the end.
        The last job asks for the shutdown, which flushes the ends that are still in its buffers.
        """
        ran, started = 0, 0.0

        async def noop(job: Job) -> None:
            nonlocal ran, started
            if not ran:
                started = time.perf_counter()
            ran += 1
            if ran >= expected:
                for worker in workers:
                    worker.shutdown.set()

        async with contextlib.AsyncExitStack() as stack:
            consumers = range(self.settings.consumers)
            workers = [await stack.enter_async_context(self._worker()) for _ in consumers]
            for worker in workers:
                worker.entrypoint(ENTRYPOINT)(noop)
            await asyncio.gather(*(self._run(worker, self.settings.batch) for worker in workers))
            seconds = time.perf_counter() - started
        assert ran == expected, (ran, expected)
        left = await self._opened.fetchval("SELECT count(*) FROM pgqueuer")
        assert not left, left
        return seconds

    async def latency(self, n: int, *, pause_seconds: float = 0.3) -> list[float]:
        """Submit single jobs to an idle worker; seconds from before the call until the job's function runs.

        The pause is longer than what the worker's buffer of ends waits (0.12 s), so that it is idle indeed.
        """
        starts: asyncio.Queue[float] = asyncio.Queue()

        async def noop(job: Job) -> None:
            starts.put_nowait(time.perf_counter())

        queries = self._queries()
        seconds: list[float] = []
        async with self._worker() as worker:
            worker.entrypoint(ENTRYPOINT)(noop)
            running = asyncio.create_task(self._run(worker, LATENCY_BATCH))
            await queries.enqueue(ENTRYPOINT, None)
            await starts.get()
            for _ in range(n):
                await asyncio.sleep(pause_seconds * random.uniform(1, 1.5))
                before = time.perf_counter()
                await queries.enqueue(ENTRYPOINT, None)
                seconds.append(await starts.get() - before)
            worker.shutdown.set()
            await running
        return seconds

    async def depth(self, n: int) -> None:
        """Have exactly so many jobs queued, as `enqueue` would have left them, vacuumed and analyzed."""
        await self.clear()
        async with self._opened.acquire() as connection:
            await connection.execute(_FILL, ENTRYPOINT, n, timeout=600)
            await connection.execute("VACUUM ANALYZE pgqueuer", timeout=600)
            await connection.execute("VACUUM ANALYZE pgqueuer_log", timeout=600)

    async def claim(self, times: int, *, batch: int = 10) -> list[float]:
        """Claim a batch of jobs so many times, as its worker does; the seconds of each. They stay claimed."""
        queries, manager = self._queries(), QueueManagerId(uuid.uuid4())
        wanted = {QueueEntrypoint(ENTRYPOINT): EntrypointExecutionParameter(concurrency_limit=0)}
        seconds: list[float] = []
        for _ in range(times):
            before = time.perf_counter()
            jobs = await queries.dequeue(batch, wanted, manager, None, HEARTBEAT_TIMEOUT)
            seconds.append(time.perf_counter() - before)
            assert len(jobs) == batch, len(jobs)
        return seconds

    async def claim_buffers(self, *, batch: int = 10) -> int:
        """Return the shared buffers that one claim touches, the fewest of some; each is rolled back."""
        query = self._queries().qbq.build_dequeue_query(
            batch_size=batch,
            entrypoints=[QueueEntrypoint(ENTRYPOINT)],
            concurrency_limits=[0],
            queue_manager_id=QueueManagerId(uuid.uuid4()),
            global_concurrency_limit=None,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
        )
        touched: list[int] = []
        async with self._opened.acquire() as connection:
            for _ in range(REPEATS):
                transaction = connection.transaction()
                await transaction.start()
                plan = await connection.fetchval(f"{_EXPLAIN} {query.sql}", *query.args)
                await transaction.rollback()
                top = json.loads(plan)[0]["Plan"]
                # The log's insert runs after the top node has ended, which therefore does not count it.
                late = [node for node in top["Plans"] if node.get("Subplan Name") == "CTE log_pick"]
                assert late, plan
                touched.append(sum(n["Shared Hit Blocks"] + n["Shared Read Blocks"] for n in (top, *late)))
        return min(touched)

    @property
    def _opened(self) -> "asyncpg.Pool[Any]":
        assert self._pool is not None, "open it first"
        return self._pool

    def _queries(self) -> Queries:
        return Queries(AsyncpgPoolDriver(self._opened))

    @contextlib.asynccontextmanager
    async def _worker(self) -> AsyncIterator[PgQueuer]:
        """Give a worker with a connection, or a pool, that only it uses: `run` leaves its listener there."""
        if self.settings.pool:
            async with asyncpg.create_pool(self._dsn, min_size=3, max_size=3) as pool:
                yield PgQueuer(AsyncpgPoolDriver(pool))
        else:
            connection = await asyncpg.connect(self._dsn)
            try:
                yield PgQueuer(AsyncpgDriver(connection))
            finally:
                await connection.close()

    async def _run(self, worker: PgQueuer, batch: int) -> None:
        every = timedelta(seconds=self.settings.aggregate_seconds)
        await worker.run(batch_size=batch, log_aggregation_interval=every)


_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"
_FILL = """
WITH made AS (
    INSERT INTO pgqueuer (priority, entrypoint, headers, status)
    SELECT 0, $1, 'null', 'queued' FROM generate_series(1, $2::int)
    RETURNING id, entrypoint
)
INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority) SELECT id, 'queued', entrypoint, 0 FROM made
"""
