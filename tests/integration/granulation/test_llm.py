"""Model calls over real HTTP: what is sent, and what a good answer becomes."""

import gzip

import msgspec
import pytest
from tests.integration.granulation.llm_cases import CALL, GOOD, but, reply_of
from tests.integration.granulation.scripted_provider import (
    KEY,
    Exchange,
    ScriptedProvider,
    answers,
    json_of,
    piece,
    stream_of,
    streams,
    usage,
    whole,
)

from aifactory.granulation.llm import Finish, ModelCalls, Reply
from aifactory.resources.interface import Endpoint, Health, Signal, StructuredOutput, Usage

pytestmark = pytest.mark.anyio


async def test_a_streamed_answer_comes_whole_with_its_usage(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = GOOD
    reply = await reply_of(calls, endpoint)
    assert (reply.text, reply.finish, reply.model) == ("Hello", Finish.STOP, "m-1")
    assert reply.usage == Usage(input_units=12, cached_input_units=4, output_units=3)
    assert reply.signal == Signal(health=Health.GOOD)
    assert reply.seconds_to_first_token is not None
    assert reply.simulated is False


async def test_an_answer_that_is_not_streamed_comes_whole_with_its_usage(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = answers(200, whole())
    reply = await reply_of(calls, but(endpoint, streaming=False))
    assert (reply.text, reply.seconds_to_first_token) == ("Hello", None)
    assert reply.usage == Usage(input_units=12, cached_input_units=4, output_units=3)
    assert not {"stream", "stream_options"} & set(provider.requests[0].body)


async def test_the_answer_is_read_as_what_it_says_it_is_not_as_what_was_asked_for(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = answers(200, whole())
    assert (await reply_of(calls, endpoint)).text == "Hello"
    provider.script = GOOD
    assert (await reply_of(calls, but(endpoint, streaming=False))).text == "Hello"


async def test_a_request_carries_the_key_the_call_id_and_the_limits(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = GOOD
    await reply_of(calls, endpoint, msgspec.structs.replace(CALL, seed=7, temperature=0.5))
    [request] = provider.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-client-request-id"] == "job_1.2"
    assert request.body == {
        "model": "m",
        "max_tokens": 100,
        "seed": 7,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": CALL.system},
            {"role": "user", "content": CALL.user},
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "greeting", "schema": CALL.schema, "strict": True},
        },
    }


@pytest.mark.parametrize(
    ("structured", "response_format"),
    [(StructuredOutput.JSON_OBJECT, {"type": "json_object"}), (StructuredOutput.TEXT, None)],
)
async def test_an_endpoint_without_schemas_reads_it_at_the_end_of_the_message(
    provider: ScriptedProvider,
    calls: ModelCalls,
    endpoint: Endpoint,
    structured: StructuredOutput,
    response_format: dict[str, str] | None,
) -> None:
    provider.script = GOOD
    await reply_of(calls, but(endpoint, structured=structured))
    body = provider.requests[0].body
    user = body["messages"][1]["content"]
    before, _, after = user.partition("\n# Schema\n```json\n")
    assert before == CALL.user
    assert after.endswith("\n```\n")
    assert msgspec.json.decode(after.removesuffix("\n```\n")) == CALL.schema
    assert body.get("response_format") == response_format


async def test_free_text_asks_for_no_format(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = GOOD
    for structured in StructuredOutput:
        call = msgspec.structs.replace(CALL, schema=None)
        await reply_of(calls, but(endpoint, structured=structured), call)
    assert all("response_format" not in request.body for request in provider.requests)
    assert {request.body["messages"][1]["content"] for request in provider.requests} == {CALL.user}


async def test_a_gzipped_answer_is_read(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = answers(200, gzip.compress(whole()), content_encoding="gzip")
    assert (await reply_of(calls, endpoint)).text == "Hello"


async def test_an_answer_cut_into_single_bytes_is_read(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        events = [piece("Grüße, 水 "), piece("😀", finish="stop")]
        text = b"".join(b": note\r\nevent: x\r\ndata:" + msgspec.json.encode(e) + b"\r\n\r\n" for e in events)
        for at in range(len(text)):
            await exchange.chunk(text[at : at + 1])
        await exchange.chunk(b"data: [DONE]")
        await exchange.send(b"0\r\n\r\n")

    provider.script = script
    assert (await reply_of(calls, endpoint)).text == "Grüße, 水 😀"


@pytest.mark.parametrize(
    ("told", "finish"),
    [
        ("stop", Finish.STOP),
        ("length", Finish.LENGTH),
        ("MAX_TOKENS", Finish.LENGTH),
        ("content_filter", Finish.REFUSAL),
        ("something_new", Finish.STOP),
    ],
)
async def test_the_way_an_answer_ended_is_kept_with_its_usage(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint, told: str, finish: Finish
) -> None:
    provider.script = streams(piece("He"), piece(finish=told), {"choices": [], "usage": usage()})
    reply = await reply_of(calls, endpoint)
    assert (reply.finish, reply.text) == (finish, "He")
    assert reply.usage == Usage(input_units=12, cached_input_units=4, output_units=3)


async def test_a_model_that_refuses_is_a_refusal_not_a_fault(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    choice = {"index": 0, "message": {"content": None, "refusal": "I can't."}, "finish_reason": "stop"}
    provider.script = answers(200, {"choices": [choice], "usage": usage()})
    reply = await reply_of(calls, endpoint)
    assert (reply.finish, reply.text) == (Finish.REFUSAL, "")
    assert reply.usage is not None


async def test_a_filter_that_refuses_the_request_is_a_refusal_that_cost_nothing(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = answers(400, {"error": {"code": "content_filter", "message": "no"}})
    reply = await reply_of(calls, endpoint)
    assert (reply.finish, reply.text, reply.usage) == (Finish.REFUSAL, "", Usage())


@pytest.mark.parametrize(
    "reported",
    [
        usage(prompt=-1),
        usage(completion=-5),
        usage(prompt=10**12),
        usage(completion=10**400),
        usage(prompt="12"),
        usage(completion=True),
        usage(prompt=1.5),
        usage(completion=None),
        {"prompt_tokens": 12},
        {},
        [],
        "many",
        True,
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
async def test_usage_that_cannot_be_is_unknown(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint, reported: object, streaming: bool
) -> None:
    raw = json_of(piece("x", finish="stop", usage=reported))
    body = raw.replace(b'"delta"', b'"message"')
    provider.script = stream_of(raw) if streaming else answers(200, body)
    result = await calls.complete(but(endpoint, streaming=streaming), "m", CALL)
    if isinstance(reported, dict) and reported.get("completion_tokens") == 10**400:
        assert result.usage is None  # may not even be readable as a number
        return
    assert isinstance(result, Reply)
    assert (result.text, result.usage) == ("x", None)


@pytest.mark.parametrize("cached", [13, -1, "4", True, None, 10**30, [1]])
async def test_cached_tokens_that_cannot_be_are_taken_as_none(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint, cached: object
) -> None:
    provider.script = stream_of(json_of(piece("x", finish="stop", usage=usage(cached=cached))))
    assert (await reply_of(calls, endpoint)).usage == Usage(input_units=12, output_units=3)


async def test_an_answer_without_usage_is_complete_and_its_usage_unknown(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = streams(piece("Hello", finish="stop", usage=None))
    assert (await reply_of(calls, endpoint)).usage is None


async def test_rate_headers_are_read_on_good_answers(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    left = {"x_ratelimit_remaining_tokens": "1500", "x_ratelimit_remaining_requests": "7"}
    provider.script = streams(piece("Hello", finish="stop"), **left)
    signal = (await reply_of(calls, endpoint)).signal
    assert signal == Signal(health=Health.GOOD, remaining_units=1500, remaining_requests=7)
    insane = {"x_ratelimit_remaining_tokens": "-3", "x_ratelimit_remaining_requests": "9" * 40}
    provider.script = streams(piece("Hello", finish="stop"), **insane)
    assert (await reply_of(calls, endpoint)).signal == Signal(health=Health.GOOD)


async def test_a_simulated_answer_says_so_by_endpoint_header_or_fingerprint(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = GOOD
    assert (await reply_of(calls, but(endpoint, simulated=True))).simulated
    provider.script = streams(piece("Hello", finish="stop"), x_simulated="true")
    assert (await reply_of(calls, endpoint)).simulated
    provider.script = streams(piece("Hello", finish="stop", system_fingerprint="simulated"))
    assert (await reply_of(calls, endpoint)).simulated
