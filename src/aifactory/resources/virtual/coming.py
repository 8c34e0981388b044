"""How fast work has come of late, lane by lane: what a forecast supposes to go on. Pure."""

import math
import statistics
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from aifactory.resources.virtual.lanes import LaneKey

PARTS = 6
_MOST = 1.5  #: times what the middle part brought: a part that brought more was a burst


class Arrived(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job that its execution began with, its units, and how many jobs of that follow it."""

    key: LaneKey
    at: datetime
    units: int
    follow: float = 0.0


class Coming(msgspec.Struct, frozen=True, kw_only=True):
    """What comes in a lane: first jobs a second, a job's units, and how many jobs follow one."""

    key: LaneKey
    a_second: float
    units: int
    follow: float = 0.0


def coming(arrived: Sequence[Arrived], since: datetime, now: datetime) -> list[Coming]:
    """Return how each lane's work has come since then.

    Time is cut into six parts; what came in the same part as a burst counts less, so that a backlog that was
    sent at once is not supposed to be sent again, and what came in less than half of the parts not at all.
    """
    part_seconds = (now - since) / timedelta(seconds=1) / PARTS
    if part_seconds <= 0:
        return []
    parts = [min(PARTS - 1, int((one.at - since).total_seconds() / part_seconds)) for one in arrived]
    counts = [parts.count(part) for part in range(PARTS)]
    typical = statistics.median(counts)
    lanes: dict[LaneKey, list[tuple[float, Arrived]]] = {}
    for part, one in zip(parts, arrived, strict=True):
        share = min(1.0, _MOST * typical / counts[part])
        lanes.setdefault(one.key, []).append((share, one))
    return [_coming(key, came, PARTS * part_seconds) for key, came in lanes.items() if typical]


def _coming(key: LaneKey, came: Sequence[tuple[float, Arrived]], seconds: float) -> Coming:
    jobs = math.fsum(share for share, _ in came)
    return Coming(
        key=key,
        a_second=jobs / seconds,
        units=round(math.fsum(share * one.units for share, one in came) / jobs),
        follow=math.fsum(share * one.follow for share, one in came) / jobs,
    )
