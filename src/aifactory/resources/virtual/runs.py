"""Runs of a fleet in memory, and what those that are about to end lend to the next starts. Pure."""

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from aifactory.resources.interface import Hop
from aifactory.resources.virtual.lanes import LaneKey, VirtualLane, Work


class VirtualRun(msgspec.Struct, kw_only=True, gc=False):
    """A job that runs from ``started_at`` to ``ends_at``; ``planned_at`` is the tick that started it.

    ``units`` is what its start took from its hop's pool; ``by``: guard, share, score or fair.
    """

    work: Work
    lane: VirtualLane
    hop: Hop
    units: int
    seq: int
    by: str
    planned_at: datetime
    started_at: datetime
    ends_at: datetime


class Lent:
    """Slots and caps of runs that end before the next tick: a start that takes one begins when it is free.

    So a tick may plan for a whole window without an idle slot in it. Units are not lent: what a run gives
    back, the tick after its end has.
    """

    def __init__(self, ending: Sequence[VirtualRun], turnaround: timedelta) -> None:
        self.slots = {False: 0, True: 0}
        self._turnaround = turnaround
        self.by_client = Counter(run.lane.key.client_id for run in ending)
        self.by_worker = Counter(run.lane.key.worker for run in ending)
        self._free: defaultdict[object, deque[datetime]] = defaultdict(deque)
        for run in ending:
            key = run.lane.key
            self.slots[key.local] += 1
            for gate in (key.local, key.client_id, key.worker):
                self._free[gate].append(run.ends_at)

    def __bool__(self) -> bool:
        return bool(self.by_client)

    def begin(self, key: LaneKey, now: datetime, *, slot: bool, client: bool, worker: bool) -> datetime:
        """Return when a start may begin: at once where a slot and both caps are free, else as they come."""
        begins = now
        for gate, is_free in ((key.local, slot), (key.client_id, client), (key.worker, worker)):
            if not is_free and (times := self._free[gate]):
                begins = max(begins, times.popleft() + self._turnaround)
        return begins
