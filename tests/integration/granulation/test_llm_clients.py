"""Model calls over real HTTP: keys, the environment, clients that come and go."""

import asyncio
import logging
import subprocess
import sys

import anyio
import msgspec
import pytest
from tests.integration.granulation.llm_cases import (
    CALL,
    GOOD,
    but,
    hang_after_headers,
    hang_before_headers,
    hang_in_an_error,
    reply_of,
)
from tests.integration.granulation.scripted_provider import (
    KEY,
    Exchange,
    Script,
    ScriptedProvider,
    answers,
    piece,
    streams,
    usage,
    whole,
)

from aifactory.granulation.llm import Failed, ModelCalls, Reply
from aifactory.resources.interface import Endpoint, Health, Usage

pytestmark = pytest.mark.anyio


async def test_the_key_is_read_at_each_call(provider: ScriptedProvider, endpoint: Endpoint) -> None:
    environ = {"THE_KEY": "first-key\n"}
    calls = ModelCalls(environ=environ)
    provider.script = GOOD
    await reply_of(calls, endpoint)
    environ["THE_KEY"] = "second-key"
    await reply_of(calls, endpoint)
    sent = [request.headers["authorization"] for request in provider.requests]
    assert sent == ["Bearer first-key", "Bearer second-key"]
    await calls.close()


@pytest.mark.parametrize("key", [None, "", " \n", "schlüssel", "two\nlines"])
async def test_without_a_usable_key_nothing_is_sent(
    provider: ScriptedProvider, endpoint: Endpoint, key: str | None
) -> None:
    calls = ModelCalls(environ={} if key is None else {"THE_KEY": key})
    failed = await calls.complete(endpoint, "m", CALL)
    assert isinstance(failed, Failed)
    assert (failed.fault.code, failed.usage) == ("no_api_key", Usage())
    assert failed.signal.health is Health.UNKNOWN
    assert provider.connections == 0


async def test_nothing_of_the_process_environment_reaches_another_provider(
    provider: ScriptedProvider, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET")
    for name in names:
        monkeypatch.setenv(f"OPENAI_{name}", f"leak-{name}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/leak")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Leak: leak\nAuthorization: Bearer leak\nHost: leak")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    provider.script = GOOD
    calls = ModelCalls(environ={"THE_KEY": KEY, "OPENAI_API_KEY": "leak"})
    await reply_of(calls, endpoint)
    await reply_of(calls, but(endpoint, api_key_variable=None))
    first, second = provider.requests
    assert not any("leak" in text.lower() for request in (first, second) for text in request.headers.values())
    assert not any("organization" in name or "project" in name for name in first.headers)
    assert KEY not in second.headers["authorization"]
    await calls.close()


async def test_openai_itself_is_the_address_whatever_the_environment_says(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{provider.port}")
    tunnels: list[bytes] = []

    async def refuse_tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnels.append(await reader.readuntil(b"\r\n"))
        writer.write(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    proxy = await asyncio.start_server(refuse_tunnel, "127.0.0.1", 0)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    calls = ModelCalls(environ={})
    failed = await calls.complete(Endpoint(provider="openai"), "m", CALL)
    assert isinstance(failed, Failed)
    assert failed.fault.code == "unreachable"
    assert tunnels == [b"CONNECT api.openai.com:443 HTTP/1.1\r\n"]
    assert provider.connections == 0
    await calls.close()
    proxy.close()


def test_the_clients_log_variable_changes_nothing() -> None:
    lines = "import logging, aifactory.granulation.llm\nprint(logging.getLogger('openai').level)"
    ran = subprocess.run(
        [sys.executable, "-c", lines], env={"OPENAI_LOG": "debug"}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == str(logging.WARNING)


async def test_a_hundred_calls_at_once_share_one_client(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    together = asyncio.Barrier(100)

    async def script(exchange: Exchange) -> None:
        await together.wait()
        text = exchange.request.body["messages"][1]["content"]
        await streams(piece(text), piece(finish="stop", usage=usage()))(exchange)

    provider.script = script
    replies: dict[str, Reply] = {}

    async def ask(number: int) -> None:
        call = msgspec.structs.replace(CALL, user=f"call {number}")
        replies[call.user] = await reply_of(calls, endpoint, call)

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(ask, number)
    assert len(replies) == 100
    assert all(text == reply.text for text, reply in replies.items())
    assert len(calls._lines) == 1


async def test_calls_one_after_the_other_use_one_connection(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = GOOD
    for _ in range(5):
        await reply_of(calls, endpoint)
    assert provider.connections == 1


async def test_a_changed_endpoint_gets_a_new_client_and_calls_under_way_end_well(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await exchange.begin_stream()
        begun.set()
        await go_on.wait()
        await exchange.event(piece("old", finish="stop"))
        await exchange.end_stream()

    provider.script = slow
    async with anyio.create_task_group() as group:
        old: list[Reply] = []

        async def ask() -> None:
            old.append(await reply_of(calls, endpoint))

        group.start_soon(ask)
        await begun.wait()
        former = calls._lines["scripted"].client
        provider.script = GOOD
        assert (await reply_of(calls, but(endpoint, idle_seconds=29))).text == "Hello"
        assert calls._lines["scripted"].client is not former
        assert not former.is_closed()
        go_on.set()
    assert [reply.text for reply in old] == ["old"]
    assert former.is_closed()


@pytest.mark.parametrize("script", [hang_before_headers, hang_after_headers, hang_in_an_error])
async def test_cancelling_a_call_closes_its_connection_and_goes_on_outwards(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint, script: Script
) -> None:
    begun = asyncio.Event()

    async def announced(exchange: Exchange) -> None:
        begun.set()
        await script(exchange)

    provider.script = announced
    ended: list[object] = []

    async def ask() -> None:
        ended.append(await calls.complete(endpoint, "m", CALL))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await begun.wait()
        group.cancel_scope.cancel()
    assert ended == []
    await provider.left.wait()


async def test_closing_fails_the_calls_under_way_and_later_ones_open_anew(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    begun = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(piece("He"))
        begun.set()
        await exchange.hang()

    provider.script = script
    ended: list[object] = []

    async def ask() -> None:
        ended.append(await calls.complete(endpoint, "m", CALL))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await begun.wait()
        await calls.close()
    [failed] = ended
    assert isinstance(failed, Failed)
    assert (failed.fault.code, failed.usage) == ("cut_off", None)
    provider.script = answers(200, whole())
    assert isinstance(await calls.complete(endpoint, "m", CALL), Reply)
