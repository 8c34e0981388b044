"""Scripted situations of every gate: what is told, and whether the live scheduler's next round agrees.

A job in a lane, one of another client, a process with free slots; a situation changes what it is about. What
is told to be closed must not start in the next round, and what is told to have its turn must.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId, RequestId, new_id, text_id
from aifactory.kernel.principal import Principal, Role
from aifactory.resources.engine import Engine
from aifactory.resources.explaining import explain
from aifactory.resources.gate_words import Obstacle
from aifactory.resources.gates import Gate
from aifactory.resources.interface import (
    ClientLimits,
    FlowStage,
    Line,
    NewExecution,
    ResolvedStage,
    Route,
    StageInputs,
    Tier,
    Urgency,
)
from aifactory.resources.outlook import Outlooks
from aifactory.resources.position_schemas import Position
from aifactory.resources.service import ResourceService
from prove.explain_cases import SITUATIONS, Situation
from prove.plain_worker import line_of
from prove.pools import add_pool, hop_of
from prove.sized_worker import SizedWorker

_CAPACITY = 10_000
_RESET = """
TRUNCATE resource_queue, queue_due, running_jobs, quotas, client_pool_usage, processes;
DELETE FROM lanes;
UPDATE scheduler_control SET enabled = true;
UPDATE queues SET paused = false;
UPDATE worker_registry SET active = true, max_running = NULL;
UPDATE client_resource_limits SET suspended = false, max_running = 1000;
UPDATE providers SET active = true, circuit = 'closed', circuit_until = NULL, key_present = true,
    api_key_variable = NULL;
UPDATE resource_pools SET paused = false, blocked_until = NULL, dedicated_client_id = NULL, capacity = 10000,
    refill_per_second = 1, level_micro = 10000000000, requests_per_minute = NULL, reserved_percent = 0,
    last_urgent_at = NULL, big_job_id = NULL, big_job_since = NULL, as_of = clock_timestamp()
"""
_ROOMY = "UPDATE resource_pools SET capacity = 1000000000, level_micro = 1000000000000000"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What was told in a situation, and whether the next round started the job."""

    situation: Situation
    told: Position
    started: bool

    @property
    def right(self) -> bool:
        """Whether the right gate was told, of the right pool and job, and the round agreed."""
        wanted, gate = self.situation, self.told.gate
        return (
            gate is not None
            and (gate.gate, gate.of_job_ahead) == (wanted.gate, wanted.ahead)
            and (wanted.pool is None or gate.pool == wanted.pool)
            and self.started is (gate.gate == Obstacle.TURN)
        )


class PoolsWorker(SizedWorker):
    """Work whose models' pools the request names, with needs of a further one."""

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """Return one line of all jobs."""
        asked = resolved.parameters
        further = (asked["further"],) if "further" in asked else ()
        hops = tuple(hop_of(pool) for pool in asked["pools"])
        route = Route(hops=hops, further_pools=further, alone=asked.get("alone", False))
        needs = {asked["further"]: asked["needs"]} if further else {}
        return [
            line_of("write", asked["jobs"], route, input_bound=asked["units"], output_limit=0, needs=needs)
        ]


class Stage:
    """A database on which situations are played, one after the other."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.workers: Any = {"granulation": PoolsWorker()}
        self.service = ResourceService(workers=self.workers, wake=lambda: None, abort=lambda _: None)
        self.ours, self.theirs = ClientId(new_id()), ClientId(new_id())

    async def prepare(self) -> None:
        """Add three pools and two clients."""
        async with self.database.begin() as tx:
            for pool in ("proof", "spare", "further"):
                await add_pool(tx, pool, capacity=_CAPACITY, refill=1, price_nano=1)
            for client_id in (self.ours, self.theirs):
                limits = ClientLimits(
                    client_id=client_id, name="a client", tier=Tier.STANDARD, monthly_budget_nano=10**15
                )
                await self.service.set_client(tx, limits)

    async def play(self, situation: Situation) -> Said:
        """Make it so, ask, and have the live scheduler decide once."""
        engine = Engine(
            database=self.database,
            workers=self.workers,
            slots=situation.slots,
            local_slots=1,
            grace_seconds=1,
            environ={},
        )
        await self._execute(_RESET)
        if situation.jobs > 10:
            await self._execute(_ROOMY)
        if situation.processes:
            await engine.lease.round()
        lane = await self._submit(self.ours, situation.jobs, 1000, Urgency.NORMAL, situation.work)
        (other,) = await self._submit(self.theirs, 1, situation.others, Urgency.HIGH, {})
        names = {"ours": self.ours, "theirs": self.theirs, "other": other, "process": engine.lease.process_id}
        for change in situation.changes:
            await self._execute(change.format(asked=lane[situation.asked], **names))
        caller = Principal(role=Role.CLIENT, client_id=self.ours)
        told = await explain(
            self.database,
            self.service,
            Outlooks(database=self.database),
            text_id("job", lane[situation.asked]),
            caller,
        )
        return Said(situation=situation, told=told, started=await self._starts(engine, lane[situation.asked]))

    async def _starts(self, engine: Engine, job_id: UUID) -> bool:
        """Return whether the next round starts a job; what it claims is taken away with its lease."""
        async with self.database.begin() as tx:
            busy = await tx.raw.fetchval("SELECT count(*) FROM running_jobs")
        tick = await engine.scheduler.tick(slots=engine.lease.slots - busy, local_slots=1, idle=busy == 0)
        await engine.lease.release()
        return any(one.start.head.job_id == job_id for one in tick.claimed)

    async def _submit(
        self, client_id: ClientId, jobs: int, units: int, urgency: Urgency, work: Mapping[str, Any]
    ) -> list[UUID]:
        """Queue an execution; returns its jobs in the order of their lane."""
        new = NewExecution(
            request_id=RequestId(new_id()),
            client_id=client_id,
            key_id=None,
            template="explain",
            template_version=1,
            flow=(FlowStage(worker="granulation", template_ref="explain"),),
            parameters={"jobs": jobs, "units": units, "pools": ["proof"], **work},
            urgency=urgency,
        )
        async with self.database.begin() as tx:
            submitted = await self.service.submit(tx, new)
            rows = await tx.raw.fetch(
                "SELECT q.job_id FROM resource_queue q JOIN jobs j ON j.id = q.job_id "
                "WHERE j.execution_id = $1 ORDER BY q.aged_from, q.seq",
                submitted.execution_id,
            )
        return [row["job_id"] for row in rows]

    async def _execute(self, sql: str) -> None:
        async with self.database.begin() as tx:
            await tx.raw.execute(sql)


async def run(database: Database, situations: Sequence[Situation] = SITUATIONS) -> list[Said]:
    """Play situations; see ``Said.right``."""
    stage = Stage(database)
    await stage.prepare()
    return [await stage.play(one) for one in situations]


def missing(said: Sequence[Said]) -> set[str]:
    """Return the gates and obstacles that no situation was about."""
    return {*Gate, *Obstacle} - {one.situation.gate for one in said}


def table(said: Sequence[Said]) -> list[tuple[object, ...]]:
    """Return a row for each gate: its situations, how many were right, what they are."""
    rows: list[tuple[object, ...]] = [("gate", "situations", "right", "which")]
    right = Counter(one.situation.gate for one in said if one.right)
    for gate in dict.fromkeys(one.situation.gate for one in said):
        which = [one.situation.name for one in said if one.situation.gate == gate]
        rows.append((gate, len(which), right[gate], "; ".join(which)))
    rows.append(
        ("**all**", len(said), sum(right.values()), "; ".join(wrong(one) for one in said if not one.right))
    )
    return rows


def wrong(one: Said) -> str:
    """Return what was told instead, and whether the job started."""
    told = one.told.gate
    return f"{one.situation.name}: {told and told.gate} {told and told.pool}, started: {one.started}"
