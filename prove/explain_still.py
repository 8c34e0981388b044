"""The same loads in a time that stands still while anything is decided: as on a machine without delay.

The scheduler, its database and the answers are the live ones; time goes from event to event: an end of a
run, an arrival, a question, a gate that opens. So it says how good the forecast is, whatever else the machine
does.
"""

import heapq
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import anyio
import anyio.lowlevel

from aifactory.kernel.clock import utc_now
from aifactory.kernel.db import DatabaseUnavailable
from prove.explain_load import Load, Profile
from prove.turns import StillTime

Answer = TypeVar("Answer")
_RENEWED_EVERY = timedelta(seconds=3)


class StillLoad(Load):
    """A load whose time moves by events; ``run`` it."""

    def __init__(self, time: StillTime, profile: Profile, seed: int) -> None:
        super().__init__(time, profile, seed)
        self.time = time
        time.moment = utc_now() - timedelta(days=1)  # ids are of now: what has come is sought from ids on
        self.worker.sleep = self._sleep
        self._ends: list[tuple[datetime, int, anyio.Event]] = []
        self._numbers = itertools.count()

    async def run(self, *, warm: float, asking: float, a_second: float, rest: float) -> None:
        """Let work come for all of that time; ask at random moments in the middle of it."""
        began = self.time.moment
        questions = [warm]
        while questions[-1] < warm + asking:
            questions.append(questions[-1] + self.chance.expovariate(a_second))
        asks = [began + timedelta(seconds=at) for at in reversed(questions)]
        arrivals = (began + timedelta(seconds=at) for at in self.arrivals())
        arrival, renewal = next(arrivals), began
        async with anyio.create_task_group() as tasks:
            self.engine._tasks = tasks
            while self.time.moment < began + timedelta(seconds=warm + asking + rest):
                if self.time.moment >= renewal:
                    await _surely(self.engine.lease.round)
                    renewal = self.time.moment + _RENEWED_EVERY
                wake = await self._decide()
                ends = [self._ends[0][0]] if self._ends else []
                self.time.moment = max(self.time.moment, min(*ends, *asks[-1:], *wake, arrival, renewal))
                await self._end_what_is_due()
                while arrival <= self.time.moment:
                    await _surely(self.submit_by_chance)
                    arrival = next(arrivals)
                while asks and asks[-1] <= self.time.moment:
                    asks.pop()
                    await _surely(self.ask)
            tasks.cancel_scope.cancel()

    async def _sleep(self, seconds: float) -> None:
        event = anyio.Event()
        ends_at = self.time.moment + timedelta(seconds=seconds)
        heapq.heappush(self._ends, (ends_at, next(self._numbers), event))
        await event.wait()

    async def _decide(self) -> list[datetime]:
        """Start what may start; returns when a gate opens, if one does."""
        while True:
            tick = await _surely(self.engine.tick)
            while len(self._ends) < len(self.engine.runner._running):
                await anyio.lowlevel.checkpoint()
            if not tick.claimed:
                break
        wake = tick.next_wake
        return [wake] if wake is not None and wake > self.time.moment else []

    async def _end_what_is_due(self) -> None:
        due = 0
        while self._ends and self._ends[0][0] <= self.time.moment:
            heapq.heappop(self._ends)[2].set()
            due += 1
        while len(self.engine.runner._ended) < due:
            await anyio.lowlevel.checkpoint()
        if due:
            await _surely(self.engine.runner.settle_ended)
            if self.profile.window:
                await _surely(self.fill_windows)


async def _surely(does: Callable[[], Awaitable[Answer]]) -> Answer:
    """Do it again while the database hangs up, as on who is slow in a transaction."""
    while True:
        try:
            return await does()
        except DatabaseUnavailable:
            await anyio.sleep(0.1)
