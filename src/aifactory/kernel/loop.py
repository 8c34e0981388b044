"""The only ``while`` of the background: run one round, sleep until woken or due, report health."""

import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import anyio
import structlog

from aifactory.kernel.clock import utc_now

log = structlog.get_logger()


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
    """When a loop last finished a round, and how many rounds failed since."""

    def __init__(self, *, name: str, stale_after: timedelta) -> None:
        self.name = name
        self.stale_after = stale_after
        self.last_round: datetime | None = None
        self.failures = 0

    def alive(self, now: datetime) -> bool:
        """Tell whether the last good round is recent enough."""
        return self.last_round is not None and now - self.last_round <= self.stale_after


async def run_loop(
    round_: Callable[[], Awaitable[float]], *, health: LoopHealth, wake: Wake, stop: anyio.Event
) -> None:
    """Call ``round_`` until ``stop``; it returns the seconds to rest, cut short by ``wake``.

    A round that raises is logged with its traceback and tried again with a growing, jittered pause.
    """
    while not stop.is_set():
        try:
            rest = await round_()
            health.last_round = utc_now()
            health.failures = 0
        except Exception:
            health.failures += 1
            rest = min(5.0, 0.1 * 2 ** min(health.failures, 6)) * random.uniform(0.5, 1.0)
            log.exception("loop.round_failed", loop=health.name, failures=health.failures)
        if not stop.is_set():
            await wake.wait(rest)
