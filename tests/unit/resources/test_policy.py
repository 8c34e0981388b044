"""The policy: each gate, the order, the shares, the guard; and what no decision may ever break."""

import random
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import strategies as st
from tests.unit.resources.snapshots import (
    NOW,
    QUEUES,
    client,
    client_id,
    head,
    hop,
    lane,
    pool,
    provider,
    quota,
    random_snapshot,
    snapshot,
)

from aifactory.kernel.ids import ClientId
from aifactory.resources.buckets import MICRO
from aifactory.resources.estimates import promised_opening
from aifactory.resources.gates import Decision, Gate, Snapshot, UsageGate, WorkerGate
from aifactory.resources.interface import Urgency
from aifactory.resources.policy import Plan, plan

random_snapshots = st.integers(0, 2**32).map(lambda seed: random_snapshot(random.Random(seed)))


def started(decision: Decision) -> list[int]:
    return [start.lane.id for start in decision.starts]


def gates(decision: Decision) -> dict[int, Gate]:
    return {wait.lane_id: wait.gate for wait in decision.waits}


def queue(name: str, **changes: Any) -> dict[str, Any]:
    return {**QUEUES, name: msgspec.structs.replace(QUEUES[name], **changes)}


# Gates.

ONE = lane(1, 0, head(1, units=100))
CLOSED: dict[Gate, Snapshot] = {
    Gate.SCHEDULER_OFF: snapshot(ONE, enabled=False),
    Gate.QUEUE_PAUSED: snapshot(ONE, queues=queue("normal", paused=True)),
    Gate.CLIENT_SUSPENDED: snapshot(ONE, clients=[client(0, suspended=True)]),
    Gate.CLIENT_CAP: snapshot(ONE, clients=[client(0, max_running=3, running=3)]),
    Gate.WORKER_PAUSED: snapshot(ONE, workers={"w": WorkerGate(worker="w", active=False)}),
    Gate.WORKER_CAP: snapshot(ONE, workers={"w": WorkerGate(worker="w", max_running=2, running=2)}),
    Gate.NO_HOP: snapshot(ONE, pools=[pool(paused=True)]),
    Gate.QUOTA: snapshot(ONE, quotas={(client_id(0), "a"): (quota(500, 401),)}),
    Gate.UNITS: snapshot(ONE, pools=[pool(level_micro=100 * MICRO - 1)]),
    Gate.REQUESTS: snapshot(ONE, pools=[pool(requests_per_minute=60, requests_micro=MICRO - 1)]),
    Gate.SLOTS: snapshot(ONE, slots=0),
    Gate.BIG_JOB: snapshot(
        ONE,
        lane(2, 1, head(2, units=900_000, waited=6000)),
        pools=[pool(level_micro=10**9, big_job_id=head(2).job_id, big_job_since=NOW - timedelta(seconds=5))],
    ),
}
BARELY_OPEN = {
    Gate.CLIENT_CAP: snapshot(ONE, clients=[client(0, max_running=3, running=2)]),
    Gate.WORKER_CAP: snapshot(ONE, workers={"w": WorkerGate(worker="w", max_running=2, running=1)}),
    Gate.NO_HOP: snapshot(ONE, pools=[pool(blocked_until=NOW)]),
    Gate.QUOTA: snapshot(ONE, quotas={(client_id(0), "a"): (quota(500, 400),)}),
    Gate.UNITS: snapshot(ONE, pools=[pool(level_micro=100 * MICRO)]),
    Gate.REQUESTS: snapshot(ONE, pools=[pool(requests_per_minute=60, requests_micro=MICRO)]),
    Gate.SLOTS: snapshot(ONE, slots=1),
}


@pytest.mark.parametrize("gate", list(Gate))
def test_a_closed_gate_keeps_a_job_and_is_named(gate: Gate) -> None:
    decision = plan(CLOSED[gate], NOW)
    assert 1 not in started(decision)
    assert gates(decision)[1] is gate


@pytest.mark.parametrize("gate", list(BARELY_OPEN))
def test_a_gate_that_is_just_open_lets_a_job_pass(gate: Gate) -> None:
    assert started(plan(BARELY_OPEN[gate], NOW)) == [1]


def test_a_wait_for_units_says_when_they_are_there() -> None:
    decision = plan(snapshot(ONE, pools=[pool(level_micro=40 * MICRO, refill_per_second=20)]), NOW)
    assert decision.next_wake == decision.waits[0].opens_at == NOW + timedelta(seconds=3)


def test_a_job_larger_than_its_pool_has_become_waits_without_a_time_and_is_no_big_job() -> None:
    small = pool(capacity=50, level_micro=50 * MICRO, start_seq=19)
    decision = plan(snapshot(ONE, pools=[small]), NOW)
    assert decision.waits[0].opens_at is None
    assert decision.big_jobs == ()


def test_a_wait_for_a_request_slot_says_when_it_is_there() -> None:
    decision = plan(snapshot(ONE, pools=[pool(requests_per_minute=30, requests_micro=MICRO // 2)]), NOW)
    assert decision.next_wake == NOW + timedelta(seconds=1)


def test_a_lane_takes_its_first_open_hop() -> None:
    two = lane(1, 0, head(1), hops=(hop("a", "q"), hop("b", "p")))
    pools = [pool("a"), pool("b")]
    assert plan(snapshot(two, pools=pools), NOW).starts[0].hop.pool == "a"
    closed = snapshot(two, pools=pools, providers=[provider("q", active=False)])
    assert plan(closed, NOW).starts[0].hop.pool == "b"
    blocked = [pool("a", blocked_until=NOW + timedelta(seconds=9)), pool("b")]
    assert plan(snapshot(two, pools=blocked), NOW).starts[0].hop.pool == "b"


# Circuits.

SOON, LATER, BEFORE = (NOW + timedelta(seconds=seconds) for seconds in (5, 9, -1))


def test_an_open_circuit_sends_a_lane_to_its_next_hop() -> None:
    two = lane(1, 0, head(1), hops=(hop("a", "q"), hop("b", "p")))
    given_snapshot = snapshot(two, pools=[pool("a"), pool("b")], providers=[provider("q", opens_at=SOON)])
    assert plan(given_snapshot, NOW).starts[0].hop == hop("b", "p")


def test_a_lane_without_an_open_hop_waits_until_the_first_one_may_open() -> None:
    three = lane(1, 0, head(1), hops=(hop("a", "q"), hop("b", "p"), hop("a", "gone")))
    closed = [provider("q", opens_at=LATER), provider("gone", active=False)]
    pools = [pool("a"), pool("b", blocked_until=SOON)]
    decision = plan(snapshot(three, pools=pools, providers=closed), NOW)
    assert (gates(decision), decision.next_wake) == ({1: Gate.NO_HOP}, SOON)
    both_closed = [provider("p", opens_at=LATER + timedelta(seconds=1)), *closed]
    decision = plan(snapshot(three, pools=pools, providers=both_closed), NOW)
    assert decision.next_wake == LATER


def test_a_lane_whose_providers_are_all_switched_off_waits_without_a_time() -> None:
    decision = plan(snapshot(ONE, providers=[provider("p", active=False)]), NOW)
    assert (gates(decision), decision.next_wake) == ({1: Gate.NO_HOP}, None)


def test_a_half_open_provider_is_tried_by_one_job_whatever_waits_for_it() -> None:
    lanes = [lane(number, number, head(10 * number), head(10 * number + 1)) for number in range(1, 4)]
    decision = plan(snapshot(*lanes, providers=[provider("p", opens_at=NOW)]), NOW)
    assert len(decision.starts) == 1
    assert set(gates(decision).values()) == {Gate.NO_HOP}


def test_a_half_open_provider_with_a_probe_out_gets_no_other_and_its_lanes_fall_to_their_next_hop() -> None:
    two = lane(1, 0, head(1), hops=(hop("a", "q"), hop("b", "p")))
    one = lane(2, 1, head(2), hops=(hop("a", "q"),))
    tried = [provider("q", opens_at=BEFORE, probes=1)]
    decision = plan(snapshot(two, one, pools=[pool("a"), pool("b")], providers=tried), NOW)
    assert [(start.lane.id, start.hop) for start in decision.starts] == [(1, hop("b", "p"))]
    assert (gates(decision), decision.next_wake) == ({2: Gate.NO_HOP}, None)


def test_when_the_probe_has_left_those_with_another_hop_are_looked_at_again_at_once() -> None:
    two = lane(1, 0, head(1), head(2), hops=(hop("a", "q"), hop("b", "p")))
    pools, tried = [pool("a"), pool("b")], [provider("q", opens_at=BEFORE)]
    decision = plan(snapshot(two, pools=pools, providers=tried), NOW)
    assert [start.hop for start in decision.starts] == [hop("a", "q")]
    assert decision.next_wake == NOW


def test_a_closed_circuit_has_no_limit() -> None:
    many = lane(1, 0, *(head(number) for number in range(5)))
    assert len(plan(snapshot(many, providers=[provider("p", probes=3)]), NOW).starts) == 5


def test_a_probe_that_its_client_may_not_start_is_left_to_another_client() -> None:
    lanes = [lane(1, 0, head(1, waited=9000)), lane(2, 1, head(2))]
    capped = [client(0, max_running=0), client(1)]
    decision = plan(snapshot(*lanes, clients=capped, providers=[provider("p", opens_at=NOW)]), NOW)
    assert started(decision) == [2]


def test_a_hop_is_never_changed_for_lack_of_units() -> None:
    two = lane(1, 0, head(1), hops=(hop("a"), hop("b")))
    decision = plan(snapshot(two, pools=[pool("a", level_micro=0), pool("b")]), NOW)
    assert gates(decision) == {1: Gate.UNITS}


def test_all_pools_of_a_job_are_taken_or_none() -> None:
    both = lane(1, 0, head(1, units=1, needs={"b": 100}), further_pools=("b",))
    decision = plan(snapshot(both, pools=[pool("a"), pool("b", level_micro=99 * MICRO)]), NOW)
    assert (gates(decision), decision.waits[0].pool) == ({1: Gate.UNITS}, "b")
    small = pool("a", level_micro=1 * MICRO)
    assert started(plan(snapshot(both, pools=[small, pool("b", level_micro=100 * MICRO)]), NOW)) == [1]


@pytest.mark.parametrize("closed", [{"paused": True}, {"blocked_until": NOW + timedelta(seconds=9)}])
def test_a_closed_further_pool_closes_the_lane(closed: dict[str, Any]) -> None:
    both = lane(1, 0, head(1), further_pools=("b",))
    assert gates(plan(snapshot(both, pools=[pool("a"), pool("b", **closed)]), NOW)) == {1: Gate.NO_HOP}


def test_an_unknown_pool_closes_its_lane_and_no_other() -> None:
    decision = plan(
        snapshot(
            lane(1, 0, head(1), further_pools=("gone",)),
            lane(2, 0, head(2), hops=(hop("gone"),)),
            lane(3, 0, head(3)),
        ),
        NOW,
    )
    assert started(decision) == [3]


def test_a_dedicated_pool_serves_its_client_only() -> None:
    lanes = [lane(1, 0, head(1)), lane(2, 1, head(2))]
    assert started(plan(snapshot(*lanes, pools=[pool(dedicated_client_id=client_id(1))]), NOW)) == [2]


def test_what_this_process_can_not_call_is_left_to_others_but_counts_as_waiting() -> None:
    big = lane(1, 0, head(1, units=900, waited=9000))
    small = lane(2, 1, head(2), hops=(hop(provider="q"),))
    since = NOW - timedelta(minutes=11)
    full = pool(capacity=1000, level_micro=500 * MICRO, big_job_id=UUID(int=1001), big_job_since=since)
    usage = {(client_id(0), "a"): UsageGate(usage=5.0, active=True)}
    decision = plan(snapshot(big, small, pools=[full], usage=usage, providers=[provider(here=False)]), NOW)
    assert gates(decision) == {1: Gate.NO_HOP, 2: Gate.BIG_JOB}
    assert decision.big_jobs == ()
    assert [change for change in decision.usage if change.client_id == client_id(0)] == []


def test_a_lane_that_falls_to_a_hop_of_this_process_still_counts_where_others_start_it() -> None:
    two = lane(1, 0, head(1), hops=(hop("a", "p"), hop("b", "q")))
    usage = {(client_id(0), "a"): UsageGate(usage=5.0, active=True)}
    pools = [pool("a"), pool("b")]
    decision = plan(snapshot(two, pools=pools, usage=usage, providers=[provider(here=False)]), NOW)
    assert [start.hop.provider for start in decision.starts] == ["q"]
    assert [(change.pool, change.active) for change in decision.usage] == [("b", True)]


def test_a_pool_may_need_longer_than_dates_go() -> None:
    slow = pool(capacity=10**12, refill_per_second=1, level_micro=-(10**12) * MICRO)
    decision = plan(snapshot(ONE, pools=[slow]), NOW)
    assert gates(decision) == {1: Gate.UNITS}
    assert promised_opening(slow, 10, Urgency.NORMAL, ClientId(client_id(0)), NOW).at is not None


def test_the_reserve_is_for_urgent_work_and_lent_after_a_minute_without() -> None:
    lanes = [lane(1, 0, head(1, units=100)), lane(2, 0, head(2, units=100), urgency=Urgency.URGENT)]
    low = pool(capacity=1000, level_micro=150 * MICRO, last_urgent_at=NOW - timedelta(seconds=59))
    assert started(plan(snapshot(*lanes, pools=[low]), NOW)) == [2]
    lent = msgspec.structs.replace(low, last_urgent_at=NOW - timedelta(seconds=60))
    assert started(plan(snapshot(lanes[0], pools=[lent]), NOW)) == [1]


# Order.


def test_the_published_score_is_the_sum_of_its_four_parts() -> None:
    one = lane(1, 0, head(1, waited=60), queue="fast", urgency=Urgency.HIGH)
    working = Plan(snapshot(one, clients=[client(0, "premium")]), NOW)
    working.set_up()
    assert working.score(one) == 30 + 20 + 10 + 10


def test_the_fair_queues_serve_the_client_with_the_least_usage_for_its_weight() -> None:
    lanes = [lane(number, number, head(number)) for number in (0, 1)]
    usage = {
        (client_id(0), "a"): UsageGate(usage=100, active=True),
        (client_id(1), "a"): UsageGate(usage=300, active=True),
    }
    order = started(plan(snapshot(*lanes, usage=usage), NOW))
    assert order == [0, 1]
    weighty = [client(0, "basic"), client(1, "enterprise")]
    assert started(plan(snapshot(*lanes, usage=usage, clients=weighty), NOW)) == [1, 0]


def test_a_client_that_comes_back_does_not_live_on_old_credit() -> None:
    usage = {(client_id(0), "a"): UsageGate(usage=500, active=True), (client_id(1), "a"): UsageGate()}
    decision = plan(snapshot(lane(1, 0, head(1)), lane(2, 1, head(2)), usage=usage), NOW)
    (change,) = decision.usage
    assert (change.client_id, change.usage, change.active) == (client_id(1), 500, True)


def test_a_client_that_waits_without_a_slot_stays_active() -> None:
    usage = {(client_id(0), "a"): UsageGate(usage=5, active=True)}
    assert plan(snapshot(ONE, usage=usage, slots=0), NOW).usage == ()


def test_a_client_with_nothing_to_do_becomes_inactive() -> None:
    usage = {(client_id(5), "a"): UsageGate(usage=5, active=True)}
    (change,) = (one for one in plan(snapshot(ONE, usage=usage), NOW).usage if one.client_id == client_id(5))
    assert not change.active


def test_the_first_start_of_a_pool_is_immediate_work() -> None:
    lanes = [lane(number, 0, head(number), queue=name) for number, name in enumerate(QUEUES)]
    assert started(plan(snapshot(*lanes, slots=1), NOW)) == [0]


def test_immediate_work_leaves_half_of_the_starts_to_others() -> None:
    lanes = [lane(1, 0, head(1), queue="immediate"), lane(2, 0, head(2), queue="normal")]
    crowded = pool(recent_starts=("normal",) * 20 + ("immediate",) * 80)
    decision = plan(snapshot(*lanes, pools=[crowded], slots=1), NOW)
    assert (started(decision), decision.starts[0].by) == ([2], "fair")
    alone = plan(snapshot(lanes[0], pools=[crowded], slots=1), NOW)
    assert started(alone) == [1]


def test_pools_take_turns() -> None:
    lanes = [
        lane(number, 0, *(head(10 * number + place) for place in range(3)), hops=(hop(name),))
        for number, name in enumerate("ab")
    ]
    assert started(plan(snapshot(*lanes, pools=[pool("a"), pool("b")], slots=4), NOW)) == [0, 1, 0, 1]


def test_a_lane_that_runs_dry_while_slots_are_left_is_named() -> None:
    assert plan(snapshot(lane(1, 0, head(1), complete=False), slots=2), NOW).dry == (1,)
    assert plan(snapshot(lane(1, 0, head(1), complete=False), slots=1), NOW).dry == ()
    assert plan(snapshot(lane(1, 0, head(1)), slots=2), NOW).dry == ()


def test_a_job_that_runs_alone_waits_for_an_idle_process_and_keeps_it() -> None:
    lanes = [lane(1, 0, head(1), alone=True), lane(2, 1, head(2))]
    assert started(plan(snapshot(lanes[0]), NOW)) == [1]
    assert gates(plan(snapshot(lanes[0], idle=False), NOW)) == {1: Gate.SLOTS}
    assert len(plan(snapshot(*lanes), NOW).starts) == 1


# Big jobs.

BIG = head(99, units=900, waited=100)
BIG_LANE = lane(9, 9, BIG)


def big_pool(seconds: float, **changes: Any) -> Any:
    return pool(
        capacity=1000,
        level_micro=500 * MICRO,
        big_job_id=BIG.job_id,
        big_job_since=NOW - timedelta(seconds=seconds),
        **changes,
    )


def test_the_guards_turn_remembers_the_first_head_that_lacks_units() -> None:
    low = pool(capacity=1000, level_micro=500 * MICRO, start_seq=19)
    (big,) = plan(snapshot(BIG_LANE, lane(1, 1, head(1)), pools=[low]), NOW).big_jobs
    assert (big.job_id, big.since) == (BIG.job_id, NOW)


def test_the_guards_turn_in_the_middle_of_a_plan_remembers_it_too() -> None:
    low = pool(capacity=1000, level_micro=500 * MICRO, start_seq=17)
    others = lane(1, 1, *(head(number) for number in range(1, 6)), queue="immediate")
    usage = {(client_id(1), "a"): UsageGate(active=True, last_start_seq=5)}
    (big,) = plan(snapshot(BIG_LANE, others, pools=[low], usage=usage), NOW).big_jobs
    assert big.job_id == BIG.job_id


def test_a_big_job_holds_back_lower_scores_after_five_seconds_and_all_but_urgent_after_ten_minutes() -> None:
    lower, higher, urgent = (
        lane(1, 1, head(1)),
        lane(2, 2, head(2, waited=6000)),
        lane(3, 3, head(3), urgency=Urgency.URGENT),
    )

    def starts(seconds: float) -> set[int]:
        return set(started(plan(snapshot(BIG_LANE, lower, higher, urgent, pools=[big_pool(seconds)]), NOW)))

    assert starts(4.9) == {1, 2, 3}
    assert starts(5) == {2, 3}
    assert starts(600) == {3}


def test_a_big_job_that_starts_opens_what_it_held_up() -> None:
    full = msgspec.structs.replace(big_pool(700), level_micro=1000 * MICRO)
    decision = plan(snapshot(BIG_LANE, lane(1, 1, head(1), queue="immediate"), pools=[full]), NOW)
    assert sorted(started(decision)) == [1, 9]
    assert decision.big_jobs[0].job_id is None


@pytest.mark.parametrize(
    "closed",
    [
        {"queues": queue("batch", paused=True)},
        {"clients": [client(9, suspended=True), client(1)]},
        {"clients": [client(9, max_running=0), client(1)]},
    ],
)
def test_a_big_job_that_may_not_start_anyway_holds_nobody_back(closed: dict[str, Any]) -> None:
    big_lane = lane(9, 9, BIG, queue="batch")
    decision = plan(snapshot(big_lane, lane(1, 1, head(1)), pools=[big_pool(700)], **closed), NOW)
    assert started(decision) == [1]
    assert decision.big_jobs[0].job_id is None


def test_a_big_job_holds_nobody_back_in_other_pools() -> None:
    elsewhere = lane(1, 1, head(1), hops=(hop("b"),))
    assert started(plan(snapshot(BIG_LANE, elsewhere, pools=[big_pool(700), pool("b")]), NOW)) == [1]
