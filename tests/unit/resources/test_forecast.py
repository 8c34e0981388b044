"""When waiting jobs start, foreseen: exactly where nothing is supposed, and near it where something is."""

from datetime import timedelta
from typing import Any
from uuid import UUID

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
    provider,
    quota,
    snapshot,
)

from aifactory.resources.buckets import MICRO
from aifactory.resources.gates import Snapshot
from aifactory.resources.virtual.forecast import Forecast, Habit, Known, Place, RunNow
from aifactory.resources.virtual.lanes import LaneKey

FIXED = {"": Habit(seconds=4.0, variation=0.0)}


def run(found: Snapshot, *, most_starts: int = 2000, most_plans: int = 400, **known: Any) -> Forecast:
    forecast = Forecast(
        Known(snapshot=found, **({"habits": FIXED} | known)),
        NOW,
        most_starts=most_starts,
        most_plans=most_plans,
    )
    while forecast.step():
        pass
    return forecast


def seconds(place: Place | None) -> float:
    assert place is not None
    assert place.earliest <= place.starts_at <= place.latest
    return (place.starts_at - NOW).total_seconds()


def starts(forecast: Forecast, lane_id: int, count: int) -> list[float]:
    return [seconds(forecast.place(lane_id, ahead)) for ahead in range(count)]


def heads(count: int, units: int = 10, first: int = 0) -> list[Any]:
    return [head(first + number, units=units, waited=100 - number) for number in range(count)]


def places(forecast: Forecast, lane_id: int, count: int) -> list[int]:
    found = [forecast.place(lane_id, ahead) for ahead in range(count)]
    return [one.place for one in found if one is not None]


def test_a_lane_alone_starts_as_its_pool_refills() -> None:
    slow = pool(capacity=10_000, level_micro=1000 * MICRO, refill_per_second=100, reserved_percent=0)
    forecast = run(snapshot(lane(1, 0, *heads(5, 1000)), pools=[slow]))
    assert starts(forecast, 1, 5) == pytest.approx([0, 10, 20, 30, 40], abs=0.01)
    assert places(forecast, 1, 5) == [1, 2, 3, 4, 5]
    told = forecast.place(1, 4)
    assert told is not None
    assert (told.basis, told.exact) == ("simulated", True)
    back = {"": Habit(seconds=4.0, variation=0.0, used=0.5)}
    sooner = starts(run(snapshot(lane(1, 0, *heads(5, 1000)), pools=[slow]), habits=back), 1, 5)
    assert sooner == pytest.approx([0, 5, 10, 15, 20], abs=1.0)  # half of each start comes back


def test_two_equal_clients_take_turns_and_a_heavier_one_has_its_weight() -> None:
    two = [lane(1, 0, *heads(6)), lane(2, 1, *heads(6, first=10))]
    forecast = run(snapshot(*two, slots=1))
    assert places(forecast, 1, 3) == [1, 3, 5]
    assert places(forecast, 2, 3) == [2, 4, 6]
    assert starts(forecast, 2, 3) == pytest.approx([4, 12, 20], abs=0.01)
    heavy = run(snapshot(*two, slots=1, clients=[client(0, "enterprise"), client(1, "basic")]))
    assert places(heavy, 1, 4) < places(forecast, 1, 4)


def test_caps_and_slots_are_free_again_when_runs_end() -> None:
    capped = run(snapshot(lane(1, 0, *heads(3)), clients=[client(0, max_running=1)]))
    assert starts(capped, 1, 3) == pytest.approx([0, 4, 8], abs=0.01)
    key = LaneKey(
        hops=(hop(),), worker="w", queue="normal", client_id=client_id(1), urgency=lane(1, 0).urgency
    )
    running = [
        RunNow(
            job_id=UUID(int=number),
            key=key,
            hop=hop(),
            units=10,
            aged_from=NOW,
            started_at=NOW - timedelta(seconds=elapsed),
        )
        for number, elapsed in enumerate((3.0, 900.0))
    ]
    behind = run(snapshot(lane(1, 0, *heads(3)), slots=0), runs=running)
    assert starts(behind, 1, 3) == pytest.approx([1, 1, 5], abs=0.01)  # the overdue one: a quarter of a run
    executions = {UUID(int=0): UUID(int=70)}  # two more jobs of one that runs, in a lane that is not there
    begun = run(
        snapshot(lane(1, 0, *heads(3)), slots=0),
        runs=running[:1],
        executions=executions,
        to_come={UUID(int=70): 2},
    )
    assert starts(begun, 1, 3) == pytest.approx([1, 9, 17], abs=0.01)  # the two clients take turns


def test_what_begun_executions_have_still_to_come_starts_first() -> None:
    third = heads(3)
    executions = {one.job_id: UUID(int=80 + number) for number, one in enumerate(third)}
    to_come = {UUID(int=80): 2, UUID(int=81): 2}
    forecast = run(snapshot(lane(1, 0, *third), slots=1), executions=executions, to_come=to_come)
    assert starts(forecast, 1, 3) == pytest.approx([0, 12, 24], abs=0.01)
    assert places(forecast, 1, 3) == [1, 2, 3]  # of what waits now


def test_times_at_which_gates_open_by_themselves_are_waited_for() -> None:
    one = lane(1, 0, *heads(2))
    circuit = run(snapshot(one, providers=[provider(opens_at=NOW + timedelta(seconds=30))]))
    assert starts(circuit, 1, 2) == pytest.approx([30, 30], abs=0.6)
    blocked = run(snapshot(one, pools=[pool(blocked_until=NOW + timedelta(seconds=7))]))
    assert starts(blocked, 1, 1) == pytest.approx([7], abs=0.6)
    used_up = {(client_id(0), "a"): (quota(15, 15),)}
    assert 3600 <= starts(run(snapshot(one, quotas=used_up)), 1, 1)[0] <= 3661


def test_what_lies_beyond_the_run_is_continued_at_the_lanes_rate_and_the_run_is_bounded() -> None:
    deep = lane(1, 0, *heads(8), complete=False)
    other = lane(2, 1, *heads(8, first=100), complete=False)
    found = snapshot(deep, other, slots=8)
    short = run(found, depths={1: 20_000, 2: 20_000}, most_starts=400)
    assert 400 <= sum(map(len, short.starts.values())) <= 408
    told = short.place(1, 9_999)
    assert seconds(told) == pytest.approx(
        2 * 10_000 / 8 * 4, rel=0.05
    )  # eight slots of four seconds, two lanes
    assert told is not None
    assert (told.basis, told.exact) == ("extrapolated", False)
    assert told.place == pytest.approx(20_000, rel=0.05)
    long = run(found, depths={1: 300, 2: 300}, most_plans=10_000)
    assert long.complete
    assert len(long.starts[1]) == 300
    assert seconds(short.place(1, 280)) == pytest.approx(seconds(long.place(1, 280)), rel=0.05)


def test_a_lane_that_the_run_never_reaches_has_the_guards_bound_and_a_closed_one_nothing() -> None:
    flood = lane(1, 0, *heads(8), complete=False, queue="fast")
    lanes = [flood, lane(2, 1, head(900), queue="fast"), lane(3, 2, head(901), queue="batch")]
    paused = {**QUEUES, "batch": msgspec.structs.replace(QUEUES["batch"], paused=True)}
    found = snapshot(
        *lanes, slots=1, clients=[client(0, "enterprise"), client(1, "basic"), client(2)], queues=paused
    )
    forecast = run(found, depths={1: 20_000}, most_starts=10)
    told = forecast.place(2, 0)
    assert told is not None
    assert (told.basis, told.exact, told.place) == ("guard_bound", False, 60)
    assert seconds(told) <= 60 * 4.5
    assert forecast.place(3, 0, bounded=False) is None
    nothing = run(msgspec.structs.replace(found, slots=0))
    assert nothing.place(1, 0) is None
    assert nothing.pace("a") is None
    assert forecast.pace("a") == pytest.approx(0.25, rel=0.2)
