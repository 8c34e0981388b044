"""When a full cap or the fleet's slots have room again: as a forecast has the runs end. Pure."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

import msgspec

from aifactory.resources.admission import Admission
from aifactory.resources.gate_words import Closed, spoken
from aifactory.resources.gates import Gate, Lane
from aifactory.resources.virtual.lanes import LaneKey


def with_opening(
    closed: Closed, lane: Lane, admission: Admission, ends: Sequence[tuple[datetime, LaneKey]]
) -> Closed:
    """Return a closed cap, or busy slots, with when there is room if nobody else takes it; others as is.

    ``ends``: of the runs that are foreseen to end, in this order. ``admission``: after a plan.
    """
    ending = _ending(closed.gate, lane, admission)
    if ending is None:
        return closed
    after = (
        at
        for at, key in ends
        if at > admission.now
        and (closed.gate is not Gate.CLIENT_CAP or key.client_id == lane.client_id)
        and (closed.gate is not Gate.WORKER_CAP or key.worker == lane.worker)
        and (closed.gate is not Gate.SLOTS or key.local is lane.local)
    )
    opens_at = next(islice(after, ending - 1, None), None)
    room = "a slot" if closed.gate is Gate.SLOTS else "a place"
    words = f"Nobody can say when {room} is free."
    if opens_at is not None:
        seconds = (opens_at - admission.now).total_seconds()
        words = f"{room.capitalize()} is free in about {spoken(seconds)}."
    return msgspec.structs.replace(closed, opens_at=opens_at, detail=f"{closed.detail} {words}")


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
