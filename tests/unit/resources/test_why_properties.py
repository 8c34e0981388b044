"""On random snapshots the told gate is the closed one, obstacles are those of the hops, promises are kept."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.resources.rules import Rules, Slow
from tests.unit.resources.snapshots import NOW, client_id, head, hop, lane, random_snapshot, snapshot

from aifactory.resources.admission import Admission
from aifactory.resources.estimates import promised_opening
from aifactory.resources.gate_words import LANE_WIDE, Obstacle
from aifactory.resources.gates import Gate, Snapshot
from aifactory.resources.interface import Urgency
from aifactory.resources.policy import Plan
from aifactory.resources.pool_plan import PoolPlan
from aifactory.resources.why import why

random_snapshots = st.integers(0, 2**32).map(lambda seed: random_snapshot(random.Random(seed)))
SAME: dict[Any, Gate] = {
    Gate.CLIENT_SUSPENDED: Gate.CLIENT_CAP,
    Gate.WORKER_PAUSED: Gate.WORKER_CAP,
}  # one to the rules


@settings(max_examples=80, deadline=None)
@given(random_snapshots)
def test_the_told_gate_is_the_one_that_the_rules_find_closed_after_the_plan(found: Snapshot) -> None:
    plan, rules = Plan(found, NOW), Slow(found)
    plan.decide()
    rules.run()
    for one in found.lanes:
        used = rules.hops[one.id]
        place = rules.started.get(one.id, 0)
        for index, each in enumerate(one.heads):
            said = why(plan, one, each)
            if used is None:
                assert said.gate is Gate.NO_HOP
            elif index < place or place == len(one.heads):
                assert said.gate is Obstacle.TURN
            else:
                first = one.heads[place]
                expected = rules.closed(one, first, used) or (rules.held_up(one, first) and Gate.BIG_JOB)
                assert SAME.get(said.gate, said.gate) == expected
                assert said.of_job_ahead is (index > place and said.gate not in LANE_WIDE)
            assert said.detail.endswith(".")


@settings(max_examples=80, deadline=None)
@given(random_snapshots)
def test_a_lane_has_no_hop_exactly_when_a_further_pool_or_each_hop_is_told_closed(found: Snapshot) -> None:
    admission = Admission(found, NOW)
    for one in found.lanes:
        hop_found, opens_at = admission.choose_hop(one)
        closed = admission.hop_obstacles(one)
        pools = {each.name for each in closed if each.name in one.further_pools}
        each_closed = all({each.pool, each.provider} & {gone.name for gone in closed} for each in one.hops)
        if hop_found is None:
            assert pools or each_closed
            assert opens_at is None or opens_at in {each.opens_at for each in closed}
        else:
            assert not pools & set(one.further_pools)


@settings(max_examples=80, deadline=None)
@given(random_snapshots, st.integers(0, 1200), st.sampled_from(list(Urgency)), st.integers(0, 2))
def test_what_is_promised_of_a_pool_is_never_before_it_opens_and_the_same_while_the_reserve_is_kept(
    found: Snapshot, units: int, urgency: Urgency, who: int
) -> None:
    for gate in found.pools.values():
        promised = promised_opening(gate, units, urgency, client_id(who), NOW)  # type: ignore[arg-type]
        plan = PoolPlan(gate, NOW)
        opening = plan.opens_at(units, urgency, client_id(who))
        assert (opening.at is None) is (opening.obstacle is not None)
        if promised.at is not None:
            assert opening.at is not None
            assert opening.at <= promised.at
        plan.urgent_waits = True
        assert plan.opens_at(units, urgency, client_id(who)) == promised
        assert opening.obstacle in (None, "paused", "dedicated", "too_small", "not_refilled")
        _opens_when_told(gate, units, urgency, who)


def _opens_when_told(gate: Any, units: int, urgency: Urgency, who: int) -> None:
    """A head on an open pool starts at once exactly when the pool is told to be open now."""
    one = lane(1, who, head(1, units=units), urgency=urgency, hops=(hop(gate.pool),))
    found = snapshot(one, pools=[gate])
    working = Plan(found, NOW)
    working.set_up()
    opening = working.pools[gate.pool].opens_at(units, urgency, one.client_id)
    rules = Rules(found)
    assert (opening.at == NOW) is (rules.closed(one, one.heads[0], rules.hops[1]) is None)
