"""An execution from its submission to its end, and what each step leaves in the books."""

import contextlib
from datetime import timedelta

import anyio
import msgspec
import pytest
from tests.fake_worker import (
    AGAIN_AT_ONCE,
    BROKEN,
    COST_NANO,
    MODEL_ROUTE,
    USAGE,
    WORST_NANO,
    ScriptedWorker,
    limited,
)
from tests.fleet import Fleet

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import Unavailable
from aifactory.resources.interface import (
    LOCAL_ROUTE,
    ClientSuspended,
    EndedJob,
    ExceedsPool,
    ExecutionState,
    FlowStage,
    Job,
    NewJob,
    Outcome,
    Phase,
    RunningStage,
    StageResult,
    StageState,
    Usage,
)
from aifactory.resources.queries import processes
from aifactory.resources.queries import tick as tick_queries
from prove.plain_worker import new_job

pytestmark = pytest.mark.anyio

NOTHING_LEFT = {"resource_queue": 0, "queue_due": 0, "running_jobs": 0}


async def test_submitted_work_succeeds_through_a_running_engine(fleet: Fleet) -> None:
    fleet.script({"read": 1, "write": 3, "assess": 1})
    client = await fleet.client()
    async with fleet.engine().start():
        execution = await fleet.submit(client)
        view = await fleet.ended(execution)
    assert view.state is ExecutionState.SUCCEEDED
    assert view.result == {"jobs": 5}
    assert view.spent_nano == 5 * COST_NANO
    assert await fleet.budget(client) == (0, 5 * COST_NANO, 0)
    assert await fleet.counts() == NOTHING_LEFT
    assert await fleet.value("SELECT count(*) FROM processes") == 0
    assert (await fleet.events(execution))[:4] == [
        "execution.queued",
        "execution.started",
        "stage.started",
        "job.succeeded",
    ]


async def test_an_engine_that_has_started_may_start_jobs_at_once(fleet: Fleet) -> None:
    engine = fleet.engine()
    async with engine.start():
        assert engine.lease.may_start


async def test_a_job_of_many_units_gives_them_back_when_it_ends(fleet: Fleet) -> None:
    fleet.script({"write": 1}, input_bound=400_000, output_limit=200_000)
    client, process = await fleet.client(), await fleet.process()
    await fleet.submit(client)
    await process.work()
    level, start = await fleet.value("SELECT level_micro FROM resource_pools WHERE pool = 'test'"), 10**12
    assert start - 150 * 10**6 <= level <= start


async def test_an_attempt_that_cost_something_is_paid_and_its_job_tops_up_its_hold(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(), await fleet.process()

    async def twice(job: Job) -> Outcome:
        return AGAIN_AT_ONCE if job.attempt < 3 else Outcome(usage=USAGE)

    worker.on_run = twice
    execution = await fleet.submit(client)
    await process.tick()
    await process.settle()
    assert await fleet.budget(client) == (WORST_NANO, COST_NANO, 1)
    assert await fleet.ledger("top_up") == [COST_NANO]
    await process.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert await fleet.ledger("spend") == [COST_NANO] * 3
    assert await fleet.budget(client) == (0, 3 * COST_NANO, 0)


async def test_a_retry_without_money_for_its_top_up_fails_with_the_fault_of_the_attempt(
    fleet: Fleet,
) -> None:
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(monthly_budget_nano=WORST_NANO), await fleet.process()

    async def fail(job: Job) -> Outcome:
        return AGAIN_AT_ONCE

    worker.on_run = fail
    execution = await fleet.submit(client)
    await process.work()
    view = await fleet.view(execution)
    assert (view.state, view.reasons[0].code) == (ExecutionState.FAILED, "flaky")
    assert await fleet.budget(client) == (0, COST_NANO, 0)


async def test_a_switched_off_model_still_settles_what_it_runs(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    await process.tick()
    await fleet.execute("UPDATE models SET active = false")
    await process.settle()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_each_stage_of_a_flow_is_planned_when_the_one_before_it_ends(fleet: Fleet) -> None:
    first, second = fleet.script({"write": 2}), ScriptedWorker({"check": 1}, name="checker")
    fleet.workers["checker"] = second
    await fleet.execute("INSERT INTO worker_registry VALUES ('checker', '', '1', NULL, NULL, 1000)")
    client, process = await fleet.client(), await fleet.process()
    flow = (
        FlowStage(worker="granulation", template_ref="a"),
        FlowStage(worker="checker", template_ref="b"),
        FlowStage(worker="granulation", template_ref="c"),
    )
    execution = await fleet.submit(client, flow=flow)
    assert await fleet.budget(client) == (5 * WORST_NANO, 0, 1)
    await process.work()
    view = await fleet.view(execution)
    assert view.state is ExecutionState.SUCCEEDED
    assert [stage.state for stage in view.stages] == [StageState.SUCCEEDED] * 3
    assert (first.advanced, second.advanced) == (["write", "write"], ["check"])
    assert await fleet.budget(client) == (0, 5 * COST_NANO, 0)


async def test_a_failed_optional_stage_makes_the_result_partial(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(), await fleet.process()

    async def first_breaks(job: Job) -> Outcome:
        return BROKEN if len(worker.ran) == 1 else Outcome(usage=USAGE)

    worker.on_run = first_breaks
    optional = FlowStage(worker="granulation", template_ref="a", required=False)
    execution = await fleet.submit(client, flow=(optional, FlowStage(worker="granulation", template_ref="b")))
    await process.work()
    view = await fleet.view(execution)
    assert (view.state, view.reasons[0].code) == (ExecutionState.PARTIAL, "broken")


async def test_a_failed_required_stage_skips_what_follows_and_gives_its_hold_back(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(), await fleet.process()

    async def fail(job: Job) -> Outcome:
        return BROKEN

    worker.on_run = fail
    stage = FlowStage(worker="granulation", template_ref="a")
    execution = await fleet.submit(client, flow=(stage, stage))
    await process.work()
    view = await fleet.view(execution)
    assert view.state is ExecutionState.FAILED
    assert [stage.state for stage in view.stages] == [StageState.FAILED, StageState.SKIPPED]
    assert [one.code for stage in view.stages for one in stage.reasons] == ["broken", "not_reached"]
    assert [one.code for one in view.reasons] == ["broken"]
    assert await fleet.budget(client) == (0, COST_NANO, 0)


async def test_a_record_that_raises_fails_the_job_undoes_what_it_wrote_and_keeps_the_cost(
    fleet: Fleet,
) -> None:
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(), await fleet.process()

    async def write_then_raise(tx: Tx, job: EndedJob) -> list[NewJob]:
        await tx.raw.execute("UPDATE queues SET paused = true")
        raise RuntimeError("a bug in the worker")

    worker.on_record = write_then_raise
    execution = await fleet.submit(client)
    await process.work()
    view = await fleet.view(execution)
    assert (view.state, view.reasons[0].code) == (ExecutionState.FAILED, "record_error")
    assert await fleet.budget(client) == (0, COST_NANO, 0)
    assert await fleet.value("SELECT count(*) FROM queues WHERE paused") == 0
    assert "job.failed" in await fleet.events(execution)
    assert "job.succeeded" not in await fleet.events(execution)


async def test_a_deadlock_inside_record_is_tried_again_and_not_a_failure(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(), await fleet.process()

    async def deadlock_once(tx: Tx, job: EndedJob) -> list[NewJob]:
        if len(worker.recorded) < 4:
            await tx.raw.execute("DO $$ BEGIN RAISE EXCEPTION 'dead' USING ERRCODE = '40P01'; END $$")
        return []

    worker.on_record = deadlock_once
    execution = await fleet.submit(client)
    await process.tick()
    for _ in range(4):
        await process.settle()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert await fleet.budget(client) == (0, COST_NANO, 0)


@pytest.mark.parametrize("answer", ["raises", "no jobs", "same phase"])
async def test_an_advance_that_gives_nothing_new_fails_the_stage(fleet: Fleet, answer: str) -> None:
    worker = fleet.script({"write": 1, "more": 1})
    client, process = await fleet.client(), await fleet.process()

    async def advance(tx: Tx, stage: RunningStage) -> Phase:
        if answer == "raises":
            raise RuntimeError("a bug in the worker")
        return Phase(name="more", jobs=()) if answer == "no jobs" else worker.phase("write")

    worker.on_advance = advance
    execution = await fleet.submit(client)
    await process.work()
    view = await fleet.view(execution)
    assert (view.state, view.reasons[0].code) == (ExecutionState.FAILED, "advance_error")
    assert await fleet.budget(client) == (0, COST_NANO, 0)


async def test_a_stage_that_can_not_be_planned_refuses_the_submission(fleet: Fleet) -> None:
    fleet.worker.on_plan = lambda: Phase(name="write", jobs=())
    client = await fleet.client()
    with pytest.raises(Unavailable):
        await fleet.submit(client)
    assert await fleet.value("SELECT count(*) FROM executions") == 0
    assert await fleet.budget(client) == (0, 0, 0)


async def test_a_follow_up_job_outside_the_lines_extends_the_hold(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(), await fleet.process()
    patch = NewJob(kind="patch", line=None, payload={}, route=MODEL_ROUTE, input_bound=1000, output_limit=500)

    async def patch_once(tx: Tx, job: EndedJob) -> list[NewJob]:
        return [patch] if job.kind == "write" else []

    worker.on_record = patch_once
    execution = await fleet.submit(client)
    await process.tick()
    await process.settle()
    assert await fleet.budget(client) == (1_500_000, COST_NANO, 1)
    await process.work()
    assert (await fleet.view(execution)).result == {"jobs": 2}
    assert await fleet.budget(client) == (0, 2 * COST_NANO, 0)


async def test_a_follow_up_that_the_budget_refuses_is_recorded_as_no_money(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(monthly_budget_nano=WORST_NANO), await fleet.process()
    patch = NewJob(kind="patch", line=None, payload={}, route=MODEL_ROUTE, input_bound=1000, output_limit=500)

    async def patch_once(tx: Tx, job: EndedJob) -> list[NewJob]:
        return [patch] if job.kind == "write" else []

    worker.on_record = patch_once
    execution = await fleet.submit(client)
    await process.work()
    assert [(job.kind, job.fault and job.fault.code) for job in worker.recorded] == [
        ("write", None),
        ("patch", "no_money"),
    ]
    assert (await fleet.view(execution)).reasons[0].code == "no_money"
    assert await fleet.budget(client) == (0, COST_NANO, 0)


async def test_a_worker_that_answers_every_refusal_by_another_job_is_not_asked_for_ever(
    fleet: Fleet,
) -> None:
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(monthly_budget_nano=WORST_NANO), await fleet.process()
    local = NewJob(kind="patch", line=None, payload={}, route=LOCAL_ROUTE, input_bound=10**6, output_limit=0)

    async def always_local(tx: Tx, job: EndedJob) -> list[NewJob]:
        return [local]

    worker.on_record = always_local
    execution = await fleet.submit(client)
    await process.work()
    assert (await fleet.view(execution)).state is ExecutionState.FAILED
    assert len(worker.recorded) < 10


async def test_a_job_of_a_line_that_is_used_up_is_recorded_as_failed(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(), await fleet.process()

    async def overdraw(tx: Tx, job: EndedJob) -> list[NewJob]:
        return [new_job("write")] if len(worker.recorded) == 1 else []

    worker.on_record = overdraw
    execution = await fleet.submit(client)
    await process.work()
    assert (await fleet.view(execution)).reasons[0].code == "no_line"
    assert await fleet.budget(client) == (0, COST_NANO, 0)


async def test_a_phase_gives_back_what_it_did_not_use(fleet: Fleet) -> None:
    worker = fleet.script({"write": 5, "assess": 1})
    client, process = await fleet.client(), await fleet.process()
    worker.on_plan = lambda: Phase(name="write", jobs=(new_job("write"),) * 2)
    await fleet.submit(client)
    assert await fleet.budget(client) == (6 * WORST_NANO, 0, 1)
    await process.tick()
    await process.settle()
    assert await fleet.budget(client) == (WORST_NANO, 2 * COST_NANO, 1)
    assert await fleet.value("SELECT free_hold_nano FROM executions") == 0
    await process.work()


async def test_artifacts_are_stored_and_given_to_the_next_jobs(fleet: Fleet) -> None:
    worker = fleet.script({"read": 1, "write": 1})
    client, process = await fleet.client(), await fleet.process()

    async def run(job: Job) -> Outcome:
        if job.kind == "read":
            return Outcome(artifacts={"text": b"found"}, usage=USAGE)
        return Outcome(output={"text": job.data["text"].decode()}, usage=USAGE)

    async def advance(tx: Tx, stage: RunningStage) -> Phase | StageResult:
        if stage.phase == "read":
            job = new_job("write", data=dict(stage.jobs[0].artifacts))
            return Phase(name="write", jobs=(job,))
        return StageResult(state=StageState.SUCCEEDED, outputs=stage.jobs[-1].output)

    worker.on_run, worker.on_advance = run, advance
    execution = await fleet.submit(client)
    await process.work()
    assert (await fleet.view(execution)).result == {"text": "found"}


async def test_a_result_that_the_database_can_not_store_fails_only_its_own_job(fleet: Fleet) -> None:
    worker = fleet.script({"write": 3})
    client, process = await fleet.client(), await fleet.process()

    async def run(job: Job) -> Outcome:
        return Outcome(output={"text": "a\x00b" if len(worker.ran) == 2 else "fine"}, usage=USAGE)

    worker.on_run = run
    execution = await fleet.submit(client)
    await process.work()
    assert sorted(await fleet.job_states()) == ["failed", "succeeded", "succeeded"]
    assert (await fleet.view(execution)).reasons[0].code == "settle_error"
    assert await fleet.budget(client) == (0, 3 * COST_NANO, 0)


async def test_what_can_not_be_stored_in_any_way_fails_its_execution_and_runs_once(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()

    async def advance(tx: Tx, stage: RunningStage) -> StageResult:
        return StageResult(state=StageState.SUCCEEDED, outputs={"text": "a\x00b"})

    fleet.worker.on_advance = advance
    execution = await fleet.submit(client)
    await process.work()
    view = await fleet.view(execution)
    assert (view.state, view.reasons[0].code) == (ExecutionState.FAILED, "settle_error")
    assert await fleet.budget(client) == (0, COST_NANO, 0)
    assert await fleet.counts() == NOTHING_LEFT
    assert len(fleet.worker.ran) == 1


async def test_use_beyond_all_counting_fails_its_execution_and_is_booked_as_unknown(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    fleet.worker.answers = [Outcome(usage=Usage(input_units=2**62, output_units=2**62))]
    execution = await fleet.submit(client)
    await process.work()
    view = await fleet.view(execution)
    assert (view.state, view.reasons[0].code) == (ExecutionState.FAILED, "settle_error")
    assert len(await fleet.ledger("unreconciled")) == 1
    assert await fleet.counts() == NOTHING_LEFT


async def test_what_expires_together_is_bounded_by_its_jobs(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ENDED_TOGETHER", 5)
    fleet.script({"write": 3})
    client, process = await fleet.client(), await fleet.process()
    async with fleet.database.begin() as tx:
        deadline = tx.now + timedelta(seconds=5)
    for _ in range(5):
        await fleet.submit(client, deadline=deadline)
    await process.age(6)
    assert [await process.engine.maintenance.expire() for _ in range(4)] == [2, 2, 1, 0]
    assert await fleet.budget(client) == (0, 0, 0)


async def test_a_condition_that_can_not_be_read_fails_its_stage(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    flow = tuple(FlowStage(worker="granulation", template_ref=name) for name in ("a", "b"))
    execution = await fleet.submit(client, flow=flow)
    broken = '{"path": "/stages/0/outputs/jobs", "op": "resembles", "value": 1}'
    await fleet.execute(
        "UPDATE stage_executions SET spec = jsonb_set(spec, '{condition}', $1::text::jsonb) "
        "WHERE ordinal = 1",
        broken,
    )
    await process.work()
    view = await fleet.view(execution)
    assert (view.state, view.reasons[0].code) == (ExecutionState.FAILED, "plan_error")
    assert await fleet.budget(client) == (0, COST_NANO, 0)


async def test_a_stage_whose_condition_does_not_hold_is_skipped_and_gives_its_hold_back(
    fleet: Fleet,
) -> None:
    client, process = await fleet.client(), await fleet.process()
    never = {"path": "/stages/0/outputs/jobs", "op": "gt", "value": 1}
    execution = await fleet.submit(
        client,
        flow=(
            FlowStage(worker="granulation", template_ref="a"),
            FlowStage(worker="granulation", template_ref="b", condition=never),
        ),
    )
    await process.work()
    view = await fleet.view(execution)
    assert view.state is ExecutionState.SUCCEEDED
    assert [stage.state for stage in view.stages] == [StageState.SUCCEEDED, StageState.SKIPPED]
    assert await fleet.budget(client) == (0, COST_NANO, 0)


async def test_a_worker_that_raises_or_returns_nonsense_fails_its_job(fleet: Fleet) -> None:
    worker = fleet.script({"write": 2})
    client, process = await fleet.client(), await fleet.process()

    async def run(job: Job) -> Outcome:
        if len(worker.ran) == 1:
            raise RuntimeError("a bug in the worker")
        return "nonsense"  # type: ignore[return-value]

    worker.on_run = run
    execution = await fleet.submit(client)
    await process.work()
    assert await fleet.job_states() == ["failed", "failed"]
    assert (await fleet.view(execution)).reasons[0].code == "worker_error"


async def test_a_suspended_client_may_not_submit_and_starts_nothing(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    await fleet.set_client(client, suspended=True)
    assert (await process.tick()).claimed == ()
    with pytest.raises(ClientSuspended):
        await fleet.submit(client)
    await fleet.set_client(client)
    await process.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_work_for_later_starts_when_it_is_due_and_ages_from_then(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    async with fleet.database.begin() as tx:
        due = tx.now + timedelta(seconds=60)
    execution = await fleet.submit(client, run_after=due)
    tick = await process.tick()
    assert (tick.claimed, tick.next_wake) == ((), due)
    await process.age(61)
    tick = await process.tick()
    assert tick.claimed[0].start.head.aged_from == due
    await process.settle()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_work_past_its_deadline_expires_and_gives_its_hold_back(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    async with fleet.database.begin() as tx:
        deadline = tx.now + timedelta(seconds=5)
    execution = await fleet.submit(client, deadline=deadline)
    assert await process.engine.maintenance.expire() == 0
    await process.age(6)
    assert await process.engine.maintenance.expire() == 1
    view = await fleet.view(execution)
    assert (view.state, view.reasons[0].code) == (ExecutionState.EXPIRED, "deadline")
    assert await fleet.job_states() == ["expired"]
    assert await fleet.budget(client) == (0, 0, 0)
    assert await fleet.counts() == NOTHING_LEFT


async def test_what_its_last_try_met_is_said_of_work_that_expires(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1})
    worker.answers = [limited(seconds=60)]
    process = await fleet.process()
    async with fleet.database.begin() as tx:
        deadline = tx.now + timedelta(seconds=90)
    execution = await fleet.submit(await fleet.client(), deadline=deadline)
    await process.tick()
    await process.settle()
    assert (await fleet.view(execution)).state is ExecutionState.RUNNING
    await process.age(91)
    await process.engine.maintenance.expire()
    view = await fleet.view(execution)
    assert [reason.code for reason in view.reasons] == ["deadline", "rate_limited"]
    assert "write: HTTP 429" in view.reasons[1].message


async def test_the_scheduler_switched_off_starts_nothing_anywhere_and_stays_off(fleet: Fleet) -> None:
    client, first = await fleet.client(), await fleet.process()
    running = await fleet.submit(client)
    await first.tick()
    waiting = await fleet.submit(client)
    async with fleet.database.begin() as tx:
        await tick_queries.set_enabled(tx, enabled=False, by="a test")
    restarted = await fleet.process()
    assert (await first.tick()).claimed == (await restarted.tick()).claimed == ()
    await first.settle()
    assert (await fleet.view(running)).state is ExecutionState.SUCCEEDED
    assert (await fleet.view(waiting)).state is ExecutionState.QUEUED
    async with fleet.database.begin() as tx:
        await tick_queries.set_enabled(tx, enabled=True, by="a test")
    await restarted.work()
    assert (await fleet.view(waiting)).state is ExecutionState.SUCCEEDED


async def test_stopping_an_engine_hands_its_running_jobs_back_at_once(fleet: Fleet) -> None:
    worker, started = fleet.worker, anyio.Event()
    client, engine = await fleet.client(), fleet.engine(grace_seconds=0)

    async def hang(job: Job) -> Outcome:
        started.set()
        await anyio.sleep_forever()
        raise AssertionError

    worker.on_run = hang
    execution = await fleet.submit(client)
    async with engine.start():
        engine.wake()
        await started.wait()
        asked = anyio.current_time()
    assert anyio.current_time() - asked < 4
    assert await fleet.counts() == {"resource_queue": 1, "queue_due": 0, "running_jobs": 0}
    assert await fleet.ledger("unreconciled") == [WORST_NANO]
    worker.on_run = None
    await (await fleet.process()).work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_stopping_an_engine_lets_a_running_job_end_within_the_grace(fleet: Fleet) -> None:
    worker, started, finish = fleet.worker, anyio.Event(), anyio.Event()
    client, engine = await fleet.client(), fleet.engine(grace_seconds=10)

    async def run(job: Job) -> Outcome:
        started.set()
        await finish.wait()
        return Outcome(usage=USAGE)

    worker.on_run = run
    execution = await fleet.submit(client)
    with anyio.fail_after(5):
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(engine.start())
            engine.wake()
            await started.wait()
            stack.callback(finish.set)
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert await fleet.ledger("unreconciled") == []


async def test_a_line_whose_job_could_never_start_is_refused_by_name(fleet: Fleet) -> None:
    fleet.script({"write": 1}, input_bound=900_000, output_limit=1)
    client = await fleet.client()
    with pytest.raises(ExceedsPool) as refusal:
        await fleet.submit(client)
    assert refusal.value.extras == {"pool": "test", "neededUnits": 900_001, "usableUnits": 900_000}


async def test_a_job_that_runs_alone_keeps_its_process_to_itself(fleet: Fleet) -> None:
    alone = msgspec.structs.replace(MODEL_ROUTE, alone=True)
    release = anyio.Event()
    client, process = await fleet.client(), await fleet.process()

    async def run(job: Job) -> Outcome:
        await release.wait()
        return Outcome(usage=USAGE)

    fleet.worker.on_run = run
    fleet.worker.route = alone
    await fleet.submit(client)
    assert len((await process.tick()).claimed) == 1
    fleet.worker.route = MODEL_ROUTE
    await fleet.submit(client)
    assert (await process.tick()).claimed == ()
    release.set()
    await process.settle()
    assert len((await process.tick()).claimed) == 1
    await process.settle()


async def test_a_new_price_is_for_calls_that_begin_after_it(fleet: Fleet) -> None:
    worker = fleet.script({"write": 2})

    async def cheaper_meanwhile(job: Job) -> Outcome:
        async with fleet.database.begin() as tx:
            await tx.raw.execute(
                """
                UPDATE models SET input_nano_per_million = input_nano_per_million / 2,
                    cached_nano_per_million = cached_nano_per_million / 2,
                    output_nano_per_million = output_nano_per_million / 2
                WHERE provider = 'test'
                """
            )
        return Outcome(usage=USAGE)

    worker.on_run = cheaper_meanwhile
    client = await fleet.client()
    async with fleet.engine(slots=1).start():
        view = await fleet.ended(await fleet.submit(client))
    # The first call was under way when its price was halved, the second began after that.
    assert view.spent_nano == COST_NANO + COST_NANO // 2
