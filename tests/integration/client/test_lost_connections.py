"""Both clients against servers that drop, stall, repeat themselves and talk nonsense, over real sockets."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.client.scripted import (
    LAST_CHUNK,
    STREAM,
    Close,
    Cut,
    Hold,
    ScriptedServer,
    chunk,
    reply,
)
from tests.unit.client.playing import end, event

from aifactory.client import (
    AIFactory,
    AsyncAIFactory,
    ConnectionFailed,
    Event,
    RateLimited,
    Retries,
    ServerError,
)

QUICK = Retries(total_seconds=20, unreachable_seconds=0.2, outage_seconds=20, first_pause_seconds=0.005)
SOON = b"retry: 1\n\n"
MADE = {"id": "req_1", "state": "queued", "executionId": "exec_1"}

Run = Callable[..., Any]


def run_sync(server: ScriptedServer | str, method: str, *args: Any, timeout: float = 10, **named: Any) -> Any:
    url = server if isinstance(server, str) else server.url
    with AIFactory(url, "aif_test", timeout=timeout, retries=QUICK) as factory:
        found = getattr(factory, method)(*args, **named)
        return list(found) if method == "events" else found


def run_async(
    server: ScriptedServer | str, method: str, *args: Any, timeout: float = 10, **named: Any
) -> Any:
    url = server if isinstance(server, str) else server.url

    async def run() -> Any:
        async with AsyncAIFactory(url, "aif_test", timeout=timeout, retries=QUICK) as factory:
            found = getattr(factory, method)(*args, **named)
            return [one async for one in found] if method == "events" else await found

    return asyncio.run(run())


both = pytest.mark.parametrize("run", [run_sync, run_async])


@both
def test_events_come_once_each_though_the_server_drops_repeats_and_babbles(run: Run) -> None:
    second = chunk(event(2) + event(3))
    acts = [
        Cut(STREAM + chunk(SOON + event(1)) + second[: len(second) // 3]),
        reply(503, {"code": "unavailable"}, "retry-after: 0"),
        Cut(b"HTTP/1.1 200 OK\r\ncontent-ty"),
        Close(b"\x00\xff this is no HTTP\r\n\r\n"),
        Close(STREAM + chunk(SOON + event(1) + event(2) + b"data: garbage\n\n")),
        Close(STREAM + chunk(SOON + event(2) + event(3)) + LAST_CHUNK),
        Close(STREAM + chunk(event(4)[:30]) + chunk(event(4)[30:] + end()) + LAST_CHUNK),
    ]
    with ScriptedServer(*acts) as server:
        found: list[Event] = run(server, "events", "req_1")
    assert [one.id for one in found] == [1, 2, 3, 4, None]
    assert found[-1].data.state == "succeeded"
    resumed = [request.headers.get("last-event-id") for request in server.seen]
    assert resumed == [None, "1", "1", "1", "1", "2", "3"]
    assert {request.headers["x-api-key"] for request in server.seen} == {"aif_test"}


@both
def test_a_silent_stream_is_taken_up_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aifactory.client.following.SILENCE_SECONDS", 0.1)
    monkeypatch.setattr("aifactory.client.following.follow.__kwdefaults__", {"silence_seconds": 0.1})
    acts = [Hold(STREAM + chunk(SOON + event(1))), Close(STREAM + chunk(event(2) + end()) + LAST_CHUNK)]
    with ScriptedServer(*acts) as server:
        found = run(server, "events", "exec_1")
    assert [one.id for one in found] == [1, 2, None]
    assert server.left.wait(5)


@both
def test_a_creation_is_sent_again_under_the_same_key(run: Run) -> None:
    acts = [
        Cut(),
        reply(503, {"code": "unavailable"}, "retry-after: 0"),
        Cut(reply(202, MADE)[:-20]),
        reply(409, {"code": "idempotency_in_progress"}, "retry-after: 0"),
        reply(202, MADE),
    ]
    with ScriptedServer(*acts) as server:
        made = run(server, "submit", "t", {"topic": "x"})
    assert made.id == "req_1"
    assert len({request.headers["idempotency-key"] for request in server.seen}) == 1
    assert len({request.body for request in server.seen}) == 1
    assert len(server.seen) == 5


@both
def test_a_refusal_is_not_repeated(run: Run) -> None:
    with (
        ScriptedServer(reply(429, {"code": "queue_full", "detail": "Full."}, "retry-after: 60")) as server,
        pytest.raises(RateLimited, match="Full"),
    ):
        run(server, "submit", "t")
    assert len(server.seen) == 1


@both
@pytest.mark.parametrize("body", [b"<html>login</html>", b"{", b"null"])
def test_nonsense_with_200_is_told(run: Run, body: bytes) -> None:
    with ScriptedServer(reply(200, body, kind="text/html")) as server, pytest.raises(ServerError):
        run(server, "status", "req_1")


@both
def test_a_redirect_is_not_followed_with_the_key(run: Run) -> None:
    with (
        ScriptedServer() as other,
        ScriptedServer(reply(307, b"", f"location: {other.url}/steal")) as server,
        pytest.raises(ServerError, match="redirects"),
    ):
        run(server, "usage", "client_1")
    assert other.seen == []


@both
def test_a_server_that_is_not_there_is_told_with_what_to_do(run: Run) -> None:
    with ScriptedServer() as server:
        pass
    with pytest.raises(ConnectionFailed, match="make run"):
        run(server.url, "status", "req_1")


@both
def test_a_server_that_never_answers_is_left_in_time(run: Run) -> None:
    answer = reply(200, {"id": "req_1", "state": "queued"})
    with ScriptedServer(Hold(), answer) as server:
        assert run(server, "status", "req_1", timeout=0.2).state == "queued"
    assert server.left.wait(5)


def test_leaving_the_events_early_closes_the_stream() -> None:
    with (
        ScriptedServer(Hold(STREAM + chunk(event(1)))) as server,
        AIFactory(server.url, "aif_test") as factory,
    ):
        with contextlib.closing(factory.events("exec_1")) as events:
            assert next(events).id == 1
        assert server.left.wait(5)


def test_leaving_the_events_early_closes_the_stream_in_asyncio_and_when_cancelled() -> None:
    async def leave(server: ScriptedServer) -> None:
        async with AsyncAIFactory(server.url, "aif_test") as factory:
            arrived = asyncio.Event()

            async def read() -> None:
                async for _ in factory.events("exec_1"):
                    arrived.set()

            reading = asyncio.create_task(read())
            await arrived.wait()
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            assert await asyncio.to_thread(server.left.wait, 5)

    with ScriptedServer(Hold(STREAM + chunk(event(1)))) as server:
        asyncio.run(leave(server))


@both
def test_waiting_goes_on_by_asking_where_a_proxy_holds_the_stream_back(run: Run) -> None:
    running = {"id": "exec_1", "requestId": "req_1", "template": "t", "state": "running"}
    acts = [
        reply(200, b"<html>", kind="text/html"),
        reply(200, running),
        reply(200, running | {"state": "partial"}),
    ]
    with ScriptedServer(*acts) as server:
        assert run(server, "wait", "exec_1", timeout=30).good
