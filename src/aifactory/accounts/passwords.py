"""Passwords: argon2id in a thread, two at a time, never inside a transaction."""

import contextlib
import secrets
import unicodedata
from collections.abc import AsyncIterator, Iterator
from weakref import WeakValueDictionary

import anyio
from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from aifactory.kernel.errors import Unavailable

AT_ONCE = 2
MOST_PLACES = 18  # two at work and sixteen waiting: about two seconds

# One thread each (RFC 9106 would take four): two checks must not take every core from the other requests.
_hasher = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=1)
_words = "abcdefghjkmnpqrstuvwxyz23456789"


class LoginsBusy(Unavailable):
    """So many passwords are being checked that this one would wait too long; it was not counted."""

    code, title = "logins_busy", "Too many log-ins at this moment"


class _Desk:
    """Where the passwords of one process are checked."""

    def __init__(self) -> None:
        self.limiter = CapacityLimiter(AT_ONCE)
        self.places = 0
        self.lines: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()


_desks: anyio.lowlevel.RunVar[_Desk] = anyio.lowlevel.RunVar("argon2")


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Take a place in the queue for checking. Raises LoginsBusy at once when there is none."""
    desk = _desk()
    if desk.places >= MOST_PLACES:
        raise LoginsBusy(
            "Many people log in at this moment; try again shortly.", headers={"Retry-After": "2"}
        )
    desk.places += 1
    try:
        yield
    finally:
        desk.places -= 1


@contextlib.asynccontextmanager
async def line(network: str) -> AsyncIterator[None]:
    """Let the attempts of an address be counted one by one: a flood waits here, without a connection."""
    async with _desk().lines.setdefault(network, anyio.Lock()):
        yield


async def hash_password(password: str) -> str:
    """Return the argon2id hash to store."""
    return await to_thread.run_sync(_hasher.hash, _normal(password), limiter=_desk().limiter)


async def check_password(password: str, stored: str | None) -> bool:
    """Compare; without a stored hash (unknown login) do the same work and say no."""
    return await to_thread.run_sync(_check, _normal(password), stored, limiter=_desk().limiter)


def is_outdated(stored: str) -> bool:
    """Tell whether a hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(stored)


def make_password() -> str:
    """Return a random password that can be typed: 99 bits in four groups."""
    return "-".join("".join(secrets.choice(_words) for _ in range(5)) for _ in range(4))


def _normal(password: str) -> str:
    """Return one form for what looks the same, however it was typed."""
    return unicodedata.normalize("NFKC", password)


def _check(password: str, stored: str | None) -> bool:
    try:
        if stored is not None:
            return _hasher.verify(stored, password)
    except VerificationError:
        return False
    except InvalidHashError:
        pass  # nobody can log in with it; as slow as any other
    _hasher.hash(password)
    return False


def _desk() -> _Desk:
    try:
        return _desks.get()
    except LookupError:
        desk = _Desk()
        _desks.set(desk)
        return desk
