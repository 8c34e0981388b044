"""Sessions of users: starting and ending them. The caller's transaction, never a commit."""

import unicodedata
from datetime import datetime, timedelta

from aifactory.accounts import keys, user_queries
from aifactory.accounts.models import SessionRow, UserRow
from aifactory.kernel import audit, ids
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import NotAllowed
from aifactory.kernel.ids import SessionId, UserId
from aifactory.kernel.principal import Principal

SESSION_LASTS = timedelta(hours=24)
EXPIRED_KEPT = timedelta(days=30)
PURGED_TOGETHER = 20


def normal_login(login: str) -> str:
    """Return a login as it is stored: one form for what looks the same, without upper case."""
    return unicodedata.normalize("NFKC", login).strip().casefold()


async def start_session(tx: Tx, user: UserRow) -> tuple[str, datetime]:
    """Store a session of 24 h; return its token, which exists nowhere else, and its end."""
    token = keys.make_token()
    sha256 = keys.token_sha256(token)
    assert sha256 is not None
    ends = tx.now + SESSION_LASTS
    row = SessionRow(
        id=ids.new_id(), user_id=user.id, token_sha256=sha256, created_at=tx.now, expires_at=ends
    )
    tx.session.add(row)
    await tx.flush()
    await user_queries.purge_sessions(tx, before=tx.now - EXPIRED_KEPT, limit=PURGED_TOGETHER)
    user_id = ids.text_id("user", user.id)
    await audit.record(tx, actor=user_id, action="login", object_kind="user", object_id=user_id)
    return token, ends


async def end_session(tx: Tx, caller: Principal, *, everywhere: bool) -> None:
    """End the caller's session, or all of the user's. Raises NotAllowed for a key."""
    user_id, session_id = required_session(caller)
    await user_queries.end_sessions(tx, user_id=user_id, session_id=None if everywhere else session_id)


def required_session(caller: Principal) -> tuple[UserId, SessionId]:
    """Return the caller's user and session. Raises NotAllowed for a key."""
    if caller.user_id is None or caller.session_id is None:
        raise NotAllowed("An API key has no session; revoke the key instead.")
    return caller.user_id, caller.session_id
