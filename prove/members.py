"""Processes of a fleet: real ``aifactory serve`` processes on one database, which a proof may kill."""

import contextlib
import os
import random
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import anyio
import anyio.to_thread

from prove.nursery import NURSERY, Forked

READY_WITHIN_SECONDS = 120.0
END_WITHIN_SECONDS = 60.0


class Member:
    """One process, on the same port in each of its lives; what it logs goes to a file."""

    def __init__(self, *, number: int, folder: Path, settings: dict[str, str]) -> None:
        self.number = number
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"member-{number}.log"
        self._environment = _environment() | settings | {"AIFACTORY_PORT": str(self.port)}
        self._process: Forked | None = None

    @property
    def pid(self) -> int:
        """Return its present process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; it is ready somewhat later."""
        self._process = NURSERY.start(
            ["serve"], environment=self._environment, folder=Path.cwd(), stdout=self.log, stderr=self.log
        )

    async def ready(self, session: aiohttp.ClientSession) -> None:
        """Wait until it can serve. Raises TimeoutError, or RuntimeError when it has ended."""
        with anyio.fail_after(READY_WITHIN_SECONDS):
            while True:
                if not self.is_running:
                    raise RuntimeError(f"member {self.number} ended: {self.log.read_text()[-2000:]}")
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    async with session.get(f"{self.url}/health/ready") as answer:
                        if answer.status == 200:
                            return
                await anyio.sleep(0.1)

    async def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        assert self._process is not None
        self._process.kill()
        await self.end()

    def terminate(self) -> None:
        """Ask it to end, as a service manager does."""
        assert self._process is not None
        self._process.terminate()

    async def end(self) -> int:
        """Wait until it has ended; returns its exit code. Raises TimeoutError."""
        assert self._process is not None
        process = self._process
        return await anyio.to_thread.run_sync(lambda: process.wait(END_WITHIN_SECONDS))

    def clean_up(self) -> None:
        """Leave nothing of it behind, whatever happened."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(END_WITHIN_SECONDS)


class Fleet:
    """Some members, and any of them that lives."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members

    def any_url(self, chance: random.Random) -> str:
        """Return the address of a member that lives, or of one that does not if none does."""
        alive = [member for member in self.members if member.is_running]
        return chance.choice(alive or self.members).url


@contextlib.asynccontextmanager
async def open_fleet(size: int, folder: Path, settings: dict[str, str]) -> AsyncIterator[Fleet]:
    """Start a fleet and wait until it is ready; nothing of it stays."""
    members = [Member(number=number, folder=folder, settings=settings) for number in range(size)]
    try:
        async with aiohttp.ClientSession() as session:
            for member in members:
                member.start()
            for member in members:
                await member.ready(session)
        yield Fleet(members)
    finally:
        for member in members:
            member.clean_up()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AIFACTORY_")}
