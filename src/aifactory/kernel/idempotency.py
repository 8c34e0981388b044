"""Idempotency keys: the same creation asked for twice happens once, by a constraint of the database."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import asyncpg
import msgspec

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.errors import Conflict, ContentErased, Invalid, invalid

KEPT = timedelta(hours=48)

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TAKE = """
INSERT INTO idempotency_keys (scope, route, key, body_sha256, created_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING key
"""
_FIND = """
SELECT body_sha256, status, location, body, erased_at FROM idempotency_keys
WHERE scope = $1 AND route = $2 AND key = $3
"""
_FINISH = """
UPDATE idempotency_keys SET status = $4, location = $5, body = $6
WHERE scope = $1 AND route = $2 AND key = $3
"""
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
    if call.key is None:
        return await work()
    digest = hashlib.sha256(call.body).digest()
    if not await _take(tx, call, call.key, digest):
        return await _replay(tx, call, digest)
    answer = await work()
    shown = answer.body if answer.shown_again is None else answer.shown_again
    # The body is kept as a JSON string, so that a replay gives the same bytes.
    stored = encode_json(shown.decode())
    await tx.raw.execute(_FINISH, call.scope, call.route, call.key, answer.status, answer.location, stored)
    return answer


async def forget_old(tx: Tx, limit: int) -> int:
    """Delete at most so many keys older than 48 h; return how many."""
    return int((await tx.raw.execute(_FORGET, tx.now - KEPT, limit)).split()[-1])


async def erase_answers(tx: Tx, scopes: list[str], before: datetime, limit: int) -> int:
    """Erase at most so many answers that were given to callers up to a time; return how many.

    The keys stay: what was done once is not done again. They are locked in no order, and the locked left out.
    """
    return int((await tx.raw.execute(_ERASE, scopes, before, limit, tx.now)).split()[-1])


async def _take(tx: Tx, call: Call, key: str, digest: bytes) -> bool:
    await tx.raw.execute("SET LOCAL lock_timeout = '1s'")
    try:
        taken = await tx.raw.fetchval(_TAKE, call.scope, call.route, key, digest, tx.now)
    except asyncpg.LockNotAvailableError as error:
        raise IdempotencyInProgress(
            "The first request with this Idempotency-Key is still running; ask again in a moment.",
            headers={"Retry-After": "1"},
        ) from error
    await tx.raw.execute("SET LOCAL lock_timeout = 0")
    return taken is not None


async def _replay(tx: Tx, call: Call, digest: bytes) -> Answer:
    row = await tx.raw.fetchrow(_FIND, call.scope, call.route, call.key)
    if row is None:
        raise IdempotencyInProgress("The first request with this Idempotency-Key has just ended; ask again.")
    if row["body_sha256"] != digest:
        raise IdempotencyMismatch("This Idempotency-Key was used with another body; take a new one.")
    if row["body"] is None:
        raise ContentErased(
            "The answer to the first request with this Idempotency-Key was erased.",
            erased_at=row["erased_at"],
        )
    return Answer(status=row["status"], body=row["body"].encode(), location=row["location"], replayed=True)
