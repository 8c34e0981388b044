"""Limits of log-in attempts: exact within one process, by sliding window, in memory.

With several processes each one counts for itself, so the bound is the limit times the processes.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic

from aifactory.kernel.errors import TooMany

_MANY_KEYS = 10_000


class TooManyAttempts(TooMany):
    """Too many attempts to log in from this address or for this account."""

    code, title = "too_many_attempts", "Too many attempts to log in"


class Attempts:
    """Counts attempts per key within a window."""

    def __init__(self, *, limit: int, window_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self.limit = limit
        self.window_seconds = window_seconds
        self.clock = clock
        self._taken: dict[str, deque[float]] = {}

    def take(self, key: str) -> None:
        """Count an attempt. Raises TooManyAttempts, which counts nothing."""
        now = self.clock()
        if len(self._taken) > _MANY_KEYS:
            self._forget_old(now)
        times = self._taken.setdefault(key, deque())
        while times and times[0] <= now - self.window_seconds:
            times.popleft()
        if len(times) >= self.limit:
            wait = max(1, int(times[0] + self.window_seconds - now) + 1)
            raise TooManyAttempts(
                f"Too many attempts; try again in {wait} s.", headers={"Retry-After": str(wait)}
            )
        times.append(now)

    def forgive(self, key: str) -> None:
        """Take back the newest attempt: it succeeded."""
        times = self._taken.get(key)
        if times:
            times.pop()

    def _forget_old(self, now: float) -> None:
        start = now - self.window_seconds
        self._taken = {key: times for key, times in self._taken.items() if times and times[-1] > start}
