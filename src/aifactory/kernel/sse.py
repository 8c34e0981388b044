"""Server-sent events: their frames, and responses that let go of clients that do not read."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import structlog
from litestar import Request
from litestar.response import Stream
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Send

log = structlog.get_logger()

SSE_MEDIA_TYPE = "text/event-stream"
PING = b": ping\n\n"
SEND_SECONDS = 60.0


def retry_frame(milliseconds: int) -> bytes:
    """Return what tells a client how long to wait before it connects again."""
    return b"retry: %d\n\n" % milliseconds


def event_frame(type_: str, data: bytes, event_id: int | None = None) -> bytes:
    """Return an event; ``data`` is JSON on one line. Without an id a client keeps the last one it saw."""
    head = b"" if event_id is None else b"id: %d\n" % event_id
    return head + b"event: %s\ndata: %s\n\n" % (type_.encode(), data)


class PatientStream(Stream):
    """Streams parts until their generator ends, the client has gone or takes nothing for ``send_seconds``."""

    def __init__(
        self,
        parts: AsyncGenerator[bytes, None],
        *,
        media_type: str,
        headers: dict[str, str],
        send_seconds: float = SEND_SECONDS,
    ) -> None:
        super().__init__(parts, media_type=media_type, headers=headers)
        self.parts = parts
        self.send_seconds = send_seconds

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **_: Any) -> ASGIResponse:
        """Return what sends it."""
        return _Streaming(
            frames=self.parts,
            send_seconds=self.send_seconds,
            headers=dict(self.headers),
            media_type=self.media_type,
        )


class EventStream(PatientStream):
    """Streams the frames of events."""

    def __init__(self, frames: AsyncGenerator[bytes, None], *, send_seconds: float = SEND_SECONDS) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(frames, media_type=SSE_MEDIA_TYPE, headers=headers, send_seconds=send_seconds)


class _Streaming(ASGIStreamingResponse):
    """Sends frames; a client that takes none for ``send_seconds`` is cut off."""

    def __init__(self, *, frames: AsyncGenerator[bytes, None], send_seconds: float, **rest: Any) -> None:
        super().__init__(iterator=frames, **rest)
        self.frames = frames
        self.send_seconds = send_seconds

    async def _stream(self, send: Send) -> None:
        async with contextlib.aclosing(self.frames):
            async for frame in self.frames:
                if not await self._send(send, frame, more=True):
                    log.info("stream.client_cut_off")
                    return
        await self._send(send, b"", more=False)

    async def _send(self, send: Send, body: bytes, *, more: bool) -> bool:
        """Send a part; False when the client did not take it in time."""
        with anyio.move_on_after(self.send_seconds) as limit:
            await send({"type": "http.response.body", "body": body, "more_body": more})
        return not limit.cancelled_caught
