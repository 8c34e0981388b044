"""One pool's part of a plan: what is left of it, whose turn it was, its big job, its lanes by queue. Pure."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from aifactory.resources import buckets
from aifactory.resources.gates import BigJob, PoolGate
from aifactory.resources.interface import Urgency

RECENT_STARTS = 100
RESERVE_LENT_AFTER = timedelta(seconds=60)

Key = tuple[Any, ...]
"""What lanes of one queue are ordered by: numbers, the time aged from, the sequence; least first."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """When a pool could start a job if nothing else did; ``at`` None: not as things are, for ``obstacle``.

    Obstacles: ``paused``, ``dedicated`` (to another client), ``too_small``, ``not_refilled``.
    """

    at: datetime | None = None
    obstacle: str | None = None


class PoolPlan:
    """A pool at work. ``heaps`` are the lanes whose hop draws on it, best first, by queue, top queue first.

    The reserve is lent to all after a minute without urgent work, started or waiting; the first urgent job
    that waits ends that, and the pool has its reserve back after ``buckets.recall_seconds`` at most.
    """

    def __init__(self, gate: PoolGate, now: datetime) -> None:
        self.gate = gate
        self.now = now
        self.level_micro = gate.level_micro
        self.requests_micro = gate.requests_micro
        self.start_seq = gate.start_seq
        self.last_start_seq = gate.last_start_seq
        self.recent = deque(gate.recent_starts, maxlen=RECENT_STARTS)
        self.started_by_queue = {queue: self.recent.count(queue) for queue in set(gate.recent_starts)}
        self.lane_ids: list[int] = []
        self.heaps: dict[str, list[tuple[Key, int]]] = {}
        self.shares: dict[str, int] = {}
        self.urgent_waits = False
        self.reserve_micro = buckets.reserve_micro(gate.capacity, gate.reserved_percent)
        self.urgent_lately = (
            gate.last_urgent_at is not None and now - gate.last_urgent_at < RESERVE_LENT_AFTER
        )
        self.big_job_id: UUID | None = gate.big_job_id
        self.big_job_since = gate.big_job_since
        self.big_job_score: float | None = None

    # When.

    def closed_to(self, client_id: UUID) -> str | None:
        """Return why a client's work may not use the pool at all, until an operator changes that."""
        if self.gate.paused:
            return "paused"
        return "dedicated" if self.gate.dedicated_client_id not in (None, client_id) else None

    def opens_at(self, units: int, urgency: Urgency, client_id: UUID) -> Opening:
        """Return when the pool could start a job, if nothing else took anything from it."""
        if obstacle := self.closed_to(client_id):
            return Opening(obstacle=obstacle)
        enough = self.now
        if self.lacks(units, urgency):
            at = self.units_at(units, urgency)
            if at is None:
                return Opening(obstacle="not_refilled" if self.can_hold(units, urgency) else "too_small")
            enough = at
        return Opening(at=max(enough, self.request_at() or self.now, self.gate.blocked_until or self.now))

    # Units and request slots.

    def floor_micro(self, urgency: Urgency) -> int:
        """Return the level that work of this urgency may not cross now."""
        kept = self.urgent_waits or self.urgent_lately
        return self.reserve_micro if kept and urgency is not Urgency.URGENT else 0

    def lacks(self, units: int, urgency: Urgency) -> bool:
        """Whether a job of this urgency can't take so many units now; none can always be taken."""
        return units > 0 and self.level_micro - self.floor_micro(urgency) < units * buckets.MICRO

    def can_hold(self, units: int, urgency: Urgency) -> bool:
        """Whether the pool would come to have so many units for this urgency, if all others waited.

        The reserve counts as kept, since urgent work may never cease; an operator may have shrunk the pool
        since the job was taken.
        """
        reserve = 0 if urgency is Urgency.URGENT else self.reserve_micro
        return units * buckets.MICRO <= self.gate.capacity * buckets.MICRO - reserve

    def units_at(self, units: int, urgency: Urgency) -> datetime | None:
        """Return when the pool will have so many units, if nothing else takes any; None: it never will."""
        floor = self.floor_micro(urgency)
        opens = self._reaches(units * buckets.MICRO + floor)
        if floor and not self.urgent_waits and self.gate.last_urgent_at is not None:
            unlent = self._reaches(units * buckets.MICRO)
            if unlent is not None:
                lent = max(unlent, self.gate.last_urgent_at + RESERVE_LENT_AFTER)
                return lent if opens is None else min(opens, lent)
        return opens

    def _reaches(self, needed_micro: int) -> datetime | None:
        if needed_micro > self.gate.capacity * buckets.MICRO:
            return None
        seconds = buckets.seconds_to_reach(
            self.level_micro, needed_micro=needed_micro, refill_per_second=self.gate.refill_per_second
        )
        if seconds is None:
            return None
        return self.now + timedelta(seconds=min(seconds, buckets.LONGEST_WAIT_SECONDS))

    def request_at(self) -> datetime | None:
        """Return when the next request slot is there; None when one is there now, or none is needed."""
        if self.gate.requests_per_minute is None or self.requests_micro >= buckets.MICRO:
            return None
        return self.now + buckets.until_request(self.requests_micro, self.gate.requests_per_minute)

    def take(self, units: int) -> None:
        """Take a start's units and its request slot."""
        self.level_micro -= units * buckets.MICRO
        if self.gate.requests_per_minute is not None:
            self.requests_micro -= buckets.MICRO

    # Turns.

    def note_start(self, seq: int, queue: str) -> None:
        """Remember a start of the pool's own lanes: its number and whose turn it was."""
        self.start_seq += 1
        self.last_start_seq = seq
        if len(self.recent) == RECENT_STARTS:
            self.started_by_queue[self.recent[0]] -= 1
        self.recent.append(queue)
        self.started_by_queue[queue] = self.started_by_queue.get(queue, 0) + 1

    def behind_share(self, shares: Mapping[str, int]) -> dict[str, int]:
        """Return how many of the recent starts each queue lacks to its share in percent."""
        count, started = len(self.recent), self.started_by_queue
        return {queue: share * count // 100 - started.get(queue, 0) for queue, share in shares.items()}

    def mostly(self, queue: str) -> bool:
        """Whether over half of the recent starts were a queue's."""
        return self.started_by_queue.get(queue, 0) * 2 > len(self.recent)

    # The big job.

    def remember(self, job_id: UUID, score: float) -> None:
        """Make a waiting job the pool's big job."""
        self.big_job_id, self.big_job_since, self.big_job_score = job_id, self.now, score

    def forget(self) -> None:
        """Have no big job any more."""
        self.big_job_id = self.big_job_since = self.big_job_score = None

    def big_job_change(self) -> BigJob | None:
        """Return what the pool remembers from now on, if that has changed."""
        if self.big_job_id == self.gate.big_job_id:
            return None
        return BigJob(pool=self.gate.pool, job_id=self.big_job_id, since=self.big_job_since)
