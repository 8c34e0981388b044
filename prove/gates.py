"""A million starts by deciders in processes of their own, which are killed all the time: no gate may leak.

The deciders are whole engines; their jobs end at once. The database notes every change of a running row, a
pool and a budget, and the judge rebuilds each to the last unit, in the order in which it was committed.
"""

import argparse
import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import event

from aifactory.kernel.db import Database, DatabaseUnavailable
from aifactory.kernel.errors import AppError
from aifactory.kernel.ids import ClientId, ExecutionId, RequestId, new_id
from aifactory.resources.audit import audit
from aifactory.resources.interface import FlowStage, NewExecution, Urgency
from aifactory.resources.service import ResourceService
from prove import facts
from prove.databases import Databases, empty_place, open_place
from prove.decider import Deciders, InstantWorker, open_deciders
from prove.gates_ground import FAN_OUT, QUOTA, SLOW, Ground
from prove.judge import Judge, by_promise
from prove.reporting import Option, Proof, Proven, proven

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
        self.kinds: dict[ExecutionId, str] = {}  # of unfinished work
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
            self.kinds = {one: self.kinds.get(one, "wide") for one in unfinished}
            for _ in range(self.terms.unfinished - len(unfinished)):
                if not self.enough:
                    await self._submit(self._choose())
            await asyncio.sleep(0.05)

    async def _unfinished(self) -> list[ExecutionId]:
        async with self.database.begin() as tx:
            rows = await tx.raw.fetch("SELECT id FROM executions WHERE finished_at IS NULL")
        return [row["id"] for row in rows]

    def _choose(self) -> str:
        """Return what to submit; of what gets too little, little may wait, so that the fleet is busy."""
        waiting = list(self.kinds.values())
        slow = [kind for kind in (*SLOW, QUOTA) if waiting.count(kind) <= self.terms.unfinished // 10]
        return self.chance.choice(["wide", "wide", *slow])

    async def _submit(self, kind: str) -> None:
        route = self.chance.choice(["wide", *SLOW]) if kind == QUOTA else kind
        clients = [one for one in self.ground.caps if (one in self.ground.with_quota) is (kind == QUOTA)]
        client = self.chance.choice(clients)
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
        except asyncpg.QueryCanceledError:  # behind a decider that was stopped with its locks
            self.report.refused["timed_out"] += 1
        else:
            self.kinds[submitted.execution_id] = kind
            self.report.submitted += 1

    async def kill(self, deciders: Deciders) -> None:
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


async def run(database: Database, terms: Terms, say: Callable[[str], None] = lambda _: None) -> Report:
    """Run the proof, or go on with one that was interrupted on this database."""
    _spare(database)
    connection = await database.own_connection()
    try:
        proof = _Proof(database, terms, connection)
        await proof.set_up()
        async with open_deciders(database.url, terms.deciders, slots=SLOTS) as deciders:
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
    """Keep the proof's own connections apart from those that are cut, and alive when it is given no time."""

    def name(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        own = {"application_name": "proof", "idle_in_transaction_session_timeout": "60s"}
        options["server_settings"] = {**options["server_settings"], **own}

    event.listen(database.engine.sync_engine, "do_connect", name)


async def _prove(_: Databases, asked: argparse.Namespace) -> Proven:
    async with open_place(asked.gates_folder) as database:
        terms = Terms(starts=asked.starts, deciders=asked.deciders)
        report = await run(database, terms, lambda line: print(line, flush=True))
        if not report.broken:  # else it stays, to be looked at, until somebody deletes the folder
            await empty_place(database)
    promises = {f"{report.starts} starts, {asked.starts} were to be": report.starts >= asked.starts}
    rows = {
        "deciders": asked.deciders,
        "starts": report.starts,
        "killed": report.kills,
        "connections cut": report.cuts,
        "attempts": report.attempts,
        "of them lost": report.lost_attempts,
        "executions submitted": report.submitted,
        "refused for want of money": report.refused.total(),
        **{f"{gate} shut, at a look": f"{count / report.looks:.1f}" for gate, count in report.full.items()},
        "jobs at once, of the cap, at the most": f"{report.fullest:.0%}",
        "seconds": f"{report.seconds:.0f}",
        "violations": len(report.broken),
    }
    return proven(rows, promises=promises, broken=report.broken[:20])


PROOF = Proof(
    name="gates",
    shows="a million starts by 8 deciders that are killed all the time: caps, units, slots, budgets hold",
    needs=f"1 to 2.5 hours, 6 GB of disk in {PLACE}, where it goes on if it is interrupted",
    options=(
        Option(name="starts", default=1_000_000, help="how many `gates` counts"),
        Option(name="deciders", default=8, help="how many `gates` runs"),
        Option(name="gates-folder", default=PLACE, help="where `gates` is kept"),
    ),
    run=_prove,
)
