"""The background of one process: lease, scheduler, settler, maintenance, as loops in one task group."""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from functools import partial

import anyio
import anyio.abc

from aifactory.kernel.clock import utc_now
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

MAINTENANCE_SECONDS = 1.0
LAST_ROUNDS_SECONDS = 3.0


class SchedulerElsewhere(Conflict):
    """This process was started without the scheduler."""

    code, title = "scheduler_elsewhere", "The scheduler does not run in this process"


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
        )
        self.lease.taken = self.runner.cancel_all
        self.healths = {
            name: LoopHealth(name=name, stale_after=timedelta(seconds=seconds))
            for name, seconds in (("lease", 12), ("scheduler", 10), ("settler", 10), ("maintenance", 30))
        }
        self._wake = Wake()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._ticking = anyio.Lock()

    def wake(self) -> None:
        """Make the scheduler look again now."""
        self._wake.set()

    def abort(self, job_ids: list[JobId]) -> None:
        """Abort runs of this process."""
        self.runner.cancel(job_ids)

    def alive(self) -> dict[str, bool]:
        """Tell per loop whether its last good round is recent."""
        now = utc_now()
        return {name: health.alive(now) for name, health in self.healths.items()}

    async def tick(self) -> Tick:
        """Do one scheduling round now and launch what it claimed. Raises SchedulerElsewhere."""
        if self._tasks is None:
            raise SchedulerElsewhere("This process only serves; ask one that runs the scheduler.")
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
        claiming, working = anyio.Event(), anyio.Event()
        wakes = {name: Wake() for name in self.healths} | {"scheduler": self._wake}
        try:
            await self.lease.round()  # so that the first round of the scheduler may start something
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for name, round_, stop in (
                    ("lease", self.lease.round, working),
                    ("scheduler", self._schedule, claiming),
                    ("settler", self.runner.settle_round, working),
                    ("maintenance", self._maintain, claiming),
                ):
                    loop = partial(run_loop, health=self.healths[name], wake=wakes[name], stop=stop)
                    tasks.start_soon(loop, round_)
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        claiming.set()
                        async with self._ticking:
                            await self.runner.stop(self.grace_seconds)
                        working.set()
                        for wake in wakes.values():
                            wake.set()
                        # Each loop ends after its round: cutting one would cut its transaction.
                        tasks.cancel_scope.deadline = anyio.current_time() + LAST_ROUNDS_SECONDS
        finally:
            self._tasks = None
            with anyio.CancelScope(shield=True):
                await self.lease.release()

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
