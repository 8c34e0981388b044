"""What is told of waiting work is counted from one moment, however old the outlook is."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.unit.resources.snapshots import NOW, client, client_id, head, hop, lane, pool, snapshot

from aifactory.resources import telling
from aifactory.resources.buckets import MICRO
from aifactory.resources.foresight import Outlook, planned
from aifactory.resources.gate_words import Fleet
from aifactory.resources.gates import Head, Snapshot
from aifactory.resources.interface import ExecutionState, ExecutionView, JobState, Urgency
from aifactory.resources.position_schemas import BlockingGate, Position
from aifactory.resources.queries.positions import OpenJob
from aifactory.resources.spans import spoken
from aifactory.resources.subject import AskedJob, StepJobs, Subject
from aifactory.resources.virtual.forecast import Forecast
from aifactory.resources.virtual.habits import Habit
from aifactory.resources.virtual.known import Known, RunNow
from aifactory.resources.virtual.lanes import LaneKey
from aifactory.resources.why import why

FLEET = Fleet(processes=1, slots=2, local_slots=1)
ONE = lane(1, 0, head(1, units=1400, waited=60), head(2, units=700, waited=50))
SLOW = pool(capacity=10_000, level_micro=310 * MICRO, refill_per_second=166, reserved_percent=0)
RUNNING = LaneKey(hops=(hop(),), worker="w", queue="normal", client_id=client_id(0), urgency=Urgency.NORMAL)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def outlook(found: Snapshot, *elapsed: float) -> Outlook:
    """The fleet as it is at ``NOW``, and what follows, with runs of two seconds of which some go on."""
    runs = [
        RunNow(
            job_id=UUID(int=number), key=RUNNING, hop=hop(), units=1, aged_from=NOW, started_at=after(-since)
        )
        for number, since in enumerate(elapsed)
    ]
    habits = {"": Habit(seconds=2.0, variation=0.0)}
    forecast = Forecast(Known(snapshot=found, runs=runs, depths={1: 2}, habits=habits), NOW)
    while forecast.step():
        pass
    return Outlook(as_of=NOW, plan=planned(found, NOW)[0], fleet=FLEET, forecast=forecast.found)


def subject(now: datetime, *heads: Head, **job: Any) -> Subject:
    plain: dict[str, Any] = {
        "state": JobState.READY,
        "max_attempts": 3,
        "worker": "w",
        "hops": ONE.hops,
        "others_pools": frozenset(),
        "lane_id": 1,
        "needs": {},
        "attempt": 2,
        "due_at": None,
        "runs": False,
    }
    opened = [
        OpenJob(
            job_id=one.job_id,
            kind=f"kind {one.seq}",
            aged_from=one.aged_from,
            seq=one.seq,
            units=one.units,
            **(plain | job),
        )
        for one in heads
    ]
    execution = ExecutionView(
        id=UUID(int=5),  # type: ignore[arg-type]
        request_id=UUID(int=6),  # type: ignore[arg-type]
        client_id=client_id(0),  # type: ignore[arg-type]
        template="t",
        template_version=1,
        state=ExecutionState.QUEUED,
        urgency=Urgency.NORMAL,
        queue="normal",
        estimated_nano=0,
        held_nano=0,
        spent_nano=0,
        reasons=(),
        created_at=NOW,
        deadline=after(9000),
        started_at=None,
        finished_at=None,
    )
    queued = [StepJobs(first=one, last=one, jobs=1) for one in opened if one.lane_id is not None]
    return Subject(
        execution=execution, asked=None, jobs=opened, steps=queued, counts={}, operator=True, now=now
    )


def told(found: Position) -> BlockingGate:
    assert found.gate is not None
    return found.gate


UNITS = outlook(snapshot(ONE, pools=[SLOW]))
CAPPED = outlook(snapshot(ONE, clients=[client(0, running=2, max_running=2)]), 0.5, 0.2)
BUSY = outlook(snapshot(ONE, slots=0), 0.5, 0.2)


@pytest.mark.parametrize(
    ("there", "age", "words", "opens_in"),
    [
        (UNITS, 0.0, "The a pool has 310 of the 1,400 units needed; enough in 6.6 s.", 6.566),
        (UNITS, 3.0, "The a pool has 808 of the 1,400 units needed; enough in 3.6 s.", 3.566),
        (UNITS, 8.0, "The a pool has 1,400 of the 1,400 units needed; enough at any moment.", 0.0),
        (CAPPED, 0.0, "A place is free in about 1.5 s.", 1.5),
        (CAPPED, 1.0, "A place is free in about 0.5 s.", 0.5),
        (CAPPED, 1.6, "A place is free at any moment.", 0.0),
        (BUSY, 1.0, "A slot is free in about 0.5 s.", 0.5),
        (BUSY, 2.0, "A slot is free at any moment.", 0.0),
    ],
)
def test_a_gate_opens_as_long_from_the_answer_on_as_its_words_say(
    there: Outlook, age: float, words: str, opens_in: float
) -> None:
    now = after(age)
    found = telling.position_of(subject(now, ONE.heads[0]), there)
    gate = told(found)
    assert found.as_of == now
    assert gate.detail.endswith(words)
    assert gate.opens_at is not None
    assert gate.opens_at >= now
    assert (gate.opens_at - now).total_seconds() == pytest.approx(opens_in, abs=0.001)
    assert gate.opens_in_ms == pytest.approx(1000 * opens_in, abs=1)
    if gate.opens_in_ms:
        assert spoken(gate.opens_in_ms / 1000) in gate.detail


def test_what_starts_next_and_what_is_due_open_no_sooner_than_they_are_told() -> None:
    free = outlook(snapshot(ONE))
    found = telling.position_of(subject(after(0.4), ONE.heads[0]), free)
    assert (told(found).opens_at, told(found).opens_in_ms) == (after(0.4), 0)
    assert found.estimated_start == after(0.4)
    retried: dict[str, Any] = {"state": JobState.SCHEDULED, "lane_id": None, "due_at": after(3)}
    for age, words, opens in ((1, "in 2 s", 3), (4, "at any moment", 4)):
        waits = telling.position_of(subject(after(age), ONE.heads[0], **retried), None)
        assert (told(waits).detail, told(waits).opens_at) == (
            f"Attempt 2 of 3 follows {words}.",
            after(opens),
        )


def test_what_keeps_a_step_is_found_once_and_all_steps_are_told_of_the_same_find(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def counted(plan: Any, lane: Any, head: Head, to: Any) -> Any:
        asked.append(head.job_id)
        return why(plan, lane, head, to)

    monkeypatch.setattr(telling, "why", counted)
    found = telling.position_of(subject(NOW, *ONE.heads), UNITS)
    assert sorted(asked) == sorted(one.job_id for one in ONE.heads)
    assert [one.gate for one in found.steps] == ["units", "units"]
    assert [one.estimated_start for one in found.steps] == sorted(one.estimated_start for one in found.steps)  # type: ignore[type-var]
    assert found.estimated_start == found.steps[0].estimated_start
    gone = AskedJob(job_id=UUID(int=77), state=JobState.SUCCEEDED)  # type: ignore[arg-type]
    one = msgspec.structs.replace(subject(NOW, ONE.heads[0]), asked=gone)
    assert (telling.position_of(one, UNITS).state, telling.position_of(one, UNITS).gate) == (
        "succeeded",
        None,
    )
