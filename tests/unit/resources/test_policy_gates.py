"""Gates of several pools, quotas, the reserve and its recall, big jobs across pools; rows that are gone."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.unit.resources.snapshots import NOW, client, client_id, head, hop, lane, pool, quota, snapshot

from aifactory.resources.buckets import MICRO
from aifactory.resources.gates import Decision, Gate, UsageGate
from aifactory.resources.interface import Urgency
from aifactory.resources.policy import plan

BOTH: dict[str, Any] = {"hops": (hop("a"),), "further_pools": ("b",)}
SECOND = timedelta(seconds=1)


def started(decision: Decision) -> list[int]:
    return [start.lane.id for start in decision.starts]


def gates(decision: Decision) -> dict[int, tuple[Gate, str | None]]:
    return {wait.lane_id: (wait.gate, wait.pool) for wait in decision.waits}


# Needs of several pools.


def test_each_pool_gives_its_own_units_and_a_request_slot() -> None:
    mail = lane(1, 0, *(head(n, units=10, needs={"b": 3}) for n in range(4)), **BOTH)
    few_units = [pool("a", level_micro=25 * MICRO), pool("b")]
    assert len(plan(snapshot(mail, pools=few_units), NOW).starts) == 2
    few_needs = [pool("a"), pool("b", level_micro=11 * MICRO)]
    assert len(plan(snapshot(mail, pools=few_needs), NOW).starts) == 3
    few_slots = [pool("a"), pool("b", requests_per_minute=60, requests_micro=MICRO)]
    decision = plan(snapshot(mail, pools=few_slots), NOW)
    assert (len(decision.starts), gates(decision)) == (1, {1: (Gate.REQUESTS, "b")})
    assert decision.next_wake == NOW + SECOND


def test_a_pool_gives_nothing_even_when_it_owes_some() -> None:
    mail = lane(1, 0, head(1, units=10), **BOTH)
    assert started(plan(snapshot(mail, pools=[pool("a"), pool("b", level_micro=-5 * MICRO)]), NOW)) == [1]


def test_a_pool_that_is_both_hop_and_further_gives_the_sum() -> None:
    one = lane(1, 0, head(1, units=10, needs={"a": 5}), hops=(hop("a"),), further_pools=("a",))
    assert started(plan(snapshot(one, pools=[pool("a", level_micro=15 * MICRO)]), NOW)) == [1]
    short = plan(snapshot(one, pools=[pool("a", level_micro=15 * MICRO - 1)]), NOW)
    assert gates(short) == {1: (Gate.UNITS, "a")}


@pytest.mark.parametrize(
    "closed", [{"paused": True}, {"blocked_until": NOW + SECOND}, {"dedicated_client_id": client_id(7)}]
)
def test_a_further_pool_closes_a_lane_as_its_own_does(closed: dict[str, Any]) -> None:
    mail = lane(1, 0, head(1, needs={"b": 1}), **BOTH)
    decision = plan(snapshot(mail, lane(2, 0, head(2)), pools=[pool("a"), pool("b", **closed)]), NOW)
    assert (started(decision), gates(decision)) == ([2], {1: (Gate.NO_HOP, None)})


def test_a_further_pools_reserve_is_kept_for_urgent_work() -> None:
    mail = lane(1, 0, head(1, needs={"b": 1}), **BOTH)
    urgent = lane(2, 0, head(2, needs={"b": 1}), urgency=Urgency.URGENT, **BOTH)
    low = pool("b", capacity=100, level_micro=10 * MICRO, last_urgent_at=NOW - SECOND)
    decision = plan(snapshot(mail, urgent, pools=[pool("a"), low]), NOW)
    assert (started(decision), gates(decision)) == ([2], {1: (Gate.UNITS, "b")})


# The reserve.


def test_urgent_work_that_waits_ends_the_loan_of_the_reserve_at_once() -> None:
    small = lane(1, 0, *(head(n, units=5) for n in range(9)))
    urgent = lane(2, 1, head(99, units=60), urgency=Urgency.URGENT)
    lent = pool(capacity=100, level_micro=10 * MICRO, refill_per_second=1)
    assert len(plan(snapshot(small, pools=[lent]), NOW).starts) == 2
    recalled = plan(snapshot(small, urgent, pools=[lent]), NOW)
    assert (recalled.starts, recalled.urgent_pools) == ((), ("a",))
    opens = {wait.lane_id: wait.opens_at for wait in recalled.waits}
    assert opens == {1: NOW + 5 * SECOND, 2: NOW + 50 * SECOND}


@pytest.mark.parametrize(
    "idle",
    [
        {"clients": [client(0), client(1, suspended=True)]},
        {"clients": [client(0), client(1, max_running=0)]},
        {"quotas": {(client_id(1), "a"): (quota(10),)}},
        {"pools": [pool(capacity=59, level_micro=5 * MICRO)]},
    ],
)
def test_urgent_work_that_could_not_start_anyway_keeps_no_reserve(idle: dict[str, Any]) -> None:
    urgent = lane(2, 1, head(99, units=60), urgency=Urgency.URGENT)
    given: dict[str, Any] = {"pools": [pool(capacity=100, level_micro=5 * MICRO)], **idle}
    decision = plan(snapshot(lane(1, 0, head(1, units=5)), urgent, **given), NOW)
    assert (started(decision), decision.urgent_pools) == ([1], ())


def test_a_wait_below_the_reserve_ends_when_the_pool_fills_or_the_reserve_is_lent_again() -> None:
    one = lane(1, 0, head(1, units=20))

    def opens(refill: int, urgent_ago: int) -> Any:
        last = NOW - urgent_ago * SECOND
        low = pool(capacity=100, level_micro=25 * MICRO, refill_per_second=refill, last_urgent_at=last)
        return plan(snapshot(one, pools=[low]), NOW).next_wake

    assert opens(refill=1, urgent_ago=10) == NOW + 5 * SECOND
    assert opens(refill=1, urgent_ago=58) == NOW + 2 * SECOND
    assert opens(refill=0, urgent_ago=20) == NOW + 40 * SECOND


# Quotas.


def test_a_quota_closes_its_client_only_until_its_period_ends() -> None:
    lanes = [lane(1, 0, *(head(n, units=40) for n in range(3))), lane(2, 1, head(9, units=40))]
    quotas = {(client_id(0), "a"): (quota(100, 10, ends=60), quota(500, 450, period="month", ends=900))}
    decision = plan(snapshot(*lanes, quotas=quotas), NOW)
    assert (sorted(started(decision)), gates(decision)) == ([1, 2], {1: (Gate.QUOTA, "a")})
    assert decision.next_wake == NOW + timedelta(seconds=900)


def test_a_job_larger_than_a_quota_has_become_waits_without_a_time_and_blocks_its_lane_only() -> None:
    lanes = [lane(1, 0, head(1, units=40)), lane(2, 0, head(2, units=5), urgency=Urgency.HIGH)]
    decision = plan(snapshot(*lanes, quotas={(client_id(0), "a"): (quota(39),)}), NOW)
    assert (started(decision), decision.next_wake) == ([2], None)


def test_a_quota_of_a_further_pool_counts_its_need_and_what_needs_nothing_passes_a_full_one() -> None:
    mail = lane(1, 0, head(1, needs={"b": 3}), head(2, needs={"b": 3}), **BOTH)
    quotas = {(client_id(0), "b"): (quota(5),), (client_id(1), "a"): (quota(5, 9),)}
    nothing = lane(2, 1, head(3, units=0))
    decision = plan(snapshot(mail, nothing, pools=[pool("a"), pool("b")], quotas=quotas), NOW)
    assert sorted(started(decision)) == [1, 2]
    assert gates(decision) == {1: (Gate.QUOTA, "b")}


# Big jobs.

BIG = head(99, units=10, needs={"b": 900}, waited=100)
BIG_LANE = lane(9, 9, BIG, **BOTH)
ELSEWHERE = lane(2, 2, head(2), hops=(hop("b"),))


def test_a_big_job_is_remembered_by_the_pool_that_lacks_its_units() -> None:
    pools = [pool("a", start_seq=19), pool("b", capacity=1000, level_micro=500 * MICRO)]
    decision = plan(snapshot(BIG_LANE, lane(1, 1, head(1)), pools=pools), NOW)
    assert [(big.pool, big.job_id) for big in decision.big_jobs] == [("b", BIG.job_id)]


def test_a_big_job_holds_up_what_draws_on_the_pool_that_it_waits_for_and_nothing_else() -> None:
    since = NOW - timedelta(minutes=11)
    low = pool("b", capacity=1000, level_micro=500 * MICRO, big_job_id=BIG.job_id, big_job_since=since)
    also = lane(3, 3, head(3, needs={"b": 1}), **BOTH)
    decision = plan(snapshot(BIG_LANE, lane(1, 1, head(1)), ELSEWHERE, also, pools=[pool("a"), low]), NOW)
    assert started(decision) == [1]
    assert gates(decision) == {9: (Gate.UNITS, "b"), 2: (Gate.BIG_JOB, "b"), 3: (Gate.BIG_JOB, "b")}
    full = msgspec.structs.replace(low, level_micro=1000 * MICRO)
    decision = plan(snapshot(BIG_LANE, ELSEWHERE, also, pools=[pool("a"), full]), NOW)
    assert sorted(started(decision)) == [2, 3, 9]
    assert [(big.pool, big.job_id) for big in decision.big_jobs] == [("b", None)]


def test_a_big_job_that_its_quota_or_a_dry_pool_keeps_away_holds_nobody_up() -> None:
    since = NOW - timedelta(minutes=11)

    def others(refill: int, **given: Any) -> list[int]:
        low = pool(
            "b",
            capacity=1000,
            level_micro=500 * MICRO,
            refill_per_second=refill,
            big_job_id=BIG.job_id,
            big_job_since=since,
        )
        return started(plan(snapshot(BIG_LANE, ELSEWHERE, pools=[pool("a"), low], **given), NOW))

    assert others(10) == []
    assert others(0) == [2]
    assert others(10, quotas={(client_id(9), "b"): (quota(1000, 200),)}) == [2]


# Rows that are gone.


def test_what_belongs_to_a_client_or_pool_that_is_gone_waits_and_disturbs_nobody() -> None:
    orphan = lane(1, 55, head(1))
    usage = {
        (client_id(55), "a"): UsageGate(usage=9.0, active=True, running=1),
        (client_id(0), "gone"): UsageGate(usage=9.0, active=True, running=1),
        (UUID(int=777), "a"): UsageGate(usage=9.0, active=True, running=1),
    }
    lanes = [orphan, lane(2, 0, head(2)), lane(3, 0, head(3), hops=(hop("gone"),))]
    decision = plan(snapshot(*lanes, usage=usage), NOW)
    assert started(decision) == [2]
    assert gates(decision) == {1: (Gate.CLIENT_SUSPENDED, None), 3: (Gate.NO_HOP, None)}
