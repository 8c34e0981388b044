"""A server on a real socket that does what a script says, well or badly."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Self

import msgspec


class Cut(msgspec.Struct, frozen=True):
    """Send this much and reset the connection."""

    sent: bytes = b""


class Close(msgspec.Struct, frozen=True):
    """Send this and close the connection in order."""

    sent: bytes = b""


class Hold(msgspec.Struct, frozen=True):
    """Send this and say nothing more until the client goes."""

    sent: bytes = b""


class Seen(msgspec.Struct, frozen=True):
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


def reply(status: int, body: object = None, *more: str, kind: str = "application/json") -> bytes:
    """Return a whole answer that leaves the connection open."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body if body is not None else {})
    head = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(content)}", *more]
    return "\r\n".join([*head, "", ""]).encode() + content


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


class ScriptedServer:
    """Answers the n-th request by the n-th act: bytes (and goes on), Cut, Close or Hold."""

    def __init__(self, *acts: bytes | Cut | Close | Hold) -> None:
        self.acts = list(acts)
        self.seen: list[Seen] = []
        self.left = threading.Event()  # a client went away while it was held
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError):
            for request in _requests(lines):
                self.seen.append(request)
                act = self.acts.pop(0) if self.acts else Cut()
                if isinstance(act, bytes):
                    connection.sendall(act)
                    continue
                connection.sendall(act.sent)
                if isinstance(act, Hold):
                    lines.read(1)
                    self.left.set()
                if isinstance(act, Cut):
                    # A reset, not an orderly end.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return


def _requests(lines: object) -> Iterator[Seen]:
    while line := lines.readline():  # type: ignore[attr-defined]
        headers = {}
        while header := lines.readline().strip():  # type: ignore[attr-defined]
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = lines.read(int(headers.get("content-length", 0)))  # type: ignore[attr-defined]
        yield Seen(line.decode().strip(), headers, body)
