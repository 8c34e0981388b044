"""The SQL of users, their sessions and attempts to log in: no decisions."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import delete, func, select, text, update

from aifactory.accounts.models import SessionRow, UserRow
from aifactory.accounts.queries import newest_first
from aifactory.accounts.request_limits import Counted, counting, fetch_counted
from aifactory.kernel.allowance import OPERATOR_PER_MINUTE
from aifactory.kernel.db import Tx
from aifactory.kernel.page import PageRequest
from aifactory.kernel.principal import Role

# The check of a session: one statement, outside a transaction.

_SESSION = counting("""
SELECT session.id, session.user_id, session.expires_at, session.ended_at,
       person.role, person.client_id, person.active, now,
       person.id AS holder, coalesce(requests_per_minute, $4::integer) AS per_minute,
       $3::boolean AND session.ended_at IS NULL AND session.expires_at > now AND person.active AS usable
FROM user_sessions AS session JOIN users AS person ON person.id = session.user_id
LEFT JOIN client_request_limits AS own ON own.client_id = person.client_id,
     (SELECT clock_timestamp() + $2::interval AS now OFFSET 0) AS moment
WHERE session.token_sha256 = $1
""")


async def find_session(
    raw: "asyncpg.Connection[Any]", sha256: bytes, *, offset: timedelta, counts: bool
) -> Counted | None:
    """Return a session with its user and the time; a live one's request is counted for the user."""
    return await fetch_counted(raw, _SESSION, sha256, offset, counts, OPERATOR_PER_MINUTE)


# Users.


async def lock_users(tx: Tx) -> None:
    """Let one change of users at a time happen, so that what is checked of all of them holds."""
    await tx.session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('aifactory.users', 0))"))


async def find_user_by_login(tx: Tx, login: str) -> UserRow | None:
    """Return the user with this login."""
    return await tx.session.scalar(select(UserRow).where(UserRow.login == login))


async def find_user(tx: Tx, user_id: UUID, *, lock: bool = False) -> UserRow | None:
    """Return a user, locked if asked."""
    return await tx.session.get(UserRow, user_id, with_for_update=lock or None)


async def list_users(tx: Tx, page: PageRequest) -> list[UserRow]:
    """Return one more than a page, newest first."""
    return await newest_first(tx, select(UserRow), UserRow.id, page)


async def has_users(tx: Tx) -> bool:
    """Tell whether anyone can log in."""
    return await tx.session.scalar(select(UserRow.id).limit(1)) is not None


async def count_admins(tx: Tx) -> int:
    """Count the admins that can log in."""
    statement = select(func.count()).where(UserRow.role == Role.ADMIN.value, UserRow.active)
    return await tx.session.scalar(statement) or 0


# Sessions.


async def find_session_row(tx: Tx, session_id: UUID) -> SessionRow | None:
    """Return a session."""
    return await tx.session.get(SessionRow, session_id)


async def end_sessions(
    tx: Tx, *, user_id: UUID, session_id: UUID | None = None, but: UUID | None = None
) -> None:
    """End one session of a user, or all, or all but one."""
    statement = (
        update(SessionRow)
        .where(SessionRow.user_id == user_id, SessionRow.ended_at.is_(None))
        .values(ended_at=tx.now)
    )
    if session_id is not None:
        statement = statement.where(SessionRow.id == session_id)
    if but is not None:
        statement = statement.where(SessionRow.id != but)
    await tx.session.execute(statement)


async def delete_sessions_of(tx: Tx, user_id: UUID) -> None:
    """Forget a user's sessions."""
    await tx.session.execute(delete(SessionRow).where(SessionRow.user_id == user_id))


async def purge_sessions(tx: Tx, *, before: datetime, limit: int) -> None:
    """Forget some sessions that expired before a moment."""
    await tx.raw.execute(
        """
        DELETE FROM user_sessions WHERE id IN (
            SELECT id FROM user_sessions WHERE expires_at < $1
            ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        before,
        limit,
    )


# Attempts. A row's ``free_at`` is when its count will be empty; each attempt moves it on by a pause.

_COUNT = """
INSERT INTO login_attempts AS count (key, free_at)
SELECT asked.key, $1::timestamptz + asked.pause
FROM unnest($2::bytea[], $3::interval[]) WITH ORDINALITY AS asked (key, pause, place)
WHERE NOT (asked.place = 3 AND EXISTS (
    SELECT FROM login_attempts AS known WHERE known.key = $4 AND known.known_until > $1
))
ORDER BY asked.place
ON CONFLICT (key) DO UPDATE SET free_at = greatest(count.free_at, $1) + (EXCLUDED.free_at - $1)
RETURNING key, free_at
"""
_GIVE_BACK = "UPDATE login_attempts SET free_at = free_at - $2::interval WHERE key = $1"
_SUCCEEDED = "UPDATE login_attempts SET free_at = $2, known_until = $3 WHERE key = $1"
_PURGE = """
DELETE FROM login_attempts WHERE key IN (
    SELECT key FROM login_attempts WHERE greatest(free_at, known_until) < $1
    ORDER BY greatest(free_at, known_until) LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""


async def count_attempt(
    tx: Tx, *, keys: list[bytes], pauses: list[timedelta], known: bytes
) -> dict[bytes, datetime]:
    """Count an attempt under three keys, locking their rows in that order; return when each will be empty.

    The third is left out, and not returned, while the row ``known`` says that the visitor is known.
    """
    rows = await tx.raw.fetch(_COUNT, tx.now, keys, pauses, known)
    return {row["key"]: row["free_at"] for row in rows}


async def give_back_attempt(tx: Tx, key: bytes, pause: timedelta) -> None:
    """Uncount one attempt."""
    await tx.raw.execute(_GIVE_BACK, key, pause)


async def note_success(tx: Tx, key: bytes, *, known_until: datetime) -> None:
    """Empty a count and remember its visitor."""
    await tx.raw.execute(_SUCCEEDED, key, tx.now, known_until)


async def purge_attempts(tx: Tx, limit: int) -> None:
    """Forget some counts that are empty and remember nobody."""
    await tx.raw.execute(_PURGE, tx.now, limit)
