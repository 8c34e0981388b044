import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest
from tests.unit.devprovider.prompts import OUTLINE, OUTLINE_SIZES, answer, items_schema, user_text

from devprovider.calls import Call
from devprovider.prices import cost_nano
from devprovider.running import Running
from devprovider.settings import Faults, Model, Settings

TEXT = user_text("Plan a course.", OUTLINE_SIZES)
SYSTEM = "You write courses. The word is heliotrope."
MESSAGES: Any = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": TEXT}]
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "outline", "strict": True, "schema": OUTLINE}}
SMALL = Settings().models[0]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with Running() as running:
        yield running
    # Opening a client takes longer than most tests, so each is kept to the end.
    for opened in _clients.values():
        opened.close()
    _clients.clear()


@pytest.fixture
def provider(server: Running) -> Running:
    server.reset()
    return server


_clients: dict[tuple[str, str, float], openai.OpenAI] = {}


def client(running: Running, key: str = "any", timeout: float = 30) -> openai.OpenAI:
    name = (running.url, key, timeout)
    if name not in _clients:
        _clients[name] = openai.OpenAI(base_url=running.url, api_key=key, max_retries=0, timeout=timeout)
    return _clients[name]


def create(running: Running, **options: Any) -> Any:
    asked = {"model": "sim-small", "messages": MESSAGES, "response_format": FORMAT, **options}
    return client(running).chat.completions.create(**asked)


def collected(running: Running, **options: Any) -> list[Any]:
    return list(create(running, stream=True, **options))


def calls(running: Running, count: int) -> list[Call]:
    return running.calls(at_least=count)


def test_an_answer_is_shaped_like_the_original_and_says_that_it_is_simulated(provider: Running) -> None:
    raw = client(provider).chat.completions.with_raw_response.create(
        model="sim-small",
        messages=MESSAGES,
        response_format=FORMAT,
        extra_headers={"X-Client-Request-Id": "job-7"},
    )
    parsed: Any = raw.parse()
    assert msgspec.json.decode(parsed.choices[0].message.content) == answer(TEXT, OUTLINE)
    assert (parsed.object, parsed.model, parsed.system_fingerprint) == (
        "chat.completion",
        "sim-small",
        "simulated",
    )
    assert parsed.choices[0].finish_reason == "stop"
    assert parsed.usage.total_tokens == parsed.usage.prompt_tokens + parsed.usage.completion_tokens
    assert raw.headers["x-simulated"] == "true"
    assert "x-ratelimit-remaining-tokens" in raw.headers
    (call,) = calls(provider, 1)
    assert (call.id, call.client_request_id) == (raw.headers["x-request-id"], "job-7")
    assert (call.prompt_tokens, call.completion_tokens) == (
        parsed.usage.prompt_tokens,
        parsed.usage.completion_tokens,
    )
    assert (call.served, call.usage_sent, call.fault) == (True, True, "")


def test_a_stream_says_the_same_in_pieces_and_its_usage_at_the_end(provider: Running) -> None:
    whole = create(provider)
    chunks = collected(provider, stream_options={"include_usage": True})
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    assert len(chunks) > 10
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert [call.usage_sent for call in calls(provider, 2)] == [True, True]


def test_a_stream_without_usage_is_billed_all_the_same(provider: Running) -> None:
    collected(provider)
    (call,) = calls(provider, 1)
    assert (call.served, call.usage_sent) == (True, False)
    assert call.cost_nano > 0


def test_a_repeated_prompt_is_cached_and_billed_as_such(provider: Running) -> None:
    first, second = create(provider), create(provider)
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    cached = second.usage.prompt_tokens_details.cached_tokens
    assert cached > 1_024
    assert cached % 128 == 0
    for call, usage in zip(calls(provider, 2), (first.usage, second.usage), strict=True):
        expected = cost_nano(
            SMALL,
            prompt=usage.prompt_tokens,
            cached=usage.prompt_tokens_details.cached_tokens,
            completion=usage.completion_tokens,
        )
        assert call.cost_nano == expected


def test_another_schema_keeps_the_cache_unless_schemas_are_cached_first(provider: Running) -> None:
    other = {
        "type": "json_schema",
        "json_schema": {"name": "items", "strict": True, "schema": items_schema()},
    }
    for first, is_cached in ((False, True), (True, False)):
        provider.reset()
        provider.configure(schema_cached_first=first)
        create(provider)
        usage = create(provider, response_format=other).usage
        assert bool(usage.prompt_tokens_details.cached_tokens) is is_cached


def test_other_formats_are_json_of_the_prompts_schema_or_prose(provider: Running) -> None:
    asked: Any = [{"role": "user", "content": "Write json about bees. Bees make honey in a hive."}]
    loose = create(provider, messages=asked, response_format={"type": "json_object"})
    assert isinstance(msgspec.json.decode(loose.choices[0].message.content), dict)
    prose = create(provider, messages=asked, response_format={"type": "text"})
    assert "Bees" in prose.choices[0].message.content


def test_max_tokens_cut_the_answer(provider: Running) -> None:
    made = create(provider, max_completion_tokens=40)
    assert made.choices[0].finish_reason == "length"
    assert made.usage.completion_tokens == 40
    assert answer_starts_with(made.choices[0].message.content)


def answer_starts_with(text: str) -> bool:
    return msgspec.json.encode(answer(TEXT, OUTLINE)).decode().startswith(text)


@pytest.mark.parametrize(
    ("options", "status", "code", "param"),
    [
        ({"model": "gpt-4o"}, 404, "model_not_found", "model"),
        ({"max_tokens": 9_000}, 400, "invalid_value", "max_tokens"),
        ({"max_tokens": 0}, 400, None, "max_tokens"),
        ({"n": 2}, 400, None, "n"),
        ({"messages": []}, 400, None, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, None, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, 400, None, "messages[0].content"),
        ({"extra_body": {"colour": 1}}, 400, None, "colour"),
        ({"response_format": {"type": "yaml"}}, 400, None, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, 400, None, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "Hi"}]},
            400,
            None,
            "messages",
        ),
        (
            {"messages": [{"role": "user", "content": "word " * 200_000}]},
            400,
            "context_length_exceeded",
            "messages",
        ),
    ],
)
def test_a_bad_request_is_refused_in_the_originals_shape_and_costs_nothing(
    provider: Running, options: dict[str, Any], status: int, code: str | None, param: str
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        create(provider, **options)
    assert caught.value.status_code == status
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.response.headers["x-simulated"] == "true"
    assert set(caught.value.response.json()["error"]) == {"message", "type", "param", "code"}
    (call,) = calls(provider, 1)
    assert (call.status, call.served, call.cost_nano) == (status, False, 0)


def test_a_schema_that_is_not_strict_is_refused_only_when_strict(provider: Running) -> None:
    loose = {"type": "object", "properties": {"title": {"type": "string"}}}
    inner = {"name": "loose", "schema": loose}
    with pytest.raises(openai.BadRequestError, match="additionalProperties"):
        create(provider, response_format={"type": "json_schema", "json_schema": {**inner, "strict": True}})
    made = create(provider, response_format={"type": "json_schema", "json_schema": inner})
    assert set(msgspec.json.decode(made.choices[0].message.content)) == {"title"}


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(provider: Running, body: bytes) -> None:
    answered = httpx.post(f"{provider.url}/chat/completions", content=body)
    assert answered.status_code == 400
    assert answered.json()["error"]["type"] == "invalid_request_error"


def test_a_key_is_wanted_once_one_is_configured(provider: Running) -> None:
    provider.configure(key="secret")
    with pytest.raises(openai.AuthenticationError) as caught:
        client(provider, key="wrong").chat.completions.create(model="sim-small", messages=MESSAGES)
    assert caught.value.code == "invalid_api_key"
    assert httpx.get(f"{provider.url}/models").status_code == 401
    listed = client(provider, key="secret").models.list()
    assert [model.id for model in listed] == ["sim-small", "sim-medium", "sim-large"]


def test_models_are_listed_and_none_pretends_to_be_real(provider: Running) -> None:
    models = client(provider).models
    assert models.retrieve("sim-large").owned_by == "simulated"
    with pytest.raises(openai.NotFoundError):
        models.retrieve("gpt-4o")
    assert httpx.put(f"{provider.root}/_sim/settings", json={"models": [{"id": "gpt-4o"}]}).status_code == 400


def test_tokens_per_minute_are_enforced(provider: Running) -> None:
    used = create(provider).usage.total_tokens
    provider.configure(models=[{"id": "sim-small", "tokens_per_minute": used * 3 // 2}])
    create(provider)
    with pytest.raises(openai.RateLimitError) as caught:
        create(provider)
    assert (caught.value.type, caught.value.code) == ("tokens", "rate_limit_exceeded")
    headers = caught.value.response.headers
    assert int(headers["retry-after"]) >= 1
    assert int(headers["x-ratelimit-remaining-tokens"]) < used
    last = calls(provider, 3)[-1]
    assert (last.status, last.fault, last.served, last.cost_nano) == (429, "limit", False, 0)


def test_requests_per_minute_are_enforced_for_each_model_alone(provider: Running) -> None:
    provider.configure(models=[{"id": "sim-a", "requests_per_minute": 1}, {"id": "sim-b"}])
    create(provider, model="sim-a")
    with pytest.raises(openai.RateLimitError) as caught:
        create(provider, model="sim-a")
    assert caught.value.type == "requests"
    create(provider, model="sim-b")


@pytest.mark.parametrize("told", [0, 1])
def test_a_simulated_429_may_tell_when_to_come_back(provider: Running, told: int) -> None:
    provider.configure(faults={"rate_limited": 1, "retry_after": told, "retry_after_seconds": 3})
    with pytest.raises(openai.RateLimitError) as caught:
        create(provider)
    assert caught.value.response.headers.get("retry-after") == ("3" if told else None)
    assert calls(provider, 1)[0].served is False


def test_server_errors_are_not_billed(provider: Running) -> None:
    provider.configure(faults={"server_error": 1})
    seen = set()
    for _ in range(12):
        with pytest.raises(openai.InternalServerError) as caught:
            create(provider)
        seen.add(caught.value.status_code)
    assert seen == {500, 502, 503}
    assert not [call for call in calls(provider, 12) if call.served or call.cost_nano]


@pytest.mark.parametrize("stream", [False, True])
def test_a_dropped_answer_breaks_off_and_what_was_written_is_billed(provider: Running, stream: bool) -> None:
    complete = create(provider).usage.completion_tokens
    provider.configure(script=["drop"])
    with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
        collected(provider) if stream else create(provider)
    call = calls(provider, 2)[-1]
    assert (call.fault, call.served, call.usage_sent) == ("drop", True, False)
    assert 0 < call.completion_tokens < complete
    assert call.cost_nano > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_hanging_answer_ends_when_the_client_gives_up(provider: Running, stream: bool) -> None:
    provider.configure(script=["hang"])
    impatient = client(provider, timeout=0.3).chat.completions

    def ask() -> None:
        answered: Any = impatient.create(model="sim-small", messages=MESSAGES, stream=stream)
        list(answered)

    with pytest.raises(openai.APITimeoutError):
        ask()
    (call,) = calls(provider, 1)
    assert (call.fault, call.served, call.usage_sent) == ("hang", True, False)
    assert call.cost_nano >= cost_nano(SMALL, prompt=call.prompt_tokens, cached=0, completion=0)


def test_a_hanging_answer_is_cut_after_its_time(provider: Running) -> None:
    provider.configure(script=["hang"], faults={"hang_seconds": 0.1})
    with pytest.raises(openai.APIConnectionError) as caught:
        create(provider)
    assert not isinstance(caught.value, openai.APITimeoutError)


def test_a_client_that_leaves_is_billed_for_what_was_written(provider: Running) -> None:
    provider.configure(latency={"first_token_seconds": 0, "tokens_per_second": 200})
    with create(provider, stream=True) as stream:
        for number, _ in enumerate(stream):
            if number == 3:
                break
    (call,) = calls(provider, 1)
    assert (call.fault, call.served, call.usage_sent) == ("client_left", True, False)
    assert 10 <= call.completion_tokens < 300


@pytest.mark.parametrize(
    ("fault", "finish"),
    [("truncated", "length"), ("wrong_type", "stop"), ("garbage", "stop"), ("fenced", "stop")],
)
def test_a_spoiled_answer_is_billed_with_its_usage(provider: Running, fault: str, finish: str) -> None:
    good = msgspec.json.encode(answer(TEXT, OUTLINE)).decode()
    provider.configure(script=[fault])
    made = create(provider)
    text = made.choices[0].message.content
    assert made.choices[0].finish_reason == finish
    assert text != good
    if fault == "truncated":
        assert good.startswith(text)
    elif fault == "fenced":
        assert f"```json\n{good}\n```" in text
    elif fault == "garbage":
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(text)
    else:
        assert isinstance(msgspec.json.decode(text), dict)
    (call,) = calls(provider, 1)
    assert (call.fault, call.usage_sent) == (fault, True)
    assert call.completion_tokens == made.usage.completion_tokens
    assert create(provider).choices[0].message.content == good


def test_refusals_come_as_such_or_from_a_filter(provider: Running) -> None:
    provider.configure(faults={"refusal": 1})
    seen = set()
    for _ in range(12):
        choice = create(provider).choices[0]
        assert choice.message.content is None
        seen.add((choice.finish_reason, bool(choice.message.refusal)))
    assert seen == {("content_filter", False), ("stop", True)}


def test_a_repeated_prompt_draws_its_fault_anew(provider: Running) -> None:
    provider.configure(faults={"server_error": 0.5})
    for _ in range(20):
        try:
            create(provider)
        except openai.InternalServerError:
            continue
    assert 3 < sum(call.served for call in calls(provider, 20)) < 17


def test_answers_take_the_time_that_a_model_would_and_run_side_by_side(provider: Running) -> None:
    provider.configure(latency={"first_token_seconds": 0.2, "tokens_per_second": 400})
    asked: Any = [{"role": "user", "content": "Bees make honey in a wooden hive."}]

    async def ask(made: openai.AsyncOpenAI) -> Any:
        return await made.chat.completions.create(model="sim-small", messages=asked, max_tokens=40)

    async def ask_all() -> None:
        async with openai.AsyncOpenAI(base_url=provider.url, api_key="any", max_retries=0) as made:
            await asyncio.gather(*(ask(made) for _ in range(20)))

    asyncio.run(ask_all())
    book = calls(provider, 20)
    assert all(call.seconds >= 0.2 + 40 / 400 for call in book)
    started = [call.at for call in book]
    # One after the other the last would have begun after the first had ended.
    assert (max(started) - min(started)).total_seconds() < sum(call.seconds for call in book) / 2


def test_knobs_are_turned_and_read_over_http(provider: Running, tmp_path: Path) -> None:
    root = provider.root
    changed = httpx.put(
        f"{root}/_sim/settings", json={"faults": {"hang": 0.1}, "quality": {"sources.fake": 1}}
    )
    assert changed.json()["faults"]["hang"] == 0.1
    assert httpx.get(f"{root}/_sim/settings").json() == changed.json()
    assert httpx.put(f"{root}/_sim/settings", json={"nonsense": 1}).status_code == 400
    provider.configure(faults={"hang": 0})
    create(provider)
    (call,) = httpx.get(f"{root}/_sim/calls").json()
    assert call["costNano"] == calls(provider, 1)[0].cost_nano
    assert {"id", "clientRequestId", "promptTokens", "served", "usageSent", "promptHash"} <= call.keys()
    assert httpx.post(f"{root}/_sim/reset").json()["quality"] == {}
    assert httpx.get(f"{root}/_sim/calls").json() == []


def test_the_book_is_kept_in_a_file_too(tmp_path: Path) -> None:
    with Running(log=tmp_path / "calls.jsonl") as running:
        create(running)
        book = calls(running, 1)
    lines = (tmp_path / "calls.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Call) for line in lines] == book


def test_a_server_with_hanging_answers_stops() -> None:
    with Running(Settings(faults=Faults(hang=1), models=(Model(id="sim-a"),))) as running:
        asked = {"model": "sim-a", "messages": [{"role": "user", "content": "Hi"}]}
        answers: list[object] = []

        def ask() -> None:
            try:
                httpx.post(f"{running.url}/chat/completions", json=asked, timeout=30)
            except httpx.HTTPError as error:
                answers.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        assert running.arrived.wait(10)
    asking.join(10)
    assert isinstance(answers[0], httpx.RemoteProtocolError)
    assert [call.fault for call in running.calls()] == ["hang"]
