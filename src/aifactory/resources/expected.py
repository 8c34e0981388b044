"""What this process's latest forecast says of work that has just come; nothing is read or run for it."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from aifactory.resources.foresight import Outlook
from aifactory.resources.gate_words import CAPS, UNTIMED
from aifactory.resources.gates import Head
from aifactory.resources.outlook import Outlooks
from aifactory.resources.why import why

MOST_AGE = timedelta(seconds=5)
_NOBODY = UUID(int=0)


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """About where work will stand in its pool, and about when it starts; None: nobody can say yet."""

    position: int | None = None
    starts_at: datetime | None = None


class Expectations:
    """What is expected of each lane's next job, found at most once for each outlook."""

    def __init__(self, outlooks: Outlooks) -> None:
        self.outlooks = outlooks
        self._outlook: Outlook | None = None
        self._of_lane: dict[int, Expected] = {}

    def of(self, now: datetime, lane_ids: Collection[int]) -> Expected:
        """Return what is expected of jobs at the ends of some lanes: of the one that starts first."""
        latest = self.outlooks.latest
        if latest is None or abs(now - latest.forecast.now) > MOST_AGE:
            return Expected()
        if latest is not self._outlook:
            self._outlook, self._of_lane = latest, {}
        for lane_id in lane_ids - self._of_lane.keys():
            self._of_lane[lane_id] = expected(latest, lane_id)
        found = [self._of_lane[lane_id] for lane_id in lane_ids]
        return min(found, key=lambda one: (one.starts_at is None, one.starts_at), default=Expected())


def expected(outlook: Outlook, lane_id: int) -> Expected:
    """Return what an outlook says of the job that comes next to a lane, if it knows how many wait there."""
    lane, depth = outlook.lanes.get(lane_id), outlook.forecast.depths.get(lane_id)
    if lane is None or depth is None:
        return Expected()
    last = Head(job_id=_NOBODY, aged_from=outlook.as_of, seq=0, units=0)
    gate = why(outlook.plan, lane, last)
    if gate.gate in UNTIMED and gate.opens_at is None:
        return Expected()
    starts = outlook.forecast.starts.get(lane_id, ())
    if len(starts) >= max(1, depth):
        return _next(outlook, starts)
    place = outlook.forecast.place(lane_id, depth, bounded=gate.gate not in CAPS)
    if place is None:
        return Expected()
    return Expected(position=place.place, starts_at=max(outlook.as_of, place.starts_at))


def _next(outlook: Outlook, starts: Sequence[tuple[datetime, int]]) -> Expected:
    """Return the place behind a lane's last start, as far as that was behind the one before on average."""
    (first, first_place), (last, place) = starts[0], starts[-1]
    gaps = max(1, len(starts) - 1)
    at = last + (last - first) / gaps
    return Expected(
        position=place + max(1, round((place - first_place) / gaps)), starts_at=max(outlook.as_of, at)
    )
