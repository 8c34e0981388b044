"""What log-in, users and workers' credentials take and give over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from aifactory.accounts.models import SessionRow, UserRow, WorkerCredentialRow
from aifactory.accounts.schemas import Input, Moment, View, optional_id
from aifactory.kernel.errors import invalid
from aifactory.kernel.ids import ClientId, parse_id, text_id
from aifactory.kernel.principal import Principal

Login = Annotated[str, Meta(min_length=1, max_length=200)]
Password = Annotated[str, Meta(min_length=1, max_length=1000)]
NewPassword = Annotated[str, Meta(min_length=10, max_length=1000)]
UserRole = Literal["admin", "support", "client"]
WorkerName = Annotated[str, Meta(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$(?!\n)")]
WorkerScope = Literal["execute", "result", "reserve"]


# Log-in.


class LoginInput(Input, frozen=True, kw_only=True):
    """A login and its password; ``cookie``: the session goes into a cookie instead of the answer."""

    login: Login
    password: Password
    cookie: bool = False


class PasswordInput(Input, frozen=True, kw_only=True):
    """The present password and the one to come."""

    password: Password
    new_password: NewPassword


class UserView(View, frozen=True, kw_only=True):
    """A user."""

    id: str
    login: str
    role: str
    client_id: str | None
    active: bool
    created_at: datetime


class SessionStarted(View, frozen=True, kw_only=True):
    """A session. ``token`` goes into the session header; by cookie it is null, and there is ``csrfToken``."""

    token: str | None
    csrf_token: str | None
    expires_at: datetime
    user: UserView


class CallerView(View, frozen=True, kw_only=True):
    """Who the credential of this call belongs to; ``csrfToken`` goes into X-CSRF-Token of every change."""

    role: str
    client_id: str | None
    key_id: str | None
    worker: str | None
    scopes: list[str]
    user: UserView | None
    session_expires_at: datetime | None
    csrf_token: str | None


def user_view(row: UserRow) -> UserView:
    """Show a user."""
    return UserView(**_user_fields(row))


def caller_view(caller: Principal, user: UserRow | None, session: SessionRow | None) -> CallerView:
    """Show who is calling."""
    return CallerView(
        role=caller.role.value,
        client_id=optional_id("client", caller.client_id),
        key_id=optional_id("key", caller.key_id),
        worker=caller.worker,
        scopes=sorted(caller.scopes),
        user=None if user is None else user_view(user),
        session_expires_at=None if session is None else session.expires_at,
        csrf_token=caller.csrf_token,
    )


# Users.


class NewUserInput(Input, frozen=True, kw_only=True):
    """A user to make; without a password one is made up and shown once."""

    login: Login
    role: UserRole
    client_id: str | None = None
    password: NewPassword | None = None


class UserChangesInput(Input, frozen=True, kw_only=True):
    """What to change of a user; what is left out stays. ``password`` null: make one up and show it once."""

    login: Login | UnsetType = UNSET
    role: UserRole | UnsetType = UNSET
    client_id: str | UnsetType | None = UNSET
    active: bool | UnsetType = UNSET
    password: NewPassword | UnsetType | None = UNSET


class UserWithPassword(UserView, frozen=True, kw_only=True):
    """A user. ``password`` is there once, if it was made up just now; null in a replay."""

    password: str | None


def user_with_password(row: UserRow, password: str | None) -> UserWithPassword:
    """Show a user, and a password that was just made up."""
    return UserWithPassword(**_user_fields(row), password=password)


def read_client_id(text: str | None) -> ClientId | None:
    """Return a client's id in a body. Raises Invalid."""
    if text is None:
        return None
    value = parse_id("client", text)
    if value is None:
        raise invalid("/clientId", "unknown_client", "There is no client with this id.")
    return ClientId(value)


def _user_fields(row: UserRow) -> dict[str, Any]:
    return {
        "id": text_id("user", row.id),
        "login": row.login,
        "role": row.role,
        "client_id": optional_id("client", row.client_id),
        "active": row.active,
        "created_at": row.created_at,
    }


# Workers' credentials.


class NewCredentialInput(Input, frozen=True, kw_only=True):
    """A worker's secret to make. ``overlapMs``: replace the present one, which then works for so long yet."""

    worker: WorkerName
    scopes: Annotated[list[WorkerScope], Meta(min_length=1, max_length=8)]
    expires_at: Moment | None = None
    overlap_ms: Annotated[int, Meta(ge=0, le=30 * 86_400_000)] | None = None


class CredentialView(View, frozen=True, kw_only=True):
    """A worker's credential without its secret; ``replacedAt`` is set when there is a newer one."""

    id: str
    worker: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    replaced_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewCredentialView(CredentialView, frozen=True, kw_only=True):
    """A credential that was just made. ``secret`` is shown this once; null in a replay."""

    secret: str | None


def credential_view(row: WorkerCredentialRow) -> CredentialView:
    """Show a credential."""
    return CredentialView(**_credential_fields(row))


def new_credential_view(row: WorkerCredentialRow, text: str | None) -> NewCredentialView:
    """Show a credential that was just made."""
    return NewCredentialView(**_credential_fields(row), secret=text)


def _credential_fields(row: WorkerCredentialRow) -> dict[str, Any]:
    return {
        "id": text_id("wcred", row.id),
        "worker": row.worker,
        "prefix": f"aifw_{row.public_id}",
        "scopes": list(row.scopes),
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "replaced_at": row.replaced_at,
        "revoked_at": row.revoked_at,
        "last_used_at": row.last_used_at,
    }
