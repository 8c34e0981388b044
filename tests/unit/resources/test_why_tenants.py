"""What a client is told of each gate names no other client, none of its pools, jobs or figures."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.unit.resources.snapshots import (
    NOW,
    QUEUES,
    client,
    client_id,
    head,
    hop,
    lane,
    pool,
    quota,
    snapshot,
)

from aifactory.resources.buckets import MICRO
from aifactory.resources.freeing import with_opening
from aifactory.resources.gate_words import Closed, Fleet, Listener
from aifactory.resources.gates import Gate, Snapshot, WorkerGate
from aifactory.resources.interface import Urgency
from aifactory.resources.policy import Plan
from aifactory.resources.room import closed_gates
from aifactory.resources.virtual.lanes import LaneKey
from aifactory.resources.why import why

THEIRS = 7919  #: every figure of the other client, and of the fleet
FLEET = Fleet(processes=THEIRS, slots=THEIRS, local_slots=THEIRS)
OURS = lane(1, 0, head(1, units=50, waited=9), hops=(hop("acme-gpt"), hop("a"), hop("acme-gpt-2")))
BIG = lane(2, 1, head(2, units=THEIRS, waited=THEIRS), urgency=Urgency.HIGH, queue="fast")
ACME = [
    pool(name, dedicated_client_id=client_id(1), level_micro=THEIRS * MICRO, capacity=THEIRS)
    for name in ("acme-gpt", "acme-gpt-2")
]


def world(*, own: Any = None, shared: Any = None, **changes: Any) -> Snapshot:
    """Our client and the other one, whose lane and figures are there whatever gate is closed."""
    clients = [own or client(0), client(1, running=THEIRS, max_running=10**5)]
    elsewhere = msgspec.structs.replace(BIG, hops=(hop("acme-gpt"),))
    made = snapshot(*changes.pop("lanes", (OURS, elsewhere)), clients=clients, **changes)
    pools = {one.pool: one for one in [shared or pool("a", last_urgent_at=NOW), *ACME]}
    return msgspec.structs.replace(made, pools=pools)


def gathering() -> Snapshot:
    big = BIG.heads[0].job_id
    shared = {"capacity": 10_000, "level_micro": 4100 * MICRO, "refill_per_second": 166}
    held = pool("a", **shared, big_job_id=big, big_job_since=NOW - timedelta(seconds=6))
    return world(lanes=(OURS, BIG), shared=held)


PAUSED = {**QUEUES, "normal": msgspec.structs.replace(QUEUES["normal"], paused=True)}
DAY = {(client_id(0), "a"): (quota(40),), (client_id(1), "a"): (quota(THEIRS, THEIRS),)}
SAID: dict[Gate, tuple[Snapshot, str]] = {
    Gate.SCHEDULER_OFF: (world(enabled=False), "The operator has stopped the scheduler."),
    Gate.NO_HOP: (
        world(shared=pool("a", paused=True)),
        "None of its models can be called: one of its pools is not open to it; the pool a is paused.",
    ),
    Gate.QUEUE_PAUSED: (world(queues=PAUSED), "The operator has paused the queue normal."),
    Gate.CLIENT_SUSPENDED: (
        world(own=client(0, suspended=True)),
        "The operator has suspended this client.",
    ),
    Gate.CLIENT_CAP: (
        world(own=client(0, max_running=3, running=3)),
        "3 jobs of this client run, and no more may at once.",
    ),
    Gate.WORKER_PAUSED: (
        world(workers={"w": WorkerGate(worker="w", active=False, running=THEIRS)}),
        "The worker w is not active.",
    ),
    Gate.WORKER_CAP: (
        world(workers={"w": WorkerGate(worker="w", max_running=THEIRS, running=THEIRS)}),
        "As many jobs of the worker w run as may at once.",
    ),
    Gate.SLOTS: (world(slots=0), "All slots are busy."),
    Gate.QUOTA: (
        world(quotas=DAY),
        "This client's day's quota of a has 40 of the 50 units needed, and never has more than 40.",
    ),
    Gate.UNITS: (
        world(shared=pool("a", level_micro=20 * MICRO, refill_per_second=10, reserved_percent=0)),
        "The a pool has 20 of the 50 units needed; enough in 3 s.",
    ),
    Gate.REQUESTS: (
        world(shared=pool("a", requests_per_minute=60, requests_micro=400_000)),
        "The a pool has had its 60 requests of this minute; the next in 0.6 s.",
    ),
    Gate.BIG_JOB: (
        gathering(),
        "The a pool saves up for a larger request that goes first; enough in about 30 s.",
    ),
}


def reveals(told: Closed) -> list[str]:
    said = repr(msgspec.to_builtins(told))
    secrets = ["acme", f"{THEIRS}", f"{THEIRS:,}", str(client_id(1)), str(BIG.heads[0].job_id), "2 h"]
    return [secret for secret in secrets if secret in said]


def explained(found: Snapshot, *, operator: bool) -> list[Closed]:
    plan = Plan(found, NOW)
    plan.decide()
    told = why(plan, OURS, OURS.heads[0], Listener(fleet=FLEET, operator=operator))
    ends = [(NOW + timedelta(seconds=12), _key(client)) for client in (0, 1)]
    gates = closed_gates(found, OURS, OURS.heads[0], NOW, to=Listener(fleet=FLEET, operator=operator))
    return [told, with_opening(told, OURS, plan.admission, ends, NOW), *gates]


def _key(client: int) -> LaneKey:
    return LaneKey((hop("acme-gpt"),), "w", "fast", client_id(client), Urgency.HIGH)


@pytest.mark.parametrize("gate", Gate)
def test_of_no_gate_a_client_is_told_anything_that_is_anothers(gate: Gate) -> None:
    found, sentence = SAID[gate]
    told, *more = explained(found, operator=False)
    assert (told.gate, told.detail) == (gate, sentence)
    assert [reveals(one) for one in (told, *more)] == [[]] * (1 + len(more))
    if gate in (Gate.WORKER_CAP, Gate.SLOTS):
        assert (told.needed, told.available) == (None, None)


def test_the_operator_is_told_all_of_it_and_a_client_the_figures_of_its_own_larger_job() -> None:
    closed = {gate for gate, (found, _) in SAID.items() if reveals(explained(found, operator=True)[0])}
    assert closed == {Gate.NO_HOP, Gate.WORKER_CAP, Gate.SLOTS, Gate.BIG_JOB}
    own = msgspec.structs.replace(BIG, client_id=client_id(0))
    (ours, *_) = explained(msgspec.structs.replace(gathering(), lanes=(OURS, own)), operator=False)
    assert ours.detail.startswith("The a pool gathers 7,919 units for a larger job that has waited 2 h")


def test_with_all_its_pools_anothers_a_lane_is_told_no_pool_and_no_units() -> None:
    only = msgspec.structs.replace(OURS, hops=OURS.hops[:1])
    found = world(lanes=(only,))
    told = list(closed_gates(found, only, only.heads[0], NOW))
    assert [(one.gate, one.pool) for one in told] == [(Gate.NO_HOP, None)]
    bigger = msgspec.structs.replace(only, heads=(head(1, units=10**6),))
    gates = closed_gates(found, bigger, bigger.heads[0], NOW, to=Listener(operator=True))
    assert [one.gate for one in gates] == [Gate.NO_HOP, Gate.UNITS]
    assert not any(reveals(one) for one in closed_gates(found, bigger, bigger.heads[0], NOW))


def test_a_cap_and_the_slots_open_when_so_many_runs_are_foreseen_to_end() -> None:
    """Of the lane's own client, worker or kind of slot, and after the plan's time."""
    ends = [
        (NOW + timedelta(seconds=at), key)
        for at, key in ((-1, _key(0)), (4, _key(1)), (7, _key(0)), (9, _key(0)._replace(worker="v")))
    ]
    opens: dict[str, tuple[float | None, str]] = {}
    for name, found in {
        "cap": world(own=client(0, max_running=3, running=3)),
        "lowered cap": world(own=client(0, max_running=2, running=3)),
        "worker": SAID[Gate.WORKER_CAP][0],
        "slots": world(slots=0),
        "never": world(own=client(0, max_running=0, running=3)),
        "units": SAID[Gate.UNITS][0],
    }.items():
        plan = Plan(found, NOW)
        plan.decide()
        told = with_opening(why(plan, OURS, OURS.heads[0]), OURS, plan.admission, ends, NOW)
        at = None if told.opens_at is None else (told.opens_at - NOW).total_seconds()
        opens[name] = at, told.detail.rpartition(". ")[2]
    assert opens == {
        "cap": (7, "A place is free in about 7 s."),
        "lowered cap": (9, "A place is free in about 9 s."),
        "worker": (4, "A place is free in about 4 s."),
        "slots": (4, "A slot is free in about 4 s."),
        "never": (None, "Nobody can say when a place is free."),
        "units": (3, "The a pool has 20 of the 50 units needed; enough in 3 s."),
    }
    alone = msgspec.structs.replace(OURS, alone=True)
    plan = Plan(world(lanes=(alone,), idle=False), NOW)
    plan.decide()
    kept = why(plan, alone, alone.heads[0])
    assert (kept.gate, with_opening(kept, alone, plan.admission, ends, NOW)) == (Gate.SLOTS, kept)
