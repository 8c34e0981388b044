"""Executing for other programs: flows and single actions, retry, the queue's way in and out."""

from datetime import timedelta
from typing import Any

import anyio
import httpx
import pytest
from tests.factories import QUIZ, World, assert_problem, make_worker
from tests.hostile import to_be_sent
from tests.integration.http.test_bad_input import JSON
from tests.waiting import ended

from aifactory.kernel.clock import utc_now
from aifactory.resources.audit import audit

pytestmark = pytest.mark.anyio

STAGE = {"worker": "granulation", "templateRef": "basic_things"}
FLOW = {"workerFlow": [STAGE, {**STAGE, "name": "second"}], "parameters": {"topic": "x"}}
SOURCE = {"text": "Some words about tides.", "name": "tides"}


async def execute(world: World, body: Any, who: Any = None, **rest: Any) -> httpx.Response:
    return await world.ask("POST", "/api/execute", world.ours.key if who is None else who, json=body, **rest)


async def executed(world: World, **changes: Any) -> dict[str, Any]:
    answer = await execute(world, {"template": QUIZ, "parameters": {"topic": "x"}, **changes})
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def retry(world: World, text: str, who: Any = None, **rest: Any) -> httpx.Response:
    path = f"/api/execution/{text}/retry"
    return await world.ask("POST", path, world.ours.key if who is None else who, **rest)


async def cancel(world: World, text: str) -> None:
    answer = await world.ask("POST", f"/api/execution/{text}/cancel", world.ours.key)
    assert answer.json()["state"] == "cancelled"


# Flows and actions.


async def test_an_admin_and_a_worker_with_the_scope_execute_bring_their_own_flow(world: World) -> None:
    worker = await make_worker(world.database, "outside", ["execute"])
    made = []
    for who in (world.admin, worker):
        assert_problem(await execute(world, FLOW, who), 422)  # for whom?
        answer = await execute(world, {**FLOW, "clientId": world.ours.id}, who)
        assert answer.status_code == 202, answer.text
        made.append(answer.json())
    assert [(one["template"], len(one["stages"])) for one in made] == [("inline", 2), ("inline", 2)]
    request = (await world.ask("GET", f"/requests/{made[0]['requestId']}", world.ours.key)).json()
    assert (request["template"], request["clientId"]) == ("inline", world.ours.id)
    async with world.engine.start():
        assert (await ended(world, made[0]["id"]))["state"] == "succeeded"
    assert (await audit(world.database)).differences == []


async def test_a_flow_is_not_for_clients_nor_for_workers_without_the_scope(world: World) -> None:
    worker = await make_worker(world.database, "outside", ["result", "reserve"])
    for who, code in (
        (world.ours.key, "not_allowed"),
        (world.ours.session, "not_allowed"),
        (world.support, "not_allowed"),
        (worker, "scope_missing"),
    ):
        for path in ("/api/execute", "/api/execute?dryRun=true", "/api/pipelines/execute"):
            body = {**FLOW, "clientId": world.ours.id}
            assert_problem(await world.ask("POST", path, who, json=body), 403, code)
    assert (await world.count_rows())["client_requests"] == 0


async def test_one_thing_to_do_is_named_and_its_faults_are_pointed_at_where_they_are(world: World) -> None:
    async def fault(**body: Any) -> tuple[str, str]:
        whole = {"parameters": {}, "clientId": world.ours.id, **body}
        problem = assert_problem(await execute(world, whole, world.admin), 422)
        return problem["errors"][0]["pointer"], problem["errors"][0]["code"]

    assert await fault() == ("/template", "one_of")
    assert await fault(template=QUIZ, workerFlow=[STAGE]) == ("/template", "one_of")
    assert await fault(workerFlow=[]) == ("/workerFlow", "out_of_range")
    assert (await fault(workerFlow=[STAGE, {"worker": "granulation"}]))[0] == "/workerFlow/1/templateRef"
    assert (await fault(workerFlow=[{**STAGE, "retries": 99}]))[0] == "/workerFlow/0/retries"
    assert (await fault(workerFlow=[{**STAGE, "worker": "A b"}]))[0] == "/workerFlow/0/worker"
    assert (await fault(action={"templateRef": "../x"}))[0] == "/action/templateRef"
    unknown = {"workerFlow": [{**STAGE, "worker": "nobody"}], "parameters": {}, "clientId": world.ours.id}
    assert_problem(await execute(world, unknown, world.admin), 404)
    assert (await world.count_rows())["client_requests"] == 0


async def test_a_single_action_is_a_flow_of_one_or_what_the_operator_offers(world: World) -> None:
    action = {"worker": "granulation", "action": "granulate", "templateRef": "quiz_basic_v1"}
    body = {"action": action, "parameters": {"topic": "x"}}
    theirs = await execute(world, {**body, "clientId": world.ours.id}, world.admin)
    assert (theirs.json()["template"], theirs.json()["stages"][0]["template"]) == ("inline", "quiz_basic_v1")
    ours = await execute(world, body)
    assert (ours.json()["template"], ours.json()["stages"][0]["template"]) == (QUIZ, "quiz_basic_v1")
    for wrong in ({"templateRef": "no_such_thing"}, {"action": "export"}, {"worker": "nobody"}):
        refused = await execute(world, {**body, "action": {**action, **wrong}})
        assert_problem(refused, 404, "no_single_stage")


async def test_a_dry_run_prices_and_stores_nothing(world: World) -> None:
    before = await world.count_rows()
    body = {"template": QUIZ, "parameters": {"topic": "x", "source": SOURCE}}
    answer = await world.ask("POST", "/api/execute?dryRun=true", world.ours.key, json=body)
    assert answer.status_code == 200
    assert answer.json()["dryRun"] is True
    assert answer.json()["worstCostUsd"] > 0
    flow = {**FLOW, "clientId": world.ours.id}
    for path in ("/api/execute?dryRun=true", "/api/cost/estimate"):
        priced = await world.ask("POST", path, world.admin, json=flow)
        assert (priced.status_code, priced.json()["template"]) == (200, "inline"), priced.text
    assert await world.count_rows() == before


async def test_no_hostile_value_in_a_flow_or_an_action_is_our_fault(world: World) -> None:
    stage = {
        **STAGE,
        "name": "one",
        "action": "granulate",
        "paramsOverride": {"a": 1},
        "inputMapping": {"topic": "/request/parameters/topic"},
        "condition": {"and": [{"path": "/request/x", "op": "eq", "value": 1}]},
        "required": True,
        "retries": 1,
        "onFailure": "fail",
    }
    for body in (
        {"workerFlow": [stage], "parameters": {}, "clientId": world.ours.id},
        {"action": dict(STAGE), "parameters": {}, "clientId": world.ours.id},
    ):
        refused, decoded = to_be_sent(world.app, "POST /api/execute", body)
        for one in (*refused, *decoded):
            path = "/api/execute?dryRun=true"
            answer = await world.ask("POST", path, world.admin, content=one.content, headers=JSON)
            assert answer.status_code < 500, (one, answer.text)
            assert one.problem is None or one.problem["status"] == answer.status_code, one


# Retry.


async def test_what_ended_without_success_is_retried_as_it_was(world: World) -> None:
    made = await executed(world, parameters={"topic": "first", "source": SOURCE}, urgency="high")
    await cancel(world, made["id"])
    again = await world.ask(
        "POST", f"/requests/{made['requestId']}/execute", world.ours.key, json={"parameters": {"depth": 2}}
    )
    second = again.json()["executionId"]
    await cancel(world, second)
    answer = await retry(world, made["requestId"], headers={"Idempotency-Key": "r"})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/execution/{answer.json()['id']}"
    replay = await retry(world, made["requestId"], headers={"Idempotency-Key": "r"})
    assert (replay.json()["id"], replay.headers["idempotent-replayed"]) == (answer.json()["id"], "true")
    assert (answer.json()["requestId"], answer.json()["urgency"]) == (made["requestId"], "high")
    async with world.engine.start():
        found = await ended(world, answer.json()["id"])
    parameters = found["result"]["parameters"]
    assert (parameters["topic"], parameters["depth"], found["result"]["words"]) == ("first", 2, 4)
    assert_problem(await retry(world, made["id"]), 409, "not_retryable")  # an older one: the latest counts
    assert (await audit(world.database)).differences == []


async def test_neither_what_runs_nor_what_succeeded_is_retried(world: World) -> None:
    made = await executed(world)
    assert assert_problem(await retry(world, made["id"]), 409, "not_retryable")["currentState"] == "queued"
    async with world.engine.start():
        await ended(world, made["id"])
    problem = assert_problem(await retry(world, made["id"]), 409, "not_retryable")
    assert problem["currentState"] == "succeeded"
    assert_problem(await retry(world, made["id"], world.theirs.key), 404, "execution_not_found")
    draft = {"template": QUIZ, "parameters": {"topic": "x"}, "execute": False}
    stored = (await world.ask("POST", "/requests", world.ours.key, json=draft)).json()
    assert_problem(await retry(world, stored["id"]), 404, "execution_not_found")


async def test_an_inline_flow_and_an_expired_request_are_retried(world: World) -> None:
    inline = (await execute(world, {**FLOW, "clientId": world.ours.id}, world.admin)).json()
    late = await executed(world, deadline=(utc_now() + timedelta(days=1)).isoformat())
    world.database.clock_offset = timedelta(days=2)
    await world.engine.maintenance.expire()
    for made in (inline, late):
        answer = await retry(world, made["id"])
        assert answer.status_code == 202, answer.text
        assert len(answer.json()["stages"]) == len(made["stages"])
        assert answer.json()["deadline"] > made["deadline"]


async def test_two_retries_at_once_make_one_execution(world: World) -> None:
    made = await executed(world)
    await cancel(world, made["id"])
    answers: list[int] = []

    async def ask() -> None:
        answers.append((await retry(world, made["id"])).status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(ask)
    assert sorted(answers) == [202, 409, 409, 409, 409, 409]
    assert (await world.count_rows())["executions"] == 2


# The queue.


async def test_what_has_not_started_leaves_the_queue_and_what_has_does_not(world: World) -> None:
    made = await executed(world)
    path = f"/api/queue/{made['requestId']}"
    assert_problem(await world.ask("DELETE", path, world.theirs.key), 404, "execution_not_found")
    first = await world.ask("DELETE", path, world.ours.key)
    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert (await world.ask("DELETE", path, world.ours.key)).json() == first.json()
    async with world.database.begin() as tx:  # as if a step had run before it was cancelled
        await tx.raw.execute("UPDATE executions SET started_at = created_at")
    refused = await world.ask("DELETE", path, world.ours.key)
    assert assert_problem(refused, 409, "already_started")["currentState"] == "cancelled"
    other = await executed(world)
    async with world.engine.start():
        await ended(world, other["id"])
    refused = await world.ask("DELETE", f"/api/queue/{other['id']}", world.ours.key)
    assert assert_problem(refused, 409, "already_started")["currentState"] == "succeeded"
    assert (await audit(world.database)).differences == []


async def test_what_was_claimed_but_has_not_begun_leaves_the_queue_and_never_runs(world: World) -> None:
    made = await executed(world)
    await world.engine.lease.round()
    tick = await world.engine.scheduler.tick(slots=8, local_slots=2, idle=True)
    assert len(tick.claimed) == 1
    left = await world.ask("DELETE", f"/api/queue/{made['id']}", world.ours.key)
    assert left.json()["state"] == "cancelled"
    async with anyio.create_task_group() as tasks:
        await world.engine.runner.launch(list(tick.claimed), tasks)
    await world.engine.runner.settle_ended()
    found = (await world.ask("GET", f"/api/execution/{made['id']}", world.ours.key)).json()
    assert (found["state"], found["startedAt"], found["costUsd"]) == ("cancelled", None, 0)
    assert (await audit(world.database)).differences == []


async def test_a_stored_draft_is_enqueued_once(world: World) -> None:
    draft = {"template": QUIZ, "parameters": {"topic": "x"}, "execute": False}
    stored = (await world.ask("POST", "/requests", world.ours.key, json=draft)).json()

    async def enqueue(who: dict[str, str]) -> httpx.Response:
        body = {"requestId": stored["id"], "parameters": {"topic": "y"}}
        return await world.ask("POST", "/api/queue/enqueue", who, json=body)

    assert_problem(await enqueue(world.theirs.key), 404, "request_not_found")
    answer = await enqueue(world.ours.key)
    assert (answer.status_code, answer.json()["requestId"]) == (202, stored["id"])
    assert_problem(await enqueue(world.ours.key), 409, "already_running")
    async with world.engine.start():
        found = await ended(world, answer.json()["id"])
    assert found["result"]["parameters"]["topic"] == "y"
