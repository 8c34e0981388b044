"""How each client has sent work of late: what a forecast supposes to go on. Pure."""

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from aifactory.resources.virtual.lanes import LaneKey

PARTS = 6
_MOST = 1.5  #: times what the middle part brought: a part that brought more was a burst
SOON = 5.0  #: seconds: what came in the last so many says something of the next so many
_HALVES = 10  #: of a second, in ``SOON``
_MOST_LATELY = 3.0
_LIKE_AS_OF_LATE = 3  #: executions: with fewer in the last seconds, it says less
_AT_ONCE, _LEAST_ENDS = 1.0, 2  #: seconds in which who waits for an end sends the next


class Arrived(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An execution of late: the jobs that it began with, a job's units, how many jobs follow; if it ended."""

    key: LaneKey
    at: datetime
    ended_at: datetime | None = None
    jobs: int = 1
    units: int
    follow: int = 0


class Coming(msgspec.Struct, frozen=True, kw_only=True):
    """What a client goes on sending: executions like ``sent``, one by one.

    ``keeps``: one as soon as one of its own ends; else so many ``a_second``, whatever becomes of them, and
    in the next ``SOON`` seconds ``lately`` times as many.
    """

    client_id: UUID
    sent: tuple[Arrived, ...]
    a_second: float = 0.0
    lately: float = 1.0
    keeps: bool = False


def coming(arrived: Sequence[Arrived], since: datetime, now: datetime) -> list[Coming]:
    """Return how each client's work has come since then; ``arrived`` in the order of time.

    Time is cut into six parts; what came in the same part as a burst counts less, so that a backlog that was
    sent at once is not supposed to be sent again, and what came in less than half of the parts not at all.
    """
    seconds = (now - since).total_seconds()
    if seconds <= 0:
        return []
    parts = [min(PARTS - 1, int((one.at - since).total_seconds() * PARTS / seconds)) for one in arrived]
    counts = [parts.count(part) for part in range(PARTS)]
    typical = statistics.median(counts)
    clients: dict[UUID, list[tuple[float, Arrived]]] = {}
    for part, one in zip(parts, arrived, strict=True):
        share = min(1.0, _MOST * typical / counts[part])
        clients.setdefault(one.key.client_id, []).append((share, one))
    found = [_coming(client_id, came, seconds) for client_id, came in clients.items()]
    by_chance = [one for one in found if not one.keeps and typical]
    lately = _lately(by_chance, seconds, now)
    return [one for one in found if one.keeps] + [
        msgspec.structs.replace(one, lately=lately) for one in by_chance
    ]


def _coming(client_id: UUID, came: Sequence[tuple[float, Arrived]], seconds: float) -> Coming:
    sent = tuple(one for _, one in came)
    if _sends_at_ends(sent, seconds):
        return Coming(client_id=client_id, sent=sent, keeps=True)
    a_second = math.fsum(share for share, _ in came) / seconds
    return Coming(client_id=client_id, sent=sent, a_second=a_second)


def _lately(coming: Sequence[Coming], seconds: float, now: datetime) -> float:
    """Return how many times as much as usual has come in the last seconds; near 1 where that may be chance.

    What came at once counts as a few, and no flood for more than three times as much: it is not supposed to
    go on.
    """
    if seconds < 2 * SOON:
        return 1.0
    ago = [(now - one.at).total_seconds() for each in coming for one in each.sent]
    halves = [0] * _HALVES
    for one in ago:
        if one < SOON:
            halves[min(_HALVES - 1, int(one * _HALVES / SOON))] += 1
    usual = SOON * math.fsum(each.a_second for each in coming)
    most = max(2.0, _MOST * statistics.median(halves), _MOST * usual / _HALVES)
    came = math.fsum(min(most, each) for each in halves)
    return min(_MOST_LATELY, (came + _LIKE_AS_OF_LATE) / (usual + _LIKE_AS_OF_LATE))


def _sends_at_ends(sent: Sequence[Arrived], seconds: float) -> bool:
    """Whether a client sends when one of its executions has ended: more often than by chance by half."""
    a_second = len(sent) / seconds
    soon = timedelta(seconds=min(_AT_ONCE, 0.5 / a_second))
    begins = sorted(one.at for one in sent)
    ends = [one.ended_at for one in sent if one.ended_at is not None]
    if len(ends) < _LEAST_ENDS:
        return False
    followed = sum(bisect_left(begins, end) < bisect_right(begins, end + soon) for end in ends)
    chance = 1 - math.exp(-a_second * soon.total_seconds())
    return followed / len(ends) > (1 + chance) / 2
