"""One outlook for all who ask: one load at a time, none too soon, nobody waits for what another renews."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from tests.unit.resources.snapshots import NOW, head, lane, snapshot

from aifactory.kernel.db import Database
from aifactory.resources import outlook
from aifactory.resources.foresight import Outlook, foreseen, planned
from aifactory.resources.gate_words import Fleet
from aifactory.resources.outlook import Outlooks
from aifactory.resources.virtual.known import Known

pytestmark = pytest.mark.anyio


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


class Looks(Outlooks):
    """Outlooks whose looks end when they are let: who looks, when by the database, and who slept how long."""

    def __init__(self) -> None:
        super().__init__(database=cast(Database, None), sleep=self._slept)
        self.now = NOW
        self.lanes = [1]
        self.count = 0
        self.naps: list[float] = []
        self.told: list[Outlook] = []
        self.go_on = anyio.Event()
        self.go_on.set()

    async def _slept(self, seconds: float) -> None:
        if seconds:
            self.naps.append(seconds)
            self.now += timedelta(seconds=seconds)
        await anyio.lowlevel.checkpoint()

    async def _look(self, now: datetime, before: Outlook | None, lane_ids: Collection[int]) -> Outlook:
        self.count += 1
        await self.go_on.wait()
        as_of = self.now
        found = snapshot(*(lane(number, 0, head(number)) for number in self.lanes))
        forecast, _ = foreseen(Known(snapshot=found), as_of)
        fleet = Fleet(processes=1, slots=1, local_slots=1)
        return Outlook(as_of=as_of, plan=planned(found, as_of)[0], fleet=fleet, forecast=forecast)

    async def ask(self, lane_ids: Collection[int]) -> None:
        self.told.append(await self.current(self.now, lane_ids))

    async def asked_by(self, group: Any, count: int, *lane_ids: int) -> None:
        """Have so many ask at once, and come back when nobody can go on."""
        for _ in range(count):
            group.start_soon(self.ask, lane_ids)
        await anyio.wait_all_tasks_blocked()


async def test_a_hundred_who_ask_at_once_share_one_load_and_those_of_the_next_second_another() -> None:
    looks = Looks()
    looks.go_on = anyio.Event()
    async with anyio.create_task_group() as group:
        await looks.asked_by(group, 100, 1)
        assert (looks.count, looks.told) == (1, [])
        looks.now = after(1.4)  # what comes of it is younger than those who wait for it
        looks.go_on.set()
    assert (looks.count, len(looks.told), len(set(map(id, looks.told)))) == (1, 100, 1)
    async with anyio.create_task_group() as group:
        looks.now = after(2.3)
        await looks.asked_by(group, 100, 1)
    assert (looks.count, len(looks.told)) == (1, 200)

    looks.go_on = anyio.Event()
    async with anyio.create_task_group() as group:
        looks.now = after(2.9)
        await looks.asked_by(group, 100, 1)
        assert (looks.count, len(looks.told)) == (2, 299)  # one renews it, the others are answered
        looks.now = after(3.9)
        await looks.asked_by(group, 50, 1)
        assert (looks.count, len(looks.told)) == (2, 299)  # it is too old by now: they wait for the new one
        looks.go_on.set()
    assert {one.as_of for one in looks.told[299:]} == {after(3.9)}
    assert (looks.count, len(looks.told)) == (2, 350)
    assert looks.naps == []


async def test_a_lane_that_is_missing_is_looked_for_once_and_a_second_after_the_look_before() -> None:
    looks = Looks()
    await looks.ask([1])
    looks.now, looks.lanes = after(0.25), [1, 2]
    looks.go_on = anyio.Event()
    async with anyio.create_task_group() as group:
        await looks.asked_by(group, 60, 2)
        assert (looks.count, looks.naps, len(looks.told)) == (2, [0.75], 1)
        await looks.asked_by(group, 20, 1)
        assert len(looks.told) == 21  # what is there is told meanwhile
        looks.go_on.set()
    assert (looks.count, len(looks.told)) == (2, 81)
    assert all(one.as_of == after(1) for one in looks.told[21:])
    looks.told.clear()
    async with anyio.create_task_group() as group:
        await looks.asked_by(group, 60, 7)  # which is in no look: it is gone
    assert (looks.count, len(looks.told), looks.naps) == (2, 60, [0.75])


async def test_a_large_fleet_is_looked_at_less_often_and_a_failed_look_is_made_by_the_next() -> None:
    looks = Looks()
    await looks.ask([1])
    looks._fresh_for = timedelta(seconds=6)
    looks.now = after(3)
    await looks.ask([2])
    assert (looks.count, looks.naps, looks.told[0]) == (1, [], looks.told[1])  # it is told to have just come
    looks.now = after(5.5)
    await looks.ask([2])
    assert (looks.count, looks.naps) == (2, [0.5])
    looks.now, looks.lanes = after(20), [*range(3)]

    async def fail(*_: Any) -> Outlook:
        raise ConnectionError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(looks, "_look", fail)
        with pytest.raises(ConnectionError):
            await looks.ask([1])
    await looks.ask([1])
    assert (looks.count, looks.told[-1].as_of) == (3, after(20))


async def test_a_forecast_is_made_sooner_for_a_lane_that_it_does_not_know_if_that_is_cheap() -> None:
    looks = Looks()
    await looks.ask([1])
    (told,) = looks.told
    looks._forecast_for = timedelta(seconds=2)
    known = [looks._kept(after(seconds), told, [1]) is not None for seconds in (0.5, 1.0, 1.9, 2.0)]
    assert known == [True, True, True, False]
    unknown = [looks._kept(after(seconds), told, [1, 2]) is not None for seconds in (0.5, 1.0)]
    assert unknown == [True, False]
    looks._latest = Outlook(
        as_of=NOW,
        plan=planned(snapshot(lane(1, 0, head(1)), lane(2, 0, head(2))), NOW)[0],
        fleet=told.fleet,
        forecast=told.forecast,
    )
    looks.now = after(0.5)
    assert not looks._serves(looks._latest, looks.now, [2])
    looks._forecast_for = timedelta(seconds=5)
    assert looks._serves(looks._latest, looks.now, [2])  # it is told its gate, without a start


@pytest.mark.parametrize(("took", "kept"), [(0.0, 1.0), (0.1, 1.0), (0.7, 7.0), (3.0, 30.0), (900.0, 60.0)])
def test_a_look_is_kept_for_ten_times_what_it_took_so_that_it_costs_a_tenth_of_a_core(
    took: float, kept: float
) -> None:
    assert outlook._kept_for(took) == timedelta(seconds=kept)


def test_a_forecast_that_takes_long_to_be_set_up_runs_on_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moments = iter([0.0, 9.0, *([9.1] * 50)])  # of CPU: nine seconds until it is set up
    monkeypatch.setattr("time.thread_time", lambda: next(moments))
    found, spent = foreseen(Known(snapshot=snapshot(lane(1, 0, head(1)))), NOW)
    assert (len(found.starts[1]), spent) == (1, 9.1)
