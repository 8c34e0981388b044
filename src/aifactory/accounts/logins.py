"""Logging in and changing one's password. Opens its own transactions: no password is hashed inside one."""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime

import msgspec
import structlog

from aifactory.accounts import attempts, passwords, sessions, user_queries, users
from aifactory.accounts.attempts import Attempt, LoginLimits
from aifactory.accounts.interface import BadLogin, WrongPassword
from aifactory.accounts.models import UserRow
from aifactory.accounts.passwords import LoginsBusy
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.principal import Principal
from aifactory.kernel.visitors import Visitor

log = structlog.get_logger()


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was just started; ``token`` exists nowhere else."""

    token: str
    expires_at: datetime
    user: UserRow


async def log_in(
    database: Database, *, limits: LoginLimits, visitor: Visitor, login: str, password: str
) -> Session:
    """Start a session. Raises BadLogin, TooManyAttempts, LoginsBusy, DatabaseUnavailable.

    The attempt is counted and committed before the password is looked at, so that none of many slips through.
    """
    async with passwords.line(visitor.network), database.begin() as tx:
        name = sessions.normal_login(login)
        attempt = await attempts.take(tx, limits, network=visitor.network, login=name)
        found = await user_queries.find_user_by_login(tx, name)
    async with _turn(database, attempt):
        stored = None if found is None else found.password_hash
        matches = await passwords.check_password(password, stored)
        if found is None or stored is None or not matches:
            log.info("login.refused", address=visitor.address)
            raise _bad_login()
        fresh = await passwords.hash_password(password) if passwords.is_outdated(stored) else None
    async with database.begin() as tx:
        user = await _same_user(tx, found)
        if fresh is not None:
            user.password_hash = fresh
        await attempts.forgive(tx, limits, attempt)
        token, ends = await sessions.start_session(tx, user)
    return Session(token=token, expires_at=ends, user=user)


async def change_own_password(
    database: Database, *, limits: LoginLimits, visitor: Visitor, caller: Principal, old: str, new: str
) -> None:
    """Set the caller's password and end the other sessions. Raises WrongPassword and what ``log_in`` does."""
    user_id, session_id = sessions.required_session(caller)
    async with passwords.line(visitor.network), database.begin() as tx:
        found = await users.get_user(tx, user_id)
        users.check_password_choice("/newPassword", new, found.login)
        attempt = await attempts.take(tx, limits, network=visitor.network, login=found.login)
    async with _turn(database, attempt):
        if not await passwords.check_password(old, found.password_hash):
            raise WrongPassword("This is not your present password.")
        password_hash = await passwords.hash_password(new)
    async with database.begin() as tx:
        user = await _same_user(tx, found)
        await attempts.forgive(tx, limits, attempt)
        await users.set_password(tx, user, password_hash, actor=caller.label, keep=session_id)


@contextlib.asynccontextmanager
async def _turn(database: Database, attempt: Attempt) -> AsyncIterator[None]:
    """Take a place for checking a password: only what was within the limits may keep others waiting.

    Raises LoginsBusy; the attempt is then not counted.
    """
    try:
        with passwords.turn():
            yield
    except LoginsBusy:
        async with database.begin() as tx:
            await attempts.take_back(tx, attempt)
        raise


async def _same_user(tx: Tx, found: UserRow) -> UserRow:
    """Return the user, locked, unless what was checked without a lock no longer holds. Raises BadLogin."""
    user = await user_queries.find_user(tx, found.id, lock=True)
    if user is None or not user.active or user.password_version != found.password_version:
        raise _bad_login()
    return user


def _bad_login() -> BadLogin:
    return BadLogin("Login or password is wrong.")
