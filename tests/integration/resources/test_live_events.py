"""What an execution's events say: its beginning once, its steps with progress and cost, its end once."""

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any
from uuid import UUID

import anyio
import pytest
from tests.fake_worker import AGAIN_AT_ONCE, BROKEN, COST_NANO, WELL
from tests.fleet import Fleet, Process, until

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ExecutionId, text_id
from aifactory.resources import reports
from aifactory.resources.interface import LOCAL_ROUTE, EndedJob, FlowStage, Job, NewJob, Outcome
from aifactory.resources.reports import Reports
from aifactory.resources.settlement import LOST, Ended, settle_group

pytestmark = pytest.mark.anyio


async def told(fleet: Fleet, execution_id: ExecutionId) -> list[tuple[str, dict[str, Any]]]:
    sql = "SELECT type, data FROM execution_events WHERE execution_id = $1 ORDER BY seq"
    return [(row[0], row[1]) for row in await fleet.fetch(sql, execution_id)]


async def test_every_event_has_the_state_progress_and_cost_of_its_moment(fleet: Fleet) -> None:
    fleet.script({"write": 2, "assess": 1})
    process, execution = await fleet.process(), await fleet.submit(await fleet.client())
    await process.work()
    events = await told(fleet, execution)
    assert [
        (type_, data["state"], data["jobsDone"], data["jobsTotal"], data["spentNano"] // COST_NANO)
        for type_, data in events
    ] == [
        ("execution.queued", "queued", 0, 3, 0),
        ("execution.started", "running", 0, 3, 0),
        ("stage.started", "running", 0, 3, 0),
        ("job.succeeded", "running", 1, 3, 1),
        ("job.succeeded", "running", 2, 3, 2),
        ("job.succeeded", "running", 3, 3, 3),
        ("stage.succeeded", "running", 3, 3, 3),
        ("execution.succeeded", "succeeded", 3, 3, 3),
    ]
    named = {"kind": "write", "attempt": 1, "stage": 0, "jobId": text_id("job", fleet.worker.ran[0].id)}
    assert named.items() <= events[3][1].items()


async def test_a_job_that_is_tried_again_says_so(fleet: Fleet) -> None:
    fleet.worker.answers = [AGAIN_AT_ONCE, WELL]
    process, execution = await fleet.process(), await fleet.submit(await fleet.client())
    await process.work()
    events = [(type_, data.get("attempt")) for type_, data in await told(fleet, execution)]
    assert events[3:5] == [("job.retrying", 2), ("job.succeeded", 2)]


async def test_places_that_are_not_needed_leave_the_total(fleet: Fleet) -> None:
    fleet.worker.answers = [BROKEN]
    fleet.script({"write": 1, "assess": 4}).answers = [BROKEN]
    process, execution = await fleet.process(), await fleet.submit(await fleet.client())
    await process.work()
    last = (await told(fleet, execution))[-1][1]
    assert last["jobsDone"] == last["jobsTotal"]


async def test_each_stage_starts_and_ends_once_in_order(fleet: Fleet) -> None:
    flow = tuple(FlowStage(worker="granulation", template_ref="tests") for _ in range(3))
    process = await fleet.process()
    execution = await fleet.submit(await fleet.client(), flow=flow)
    await process.work()
    stages = [(type_, data["stage"]) for type_, data in await told(fleet, execution) if "stage." in type_]
    assert stages == [(f"stage.{what}", n) for n in range(3) for what in ("started", "succeeded")]


async def test_a_cancelled_execution_ends_its_stages_before_itself_and_says_nothing_after(
    fleet: Fleet,
) -> None:
    fleet.script({"write": 2})
    flow = tuple(FlowStage(worker="granulation", template_ref="tests") for _ in range(2))
    process = await fleet.process()
    execution = await fleet.submit(await fleet.client(), flow=flow)
    await process.tick()
    await fleet.cancel(execution)
    await process.settle()
    types = await fleet.events(execution)
    assert types[3:] == ["stage.cancelled", "stage.cancelled", "execution.cancelled"]


async def test_a_crash_between_claim_and_start_tells_the_start_once_all_the_same(fleet: Fleet) -> None:
    process, other = await fleet.process(), await fleet.process()
    execution = await fleet.submit(await fleet.client())
    (claimed,) = (await process.claim()).claimed
    lost = Ended(job_id=claimed.start.head.job_id, token=claimed.token, outcome=LOST)
    await settle_group(fleet.database, [lost], fleet.workers)
    await until(lambda: _due(fleet))
    await other.age(60)
    await other.work()
    types = await fleet.events(execution)
    assert types == [
        "execution.queued",
        "job.retrying",
        "execution.started",
        "stage.started",
        "job.succeeded",
        "stage.succeeded",
        "execution.succeeded",
    ]


async def _due(fleet: Fleet) -> bool:
    return sum((await fleet.counts()).values()) == 1


async def test_a_result_whose_start_was_never_told_is_preceded_by_it(fleet: Fleet) -> None:
    process = await fleet.process()
    execution = await fleet.submit(await fleet.client())
    (claimed,) = (await process.claim()).claimed
    ended = Ended(job_id=claimed.start.head.job_id, token=claimed.token, outcome=WELL)
    await settle_group(fleet.database, [ended], fleet.workers)
    types = await fleet.events(execution)
    assert types[:4] == ["execution.queued", "execution.started", "stage.started", "job.succeeded"]
    assert types.count("execution.started") == types.count("stage.started") == 1


async def test_starts_of_two_processes_at_once_are_told_once(fleet: Fleet) -> None:
    fleet.script({"write": 6})
    one, two = await fleet.process(slots=3), await fleet.process(slots=3)
    execution = await fleet.submit(await fleet.client())
    claims = [(one, await one.claim()), (two, await two.claim())]
    async with anyio.create_task_group() as tasks:
        for process, tick in claims:
            tasks.start_soon(process.engine.runner.launch, list(tick.claimed), process.tasks)
    await one.settle()
    await two.settle()
    types = await fleet.events(execution)
    assert types.count("execution.started") == types.count("stage.started") == 1
    seqs = await fleet.fetch("SELECT seq FROM execution_events WHERE execution_id = $1", execution)
    assert len({row[0] for row in seqs}) == len(seqs)


# The outbox.


async def test_each_end_is_taken_once_with_its_content(fleet: Fleet) -> None:
    process, client = await fleet.process(), await fleet.client()
    executions = [await fleet.submit(client) for _ in range(3)]
    await process.work()
    cancelled = await fleet.submit(client)
    await fleet.cancel(cancelled)
    async with fleet.database.begin() as one, fleet.database.begin() as two:
        first = await fleet.service.take_endings(one, 2)
        second = await fleet.service.take_endings(two, 10)
    every = [*first, *second]
    assert len(first) == len(second) == 2
    assert {message.data["executionId"] for message in every} == {
        text_id("exec", execution) for execution in (*executions, cancelled)
    }
    assert sorted(message.type for message in every) == ["execution.cancelled"] + ["execution.succeeded"] * 3
    assert all(message.data["clientId"] == text_id("client", client) for message in every)
    assert all(a.timestamp <= b.timestamp for a, b in pairwise(second))
    async with fleet.database.begin() as tx:
        assert await fleet.service.take_endings(tx, 10) == []


async def test_an_end_that_was_taken_in_vain_is_taken_again(fleet: Fleet) -> None:
    await fleet.cancel(await fleet.submit(await fleet.client()))
    with pytest.raises(ZeroDivisionError):
        await _take_and_fail(fleet)
    async with fleet.database.begin() as tx:
        assert len(await fleet.service.take_endings(tx, 10)) == 1


async def _take_and_fail(fleet: Fleet) -> None:
    async with fleet.database.begin() as tx:
        assert len(await fleet.service.take_endings(tx, 10)) == 1
        raise ZeroDivisionError


# What running jobs say.


class Talk:
    """A process with jobs that run until they are let go, and its reports."""

    def __init__(self, fleet: Fleet, process: Process) -> None:
        self.fleet = fleet
        self.process = process
        self.go = anyio.Event()

    @property
    def reports(self) -> Reports:
        return self.process.engine.runner.reports

    async def tick(self) -> None:
        """Start what is queued, and see it run."""
        started = (await self.process.tick()).claimed
        await until(lambda: len(self.reports._reports) == len(started))

    def say(self, tokens: Any) -> None:
        for report in self.reports._reports.values():
            self.reports._hear(report, {"outputTokens": tokens})

    async def progress(self, execution_id: ExecutionId) -> list[list[int]]:
        """The figures of each event of progress."""
        return [
            [run["outputTokens"] for run in data["running"]]
            for type_, data in await told(self.fleet, execution_id)
            if type_ == "execution.progress"
        ]


@pytest.fixture
async def talk(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Talk]:
    monkeypatch.setattr(reports, "SHORTEST_RUN_SECONDS", 0.0)
    fleet.script({"write": 2})
    talk = Talk(fleet, await fleet.process())

    async def run(job: Job) -> Outcome:
        await talk.go.wait()
        return WELL

    fleet.worker.on_run = run
    yield talk
    talk.go.set()
    await talk.process.settle()


async def test_what_running_jobs_say_is_one_event_of_their_execution(talk: Talk) -> None:
    client = await talk.fleet.client()
    one, two = await talk.fleet.submit(client), await talk.fleet.submit(client)
    await talk.tick()
    talk.say(7)
    assert await talk.reports.round() == reports.WRITE_EVERY_SECONDS
    assert await talk.progress(one) == await talk.progress(two) == [[7, 7]]
    assert await talk.reports.round() == reports.IDLE_SECONDS  # nothing new
    talk.say(9)
    await talk.reports.round()
    assert await talk.progress(one) == [[7, 7], [9, 9]]


async def test_short_and_silent_jobs_write_nothing(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "SHORTEST_RUN_SECONDS", 3600.0)
    execution = await talk.fleet.submit(await talk.fleet.client())
    await talk.tick()
    assert await talk.reports.round() == reports.IDLE_SECONDS
    talk.say(7)
    assert await talk.reports.round() == reports.WRITE_EVERY_SECONDS  # it may become old enough
    talk.go.set()
    await talk.process.settle()
    assert await talk.reports.round() == reports.IDLE_SECONDS
    assert await talk.progress(execution) == []


@pytest.mark.parametrize("tokens", [-1, 10**12, "7", None, 1.5, True, [7]])
async def test_senseless_words_are_not_kept(talk: Talk, tokens: Any) -> None:
    execution = await talk.fleet.submit(await talk.fleet.client())
    await talk.tick()
    talk.say(tokens)
    await talk.reports.round()
    assert await talk.progress(execution) == []


async def test_nothing_is_said_of_an_execution_that_has_ended(talk: Talk) -> None:
    execution = await talk.fleet.submit(await talk.fleet.client())
    await talk.tick()
    await talk.fleet.cancel(execution)
    talk.say(7)
    await talk.reports.round()
    assert (await talk.fleet.events(execution))[-1] == "execution.cancelled"


async def test_words_wait_for_no_settle_and_are_written_after_it(talk: Talk) -> None:
    execution = await talk.fleet.submit(await talk.fleet.client())
    await talk.tick()
    talk.say(7)
    async with talk.fleet.database.begin() as tx:
        await tx.raw.execute("SELECT FROM executions WHERE id = $1 FOR UPDATE", execution)
        assert await talk.reports.round() == reports.WRITE_EVERY_SECONDS
        assert await talk.progress(execution) == []
    await talk.reports.round()
    assert await talk.progress(execution) == [[7, 7]]


async def test_a_word_wakes_the_loop_only_while_it_rests(talk: Talk) -> None:
    await talk.fleet.submit(await talk.fleet.client())
    await talk.tick()
    talk.say(1)
    assert await talk.reports.wake.wait(0)
    await talk.reports.round()
    talk.say(2)
    assert not await talk.reports.wake.wait(0)  # else it would write more often than twice a second


# Who is told to look.


async def test_submissions_cancels_and_settles_tell_whom_they_concern(fleet: Fleet) -> None:
    told: list[tuple[str, frozenset[UUID]]] = []
    fleet.script({"plan": 1, "write": 3})
    process = await fleet.process()
    for database in (fleet.database, process.database):
        database.on_tell = lambda topic, keys: told.append((topic, frozenset(keys)))
    execution = await fleet.submit(await fleet.client())
    assert set(told) == {("work", frozenset({execution})), ("events", frozenset({execution}))}
    told.clear()
    await process.tick()
    assert told == [("events", frozenset({execution}))]
    told.clear()
    await process.settle()  # one job has become three: more than the slot that it left
    assert set(told) == {("work", frozenset({execution})), ("events", frozenset({execution}))}
    await process.tick()
    running = frozenset(row[0] for row in await fleet.fetch("SELECT job_id FROM running_jobs"))
    told.clear()
    await fleet.cancel(execution)
    assert set(told) == {("abort", running), ("events", frozenset({execution}))}
    await process.settle()


async def test_work_that_is_handed_back_is_told_to_the_others(fleet: Fleet) -> None:
    told: list[str] = []
    process = await fleet.process()
    await fleet.submit(await fleet.client())
    (claimed,) = (await process.claim()).claimed
    fleet.database.on_tell = lambda topic, _keys: told.append(topic)
    lost = Ended(job_id=claimed.start.head.job_id, token=claimed.token, outcome=LOST)
    await settle_group(fleet.database, [lost], fleet.workers)
    assert "work" in told


async def test_a_call_that_is_followed_by_a_local_step_is_told_to_the_others(fleet: Fleet) -> None:
    told: list[str] = []
    local = NewJob(kind="local", line=None, payload={}, route=LOCAL_ROUTE, input_bound=1, output_limit=1)
    worker = fleet.script({"write": 1})
    process = await fleet.process(local_slots=1)

    async def assemble(_tx: Tx, job: EndedJob) -> list[NewJob]:
        return [local] if job.kind == "write" else []

    worker.on_record = assemble
    await fleet.submit(await fleet.client())
    process.database.on_tell = lambda topic, _keys: told.append(topic)
    await process.tick()
    await process.settle()  # what was left is a slot for calls, and this process's local ones may be taken
    assert "work" in told
    told.clear()
    await process.tick()
    await process.settle()
    assert "work" not in told  # nothing followed
