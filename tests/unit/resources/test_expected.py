"""What is expected of work as it is submitted: by the latest forecast, and nothing where that can't say."""

import random
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.resources.snapshots import (
    NOW,
    QUEUES,
    client,
    head,
    hop,
    lane,
    pool,
    random_snapshot,
    snapshot,
)

from aifactory.resources import expected as module
from aifactory.resources.buckets import MICRO
from aifactory.resources.expected import MOST_AGE, Expectations, Expected, expected
from aifactory.resources.foresight import Outlook, planned
from aifactory.resources.gate_words import Fleet
from aifactory.resources.gates import Snapshot
from aifactory.resources.virtual.forecast import Forecast
from aifactory.resources.virtual.habits import Habit
from aifactory.resources.virtual.known import Known

FIXED = {"": Habit(seconds=4.0, variation=0.0)}
SLOW = pool(capacity=10_000, level_micro=1000 * MICRO, refill_per_second=100, reserved_percent=0)
THREE = lane(1, 0, *(head(number, units=1000, waited=9 - number) for number in range(3)))
ONE_AT_B = lane(2, 1, head(9), hops=(hop("b"),))
FOUND = snapshot(THREE, ONE_AT_B, pools=[SLOW, pool("b")])


def outlook(found: Snapshot, **known: Any) -> Outlook:
    depths = {one.id: len(one.heads) for one in found.lanes}
    forecast = Forecast(
        Known(snapshot=found, habits=FIXED, **({"depths": depths} | known)),
        NOW,
        most_starts=100,
        most_plans=30,
    )
    while found.enabled and forecast.step():
        pass
    fleet = Fleet(processes=1, slots=64, local_slots=4)
    return Outlook(as_of=NOW, plan=planned(found, NOW)[0], fleet=fleet, forecast=forecast.found)


def expectations(latest: Outlook | None) -> Expectations:
    return Expectations(SimpleNamespace(latest=latest))  # type: ignore[arg-type]


def test_it_is_the_place_behind_all_that_waits_in_the_lane_and_the_soonest_of_several_lanes() -> None:
    there = outlook(FOUND)
    slow, free = expected(there, 1), expected(there, 2)
    assert slow == Expected(position=4, starts_at=NOW + timedelta(seconds=30))  # one starts each 10 s
    more = expected(outlook(FOUND, depths={1: 5000, 2: 1}), 1)
    assert more.position is not None
    assert more.position > 5000
    assert free == Expected(position=2, starts_at=NOW)
    both = expectations(there)
    assert both.of(NOW, {1, 2}) == free
    assert both.of(NOW, {1}) == slow
    assert both.of(NOW, set()) == Expected()


def test_nothing_is_expected_of_a_lane_that_is_unknown_or_not_counted_to_its_end_or_behind_a_shut_gate() -> (
    None
):
    assert expected(outlook(FOUND), 3) == Expected()
    assert expectations(outlook(FOUND)).of(NOW, {1, 3}).position == 4
    uncounted = outlook(FOUND, depths={1: 500, 2: 1}, counted=500)
    assert (expected(uncounted, 1), expected(uncounted, 2).position) == (Expected(), 2)
    paused = {**QUEUES, "normal": msgspec.structs.replace(QUEUES["normal"], paused=True)}
    for closed in (
        msgspec.structs.replace(FOUND, queues=paused),
        msgspec.structs.replace(FOUND, enabled=False),
        snapshot(THREE, clients=[client(0, max_running=0)], pools=[SLOW]),
    ):
        assert expected(outlook(closed), 1) == Expected()


def test_an_old_forecast_is_not_asked_and_each_lane_is_looked_up_once_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def count(there: Outlook, lane_id: int) -> Expected:
        asked.append(lane_id)
        return expected(there, lane_id)

    monkeypatch.setattr(module, "expected", count)
    there = outlook(FOUND)
    known = expectations(there)
    assert known.of(NOW + MOST_AGE, {1}).position == 4
    assert known.of(NOW, {1, 2}).position == 2
    assert known.of(NOW + MOST_AGE + timedelta(microseconds=1), {1}) == Expected()
    assert expectations(None).of(NOW, {1}) == Expected()
    assert asked == [1, 2]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_the_fleet_is_like_something_is_said_or_nothing(seed: int) -> None:
    """A submission must never fail because of it."""
    found = random_snapshot(random.Random(seed))
    there = outlook(found)
    for one in found.lanes:
        said = expected(there, one.id)
        assert (said.position is None) is (said.starts_at is None)
        assert said.position is None or (said.position > 0 and said.starts_at >= NOW)  # type: ignore[operator]
