"""The only ``while`` of the background: run one round, sleep until woken or due, report health."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio
import structlog

from aifactory.kernel.db import DatabaseUnavailable
from aifactory.kernel.metrics import timed_round

log = structlog.get_logger()

LONGEST_PAUSE_SECONDS = 2.0  #: work goes on within 3 s after the database is back


class Wake:
    """A flag that one loop waits for and anyone may raise; raising it twice is raising it once."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """Wake the loop now, or at once when it next waits."""
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Return True when woken, False after ``seconds``; the flag is down afterwards."""
        with anyio.move_on_after(seconds):
            await self._event.wait()
        woken = self._event.is_set()
        self._event = anyio.Event()
        return woken


class LoopHealth:
    """How long ago a loop finished a good round, and how many failed since.

    Measured on the clock that nobody steps. ``ended``: nobody runs the loop any more.
    """

    def __init__(self, *, name: str, stale_after: timedelta) -> None:
        self.name = name
        self.stale_after = stale_after
        self.last_round: float | None = None
        self.failures = 0
        self.ended = False

    def good_round(self) -> None:
        """Note that a round ended well, now."""
        self.last_round = time.monotonic()
        self.failures = 0

    def age(self) -> timedelta | None:
        """Return how long ago the last good round ended; None if there was none."""
        return None if self.last_round is None else timedelta(seconds=time.monotonic() - self.last_round)

    @property
    def alive(self) -> bool:
        """Whether the loop runs, and its last good round is recent enough."""
        age = self.age()
        return not self.ended and age is not None and age <= self.stale_after


async def run_loop(
    round_: Callable[[], Awaitable[float]], *, health: LoopHealth, wake: Wake, stop: anyio.Event
) -> None:
    """Call ``round_`` until ``stop``; it returns the seconds to rest, cut short by ``wake``.

    A round that raises is logged (with its traceback, unless only the database was away) and tried again
    with a growing, jittered pause. So is one that waited for a future that somebody else cancelled: that must
    not end the loop in silence.
    """
    while not stop.is_set():
        try:
            with timed_round(health.name):
                rest = await round_()
            health.good_round()
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            health.failures += 1
            rest = min(LONGEST_PAUSE_SECONDS, 0.1 * 2 ** min(health.failures, 6)) * random.uniform(0.5, 1.0)
            _tell(error, health)
        if not stop.is_set():
            await wake.wait(rest)


def _tell(error: BaseException, health: LoopHealth) -> None:
    told = {"loop": health.name, "failures": health.failures}
    if isinstance(error, DatabaseUnavailable):  # as long as it lasts, each loop meets it every other second
        log.warning("loop.database_unavailable", **told, error=str(error.__cause__ or error))
    else:
        log.exception("loop.round_failed", **told)


def _is_cancelled() -> bool:
    """Whether this task itself is to end."""
    task = asyncio.current_task()
    asked = task is not None and task.cancelling() > 0
    return asked or anyio.current_effective_deadline() == -math.inf
