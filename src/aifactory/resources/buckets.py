"""Token buckets in integer micro-units: exact, fractions kept, refilled by elapsed time. Pure.

A pool that refills ``r`` units a second gains exactly ``r`` micro-units a microsecond, so no float and no
rounding is needed. Request slots come at a minute's rate, which divides into no whole micro-units: they are
counted off from one fixed moment, so that what a refill rounds off is in the next one, however often it is
refilled.
"""

import math
from datetime import UTC, datetime, timedelta

MICRO = 1_000_000
LONGEST_WAIT_SECONDS = 366 * 86_400.0
"""A slow pool may need longer to fill than dates go; nobody plans for further ahead than this."""

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def refilled(
    level_micro: int, *, capacity: int, refill_per_second: int, since: datetime, now: datetime
) -> int:
    """Return the level at ``now``; a clock that went backwards refills nothing."""
    elapsed = max(0, (now - since) // _MICROSECOND)
    return min(capacity * MICRO, level_micro + refill_per_second * elapsed)


def refilled_requests(level_micro: int, *, per_minute: int, since: datetime, now: datetime) -> int:
    """Return the level of a bucket of request slots that holds one minute's worth."""
    gained = _requests_by(now, per_minute) - _requests_by(since, per_minute)
    return min(per_minute * MICRO, level_micro + max(0, gained))


def _requests_by(moment: datetime, per_minute: int) -> int:
    return per_minute * ((moment - _EPOCH) // _MICROSECOND) // 60


def until_request(level_micro: int, per_minute: int) -> timedelta:
    """Return how long at most until a bucket of request slots holds one."""
    return timedelta(microseconds=math.ceil(max(0, MICRO - level_micro) * 60 / per_minute))


def seconds_to_reach(level_micro: int, *, needed_micro: int, refill_per_second: int) -> float | None:
    """Return how long until the bucket's level is ``needed_micro``; None if it never will be."""
    missing = needed_micro - level_micro
    if missing <= 0:
        return 0.0
    return missing / (refill_per_second * MICRO) if refill_per_second else None


def reserve_micro(capacity: int, reserved_percent: int) -> int:
    """Return the level of a pool below which only urgent work may go."""
    return capacity * MICRO * reserved_percent // 100


def recall_seconds(*, capacity: int, reserved_percent: int, refill_per_second: int) -> float | None:
    """Return how long urgent work waits at most for a whole reserve that was lent: reserve ÷ refill.

    From its first waiting job on nothing else starts below the reserve, so the pool only fills. None: it is
    refilled by nothing. Calls that used more than their estimate, and a provider's own word, come on top.
    """
    reserve = reserve_micro(capacity, reserved_percent)
    return seconds_to_reach(0, needed_micro=reserve, refill_per_second=refill_per_second)
