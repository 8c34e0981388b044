"""Buckets refill continuously and lose no fraction, however often they are looked at."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aifactory.resources.buckets import MICRO, refilled, refilled_requests, seconds_until

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


@given(gaps, st.integers(0, 10**6))
def test_trap_18_refilling_in_many_steps_is_refilling_in_one(steps: list[int], rate: int) -> None:
    level, now = 0, START
    for step in steps:
        later = now + timedelta(microseconds=step)
        level = refilled(level, capacity=10**15, refill_per_second=rate, since=now, now=later)
        now = later
    assert level == refilled(0, capacity=10**15, refill_per_second=rate, since=START, now=now)


@given(gaps, st.integers(1, 5000))
def test_trap_18_request_slots_lose_less_than_a_millionth_at_each_step(steps: list[int], rate: int) -> None:
    level, now = 0, START
    for step in steps:
        later = now + timedelta(microseconds=step)
        level = refilled_requests(level, per_minute=rate, since=now, now=later)
        now = later
    whole = refilled_requests(0, per_minute=rate, since=START, now=now)
    assert whole - len(steps) <= level <= whole


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**6), st.integers(1, 10**5))
def test_the_wait_for_units_ends_when_they_are_there(level: int, needed: int, rate: int) -> None:
    seconds = seconds_until(level, needed_units=needed, refill_per_second=rate)
    assert seconds is not None
    then = START + timedelta(seconds=seconds) + timedelta(microseconds=1)
    assert refilled(level, capacity=10**12, refill_per_second=rate, since=START, now=then) >= needed * MICRO


def test_a_bucket_without_refill_never_gets_what_it_lacks() -> None:
    assert seconds_until(0, needed_units=1, refill_per_second=0) is None
    assert seconds_until(MICRO, needed_units=1, refill_per_second=0) == 0
