"""Flows of several stages: what every way to end means, what is given back, what a crash leaves."""

import random
from typing import Any

import pytest
from tests.fake_worker import AGAIN_AT_ONCE, COST_NANO, WORST_NANO, ScriptedWorker
from tests.fleet import Fleet

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import Invalid
from aifactory.kernel.ids import new_id, text_id
from aifactory.resources.interface import (
    ExecutionState,
    FlowStage,
    Job,
    Outcome,
    Phase,
    Ports,
    Reason,
    RunningStage,
    StageResult,
    StageState,
)

pytestmark = pytest.mark.anyio

WELL, PARTLY, BADLY = StageState.SUCCEEDED, StageState.PARTIAL, StageState.FAILED
BY_TEMPLATE = {"well": WELL, "partly": PARTLY, "badly": BADLY}
LITTLE = Reason(code="little", message="It is little.")


def stage(template: str = "well", **changes: Any) -> FlowStage:
    return FlowStage(worker="granulation", template_ref=template, **changes)


def told(worker: ScriptedWorker) -> ScriptedWorker:
    """Let every stage end as its template's name says, and leave a number."""

    async def end(tx: Tx, one: RunningStage) -> Phase | StageResult | None:
        state = BY_TEMPLATE[one.resolved.template]
        reasons = () if state is WELL else (LITTLE,)
        return StageResult(state=state, outputs={} if state is BADLY else {"n": 3}, reasons=reasons)

    worker.on_advance = end
    return worker


def expected(flow: list[FlowStage], parameters: dict[str, Any]) -> tuple[str, list[str]]:
    """What a flow comes to, said a second time; conditions are ``go``, or that stage 0 is whole."""
    states: list[str] = []
    lacking = made = broken = False
    for one in flow:
        if broken or not _is_wanted(one, states, parameters):
            states.append("skipped")
            continue
        outcome = BY_TEMPLATE[one.template_ref]
        if outcome is not BADLY:
            made, lacking = True, lacking or outcome is PARTLY
            states.append(outcome.value)
        elif one.on_failure == "skip":
            lacking = lacking or one.required
            states.append("skipped")
        else:
            lacking = True
            broken = one.required and one.on_failure in ("fail", "offline")
            states.append("failed")
    failed_over = any(
        BY_TEMPLATE[one.template_ref] is BADLY and state == "skipped" and one.condition is None
        for one, state in zip(flow, states, strict=True)
    )
    if broken:
        return "failed", states
    if not made:
        return ("failed" if lacking or failed_over else "succeeded"), states
    return ("partial" if lacking else "succeeded"), states


def _is_wanted(one: FlowStage, states: list[str], parameters: dict[str, Any]) -> bool:
    if one.condition is None:
        return True
    if one.condition["path"] == "/request/go":
        return "go" in parameters
    return states[0] == "succeeded"


ENDINGS = {
    ("fail", True): ("failed", ["failed", "skipped"]),
    ("fail", False): ("partial", ["failed", "succeeded"]),
    ("offline", True): ("failed", ["failed", "skipped"]),
    ("offline", False): ("partial", ["failed", "succeeded"]),
    ("skip", True): ("partial", ["skipped", "succeeded"]),
    ("skip", False): ("succeeded", ["skipped", "succeeded"]),
    ("continue_partial", True): ("partial", ["failed", "succeeded"]),
    ("continue_partial", False): ("partial", ["failed", "succeeded"]),
}


async def test_what_a_failed_stage_does_to_its_execution(fleet: Fleet) -> None:
    told(fleet.script({"write": 1}))
    client, process = await fleet.client(), await fleet.process()
    executions = {}
    for on_failure, required in ENDINGS:
        flow = (stage("badly", required=required, on_failure=on_failure), stage())
        executions[on_failure, required] = await fleet.submit(client, flow=flow)
    alone = await fleet.submit(client, flow=(stage("badly", required=False, on_failure="skip"),))
    await process.work()
    assert (await fleet.view(alone)).state is ExecutionState.FAILED, "nothing was made"
    found = {}
    for case, execution in executions.items():
        view = await fleet.view(execution)
        found[case] = (view.state.value, [one.state.value for one in view.stages])
        assert view.stages[0].reasons == (LITTLE,)
    assert found == ENDINGS


async def test_an_execution_says_of_each_reason_which_stage_it_is_of(fleet: Fleet) -> None:
    told(fleet.script({"write": 1}))
    process = await fleet.process()
    flow = (stage("partly", name="first"), stage("badly", required=False))
    execution = await fleet.submit(await fleet.client(), flow=flow)
    await process.work()
    view = await fleet.view(execution)
    assert [one.message for one in view.reasons] == [
        "Stage first: It is little.",
        "Stage 1: It is little.",
    ]
    assert view.stages[1].reasons == (LITTLE,)
    assert view.result == {"first": {"n": 3}}


def random_flow(dice: random.Random) -> list[FlowStage]:
    conditions: list[dict[str, Any] | None] = [None, None, {"path": "/request/go", "op": "exists"}]
    made: list[FlowStage] = []
    for ordinal in range(dice.randint(1, 5)):
        state = {"path": "/stages/0/state", "op": "eq", "value": "succeeded"}
        made.append(
            stage(
                dice.choice([*BY_TEMPLATE, "badly"]),
                name=dice.choice([None, f"s{ordinal}"]),
                required=dice.random() < 0.5,
                on_failure=dice.choice(["fail", "skip", "continue_partial", "offline"]),
                condition=dice.choice([*conditions, state] if ordinal else [None]),
            )
        )
    return made


async def test_random_flows_end_once_in_the_right_state_and_hold_nothing(fleet: Fleet) -> None:
    told(fleet.script({"write": 2}))
    client, process = await fleet.client(), await fleet.process()
    dice = random.Random(20)
    flows = {}
    for _ in range(70):
        flow, parameters = random_flow(dice), dice.choice([{}, {"go": True}])
        execution = await fleet.submit(client, flow=tuple(flow), parameters=parameters)
        flows[execution] = (flow, parameters)
    await process.work()
    for execution, (flow, parameters) in flows.items():
        view = await fleet.view(execution)
        states = [one.state.value for one in view.stages]
        assert (view.state.value, states) == expected(flow, parameters), flow
        types = await fleet.events(execution)
        assert [one for one in types if one in FINAL] == [f"execution.{view.state.value}"]
        assert types[-1] == f"execution.{view.state.value}"
        assert all((one.finished_at is not None) and one.open_jobs == 0 for one in view.stages)
        ran = [one for one in states if one in ("succeeded", "partial", "failed")]
        skipped_over = view.spent_nano // COST_NANO // 2 - len(ran)
        assert 0 <= skipped_over <= states.count("skipped")
    assert await fleet.value("SELECT coalesce(sum(remaining), 0)::int FROM execution_lines") == 0
    assert await fleet.value("SELECT sum(free_hold_nano)::bigint FROM executions") == 0
    held, spent, unfinished = await fleet.budget(client)
    assert (held, unfinished) == (0, 0)
    assert spent == await fleet.value("SELECT sum(spent_nano)::bigint FROM executions")
    assert len(set(map(str, [one[0] for one in flows.values()]))) > 60


FINAL = [f"execution.{one.value}" for one in ExecutionState if one.final]


async def test_a_stage_that_is_not_wanted_gives_its_money_back_when_the_one_before_ends(
    fleet: Fleet,
) -> None:
    told(fleet.script({"write": 1}))
    client, process = await fleet.client(), await fleet.process()
    unwanted = {"path": "/stages/0/outputs/n", "op": "gt", "value": 3}
    wanted = {"path": "/stages/first/outputs/n", "op": "ge", "value": 3}
    flow = (stage(name="first"), stage(condition=unwanted), stage(condition=wanted))
    execution = await fleet.submit(client, flow=flow)
    assert await fleet.budget(client) == (3 * WORST_NANO, 0, 1)
    await process.tick()
    await process.settle()
    view = await fleet.view(execution)
    assert [one.state.value for one in view.stages] == ["succeeded", "skipped", "running"]
    assert view.stages[2].shown_state.value == "waiting", "none of its jobs has started"
    assert [reason.code for reason in view.stages[1].reasons] == ["not_wanted"]
    assert await fleet.budget(client) == (WORST_NANO, COST_NANO, 1)
    written = await fleet.fetch("SELECT DISTINCT xmin::text FROM stage_executions")
    assert len(written) == 1, "one transaction ended, skipped and opened"
    assert "stage.skipped" in await fleet.events(execution)


async def test_a_first_stage_has_its_condition_and_its_inputs_too(fleet: Fleet) -> None:
    worker = told(fleet.script({"write": 1}))
    process = await fleet.process()
    seen: list[Any] = []

    async def look(tx: Tx, one: RunningStage) -> Phase | StageResult | None:
        seen.append(one.inputs.mapped)
        return StageResult(state=WELL, outputs={}, reasons=())

    worker.on_advance = look
    flow = (
        stage(condition={"path": "/request/go", "op": "exists"}),
        stage(input_mapping={"topic": "/request/topic", "none": "/request/none"}),
    )
    client = await fleet.client()
    execution = await fleet.submit(client, flow=flow, parameters={"topic": "tides"})
    assert await fleet.budget(client) == (WORST_NANO, 0, 1)
    await process.work()
    assert [one.state.value for one in (await fleet.view(execution)).stages] == ["skipped", "succeeded"]
    assert seen == [{"topic": "tides"}]


async def test_a_request_that_wants_no_stage_is_refused_and_holds_nothing(fleet: Fleet) -> None:
    client = await fleet.client()
    flow = (stage(condition={"path": "/request/go", "op": "exists"}),)
    with pytest.raises(Invalid) as refused:
        await fleet.submit(client, flow=flow)
    assert refused.value.errors[0].code == "no_stage"
    assert await fleet.budget(client) == (0, 0, 0)


async def test_a_mapped_reference_must_be_the_client_s_own(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1})
    ours, theirs, process = await fleet.client(), await fleet.client(), await fleet.process()
    async with fleet.database.begin() as tx:
        stored = {
            client: await fleet.service.store_data(
                tx, client_id=client, name="s", media_type="text/plain", content=b"secret"
            )
            for client in (ours, theirs)
        }
    given: list[Any] = []
    reference = text_id("data", stored[theirs])

    async def leave(tx: Tx, one: RunningStage) -> Phase | StageResult | None:
        given.append(one.inputs.data)
        return StageResult(state=WELL, outputs={"text": {"dataRef": reference}}, reasons=())

    worker.on_advance = leave
    flow = (stage(), stage(input_mapping={"source": "/stages/0/outputs/text"}))
    for client in (theirs, ours):
        execution = await fleet.submit(client, flow=flow)
        await process.work()
    view = await fleet.view(execution)
    assert (view.state, view.stages[1].reasons[0].code) == (ExecutionState.FAILED, "input_missing")
    assert "secret" not in str(view)
    assert given == [{}, {"source": stored[theirs]}, {}]
    for nothing in (text_id("data", new_id()), "no id", 5):
        reference = nothing  # type: ignore[assignment]
        execution = await fleet.submit(ours, flow=flow)
        await process.work()
        assert (await fleet.view(execution)).reasons[0].code == "input_missing"


async def test_a_stage_without_what_it_can_not_do_without_fails_before_it_costs(fleet: Fleet) -> None:
    worker = told(fleet.script({"write": 1}))
    worker.given_ports = Ports(takes={"tree": "tree"}, gives={"tree": "tree"}, needed=frozenset({"tree"}))
    client, process = await fleet.client(), await fleet.process()
    flow = (stage(), stage(input_mapping={"tree": "/stages/0/outputs/tree"}))
    execution = await fleet.submit(client, flow=flow)
    await process.work()
    view = await fleet.view(execution)
    assert (view.state, view.reasons[0].code) == (ExecutionState.FAILED, "input_missing")
    assert view.spent_nano == COST_NANO


@pytest.mark.parametrize(("on_failure", "state"), [("fail", "failed"), ("skip", "partial")])
async def test_a_stage_that_can_not_be_planned_ends_like_any_failed_one(
    fleet: Fleet, on_failure: str, state: str
) -> None:
    worker = told(fleet.script({"write": 1}))
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client, flow=(stage(), stage(on_failure=on_failure)))

    def broken() -> Phase:
        raise RuntimeError("no plan")

    worker.on_plan = broken
    await process.work()
    view = await fleet.view(execution)
    assert (view.state.value, view.stages[1].reasons[0].code) == (state, "plan_error")
    assert await fleet.budget(client) == (0, COST_NANO, 0)


async def test_a_stage_s_retries_are_those_of_its_jobs(fleet: Fleet) -> None:
    worker = told(fleet.script({"write": 1}, max_attempts=99))

    async def fail(job: Job) -> Outcome:
        return AGAIN_AT_ONCE

    worker.on_run = fail
    client, process = await fleet.client(), await fleet.process()
    executions = {
        retries: await fleet.submit(client, flow=(stage("badly", retries=retries),)) for retries in (0, 2, 5)
    }
    await process.work()
    for retries, execution in executions.items():
        assert sum(job.execution_id == execution for job in worker.ran) == retries + 1


async def test_a_process_that_dies_between_stages_leaves_all_to_the_next_one(fleet: Fleet) -> None:
    worker = told(fleet.script({"write": 1}))
    client, first, second = await fleet.client(), await fleet.process(), await fleet.process()
    execution = await fleet.submit(client, flow=(stage(), stage(), stage()))
    await first.tick()
    await first.settle()  # and it dies: the second stage was opened in the same transaction
    await second.tick()
    await second.settle()
    assert [one.state.value for one in (await fleet.view(execution)).stages] == [
        "succeeded",
        "succeeded",
        "running",
    ]
    await first.claim()  # and it dies between a claim and its start
    await second.age(60)
    assert await second.rescue() == 1
    await second.work()
    view = await fleet.view(execution)
    assert view.state is ExecutionState.SUCCEEDED
    assert len(worker.ran) == 3
    assert await fleet.budget(client) == (0, 3 * COST_NANO, 0)


async def test_a_cancelled_pipeline_gives_back_what_its_later_stages_hold(fleet: Fleet) -> None:
    told(fleet.script({"write": 1}))
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client, flow=(stage(), stage(), stage()))
    await process.tick()
    await process.settle()
    view = await fleet.cancel(execution)
    assert [one.state.value for one in view.stages] == ["succeeded", "cancelled", "cancelled"]
    assert await fleet.budget(client) == (0, COST_NANO, 0)


async def test_each_stage_gets_the_parameters_for_all_and_its_own(fleet: Fleet) -> None:
    told(fleet.script({"write": 1}))
    parameters = {
        "topic": "tides",
        "validation": {"level": 1, "threshold": 50},
        "stages": {"quiz": {"topic": "ebb", "validation": {"level": 2}}},
    }
    flow = (stage(), stage(name="quiz"))
    await fleet.submit(await fleet.client(), flow=flow, parameters=parameters)
    rows = await fleet.fetch("SELECT resolved -> 'parameters' AS own FROM stage_executions ORDER BY ordinal")
    assert [row["own"] for row in rows] == [
        {"topic": "tides", "validation": {"level": 1, "threshold": 50}},
        {"topic": "ebb", "validation": {"level": 2, "threshold": 50}},
    ]
