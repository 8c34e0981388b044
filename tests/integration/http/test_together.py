"""Requests that come at the same time share a transaction, and each is answered as if it were alone."""

import asyncio
from typing import Any

import httpx
import pytest
import structlog
from tests.factories import QUIZ, World, assert_problem
from tests.fleet import until

from aifactory.resources import batching
from aifactory.resources.batching import Batcher
from aifactory.resources.interface.http import ALONE_FROM

pytestmark = pytest.mark.anyio

PLAIN = {"template": QUIZ, "parameters": {"topic": "tides"}}
TEXT = {"template": QUIZ, "parameters": {"source": {"text": "The moon pulls the sea.", "name": "moon.md"}}}


class Together:
    """Lets requests of a world come while a group is under way, so that they make up the next one."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.monkeypatch = monkeypatch
        self.batcher: Batcher = world.factory.submissions
        self.sizes: list[int] = []  #: of the groups that were submitted, in turn

    async def ask(self, *bodies: Any, path: str = "/api/execute", key: str = "") -> list[httpx.Response]:
        """Send all at once, each with its own Idempotency-Key or with this one."""
        submit_many = self.world.resources.submit_many

        async def noted(tx: Any, news: Any) -> Any:
            self.sizes.append(len(news))
            return await submit_many(tx, news)

        self.batcher.submit_many = noted
        with self.monkeypatch.context() as patch:
            patch.setattr(batching, "AT_ONCE", 0)
            asking = [
                asyncio.create_task(
                    self.world.ask(
                        "POST",
                        path,
                        self.world.ours.key,
                        json=body,
                        headers={"Idempotency-Key": key or f"key-{place}"},
                    )
                )
                for place, body in enumerate(bodies)
            ]
            await until(lambda: len(self.batcher._waiting) == len(bodies))
        self.batcher._start()
        return list(await asyncio.gather(*asking))


@pytest.fixture
def together(world: World, monkeypatch: pytest.MonkeyPatch) -> Together:
    return Together(world, monkeypatch)


async def test_each_of_a_group_gets_its_own_answer_and_the_refused_leave_nothing(
    world: World, together: Together
) -> None:
    unknown = {"template": "no_such_template", "parameters": {}}
    nobodys = {**PLAIN, "parameters": {"source": {"dataRef": "data_00000000-0000-7000-8000-000000000000"}}}
    late = {**PLAIN, "deadline": "2001-01-01T00:00:00Z"}
    first, nowhere, told, gone, passed = await together.ask(PLAIN, unknown, TEXT, nobodys, late)
    assert together.sizes == [2], "one transaction, and nothing is done again for those that were refused"
    assert_problem(nowhere, 404, "template_not_found")
    assert_problem(gone, 404, "data_not_found")
    assert_problem(passed, 422)
    counted = await world.count_rows()
    assert [counted[table] for table in ("executions", "client_requests", "idempotency_keys")] == [2, 2, 2]
    assert counted["data_references"] == 1
    for answer, given in ((first, {"topic": "tides"}), (told, {})):
        assert answer.status_code == 202
        made = answer.json()
        read = (await world.ask("GET", f"/api/execution/{made['id']}", world.ours.key)).json()
        assert read.items() <= made.items()
        request = (await world.ask("GET", f"/requests/{made['requestId']}", world.ours.key)).json()
        source = request["parameters"].pop("source", None)
        assert request["parameters"] == given
        if source is not None:
            content = await world.ask("GET", f"/api/data/{source['dataRef']}", world.ours.key)
            assert content.text == "The moon pulls the sea."
    again = await world.ask(
        "POST", "/api/execute", world.ours.key, json=PLAIN, headers={"Idempotency-Key": "key-1"}
    )
    assert again.status_code == 202, "who was refused has its key back"


async def test_twins_in_one_group_are_done_once(world: World, together: Together) -> None:
    answers = await together.ask(PLAIN, PLAIN, PLAIN, path="/requests", key="twin")
    assert {(one.status_code, one.content) for one in answers} == {(202, answers[0].content)}
    assert sorted(one.headers.get("idempotent-replayed", "") for one in answers) == ["", "true", "true"]
    assert (await world.count_rows())["executions"] == 1


async def test_whose_twin_still_runs_keeps_nobody_waiting(world: World, together: Together) -> None:
    connection = await world.database.own_connection()
    try:
        async with connection.transaction():  # as the twin's would, in another process
            await connection.execute(
                "INSERT INTO idempotency_keys (scope, route, key, body_sha256, created_at) "
                "VALUES ($1, 'POST /api/execute', 'key-1', '', now())",
                f"client:{world.ours.client_id}",
            )
            answers = await together.ask(PLAIN, PLAIN, TEXT)
    finally:
        await connection.close()
    assert [one.status_code for one in answers] == [202, 409, 202]
    assert_problem(answers[1], 409, "idempotency_in_progress")


async def test_what_would_keep_others_waiting_stands_alone(world: World, together: Together) -> None:
    data = await world.ask(
        "POST", "/api/data", world.ours.key, content=b"# Moon", headers={"Content-Type": "text/markdown"}
    )
    stored = {**PLAIN, "parameters": {"source": {"dataRef": data.json()["id"]}}}
    answers = await together.ask(stored, PLAIN, PLAIN)
    assert [one.status_code for one in answers] == [202] * 3
    assert sorted(together.sizes) == [1, 3], "what is stored already is locked in a transaction of its own"
    large = {**PLAIN, "parameters": {"source": {"text": "word " * (ALONE_FROM // 5)}}}
    assert (await world.ask("POST", "/api/execute", world.ours.key, json=large)).status_code == 202


async def test_the_log_says_which_request_made_an_execution(world: World) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        answer = await world.ask("POST", "/api/execute", world.ours.key, json=PLAIN)
    told = {line["event"]: line for line in lines}
    assert told["http.answer"]["request_id"] == answer.headers["x-request-id"]
    assert told["http.answer"]["made"].endswith(answer.json()["id"])
    assert told["execution.queued"]["execution_id"] == answer.json()["id"]
