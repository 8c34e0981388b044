"""Why a queued job waits, after a plan: its own closed gate, its lane's, or its turn. Pure."""

import msgspec

from aifactory.resources.gate_words import (
    ANYBODY,
    LANE_WIDE,
    Case,
    Closed,
    Listener,
    Obstacle,
    closed,
    no_hop,
    scheduler_off,
)
from aifactory.resources.gates import Gate, Head, Lane, Wait
from aifactory.resources.interface import Hop
from aifactory.resources.policy import Plan


def why(plan: Plan, lane: Lane, head: Head, to: Listener = ANYBODY) -> Closed:
    """Return what keeps a queued job after a decided plan: its own closed gate, or that of its lane's head.

    ``head`` may be deeper in the lane than what the plan has loaded.
    """
    if not plan.snapshot.enabled:
        return scheduler_off()
    hop = plan.hop_of.get(lane.id)
    if hop is None:
        return no_hop(plan.admission, lane, plan.admission.choose_hop(lane)[1], to)
    if _starts(plan, lane, head):
        words = "It starts with the next round."
        return Closed(gate=Obstacle.TURN, detail=words, pool=hop.pool, opens_at=to.now or plan.now)
    wait = None if plan.exhausted(lane) else plan.blocked(lane)
    if wait is None:
        words = "Other jobs of its lane are served before it."
        return Closed(gate=Obstacle.TURN, detail=words, pool=hop.pool)
    first, big = plan.head(lane), _big_job(plan, wait)
    found = closed(Case(admission=plan.admission, lane=lane, head=first, hop=hop, wait=wait, to=to, big=big))
    if first.job_id == head.job_id or wait.gate in LANE_WIDE:
        return found
    return msgspec.structs.replace(
        found, of_job_ahead=True, detail=f"A job ahead of it has to start first. {found.detail}"
    )


def _starts(plan: Plan, lane: Lane, head: Head) -> bool:
    """Whether the plan starts a job."""
    return any(one.job_id == head.job_id for one in lane.heads[: plan.position[lane.id]])


def _big_job(plan: Plan, wait: Wait) -> tuple[Lane, Head, Hop] | None:
    """Return the big job that keeps another."""
    if wait.gate is not Gate.BIG_JOB or wait.pool is None:
        return None
    job_id = plan.pools[wait.pool].big_job_id
    for lane_id, hop in plan.hop_of.items():
        lane = plan.lanes[lane_id]
        if not plan.exhausted(lane) and plan.head(lane).job_id == job_id:
            return lane, plan.head(lane), hop
    return None
