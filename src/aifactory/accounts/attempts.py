"""Limits of log-in attempts: counted in the database before the password is looked at, for all processes.

Three counts, each refilled one attempt at a time (GCRA):

- the address, so that one visitor can't try many accounts;
- the account from this address: the hard limit for guessing one password;
- the account from anywhere: it slows down guesses from many addresses. It asks for a pause of seconds only,
  and an address from which the account was lately logged in to is exempt, so nobody can keep its owner out.

A success takes its own attempt back and empties the count of the account from this address.
"""

import hashlib
from datetime import datetime, timedelta

import msgspec

from aifactory.accounts import user_queries
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import TooMany

PURGED_TOGETHER = 20  # more than one attempt can add


class TooManyAttempts(TooMany):
    """Too many attempts to log in from this address or for this account."""

    code, title = "too_many_attempts", "Too many attempts to log in"


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """So many attempts at once, then one after each pause."""

    burst: int
    pause: timedelta


class LoginLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How often one may fail; ``known_for``: how long an address stays exempt from the last limit."""

    address: Limit = Limit(burst=30, pause=timedelta(seconds=30))
    account_here: Limit = Limit(burst=10, pause=timedelta(seconds=90))
    account: Limit = Limit(burst=50, pause=timedelta(seconds=10))
    known_for: timedelta = timedelta(days=30)


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that was counted: under which keys, in the order in which their rows are locked."""

    counted: dict[bytes, Limit]
    here: bytes


async def take(tx: Tx, limits: LoginLimits, *, network: str, login: str) -> Attempt:
    """Count an attempt. Raises TooManyAttempts: roll back then, so that a refused attempt counts nothing."""
    here = _key("account here", network, login)
    asked = {
        _key("address", network): limits.address,
        here: limits.account_here,
        _key("account", login): limits.account,
    }
    taken = await user_queries.count_attempt(
        tx, keys=list(asked), pauses=[limit.pause for limit in asked.values()], known=here
    )
    counted = {key: limit for key, limit in asked.items() if key in taken}
    wait = max(_wait(taken[key], limit, tx.now) for key, limit in counted.items())
    if wait > timedelta():
        seconds = int(wait.total_seconds()) + 1
        raise TooManyAttempts(
            f"Too many attempts; try again in {seconds} s.", headers={"Retry-After": str(seconds)}
        )
    await user_queries.purge_attempts(tx, PURGED_TOGETHER)
    return Attempt(counted=counted, here=here)


async def take_back(tx: Tx, attempt: Attempt) -> None:
    """Uncount an attempt that came to nothing."""
    for key, limit in attempt.counted.items():
        await user_queries.give_back_attempt(tx, key, limit.pause)


async def forgive(tx: Tx, limits: LoginLimits, attempt: Attempt) -> None:
    """Take back an attempt that succeeded, and remember that this address is the account's."""
    for key, limit in attempt.counted.items():  # one by one: all lock in the same order
        if key == attempt.here:
            await user_queries.note_success(tx, key, known_until=tx.now + limits.known_for)
        else:
            await user_queries.give_back_attempt(tx, key, limit.pause)


def _wait(free_at: datetime, limit: Limit, now: datetime) -> timedelta:
    """Return how long to wait, at most zero if the attempt was within the limit."""
    return free_at - now - limit.burst * limit.pause


def _key(*parts: str) -> bytes:
    """Return a count's key: not the text itself, since people type passwords in the wrong field."""
    return hashlib.sha256("\n".join(parts).encode()).digest()
