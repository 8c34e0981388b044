"""Sending a webhook over HTTP: one POST to whoever, within 15 seconds and 16 KiB."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import anyio
import structlog

import aifactory
from aifactory.accounts.webhook_rules import Attempt, excerpt_of, printable
from aifactory.kernel.egress import NotCallable, check_url
from aifactory.kernel.egress_connection import AddressRefused, Lookup, public_connector, system_lookup

log = structlog.get_logger()

PATIENCE_SECONDS = 15.0
EXCERPT_SECONDS = 3.0
MAX_ANSWER = 16 * 1024
MAX_HEADER_LINE = 8 * 1024
_ERROR_LENGTH = 300
_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": f"AI-Factory-Webhooks/{aifactory.__version__}",
    "Accept-Encoding": "identity",
}


class WebhookSender:
    """Posts to public addresses; ``private_allowed`` opens private ones and http, for development."""

    def __init__(
        self,
        *,
        private_allowed: bool,
        patience_seconds: float = PATIENCE_SECONDS,
        lookup: Lookup = system_lookup,
        ssl: Any = True,
    ) -> None:
        self.private_allowed = private_allowed
        self.patience_seconds = patience_seconds
        self._lookup = lookup
        self._ssl = ssl

    async def post(self, url: str, *, headers: Mapping[str, str], body: str) -> Attempt:
        """Send once and say what came of it; never raises for anything that the other side does."""
        began = time.monotonic()
        try:
            with anyio.fail_after(self.patience_seconds):
                status, retry_after, answer = await self._exchange(url, {**_HEADERS, **headers}, body)
        except Exception as error:
            words = printable(self._in_words(error), _ERROR_LENGTH)
            return Attempt(duration_ms=_since(began), error=words)
        return Attempt(
            duration_ms=_since(began),
            status=status,
            error=_refusal(status),
            excerpt=excerpt_of(answer),
            retry_after=retry_after,
        )

    async def _exchange(self, url: str, headers: dict[str, str], body: str) -> tuple[int, str | None, bytes]:
        # A session for each: none holds cookies, connections or anything else of another receiver.
        session = aiohttp.ClientSession(
            connector=public_connector(
                private_allowed=self.private_allowed, lookup=self._lookup, ssl=self._ssl
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=MAX_ANSWER,
            max_line_size=MAX_HEADER_LINE,
            max_field_size=MAX_HEADER_LINE,
        )
        async with session:
            target = check_url(url, private_allowed=self.private_allowed)
            response = await session.post(target, data=body.encode(), headers=headers, allow_redirects=False)
            try:
                answer = await _read_some(response)
            finally:
                response.close()
            return response.status, response.headers.get("Retry-After"), answer

    def _in_words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self.patience_seconds:g} s"
        if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, AddressRefused):
            return f"not allowed: {error.os_error}"
        if isinstance(error, NotCallable):
            return f"not allowed: {error}"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return f"the certificate is not accepted: {error.certificate_error}"
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return f"the name can't be looked up: {error.os_error.strerror or error.os_error}"
        if isinstance(error, aiohttp.ClientOSError):
            return f"no connection: {error.strerror or error}"
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return "the connection was closed without an answer"
        if isinstance(error, aiohttp.ClientError | asyncio.IncompleteReadError | OSError | UnicodeError):
            return f"no answer that can be read: {error}"
        log.exception("webhook.send_failed", exc_info=error)
        return "a fault of ours; it will be tried again"


async def _read_some(response: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of a body. The status counts: a body that breaks or drips changes nothing."""
    found = bytearray()
    try:
        with anyio.move_on_after(EXCERPT_SECONDS):
            while len(found) < MAX_ANSWER and (part := await response.content.read(MAX_ANSWER - len(found))):
                found += part
    except (aiohttp.ClientError, OSError):
        pass
    return bytes(found)


def _refusal(status: int) -> str | None:
    if 300 <= status < 400:
        return f"answered {status}: redirects are not followed"
    return None if 200 <= status < 300 else f"answered {status}"


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)
