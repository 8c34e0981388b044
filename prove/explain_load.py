"""Loads whose waits are foretold: clients of every tier, workers that only take time, and who asks.

What runs take decides, not the machine: a core is nearly idle. Work comes about as fast as it is served,
behind a backlog from the beginning, and goes on coming until all that was asked about has started: either
each client keeps so many executions under way, or they come at random moments from all.
"""

import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import anyio
import msgspec

from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId, RequestId, new_id, parse_id, text_id
from aifactory.kernel.principal import Principal, Role
from aifactory.resources.engine import Engine
from aifactory.resources.explaining import explain
from aifactory.resources.interface import (
    ClientLimits,
    FlowStage,
    NewExecution,
    Tier,
    Urgency,
)
from aifactory.resources.outlook import Outlooks
from aifactory.resources.position_schemas import Position
from aifactory.resources.scheduler import Tick
from aifactory.resources.service import ResourceService
from prove.explain_worker import LoadedWorker
from prove.pools import add_pool

CLIENTS = 8
_PLENTY = 10**9
_BUDGET_NANO = 10**15
_URGENCIES = (Urgency.NORMAL, Urgency.NORMAL, Urgency.HIGH, Urgency.LOW)
#: Of clients that keep their executions under way; the last one's come by chance.
_KEPT = (*(Urgency.NORMAL,) * 6, Urgency.LOW, Urgency.HIGH)
_JOBS = 3.5 + 1 / 3  #: of an execution, on average
_LOOK_SECONDS, _NAP_SECONDS = 0.1, 0.2


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of job: its pool, the units it may use, the median and the sigma of its log-normal seconds."""

    pool: str = "wide"
    units: int = 400
    seconds: float = 1.7
    sigma: float = 0.55


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A load: what serves it, what it is made of, and how many jobs a second come, by chance.

    ``window``: how many executions each client but one keeps under way; then only the last comes by chance.
    ``waves``: what comes does so in waves of so many seconds, all in the first half of each; 0: evenly.
    ``deep``: how many executions wait from the beginning, instead of some seconds' work.
    """

    name: str
    jobs_per_second: float
    window: int = 0
    sizes: tuple[Size, ...] = (Size(),)
    slots: int = 200
    max_running: int = 200
    refill: int = _PLENTY  #: of the pool ``narrow``; ``wide`` has plenty
    waves: float = 0.0
    deep: int = 0


#: What is measured. On average a run takes 2 s and three quarters of its units, an execution has 3.8 jobs.
PROFILES = (
    Profile(name="slots, clients keep a backlog", jobs_per_second=1.2, window=4, slots=16),
    Profile(name="caps, clients keep a backlog", jobs_per_second=0.8, window=4, max_running=2),
    Profile(
        name="units, clients keep a backlog",
        jobs_per_second=0.8,
        window=4,
        refill=2000,
        sizes=(Size(pool="narrow"),),
    ),
    Profile(
        name="mixed sizes and pools, clients keep a backlog",
        jobs_per_second=0.8,
        window=4,
        slots=16,
        refill=1500,
        sizes=(
            Size(seconds=0.4),
            Size(seconds=4.0),
            Size(pool="narrow", units=200, seconds=1.0),
            Size(pool="narrow", units=2000, seconds=2.0),
        ),
    ),
    Profile(name="slots, work by chance in waves", jobs_per_second=6.5, slots=16, waves=24.0),
    Profile(name="slots, a deep backlog, work by chance", jobs_per_second=8, slots=32, deep=200),
)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was told of a waiting job, and how long the answer took, in seconds."""

    profile: str
    told: Position
    took: float

    @property
    def job_id(self) -> UUID:
        """Return the job that was told."""
        found = parse_id("job", self.told.job_id or "")
        assert found is not None
        return found


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of the scheduler: its seconds, and whether somebody asked all the time."""

    seconds: float
    polled: bool


class Load:
    """One profile's clients and work on a database, its live engine, and what was asked and measured."""

    def __init__(self, database: Database, profile: Profile, seed: int) -> None:
        self.database = database
        self.profile = profile
        self.chance = random.Random(seed)
        self.worker = LoadedWorker(seed)
        workers: dict[str, Any] = {"granulation": self.worker}
        self.engine = Engine(
            database=database,
            workers=workers,
            slots=profile.slots,
            local_slots=1,
            grace_seconds=1,
            environ={},
        )
        self.service = ResourceService(workers=workers, wake=self.engine.wake, abort=lambda _: None)
        self.outlooks = Outlooks(database=database)
        self.clients: list[ClientId] = []
        self.asked: list[Asked] = []
        self.rounds: list[Round] = []
        self.polled = False
        self.late: list[float] = []  #: seconds by which this process woke too late: the machine's part
        self._tick = self.engine.scheduler.tick
        self.engine.scheduler.tick = self._timed_tick  # type: ignore[method-assign]

    # The work.

    async def prepare(self, backlog_seconds: float) -> None:
        """Add pools and clients, two of each tier, and what waits from the beginning."""
        async with self.database.begin() as tx:
            for name, refill in (("wide", _PLENTY), ("narrow", self.profile.refill)):
                await add_pool(tx, name, capacity=3 * refill, refill=refill, price_nano=1)
            for number in range(CLIENTS):
                limits = ClientLimits(
                    client_id=ClientId(new_id()),
                    name=f"client {number}",
                    tier=list(Tier)[number % len(Tier)],
                    monthly_budget_nano=_BUDGET_NANO,
                    max_running=self.profile.max_running,
                )
                await self.service.set_client(tx, limits)
                self.clients.append(limits.client_id)
        if self.profile.window:
            await self.fill_windows()
        else:
            some = round(self.profile.jobs_per_second * backlog_seconds / _JOBS)
            for _ in range(self.profile.deep or some):
                await self.submit()
        async with self.database.begin() as tx:
            await tx.raw.execute(
                "UPDATE resource_pools SET level_micro = 0, as_of = $1 WHERE pool = 'narrow'", tx.now
            )

    async def submit(self, client: int | None = None) -> None:
        """Submit one execution of 1 to 6 jobs, every third behind an outline; of any client, or of one."""
        size = self.chance.choice(self.profile.sizes)
        outline = self.chance.random() < 1 / 3
        urgency = self.chance.choice(_URGENCIES) if client is None else _KEPT[client]
        new = NewExecution(
            request_id=RequestId(new_id()),
            client_id=self.clients[self.chance.randrange(CLIENTS) if client is None else client],
            key_id=None,
            template="explain",
            template_version=1,
            flow=(FlowStage(worker="granulation", template_ref="explain"),),
            parameters={
                "jobs": self.chance.randint(1, 6),
                "outline": outline,
                **msgspec.structs.asdict(size),
            },
            urgency=urgency,
        )
        async with self.database.begin() as tx:
            await self.service.submit(tx, new)

    async def keep_coming(self) -> None:
        """Submit at random moments, and for who keeps executions under way when one has ended."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._come_by_chance)
            while self.profile.window:
                await anyio.sleep(_LOOK_SECONDS)
                with anyio.CancelScope(shield=True):
                    await self.fill_windows()

    async def _come_by_chance(self) -> None:
        began = anyio.current_time()
        for at in self.arrivals():
            await anyio.sleep_until(began + at)
            with anyio.CancelScope(shield=True):  # cutting it would cut its transaction
                await self.submit_by_chance()

    def arrivals(self) -> Iterator[float]:
        """Give the seconds at which work comes by chance, from the beginning on."""
        a_second, waves, at = self.profile.jobs_per_second / _JOBS, self.profile.waves, 0.0
        while True:
            at += self.chance.expovariate(a_second)
            yield at if not waves else at - at % waves + at % waves / 2

    async def submit_by_chance(self) -> None:
        """Submit what comes by chance."""
        await self.submit(CLIENTS - 1 if self.profile.window else None)

    async def fill_windows(self) -> None:
        """Submit for each client what it lacks of the executions that it keeps under way."""
        async with self.database.begin() as tx:
            rows = await tx.raw.fetch(
                "SELECT client_id, count(*) AS going FROM executions WHERE finished_at IS NULL GROUP BY 1"
            )
        going = {row["client_id"]: row["going"] for row in rows}
        for number, client_id in enumerate(self.clients[:-1]):
            for _ in range(self.profile.window - going.get(client_id, 0)):
                await self.submit(number)

    # Who asks.

    async def ask(self) -> None:
        """Ask about a random queued job, or a random execution that has some; note what was told of it."""
        found = await self._pick()
        if found is None:
            return
        text, client_id = found
        began = time.perf_counter()
        caller = Principal(role=Role.CLIENT, client_id=client_id)
        told = await explain(self.database, self.service, self.outlooks, text, caller)
        took = time.perf_counter() - began
        if told.waits and told.gate is not None and told.gate.gate != "starting" and told.job_id:
            self.asked.append(Asked(profile=self.profile.name, told=told, took=took))

    async def _pick(self) -> tuple[str, ClientId] | None:
        async with self.database.begin() as tx:
            rows = await tx.raw.fetch(
                "SELECT q.job_id, j.execution_id, e.client_id FROM resource_queue q "
                "JOIN jobs j ON j.id = q.job_id JOIN executions e ON e.id = j.execution_id ORDER BY q.job_id"
            )
        if not rows:
            return None
        if self.chance.random() < 0.5:
            row = self.chance.choice(rows)
            return text_id("job", row["job_id"]), row["client_id"]
        execution_id, client_id = self.chance.choice(
            sorted({(row["execution_id"], row["client_id"]) for row in rows})
        )
        return text_id("exec", execution_id), client_id

    async def keep_asking(self, a_second: float, seconds: float) -> None:
        """Ask at random moments for so long."""
        with anyio.move_on_after(seconds):
            while True:
                await anyio.sleep(self.chance.expovariate(a_second))
                with anyio.CancelScope(shield=True):
                    await self.ask()

    async def keep_time(self) -> None:
        """Note how late a short sleep ends."""
        while True:
            began = time.perf_counter()
            await anyio.sleep(_NAP_SECONDS)
            self.late.append(time.perf_counter() - began - _NAP_SECONDS)

    async def starts(self, asked: Sequence[Asked]) -> tuple[dict[UUID, datetime], datetime]:
        """Return when each job that was asked about began, of those that have by now; and now."""
        async with self.database.begin() as tx:
            rows = await tx.raw.fetch(
                "SELECT job_id, min(started_at) AS at FROM job_attempts WHERE job_id = ANY($1) GROUP BY 1",
                list({one.job_id for one in asked}),
            )
            return {row["job_id"]: row["at"] for row in rows}, tx.now

    async def _timed_tick(self, **terms: Any) -> Tick:
        began, polled = time.perf_counter(), self.polled
        tick = await self._tick(**terms)
        if tick.now is not None and not tick.at_rest:
            self.rounds.append(Round(seconds=time.perf_counter() - began, polled=polled))
        return tick


@contextlib.asynccontextmanager
async def open_load(
    database: Database, profile: Profile, *, backlog_seconds: float, seed: int = 5
) -> AsyncIterator[Load]:
    """Run the live engine under a load; what comes stops coming when this is left."""
    load = Load(database, profile, seed)
    await load.prepare(backlog_seconds)
    async with load.engine.start(), anyio.create_task_group() as tasks:
        tasks.start_soon(load.keep_coming)
        tasks.start_soon(load.keep_time)
        yield load
        tasks.cancel_scope.cancel()
