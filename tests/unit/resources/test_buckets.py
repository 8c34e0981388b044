"""Buckets refill continuously and lose no fraction, however often they are looked at."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aifactory.resources.buckets import (
    MICRO,
    recall_seconds,
    refilled,
    refilled_requests,
    seconds_to_reach,
    until_request,
)

START = datetime(2026, 11, 22, tzinfo=UTC)
gaps = st.lists(st.integers(0, 10**7), max_size=30)


def test_a_bucket_gains_its_rate_and_stops_at_its_capacity() -> None:
    later = START + timedelta(seconds=2)
    assert refilled(0, capacity=100, refill_per_second=10, since=START, now=later) == 20 * MICRO
    assert refilled(95 * MICRO, capacity=100, refill_per_second=10, since=START, now=later) == 100 * MICRO


def test_a_clock_that_goes_backwards_refills_nothing() -> None:
    earlier = START - timedelta(seconds=5)
    assert refilled(7, capacity=100, refill_per_second=10, since=START, now=earlier) == 7
    assert refilled_requests(7, per_minute=60, since=START, now=earlier) == 7


@given(st.integers(-(10**9), MICRO), st.integers(1, 5000), st.integers(0, 10**9))
def test_the_wait_for_a_request_slot_ends_when_it_is_there(level: int, rate: int, offset: int) -> None:
    since = START + timedelta(microseconds=offset)
    then = since + until_request(level, rate)
    assert refilled_requests(level, per_minute=rate, since=since, now=then) >= MICRO


def test_the_reserve_is_recalled_within_its_size_over_the_refill() -> None:
    assert recall_seconds(capacity=1000, reserved_percent=10, refill_per_second=20) == 5
    assert recall_seconds(capacity=1000, reserved_percent=0, refill_per_second=0) == 0
    assert recall_seconds(capacity=1000, reserved_percent=10, refill_per_second=0) is None


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**6), st.integers(1, 10**5))
def test_the_wait_for_units_ends_when_they_are_there(level: int, needed: int, rate: int) -> None:
    seconds = seconds_to_reach(level, needed_micro=needed * MICRO, refill_per_second=rate)
    assert seconds is not None
    then = START + timedelta(seconds=seconds) + timedelta(microseconds=1)
    assert refilled(level, capacity=10**12, refill_per_second=rate, since=START, now=then) >= needed * MICRO


def test_a_bucket_without_refill_never_gets_what_it_lacks() -> None:
    assert seconds_to_reach(0, needed_micro=MICRO, refill_per_second=0) is None
    assert seconds_to_reach(MICRO, needed_micro=MICRO, refill_per_second=0) == 0
