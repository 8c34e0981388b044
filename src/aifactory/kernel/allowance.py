"""What a caller may still ask for: API requests a minute by GCRA, told in RateLimit fields. Pure.

A caller may send a minute's worth at once, and from then on as many as have come back: one every
60 s / limit. The database holds one moment of each caller, ``clear_at``, at which nothing would be used
any more; a request moves it on by 60 s / limit and is refused when that goes beyond a minute from now.
"""

import math
from datetime import datetime, timedelta

import msgspec

from aifactory.kernel.errors import TooMany

WINDOW = timedelta(minutes=1)
OPERATOR_PER_MINUTE = 6_000  #: of a user who is admin or support
WORKER_PER_MINUTE = 60_000  #: of an outside worker's secret

_POLICY = '"requests"'


class RateLimited(TooMany):
    """The key or the user has used its API requests; nothing was done, and the refusal was not counted."""

    code, title = "rate_limited", "Too many API requests"


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller has left. ``wait_seconds``: the request was refused, and one is free after so many."""

    per_minute: int
    left: int
    full_in_seconds: int
    wait_seconds: int | None = None


def allowance(*, per_minute: int, now: datetime, clear_at: datetime, admitted: bool) -> Allowance:
    """Return what is left when ``clear_at`` is stored, or would have been but for the refusal."""
    pause = timedelta(microseconds=60_000_000 // per_minute)
    if admitted:
        left = (now + WINDOW - clear_at) // pause
        return Allowance(
            per_minute=per_minute, left=max(left, 0), full_in_seconds=_whole_seconds(clear_at - now)
        )
    return Allowance(
        per_minute=per_minute,
        left=0,
        full_in_seconds=_whole_seconds(clear_at - pause - now),
        wait_seconds=max(1, _whole_seconds(clear_at - now - WINDOW)),
    )


def rate_limit_fields(found: Allowance) -> dict[str, str]:
    """Return the fields of draft-ietf-httpapi-ratelimit-headers: the policy, and what is left of it."""
    return {
        "RateLimit-Policy": f"{_POLICY};q={found.per_minute};w=60",
        "RateLimit": f"{_POLICY};r={found.left};t={found.full_in_seconds}",
    }


def rate_limited(found: Allowance) -> RateLimited:
    """Return the refusal of a request that is one too many."""
    return RateLimited(
        f"This key or user may send {found.per_minute} API requests a minute; the next one is free in "
        f"{found.wait_seconds} s.",
        headers={"Retry-After": str(found.wait_seconds), **rate_limit_fields(found)},
        requests_per_minute=found.per_minute,
    )


def _whole_seconds(span: timedelta) -> int:
    return max(0, math.ceil(span / timedelta(seconds=1)))
