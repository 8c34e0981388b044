"""The background of one process: lease, scheduler, settler, maintenance, as loops in one task group."""

import contextlib
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import anyio
import anyio.abc
import structlog

from aifactory.kernel.db import Database
from aifactory.kernel.errors import Conflict
from aifactory.kernel.ids import JobId
from aifactory.kernel.loop import LoopHealth, Wake, run_loop
from aifactory.resources.interface import Worker
from aifactory.resources.lease import Lease
from aifactory.resources.maintenance import STRANDED_AFTER, Maintenance
from aifactory.resources.runner import Runner
from aifactory.resources.scheduler import Scheduler, Tick
from aifactory.resources.settlement import Settled

log = structlog.get_logger()

MAINTENANCE_SECONDS = 1.0
MILLISECOND = timedelta(milliseconds=1)
LAST_ROUNDS_SECONDS = 3.0


class SchedulerElsewhere(Conflict):
    """This process was started without the scheduler."""

    code, title = "scheduler_elsewhere", "The scheduler does not run in this process"


_STALE_AFTER_SECONDS = {"lease": 12, "scheduler": 10, "settler": 10, "maintenance": 30, "progress": 30}


class Engine:
    """Runs what the Resource Manager decides. ``start`` is a context: leaving it stops in order.

    ``environ`` (the process's own) has the keys of the providers that this process may call.
    """

    def __init__(
        self,
        *,
        database: Database,
        workers: dict[str, Worker],
        slots: int,
        local_slots: int,
        grace_seconds: float,
        stranded_after: timedelta = STRANDED_AFTER,
        environ: Mapping[str, str] | None = None,
        retain: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.database = database
        self.grace_seconds = grace_seconds
        self.lease = Lease(database=database, slots=slots, local_slots=local_slots)
        self.scheduler = Scheduler(database=database, lease=self.lease, environ=environ)
        self.runner = Runner(
            database=database, workers=workers, lease=self.lease, on_settled=self._after_settle
        )
        self.maintenance = Maintenance(
            database=database,
            workers=workers,
            lease=self.lease,
            known_tokens=lambda: self.runner.tokens,
            stranded_after=stranded_after,
            environ=environ,
            retain=retain,
        )
        self.lease.taken = self.runner.cancel_all
        self.lease.loops = self._say_loops
        self.healths = {
            name: LoopHealth(name=name, stale_after=timedelta(seconds=seconds))
            for name, seconds in _STALE_AFTER_SECONDS.items()
        }
        self._wakes = {name: Wake() for name in self.healths} | {"progress": self.runner.reports.wake}
        self._claiming, self._working = anyio.Event(), anyio.Event()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._ticking = anyio.Lock()
        self._winding_down = anyio.Lock()
        self._grace_ends = math.inf
        self._handed_back = False

    def wake(self) -> None:
        """Make the scheduler look again now."""
        self._wakes["scheduler"].set()

    def abort(self, job_ids: list[JobId]) -> None:
        """Abort runs of this process; without any, look now whether there are some to abort."""
        self.runner.cancel(job_ids)
        if not job_ids:
            self._wakes["maintenance"].set()

    def alive(self) -> dict[str, bool]:
        """Tell per loop whether it runs and its last good round is recent; of the lease, whether it holds."""
        alive = {name: health.alive for name, health in self.healths.items()}
        return {**alive, "lease": alive["lease"] and self.lease.alive}

    def _say_loops(self) -> dict[str, dict[str, Any]]:
        """Return what the fleet may know of the loops: as ``alive``, and the age of the last good round."""
        ages = {name: health.age() for name, health in self.healths.items()}
        return {
            name: {"alive": alive, "ageMs": None if (age := ages[name]) is None else age // MILLISECOND}
            for name, alive in self.alive().items()
        }

    async def tick(self) -> Tick:
        """Do one scheduling round now and launch what it claimed. Raises SchedulerElsewhere."""
        if self._tasks is None:
            raise SchedulerElsewhere("This process only serves; ask one that runs the scheduler.")
        if self._claiming.is_set():
            return Tick()
        async with self._ticking:
            tick = await self.scheduler.tick(
                slots=self.runner.free_slots(local=False),
                local_slots=self.runner.free_slots(local=True),
                idle=self.runner.idle,
            )
            if tick.claimed:
                await self.runner.launch(list(tick.claimed), self._tasks)
        return tick

    @contextlib.asynccontextmanager
    async def start(self) -> AsyncIterator[None]:
        """Run the loops; on leaving: claim nothing more, give running jobs grace, hand the rest back."""
        try:
            await self.lease.round()  # so that the first round of the scheduler may start something
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for name, round_, stop in (
                    ("lease", self.lease.round, self._working),
                    ("scheduler", self._schedule, self._claiming),
                    ("settler", self.runner.settle_round, self._working),
                    ("maintenance", self._maintain, self._claiming),
                    ("progress", self.runner.reports.round, self._working),
                ):
                    tasks.start_soon(self._keep, name, round_, stop)
                tasks.start_soon(self._stop_when_asked)
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        self.ask_to_stop()
                        await self._wind_down()
                        self._working.set()
                        self._wake_all()
                        # Each loop ends after its round: cutting one would cut its transaction.
                        tasks.cancel_scope.deadline = anyio.current_time() + LAST_ROUNDS_SECONDS
        finally:
            self._tasks = None
            with anyio.move_on_after(LAST_ROUNDS_SECONDS, shield=True):
                await self.lease.release()

    def ask_to_stop(self) -> None:
        """Claim nothing more from now on, and begin to hand back; the grace of running jobs runs from here.

        May be called before ``start`` is left, so that requests and jobs are not waited for in turn.
        """
        if not self._claiming.is_set():
            self._grace_ends = anyio.current_time() + self.grace_seconds
            self.lease.stopping = True
            self._claiming.set()
            self._wake_all()

    async def _stop_when_asked(self) -> None:
        await self._claiming.wait()
        await self._wind_down()

    async def _wind_down(self) -> None:
        """Say that this process stops, give running jobs the rest of the grace, hand back what is left."""
        async with self._winding_down:
            if self._handed_back:
                return
            with anyio.move_on_after(LAST_ROUNDS_SECONDS):  # a connection may hang
                await self.lease.stop()
                async with self._ticking:
                    pass  # what the last tick claimed is launched now
            await self.runner.stop(max(0.0, self._grace_ends - anyio.current_time()))
            self._handed_back = True

    def _wake_all(self) -> None:
        for wake in self._wakes.values():
            wake.set()
        self.runner.wake()

    async def _keep(self, name: str, round_: Callable[[], Awaitable[float]], stop: anyio.Event) -> None:
        """Run a loop until it is told to stop; one that ends before is dead, and seen to be."""
        health = self.healths[name]
        try:
            await run_loop(round_, health=health, wake=self._wakes[name], stop=stop)
        finally:
            if not stop.is_set():
                health.ended = True
                log.error("engine.loop_ended", loop=name)

    async def _schedule(self) -> float:
        tick = await self.tick()
        return 0.0 if tick.claimed else tick.rest_seconds

    async def _maintain(self) -> float:
        done = await self.maintenance.round()
        self.runner.cancel(list(done.unwanted))
        if done.rescued or done.stranded:
            self.wake()
        return MAINTENANCE_SECONDS

    def _after_settle(self, settled: Settled) -> None:
        self.wake()
