"""The Orchestrator's older paths: handshake, process, and the aliases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest
from tests.factories import QUIZ, World, assert_problem, make_worker, store_tree
from tests.fakes import FakeWorker
from tests.fleet import until
from tests.waiting import until_blocked

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import ClientId, ExecutionId, new_id, parse_id
from aifactory.resources import orchestrator
from aifactory.resources.audit import audit
from aifactory.resources.interface import (
    ExecutionState,
    Reason,
    RunningStage,
    StageResult,
    StageState,
)
from aifactory.resources.maintenance import Maintenance
from aifactory.resources.orchestrator_schemas import camel_names
from aifactory.resources.queries import views

pytestmark = pytest.mark.anyio

REASON = Reason(code="below_threshold", message="The score is low.")
SOURCE = {"text": "Some words about tides.", "name": "tides"}
INPUT = {"template_name": QUIZ, "topic": "x", "structure_type": "quiz", "source": SOURCE}


async def shake(world: World, name: str | None = "work-1", who: Any = None, **changes: Any) -> httpx.Response:
    body = {
        "executionId": name,
        "stageId": "stage-1",
        "action": "granulate",
        "inputData": INPUT,
        "resourceRequirements": {"estimatedTokens": 100, "timeoutMs": 30_000},
        **changes,
    }
    return await world.ask("POST", "/api/handshake", world.ours.key if who is None else who, json=body)


async def process(world: World, name: str = "work-1", who: Any = None) -> httpx.Response:
    who = world.ours.key if who is None else who
    return await world.ask("POST", "/api/process", who, json={"executionId": name})


async def value(world: World, sql: str, *values: Any) -> Any:
    async with world.database.begin() as tx:
        return await tx.raw.fetchval(sql, *values)


async def change(world: World, sql: str, *values: Any) -> None:
    async with world.database.begin() as tx:
        await tx.raw.execute(sql, *values)


async def held_and_unfinished(world: World, client_id: ClientId) -> tuple[int, int]:
    held = "SELECT coalesce(sum(held_nano), 0)::bigint FROM budgets WHERE client_id = $1"
    unfinished = "SELECT coalesce(sum(unfinished), 0)::bigint FROM budgets WHERE client_id = $1"
    return await value(world, held, client_id), await value(world, unfinished, client_id)


async def states(world: World) -> list[str]:
    async with world.database.begin() as tx:
        return [row["state"] for row in await tx.raw.fetch("SELECT state FROM executions ORDER BY id")]


async def test_a_handshake_holds_and_process_runs_it_to_its_result(world: World) -> None:
    promised = (await shake(world)).json()
    assert (promised["executionId"], promised["workerId"], promised["accepted"]) == (
        "work-1",
        "granulation",
        True,
    )
    assert promised["resourceRequirements"] == {"cpu": 1, "memory": None, "apiCalls": 0}
    assert "reason" not in promised
    held, unfinished = await held_and_unfinished(world, world.ours.client_id)
    assert (held, unfinished) == (round(promised["heldCostUsd"] * 10**9), 1)
    async with world.factory.run(), world.engine.start():
        await world.engine.tick()
        assert await states(world) == ["queued"]  # it waits for its process
        answer = await process(world)
        assert answer.status_code == 200, answer.text
    done = answer.json()
    assert (done["executionId"], done["status"]) == ("work-1", "completed")
    assert done["result"] == {"jobId": None, "structure": None, "qualityScore": None}
    assert done["metrics"]["costUsd"] > 0
    assert done["metrics"]["tokensUsed"] == 0  # a local step uses none
    alias = (await world.ask("GET", "/api/executions/work-1", world.ours.key)).json()
    assert (alias["state"], alias["result"]["parameters"]["topic"]) == ("succeeded", "x")
    assert alias["result"]["parameters"]["structureType"] == "quiz"
    same = await world.ask("GET", f"/api/executions/{alias['id']}", world.ours.key)
    assert same.json() == alias
    assert await held_and_unfinished(world, world.ours.client_id) == (0, 0)
    assert (await audit(world.database)).differences == []


async def test_the_same_handshake_again_is_the_same_promise_and_another_one_must_wait(world: World) -> None:
    first = await shake(world)
    assert (await shake(world)).json() == first.json()
    assert_problem(await shake(world, inputData={**INPUT, "topic": "y"}), 409, "handshake_held")
    assert len(await states(world)) == 1
    soon = {"timeoutMs": 1}
    assert (await shake(world, "work-2", resourceRequirements=soon)).json()["accepted"]
    assert (await process(world, "work-2")).status_code in (200, 202)
    assert (await shake(world, "work-2", inputData={**INPUT, "topic": "y"})).json()["accepted"]
    unnamed = (await shake(world, None)).json()["executionId"]
    assert parse_id("exec", unnamed) is not None
    assert (await world.ask("GET", f"/api/executions/{unnamed}", world.ours.key)).json()["id"] == unnamed


async def test_the_same_handshake_at_once_takes_one_hold(world: World) -> None:
    answers: list[Any] = []

    async def ask() -> None:
        answers.append((await shake(world)).json())

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(ask)
    assert answers == answers[:1] * 6
    assert await states(world) == ["queued"]


async def test_a_promise_ends_after_a_minute_and_gives_its_money_back(world: World) -> None:
    await shake(world)
    world.database.clock_offset = timedelta(seconds=59)
    assert await world.engine.maintenance.expire() == 0
    world.database.clock_offset = timedelta(seconds=61)
    problem = assert_problem(await process(world), 409, "handshake_expired")
    assert problem["currentState"] == "expired"
    assert await world.engine.maintenance.expire() == 1
    assert_problem(await process(world), 409, "handshake_expired")
    assert await states(world) == ["expired"]
    assert await held_and_unfinished(world, world.ours.client_id) == (0, 0)
    assert (await audit(world.database)).differences == []
    assert (await shake(world)).json()["accepted"]


async def test_a_cancelled_promise_is_over(world: World) -> None:
    await shake(world)
    held = (await world.ask("GET", "/api/executions/work-1", world.ours.key)).json()
    assert (await world.ask("DELETE", f"/api/queue/{held['id']}", world.ours.key)).status_code == 200
    problem = assert_problem(await process(world), 409, "handshake_expired")
    assert problem["currentState"] == "cancelled"
    assert (await shake(world)).json()["accepted"]


async def test_what_can_not_be_had_now_is_refused_with_its_reason_and_nothing_is_held(world: World) -> None:
    async def refused() -> tuple[int, bool, str]:
        before = await world.count_rows()
        answer = await shake(world, executionId=str(new_id()))
        after = await world.count_rows()
        assert {name for name in after if after[name] != before[name]} <= {"budgets"}
        return answer.status_code, answer.json()["accepted"], answer.json()["reason"]

    client_id = world.ours.client_id
    await change(world, "UPDATE resource_pools SET paused = true WHERE pool = 'compute'")
    assert await refused() == (200, False, "pool")
    await change(world, "UPDATE resource_pools SET paused = false, capacity = 1000, level_micro = 0")
    assert await refused() == (200, False, "pool")
    await change(world, "UPDATE resource_pools SET capacity = 1000000, level_micro = 1000000000000")
    await change(
        world,
        "INSERT INTO quotas VALUES ($1, 'compute', 'day', 1, 0, clock_timestamp(), 'infinity')",
        client_id,
    )
    assert await refused() == (200, False, "pool")
    await change(
        world,
        "UPDATE quotas SET units_limit = 10000, units_used = 10000, period_end = $1",
        datetime(2999, 1, 1, tzinfo=UTC),
    )
    assert await refused() == (200, False, "pool")
    said = (await shake(world, "used-up")).json()["detail"]
    assert said == "Your day's quota of compute is used up: it opens at 2999-01-01T00:00:00.000Z."
    await change(world, "DELETE FROM quotas WHERE client_id = $1", client_id)
    await change(world, "UPDATE client_resource_limits SET max_running = 0 WHERE client_id = $1", client_id)
    assert await refused() == (200, False, "cap")
    await change(
        world,
        "UPDATE client_resource_limits SET max_running = 5, monthly_budget_nano = 1 WHERE client_id = $1",
        client_id,
    )
    assert await refused() == (200, False, "budget")
    await change(world, "UPDATE client_resource_limits SET monthly_budget_nano = NULL")
    assert (await shake(world)).json()["accepted"]


async def test_a_promise_counts_against_the_budget(world: World) -> None:
    cost = round((await shake(world)).json()["heldCostUsd"] * 10**9)
    limit = "UPDATE client_resource_limits SET monthly_budget_nano = $2 WHERE client_id = $1"
    await change(world, limit, world.ours.client_id, cost)
    body = {"template": QUIZ, "parameters": {"topic": "x"}}
    answer = await world.ask("POST", "/api/execute", world.ours.key, json=body)
    assert_problem(answer, 402, "budget_in_use")
    world.database.clock_offset = timedelta(seconds=61)
    await world.engine.maintenance.expire()
    assert (await world.ask("POST", "/api/execute", world.ours.key, json=body)).status_code == 202


async def test_processing_twice_at_once_runs_it_once_and_both_get_the_result(world: World) -> None:
    await shake(world)
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await process(world))

    async with world.factory.run(), world.engine.start(), anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        tasks.start_soon(ask)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert await states(world) == ["succeeded"]
    assert await value(world, "SELECT count(*) FROM job_attempts") == 1
    assert (await audit(world.database)).differences == []


async def test_processing_goes_on_after_its_timeout(world: World) -> None:
    async def has_succeeded() -> bool:
        return await states(world) == ["succeeded"]

    await shake(world, resourceRequirements={"timeoutMs": 1})
    answer = await process(world)
    assert (answer.status_code, answer.json()["status"]) == (202, "processing")
    assert answer.json()["result"] is None
    async with world.engine.start():
        await until(has_succeeded)
    assert (await process(world)).json()["status"] == "completed"


async def test_the_result_is_the_trees_id_its_outline_and_its_score(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = [await store_tree(world.database, one.client_id) for one in (world.ours, world.theirs)]
    outputs = {"treeId": "", "score": 88.5}

    async def advance(self: FakeWorker, tx: Tx, stage: RunningStage) -> StageResult:
        return StageResult(state=StageState.PARTIAL, outputs=dict(outputs), reasons=(REASON,))

    monkeypatch.setattr(FakeWorker, "advance", advance)
    async with world.factory.run(), world.engine.start():
        for name, outputs["treeId"] in zip(("mine", "not mine"), trees, strict=True):
            await shake(world, name)
            done = (await process(world, name)).json()
            assert (done["status"], done["reasons"][0]["code"]) == ("partial", "below_threshold")
            assert (done["result"]["jobId"], done["result"]["qualityScore"]) == (outputs["treeId"], 88.5)
            outline = done["result"]["structure"]
            if name == "not mine":
                assert outline is None
                continue
            path = f"/api/jobs/{trees[0]}/structure"
            assert outline == (await world.ask("GET", path, world.ours.key)).json()


# The end of a promise and its processing, at the same moment.


def another_process(world: World, offset: timedelta) -> tuple[Database, Maintenance]:
    database = Database(url=world.database.url, pool_size=3, clock_offset=offset)
    maintenance = Maintenance(
        database=database,
        workers=world.engine.maintenance.workers,
        lease=world.engine.lease,
        known_tokens=set,
        environ={},
    )
    return database, maintenance


async def test_expiry_lets_go_of_what_is_being_processed(world: World) -> None:
    await shake(world)
    database, maintenance = another_process(world, timedelta(seconds=61))
    async with world.database.begin() as tx:
        await orchestrator.begin(tx, scope=f"client:{world.ours.client_id}", name="work-1")
        assert await maintenance.expire() == 0
    assert await maintenance.expire() == 0
    await database.close()
    assert await states(world) == ["queued"]
    async with world.factory.run(), world.engine.start():
        assert (await process(world)).json()["status"] == "completed"
    assert (await audit(world.database)).differences == []


async def test_processing_waits_for_an_expiry_that_came_first_and_is_refused(world: World) -> None:
    await shake(world)
    execution_id: ExecutionId = await value(world, "SELECT id FROM executions")
    refused: list[object] = []

    async def begin() -> None:
        try:
            async with world.database.begin() as tx:
                await orchestrator.begin(tx, scope=f"client:{world.ours.client_id}", name="work-1")
        except orchestrator.HandshakeExpired as error:
            refused.append(error.extras["current_state"])

    database, _ = another_process(world, timedelta(seconds=61))
    async with anyio.create_task_group() as tasks, database.begin() as tx:
        await views.lock_state(tx, execution_id)
        tasks.start_soon(begin)
        await until_blocked(world)
        await world.resources.cancel(tx, execution_id)
    await database.close()
    assert refused == [ExecutionState.CANCELLED]
    assert await held_and_unfinished(world, world.ours.client_id) == (0, 0)
    assert (await audit(world.database)).differences == []


# Whose it is, and what it takes.


async def test_a_promise_is_its_makers(world: World) -> None:
    await shake(world, resourceRequirements={"timeoutMs": 1})
    assert_problem(await process(world, who=world.theirs.key), 404, "handshake_not_found")
    worker = await make_worker(world.database, "outside", ["execute"])
    other = await make_worker(world.database, "other", ["execute"])
    assert_problem(await process(world, who=worker), 404, "handshake_not_found")
    assert_problem(await shake(world, who=worker), 422)  # for whom?
    assert (await shake(world, who=worker, clientId=world.theirs.id)).json()["accepted"]
    assert (await process(world, who=world.ours.session)).status_code in (200, 202)
    assert (await world.ask("GET", "/api/executions/work-1", worker)).json()["clientId"] == world.theirs.id
    assert_problem(await world.ask("GET", "/api/executions/work-1", other), 404)
    assert_problem(await world.ask("GET", "/api/executions/work-1", world.theirs.key), 404)
    without = await make_worker(world.database, "reader", ["result"])
    assert_problem(await shake(world, who=without, clientId=world.ours.id), 403, "scope_missing")


async def test_names_are_taken_in_both_spellings_but_not_twice(world: World) -> None:
    both = {"structure_type": "quiz", "structureType": "quiz", "template_name": QUIZ}
    assert_problem(await shake(world, inputData=both), 422)
    assert_problem(await shake(world, inputData={"topic": "x"}), 422)
    assert_problem(await shake(world, action="sing"), 422)
    assert_problem(await shake(world, inputData={"template_name": "no_such"}), 404, "template_not_found")
    by_type = await shake(world, "a", inputData={"structure_type": "quiz", "topic": "x"})
    by_worker_template = await shake(world, "b", inputData={"templateName": "quiz_basic_v1", "topic": "x"})
    assert by_type.json()["accepted"]
    assert by_worker_template.json()["accepted"]
    assert await value(world, "SELECT count(*) FROM executions WHERE template = $1", QUIZ) == 2
    body = {"inputData": {"template_name": QUIZ, "granularity_level": 2, "size": {"per_level": [1]}}}
    made = await world.ask("POST", "/api/pipelines/execute", world.ours.key, json=body)
    assert (made.status_code, made.json()["template"]) == (202, QUIZ)
    stored = await value(world, "SELECT input FROM executions ORDER BY id DESC LIMIT 1")
    assert stored == {"granularityLevel": 2, "size": {"perLevel": [1]}}
    twice = {**body, "parameters": {"granularityLevel": 3}}
    answer = await world.ask("POST", "/api/pipelines/execute", world.ours.key, json=twice)
    assert_problem(answer, 422)


async def test_names_deep_down_end_somewhere() -> None:
    deep: Any = {"a_b": 1}
    for _ in range(5000):
        deep = {"a_b": deep}
    assert list(camel_names(deep)) == ["aB"]


async def test_handshakes_are_forgotten_two_days_after_their_end(world: World) -> None:
    await shake(world)
    world.database.clock_offset = timedelta(days=1)
    await world.engine.maintenance.purge()
    assert (await world.count_rows())["handshakes"] == 1
    world.database.clock_offset = timedelta(days=3)
    world.engine.maintenance._purged = None
    await world.engine.maintenance.purge()
    assert (await world.count_rows())["handshakes"] == 0
