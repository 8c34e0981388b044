"""Idempotency keys: the same creation asked for twice happens once, by a constraint of the database."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import asyncpg
import msgspec

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.errors import Conflict, ContentErased, Invalid, invalid

KEPT = timedelta(hours=48)
_WAIT_ALONE, _WAIT_TOGETHER = "1s", "50ms"  # for the end of a running twin

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
# In one order: whoever takes several waits for twins of those that come later in it.
_TAKE = """
INSERT INTO idempotency_keys (scope, route, key, body_sha256, created_at)
SELECT n.*, $5 FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS n (scope, route, key, sha256)
ORDER BY scope, route, key
ON CONFLICT DO NOTHING RETURNING scope, route, key
"""
_FIND = """
SELECT body_sha256, status, location, body, erased_at FROM idempotency_keys
WHERE scope = $1 AND route = $2 AND key = $3
"""
_FINISH = """
UPDATE idempotency_keys SET status = $4, location = $5, body = $6
WHERE scope = $1 AND route = $2 AND key = $3
"""
_GIVE_BACK = "DELETE FROM idempotency_keys WHERE scope = $1 AND route = $2 AND key = $3"
_FORGET = """
DELETE FROM idempotency_keys WHERE (scope, route, key) IN (
    SELECT scope, route, key FROM idempotency_keys WHERE created_at < $1
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
_ERASE = """
UPDATE idempotency_keys SET body = NULL, erased_at = $4 WHERE (scope, route, key) IN (
    SELECT scope, route, key FROM idempotency_keys
    WHERE scope = ANY($1) AND created_at <= $2 AND body IS NOT NULL LIMIT $3 FOR UPDATE SKIP LOCKED)
"""


class IdempotencyInProgress(Conflict):
    """The first request with this key is still running."""

    code, title, retryable = "idempotency_in_progress", "The first request with this key still runs", True


class IdempotencyMismatch(Invalid):
    """The key was used for another body."""

    code, title = "idempotency_mismatch", "This Idempotency-Key belongs to another body"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A creation as its caller sent it. ``key`` None: the caller did not ask for idempotency."""

    scope: str
    route: str
    key: str | None
    body: bytes


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An encoded answer. ``shown_again`` replaces a body that holds a secret when it is replayed."""

    status: int
    body: bytes
    location: str | None = None
    shown_again: bytes | None = None
    replayed: bool = False


def check_key(key: str | None) -> str | None:
    """Return an Idempotency-Key that can be used. Raises Invalid."""
    if key is not None and not _KEY.fullmatch(key):
        raise invalid("", "bad_idempotency_key", "Idempotency-Key must be 1 to 255 visible ASCII characters.")
    return key


async def once(tx: Tx, call: Call, work: Callable[[], Awaitable[Answer]]) -> Answer:
    """Do ``work`` in this transaction unless a committed twin did; then return the twin's answer.

    Waits at most 1 s for a running twin. Raises IdempotencyInProgress or IdempotencyMismatch.
    """
    (taken,) = await take_each(tx, [call])
    if not taken:
        return await replay(tx, call)
    answer = await work()
    await finish_each(tx, [(call, answer)])
    return answer


async def take_each(tx: Tx, calls: Sequence[Call]) -> list[bool]:
    """Take the keys of calls; tell for each whether it is to be done here: its key was free, or it has none.

    Alone, a call waits at most 1 s for a running twin. Raises IdempotencyInProgress. With others nobody is
    kept waiting for long: raises asyncpg.LockNotAvailableError, and the transaction must be rolled back.
    """
    keyed = {(call.scope, call.route, call.key): _digest(call) for call in reversed(calls) if call.key}
    if not keyed:
        return [True] * len(calls)
    alone = len(calls) == 1
    await tx.raw.execute(f"SET LOCAL lock_timeout = '{_WAIT_ALONE if alone else _WAIT_TOGETHER}'")
    try:
        rows = await tx.raw.fetch(_TAKE, *zip(*keyed, strict=True), list(keyed.values()), tx.now)
    except asyncpg.LockNotAvailableError as error:
        if not alone:
            raise
        raise IdempotencyInProgress(
            "The first request with this Idempotency-Key is still running; ask again in a moment.",
            headers={"Retry-After": "1"},
        ) from error
    await tx.raw.execute("SET LOCAL lock_timeout = 0")
    free = {tuple(row) for row in rows}
    taken = []
    for call in calls:
        name = (call.scope, call.route, call.key)
        taken.append(call.key is None or name in free)
        free.discard(name)  # of twins that came together the first one is done
    return taken


async def finish_each(tx: Tx, answers: Sequence[tuple[Call, Answer]]) -> None:
    """Keep the answers to calls whose keys were taken, for their twins."""
    rows = []
    for call, answer in answers:
        shown = answer.body if answer.shown_again is None else answer.shown_again
        # The body is kept as a JSON string, so that a replay gives the same bytes.
        stored = (answer.status, answer.location, encode_json(shown.decode()))
        rows += [(call.scope, call.route, call.key, *stored)] if call.key else []
    await tx.execute_many(_FINISH, rows)


async def give_back(tx: Tx, calls: Sequence[Call]) -> None:
    """Free the keys of calls that were taken and not done, as a rollback would."""
    await tx.execute_many(_GIVE_BACK, [(call.scope, call.route, call.key) for call in calls if call.key])


async def forget_old(tx: Tx, limit: int) -> int:
    """Delete at most so many keys older than 48 h; return how many."""
    return int((await tx.raw.execute(_FORGET, tx.now - KEPT, limit)).split()[-1])


async def erase_answers(tx: Tx, scopes: list[str], before: datetime, limit: int) -> int:
    """Erase at most so many answers that were given to callers up to a time; return how many.

    The keys stay: what was done once is not done again. They are locked in no order, and the locked left out.
    """
    return int((await tx.raw.execute(_ERASE, scopes, before, limit, tx.now)).split()[-1])


async def replay(tx: Tx, call: Call) -> Answer:
    """Return what the twin of a call was answered. Raises IdempotencyInProgress or IdempotencyMismatch."""
    row = await tx.raw.fetchrow(_FIND, call.scope, call.route, call.key)
    if row is None:
        raise IdempotencyInProgress("The first request with this Idempotency-Key has just ended; ask again.")
    if row["body_sha256"] != _digest(call):
        raise IdempotencyMismatch("This Idempotency-Key was used with another body; take a new one.")
    if row["body"] is None:
        raise ContentErased(
            "The answer to the first request with this Idempotency-Key was erased.",
            erased_at=row["erased_at"],
        )
    return Answer(status=row["status"], body=row["body"].encode(), location=row["location"], replayed=True)


def _digest(call: Call) -> bytes:
    return hashlib.sha256(call.body).digest()
