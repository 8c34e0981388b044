"""Model calls whose client is loaded when it is first needed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio.to_thread

from aifactory.granulation.llm_answers import Failed, Reply
from aifactory.granulation.llm_progress import Tell
from aifactory.granulation.llm_requests import Call
from aifactory.resources.interface import Endpoint

if TYPE_CHECKING:
    from aifactory.granulation.llm import ModelCalls


class LateCalls:
    """What ``ModelCalls`` does. Its client takes a second to load: without models nobody should pay that."""

    def __init__(self, *, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._calls: ModelCalls | None = None
        self._loading = anyio.Lock()

    async def load(self) -> "ModelCalls":
        """Load the client, in a thread, once."""
        async with self._loading:
            if self._calls is None:
                self._calls = await anyio.to_thread.run_sync(self._make)
        return self._calls

    def _make(self) -> "ModelCalls":
        from aifactory.granulation.llm import ModelCalls

        return ModelCalls(environ=self._environ)

    async def complete(
        self, endpoint: Endpoint, model: str, call: Call, tell: Tell | None = None
    ) -> Reply | Failed:
        """See ``ModelCalls.complete``."""
        return await (await self.load()).complete(endpoint, model, call, tell)

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        if self._calls is not None:
            await self._calls.close()
