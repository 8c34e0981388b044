"""What a forecast found: when the jobs of each lane start, and each pool's. Pure.

What lies beyond the run is continued at its lane's rate, or has the guard's bound.
"""

import math
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from aifactory.resources.policy import GUARD_EVERY
from aifactory.resources.virtual.lanes import LaneKey

NARROWEST = timedelta(milliseconds=500)
_SURE, _SPREAD = 0.15, 1.28


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """When a job starts, between which bounds, and its place in its pool; ``basis``: how that was found."""

    starts_at: datetime
    earliest: datetime
    latest: datetime
    place: int
    exact: bool
    basis: str


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    """What waits in a pool as a forecast begins: its jobs, and each client's with what follows them.

    They are infinite where not all were counted; a client that only runs something there has none.
    """

    jobs: float
    work_of: Mapping[UUID, float]

    def bound(self, client_id: UUID) -> int | None:
        """Return the place in the pool by which all that a client has there has started, if it can start.

        Every 20th start is the guard's, who serves the client that was served longest ago: of N clients each
        starts something within 20·N starts. What of that its other jobs take, a job waits for.
        """
        own = self.work_of.get(client_id, 0.0)
        bound = min(self.jobs, GUARD_EVERY * len(self.work_of) * own)
        return math.ceil(bound) if 0 < bound < math.inf else None


class Foreseen:
    """The starts of today's jobs from ``now`` until ``until``; ``crowds`` and ``lanes`` are of ``now``.

    ``lanes``: of each, its client and its pool. ``variation``: of each pool's runs, σ ÷ mean. ``depths``: how
    many jobs wait in each lane that was counted to its end.
    """

    def __init__(
        self,
        now: datetime,
        *,
        lanes: Mapping[int, tuple[UUID, str]],
        crowds: Mapping[str, Crowd],
        seats: Mapping[UUID, int],
        variation: Mapping[str, float],
        depths: Mapping[int, int],
    ) -> None:
        self.now = self.until = now
        self.ends: list[tuple[datetime, LaneKey]] = []  #: of runs, as they come
        self.depths = depths
        self.starts: dict[int, list[tuple[datetime, int]]] = {}
        self.places: dict[str, int] = {}
        self._lanes, self._crowds, self._seats, self._variation = lanes, crowds, seats, variation
        self._pool_of: dict[int, str] = {}
        self._queues: dict[int, list[tuple[datetime, datetime]]] = {}
        self._times_of_lane: dict[int, list[datetime]] = {}
        self._times_of_pool: dict[str, list[datetime]] = {}

    def note(self, lane_id: int, pool: str, at: datetime) -> None:
        """Note a start of a job of today; a lane's come in their order, the times of a tick in any."""
        place = self.places[pool] = self.places.get(pool, 0) + 1
        self.starts.setdefault(lane_id, []).append((at, place))
        self._pool_of[lane_id] = pool
        insort(self._times_of_lane.setdefault(lane_id, []), at)
        insort(self._times_of_pool.setdefault(pool, []), at)

    def note_any(self, lane_id: int, ready_at: datetime, at: datetime) -> None:
        """Note a start of whatever job, and since when it has been in its lane."""
        self._queues.setdefault(lane_id, []).append((at, ready_at))

    @property
    def _span(self) -> float:
        return (self.until - self.now).total_seconds()

    def pace(self, pool: str | None) -> float | None:
        """Return how many jobs of today a pool starts a second; None: it starts none, or all at once."""
        started = self.places.get(pool or "", 0)
        return started / self._span if started and self._span > 0 else None

    def knows(self, lane_id: int) -> bool:
        """Whether something waited in a lane when this was foreseen."""
        return lane_id in self._lanes

    def place(
        self, lane_id: int, ahead: int, *, job_id: UUID | None = None, bounded: bool = True
    ) -> Place | None:
        """Return when a job of a lane starts that has so many ahead of it there, if that can be told.

        ``ahead``: as of the forecast's beginning, unless it knows the job itself. ``bounded``: its gate opens
        by itself, so that the guard comes to it.
        """
        ahead = self._seats.get(job_id, ahead) if job_id else ahead
        starts = self.starts.get(lane_id, ())
        if ahead < len(starts):
            at, place = starts[ahead]
            return self._told(lane_id, at, place, ahead, exact=True, basis="simulated")
        if starts and self._span > 0:
            return self._extrapolated(lane_id, starts, ahead)
        return self._guarded(lane_id) if bounded else None

    def place_at(
        self, now: datetime, lane_id: int, ahead: int, *, job_id: UUID, bounded: bool = True
    ) -> Place | None:
        """Return the same for a job that has so many ahead of it now.

        One that has come since has its place in the lane's queue as it was foreseen for now, and so has one
        that should have gone by now: what is still ahead of it goes first.
        """
        gone = bisect_right(self._times_of_lane.get(lane_id, ()), now) if now > self.now else 0
        found = self.place(lane_id, ahead + gone, job_id=job_id, bounded=bounded)
        if found is None:
            return None
        if now > self.now and (job_id not in self._seats or (ahead and found.starts_at <= now)):
            found = self._queued(now, lane_id, ahead) or found
        times = self._times_of_pool.get(self._pool_of.get(lane_id, ""), ())
        gone = bisect_right(times, now) if now > self.now else 0
        return msgspec.structs.replace(
            found,
            starts_at=max(now, found.starts_at),
            earliest=max(now, found.earliest),
            latest=max(now, found.latest),
            place=max(1, found.place - gone),
        )

    def _queued(self, now: datetime, lane_id: int, ahead: int) -> Place | None:
        """Return the place behind so many that are foreseen to wait in a lane now, or behind all of them."""
        queue = sorted(at for at, ready_at in self._queues.get(lane_id, ()) if ready_at <= now < at)
        exact = ahead < len(queue)
        if exact:
            at = queue[ahead]
        elif lane_id in self.depths and len(self.starts.get(lane_id, ())) >= self.depths[lane_id]:
            starts = self._queues[lane_id]
            gap = (max(starts)[0] - self.now) / len(starts)
            at = (queue[-1] if queue else now) + gap * (ahead + 1 - len(queue))
        else:
            return None
        place = bisect_right(self._times_of_pool.get(self._pool_of.get(lane_id, ""), ()), at) + 1
        basis = "simulated" if exact else "extrapolated"
        return self._told(lane_id, at, place, ahead, exact=exact, basis=basis)

    def _extrapolated(self, lane_id: int, starts: Sequence[tuple[datetime, int]], ahead: int) -> Place:
        span, started = self._span, self.places[self._pool_of[lane_id]]
        half = self.now + timedelta(seconds=span / 2)
        late = sum(at >= half for at, _ in starts)
        rate = late / (span / 2) if late >= 2 else len(starts) / span
        seconds = span + (ahead + 1 - len(starts)) / rate
        place = started + math.ceil((seconds - span) * started / span)
        at = self.now + timedelta(seconds=seconds)
        return self._told(lane_id, at, place, ahead, exact=False, basis="extrapolated")

    def _guarded(self, lane_id: int) -> Place | None:
        """Return the place by which the guard has come to all that a client has in its pool.

        It is a bound of the place, for what can start then and if its client sends no more; of the time it
        is one at the pace of the run.
        """
        client_id, pool = self._lanes.get(lane_id, (None, ""))
        pace, crowd = self.pace(pool), self._crowds.get(pool)
        if client_id is None or pace is None or crowd is None:
            return None
        starts = crowd.bound(client_id)
        if starts is None:
            return None
        at = self.now + timedelta(seconds=starts / pace)
        told = self._told(lane_id, at, starts, 0, exact=False, basis="guard_bound")
        return msgspec.structs.replace(told, earliest=self.now, latest=at)

    def _told(self, lane_id: int, at: datetime, place: int, ahead: int, *, exact: bool, basis: str) -> Place:
        """Return a place with its band: a share of the wait for what is supposed, more with few runs."""
        pool = self._pool_of.get(lane_id, "")
        variation = self._variation.get(pool, self._variation.get("", 1.0))
        share = _SURE + _SPREAD * variation / math.sqrt(max(1, ahead))
        half = max(NARROWEST, (at - self.now) * share)
        return Place(
            starts_at=at,
            earliest=max(self.now, at - half),
            latest=at + half,
            place=place,
            exact=exact,
            basis=basis,
        )
