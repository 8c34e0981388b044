"""When a full cap or the fleet's slots have room again: as a forecast has the runs end. Pure."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

import msgspec

from aifactory.resources.admission import Admission
from aifactory.resources.gate_words import Closed
from aifactory.resources.gates import Gate, Lane
from aifactory.resources.spans import not_before, told_at
from aifactory.resources.virtual.lanes import LaneKey


def with_opening(
    closed: Closed,
    lane: Lane,
    admission: Admission,
    ends: Sequence[tuple[datetime, LaneKey]],
    now: datetime,
) -> Closed:
    """Return a closed cap, or busy slots, with when there is room if nobody else takes it; others as is.

    ``ends``: of the runs that are foreseen to end, in this order. ``admission``: after a plan. ``now``: when
    it is told.
    """
    ending = _ending(closed.gate, lane, admission)
    if ending is None:
        return closed
    after = (at for at, key in ends if at > admission.now and _gives_room(closed.gate, key, lane))
    opens_at = not_before(now, next(islice(after, ending - 1, None), None))
    room = "a slot" if closed.gate is Gate.SLOTS else "a place"
    words = f"Nobody can say when {room} is free."
    if opens_at is not None:
        words = f"{room.capitalize()} is free {told_at(opens_at, now, about='about ')}."
    return msgspec.structs.replace(closed, opens_at=opens_at, detail=f"{closed.detail} {words}")


def _gives_room(gate: Gate | object, ended: LaneKey, lane: Lane) -> bool:
    """Whether a run of another lane leaves room for this one at a gate."""
    if gate is Gate.CLIENT_CAP:
        return ended.client_id == lane.client_id
    if gate is Gate.WORKER_CAP:
        return ended.worker == lane.worker
    return ended.local is lane.local


def _ending(gate: Gate | object, lane: Lane, admission: Admission) -> int | None:
    """Return how many runs have to end before there is room; None: it is not a matter of that."""
    if gate is Gate.CLIENT_CAP:
        running, most = (
            admission.client_running[lane.client_id],
            admission.clients[lane.client_id].max_running,
        )
        return max(1, running - most + 1)
    if gate is Gate.WORKER_CAP:
        running = admission.worker_running[lane.worker]
        return max(1, running - (admission.snapshot.workers[lane.worker].max_running or 0) + 1)
    free = admission.slots[lane.local]
    return 1 - free if gate is Gate.SLOTS and free <= 0 and not lane.alone else None
