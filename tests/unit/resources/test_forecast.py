"""When waiting jobs start, foreseen: exactly where nothing is supposed, and near it where something is."""

import random
from datetime import datetime, timedelta
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
from aifactory.resources.interface import Urgency
from aifactory.resources.virtual.coming import Arrived, Coming, coming
from aifactory.resources.virtual.forecast import Forecast
from aifactory.resources.virtual.foreseen import Place
from aifactory.resources.virtual.habits import Habit, Ran, habits
from aifactory.resources.virtual.known import Known, RunNow
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
    return [seconds(forecast.found.place(lane_id, ahead)) for ahead in range(count)]


def heads(count: int, units: int = 10, first: int = 0) -> list[Any]:
    return [head(first + number, units=units, waited=100 - number) for number in range(count)]


def places(forecast: Forecast, lane_id: int, count: int) -> list[int]:
    found = [forecast.found.place(lane_id, ahead) for ahead in range(count)]
    return [one.place for one in found if one is not None]


def test_a_lane_alone_starts_as_its_pool_refills() -> None:
    slow = pool(capacity=10_000, level_micro=1000 * MICRO, refill_per_second=100, reserved_percent=0)
    forecast = run(snapshot(lane(1, 0, *heads(5, 1000)), pools=[slow]))
    assert starts(forecast, 1, 5) == pytest.approx([0, 10, 20, 30, 40], abs=0.01)
    assert places(forecast, 1, 5) == [1, 2, 3, 4, 5]
    told = forecast.found.place(1, 4)
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


def test_what_follows_executions_of_one_moment_starts_in_an_order_of_its_own() -> None:
    key = LaneKey(
        hops=(hop(),), worker="w", queue="normal", client_id=client_id(0), urgency=lane(1, 0).urgency
    )
    running = [
        RunNow(job_id=UUID(int=number), key=key, hop=hop(), units=10, aged_from=NOW, started_at=NOW)
        for number in range(12)
    ]
    executions = {one.job_id: UUID(int=70 + number % 3) for number, one in enumerate(running)}
    to_come = {UUID(int=70 + number): 5 for number in range(3)}
    found = snapshot(lane(1, 0, head(1)), slots=0)
    forecast = run(found, runs=running, executions=executions, to_come=to_come, depths={1: 40})
    assert forecast.complete
    assert len(forecast.found.starts[1]) == 40


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
    assert 400 <= sum(map(len, short.found.starts.values())) <= 408
    told = short.found.place(1, 9_999)
    assert seconds(told) == pytest.approx(
        2 * 10_000 / 8 * 4, rel=0.05
    )  # eight slots of four seconds, two lanes
    assert told is not None
    assert (told.basis, told.exact) == ("extrapolated", False)
    assert told.place == pytest.approx(20_000, rel=0.05)
    long = run(found, depths={1: 300, 2: 300}, most_plans=10_000)
    assert long.complete
    assert len(long.found.starts[1]) == 300
    assert seconds(short.found.place(1, 280)) == pytest.approx(seconds(long.found.place(1, 280)), rel=0.05)


def test_a_lane_that_the_run_never_reaches_has_the_guards_bound_and_a_closed_one_nothing() -> None:
    flood = lane(1, 0, *heads(8), complete=False, queue="fast")
    lanes = [flood, lane(2, 1, head(900), queue="fast"), lane(3, 2, head(901), queue="batch")]
    paused = {**QUEUES, "batch": msgspec.structs.replace(QUEUES["batch"], paused=True)}
    found = snapshot(
        *lanes, slots=1, clients=[client(0, "enterprise"), client(1, "basic"), client(2)], queues=paused
    )
    forecast = run(found, depths={1: 20_000}, most_starts=10)
    told = forecast.found.place(2, 0)
    assert told is not None
    assert (told.basis, told.exact, told.place) == ("guard_bound", False, 60)
    assert seconds(told) <= 60 * 4.5
    assert forecast.found.place(3, 0, bounded=False) is None
    nothing = run(msgspec.structs.replace(found, slots=0))
    assert nothing.found.place(1, 0) is None
    assert nothing.found.pace("a") is None
    assert forecast.found.pace("a") == pytest.approx(0.25, rel=0.2)


def test_within_the_guards_bound_every_job_starts_that_the_run_did_not_reach() -> None:
    bounds = []
    for seed in range(4):
        rng = random.Random(seed)
        flood = lane(1, 0, *heads(8), complete=False, queue="fast")
        others = [
            lane(2 + n, 1 + n % 2, head(900 + n), queue="fast", urgency=rng.choice(list(Urgency)[:2]))
            for n in range(rng.randint(4, 6))
        ]
        tiers = ["enterprise", rng.choice(["basic", "standard"]), "basic"]
        clients = [client(number, tier) for number, tier in enumerate(tiers)]
        found = snapshot(flood, *others, slots=2, clients=clients)
        depths = {1: 400} | {one.id: rng.randint(1, 3) for one in others}
        short = run(found, depths=depths, most_starts=rng.randint(4, 30))
        long = run(found, depths=depths, most_plans=10_000, most_starts=10_000)
        assert long.complete
        for number, depth in depths.items():
            for ahead in range(depth):
                told, true = short.found.place(number, ahead), long.found.place(number, ahead)
                assert told is not None
                assert true is not None
                if told.basis == "guard_bound":
                    bounds.append((true.place, told.place))
    assert len(bounds) > 20
    assert all(true <= told for true, told in bounds)
    assert sum(told < 400 for _, told in bounds) > 20  # not by the number of all jobs


def test_what_was_counted_in_part_only_has_no_bound() -> None:
    lanes = [lane(1, 0, *heads(8), complete=False, queue="fast"), lane(2, 1, head(900), queue="batch")]
    found = snapshot(*lanes, slots=1, clients=[client(0, "enterprise"), client(1, "basic")])
    told = run(found, depths={1: 500, 2: 9}, counted=100, most_starts=4).found.place(2, 0)
    assert told is not None
    assert (told.basis, told.place) == ("guard_bound", 20 * 2 * 9)
    assert run(found, depths={1: 500, 2: 9}, counted=9, most_starts=4).found.place(2, 0) is None


def test_what_comes_goes_on_coming_while_what_waits_now_has_not_started() -> None:
    mine, other = lane(1, 0, *heads(12)), lane(2, 1, *heads(1, first=50))
    found = snapshot(mine, other, slots=1)
    alone = starts(run(found), 1, 12)
    key = LaneKey(hops=(hop(),), worker="w", queue="normal", client_id=client_id(1), urgency=other.urgency)
    one = Arrived(key=key, at=NOW, units=10)
    steady = Coming(client_id=client_id(1), sent=(one,), a_second=0.25)
    crowded = run(found, coming=[steady])
    assert crowded.complete
    assert seconds(crowded.found.place(1, 11)) == pytest.approx(2 * alone[11], rel=0.3)  # they take turns
    assert crowded.found.place(1, 11).place == 13  # type: ignore[union-attr]
    of_five = msgspec.structs.replace(one, follow=4)
    begun = run(found, coming=[msgspec.structs.replace(steady, a_second=0.05, sent=(of_five,))])
    assert seconds(begun.found.place(1, 11)) > 1.4 * alone[11]
    nobody = msgspec.structs.replace(one, key=key._replace(client_id=client_id(70)))
    assert starts(run(found, coming=[msgspec.structs.replace(steady, sent=(nobody,))]), 1, 12) == alone
    nothing = run(msgspec.structs.replace(found, slots=0), coming=[steady])  # and it ends
    assert nothing.found.starts == {}


def test_who_sends_when_its_work_has_ended_is_supposed_to_send_the_next_then() -> None:
    mine, other = lane(1, 0, *heads(6)), lane(2, 1, *heads(1, first=50))
    found = snapshot(mine, other, slots=1)
    alone = starts(run(found), 1, 6)
    key = LaneKey(hops=(hop(),), worker="w", queue="normal", client_id=client_id(1), urgency=other.urgency)
    again = Arrived(key=key, at=NOW, units=10)
    keeps = Coming(client_id=client_id(1), sent=(again,), keeps=True)
    crowded = starts(run(found, coming=[keeps]), 1, 6)
    assert crowded[5] == pytest.approx(2 * alone[5], rel=0.2)  # one of the other's is always there
    twice = msgspec.structs.replace(keeps, sent=(msgspec.structs.replace(again, follow=1),))
    assert starts(run(found, coming=[twice]), 1, 6) == crowded
    moments = [NOW - timedelta(seconds=ago) for ago in range(50, 0, -5)]
    sent = [
        Arrived(key=key, at=at, ended_at=at + timedelta(seconds=took), units=10)
        for at, took in zip(moments, (9.7, 4.8) * 5, strict=True)
    ]
    since = NOW - timedelta(seconds=60)
    assert [one.keeps for one in coming(sent, since, NOW)] == [True]
    sooner = [msgspec.structs.replace(one, ended_at=one.at + timedelta(seconds=2)) for one in sent]
    assert [one.keeps for one in coming(sooner, since, NOW)] == [False]


class _Counted(datetime):
    looks = 0

    def __sub__(self, other: Any) -> Any:
        type(self).looks += 1
        return super().__sub__(other)

    def __lt__(self, other: Any) -> bool:
        type(self).looks += 1
        return super().__lt__(other)


def test_a_minute_of_many_arrivals_is_not_compared_each_with_each() -> None:
    key = LaneKey(hops=(hop(),), worker="w", queue="normal", client_id=client_id(1), urgency=Urgency.NORMAL)
    since = _Counted.fromisoformat((NOW - timedelta(seconds=60)).isoformat())
    sent = [
        Arrived(key=key, at=since + timedelta(seconds=n / 10), ended_at=NOW + timedelta(seconds=n), units=1)
        for n in range(600)
    ]
    assert [one.keeps for one in coming(sent, since, NOW)] == [False]
    assert 600 < _Counted.looks < 50 * 600


def test_what_is_still_ahead_has_not_gone_whatever_was_foreseen() -> None:
    found = run(snapshot(lane(1, 0, *heads(6)), slots=1), depths={1: 6}).found
    later = NOW + timedelta(seconds=9)
    names = [one.job_id for one in heads(6)]

    def wait(job_id: UUID, ahead: int) -> float:
        told = found.place_at(later, 1, ahead, job_id=job_id)
        assert told is not None
        return (told.starts_at - later).total_seconds()

    assert [wait(names[2], ahead) for ahead in (0, 2, 4)] == pytest.approx([0, 11, 17.67], abs=0.01)
    assert [wait(names[5], ahead) for ahead in (2, 3)] == pytest.approx([11, 11], abs=0.01)
    new = UUID(int=5)  # one that has come since
    assert [wait(new, ahead) for ahead in (0, 2, 3)] == pytest.approx([3, 11, 14.33], abs=0.01)


def test_a_rate_is_what_came_in_most_of_the_last_time_and_no_burst() -> None:
    key = LaneKey(hops=(hop(),), worker="w", queue="normal", client_id=client_id(1), urgency=Urgency.LOW)
    since = NOW - timedelta(seconds=60)

    def came(*seconds: float, lane_key: LaneKey = key) -> list[Arrived]:
        return [
            Arrived(key=lane_key, at=since + timedelta(seconds=at), units=round(at), follow=1)
            for at in seconds
        ]

    def rates(arrived: list[Arrived]) -> list[float]:
        return [one.a_second for one in coming(arrived, since, NOW)]

    steady = came(*range(1, 60, 2))
    (mine,) = coming(steady, since, NOW)
    assert (mine.sent, mine.a_second, mine.keeps) == (tuple(steady), 0.5, False)
    others = came(*[33.0] * 500, lane_key=key._replace(client_id=client_id(2)))
    assert sum(rates([*steady, *others])) == pytest.approx(0.5, rel=0.1)
    assert rates(others) == []
    assert rates(came(1, 2, 15)) == []  # too seldom to be supposed
    assert coming(steady, NOW, NOW) == []


def test_runs_that_go_on_count_so_that_not_only_short_ones_are_known() -> None:
    ended = [Ran(pool="a", seconds=seconds, used=5, estimate=10) for seconds in (1.0, 3.0)]
    found = habits(ended)["a"]
    assert (found.seconds, found.variation, found.used) == (2.0, 0.5, 0.5)
    assert found.spread == pytest.approx((1.0,) * 20 + (3.0,) * 20)
    same = [Ran(pool="a", seconds=2.0)] * 16 + [Ran(pool="a", seconds=1.9, ended=False)] * 16
    assert habits(same)["a"].seconds == pytest.approx(2.0)
    rng = random.Random(1)
    true = [rng.lognormvariate(0.53, 0.55) for _ in range(400)]
    early = [Ran(pool="a", seconds=min(2.0, one), ended=one < 2.0) for one in true]
    begun = [Ran(pool="b", seconds=1.0, ended=False), Ran(pool="c", seconds=9.0, ended=False)]
    known = habits([*early, *begun])
    mean = sum(true) / len(true)
    assert known["a"].seconds == pytest.approx(mean, rel=0.15)
    assert sum(one for one in true if one < 2.0) / sum(one < 2.0 for one in true) < 0.7 * mean
    assert known["b"] == known[""]
    assert known["c"].seconds == 18.0
    assert habits([begun[0]])["b"] == Habit()  # nobody knows yet
    assert habits([]) == {}


def test_runs_that_are_all_alike_are_known_as_soon_as_the_first_of_a_burst_have_ended() -> None:
    alike = [2.0 + number / 100 for number in range(32)]
    for now, least, most in ((2.04, 1.95, 2.5), (2.08, 2.0, 2.4), (2.2, 2.1, 2.3)):
        ran = [Ran(pool="a", seconds=min(now, one), ended=one <= now) for one in alike]
        assert least < habits(ran)["a"].seconds < most
