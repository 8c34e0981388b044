"""One HTTP exchange: reading, answering, noticing that the client has left, cutting the connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from devprovider.errors import ApiError

Event = MutableMapping[str, Any]
Header = tuple[str, str]


class Exchange:
    """A request and its answer; ``gone`` is set when the client has left or the server stops."""

    def __init__(
        self,
        *,
        scope: Event,
        receive: Callable[[], Awaitable[Event]],
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.gone = asyncio.Event()
        self.started = False
        self._receive = receive
        self._send = send

    async def read(self, most: int) -> bytes:
        """The body; raises ApiError 413 above so many bytes."""
        parts: list[bytes] = []
        size = 0
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                self.gone.set()
                return b"".join(parts)
            parts.append(event.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise ApiError(413, f"The body of your request is larger than {most} bytes.")
            if not event.get("more_body"):
                return b"".join(parts)

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Notice meanwhile when the client leaves; the body has to be read before."""
        watcher = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watcher.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone.set()

    async def stay(self, seconds: float) -> bool:
        """Wait; False, and at once, when the client leaves meanwhile."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self.gone.wait()
        except TimeoutError:
            return not self.gone.is_set()
        return False

    async def reply(self, status: int, content: Any, headers: Iterable[Header] = ()) -> None:
        """A whole JSON answer."""
        body = msgspec.json.encode(content)
        await self.start(status, [("content-length", str(len(body))), *headers])
        await self.write(body, more=False)

    async def start(
        self, status: int, headers: Iterable[Header], content_type: str = "application/json"
    ) -> None:
        """Status and headers."""
        self.started = True
        sent = [("content-type", content_type), *headers]
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, body: bytes, *, more: bool = True) -> bool:
        """A piece of the body; whether the client was still there. Ending without a last one cuts the "
        "connection."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        if more:
            # Lets the loop notice a connection that was closed meanwhile.
            await asyncio.sleep(0)
        return not self.gone.is_set()
