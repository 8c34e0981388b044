"""Requests, from draft to result."""

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from tests.factories import QUIZ, World, assert_problem

from aifactory.accounts.service import AccountsBook
from aifactory.kernel.ids import parse_id
from aifactory.resources.interface import Accuracy, NewRequest, RequestBook, TemplateSource, Urgency

pytestmark = pytest.mark.anyio


def request(**changes: Any) -> dict[str, Any]:
    return {"template": QUIZ, "parameters": {"topic": "x"}} | changes


async def post(world: World, body: dict[str, Any], query: str = "", **headers: str) -> Any:
    return await world.ask("POST", f"/requests{query}", world.ours.key, json=body, headers=headers)


async def test_a_request_is_accepted_with_its_state_queue_and_cost(world: World) -> None:
    answer = await post(world, request(urgency="high", metadata={"order": "7"}))
    assert answer.status_code == 202
    made = answer.json()
    assert answer.headers["location"] == f"/requests/{made['id']}"
    assert (made["state"], made["queue"], made["template"]) == ("queued", "fast", QUIZ)
    assert 0 < made["estimatedCostUsd"] <= made["heldCostUsd"]
    assert made["metadata"] == {"order": "7"}
    shown = (await world.ask("GET", f"/requests/{made['id']}", world.ours.key)).json()
    assert shown["executionId"] == made["executionId"]
    assert shown["parameters"] == {"topic": "x"}


async def test_the_source_text_is_stored_as_data_and_only_referred_to(world: World) -> None:
    source = {"text": "Some words of my own.", "format": "text", "name": "notes.txt"}
    made = (await post(world, request(parameters={"topic": "x", "source": source}))).json()
    shown = (await world.ask("GET", f"/requests/{made['id']}", world.ours.key)).json()
    kept = shown["parameters"]["source"]
    assert (kept["format"], kept["name"]) == ("text", "notes.txt")
    assert "text" not in kept
    data_id = parse_id("data", kept["dataRef"])
    async with world.database.begin() as tx:
        row = await tx.raw.fetchrow("SELECT * FROM data_references")
        stage = await tx.raw.fetchrow("SELECT * FROM jobs")
        assert await world.resources.load_data(tx, row["id"]) == source["text"].encode()
    assert (row["id"], row["client_id"], row["words"]) == (data_id, world.ours.client_id, 5)
    assert "Some words" not in str(dict(stage))

    again = request(parameters={"source": {"dataRef": kept["dataRef"]}})
    assert (await post(world, again)).status_code == 202
    foreign = await world.ask("POST", "/requests", world.theirs.key, json=again)
    assert_problem(foreign, 404, "data_not_found")
    assert_problem(await post(world, request(parameters={"source": {"dataRef": "data_x"}})), 404)


@pytest.mark.parametrize(
    "source", [{}, {"text": "a", "dataRef": "b"}, {"text": " \n"}, {"text": "a", "format": "pdf"}, "text", []]
)
async def test_a_source_must_make_sense(world: World, source: Any) -> None:
    before = await world.count_rows()
    answer = await post(world, request(parameters={"source": source}))
    assert assert_problem(answer, 422)["errors"][0]["pointer"].startswith("/parameters/source")
    assert await world.count_rows() == before


async def test_a_dry_run_prices_and_stores_nothing(world: World) -> None:
    before = await world.count_rows()
    body = request(parameters={"source": {"text": "words"}})
    answer = await post(world, body, "?dryRun=true", **{"Idempotency-Key": "a"})
    assert answer.status_code == 200
    quote = answer.json()
    assert (quote["dryRun"], quote["template"], quote["templateVersion"]) == (True, QUIZ, 1)
    assert await world.count_rows() == before
    made = (await post(world, body)).json()
    assert made["heldCostUsd"] == quote["worstCostUsd"]
    assert_problem(await post(world, request(template="nope"), "?dryRun=true"), 404)


async def test_a_draft_runs_when_it_is_executed_with_merged_parameters(world: World) -> None:
    draft = await post(world, request(execute=False, parameters={"topic": "x", "depth": 1}))
    assert (draft.status_code, draft.json()["state"]) == (201, "draft")
    path = f"/requests/{draft.json()['id']}"
    status = (await world.ask("GET", f"{path}/status", world.ours.key)).json()
    assert (status["state"], status["stages"]) == ("draft", [])
    assert_problem(await world.ask("GET", f"{path}/result", world.ours.key), 409, "not_finished")
    assert_problem(await world.ask("POST", f"{path}/cancel", world.ours.key), 409, "not_started")
    execute = {"parameters": {"depth": 3, "source": {"text": "words"}}}
    started = await world.ask("POST", f"{path}/execute", world.ours.key, json=execute)
    assert started.status_code == 202, started.text
    async with world.database.begin() as tx:
        parameters = await tx.raw.fetchval("SELECT input FROM executions")
    assert parameters["topic"] == "x"
    assert parameters["depth"] == 3
    assert "dataRef" in parameters["source"]
    running = await world.ask("POST", f"{path}/execute", world.ours.key, json={})
    assert assert_problem(running, 409, "already_running")["currentState"] == "queued"


async def test_two_executions_at_once_start_one(world: World) -> None:
    draft = (await post(world, request(execute=False))).json()
    statuses: list[int] = []

    async def execute() -> None:
        answer = await world.ask("POST", f"/requests/{draft['id']}/execute", world.ours.key, json={})
        statuses.append(answer.status_code)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(execute)
    assert sorted(statuses) == [202, 409, 409, 409, 409]


async def test_a_result_has_outputs_and_cost(world: World) -> None:
    async with world.engine.start():
        body = request(parameters={"topic": "x", "source": {"text": "one two three"}})
        answer = await post(world, body, Prefer="wait=20")
        assert answer.status_code == 200, answer.text
        result = answer.json()
        assert (result["state"], result["result"]["words"]) == ("succeeded", 3)
        assert result["costUsd"] > 0
        path = answer.headers["location"]
        later = await world.ask("GET", f"{path}/result", world.ours.key)
        assert later.json() == result
        assert float(later.headers["x-cost-usd"]) == result["costUsd"]
        status = (await world.ask("GET", f"{path}/status", world.ours.key)).json()
        assert status["progress"] == {"jobsDone": 1, "jobsTotal": 1}
        assert status["spentUsd"] == result["costUsd"]
        again = await world.ask(
            "POST", f"{path}/execute", world.ours.key, json={}, headers={"Prefer": "wait=20"}
        )
        assert (again.status_code, again.json()["state"]) == (200, "succeeded")
        assert again.json()["executionId"] != result["executionId"]
        unchanged = await world.ask("POST", f"{path}/cancel", world.ours.key)
        assert unchanged.json()["state"] == "succeeded"


async def test_waiting_ends_with_202_when_the_time_is_over(world: World) -> None:
    started = anyio.current_time()
    answer = await post(world, request(), **{"Prefer": "wait=1", "Idempotency-Key": "a"})
    assert answer.status_code == 202
    now = (await world.ask("GET", answer.headers["location"], world.ours.key)).json()
    link = f"/api/queue/position/{now['executionId']}"
    where = {"position": None, "estimatedStart": None, "positionUrl": link}
    assert answer.json().items() <= (now | where).items()
    assert 0.9 < anyio.current_time() - started < 3
    started = anyio.current_time()
    replay = await post(world, request(), **{"Prefer": "wait=30", "Idempotency-Key": "a"})
    assert (replay.status_code, replay.headers["idempotent-replayed"]) == (202, "true")
    assert replay.json()["executionId"] == answer.json()["executionId"]
    assert anyio.current_time() - started < 1


async def test_cancelling_twice_answers_the_same(world: World) -> None:
    made = (await post(world, request())).json()
    answers = [await world.ask("POST", f"/requests/{made['id']}/cancel", world.ours.key) for _ in range(2)]
    assert [answer.json()["state"] for answer in answers] == ["cancelled", "cancelled"]
    assert answers[0].json() == answers[1].json()
    result = (await world.ask("GET", f"/requests/{made['id']}/result", world.ours.key)).json()
    assert (result["state"], result["result"], result["costUsd"]) == ("cancelled", None, 0)


async def test_a_budget_that_is_too_small_is_402_and_stores_nothing(world: World) -> None:
    limits = {"limits": {"monthlyBudgetUsd": 0}}
    await world.ask("PATCH", f"/clients/{world.ours.id}", world.admin, json=limits)
    before = await world.count_rows()
    assert_problem(await post(world, request(parameters={"source": {"text": "words"}})), 402)
    after = await world.count_rows()
    assert {name: after[name] for name in ("client_requests", "executions", "data_references")} == {
        name: before[name] for name in ("client_requests", "executions", "data_references")
    }


async def test_an_admin_names_the_client_and_nobody_names_another(world: World) -> None:
    problem = assert_problem(await world.ask("POST", "/requests", world.admin, json=request()), 422)
    assert problem["errors"][0]["pointer"] == "/clientId"
    made = await world.ask("POST", "/requests", world.admin, json=request(clientId=world.ours.id))
    assert made.json()["clientId"] == world.ours.id
    assert (await post(world, request(clientId=world.ours.id))).status_code == 202
    for foreign in (world.theirs.id, "client_x", "client_" + "0" * 26):
        assert_problem(await post(world, request(clientId=foreign)), 404, "client_not_found")


async def test_lists_are_the_callers_own_by_page_and_by_state(world: World) -> None:
    mine = [(await post(world, request())).json()["id"] for _ in range(3)]
    await world.ask("POST", "/requests", world.theirs.key, json=request())
    await world.ask("POST", f"/requests/{mine[0]}/cancel", world.ours.key)
    first = (await world.ask("GET", "/requests?limit=2", world.ours.key)).json()
    assert [one["id"] for one in first["data"]] == [mine[2], mine[1]]
    rest = await world.ask("GET", f"/requests?limit=2&cursor={first['nextCursor']}", world.ours.key)
    assert [one["id"] for one in rest.json()["data"]] == [mine[0]]
    assert rest.json()["hasMore"] is False
    cancelled = (await world.ask("GET", "/requests?state=cancelled", world.ours.key)).json()["data"]
    assert [one["id"] for one in cancelled] == [mine[0]]
    assert len((await world.ask("GET", "/requests", world.admin)).json()["data"]) == 4


async def test_times_must_make_sense(world: World) -> None:
    now = datetime.now(UTC)
    later, past = (now + timedelta(hours=2)).isoformat(), (now - timedelta(hours=2)).isoformat()
    for times, pointer in (
        ({"deadline": past}, "/deadline"),
        ({"runAfter": later, "deadline": (now + timedelta(hours=1)).isoformat()}, "/deadline"),
        ({"runAfter": "9999-12-31T23:59:59Z"}, "/runAfter"),
        ({"runAfter": "2026-01-01T00:00:00"}, "/runAfter"),
        ({"deadline": "yesterday"}, "/deadline"),
    ):
        problem = assert_problem(await post(world, request(**times)), 422)
        assert problem["errors"][0]["pointer"] == pointer
    deferred = (await post(world, request(runAfter=later))).json()
    assert deferred["queue"] == "deferred"
    made = (await post(world, request(timeoutMs=60_000))).json()
    shown = (await world.ask("GET", f"/requests/{made['id']}", world.ours.key)).json()
    created, deadline = map(datetime.fromisoformat, (shown["createdAt"], shown["deadline"]))
    assert deadline - created == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": 1}}}}}}}}}, "too_deep"),
        ({f"k{n}": n for n in range(201)}, "too_many_keys"),
        ({"n": 2**53 + 1}, "out_of_range"),
        ({"n": 10**400}, "out_of_range"),
        ({"n": -(10**300)}, "out_of_range"),
        ({"n": 1e300}, "out_of_range"),
    ],
)
async def test_open_parameters_have_bounds(world: World, parameters: Any, code: str) -> None:
    assert assert_problem(await post(world, request(parameters=parameters)), 422)["errors"][0]["code"] == code


async def test_labels_have_bounds(world: World) -> None:
    assert (await post(world, request(metadata={str(n): "v" for n in range(16)}))).status_code == 202
    for metadata in ({str(n): "v" for n in range(17)}, {"a": 1}, {"a": "x" * 501}, {"": "x"}):
        assert_problem(await post(world, request(metadata=metadata)), 422)


async def test_the_resource_manager_can_open_requests_too(world: World) -> None:
    book = AccountsBook(resources=world.resources)
    assert isinstance(book, RequestBook)
    assert isinstance(book, TemplateSource)
    new = NewRequest(
        client_id=world.ours.client_id,
        key_id=None,
        template=QUIZ,
        parameters={"topic": "x", "source": {"text": "a b"}},
        urgency=Urgency.LOW,
        accuracy=Accuracy.HIGH,
    )
    async with world.database.begin() as tx:
        execution = await book.open_request(tx, new)
        await world.resources.submit(tx, execution)
    assert execution.source is not None
    listed = (await world.ask("GET", "/requests", world.ours.key)).json()["data"]
    assert (listed[0]["urgency"], listed[0]["state"]) == ("low", "queued")
