"""Model calls over real HTTP that break: hangs, cuts, garbage, answers without end."""

import anyio
import msgspec
import pytest
from tests.integration.granulation.llm_cases import (
    CALL,
    PAGE,
    USED,
    but,
    failure_of,
    hang_after_headers,
    hang_before_headers,
    hang_in_an_error,
)
from tests.integration.granulation.scripted_provider import (
    Exchange,
    Script,
    ScriptedProvider,
    answers,
    head,
    piece,
    stream_of,
    streams,
    usage,
    whole,
)

from aifactory.granulation.llm import ModelCalls, Reply
from aifactory.granulation.llm_requests import first_wait_seconds
from aifactory.resources.interface import Endpoint, Health

pytestmark = pytest.mark.anyio


NESTED = b'{"choices":' + b"[" * 50_000 + b"]" * 50_000 + b"}"


async def only_keep_alive(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.event(piece())
    while not exchange.reader.at_eof():
        await exchange.chunk(b": still here\n\n")
        await exchange.pause(0.01)


@pytest.mark.parametrize(
    "script", [hang_before_headers, hang_after_headers, only_keep_alive, hang_in_an_error]
)
async def test_a_first_token_that_does_not_come_is_a_time_out_of_unknown_cost(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint, script: Script
) -> None:
    provider.script = script
    failed = await failure_of(calls, but(endpoint, first_token_seconds=0.3))
    assert (failed.fault.code, failed.fault.retryable) == ("timeout", True)
    assert (failed.signal.health, failed.usage) == (Health.BAD, None)
    if provider.requests:  # on a busy machine the time may be over before it is asked
        await provider.left.wait()


async def test_a_pause_after_the_first_token_is_a_time_out_by_its_own_limit(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(piece("He"))
        await exchange.hang()

    provider.script = script
    failed = await failure_of(calls, but(endpoint, idle_seconds=0.1))
    assert (failed.fault.code, failed.usage) == ("timeout", None)
    await provider.left.wait()


@pytest.mark.parametrize("script", [hang_before_headers, hang_in_an_error])
async def test_an_answer_that_is_not_streamed_does_not_hang_for_ever(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint, script: Script
) -> None:
    provider.script = script
    whole_at_once = but(endpoint, streaming=False, first_token_seconds=0.075)
    failed = await failure_of(calls, whole_at_once)
    assert (failed.fault.code, failed.usage) == ("timeout", None)
    if provider.requests:
        await provider.left.wait()


async def test_an_answer_that_is_not_streamed_may_take_four_times_as_long(endpoint: Endpoint) -> None:
    assert first_wait_seconds(but(endpoint, first_token_seconds=20)) == 20
    assert first_wait_seconds(but(endpoint, first_token_seconds=20, streaming=False)) == 80


async def test_a_stream_that_hangs_after_its_end_is_a_whole_answer(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(piece("Hello", finish="stop"))
        await exchange.event({"choices": [], "usage": usage()})
        await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.hang()

    provider.script = script
    with anyio.fail_after(30):
        reply = await calls.complete(but(endpoint, idle_seconds=3600), "m", CALL)
    assert isinstance(reply, Reply)
    assert (reply.text, reply.usage) == ("Hello", USED)


async def cut_before_headers(exchange: Exchange) -> None:
    exchange.cut()


async def close_before_headers(exchange: Exchange) -> None:
    exchange.writer.close()


async def cut_in_mid_chunk(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.event(piece("He"))
    await exchange.send(b"400\r\ndata: {")
    exchange.writer.close()


async def end_in_mid_answer(exchange: Exchange) -> None:
    await exchange.begin_stream()
    await exchange.event(piece("He"))
    await exchange.send(b"0\r\n\r\n")


async def cut_in_mid_document(exchange: Exchange) -> None:
    await exchange.send(head(200, {"content-type": "application/json", "content-length": "999"}) + whole())
    exchange.writer.close()


@pytest.mark.parametrize(
    "script",
    [cut_before_headers, close_before_headers, cut_in_mid_chunk, end_in_mid_answer, cut_in_mid_document],
)
async def test_a_lost_connection_is_cut_off_and_of_unknown_cost(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint, script: Script
) -> None:
    provider.script = script
    failed = await failure_of(calls, endpoint)
    assert (failed.fault.code, failed.fault.retryable) == ("cut_off", True)
    assert (failed.signal.health, failed.usage) == (Health.BAD, None)


async def test_usage_that_came_before_the_cut_is_kept(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(piece("He", usage=usage()))
        exchange.writer.close()

    provider.script = script
    failed = await failure_of(calls, endpoint)
    assert (failed.fault.code, failed.usage) == ("cut_off", USED)


async def test_a_connection_lost_after_the_answers_end_is_no_fault(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(piece("Hello", finish="stop", usage=usage()))
        exchange.writer.close()

    provider.script = script
    reply = await calls.complete(endpoint, "m", CALL)
    assert isinstance(reply, Reply)
    assert (reply.text, reply.usage) == ("Hello", USED)


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"7",
        NESTED,
        b'{"choices": "none"}',
        b'{"choices": [null]}',
        b'{"choices": [{"delta": 5}]}',
        b'{"choices": [{"delta": {"content": ["a"]}}]}',
        b'{"choices": [{"delta": {"content": "\\ud800"}}]}',
        b'{"choices": [{"delta": {"content": "a"}, "finish_reason": 3}]}',
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
async def test_garbage_is_a_bad_answer_of_unknown_cost(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint, payload: bytes, streaming: bool
) -> None:
    provider.script = stream_of(payload) if streaming else answers(200, payload)
    roomy = msgspec.structs.replace(CALL, max_output_tokens=1000)
    failed = await failure_of(calls, but(endpoint, streaming=streaming), roomy)
    assert (failed.fault.code, failed.fault.retryable) == ("bad_answer", True)
    assert (failed.signal.health, failed.usage) == (Health.BAD, None)


@pytest.mark.parametrize(
    ("kind", "body", "more"),
    [
        ("text/html", PAGE, {}),
        ("text/event-stream", PAGE, {}),
        ("application/json", b"", {}),
        ("application/json", b"{}", {}),
        ("application/json", b'{"choices": []}', {}),
        ("text/event-stream", b"data: [DONE]\n\n", {}),
        ("application/json", b"this is not gzip", {"content_encoding": "gzip"}),
    ],
)
async def test_a_good_status_without_an_answer_is_a_bad_answer(
    provider: ScriptedProvider,
    calls: ModelCalls,
    endpoint: Endpoint,
    kind: str,
    body: bytes,
    more: dict[str, str],
) -> None:
    provider.script = answers(200, body, kind=kind, **more)
    failed = await failure_of(calls, endpoint)
    assert (failed.fault.code, failed.usage) == ("bad_answer", None)


async def test_usage_that_came_with_garbage_is_kept(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = streams({"choices": [], "usage": usage()}, {"choices": 5})
    failed = await failure_of(calls, endpoint)
    assert (failed.fault.code, failed.usage) == ("bad_answer", USED)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"message": "down"}, "provider_error"),
        ("down", "provider_error"),
        ({"code": 429}, "rate_limited"),
        ({"type": "insufficient_quota"}, "quota_exhausted"),
    ],
)
async def test_an_error_after_a_good_status_is_a_fault_of_unknown_cost(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint, told: object, code: str
) -> None:
    for script in (streams(piece("He"), {"error": told}), answers(200, {"error": told})):
        provider.script = script
        failed = await failure_of(calls, endpoint)
        assert (failed.fault.code, failed.usage) == (code, None)


async def test_an_answer_longer_than_allowed_is_not_read_to_its_end(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    async def endless_text(exchange: Exchange) -> None:
        await exchange.begin_stream()
        while True:
            await exchange.event(piece("words " * 20))

    async def endless_line(exchange: Exchange) -> None:
        await exchange.begin_stream()
        while True:
            await exchange.chunk(b"data: " + b" " * 8192)

    async def endless_document(exchange: Exchange) -> None:
        await exchange.send(head(200, {"content-type": "application/json", "content-length": str(10**12)}))
        while True:
            await exchange.send(b" " * 8192)

    for script in (endless_text, endless_line, endless_document):
        provider.script = script
        provider.left.clear()
        failed = await failure_of(calls, endpoint)
        assert (failed.fault.code, failed.usage) == ("too_long", None)
        await provider.left.wait()


async def test_an_endless_error_is_not_read_to_its_end(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(head(503, {"content-length": str(10**12), "retry-after": "4"}))
        while True:
            await exchange.send(b"x" * 8192)

    provider.script = script
    failed = await failure_of(calls, endpoint)
    assert (failed.fault.code, failed.usage) == ("provider_error", None)
    assert failed.signal.blocked_seconds == 4.0
    await provider.left.wait()
