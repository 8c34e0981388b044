"""What gateways before a provider say in ways of their own."""

from datetime import UTC, datetime

import pytest

from aifactory.granulation.llm_refusals import nothing_served, pause_of

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "litellm.InternalServerError: InternalServerError: OpenAIException - Connection error."),
        (500, "APIConnectionError: OpenAIException - Response payload is not completed"),
        (502, "Provider disconnected"),
        (503, "upstream connect error or disconnect/reset before headers"),
        (408, "litellm.Timeout: APITimeoutError - Request timed out."),
        (504, "anything"),
    ],
)
def test_a_connection_that_a_gateway_lost_does_not_say_that_nothing_was_served(
    status: int, words: str
) -> None:
    assert not nothing_served(status, {"message": words})


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "The server had an error while processing your request"),
        (503, "The engine is currently overloaded, please try again later"),
        (408, "You took too long to send your request"),
        (429, "litellm.RateLimitError: Connection error."),
        (500, None),
    ],
)
def test_a_providers_own_error_says_that_nothing_was_served(status: int, words: str | None) -> None:
    assert nothing_served(status, {"message": words})


def test_a_pause_that_a_gateway_passes_on_is_kept_unless_it_asks_for_one_itself() -> None:
    assert pause_of({"llm_provider-retry-after": "2"}, NOW) == 2
    assert pause_of({"llm_provider-retry-after": "2", "retry-after": "7"}, NOW) == 7
