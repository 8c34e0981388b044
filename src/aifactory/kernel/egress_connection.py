"""Connecting to callable addresses only: the address that is connected to is judged, each time."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import aiohttp
import anyio
from aiohttp.abc import AbstractResolver, ResolveResult

from aifactory.kernel.egress import refusal_of

DNS_SECONDS = 5.0
MAX_LOOKUPS = 64
MAX_ADDRESSES = 16

Lookup = Callable[[str, int], list[Any]]


class AddressRefused(OSError):
    """An address that may not be called; an OSError, so that connecting takes it as any other failure."""


def system_lookup(host: str, port: int) -> list[Any]:
    """Ask the system's resolver; blocks."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class PublicResolver(AbstractResolver):
    """Looks names up afresh for each connection, and refuses a name with any address that isn't callable.

    Each look-up has a thread of its own: one that hangs must not hold the pool that the database's
    connections are looked up with, nor the end of the process.
    """

    def __init__(self, *, private_allowed: bool, lookup: Lookup = system_lookup) -> None:
        self.private_allowed = private_allowed
        self._lookup = lookup
        self._running = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return a name's addresses. Raises AddressRefused, or OSError when there is none in time."""
        if self._running >= MAX_LOOKUPS:
            raise OSError("too many names are being looked up")
        try:
            with anyio.fail_after(DNS_SECONDS):
                found = await self._look_up(host, port)
        except TimeoutError as error:
            raise OSError("the name was not found in time") from error
        results = [_result(host, port, entry) for entry in found[:MAX_ADDRESSES]]
        for result in results:
            check_address(result["host"], private_allowed=self.private_allowed)
        if not results:
            raise OSError("the name has no address")
        return results

    async def _look_up(self, host: str, port: int) -> list[Any]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()

        def finish(found: list[Any] | None, error: Exception | None) -> None:
            self._running -= 1
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found or [])

        def run() -> None:
            found, fault = None, None
            try:
                found = self._lookup(host, port)
            except OSError as error:
                fault = error
            except UnicodeError:
                fault = OSError("the name can't be looked up")
            if not loop.is_closed():
                loop.call_soon_threadsafe(finish, found, fault)

        self._running += 1
        threading.Thread(target=run, name="look-up", daemon=True).start()
        return await answer

    async def close(self) -> None:
        """Nothing to close."""


def _result(host: str, port: int, entry: Any) -> ResolveResult:
    family, _, protocol, _, address = entry
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(
        hostname=host, host=address[0], port=port, family=family, proto=protocol, flags=flags
    )


def check_address(address: str, *, private_allowed: bool) -> None:
    """Raise AddressRefused for a numeric address that may not be called."""
    if (kind := refusal_of(address, private_allowed=private_allowed)) is not None:
        raise AddressRefused(f"the address {address} can't be called: {kind}")


def public_connector(
    *, private_allowed: bool, lookup: Lookup = system_lookup, ssl: Any = True
) -> aiohttp.TCPConnector:
    """Return a connector whose every socket is made for a callable address: looked up, literal or guessed."""

    def open_socket(target: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = target
        check_address(str(address[0]), private_allowed=private_allowed)
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        resolver=PublicResolver(private_allowed=private_allowed, lookup=lookup),
        socket_factory=open_socket,
        use_dns_cache=False,
        force_close=True,  # no connection outlives its check
        limit=0,
        ssl=ssl,
    )
