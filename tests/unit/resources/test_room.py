"""Every closed gate is told at once, by the rules that the scheduler has."""

from collections.abc import Collection
from datetime import timedelta

import msgspec
import pytest
from tests.unit.resources.snapshots import (
    NOW,
    QUEUES,
    client,
    head,
    lane,
    pool,
    provider,
    quota,
    snapshot,
)

from aifactory.resources import policy
from aifactory.resources.gate_words import Closed, Listener, Obstacle
from aifactory.resources.gates import Gate, Lane, Snapshot, WorkerGate
from aifactory.resources.interface import Hop, Urgency
from aifactory.resources.room import closed_gates

MICRO = 1_000_000


def closed(
    there: Snapshot, one: Lane, *, urgent: Collection[str] = (), operator: bool = False
) -> dict[Gate | Obstacle, Closed]:
    to = Listener(operator=operator)
    found = list(closed_gates(there, one, one.heads[0], NOW, urgent=urgent, to=to))
    assert len({(gate.gate, gate.pool) for gate in found}) == len(found)
    return {gate.gate: gate for gate in found}


def test_with_room_nothing_is_closed() -> None:
    one = lane(1, 1, head(1))
    assert closed(snapshot(one), one) == {}


def test_every_gate_is_told_with_its_figures_though_others_are_closed_before_it() -> None:
    one = lane(1, 1, head(1, units=50), queue="batch")
    there = snapshot(
        one,
        clients=[client(1, running=4, max_running=4, suspended=True)],
        pools=[
            pool(level_micro=20 * MICRO, paused=True, requests_per_minute=6, requests_micro=400_000),
        ],
        providers=[provider(opens_at=NOW + timedelta(seconds=30))],
        queues={**QUEUES, "batch": msgspec.structs.replace(QUEUES["batch"], paused=True)},
        workers={"w": WorkerGate(worker="w", max_running=2, running=3)},
        quotas={(client(1).client_id, "a"): (quota(100, 60), quota(900, 60, period="month", ends=9e5))},
        slots=0,
        enabled=False,
    )  # fmt: skip
    found = closed(there, one, operator=True)
    assert {gate: (told.pool, told.needed, told.available) for gate, told in found.items()} == {
        Gate.SCHEDULER_OFF: (None, None, None),
        Gate.NO_HOP: ("a", None, None),
        Gate.QUEUE_PAUSED: (None, None, None),
        Gate.CLIENT_SUSPENDED: (None, None, None),
        Gate.CLIENT_CAP: (None, 1, 0),
        Gate.WORKER_CAP: (None, 1, 0),
        Gate.SLOTS: (None, 1, 0),
        Gate.QUOTA: ("a", 50, 40),
        Gate.UNITS: ("a", 50, 20),
        Gate.REQUESTS: ("a", 1, 0),
    }
    assert found[Gate.QUOTA].opens_at == NOW + timedelta(hours=1)
    assert found[Gate.UNITS].opens_at == NOW + timedelta(milliseconds=30)
    assert found[Gate.REQUESTS].opens_at == NOW + timedelta(seconds=6)
    assert found[Gate.QUEUE_PAUSED].detail == "The operator has paused the queue batch."


def test_every_pool_that_lacks_units_is_told_and_a_closed_circuit_says_when_it_opens() -> None:
    one = lane(1, 1, head(1, units=50, needs={"b": 7}), further_pools=("b",))
    pools = [pool(level_micro=0), pool("b", level_micro=0)]
    found = closed_gates(snapshot(one, pools=pools), one, one.heads[0], NOW)
    assert [(gate.gate, gate.pool, gate.needed) for gate in found] == [
        (Gate.UNITS, "a", 50),
        (Gate.UNITS, "b", 7),
    ]
    opens = NOW + timedelta(seconds=30)
    there = snapshot(one, pools=[pool(), pool("b")], providers=[provider(opens_at=opens)])
    assert [(gate, told.opens_at) for gate, told in closed(there, one).items()] == [(Gate.NO_HOP, opens)]


@pytest.mark.parametrize("urgency", [Urgency.NORMAL, Urgency.URGENT])
def test_the_reserve_is_kept_from_all_but_urgent_work_while_urgent_work_waits(urgency: Urgency) -> None:
    one = lane(1, 1, head(1, units=50), urgency=urgency)
    there = snapshot(one, pools=[pool(capacity=1000, level_micro=120 * MICRO)])
    assert closed(there, one) == {}
    found = closed(there, one, urgent={"a"})
    assert list(found) == ([] if urgency is Urgency.URGENT else [Gate.UNITS])
    if found:
        assert (found[Gate.UNITS].needed, found[Gate.UNITS].available) == (50, 20)


def test_what_it_says_is_what_a_plan_does_with_the_work_alone() -> None:
    """The same rules: a head starts in a plan of its own exactly if no gate is told."""
    one = lane(1, 1, head(1, units=50), hops=(Hop(provider="p", model="m", pool="a"),))
    for pools, clients in (
        ([pool(level_micro=49 * MICRO)], None),
        ([pool(level_micro=50 * MICRO)], None),
        ([pool(blocked_until=NOW + timedelta(seconds=1))], None),
        ([pool(blocked_until=NOW)], None),
        ([pool(dedicated_client_id=client(2).client_id)], None),
        ([pool()], [client(1, max_running=0)]),
    ):
        there = snapshot(one, pools=pools, clients=clients)
        assert bool(policy.plan(there, NOW).starts) is (closed(there, one) == {})


def test_a_pool_that_is_gone_is_all_that_is_told() -> None:
    one = lane(1, 1, head(1))
    for lost in (
        msgspec.structs.replace(one, further_pools=("gone",)),
        msgspec.structs.replace(one, hops=(Hop(provider="p", model="m", pool="gone"),)),
    ):
        assert list(closed(snapshot(lost), lost)) == [Gate.NO_HOP]
