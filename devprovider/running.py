"""The provider in this process: a uvicorn server on a thread of its own, for tests."""

import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from devprovider.calls import Call, CallLog
from devprovider.server import Provider
from devprovider.settings import Settings


class Running:
    """Serves while it is entered; ``url`` is the base URL that clients want, without ``/v1`` it is "
    "``root``."""

    def __init__(self, settings: Settings | None = None, *, port: int = 0, log: Path | None = None) -> None:
        self.provider = Provider(settings=settings or Settings(), log=CallLog(path=log))
        self.port = port
        self._started = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def arrived(self) -> threading.Event:
        """Set once a request for a completion has been read."""
        return self.provider.completions.arrived

    @property
    def root(self) -> str:
        """Where ``/_sim`` is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL for OpenAI's clients."""
        return f"{self.root}/v1"

    def calls(self, at_least: int = 0, seconds: float = 10) -> list[Call]:
        """The book of calls, once it has at least so many; a call is in it when its answer has ended."""
        if not self.provider.completions.log.wait(at_least, seconds):
            raise TimeoutError(f"{len(self.provider.calls())} of {at_least} calls in {seconds:g} s")
        return self.provider.calls()

    def configure(self, **knobs: Any) -> None:
        """Change settings by name: ``configure(faults={"drop": 1}, gullible=True)``."""
        self.provider.configure(knobs)

    def reset(self) -> None:
        """The first settings again, no calls, no memory."""
        self.provider.reset()

    def __enter__(self) -> Self:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = _Server(make_config(self.provider, self.port), self._started, self.provider)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        self._started.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        if self._thread:
            self._thread.join(30)


class _Server(uvicorn.Server):
    """Says when it listens, and leaves no hanging answer behind when it stops."""

    def __init__(self, config: uvicorn.Config, started: threading.Event, provider: Provider) -> None:
        super().__init__(config)
        self._listening = started
        self._provider = provider

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._provider.leave()
        await super().shutdown(sockets)


def make_config(provider: Provider, port: int) -> uvicorn.Config:
    """uvicorn's settings; an answer cut on purpose is no error worth a log line."""
    return uvicorn.Config(
        provider,
        host="127.0.0.1",
        port=port,
        http="h11",
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        log_level="critical",
        backlog=4096,
        timeout_graceful_shutdown=2,
    )
