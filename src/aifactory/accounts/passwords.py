"""Passwords: argon2id in a thread, two at a time, never inside a transaction."""

import secrets

import anyio
from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

_hasher = PasswordHasher()
_words = "abcdefghjkmnpqrstuvwxyz23456789"
_limiters: anyio.lowlevel.RunVar[CapacityLimiter] = anyio.lowlevel.RunVar("argon2")


async def hash_password(password: str) -> str:
    """Return the argon2id hash to store."""
    return await to_thread.run_sync(_hasher.hash, password, limiter=_limiter())


async def check_password(password: str, stored: str | None) -> bool:
    """Compare; without a stored hash (unknown login) do the same work and say no."""
    return await to_thread.run_sync(_check, password, stored, limiter=_limiter())


def make_password() -> str:
    """Return a random password that can be typed: 99 bits in four groups."""
    return "-".join("".join(secrets.choice(_words) for _ in range(5)) for _ in range(4))


def _check(password: str, stored: str | None) -> bool:
    if stored is None:
        _hasher.hash(password)
        return False
    try:
        return _hasher.verify(stored, password)
    except VerificationError:
        return False


def _limiter() -> CapacityLimiter:
    try:
        return _limiters.get()
    except LookupError:
        limiter = CapacityLimiter(2)
        _limiters.set(limiter)
        return limiter
