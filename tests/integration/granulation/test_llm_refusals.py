"""Model calls over real HTTP that a provider refuses: faults, pauses, words."""

import socket
from typing import Any

import pytest
from tests.integration.granulation.llm_cases import PAGE, but, error, failure_of
from tests.integration.granulation.scripted_provider import (
    KEY,
    ScriptedProvider,
    answers,
    scripted_provider,
    whole,
)

from aifactory.granulation.llm import ModelCalls
from aifactory.resources.interface import Endpoint, Health, Usage

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("status", "body", "code", "retryable", "health", "used"),
    [
        (429, error(), "rate_limited", True, Health.UNKNOWN, Usage()),
        (429, error(code="insufficient_quota"), "quota_exhausted", True, Health.REFUSED_KEY, Usage()),
        (429, error(type="insufficient_quota"), "quota_exhausted", True, Health.REFUSED_KEY, Usage()),
        (402, error(), "quota_exhausted", True, Health.REFUSED_KEY, Usage()),
        (401, error(f"Incorrect key {KEY}"), "refused_key", True, Health.REFUSED_KEY, Usage()),
        (403, PAGE, "refused_key", True, Health.REFUSED_KEY, Usage()),
        (404, error(code="model_not_found"), "unknown_model", False, Health.GOOD, Usage()),
        (404, PAGE, "unknown_model", False, Health.GOOD, Usage()),
        (400, error(), "bad_request", False, Health.GOOD, Usage()),
        (413, PAGE, "bad_request", False, Health.GOOD, Usage()),
        (422, {"detail": [{"msg": "x"}]}, "bad_request", False, Health.GOOD, Usage()),
        (408, error(), "provider_error", True, Health.BAD, Usage()),
        (409, error(), "provider_error", True, Health.BAD, Usage()),
        (500, error(), "provider_error", True, Health.BAD, Usage()),
        (500, {"object": "error", "message": "x"}, "provider_error", True, Health.BAD, Usage()),
        (503, [error()], "provider_error", True, Health.BAD, Usage()),
        (529, {"error": "overloaded"}, "provider_error", True, Health.BAD, Usage()),
        (502, PAGE, "provider_error", True, Health.BAD, None),
        (504, error(), "provider_error", True, Health.BAD, None),
        (500, b"[" * 100_000, "provider_error", True, Health.BAD, None),
        (500, b"\xff\xfe", "provider_error", True, Health.BAD, None),
    ],
)
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_status_has_its_fault_and_what_was_not_served_costs_nothing(
    provider: ScriptedProvider,
    calls: ModelCalls,
    endpoint: Endpoint,
    status: int,
    body: object,
    code: str,
    retryable: bool,
    health: Health,
    used: Usage | None,
    streaming: bool,
) -> None:
    provider.script = answers(
        status, body, kind="text/html; charset=nonsense" if body is PAGE else "application/json"
    )
    failed = await failure_of(calls, but(endpoint, streaming=streaming))
    assert (failed.fault.code, failed.fault.retryable) == (code, retryable)
    assert (failed.signal.health, failed.usage) == (health, used)
    assert failed.signal.error.startswith(code)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": "7", "retry_after_ms": "250"}, 0.25),
        ({"retry_after": "999999"}, 3600.0),
        ({"retry_after": "-5"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after_ms": "-1", "retry_after": "3"}, 3.0),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry_after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry_after": "Wed, 21 Oct 1999 07:28:30 GMT"}, None),
        ({"retry_after": "Wed, 99 Oct 99999 07:28:30 GMT"}, None),
        ({"x_ratelimit_reset_tokens": "6m0s"}, 360.0),
        ({"x_ratelimit_reset_tokens": "20ms", "x_ratelimit_reset_requests": "1h"}, 0.02),
        (
            {
                "x_ratelimit_reset_tokens": "20ms",
                "x_ratelimit_reset_requests": "1m2.5s",
                "x_ratelimit_remaining_requests": "0",
            },
            62.5,
        ),
        ({"x_ratelimit_reset_requests": "999999h"}, None),
        ({"x_ratelimit_reset_requests": "99999h"}, 3600.0),
        ({"retry_after": "2", "x_ratelimit_reset_tokens": "6m0s"}, 2.0),
    ],
)
async def test_a_rate_limit_says_for_how_long(
    provider: ScriptedProvider,
    calls: ModelCalls,
    endpoint: Endpoint,
    headers: dict[str, str],
    seconds: float | None,
) -> None:
    provider.script = answers(429, error(), **headers)
    failed = await failure_of(calls, endpoint)
    assert failed.fault.retry_after_seconds == seconds
    assert failed.signal.blocked_seconds == seconds


async def test_rate_headers_are_read_on_refusals(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    left = {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_remaining_requests": "9"}
    provider.script = answers(429, error(), **left)
    signal = (await failure_of(calls, endpoint)).signal
    assert (signal.remaining_units, signal.remaining_requests) == (0, 9)


async def test_a_refused_schema_is_told_in_the_providers_words(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    provider.script = answers(400, error("Invalid schema\nfor response_format 'x': allOf is not permitted."))
    fault = (await failure_of(calls, endpoint)).fault
    assert (fault.code, fault.retryable) == ("bad_request", False)
    assert "Invalid schema for response_format 'x': allOf is not permitted." in fault.message


@pytest.mark.parametrize(
    "message",
    [
        "Can't read: [s1] The secret recipe of the client needs three lemons.",
        f"The key {KEY} may not do this",
        f"See https://internal.example/{KEY}",
        "x" * 100_000,
        f"{'y' * 155} {KEY}",
        17,
        None,
        ["The secret recipe of the client needs three lemons."],
    ],
)
async def test_a_providers_words_never_carry_the_prompt_or_the_key(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint, message: Any
) -> None:
    provider.script = answers(400, error(message))
    failed = await failure_of(calls, endpoint)
    assert failed.fault.code == "bad_request"
    assert "secret recipe" not in repr(failed)
    assert KEY[:8] not in repr(failed)


async def test_a_redirect_is_not_followed(
    provider: ScriptedProvider, calls: ModelCalls, endpoint: Endpoint
) -> None:
    async with scripted_provider() as elsewhere:
        elsewhere.script = answers(200, whole())
        for status in (301, 302, 307, 308):
            provider.script = answers(status, location=f"{elsewhere.url}/chat/completions")
            failed = await failure_of(calls, endpoint)
            assert (failed.fault.code, failed.fault.retryable) == ("provider_error", True)
        assert elsewhere.connections == 0


async def test_nobody_listening_is_unreachable_and_cost_nothing(
    calls: ModelCalls, endpoint: Endpoint
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        failed = await failure_of(calls, but(endpoint, base_url=url))
    assert (failed.fault.code, failed.fault.retryable) == ("unreachable", True)
    assert (failed.signal.health, failed.usage) == (Health.BAD, Usage())


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://127.0.0.1/v1", "http://[::1", "http://127.0.0.1:99999/v1"]
)
async def test_an_address_that_is_none_is_unreachable(
    calls: ModelCalls, endpoint: Endpoint, url: str
) -> None:
    failed = await failure_of(calls, but(endpoint, base_url=url))
    assert (failed.fault.code, failed.usage) == ("unreachable", Usage())


async def test_a_machine_that_takes_no_connection_is_unreachable_and_cost_nothing(
    calls: ModelCalls, endpoint: Endpoint
) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for other in (first, second):
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        failed = await failure_of(calls, but(endpoint, base_url=url, connect_seconds=0.1))
    assert (failed.fault.code, failed.usage) == ("unreachable", Usage())
