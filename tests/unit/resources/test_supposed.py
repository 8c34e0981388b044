"""What a forecast supposes of what nobody knows yet: runs as unlike as of late, and what comes as of late."""

import random
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from uuid import UUID

import pytest
from tests.unit.resources.snapshots import NOW, client, client_id, head, hop, lane, snapshot

from aifactory.resources.interface import Urgency
from aifactory.resources.virtual.arrivals import seconds_of
from aifactory.resources.virtual.coming import SOON, Arrived, Coming, coming
from aifactory.resources.virtual.forecast import Forecast
from aifactory.resources.virtual.habits import Habit, Ran, habits
from aifactory.resources.virtual.known import Known, RunNow
from aifactory.resources.virtual.lanes import LaneKey
from aifactory.resources.virtual.supposed import Execution, Part, Supposed

KEY = LaneKey(hops=(hop(),), worker="w", queue="normal", client_id=client_id(0), urgency=Urgency.NORMAL)
SINCE = NOW - timedelta(seconds=60)


def lengths(seed: int, count: int) -> list[float]:
    chance = random.Random(seed)
    return [chance.lognormvariate(0.5, 0.7) for _ in range(count)]


def true_starts(seed: int, jobs: int, slots: int) -> list[float]:
    """When each job of a burst starts on so many free slots, its runs being as they are by chance."""
    ends, starts = [0.0] * slots, []
    heapify(ends)
    for length in lengths(seed, jobs):
        starts.append(heappop(ends))
        heappush(ends, starts[-1] + length)
    return starts


def test_a_burst_is_foreseen_to_start_as_one_does_whose_runs_do_not_all_end_at_once() -> None:
    jobs, slots = 96, 16
    heads = [head(number, waited=jobs - number) for number in range(jobs)]
    known = habits(Ran(pool="a", seconds=one) for one in lengths(0, 400))
    forecast = Forecast(Known(snapshot=snapshot(lane(1, 0, *heads), slots=slots), habits=known), NOW)
    while forecast.step():
        pass
    worlds = [true_starts(seed, jobs, slots) for seed in range(1, 60)]
    wrong = []
    for place in range(slots, jobs):
        told = forecast.found.place(1, place)
        assert told is not None
        mean = sum(world[place] for world in worlds) / len(worlds)
        wrong.append((told.starts_at - NOW).total_seconds() - mean)
    assert max(map(abs, wrong)) < 0.4 * known[""].seconds  # waves of equal runs are one run late at their end
    assert abs(sum(wrong)) / len(wrong) < 0.15 * known[""].seconds


def test_lengths_are_equally_likely_of_the_mean_of_the_runs_and_what_is_left_is_of_the_longer_ones() -> None:
    some = lengths(3, 333)
    habit = habits(Ran(pool="a", seconds=one) for one in some)["a"]
    assert list(habit.spread) == sorted(habit.spread)
    assert sum(habit.spread) / len(habit.spread) == pytest.approx(sum(some) / len(some))
    assert habit.length(0.5) == pytest.approx(sorted(some)[166], rel=0.05)
    for elapsed in (0.0, 1.0, 3.0):
        longer = sorted(one - elapsed for one in some if one > elapsed)
        assert habit.left(elapsed, 0.5) == pytest.approx(longer[len(longer) // 2], rel=0.2)
        assert habit.left(elapsed, 0.1) < habit.left(elapsed, 0.5) < habit.left(elapsed, 0.9)
    assert habit.left(900.0, 0.5) == pytest.approx(habit.seconds / 4)
    assert Habit(seconds=4.0).left(1.0, 0.9) == 3.0
    assert Habit(seconds=4.0).length(0.99) == 4.0


def test_runs_that_go_on_are_spread_over_what_may_be_left_and_at_a_cap_over_each_clients_own() -> None:
    spread = tuple(float(number) for number in range(1, 41))
    known = {"": Habit(seconds=20.5, spread=spread)}

    def left(caps: int, *running: int) -> list[float]:
        runs = [
            RunNow(
                job_id=UUID(int=number),
                key=KEY._replace(client_id=client_id(of)),
                hop=hop(),
                units=1,
                aged_from=NOW,
                started_at=NOW,
            )
            for number, of in enumerate(running)
        ]
        clients = [client(number, max_running=caps) for number in set(running)]
        found = snapshot(lane(1, 0, head(1)), clients=clients)
        return Supposed(Known(snapshot=found, habits=known, runs=runs), NOW).left(runs)

    alone = left(100, *range(20))
    assert sum(alone) / 20 == pytest.approx(20.5, rel=0.1)
    assert (min(alone) < 4, max(alone) > 37) == (True, True)
    assert left(2, 0, 0, 1, 1) == [11.0, 31.0, 11.0, 31.0]


@pytest.mark.parametrize(("slots", "cap", "unlike"), [(16, 100, True), (16, 4, False), (4, 100, False)])
def test_only_on_many_places_runs_are_supposed_to_be_unlike_one_another(
    slots: int, cap: int, unlike: bool
) -> None:
    habit = Habit(seconds=2.0, spread=(1.0, 3.0))
    there = snapshot(lane(1, 0, head(1)), slots=slots, local_slots=0, clients=[client(0, max_running=cap)])
    supposed = Supposed(Known(snapshot=there, habits={"": habit}), NOW)
    ran = [supposed.work(head(1), client_id(0), "a", Part(Execution())).seconds for _ in range(100)]
    assert sum(ran) / 100 == pytest.approx(2.0, abs=0.05)
    assert set(ran) == ({1.0, 3.0} if unlike else {2.0})


def arrived(*seconds: float) -> list[Arrived]:
    return [Arrived(key=KEY, at=SINCE + timedelta(seconds=at), units=1) for at in seconds]


def lately(*seconds: float) -> float:
    (found,) = coming(arrived(*seconds), SINCE, NOW)
    return found.lately


def test_what_came_in_the_last_seconds_comes_in_the_next_ones_and_what_came_at_once_does_not() -> None:
    steady = [number / 4 for number in range(240)]
    assert lately(*steady) == pytest.approx(1.0, abs=0.05)
    assert lately(*(at for at in steady if at < 54)) < 0.2  # it has ceased
    doubled = [at + 0.1 for at in steady if at >= 54]
    assert 1.6 < lately(*sorted(steady + doubled)) < 2
    burst = [59.6] * 300
    assert lately(*sorted(steady + burst)) < 1.3
    flood = [55 + number / 50 for number in range(250)]
    assert lately(*sorted(steady + flood)) <= 3.0
    assert 0.5 < lately(*range(0, 60, 10)) < 1  # too few to say


def test_at_first_comes_what_came_lately_then_as_much_as_of_late_then_ever_less() -> None:
    twice = Coming(client_id=client_id(0), sent=tuple(arrived(1)), a_second=2.0, lately=2.0)
    found = [seconds_of(place, twice) for place in range(300)]
    moments = [at for at in found if at is not None]
    assert moments == sorted(moments)
    assert sum(at < SOON for at in moments) == 4 * SOON
    assert sum(SOON <= at < SOON + 10 for at in moments) == pytest.approx(2 * 10, rel=0.15)
    assert sum(SOON + 60 <= at < SOON + 70 for at in moments) == pytest.approx(2 * 10 / 2.7, rel=0.2)
    assert len(moments) == 4 * SOON + 2 * 60
    there = snapshot(lane(1, 0, head(1)), slots=1)
    coming_now = list(Forecast(Known(snapshot=there, coming=[twice]), NOW)._arrivals.evenly())
    assert len(coming_now) == pytest.approx(len(moments), abs=1)
    first: list[datetime] = [at for at, _ in coming_now[:10]]
    assert (first[9] - first[0]).total_seconds() == pytest.approx(9 / 4)
