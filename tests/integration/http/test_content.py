"""Erasing a client's content over HTTP: nothing of it can be read any more, and every figure can."""

from datetime import timedelta
from typing import Any

import anyio
import pytest
from tests.factories import QUIZ, World, assert_problem, store_tree
from tests.fleet import until
from tests.waiting import ended, until_blocked

from aifactory.accounts import service, webhooks
from aifactory.kernel.ids import ExecutionId, RequestId, parse_id
from aifactory.resources.audit import audit
from aifactory.resources.fates import FATES, Fate

pytestmark = pytest.mark.anyio

SECRET = "zanzibar"
BODY = {
    "template": QUIZ,
    "parameters": {
        "topic": SECRET,
        "source": {"text": f"# {SECRET}\n\nThe sea of {SECRET}.", "name": SECRET},
    },
    "metadata": {"note": SECRET},
}
SPARED = (Fate.EXPIRES, Fate.IDENTITY, Fate.OPERATOR)


async def fetch(world: World, sql: str, *values: Any) -> list[Any]:
    async with world.database.begin() as tx:
        return list(await tx.raw.fetch(sql, *values))


async def places_with(world: World, word: str) -> list[str]:
    """The tables in which a word is found, as text or as bytes, but where it may stay."""
    selects = [
        f"SELECT '{table}' FROM {table} WHERE concat_ws(' ', {', '.join(wanted)}) ~* $1"
        for table, columns in FATES.items()
        if (wanted := [name for name, fate in columns.items() if fate not in SPARED])
    ]
    rows = await fetch(world, " UNION ".join(selects), f"{word}|{word.encode().hex()}")
    return sorted(row[0] for row in rows)


async def money(world: World) -> list[str]:
    """Ledger, budgets and usage, byte for byte."""
    tables = ("cost_tracking", "budgets", "daily_usage", "job_attempts")
    return [
        row[0] for table in tables for row in await fetch(world, f"SELECT t::text FROM {table} t ORDER BY 1")
    ]


async def create(world: World, who: Any, key: str = "", **rest: Any) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    answer = await world.ask("POST", "/requests", who, json=BODY | rest, headers=headers)
    assert answer.status_code in (201, 202), answer.text
    return answer.json()


async def erase(world: World, **params: Any) -> Any:
    return await world.ask("DELETE", f"/clients/{world.ours.id}/content", world.admin, params=params)


async def story(world: World) -> dict[str, Any]:
    """A request that ended with a tree, a draft, an upload, a message, full of a word; and a neighbour's."""
    url = "https://hooks.example.com/x"
    hook = (await world.ask("POST", "/api/webhooks", world.ours.key, json={"url": url})).json()
    upload = await world.ask(
        "POST", "/api/data", world.ours.key, content=SECRET, headers={"Content-Type": "text/plain"}
    )
    done = await create(world, world.ours.key, "a-key-of-mine")
    theirs = await create(world, world.theirs.key)
    async with world.engine.start():
        await ended(world, done["executionId"])
        await until(lambda: _final(world, theirs["executionId"]))
    execution_id = ExecutionId(parse_id("exec", done["executionId"]) or RequestId(world.ours.client_id))
    tree = await store_tree(world.database, world.ours.client_id, execution_id)
    async with world.database.begin() as tx:
        await tx.raw.execute("UPDATE granulation_trees SET title = $1", SECRET)
        await webhooks.fan_out(tx, world.resources, limit=10)
        await tx.raw.execute("UPDATE webhook_deliveries SET body = replace(body, 'succeeded', $1)", SECRET)
    draft = await create(world, world.ours.session, execute=False)
    (delivery,) = (await world.ask("GET", f"/api/webhooks/{hook['id']}/deliveries", world.ours.key)).json()[
        "data"
    ]
    return {
        "request": done["id"],
        "execution": done["executionId"],
        "draft": draft["id"],
        "tree": tree,
        "upload": upload.json()["id"],
        "delivery": f"/api/webhooks/{hook['id']}/deliveries/{delivery['id']}",
        "theirs": theirs["id"],
    }


async def _final(world: World, execution: str) -> bool:
    found = await world.ask("GET", f"/api/execution/{execution}", world.admin)
    return found.json()["finishedAt"] is not None


async def test_erased_content_can_be_read_nowhere_and_every_figure_can(world: World) -> None:
    made = await story(world)
    cost = (await world.ask("GET", f"/api/cost/{made['execution']}", world.ours.key)).json()
    shown = (await world.ask("GET", f"/api/execution/{made['execution']}", world.ours.key)).json()
    assert cost["heldCostUsd"] == shown["heldCostUsd"] > cost["heldNowUsd"] == 0
    before = await money(world)
    assert len(before) > 6
    assert len(await places_with(world, SECRET)) >= 8
    answer = await erase(world)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "erasedRequests": 2,
        "erasedExecutions": 1,
        "erasedTrees": 1,
        "erasedData": 3,
        "complete": True,
    }
    await _assert_gone(world, made)
    await _assert_told(world, made, cost)
    assert await money(world) == before
    assert (await audit(world.database)).differences == []
    theirs = await world.ask("GET", f"/requests/{made['theirs']}/result", world.theirs.key)
    assert SECRET in theirs.text
    async with world.database.begin() as tx:
        await tx.raw.execute("UPDATE client_resource_limits SET erase_before = $1", tx.now)
        await tx.raw.execute("DELETE FROM idempotency_keys WHERE scope LIKE '%x'")
    await world.factory.retention._erase(None, 5.0)
    assert await places_with(world, SECRET) == []
    again = (await erase(world)).json()
    assert again == dict.fromkeys(list(again)[:4], 0) | {"complete": True}


async def _assert_gone(world: World, made: dict[str, Any]) -> None:
    """Each way to the content says when and why it was erased; work from it is refused."""
    ours = world.ours.key
    for path in (
        f"/requests/{made['request']}/result",
        f"/api/jobs/{made['tree']}/structure",
        f"/api/jobs/{made['tree']}/validations",
        f"/api/jobs/{made['tree']}/repairs",
        f"/api/jobs/{made['tree']}/export",
        f"/api/data/{made['upload']}",
    ):
        problem = assert_problem(await world.ask("GET", path, ours), 410, "content_erased")
        assert problem["erasure"] == "request"
        assert problem["erasedAt"]
    for request in (made["request"], made["draft"]):
        refused = await world.ask("POST", f"/requests/{request}/execute", ours, json={})
        assert_problem(refused, 410, "content_erased")
    source = {"topic": "x", "source": {"dataRef": made["upload"]}}
    refused = await world.ask("POST", "/requests", ours, json={"template": QUIZ, "parameters": source})
    assert_problem(refused, 410, "content_erased")
    assert_problem(await world.ask("POST", f"{made['delivery']}/resend", ours), 410, "content_erased")
    replay = await world.ask(
        "POST", "/requests", ours, json=BODY, headers={"Idempotency-Key": "a-key-of-mine"}
    )
    assert assert_problem(replay, 410, "content_erased")["erasedAt"]


async def _assert_told(world: World, made: dict[str, Any], cost: Any) -> None:
    """States, times, costs and the end of the events are told as ever; lists say what was erased."""
    ours = world.ours.key
    assert (await world.ask("GET", f"/api/cost/{made['execution']}", ours)).json() == cost
    status = (await world.ask("GET", f"/requests/{made['request']}/status", ours)).json()
    assert (status["state"], status["progress"]["jobsDone"]) == ("succeeded", 1)
    shown = (await world.ask("GET", f"/api/execution/{made['execution']}", ours)).json()
    assert (shown["erased"], shown["result"], shown["costUsd"]) == (True, None, cost["costUsd"])
    progress = await world.ask("GET", f"/api/progress/{made['execution']}", ours)
    assert (progress.status_code, progress.json()["tree"]) == (200, None)
    listed = (await world.ask("GET", "/requests", ours)).json()["data"]
    assert [one["erased"] for one in listed] == [True, True]
    for path in ("/api/jobs", "/api/data"):
        assert {one["erased"] for one in (await world.ask("GET", path, ours)).json()["data"]} == {True}
    detail = (await world.ask("GET", f"/requests/{made['request']}", ours)).json()
    assert (detail["parameters"], detail["metadata"]) == ({}, {})
    async with world.factory.feed.run():
        assert await _frames(world, made["execution"]) == ["execution.succeeded", "end"]
        await fetch(world, "DELETE FROM execution_events RETURNING 1")  # as when its month was dropped
        assert await _frames(world, made["execution"]) == ["end"]


async def _frames(world: World, execution: str) -> list[str]:
    answer = await world.ask("GET", f"/api/execution/{execution}/events", world.ours.key)
    lines = answer.text.splitlines()
    return [line.removeprefix("event: ") for line in lines if line.startswith("event:")]


async def test_what_takes_longer_than_an_answer_may_is_finished_by_maintenance(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aifactory.accounts.content_routes.ERASING_SECONDS", 0.0)
    monkeypatch.setattr("aifactory.resources.retention.TOGETHER", 1)
    monkeypatch.setattr("aifactory.resources.retention.ROUND_SECONDS", 0.0)
    for _ in range(2):
        await create(world, world.ours.key)
    await create(world, world.ours.key, execute=False)
    begun = (await erase(world, cancelUnfinished="true")).json()
    assert (begun["erasedExecutions"], begun["complete"]) == (0, False)
    later = await create(world, world.ours.key)
    maintenance = world.factory.retention.round
    rounds = 1
    while await maintenance() or rounds < 3:  # one to cancel, one to erase, each of one execution
        rounds += 1
    assert rounds < 10
    rows = await fetch(world, "SELECT request_id, state FROM executions WHERE erased_at IS NULL")
    assert [row["request_id"] for row in rows] == [parse_id("req", later["id"])]
    drafts = await fetch(world, "SELECT erased_at FROM client_requests WHERE NOT executed")
    assert drafts[0]["erased_at"] is not None
    assert (await erase(world, cancelUnfinished="true")).status_code == 200


async def test_unfinished_work_is_told_and_cancelled_only_when_asked(world: World) -> None:
    made = [await create(world, world.ours.key) for _ in range(2)]
    refused = assert_problem(await erase(world), 409, "unfinished_work")
    assert refused["unfinished"] == 2
    assert await fetch(world, "SELECT 1 FROM client_resource_limits WHERE erase_before IS NOT NULL") == []
    answer = await erase(world, cancelUnfinished="true")
    assert (answer.json()["erasedExecutions"], answer.json()["complete"]) == (2, True)
    for one in made:
        shown = (await world.ask("GET", f"/api/execution/{one['executionId']}", world.ours.key)).json()
        assert (shown["state"], shown["reasons"][0]["code"]) == ("cancelled", "content_erased")
        retry = await world.ask("POST", f"/api/execution/{one['executionId']}/retry", world.ours.key)
        assert_problem(retry, 410, "content_erased")
    later = await create(world, world.ours.key)
    assert_problem(await world.ask("DELETE", "/clients/client_x/content", world.admin), 404)
    found = (await world.ask("GET", f"/requests/{later['id']}", world.ours.key)).json()
    assert found["parameters"]["topic"] == SECRET
    assert (await audit(world.database)).differences == []


@pytest.mark.parametrize("first", ["retry", "erasure"])
async def test_a_request_that_is_retried_just_now_is_whole_or_erased(world: World, first: str) -> None:
    made = await create(world, world.ours.key)
    await world.ask("POST", f"/requests/{made['id']}/cancel", world.ours.key)
    request_id = RequestId(parse_id("req", made["id"]) or world.ours.client_id)
    world.database.clock_offset = timedelta(days=91)
    done, go_on = anyio.Event(), anyio.Event()
    answers: list[Any] = []

    async def retry() -> None:
        async with world.database.begin() as tx:
            new = await service._retry(
                tx, resources=world.resources, request_id=request_id, client_id=None, key_id=None
            )
            await world.resources.submit(tx, new)
            done.set()
            await go_on.wait()

    async def erase_now() -> None:
        async with world.database.begin() as tx:
            await world.factory.retention._executions(tx, None)
            done.set()
            if first == "erasure":
                await go_on.wait()

    async def ask_to_retry() -> None:
        answers.append(await world.ask("POST", f"/api/execution/{made['id']}/retry", world.ours.key))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(retry if first == "retry" else erase_now)
        await done.wait()
        tasks.start_soon(erase_now if first == "retry" else ask_to_retry)
        await until_blocked(world)
        go_on.set()
    rows = await fetch(world, "SELECT erased_at IS NULL AS kept, input FROM executions ORDER BY id")
    (request,) = await fetch(world, "SELECT erased_at IS NULL AS kept FROM client_requests")
    (data,) = await fetch(world, "SELECT erased_at IS NULL AS kept FROM data_references")
    if first == "retry":
        assert [row["kept"] for row in rows] == [False, True]
        assert rows[1]["input"]["topic"] == SECRET
        assert (request["kept"], data["kept"]) == (True, True)
    else:
        assert_problem(answers[0], 410, "content_erased")
        assert [row["kept"] for row in rows] == [False]
        assert (request["kept"], data["kept"]) == (False, False)
