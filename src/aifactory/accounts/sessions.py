"""Sessions of users: starting and ending them. The caller's transaction, never a commit."""

from datetime import datetime, timedelta

import msgspec

from aifactory.accounts import keys, queries
from aifactory.accounts.attempts import Attempts
from aifactory.accounts.models import SessionRow, UserRow
from aifactory.kernel import audit, ids
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import NotAllowed
from aifactory.kernel.ids import SessionId, UserId
from aifactory.kernel.principal import Principal

SESSION_LASTS = timedelta(hours=24)


class LoginLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How often an address and an account may try within a quarter of an hour; successes don't count."""

    address: Attempts = msgspec.field(default_factory=lambda: Attempts(limit=30, window_seconds=900))
    account: Attempts = msgspec.field(default_factory=lambda: Attempts(limit=10, window_seconds=900))

    def take(self, address: str, login: str) -> None:
        """Count an attempt. Raises TooManyAttempts."""
        self.address.take(address)
        self.account.take(login)

    def forgive(self, address: str, login: str) -> None:
        """Take back an attempt that succeeded."""
        self.address.forgive(address)
        self.account.forgive(login)


def normal_login(login: str) -> str:
    """Return a login as it is stored."""
    return login.strip().lower()


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
    user_id = ids.text_id("user", user.id)
    await audit.record(tx, actor=f"user:{user.id}", action="login", object_kind="user", object_id=user_id)
    return token, ends


async def end_session(tx: Tx, caller: Principal, *, everywhere: bool) -> None:
    """End the caller's session, or all of the user's. Raises NotAllowed for a key."""
    user_id, session_id = required_session(caller)
    await queries.end_sessions(tx, user_id=user_id, session_id=None if everywhere else session_id)


def required_session(caller: Principal) -> tuple[UserId, SessionId]:
    """Return the caller's user and session. Raises NotAllowed for a key."""
    if caller.user_id is None or caller.session_id is None:
        raise NotAllowed("An API key has no session; revoke the key instead.")
    return caller.user_id, caller.session_id
