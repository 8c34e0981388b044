"""What no decision may ever break, on random snapshots; and broken policies, each of which is caught."""

import itertools
import random
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.resources.rules import Replay, Slow
from tests.unit.resources.snapshots import (
    NOW,
    client_id,
    head,
    hop,
    lane,
    pool,
    quota,
    random_snapshot,
    snapshot,
)

from aifactory.resources.admission import Admission
from aifactory.resources.gates import Decision, Gate, Head, Lane, Snapshot
from aifactory.resources.interface import Hop
from aifactory.resources.policy import Plan, plan
from aifactory.resources.pool_plan import PoolPlan
from aifactory.resources.usage_plan import Standing, UsagePlan

random_snapshots = st.integers(0, 2**32).map(lambda seed: random_snapshot(random.Random(seed)))


def order(decision: Decision) -> list[tuple[int, int, str]]:
    return [(start.lane.id, start.head.seq, start.by) for start in decision.starts]


@settings(max_examples=150)
@given(random_snapshots)
def test_no_decision_breaks_a_gate_or_leaves_a_slot_idle(found: Snapshot) -> None:
    assert Replay(found).faults(plan(found, NOW)) == []


@settings(max_examples=100)
@given(random_snapshots)
def test_the_heaps_start_what_a_policy_starts_that_looks_at_everything_every_time(found: Snapshot) -> None:
    assert order(plan(found, NOW)) == Slow(found).run()


@settings(max_examples=30)
@given(random_snapshots, st.randoms())
def test_the_same_snapshot_gives_the_same_decision_in_whatever_order_it_was_loaded(
    found: Snapshot, rng: random.Random
) -> None:
    copy = msgspec.msgpack.encode(found.lanes)
    decision = plan(found, NOW)
    assert plan(found, NOW) == decision
    assert msgspec.msgpack.encode(found.lanes) == copy
    lanes = list(found.lanes)
    rng.shuffle(lanes)
    again = plan(msgspec.structs.replace(found, lanes=tuple(lanes)), NOW)
    assert order(again) == order(decision)


@settings(max_examples=40)
@given(random_snapshots)
def test_lanes_loaded_deeper_when_they_run_dry_start_what_whole_lanes_would(found: Snapshot) -> None:
    whole = {one.id: msgspec.structs.replace(one, complete=True) for one in found.lanes}
    lanes = tuple(_loaded(one, 1) for one in whole.values())
    working = Plan(msgspec.structs.replace(found, lanes=lanes), NOW)
    while dry := working.advance():
        working.deepen(dry, [_loaded(whole[one], 2 * len(working.lanes[one].heads)) for one in dry])
    want = plan(msgspec.structs.replace(found, lanes=tuple(whole.values())), NOW)
    decision = working.decision()
    assert order(decision) == order(want)
    assert (decision.usage, decision.big_jobs, decision.urgent_pools) == (
        want.usage,
        want.big_jobs,
        want.urgent_pools,
    )


def _loaded(whole: Lane, depth: int) -> Lane:
    return msgspec.structs.replace(whole, heads=whole.heads[:depth], complete=len(whole.heads) < depth)


# Broken policies.


BOTH: dict[str, Any] = {"hops": (hop("a"),), "further_pools": ("b",)}
SINCE = NOW - timedelta(minutes=11)
OLD, YOUNG = head(1, units=30, needs={"b": 30}), head(2, units=30, needs={"b": 30})
POINTED = [  # what random snapshots seldom come to
    snapshot(
        lane(1, 0, OLD, **BOTH),
        lane(2, 1, YOUNG, **BOTH),
        pools=[
            pool("a", big_job_id=OLD.job_id, big_job_since=SINCE),
            pool("b", big_job_id=YOUNG.job_id, big_job_since=SINCE + timedelta(seconds=9)),
        ],
    ),
    snapshot(
        lane(1, 0, head(1), queue="immediate"),
        lane(2, 0, head(2), queue="normal"),
        pools=[pool(recent_starts=("normal",) * 20 + ("immediate",) * 80)],
    ),
    snapshot(
        lane(1, 0, head(1), head(2), **BOTH),
        pools=[pool("a"), pool("b", requests_per_minute=60, requests_micro=10**6)],
    ),
    snapshot(lane(1, 0, head(1), head(2)), quotas={(client_id(0), "a"): (quota(15),)}),
]


def _cap_off_by_one(self: Any, one: Lane) -> Gate | None:
    who = self.clients[one.client_id]
    self.client_running[one.client_id] -= 1
    gate = _LANE_GATE(self, one)
    self.client_running[one.client_id] += 1
    return gate if who.max_running else Gate.CLIENT_CAP


def _quota_counted_at_settle(self: Any, one: Lane, first: Head, used: Hop) -> None:
    _TAKE(self, one, first, used)
    self.quota_taken.clear()


def _units_counted_late(self: Any, units: int) -> None:
    self.requests_micro -= 10**6


def _requests_of_the_hop_only(self: Any, one: Lane, first: Head, used: Hop) -> None:
    before = {name: self.pools[name].requests_micro for name in one.further_pools if name != used.pool}
    _TAKE(self, one, first, used)
    for name, level in before.items():
        self.pools[name].requests_micro = level


def _reserve_lent_while_urgent_work_waits(self: Any, *_: Any) -> None:
    """Only what has started counts as urgent."""


def _one_units_for_every_pool(self: Any, first: Head, used: Hop) -> dict[str, int]:
    return dict.fromkeys((used.pool, *self.further_pools), first.units)


def _first_pool_only(self: Any, first: Head, used: Hop) -> dict[str, int]:
    return {used.pool: first.units}


def _fairness_of_the_beginning(self: Any, units: int, seq: int) -> None:
    self.last_start_seq = seq


_LANE_GATE, _TAKE = Admission.lane_gate, Admission.take
BROKEN_TWINS: dict[str, tuple[Any, str, Any]] = {
    "a cap that is off by one": (Admission, "lane_gate", _cap_off_by_one),
    "no units": (Admission, "_lacks_units", lambda *_: None),
    "units charged late": (PoolPlan, "take", _units_counted_late),
    "no charge at all": (PoolPlan, "take", lambda *_: None),
    "no quota": (Admission, "over_quota", lambda *_: None),
    "a quota counted at settle": (Admission, "take", _quota_counted_at_settle),
    "request slots of the first pool only": (Admission, "take", _requests_of_the_hop_only),
    "the same units from every pool": (Lane, "draws", _one_units_for_every_pool),
    "nothing from further pools": (Lane, "draws", _first_pool_only),
    "no reserve": (PoolPlan, "floor_micro", lambda *_: 0),
    "a reserve never lent": (PoolPlan, "floor_micro", lambda self, _: self.reserve_micro),
    "a reserve lent while urgent work waits": (
        Admission,
        "note_urgent",
        _reserve_lent_while_urgent_work_waits,
    ),
    "a big job for ever": (Plan, "_let_pass", lambda *_: None),
    "a big job that holds nobody up": (Plan, "_behind_big_job", lambda *_: None),
    "two big jobs that wait for each other": (Plan, "_is_older", lambda *_: False),
    "a big job that can't start": (Plan, "_may_be_big", lambda *_: True),
    "any hop": (Admission, "_pool_opens", lambda self, *_: self.now),
    "any provider": (Admission, "_provider_opens", lambda self, *_: self.now),
    "many probes": (Admission, "_probe_is_out", lambda *_: False),
    "lanes forgotten": (Plan, "_push", lambda *_: None),
    "no guard": (Plan, "_guarded", lambda *_: None),
    "no shares": (PoolPlan, "behind_share", lambda _, shares: dict.fromkeys(shares, 0)),
    "immediate first, always": (PoolPlan, "mostly", lambda *_: False),
    "usage that starts don't change": (Standing, "charge", _fairness_of_the_beginning),
}


def _on_old_credit(self: Any, pool: str, clients: list[Any]) -> Any:
    known = {key: gate.usage for key, gate in self.snapshot.usage.items()}
    yield from _ACTIVATE(self, pool, clients)
    for who in clients:
        self.standings[who, pool].usage = known.get((who, pool), 0.0)


_ACTIVATE = UsagePlan._activate
BROKEN_TWINS["clients that live on old credit"] = (UsagePlan, "_activate", _on_old_credit)


@pytest.mark.parametrize("twin", list(BROKEN_TWINS))
def test_a_broken_twin_of_the_policy_is_caught(twin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(order(plan(found, NOW)) == Slow(found).run() for found in POINTED)
    monkeypatch.setattr(*BROKEN_TWINS[twin])
    for found in itertools.chain(POINTED, (random_snapshot(random.Random(seed)) for seed in range(1000))):
        decision = plan(found, NOW)
        if Replay(found).faults(decision) or order(decision) != Slow(found).run():
            return
    raise AssertionError(f"{twin}: not caught")
