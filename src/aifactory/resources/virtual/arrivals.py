"""What clients go on sending while a forecast runs: about as fast as of late, or as their work ends. Pure."""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from heapq import merge
from itertools import count, cycle
from operator import itemgetter
from uuid import UUID

import msgspec

from aifactory.resources.gates import Snapshot
from aifactory.resources.virtual.clock import Action
from aifactory.resources.virtual.coming import SOON, Arrived, Coming
from aifactory.resources.virtual.lanes import LaneKey
from aifactory.resources.virtual.supposed import GOLDEN

Come = Callable[[Arrived, datetime], None]
_LASTS = 60.0  #: seconds after which a third of a rate is left


class Arrivals:
    """What comes, and ``come``, which queues it."""

    def __init__(self, coming: Sequence[Coming], snapshot: Snapshot, now: datetime, come: Come) -> None:
        self._coming = {one.client_id: one for one in _with_gates(coming, snapshot)}
        self._next_of = {client_id: cycle(one.sent) for client_id, one in self._coming.items()}
        self._now = now
        self._come = come

    def evenly(self) -> Iterator[tuple[datetime, Action]]:
        """Give what comes whatever becomes of it, in the order of time."""
        sent = [self._sent(one, number) for number, one in enumerate(self._coming.values()) if one.a_second]
        return merge(*sent, key=itemgetter(0))

    def at_end(self, client_id: UUID, now: datetime) -> None:
        """Have a client that keeps its executions under way send the next as one has ended."""
        coming = self._coming.get(client_id)
        if coming is not None and coming.keeps:
            self._send(client_id, now)

    def _sent(self, coming: Coming, number: int) -> Iterator[tuple[datetime, Action]]:
        """Give a client's arrivals; clients of the same rate don't send at the same moments."""
        for place in count(GOLDEN * (number + 1) % 1):
            seconds = seconds_of(place, coming)
            if seconds is None:
                return
            yield self._now + timedelta(seconds=seconds), partial(self._send, coming.client_id)

    def _send(self, client_id: UUID, now: datetime) -> None:
        """Have a client send an execution like its latest ones, in their order."""
        self._come(next(self._next_of[client_id]), now)


def seconds_of(place: float, coming: Coming) -> float | None:
    """Return when so many have come: at first as fast as in the last seconds, then as of late, ever slower.

    None: so many don't. What came in a minute says something of the next, and less of those after it: as
    fast for ever, a rate little above the true one would be foretold to keep the least urgent work for ever.
    """
    at_first = coming.a_second * coming.lately
    later = (place - at_first * SOON) / (coming.a_second * _LASTS)
    if later < 0:
        return place / at_first
    return SOON - _LASTS * math.log1p(-later) if later < 1 else None


def _with_gates(coming: Sequence[Coming], snapshot: Snapshot) -> Iterator[Coming]:
    """Give what comes, but for work in lanes whose gates are not all known."""
    for one in coming:
        sent = tuple(arrived for arrived in one.sent if _has_gates(arrived.key, snapshot))
        if sent:
            yield msgspec.structs.replace(one, sent=sent, a_second=one.a_second * len(sent) / len(one.sent))


def _has_gates(key: LaneKey, snapshot: Snapshot) -> bool:
    """Whether a snapshot has all gates of a lane that may have no work in it now."""
    pools = {hop.pool for hop in key.hops} | set(key.further_pools)
    there = key.client_id in snapshot.clients and key.worker in snapshot.workers
    return there and key.queue in snapshot.queues and pools <= snapshot.pools.keys()
