"""Users: fetch, decide, store. The caller's transaction, never a commit; one change of users at a time."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from aifactory.accounts import queries, user_queries
from aifactory.accounts.audit_rows import record_row
from aifactory.accounts.interface import LastAdmin, LoginTaken, UserNotFound
from aifactory.accounts.models import UserRow
from aifactory.accounts.sessions import normal_login
from aifactory.kernel import ids
from aifactory.kernel.db import Tx
from aifactory.kernel.errors import invalid
from aifactory.kernel.ids import ClientId, SessionId, UserId
from aifactory.kernel.principal import Role


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user to make."""

    login: str
    role: Role
    client_id: ClientId | None
    password_hash: str


class UserChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of a user; what is left out stays."""

    login: str | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    client_id: ClientId | UnsetType | None = UNSET
    active: bool | UnsetType = UNSET
    password_hash: str | UnsetType = UNSET


async def create_user(tx: Tx, new: NewUser, *, actor: str) -> UserRow:
    """Store a user. Raises LoginTaken or Invalid."""
    await user_queries.lock_users(tx)
    row = UserRow(
        id=ids.new_id(),
        login=await _free_login(tx, new.login),
        password_hash=new.password_hash,
        role=new.role.value,
        client_id=await _client_for(tx, new.role, new.client_id),
        active=True,
        created_at=tx.now,
    )
    tx.session.add(row)
    await tx.flush()
    await record_row(tx, actor, "user.created", row, after=_shown(row))
    return row


async def change_user(tx: Tx, user_id: UserId, changes: UserChanges, *, actor: str) -> UserRow:
    """Change a user; another role, client or password, and deactivation, end the user's sessions.

    Raises UserNotFound, LoginTaken, LastAdmin or Invalid.
    """
    await user_queries.lock_users(tx)
    row = await get_user(tx, user_id, lock=True)
    before = _shown(row)
    if changes.login is not UNSET and normal_login(changes.login) != row.login:
        row.login = await _free_login(tx, changes.login)
    await _change_place(tx, row, changes)
    if changes.active is not UNSET:
        row.active = changes.active
    after = _shown(row)
    if after != before:
        await record_row(tx, actor, "user.changed", row, before=before, after=after)
    if _powers(after) != _powers(before):
        await user_queries.end_sessions(tx, user_id=row.id)
    if changes.password_hash is not UNSET:
        await set_password(tx, row, changes.password_hash, actor=actor)
    await _check_admin_left(tx, before)
    return row


async def delete_user(tx: Tx, user_id: UserId, *, actor: str) -> None:
    """Delete a user and the sessions; the audit log remembers. Raises UserNotFound or LastAdmin."""
    await user_queries.lock_users(tx)
    row = await get_user(tx, user_id, lock=True)
    before = _shown(row)
    await user_queries.delete_sessions_of(tx, row.id)
    await tx.session.delete(row)
    await record_row(tx, actor, "user.deleted", row, before=before)
    await _check_admin_left(tx, before)


async def get_user(tx: Tx, user_id: UserId, *, lock: bool = False) -> UserRow:
    """Return a user. Raises UserNotFound."""
    row = await user_queries.find_user(tx, user_id, lock=lock)
    if row is None:
        raise UserNotFound("There is no user with this id.")
    return row


async def set_password(
    tx: Tx, user: UserRow, password_hash: str, *, actor: str, keep: SessionId | None = None
) -> None:
    """Store a locked user's new password and end the sessions, but one that is to be kept."""
    before = {"password_version": user.password_version}
    user.password_hash = password_hash
    user.password_version += 1
    await user_queries.end_sessions(tx, user_id=user.id, but=keep)
    after = {"password_version": user.password_version}
    await record_row(tx, actor, "user.password_changed", user, before=before, after=after)


def check_password_choice(pointer: str, password: str, login: str) -> None:
    """Refuse a password that everyone would try first. Raises Invalid."""
    if normal_login(password) == login or len(set(password)) < 4:
        raise invalid(pointer, "too_easy", "This password is too easy to guess; take another.")


async def _change_place(tx: Tx, row: UserRow, changes: UserChanges) -> None:
    """Set role and client together; a role that belongs to no client leaves the old one."""
    role = Role(row.role) if changes.role is UNSET else changes.role
    kept = None if row.client_id is None or role is not Role.CLIENT else ClientId(row.client_id)
    wanted = kept if changes.client_id is UNSET else changes.client_id
    row.client_id = await _client_for(tx, role, wanted)
    row.role = role.value


async def _client_for(tx: Tx, role: Role, client_id: ClientId | None) -> UUID | None:
    """Return the client of a user with this role. Raises Invalid."""
    if role is not Role.CLIENT:
        if client_id is not None:
            raise invalid("/clientId", "not_taken", "Only a user with the role client belongs to a client.")
        return None
    if client_id is None:
        raise invalid("/clientId", "missing_field", "A user with the role client needs a clientId.")
    if await queries.find_client(tx, client_id) is None:
        raise invalid("/clientId", "unknown_client", "There is no client with this id.")
    return client_id


async def _free_login(tx: Tx, text: str) -> str:
    """Return a login in its stored form. Raises LoginTaken or Invalid."""
    login = normal_login(text)
    if not login or not login.isprintable() or any(character.isspace() for character in login):
        raise invalid("/login", "bad_login", "A login is made of visible characters without spaces.")
    if await user_queries.find_user_by_login(tx, login) is not None:
        raise LoginTaken("Another user has this login.")
    return login


async def _check_admin_left(tx: Tx, before: dict[str, Any]) -> None:
    """Refuse a change that left nobody in charge; rolling back undoes it. Raises LastAdmin."""
    await tx.flush()
    if before["role"] == Role.ADMIN and before["active"] and not await user_queries.count_admins(tx):
        raise LastAdmin("This is the last active admin; make another one first.")


def _shown(row: UserRow) -> dict[str, Any]:
    """Return what the audit log tells of a user: never a password."""
    return {
        "login": row.login,
        "role": row.role,
        "client": None if row.client_id is None else ids.text_id("client", row.client_id),
        "active": row.active,
    }


def _powers(shown: dict[str, Any]) -> tuple[Any, ...]:
    return shown["role"], shown["client"], shown["active"]
