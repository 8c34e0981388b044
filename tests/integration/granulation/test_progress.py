"""What is told while a model writes, and what a reader sees of an execution until its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import anyio
import httpx
import pytest
from tests.factories import make_user
from tests.fleet import Process, until
from tests.integration.granulation.llm_cases import GOOD, reply_of
from tests.integration.granulation.scripted_provider import (
    KEY,
    Exchange,
    ScriptedProvider,
    answers,
    piece,
    whole,
)
from tests.integration.granulation.test_worker import make_client, submit, text
from tests.unit.granulation.generation.paper import Paper

from aifactory.factory import Factory, build_factory
from aifactory.granulation.late_calls import LateCalls
from aifactory.granulation.llm import ModelCalls
from aifactory.granulation.llm_requests import Call
from aifactory.granulation.model.calls import run_call
from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId, ExecutionId, JobId, StageId, new_id, text_id
from aifactory.kernel.principal import Role
from aifactory.resources.interface import Endpoint, Hop, Job
from aifactory.server import build_app
from aifactory.settings import Settings
from devprovider.running import Running
from prove.ground import Ground, Work, open_ground

pytestmark = pytest.mark.anyio
SMALL = {"granularityLevel": 1}
TOPIC = {"topic": "Safe water at home", **SMALL}
HANGING: dict[str, Any] = {"script": ["", "hang"], "faults": {"hang_seconds": 60}}
"""An outline comes; then one call hangs until it is given up and made again."""

CALL = Call(system="s", user="u", schema_name="n", schema=None, max_output_tokens=100, call_id="job_1.1")


async def test_a_stream_is_told_of_while_it_comes(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    heard = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(piece("Some words"))
        await heard.wait()  # nothing more comes before somebody has been told
        await exchange.event(piece(finish="stop"))
        await exchange.end_stream()

    told: list[int] = []

    def tell(tokens: int) -> None:
        told.append(tokens)
        heard.set()

    provider.script = script
    await calls.complete(endpoint, "m", CALL, tell)
    assert told == [4]


async def test_an_answer_in_one_piece_and_one_that_nobody_listens_to_tell_nothing(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    told: list[int] = []
    provider.script = answers(200, whole())
    await calls.complete(endpoint, "m", CALL, told.append)
    assert told == []
    provider.script = GOOD
    assert (await reply_of(calls, endpoint)).text == "Hello"


async def test_a_job_emits_the_tokens_of_its_answer(provider: ScriptedProvider, endpoint: Endpoint) -> None:
    provider.script = GOOD
    emitted: list[dict[str, Any]] = []
    job = Job(
        id=JobId(new_id()),
        execution_id=ExecutionId(new_id()),
        stage_id=StageId(new_id()),
        client_id=ClientId(new_id()),
        kind="outline",
        payload={},
        data={},
        attempt=1,
        hop=Hop(provider="p", model="m", pool="x"),
        timeout_seconds=9,
        input_bound=4_000,
        output_limit=500,
        endpoint=endpoint,
    )
    calls = LateCalls(environ={"THE_KEY": KEY})
    outcome = await run_call(job, Paper("quiz", {"topic": "Tea"}).wish, calls, emitted.append)
    await calls.close()
    assert outcome.fault is not None, "a greeting is no outline"
    assert emitted == [{"outputTokens": 1}]


# What a reader sees.


class Reader:
    """Asks again and again for an execution's progress, as a good client does, and keeps what was new."""

    def __init__(self, http: httpx.AsyncClient, headers: dict[str, str], path: str) -> None:
        self.http = http
        self.headers = headers
        self.path = path
        self.etag = ""
        self.seen: list[dict[str, Any]] = []

    async def look(self) -> dict[str, Any]:
        response = await self.http.get(self.path, headers={**self.headers, "If-None-Match": self.etag})
        if response.status_code != 304:
            assert response.status_code == 200, response.text
            self.etag = response.headers["etag"]
            self.seen.append(response.json())
        return self.seen[-1]

    def sees(self, condition: Callable[[dict[str, Any]], bool]) -> Callable[[], Awaitable[bool]]:
        async def look() -> bool:
            await anyio.sleep(0.05)  # polling without a pause would take the time from what is polled for
            return condition(await self.look())

        return look


@contextlib.asynccontextmanager
async def simulated(database: Database, **knobs: Any) -> AsyncIterator[Ground]:
    with Running() as simulator:
        simulator.configure(**knobs)
        async with open_ground(database, simulator, first_token_seconds=1, idle_seconds=1) as ground:
            yield ground


@contextlib.asynccontextmanager
async def reader_of(factory: Factory, execution_id: ExecutionId) -> AsyncIterator[Reader]:
    transport = httpx.ASGITransport(build_app(factory), raise_app_exceptions=False)
    headers = await make_user(factory.database, "root", Role.ADMIN)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield Reader(http, headers, f"/api/progress/{text_id('exec', execution_id)}")


def states(seen: dict[str, Any]) -> list[str]:
    return [node["state"] for node in (seen["tree"] or {"nodes": []})["nodes"]]


def outline(nodes: list[dict[str, Any]]) -> list[Any]:
    return [(node["id"], node["title"]) for node in nodes]


def assert_only_grew(seen: list[dict[str, Any]]) -> None:
    """Check what a reader saw, look by look."""
    percents = [one["percent"] for one in seen]
    assert percents == sorted(percents)
    done = [one["jobsDone"] for one in seen]
    assert done == sorted(done)
    drafts = [one["tree"] for one in seen if one["tree"] is not None and one["tree"]["draft"]]
    for before, after in pairwise(drafts):
        if before["stage"] != after["stage"]:
            continue
        assert outline(before["nodes"]) == outline(after["nodes"])
        for old, new in zip(before["nodes"], after["nodes"], strict=True):
            assert (old["state"], new["state"]) != ("written", "pending")


async def test_a_course_is_seen_growing_part_by_part_until_it_is_stored(database: Database) -> None:
    async with simulated(database, **HANGING) as ground:
        work = Work(structure_type="course", parameters={**TOPIC, "validation": {"threshold": 0}})
        execution_id = await ground.submit(work)
        async with reader_of(ground.factory, execution_id) as reader:
            await until(reader.sees(lambda seen: sorted(states(seen)) == ["pending", "written", "written"]))
            growing = reader.seen[-1]
            assert growing["state"] == "running"
            assert 0 < growing["percent"] < 100
            assert growing["estimatedRemainingMs"] >= 0
            assert growing["elapsedMs"] > 0
            tree = growing["tree"]
            assert (tree["draft"], tree["complete"], tree["treeId"]) == (True, False, None)
            assert (tree["stage"], tree["structureType"]) == (0, "course")
            assert all(node["title"] and node["summary"] for node in tree["nodes"])
            assert {node["kind"] for part in tree["nodes"] for node in part["children"]} == {"lesson"}
            await until(reader.sees(lambda seen: seen["state"] in ("succeeded", "partial")), 60)
            assert_only_grew(reader.seen)
            await assert_stored(reader, growing)


async def assert_stored(reader: Reader, growing: dict[str, Any]) -> None:
    """Check the end: it points to the stored tree, whose parts are those that grew."""
    end = reader.seen[-1]
    assert (end["percent"], end["estimatedRemainingMs"]) == (100, None)
    assert end["costUsd"] > 0
    tree_id = end["tree"]["treeId"]
    assert end["tree"] == {**end["tree"], "draft": False, "complete": True, "nodes": []}
    assert end["stages"][0]["treeId"] == tree_id
    stored = await reader.http.get(f"/api/jobs/{tree_id}/structure", headers=reader.headers)
    assert outline(stored.json()["nodes"]) == outline(growing["tree"]["nodes"])


async def test_a_pipeline_is_seen_step_by_step_each_stage_with_its_tree(database: Database) -> None:
    factory = build_factory(Settings(local_workers=1), database)
    new = await submit(factory, await make_client(factory), "course_with_quiz", source=text(), **SMALL)
    async with reader_of(factory, new.execution_id) as reader, anyio.create_task_group() as tasks:
        await factory.engine.lease.round()
        process = Process(factory.engine, tasks)
        while (await reader.look())["state"] in ("queued", "running"):
            assert (await process.tick()).claimed
            await process.settle()
    assert_only_grew(reader.seen)
    trees = [seen["tree"] for seen in reader.seen]
    shown = [None if tree is None else (tree["stage"], tree["draft"]) for tree in trees]
    # Read, then written, then scored; the quiz takes the course's objectives first.
    assert shown == [None, None, (0, True), (0, False), (0, False), (0, False), (1, True), (1, False)]
    assert [one["percent"] for one in reader.seen][-2:] == [85, 100]
    assert all(states(seen).count("pending") == 0 for seen in reader.seen)
    assert [(one["ordinal"], one["name"]) for one in reader.seen[0]["stages"]] == [(0, "course"), (1, "quiz")]
    assert reader.seen[-1]["stages"][0]["treeId"] == trees[4]["treeId"]


async def test_an_execution_that_was_cancelled_shows_what_had_been_written(database: Database) -> None:
    async with simulated(database, **HANGING) as ground:
        execution_id = await ground.submit(Work(structure_type="course", parameters=TOPIC))
        async with reader_of(ground.factory, execution_id) as reader:
            await until(reader.sees(lambda seen: "written" in states(seen)))
            async with database.begin() as tx:
                await ground.factory.resources.cancel(tx, execution_id)
            ended = await reader.look()
            assert (ended["state"], ended["percent"]) == ("cancelled", 100)
            assert "written" in states(ended)
            assert (ended["tree"]["draft"], ended["tree"]["treeId"]) == (True, None)
            assert_only_grew(reader.seen)
