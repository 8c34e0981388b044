"""The background of one process: lease, scheduler, settler, maintenance, as loops in one task group."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import anyio.abc

from aifactory.kernel.clock import utc_now
from aifactory.kernel.db import Database
from aifactory.kernel.ids import JobId
from aifactory.kernel.loop import LoopHealth, Wake, run_loop
from aifactory.resources.interface import Worker
from aifactory.resources.lease import Lease
from aifactory.resources.maintenance import Maintenance
from aifactory.resources.runner import Runner
from aifactory.resources.scheduler import Scheduler, Tick
from aifactory.resources.settlement import Settled

MAINTENANCE_SECONDS = 1.0


class Engine:
    """Runs what the Resource Manager decides. ``start`` is a context: leaving it stops in order."""

    def __init__(
        self,
        *,
        database: Database,
        workers: dict[str, Worker],
        slots: int,
        local_slots: int,
        grace_seconds: float,
    ) -> None:
        self.database = database
        self.grace_seconds = grace_seconds
        self.lease = Lease(database=database, slots=slots, local_slots=local_slots)
        self.scheduler = Scheduler(database=database, lease=self.lease)
        self.runner = Runner(
            database=database, workers=workers, lease=self.lease, on_settled=self._after_settle
        )
        self.maintenance = Maintenance(database=database, workers=workers, lease=self.lease)
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
        """Do one scheduling round now and launch what it claimed."""
        assert self._tasks is not None, "the engine is not running"
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
        idle = Wake()
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._loop, "lease", self.lease.round, idle, working)
            tasks.start_soon(self._loop, "scheduler", self._schedule, self._wake, claiming)
            tasks.start_soon(self._loop, "settler", self.runner.settle_round, Wake(), working)
            tasks.start_soon(self._loop, "maintenance", self._maintain, Wake(), claiming)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    claiming.set()
                    self._wake.set()
                    async with self._ticking:
                        await self.runner.stop(self.grace_seconds)
                    working.set()
                    tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await self.lease.release()

    async def _loop(self, name: str, round_: object, wake: Wake, stop: anyio.Event) -> None:
        await run_loop(round_, health=self.healths[name], wake=wake, stop=stop)  # type: ignore[arg-type]

    async def _schedule(self) -> float:
        tick = await self.tick()
        return 0.0 if tick.claimed else tick.rest_seconds

    async def _maintain(self) -> float:
        done = await self.maintenance.round()
        self.runner.cancel(list(done.unwanted))
        if done.rescued:
            self.wake()
        return MAINTENANCE_SECONDS

    def _after_settle(self, settled: Settled) -> None:
        self.wake()
