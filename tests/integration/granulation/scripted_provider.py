"""A provider whose every answer a test writes by hand, over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec


class Request(msgspec.Struct):
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Exchange:
    """One request on a connection, and the means to answer it."""

    def __init__(
        self, *, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.request = request
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, status: int, body: bytes = b"", *, kind: str = "application/json", **headers: str
    ) -> None:
        await self.send(
            head(status, {"content-type": kind, "content-length": str(len(body)), **headers}) + body
        )

    async def begin_stream(self, **headers: str) -> None:
        told = {"content-type": "text/event-stream", "transfer-encoding": "chunked", **headers}
        await self.send(head(200, told))

    async def chunk(self, data: bytes) -> None:
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def event(self, document: object) -> None:
        await self.chunk(b"data: " + msgspec.json.encode(document) + b"\n\n")

    async def end_stream(self) -> None:
        await self.chunk(b"data: [DONE]\n\n")
        await self.send(b"0\r\n\r\n")

    def cut(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Send nothing until the client has gone."""
        await self.reader.read()

    async def pause(self, seconds: float) -> None:
        """Send nothing for a while, or until the client has gone."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.reader.read(1), seconds)


KEY = "sk-test-0123456789abcdef"
"""What the variable THE_KEY holds in these tests."""

Script = Callable[[Exchange], Awaitable[None]]


class ScriptedProvider:
    """Answers every request by ``script``; ``left`` is set when a client has closed a connection."""

    def __init__(self) -> None:
        self.script: Script | None = None
        self.requests: list[Request] = []
        self.connections = 0
        self.left = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while request := await read_request(reader):
                self.requests.append(request)
                assert self.script is not None
                await self.script(Exchange(request=request, reader=reader, writer=writer))
        except ConnectionError:
            pass
        finally:
            self.left.set()
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(path=lines[0].split()[1], headers=headers, body=msgspec.json.decode(body or b"{}"))


@asynccontextmanager
async def scripted_provider() -> AsyncIterator[ScriptedProvider]:
    provider = ScriptedProvider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def piece(text: str = "", *, finish: str | None = None, **more: object) -> dict[str, Any]:
    """A chunk of a streamed answer."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice], **more}


def usage(prompt: object = 12, completion: object = 3, cached: object = 4) -> dict[str, Any]:
    details = {"cached_tokens": cached}
    return {"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": details}


def whole(text: str = "Hello", *, finish: str = "stop", **more: object) -> bytes:
    """An answer that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return msgspec.json.encode({"model": "m-1", "choices": [choice], "usage": usage(), **more})


def streams(*documents: object, **headers: str) -> Script:
    """A script that streams these documents, then its end."""

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream(**headers)
        for document in documents:
            await exchange.event(document)
        await exchange.end_stream()

    return script


def answers(status: int, body: object = b"", *, kind: str = "application/json", **headers: str) -> Script:
    """A script that answers at once; what is not bytes becomes JSON."""

    async def script(exchange: Exchange) -> None:
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        await exchange.answer(status, encoded, kind=kind, **headers)

    return script


def json_of(document: object) -> bytes:
    """JSON with integers of any size, which msgspec does not write."""
    return json.dumps(document, separators=(",", ":")).encode()


def stream_of(payload: bytes) -> Script:
    """A script that streams one event with these bytes as its data."""

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.chunk(b"data: " + payload + b"\n\n")
        await exchange.end_stream()

    return script
