"""Budgets under many submissions at once: never over any limit by one nano, and nobody denied what fitted.

A trial is many submissions of random size for one client with tight budgets of several scopes, from several
pools of connections at once; some are cancelled or settled meanwhile. Between trials limits are edited. The
ledger of a client is written under the locks of its budgets, so the order of its entries is that of the
commits: every hold and every refusal is judged by replaying it.
"""

import argparse
import contextlib
import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import anyio
import asyncpg
import msgspec

from aifactory.kernel.db import Database, DatabaseUnavailable
from aifactory.kernel.ids import ClientId, ExecutionId, KeyId, RequestId, new_id, text_id
from aifactory.resources.audit import audit
from aifactory.resources.budgets import Scope
from aifactory.resources.interface import (
    ClientLimits,
    ExecutionState,
    FlowStage,
    JobState,
    MoneyRefused,
    NewExecution,
    Tier,
    Usage,
)
from aifactory.resources.ledger import ACCOUNTS, Account, EntryKind
from aifactory.resources.queries import books as book_queries
from aifactory.resources.queries import budgets as queries
from aifactory.resources.records import Run
from aifactory.resources.service import ResourceService
from prove.databases import Databases
from prove.pools import add_pool
from prove.reporting import Option, Proof, Proven, counted, proven
from prove.sized_worker import HOP, SizedWorker

NANO_PER_UNIT = 1000
LARGEST = 40  #: units that one submission may cost at most
AT_ONCE = 200
ENGINES, CONNECTIONS = 4, 4
TRIALS_OF_CLIENT = 5
TEMPLATES = ("course", "quiz")
# Statements and transactions that take too long are ended, by a busy machine too. Whether it was committed
# is not known then: the ledger says so.
_CUT_OFF = (asyncpg.QueryCanceledError, DatabaseUnavailable)

Name = tuple[str, str]  #: a scope and its key


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried and found; ``violations`` in words, ``differences`` of the audit."""

    trials: int
    admitted: int
    refused: dict[str, int]
    cancelled: int
    settled: int
    cut_off: int
    differences: int
    violations: tuple[str, ...]


class Attempt(msgspec.Struct, kw_only=True):
    """A change of the books or a refusal; ``begun`` and ``ended`` are counted by one clock of the trial."""

    begun: int
    ended: int = 0
    execution_id: ExecutionId | None = None
    kind: str = ""
    amount_nano: int = 0
    scopes: frozenset[Name] = frozenset()


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Held and spent of every scope after an entry of the ledger."""

    committed: dict[Name, int]
    spent: dict[Name, int]


class Trials:
    """A client, its limits, and everything that was tried on it since they were last edited."""

    def __init__(self, *, databases: Sequence[Database], seed: int, at_once: int) -> None:
        self.databases = databases
        self.random = random.Random(seed)
        self.at_once = at_once
        self.rooms = [anyio.Semaphore(CONNECTIONS) for _ in databases]
        worker: Any = SizedWorker()
        self.service = ResourceService(workers={worker.name: worker}, wake=lambda: None, abort=lambda _: None)
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.violations: list[str] = []
        self.client_id = ClientId(new_id())
        self.keys: tuple[KeyId, ...] = ()
        self.limits: dict[Name, int] = {}
        self.attempts: list[Attempt] = []
        self.older = 0  # entries of earlier trials
        self._clock = 0

    async def run(self, number: int) -> None:
        """Run one trial and judge it."""
        if number % TRIALS_OF_CLIENT == 0:
            self.client_id, self.keys = ClientId(new_id()), (KeyId(new_id()), KeyId(new_id()))
            self.older = 0
        await self._edit_limits()
        self.attempts = []
        async with anyio.create_task_group() as tasks:
            for _ in range(self.at_once):
                tasks.start_soon(self._submit, self.random.getrandbits(64))
        await self._judge()

    async def _edit_limits(self) -> None:
        """Set random limits, also below what is committed, and sometimes none."""
        most = self.at_once * LARGEST * NANO_PER_UNIT // 2
        names = [("day", ""), *(("key", text_id("key", key)) for key in self.keys)]
        names += [("template", template) for template in TEMPLATES]
        self.limits = {name: self._limit(most) for name in names if self.random.random() < 0.5}
        async with self.databases[0].begin() as tx:
            own = self._limit(most)
            await self.service.set_client(
                tx,
                ClientLimits(
                    client_id=self.client_id, name="a client", tier=Tier.BASIC, monthly_budget_nano=own
                ),
            )
            limits = {(Scope(scope), key): limit for (scope, key), limit in self.limits.items()}
            await queries.set_limits(tx, self.client_id, limits)
        self.limits["client", ""] = own

    def _limit(self, most: int) -> int:
        """Return a limit for a half, a twentieth or a two-hundredth of what is asked at most."""
        return self.random.randrange(most // self.random.choice((1, 10, 100)))

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    async def _submit(self, seed: int) -> None:
        chance = random.Random(seed)
        key, template = chance.choice((None, *self.keys)), chance.choice(TEMPLATES)
        units, engine = chance.randint(1, LARGEST), chance.randrange(len(self.databases))
        named = {("client", ""), ("day", ""), ("template", template)}
        named |= {("key", text_id("key", key))} if key is not None else set()
        async with self.rooms[engine]:
            attempt = Attempt(
                begun=self._tick(),
                amount_nano=units * NANO_PER_UNIT,
                scopes=frozenset(named & set(self.limits)),
            )
            try:
                async with self.databases[engine].begin() as tx:
                    done = await self.service.submit(tx, self._new(key, template, units))
                attempt.execution_id = done.execution_id
            except MoneyRefused as refusal:
                attempt.kind = refusal.code
            except _CUT_OFF:
                self.counts["cut off"] += 1
                return
            attempt.ended = self._tick()
            self.attempts.append(attempt)
        if attempt.execution_id is None:
            self.refused[attempt.kind] += 1
            return
        self.counts["admitted"] += 1
        what = chance.random()
        if what < 0.5:
            engine = chance.randrange(len(self.databases))
            async with self.rooms[engine]:
                end = Attempt(begun=self._tick(), execution_id=attempt.execution_id, kind="end")
                with contextlib.suppress(*_CUT_OFF):
                    if what < 0.3:
                        await self._cancel(self.databases[engine], attempt.execution_id)
                    else:
                        used = chance.randint(0, units)
                        await self._settle(self.databases[engine], attempt.execution_id, used)
                end.ended = self._tick()
                self.attempts.append(end)

    def _new(self, key: KeyId | None, template: str, units: int) -> NewExecution:
        return NewExecution(
            request_id=RequestId(new_id()),
            client_id=self.client_id,
            key_id=key,
            template=template,
            template_version=1,
            flow=(FlowStage(worker=SizedWorker.name, template_ref="proof"),),
            parameters={"jobs": 1, "units": units},
        )

    async def _cancel(self, database: Database, execution_id: ExecutionId) -> None:
        async with database.begin() as tx:
            await self.service.cancel(tx, execution_id)
        self.counts["cancelled"] += 1

    async def _settle(self, database: Database, execution_id: ExecutionId, units: int) -> None:
        """End an execution as its only call does, which took so many units."""
        async with database.begin() as tx:
            books = await book_queries.load_books(tx, [execution_id], [])
            await book_queries.load_open_jobs(tx, books)
            (job,) = books.jobs.values()
            run = Run(job_id=job.id, token=new_id(), attempt=1, hop=HOP, units=units, started_at=tx.now)
            books.pay(job, run, Usage(input_units=units))
            books.finish_job(job, JobState.SUCCEEDED)
            books.unqueued.append(job.id)
            books.finish_execution(books.executions[execution_id], ExecutionState.SUCCEEDED, ())
            await book_queries.write_books(tx, books)
        self.counts["settled"] += 1

    # Judging.

    async def _judge(self) -> None:
        async with self.databases[0].begin() as tx:
            entries = await tx.raw.fetch(
                """
                SELECT id, execution_id, kind, amount_nano, budget_ids FROM cost_tracking
                WHERE client_id = $1 ORDER BY id
                """,
                self.client_id,
            )
            rows = await tx.raw.fetch(
                "SELECT id, scope, scope_key, held_nano, spent_nano FROM budgets WHERE client_id = $1",
                self.client_id,
            )
        names = {row["id"]: (row["scope"], row["scope_key"]) for row in rows}
        moments, places = self._replay(entries, names)
        for row in rows:  # no phantom: what is stored is what the entries say
            stored = row["held_nano"] + row["spent_nano"]
            if (rebuilt := moments[-1].committed.get(names[row["id"]], 0)) != stored:
                self.violations.append(f"{names[row['id']]}: {stored} is stored, {rebuilt} was committed")
        self._judge_refusals(moments, places)
        self.older = len(entries)

    def _replay(
        self, entries: list[Any], names: dict[UUID, Name]
    ) -> tuple[list[Moment], dict[tuple[ExecutionId, str], int]]:
        """Follow the ledger; a hold over a limit in force is a violation. Returns each entry's place too."""
        committed: Counter[Name] = Counter()
        spent: Counter[Name] = Counter()
        moments, places = [Moment(committed={}, spent={})], {}
        for place, entry in enumerate(entries, 1):
            kind, amount = EntryKind(entry["kind"]), entry["amount_nano"]
            source, target = ACCOUNTS[kind]
            change = amount * ((source is Account.AVAILABLE) - (target is Account.AVAILABLE))
            for name in {names[budget_id] for budget_id in entry["budget_ids"]}:
                committed[name] += change
                spent[name] += amount * (target is Account.SPENT)
                over = committed[name] - self.limits.get(name, committed[name])
                if change > 0 and over > 0 and place > self.older:
                    self.violations.append(f"{name}: {over} nano over the limit")
            moments.append(Moment(committed=dict(committed), spent=dict(spent)))
            places[entry["execution_id"], "" if kind is EntryKind.HOLD else "end"] = place
        return moments, places

    def _judge_refusals(self, moments: list[Moment], places: dict[tuple[ExecutionId, str], int]) -> None:
        """A refusal is right if at some moment while it was decided the hold did not fit."""
        changes = [(one, one.execution_id) for one in self.attempts if one.execution_id is not None]
        found = [(one, places[done, one.kind]) for one, done in changes if (done, one.kind) in places]
        by_end = sorted((one.ended, place) for one, place in found)
        by_begin = sorted((one.begun, place) for one, place in found)
        latest, first = _running(by_end, max), _running(by_begin[::-1], min)[::-1]
        for one in self.attempts:
            if one.execution_id is not None:
                continue
            before = bisect_left(by_end, (one.begun, 0))
            after = bisect_right(by_begin, (one.ended, len(moments)))
            low = max(self.older, latest[before - 1] if before else 0)
            high = first[after] - 1 if after < len(first) else len(moments) - 1
            if not any(self._refuses(one, moment) for moment in moments[min(low, high) : high + 1]):
                self.violations.append(f"{one.kind}: {one.amount_nano} nano were denied and fitted")

    def _refuses(self, one: Attempt, moment: Moment) -> bool:
        amounts = moment.spent if one.kind == "budget_exceeded" else moment.committed
        return any(amounts.get(name, 0) + one.amount_nano > self.limits[name] for name in one.scopes)


def _running(pairs: list[tuple[int, int]], best: Any) -> list[int]:
    """Return the best place so far, pair by pair."""
    found: list[int] = []
    for _, place in pairs:
        found.append(best(found[-1], place) if found else place)
    return found


async def run(database: Database, trials: int, *, at_once: int = AT_ONCE, seed: int = 1) -> Report:
    """Run trials one after the other, audit all at the end."""
    async with AsyncExitStack() as stack:
        databases = [Database(url=database.url, pool_size=CONNECTIONS) for _ in range(ENGINES)]
        for one in databases:
            stack.push_async_callback(one.close)
        async with database.begin() as tx:
            await add_pool(tx, HOP.pool, capacity=10**6, refill=10**6, price_nano=NANO_PER_UNIT)
        tried = Trials(databases=databases, seed=seed, at_once=at_once)
        for number in range(trials):
            await tried.run(number)
    report = await audit(database)
    return Report(
        trials=trials,
        admitted=tried.counts["admitted"],
        refused=dict(tried.refused),
        cancelled=tried.counts["cancelled"],
        settled=tried.counts["settled"],
        cut_off=tried.counts["cut off"],
        differences=len(report.differences),
        violations=tuple(tried.violations),
    )


async def _prove(databases: Databases, asked: argparse.Namespace) -> Proven:
    async with databases.fresh() as database:
        report = await run(database, asked.trials)
    promises = {f"{report.differences} differences in the audit": report.differences == 0}
    rows = {
        "trials": report.trials,
        "submissions at once in each": AT_ONCE,
        "admitted": report.admitted,
        "refused": counted(report.refused),
        "cancelled meanwhile": report.cancelled,
        "settled meanwhile": report.settled,
        "cut off by a time limit": report.cut_off,
        "differences in the audit": report.differences,
        "violations": len(report.violations),
    }
    return proven(rows, promises=promises, broken=report.violations[:20])


PROOF = Proof(
    name="budgets",
    shows="200 submissions at once on tight budgets, again and again: never over a limit, nobody denied",
    needs="10 to 30 minutes, 500 MB of disk",
    options=(Option(name="trials", default=1000, help="how many `budgets` runs"),),
    run=_prove,
)
