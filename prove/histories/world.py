"""The fleet of a history: clients, pools, processes that die and come back; what must hold all the time."""

import random
from datetime import timedelta
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import asyncpg
import msgspec

from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId, ExecutionId, new_id
from aifactory.resources.engine import Engine
from aifactory.resources.interface import ClientLimits, Outcome, Tier
from aifactory.resources.queries.invariants import INVARIANTS
from aifactory.resources.service import ResourceService
from prove import facts
from prove.histories.steering import steer
from prove.histories.worker import HistoryWorker
from prove.judge import Judge
from prove.pools import add_pool

PRICE_NANO = 1000
CAPACITY, REFILL = 3000, 40
SLOTS, LOCAL_SLOTS = 4, 1
PROCESSES, CLIENTS = 3, 3


class Member:
    """A process of the fleet."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def id(self) -> UUID:
        """Its id in the fleet."""
        return self.engine.lease.process_id


class World:
    """Everything that a history acts on."""

    def __init__(
        self, *, database: Database, tasks: anyio.abc.TaskGroup, monitor: "asyncpg.Connection[Any]"
    ) -> None:
        self.database = steer(database)
        self.tasks = tasks
        self.monitor = monitor
        self.worker = HistoryWorker()
        self.service = ResourceService(
            workers={"granulation": self.worker}, wake=lambda: None, abort=self._abort
        )
        self.members: list[Member] = []
        self.clients: list[ClientLimits] = []
        self.refusals: dict[str, int] = {}
        self.submitted: list[ExecutionId] = []
        self.lengths: dict[str, int] = {}  # of each kind of step, in statements
        self.caps: dict[UUID, int] = {}
        self.limits: dict[UUID, int] = {}
        self._owner: dict[UUID, UUID] = {}
        self.judge = Judge(
            cap_of=self.caps.get,
            limit_of=lambda budget_id: self.limits.get(self._owner.get(budget_id, budget_id)),
        )

    def _abort(self, job_ids: list[Any]) -> None:
        for member in self.members:
            member.engine.runner.cancel(job_ids)

    async def set_up(self) -> None:
        """Make pools, clients and processes."""
        async with self.database.begin() as tx:
            for name, per_minute in (("test", None), ("spare", 120)):
                await add_pool(
                    tx,
                    name,
                    capacity=CAPACITY,
                    refill=REFILL,
                    price_nano=PRICE_NANO,
                    per_minute=per_minute,
                )
            await tx.raw.execute("DELETE FROM resource_pools WHERE pool IN ('sms', 'email')")
            for number in range(CLIENTS):
                client = ClientLimits(
                    client_id=ClientId(new_id()),
                    name=f"client {number}",
                    tier=Tier.ENTERPRISE,
                    max_running=2 + number,
                    monthly_budget_nano=8_000_000,
                )
                self.clients.append(client)
                await self.service.set_client(tx, client)
        await facts.install(self.monitor)
        self._checks = await self.monitor.prepare(_everything())  # planned once: it is long
        await self.forget_edits()
        for _ in range(PROCESSES):
            self.members.append(await self.join())

    async def forget_edits(self) -> None:
        """From now on only what is in force now counts; an edit whose answer was lost may be."""
        sql = "SELECT client_id, max_running, monthly_budget_nano FROM client_resource_limits"
        for row in await self.monitor.fetch(sql):
            self.caps[row["client_id"]] = row["max_running"]
            self.limits[row["client_id"]] = row["monthly_budget_nano"]

    def note_edit(self, client: ClientLimits) -> None:
        """Let what was in force and what will be both count for now."""
        key = client.client_id
        self.caps[key] = max(self.caps[key], client.max_running or 0)
        self.limits[key] = max(self.limits[key], client.monthly_budget_nano or 0)

    async def join(self) -> Member:
        """Start a process."""
        database = steer(Database(url=self.database.url, pool_size=4))
        database.clock_offset = self.database.clock_offset
        engine = Engine(
            database=database,
            workers={"granulation": self.worker},
            slots=SLOTS,
            local_slots=LOCAL_SLOTS,
            grace_seconds=1,
            environ={},
        )
        engine._tasks = self.tasks
        member = Member(engine)
        await engine.lease.round()
        return member

    async def lose_session(self, member: Member) -> None:
        """Cut a process's own session, and wait until the server has noticed."""
        lease = member.engine.lease
        await lease._drop_connection()
        sql = """
            SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
                AND (classid::bigint << 32) + objid::bigint = $1)
            """
        with anyio.fail_after(10):
            while await self.monitor.fetchval(sql, lease._lock_key):  # noqa: ASYNC110 - the server's to say
                await anyio.sleep(0.001)

    async def kill(self, member: Member) -> None:
        """End a process as kill -9 does: nothing that it knows is ever used."""
        member.engine.runner.cancel_all()
        await self.lose_session(member)
        await member.engine.database.close()

    async def replace(self, member: Member) -> None:
        """Let a new process take a dead one's place."""
        await self.kill(member)
        self.members[self.members.index(member)] = await self.join()

    async def advance(self, seconds: float) -> None:
        """Let time pass for everybody."""
        for database in (self.database, *(member.engine.database for member in self.members)):
            database.clock_offset += timedelta(seconds=seconds)

    def answer(self, chance: random.Random, outcome: Outcome) -> bool:
        """Let one of the running jobs end so, if any runs."""
        keys = [key for key, one in self.worker.pending.items() if not one.answer.done()]
        if keys:
            key = chance.choice(keys)
            if outcome.fault is None and chance.random() < 0.15:
                self.worker.escalating.add(self.worker.pending[key].job.id)
            self.worker.pending[key].answer.set_result(outcome)
        return bool(keys)

    async def lift_limits(self) -> None:
        """Let everything run that can."""
        async with self.database.begin() as tx:
            for index, client in enumerate(self.clients):
                self.clients[index] = msgspec.structs.replace(
                    client, max_running=10, monthly_budget_nano=10**12, suspended=False
                )
                await self.service.set_client(tx, self.clients[index])
            await tx.raw.execute("UPDATE queues SET paused = false")
            await tx.raw.execute(
                """
                UPDATE resource_pools SET paused = false, capacity = $1, refill_per_second = $2
                WHERE pool IN ('test', 'spare')
                """,
                CAPACITY,
                10 * REFILL,
            )
        for client in self.clients:
            self.note_edit(client)

    async def close(self) -> None:
        """Leave nothing running."""
        for member in self.members:
            await self.kill(member)

    # What must hold.

    async def check(self) -> list[str]:
        """Return what does not hold now."""
        rows = await self._checks.fetch()
        broken = [
            f"{row['name']}: {row['id']} has {row['stored']}, {row['rebuilt']} is right" for row in rows
        ]
        for row in await self.monitor.fetch("SELECT id, client_id FROM budgets WHERE scope = 'client'"):
            self._owner[row["id"]] = row["client_id"]
        self.judge.hear(await facts.take(self.monitor))
        for member in self.members:
            lanes = [run.lane for run in member.engine.runner._running.values()]
            if (
                sum(not lane.local for lane in lanes) > SLOTS
                or sum(lane.local for lane in lanes) > LOCAL_SLOTS
            ):
                broken.append(f"slots: a process runs {len(lanes)} at once")
        broken += self.judge.broken + await self._check_payments()
        await self.forget_edits()
        return broken

    async def check_end(self) -> list[str]:
        """Return what is left when everything should have come to its end."""
        sql = """
            SELECT (SELECT count(*) FROM executions WHERE finished_at IS NULL) AS unfinished,
                   (SELECT count(*) FROM jobs WHERE finished_at IS NULL) AS jobs,
                   (SELECT count(*) FROM resource_queue) + (SELECT count(*) FROM queue_due) AS queued,
                   (SELECT count(*) FROM running_jobs) AS running,
                   (SELECT coalesce(sum(held_nano), 0) FROM budgets) AS held
            """
        row = await self.monitor.fetchrow(sql)
        assert row is not None
        return [f"end: {count} {name} are left" for name, count in row.items() if count]

    async def _check_payments(self) -> list[str]:
        """Compare what was paid with what the worker knows that it answered."""
        rows = await self.monitor.fetch(
            """
            SELECT subject_id, attempt, sum(amount_nano)::bigint AS paid FROM cost_tracking
            WHERE kind IN ('spend', 'overrun', 'waste') AND provider <> 'local' GROUP BY subject_id, attempt
            """
        )
        broken = []
        for row in rows:
            answer = self.worker.answered.get((row["subject_id"], row["attempt"]))
            units = 0 if answer is None or answer.usage is None else _units(answer)
            if row["paid"] != units * PRICE_NANO:
                job = f"job {row['subject_id']}, attempt {row['attempt']}"
                broken.append(f"payment: {job}: {row['paid']} paid, {units} units answered")
        return broken


def _units(answer: Outcome) -> int:
    assert answer.usage is not None
    return answer.usage.input_units + answer.usage.output_units


_JUDGED = (
    "client.running",
)  #: by every start, in the judge: which cap was in force, ``audit`` can but guess

# What ``audit`` does not look at.
_FURTHER = {
    "job.final_not_queued": """
        SELECT j.id, (SELECT count(*) FROM resource_queue q WHERE q.job_id = j.id)
            + (SELECT count(*) FROM queue_due d WHERE d.job_id = j.id), 0
        FROM jobs j WHERE j.finished_at IS NOT NULL
        """,
    "job.final_holds_nothing": "SELECT id, hold_nano, 0 FROM jobs WHERE finished_at IS NOT NULL",
    "execution.final_holds_nothing": """
        SELECT id, free_hold_nano, 0 FROM executions WHERE finished_at IS NOT NULL
        """,
    "job.open_has_its_hold": """
        SELECT j.id, j.hold_nano, e.worst FROM jobs j JOIN LATERAL (
            SELECT (j.input_bound + j.output_limit) * max(m.output_nano_per_million) / 1000000 AS worst
            FROM routes r, jsonb_array_elements(r.hops) hop
            JOIN models m ON m.provider = hop ->> 'provider' AND m.model = hop ->> 'model'
            WHERE r.id = j.route_id) e ON true
        WHERE j.finished_at IS NULL AND j.state <> 'running' AND j.worker = 'granulation'
            AND NOT EXISTS (SELECT FROM routes r WHERE r.id = j.route_id AND r.local)
        """,
    "attempt.paid": f"""
        SELECT a.job_id, coalesce(c.paid, 0),
            ((a.usage ->> 'inputUnits')::bigint + (a.usage ->> 'outputUnits')::bigint) * {PRICE_NANO}
        FROM job_attempts a JOIN models m USING (provider, model) LEFT JOIN (
            SELECT subject_id, attempt, sum(amount_nano) AS paid FROM cost_tracking
            WHERE kind IN ('spend', 'overrun') GROUP BY subject_id, attempt) c
            ON c.subject_id = a.job_id AND c.attempt = a.attempt
        WHERE a.usage IS NOT NULL AND a.provider <> 'local'
        """,
    "job.not_stored": """
        SELECT id, 1, 0 FROM jobs
        WHERE error ->> 'code' IN ('settle_error', 'record_error', 'worker_error')
        """,
    "run.of_an_ended_job": """
        SELECT r.job_id, 1, 0 FROM running_jobs r JOIN jobs j ON j.id = r.job_id
        WHERE j.finished_at IS NOT NULL AND j.state <> 'cancelled' AND j.state <> 'expired'
        """,
    "stage.of_an_ended_execution": """
        SELECT s.id, 1, 0 FROM stage_executions s JOIN executions e ON e.id = s.execution_id
        WHERE e.finished_at IS NOT NULL AND s.finished_at IS NULL
        """,
    "stage.stands_still": """
        SELECT s.id, s.open_jobs, 1 FROM stage_executions s
        WHERE s.state = 'running' AND s.finished_at IS NULL AND s.open_jobs = 0
        """,
}


def _everything() -> str:
    """Return all checks as one statement, which returns only what differs."""
    columns = "AS c (name, id, stored, rebuilt)"
    audited = [
        f"SELECT c.name::text, c.id::text, c.stored::bigint, c.rebuilt::bigint FROM ({one.sql}) {columns}"
        for one in INVARIANTS
        if one.checks != _JUDGED
    ]
    further = [
        f"SELECT '{name}', c.id::text, c.stored::bigint, c.rebuilt::bigint "
        f"FROM ({sql}) AS c (id, stored, rebuilt) WHERE c.stored IS DISTINCT FROM c.rebuilt"
        for name, sql in _FURTHER.items()
    ]
    return "\nUNION ALL\n".join([*audited, *further])
