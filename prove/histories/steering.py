"""Steers the statements of concurrent steps: who goes next, and at which statement a connection dies."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from enum import StrEnum
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import event

from aifactory.kernel.db import Database, DatabaseUnavailable

_LOOK_SECONDS = 0.004
_PATIENCE_SECONDS = 10.0
_WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    """


class Death(StrEnum):
    """What becomes of a step: its connection is cut, or its whole process dies."""

    CUT = "cut"
    KILLED = "killed"


class Killed(BaseException):
    """The process of this step is dead; nothing of it may go on."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """At the nth statement, before or after it took effect, so a step dies."""

    statement: int
    after: bool
    death: Death


class Step(msgspec.Struct, kw_only=True):
    """A step under way: one thread of control, its statements counted."""

    name: str
    fault: Fault | None = None
    alone: bool = True
    statements: int = 0
    died: bool = False
    parked: asyncio.Event | None = None
    changed: asyncio.Event
    finished: bool = False


_step: ContextVar[Step | None] = ContextVar("step", default=None)


class Steered(asyncpg.Connection):
    """A connection that asks before each statement of a transaction whether, and how, it may go on."""

    steered = False

    async def execute(self, query: str, *args: Any, **rest: Any) -> Any:
        """As asyncpg's."""
        if args:
            return await super().execute(query, *args, **rest)  # comes back through _execute
        return await self._steer(query, lambda: super(Steered, self).execute(query, **rest))

    async def _execute(self, query: str, *args: Any, **rest: Any) -> Any:
        return await self._steer(query, lambda: super(Steered, self)._execute(query, *args, **rest))  # type: ignore[misc]

    async def _executemany(self, query: str, *args: Any, **rest: Any) -> Any:
        return await self._steer(query, lambda: super(Steered, self)._executemany(query, *args, **rest))  # type: ignore[misc]

    async def _steer(self, query: str, run: Callable[[], Awaitable[Any]]) -> Any:
        step = _step.get()
        self.steered = self.steered or query == "BEGIN"
        if step is None or step.finished or not self.steered or query.startswith("ROLLBACK"):
            return await run()
        if query == "COMMIT":
            self.steered = False
        await _park(step)
        fault = step.fault
        step.statements += 1
        if fault is None or step.died or step.statements != fault.statement:
            return await run()
        step.died = True
        if fault.after:
            await run()
        self.terminate()
        if fault.death is Death.KILLED:
            raise Killed
        raise asyncpg.ConnectionDoesNotExistError("cut by the proof")


def steer(database: Database) -> Database:
    """Make every connection of a pool a steered one; call before its first."""

    def choose(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        options["connection_class"] = Steered

    event.listen(database.engine.sync_engine, "do_connect", choose)
    return database


async def _park(step: Step) -> None:
    if step.alone:
        return
    step.parked = asyncio.Event()
    step.changed.set()
    await step.parked.wait()


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a step ended; ``error`` is what no step may end with."""

    step: Step
    killed: bool = False
    error: BaseException | None = None


async def run_together(
    wanted: list[tuple[str, Coroutine[Any, Any, Any], Fault | None]],
    *,
    chance: random.Random,
    monitor: "asyncpg.Connection[Any]",
) -> list[Ended]:
    """Run steps at once; after each statement chance says whose is next. A blocked one waits for its lock."""
    changed = asyncio.Event()
    steps = [
        Step(name=name, fault=fault, alone=len(wanted) == 1, changed=changed) for name, _, fault in wanted
    ]
    tasks = [
        asyncio.create_task(_run(step, action)) for step, (_, action, _) in zip(steps, wanted, strict=True)
    ]
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not all(step.finished for step in steps):
                await _until_still(steps, changed, monitor)
                parked = [step for step in steps if step.parked is not None]
                if parked:
                    chosen = chance.choice(parked)
                    gate, chosen.parked = chosen.parked, None
                    assert gate is not None
                    gate.set()
    finally:
        for task in tasks:
            if not task.done():
                task.cancel()
        ended = await asyncio.gather(*tasks)
    return list(ended)


async def _run(step: Step, action: Coroutine[Any, Any, Any]) -> Ended:
    _step.set(step)
    error: BaseException | None = None
    try:
        await action
    except (Exception, asyncio.CancelledError, Killed) as raised:
        error = raised
    finally:
        step.finished = True
        step.parked = None
        step.changed.set()
    killed = step.died and step.fault is not None and step.fault.death is Death.KILLED
    expected = killed or (step.died and isinstance(error, DatabaseUnavailable))
    return Ended(step=step, killed=killed, error=None if expected else error)


async def _until_still(steps: list[Step], changed: asyncio.Event, monitor: "asyncpg.Connection[Any]") -> None:
    """Wait until nobody moves: each step has finished, is parked, or waits for a lock of another."""
    while True:
        if not any(_is_moving(step) for step in steps):
            return
        changed.clear()
        try:
            await asyncio.wait_for(changed.wait(), _LOOK_SECONDS)
        except TimeoutError:
            waiting = await monitor.fetchval(_WAITING)
            if any(step.parked for step in steps) and waiting >= sum(_is_moving(step) for step in steps):
                return


def _is_moving(step: Step) -> bool:
    return not step.finished and step.parked is None
