"""A receiver of webhooks on this machine that answers, or misbehaves, as a test tells it to."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

Writer = asyncio.StreamWriter


class Received(msgspec.Struct, kw_only=True):
    """A message as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Received, Writer], Awaitable[None]]


def answering(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer each message alike; a header's name is written with underscores."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    async def answer(_: Received, writer: Writer) -> None:
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    return answer


async def hang(_: Received, writer: Writer) -> None:
    """Say nothing until the other side gives up."""
    await writer.wait_closed()


class Receiver:
    """Listens on a port of its own; ``answer`` may be changed at any time."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.port = 0
        self.connections = 0
        self.messages: list[Received] = []
        self.changed = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    async def until(self, count: int) -> None:
        """Wait until so many messages have come in."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.messages) >= count)

    async def _take(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            message = Received(method=method, target=target, headers=headers, body=body)
            async with self.changed:
                self.messages.append(message)
                self.changed.notify_all()
            await self.answer(message, writer)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def receiving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Open a receiver."""
    receiver = Receiver(answer)
    server = await asyncio.start_server(receiver._take, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
