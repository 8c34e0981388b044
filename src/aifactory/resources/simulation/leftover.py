"""What still waits when a play has ended, and which gate keeps it, in the live server's words. Pure."""

from datetime import datetime
from uuid import UUID

import msgspec

from aifactory.resources.gate_words import Case, Listener, closed, no_hop
from aifactory.resources.gates import Gate, Snapshot, Wait
from aifactory.resources.policy import Plan
from aifactory.resources.simulation.ground import Ground, client_ids
from aifactory.resources.virtual.fleet import VirtualFleet
from aifactory.resources.virtual.lanes import VirtualLane

_OPERATOR = Listener(operator=True)


class Left(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Jobs that still wait for one reason: how many, whose, in which queues."""

    jobs: int
    clients: tuple[str, ...]
    queues: tuple[str, ...]
    why: str


def left_over(ground: Ground, fleet: VirtualFleet, now: datetime) -> list[Left]:
    """Return what waits in a fleet by what keeps it, the most jobs first; asks the policy once more."""
    if not fleet.filled:
        return []
    snapshot = fleet.snapshot(now)
    plan = Plan(snapshot, now)
    found: dict[str, list[VirtualLane]] = {}
    for wait in plan.decide().waits:
        found.setdefault(_why(ground, snapshot, plan, wait), []).append(fleet.filled[wait.lane_id])
    names: dict[UUID, str] = {client_id: name for name, client_id in client_ids(ground).items()}
    told = [
        Left(
            jobs=sum(map(len, lanes)),
            clients=tuple(dict.fromkeys(names[lane.key.client_id] for lane in lanes)),
            queues=tuple(dict.fromkeys(lane.key.queue for lane in lanes)),
            why=why,
        )
        for why, lanes in found.items()
    ]
    return sorted(told, key=lambda one: -one.jobs)


def _why(ground: Ground, snapshot: Snapshot, plan: Plan, wait: Wait) -> str:
    lane = plan.lanes[wait.lane_id]
    if wait.gate is Gate.SLOTS:
        slots, of = ground.run.slots, ""
        if lane.local:
            slots, of = ground.run.local_slots, " for local work"
        return f"All {slots:,} slots{of} are busy." if slots else f"There are no slots{of}."
    if wait.gate is Gate.NO_HOP:
        return no_hop(plan.admission, lane, wait.opens_at, _OPERATOR).detail
    case = Case(
        admission=plan.admission,
        lane=lane,
        head=next(head for head in lane.heads if head.job_id == wait.job_id),
        hop=plan.hop_of[wait.lane_id],
        wait=wait,
        to=_OPERATOR,
    )
    return closed(case).detail
