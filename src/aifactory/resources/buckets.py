"""Token buckets in integer micro-units: exact, fractions kept, refilled by elapsed time. Pure.

A pool that refills ``r`` units a second gains exactly ``r`` micro-units a microsecond, so no float and no
rounding is needed.
"""

from datetime import datetime, timedelta

MICRO = 1_000_000
LONGEST_WAIT_SECONDS = 366 * 86_400.0
"""A slow pool may need longer to fill than dates go; nobody plans for further ahead than this."""

_MICROSECOND = timedelta(microseconds=1)


def refilled(
    level_micro: int, *, capacity: int, refill_per_second: int, since: datetime, now: datetime
) -> int:
    """Return the level at ``now``; a clock that went backwards refills nothing."""
    elapsed = max(0, (now - since) // _MICROSECOND)
    return min(capacity * MICRO, level_micro + refill_per_second * elapsed)


def refilled_requests(level_micro: int, *, per_minute: int, since: datetime, now: datetime) -> int:
    """Return the level of a bucket of request slots that holds one minute's worth."""
    elapsed = max(0, (now - since) // _MICROSECOND)
    return min(per_minute * MICRO, level_micro + per_minute * elapsed // 60)


def seconds_until(level_micro: int, *, needed_units: int, refill_per_second: int) -> float | None:
    """Return how long until the bucket holds ``needed_units``; None if it never will."""
    missing = needed_units * MICRO - level_micro
    if missing <= 0:
        return 0.0
    return missing / (refill_per_second * MICRO) if refill_per_second else None
