"""Fixtures of granulation's integration tests: a provider written by hand, and what calls it."""

from collections.abc import AsyncIterator

import pytest
from tests.integration.granulation.scripted_provider import KEY, ScriptedProvider, scripted_provider

from aifactory.granulation.llm import ModelCalls
from aifactory.resources.interface import Endpoint


@pytest.fixture(scope="module", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keep one event loop for all tests of a module: its worker processes, slow to start, are used again."""
    yield  # noqa: PT022  a fixture that returned would let go of the loop


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with scripted_provider() as provider:
        yield provider


@pytest.fixture
async def calls() -> AsyncIterator[ModelCalls]:
    calls = ModelCalls(environ={"THE_KEY": KEY})
    yield calls
    await calls.close()


@pytest.fixture
async def endpoint(provider: ScriptedProvider) -> Endpoint:
    return Endpoint(provider="scripted", base_url=provider.url, api_key_variable="THE_KEY")
