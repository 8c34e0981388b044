"""Sending webhooks with a client that is loaded when the first one is due."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from aifactory.accounts.webhook_rules import Attempt

if TYPE_CHECKING:
    from aifactory.accounts.webhook_sending import WebhookSender


class LateSender:
    """What ``WebhookSender`` does. Its client loads slowly: without webhooks nobody should pay that."""

    def __init__(self, *, private_allowed: bool) -> None:
        self._private_allowed = private_allowed
        self._sender: WebhookSender | None = None
        self._loading = anyio.Lock()

    async def post(self, url: str, *, headers: Mapping[str, str], body: str) -> Attempt:
        """See ``WebhookSender.post``; the client is loaded in a thread, once."""
        async with self._loading:
            if self._sender is None:
                self._sender = await anyio.to_thread.run_sync(self._make)
        return await self._sender.post(url, headers=headers, body=body)

    def _make(self) -> "WebhookSender":
        from aifactory.accounts.webhook_sending import WebhookSender

        return WebhookSender(private_allowed=self._private_allowed)
