"""The stream of an execution's events over real HTTP: content, resumption, refusals, its ends."""

import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import msgspec
import pytest
from tests.factories import QUIZ, World, assert_problem, make_key, open_world
from tests.fleet import until
from tests.serving import serving

from aifactory.kernel.db import Database
from aifactory.kernel.money import without_money
from aifactory.resources import event_routes
from aifactory.resources.event_routes import StreamLimits

pytestmark = pytest.mark.anyio

PARAMETERS = {"source": {"text": "The sea rises and falls twice a day."}}


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A world behind a server, and a client of it."""

    world: World
    http: httpx.AsyncClient
    server: Any
    port: int

    async def submit(self) -> dict[str, Any]:
        body = {"template": QUIZ, "parameters": PARAMETERS}
        answer = await self.http.post("/api/execute", json=body, headers=self.world.ours.key)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def open(self, execution_id: str, **headers: str) -> Any:
        path = f"/api/execution/{execution_id}/events"
        return self.http.stream("GET", path, headers={**self.world.ours.key, **headers})


@pytest.fixture
async def served(database: Database) -> AsyncIterator[Served]:
    async with (
        open_world(database) as world,
        serving(world.app) as (url, server),
        httpx.AsyncClient(base_url=url, timeout=20) as http,
    ):
        yield Served(world=world, http=http, server=server, port=int(url.rpartition(":")[2]))


def read(text: str) -> list[dict[str, Any]]:
    """Parse a whole stream: its events, with ids as numbers and data as JSON."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append(
                {
                    "event": fields["event"],
                    "id": int(fields["id"]) if "id" in fields else None,
                    "data": json.loads(fields["data"]),
                }
            )
    return found


async def whole(served: Served, execution_id: str, **headers: str) -> list[dict[str, Any]]:
    async with served.open(execution_id, **headers) as answer:
        assert answer.status_code == 200
        return read((await answer.aread()).decode())


async def test_a_stream_tells_an_execution_from_queue_to_end_and_closes(served: Served) -> None:
    execution = await served.submit()
    seen: list[list[dict[str, Any]]] = []
    async with served.world.engine.start(), anyio.create_task_group() as tasks:

        async def follow(by: str) -> None:
            seen.append(await whole(served, by))

        tasks.start_soon(follow, execution["id"])
        tasks.start_soon(follow, execution["requestId"])
    assert [one["event"] for one in seen[0]] == [
        "execution.queued",
        "execution.started",
        "stage.started",
        "job.succeeded",
        "stage.succeeded",
        "execution.succeeded",
        "end",
    ]
    assert seen[0] == seen[1]
    ids = [one["id"] for one in seen[0][:-1]]
    assert ids == sorted(set(ids))
    assert seen[0][-1]["id"] is None
    for one in seen[0]:
        assert one["data"]["type"] == one["event"]
        assert one["data"]["timestamp"].endswith("Z")
        told = one["data"]["data"]
        assert told["executionId"] == execution["id"]
        assert told["clientId"] == served.world.ours.id
        assert told["requestId"] == execution["requestId"]
        assert told["template"] == QUIZ
    assert seen[0][3]["data"]["data"]["progress"] == {"jobsDone": 1, "jobsTotal": 1}
    assert seen[0][3]["data"]["data"]["kind"] == "work"
    end = seen[0][-1]["data"]["data"]
    assert end["state"] == "succeeded"
    assert end["costUsd"] >= 0


async def test_a_stream_starts_with_the_reconnection_time_and_is_not_buffered_by_a_proxy(
    served: Served,
) -> None:
    execution = await served.submit()
    async with served.open(execution["id"]) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["cache-control"] == "no-store"
        async for text in answer.aiter_text():
            assert text.startswith("retry: 1000\n\n")
            break


async def test_a_stream_goes_on_after_the_last_event_that_was_seen(served: Served) -> None:
    execution = await served.submit()
    async with served.world.engine.start():
        events = await whole(served, execution["id"])
    for number, one in enumerate(events[:-1]):
        rest = await whole(served, execution["id"], **{"Last-Event-ID": str(one["id"])})
        assert rest == events[number + 1 :]
    far = await whole(served, execution["id"], **{"Last-Event-ID": "9" * 19})
    assert far == events[-1:]


async def test_a_number_from_beyond_the_newest_event_hides_nothing_that_comes_later(served: Served) -> None:
    execution = await served.submit()
    seen: list[dict[str, Any]] = []
    async with anyio.create_task_group() as tasks:

        async def follow() -> None:
            seen.extend(await whole(served, execution["id"], **{"Last-Event-ID": "1000000"}))

        tasks.start_soon(follow)
        await until(lambda: following(served) == 1)
        async with served.world.engine.start():
            await until(lambda: following(served) == 0)
    assert [one["event"] for one in seen] == [
        "execution.started",
        "stage.started",
        "job.succeeded",
        "stage.succeeded",
        "execution.succeeded",
        "end",
    ]


def following(served: Served) -> int:
    return served.world.factory.feed.followers


async def test_a_last_event_id_that_is_no_number_is_refused(served: Served) -> None:
    execution = await served.submit()
    path = f"/api/execution/{execution['id']}/events"
    key = (b"x-api-key", served.world.ours.key["X-API-Key"].encode())
    for number in ("", "x", "-1", "1.5", "٣", "1" * 20, "0x1"):
        headers = [key, (b"last-event-id", number.encode())]
        assert_problem(await served.http.get(path, headers=headers), 422)


async def test_another_clients_and_an_unknown_execution_are_the_same_problem(served: Served) -> None:
    execution = await served.submit()
    for number, headers in ((execution["id"], served.world.theirs.key), ("exec_x", served.world.ours.key)):
        answer = await served.http.get(f"/api/execution/{number}/events", headers=headers)
        assert_problem(answer, 404, "execution_not_found")
    assert_problem(await served.http.get(f"/api/execution/{execution['id']}/events"), 401)


async def test_a_head_request_gets_the_head_and_ends(served: Served) -> None:
    execution = await served.submit()
    answer = await served.http.head(f"/api/execution/{execution['id']}/events", headers=served.world.ours.key)
    assert answer.status_code == 200
    await until(lambda: following(served) == 0)


async def test_a_client_that_goes_is_not_followed_any_more(served: Served) -> None:
    execution = await served.submit()
    async with served.open(execution["id"]) as answer:
        async for _ in answer.aiter_text():
            break
        await until(lambda: following(served) == 1)
    await until(lambda: following(served) == 0)


async def test_a_cancelled_execution_ends_its_streams(served: Served) -> None:
    execution = await served.submit()
    async with served.open(execution["id"]) as answer:
        path = f"/api/execution/{execution['id']}/cancel"
        assert (await served.http.post(path, headers=served.world.ours.key)).status_code == 200
        events = read((await answer.aread()).decode())
    support = await served.http.get(path.replace("/cancel", "/events"), headers=served.world.support)
    assert read(support.text) == without_money(events) != events
    assert [one["event"] for one in events][-2:] == ["execution.cancelled", "end"]
    assert events[-1]["data"]["data"]["state"] == "cancelled"


async def test_the_end_of_the_process_closes_streams_at_once_without_an_end_event(served: Served) -> None:
    execution = await served.submit()
    async with contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(served.open(execution["id"])) for _ in range(50)]
        await until(lambda: following(served) == 50)
        served.server.handle_exit(15, None)
        for answer in streams:
            assert b"event: end" not in await answer.aread()
    assert following(served) == 0


async def test_a_waiting_caller_gets_the_result_as_soon_as_it_is_there(served: Served) -> None:
    looks = 0
    find = served.world.resources.find_execution

    async def counting(*arguments: Any, **rest: Any) -> Any:
        nonlocal looks
        looks += 1
        return await find(*arguments, **rest)

    served.world.resources.find_execution = counting  # type: ignore[method-assign]
    body = {"template": QUIZ, "parameters": PARAMETERS}
    headers = {**served.world.ours.key, "Prefer": "wait=60"}
    async with served.world.engine.start():
        answer = await served.http.post("/api/execute", json=body, headers=headers)
    assert (answer.status_code, answer.json()["state"]) == (200, "succeeded")
    assert looks == 1  # when it had ended


async def test_a_waiting_caller_is_answered_when_the_process_is_to_end(served: Served) -> None:
    body = {"template": QUIZ, "parameters": PARAMETERS}
    headers = {**served.world.ours.key, "Prefer": "wait=60"}
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            answer = await served.http.post("/api/execute", json=body, headers=headers)
            assert (answer.status_code, answer.json()["state"]) == (202, "queued")

        tasks.start_soon(wait)
        await until(lambda: following(served) == 1)
        served.server.handle_exit(15, None)


async def test_a_quiet_stream_is_pinged(served: Served) -> None:
    served.world.app.state.stream_limits = StreamLimits(ping_seconds=0.02)
    execution = await served.submit()
    text = ""
    async with served.open(execution["id"]) as answer:
        async for part in answer.aiter_text():
            text += part
            if text.count(": ping\n\n") >= 2:
                break
    assert len(read(text)) == 1


async def test_a_revoked_key_ends_its_streams_and_no_other(served: Served) -> None:
    served.world.app.state.stream_limits = StreamLimits(ping_seconds=0.02, check_seconds=0.05)
    execution = await served.submit()
    key_id, key = await make_key(served.world.database, served.world.ours.client_id, ["read"])
    async with served.open(execution["id"], **key) as theirs, served.open(execution["id"]) as ours:
        await until(lambda: following(served) == 2)
        path = f"/clients/{served.world.ours.id}/api-keys/{key_id}"
        revoked = await served.http.delete(path, headers=served.world.admin)
        assert revoked.status_code in (200, 204)
        assert [one["event"] for one in read((await theirs.aread()).decode())] == ["execution.queued"]
        assert following(served) == 1
        await served.http.post(f"/api/execution/{execution['id']}/cancel", headers=served.world.ours.key)
        assert read((await ours.aread()).decode())[-1]["event"] == "end"


async def test_a_client_that_does_not_read_is_cut_off(served: Served, monkeypatch: Any) -> None:
    served.world.app.state.stream_limits = StreamLimits(ping_seconds=0.0, send_seconds=0.2)
    monkeypatch.setattr(event_routes, "PING", b": " + b"x" * 2**20 + b"\n\n")
    execution = await served.submit()
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        key = served.world.ours.key["X-API-Key"]
        path = f"/api/execution/{execution['id']}/events"
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\nX-API-Key: {key}\r\n\r\n".encode())
        await until(lambda: following(served) == 1)
        await until(lambda: following(served) == 0)
