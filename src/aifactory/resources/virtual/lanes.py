"""Lanes of a fleet in memory: what waits in them, in the order in which it may start. Pure."""

from bisect import insort
from collections import deque
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import NamedTuple
from uuid import UUID

import msgspec

from aifactory.resources.gates import Head, Lane
from aifactory.resources.interface import Hop, Urgency

SHALLOWEST = 4


class Work(msgspec.Struct, kw_only=True, gc=False):
    """A queued job and what becomes of it: its run takes so many ``seconds`` and uses so many units.

    ``used`` are of its hop's pool, in place of the estimate ``head.units``; None: nobody comes to know, and
    the estimate stays taken. ``owner`` is whoever plays the work; no fleet looks at it.
    """

    head: Head
    seconds: float
    used: int | None
    ready_at: datetime
    owner: object = None


class LaneKey(NamedTuple):
    """What makes a lane one: as in the table of lanes, with its route spelled out."""

    hops: tuple[Hop, ...]
    worker: str
    queue: str
    client_id: UUID
    urgency: Urgency
    further_pools: tuple[str, ...] = ()
    local: bool = False
    alone: bool = False


class VirtualLane:
    """A lane's queued work, by (``aged_from``, sequence).

    New work comes in that order; follow-ups and retries are older than what waits, and are sorted in.
    """

    __slots__ = ("_arrived", "_begun", "_lane", "depth", "id", "key")

    def __init__(self, lane_id: int, key: LaneKey) -> None:
        self.id = lane_id
        self.key = key
        self.depth = SHALLOWEST
        self._arrived: deque[Work] = deque()
        self._begun: list[Work] = []
        self._lane: Lane | None = None

    def __len__(self) -> int:
        return len(self._arrived) + len(self._begun)

    def add(self, work: Work) -> None:
        """Queue a job in its place."""
        if not self._arrived or _place(self._arrived[-1]) < _place(work):
            self._arrived.append(work)
            if self._lane is not None and self._lane.complete:
                self._lane = None
        else:
            insort(self._begun, work, key=_place)
            self._lane = None

    def take(self, head: Head) -> Work:
        """Take the first job out, which ``head`` must be."""
        self._lane = None
        begun = self._begun
        if begun and begun[0].head is head:
            return begun.pop(0)
        work = self._arrived.popleft()
        assert work.head is head, "a lane starts its work in order"
        return work

    def remove(self, unwanted: Callable[[Work], bool]) -> list[Work]:
        """Take jobs out wherever they stand, and return them."""
        self._lane = None
        removed = [work for work in (*self._begun, *self._arrived) if unwanted(work)]
        self._begun = [work for work in self._begun if not unwanted(work)]
        self._arrived = deque(work for work in self._arrived if not unwanted(work))
        return removed

    def loaded(self) -> Lane:
        """Return the lane with its first ``depth`` heads, as a tick loads it."""
        if self._lane is None or len(self._lane.heads) < min(self.depth, len(self)):
            self._lane = self._load()
        return self._lane

    def _load(self) -> Lane:
        key, depth = self.key, self.depth
        if self._begun:
            first = sorted((*self._begun[:depth], *islice(self._arrived, depth)), key=_place)[:depth]
        else:
            first = list(islice(self._arrived, depth))
        return Lane(
            id=self.id,
            hops=key.hops,
            further_pools=key.further_pools,
            local=key.local,
            alone=key.alone,
            worker=key.worker,
            queue=key.queue,
            client_id=key.client_id,
            urgency=key.urgency,
            heads=tuple([work.head for work in first]),
            complete=len(self) <= depth,
        )


def _place(work: Work) -> tuple[datetime, int]:
    return work.head.aged_from, work.head.seq
