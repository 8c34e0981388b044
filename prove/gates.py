"""A million starts by deciders in processes of their own, which are killed all the time: no gate may leak.

The deciders are whole engines; their jobs end at once. The database notes every change of a running row, a
pool and a budget, and the judge rebuilds each to the last unit, in the order in which it was committed.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import event

from aifactory.kernel.db import Database, DatabaseUnavailable
from aifactory.kernel.embedded_postgres import EmbeddedPostgres
from aifactory.kernel.errors import AppError
from aifactory.kernel.ids import ClientId, ExecutionId, RequestId, new_id
from aifactory.kernel.migrations import migrate
from aifactory.resources.audit import audit
from aifactory.resources.interface import FlowStage, NewExecution, Urgency
from aifactory.resources.service import ResourceService
from prove import facts
from prove.databases import FAST
from prove.decider import InstantWorker
from prove.gates_ground import FAN_OUT, SLOW, Ground
from prove.judge import Judge, by_promise

SLOTS = 64
DRAIN_SECONDS = 400.0
PLACE = Path(".cache/prove-gates")
_PROGRESS = """
CREATE TABLE IF NOT EXISTS proof_progress (
    starts bigint NOT NULL DEFAULT 0, kills int NOT NULL DEFAULT 0, cuts int NOT NULL DEFAULT 0,
    broken text[] NOT NULL DEFAULT '{}', seconds double precision NOT NULL DEFAULT 0)
"""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How large a proof is: it ends when so many jobs have started and so many deciders were killed."""

    starts: int = 1_000_000
    deciders: int = 8
    clients: int = 20
    unfinished: int = 120  #: executions that are under way at once
    kill_seconds: float = 15.0
    cut_seconds: float = 5.0
    kills: int = 1


class Report(msgspec.Struct, kw_only=True):
    """What a proof showed; ``broken`` in words, none when every gate held."""

    starts: int = 0
    kills: int = 0
    cuts: int = 0
    seconds: float = 0.0
    submitted: int = 0
    refused: Counter[str] = Counter()  #: by the refusal's code
    full: Counter[str] = Counter()  #: gates that nothing passed, by kind, summed over all looks
    looks: int = 0
    attempts: int = 0
    lost_attempts: int = 0
    fullest: float = 0.0
    broken: list[str] = []


class _Deciders:
    """Processes that decide, each started again after its death."""

    def __init__(self, url: str) -> None:
        self.pids: list[int] = []
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "prove.decider", url, str(SLOTS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def start(self) -> None:
        """Start one more."""
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(b"start\n")
        self._nursery.stdin.flush()
        self.pids.append(int(self._nursery.stdout.readline()))

    def kill(self, pid: int) -> None:
        """End one as the kernel does, and start another."""
        self.pids.remove(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.start()

    def end(self) -> None:
        """End all of them at once."""
        self._nursery.communicate()


class _Proof:
    """One run of the proof on one database."""

    def __init__(self, database: Database, terms: Terms, connection: "asyncpg.Connection[Any]") -> None:
        self.database = database
        self.terms = terms
        self.connection = connection
        self.report = Report()
        self.chance = random.Random()
        self.dated = False
        self.service = ResourceService(
            workers={"granulation": InstantWorker()}, wake=lambda: None, abort=lambda _: None
        )
        self.ground = Ground(database, self.service)
        self.judge = Judge(cap_of=self.ground.caps.get, limit_of=self.ground.limit_of)
        self.routes: dict[ExecutionId, str] = {}
        self._began = time.monotonic()

    @property
    def enough(self) -> bool:
        """Whether there were starts and kills enough, or nothing is left to prove."""
        done = self.report.starts >= self.terms.starts and self.report.kills >= self.terms.kills
        return done or bool(self.judge.broken)

    # Setting up, or going on.

    async def set_up(self) -> None:
        """Make the ground, or take it up where an interrupted run left it."""
        self.dated = await self.connection.fetchval("SHOW track_commit_timestamp") == "on"
        await self.connection.execute(_PROGRESS)
        row = await self.connection.fetchrow("SELECT * FROM proof_progress")
        if row is None:
            await self.ground.make(self.terms.clients)
            await facts.install(self.connection)
            await self.connection.execute("INSERT INTO proof_progress DEFAULT VALUES")
        else:
            await self._go_on(row)
        await self.ground.take_up()

    async def _go_on(self, row: Any) -> None:
        await self.connection.execute("TRUNCATE fact_pools, fact_runs, fact_budgets, fact_quotas")
        running = await self.connection.fetch("SELECT job_id, token, client_id FROM running_jobs")
        settled = await self.connection.fetch("SELECT id FROM jobs WHERE state = 'succeeded'")
        self.judge.adopt(
            {one["job_id"]: (one["token"], one["client_id"]) for one in running},
            {one["id"] for one in settled},
        )
        self.judge.starts = self.report.starts = row["starts"]
        self.judge.broken += row["broken"]
        self.report.kills, self.report.cuts = row["kills"], row["cuts"]
        self._began -= row["seconds"]

    # Working.

    async def feed(self) -> None:
        """Keep so many executions under way; a refusal for want of money is an answer."""
        while not self.enough:
            unfinished = await self._unfinished()
            for _ in range(self.terms.unfinished - len(unfinished)):
                if not self.enough:
                    await self._submit(self._choose(unfinished))
            await asyncio.sleep(0.05)

    async def _unfinished(self) -> list[ExecutionId]:
        async with self.database.begin() as tx:
            rows = await tx.raw.fetch("SELECT id FROM executions WHERE finished_at IS NULL")
        return [row["id"] for row in rows]

    def _choose(self, unfinished: list[ExecutionId]) -> str:
        """Return a route; those that get too little wait in moderate numbers, so that the fleet is busy."""
        self.routes = {one: self.routes.get(one, "wide") for one in unfinished}
        waiting = list(self.routes.values())
        slow = [name for name in SLOW if waiting.count(name) <= self.terms.unfinished // 10]
        return self.chance.choice(["wide", "wide", *slow])

    async def _submit(self, route: str) -> None:
        client = self.chance.choice(list(self.ground.caps))
        new = NewExecution(
            request_id=RequestId(new_id()),
            client_id=ClientId(client),
            key_id=self.ground.keys.get(client),
            template="gates",
            template_version=1,
            flow=(FlowStage(worker="granulation", template_ref="gates"),),
            parameters={"jobs": FAN_OUT, "route": route},
            urgency=self.chance.choice(list(Urgency)),
        )
        try:
            async with self.database.begin() as tx:
                submitted = await self.service.submit(tx, new)
        except DatabaseUnavailable:
            raise
        except AppError as refusal:
            self.report.refused[refusal.code] += 1
        else:
            self.routes[submitted.execution_id] = route
            self.report.submitted += 1

    async def kill(self, deciders: _Deciders) -> None:
        """Kill one decider after the other, in the middle of work, and start it again."""
        while not self.enough:
            await asyncio.sleep(self.terms.kill_seconds * self.chance.uniform(0.5, 1.5))
            if busy := await self._busy() & set(deciders.pids):
                await asyncio.to_thread(deciders.kill, self.chance.choice(sorted(busy)))
                self.report.kills += 1

    async def _busy(self) -> set[int]:
        async with self.database.begin() as tx:
            rows = await tx.raw.fetch(
                "SELECT DISTINCT p.pid FROM processes p JOIN running_jobs r ON r.process_id = p.id"
            )
        return {row["pid"] for row in rows}

    async def cut(self) -> None:
        """End connections of deciders at any moment."""
        while not self.enough:
            await asyncio.sleep(self.terms.cut_seconds * self.chance.uniform(0.5, 1.5))
            async with self.database.begin() as tx:
                self.report.cuts += await tx.raw.fetchval(
                    """
                    SELECT count(pg_terminate_backend(pid)) FROM (
                        SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                            AND application_name = 'aifactory' AND state <> 'idle' AND pid <> pg_backend_pid()
                        ORDER BY random() LIMIT 1) victim
                    """
                )

    async def watch(self, say: Callable[[str], None]) -> None:
        """Judge what was done, second by second, and raise the budgets by what was spent."""
        said = 0.0
        while not self.enough:
            await asyncio.sleep(1.0 if self.terms.starts > 10_000 else 0.1)
            await self.hear()
            self.report.full.update(await self.ground.full())
            self.report.looks += 1
            await self.ground.raise_limits()
            if time.monotonic() - said > 15:
                said = time.monotonic()
                say(self._line())

    def _line(self) -> str:
        seconds = time.monotonic() - self._began
        return (
            f"{seconds:.0f} s: {self.report.starts} starts, {self.report.kills} kills,"
            f" {self.report.cuts} connections cut, refused: {dict(self.report.refused)}, shut:"
            f" {dict(self.report.full)} in {self.report.looks} looks,"
            f" broken: {dict(by_promise(self.judge.broken))}"
        )

    async def hear(self) -> None:
        """Judge what was noted since the last time, and note how far the proof has come."""
        await self.ground.know_budgets(self.connection)
        self.judge.hear(await facts.take(self.connection, dated=self.dated))
        self.report.starts = self.judge.starts
        self.report.seconds = time.monotonic() - self._began
        await self.connection.execute(
            "UPDATE proof_progress SET starts = $1, kills = $2, cuts = $3, broken = $4, seconds = $5",
            self.report.starts,
            self.report.kills,
            self.report.cuts,
            self.judge.broken[:100],
            self.report.seconds,
        )

    # The end.

    async def finish(self) -> None:
        """Wait until all that was submitted has ended, and look at what is left."""
        ends = time.monotonic() + DRAIN_SECONDS
        while await self._unfinished() and time.monotonic() < ends:
            await asyncio.sleep(0.1)
            await self.ground.raise_limits()
            await self.hear()

    async def conclude(self) -> Report:
        """Judge the rest, with nobody at work any more."""
        await self.hear()
        broken = list(self.judge.broken)
        left = await self.connection.fetchrow(
            """
            SELECT (SELECT count(*) FROM executions WHERE finished_at IS NULL) AS executions,
                   (SELECT count(*) FROM jobs WHERE finished_at IS NULL) AS jobs,
                   (SELECT count(*) FROM running_jobs) AS running,
                   (SELECT coalesce(sum(held_nano), 0)::bigint FROM budgets) AS held
            """
        )
        assert left is not None
        broken += [f"end: {count} {name} are left" for name, count in left.items() if count]
        broken += [f"audit: {one}" for one in (await audit(self.database)).differences[:20]]
        row = await self.connection.fetchrow(
            "SELECT count(*) AS attempts, count(*) FILTER (WHERE outcome = 'lost') AS lost FROM job_attempts"
        )
        assert row is not None
        self.report.attempts, self.report.lost_attempts = row["attempts"], row["lost"]
        full = [self.judge.highest[client] / cap for client, cap in self.ground.caps.items() if cap]
        self.report.fullest = max(full, default=0.0)
        self.report.broken = broken
        return self.report


@contextlib.asynccontextmanager
async def open_place(folder: Path) -> AsyncIterator[Database]:
    """Keep a server in a folder: a proof that is interrupted goes on there. Delete it when all is over.

    It notes when each transaction was committed, which tells who ran beside whom.
    """
    settings = {**FAST, "track_commit_timestamp": "on"}
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    server = EmbeddedPostgres(folder=folder, settings=settings)
    url = await asyncio.to_thread(server.start)
    try:
        database = Database(url=url)
        await migrate(database)
        try:
            yield database
        finally:
            await database.close()
    finally:
        await asyncio.to_thread(server.stop)


async def run(database: Database, terms: Terms, say: Callable[[str], None] = lambda _: None) -> Report:
    """Run the proof, or go on with one that was interrupted on this database."""
    _spare(database)
    connection = await database.own_connection()
    try:
        proof = _Proof(database, terms, connection)
        await proof.set_up()
        async with _deciders(database.url, terms.deciders) as deciders:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(proof.feed())
                tasks.create_task(proof.kill(deciders))
                tasks.create_task(proof.cut())
                tasks.create_task(proof.watch(say))
            await proof.finish()
        return await proof.conclude()
    finally:
        await connection.close()


def _spare(database: Database) -> None:
    """Keep the proof's own connections apart from those that are cut."""

    def name(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        options["server_settings"] = {**options["server_settings"], "application_name": "proof"}

    event.listen(database.engine.sync_engine, "do_connect", name)


@contextlib.asynccontextmanager
async def _deciders(url: str, count: int) -> AsyncIterator[_Deciders]:
    deciders = _Deciders(url)
    try:
        for _ in range(count):
            await asyncio.to_thread(deciders.start)
        yield deciders
    finally:
        deciders.end()
