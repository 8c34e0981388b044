"""HTTP of users."""

from typing import Any

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET

from aifactory.accounts import passwords, sessions, user_queries, users
from aifactory.accounts.user_schemas import (
    NewUserInput,
    UserChangesInput,
    UserView,
    UserWithPassword,
    read_client_id,
    user_view,
    user_with_password,
)
from aifactory.accounts.users import NewUser, UserChanges
from aifactory.kernel.db import Database
from aifactory.kernel.http import created_response, creation_call, encode, path_id
from aifactory.kernel.idempotency import Answer, Call, once
from aifactory.kernel.ids import UserId, text_id
from aifactory.kernel.page import Page, page_of, page_request
from aifactory.kernel.principal import OPERATORS, Principal, Role

AnyRequest = Request[Any, Any, Any]


@get("/users", roles=OPERATORS, tags=["Users"])
async def list_users(
    db: NamedDependency[Database],
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[UserView]:
    """List users, newest first."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        rows = await user_queries.list_users(tx, page)
    return page_of([user_view(row) for row in rows], [row.id for row in rows], page)


@post("/users", roles=OPERATORS, status_code=201, tags=["Users"], creates=True)
async def create_user(
    request: AnyRequest,
    data: JSONBody[NewUserInput],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> Response[UserWithPassword]:
    """Make a user. A password that is left out is made up and shown this once, not in a replay."""
    client_id = read_client_id(data.client_id)
    call = await _call_without_password(request, data, principal)
    made_up, password_hash = await _prepare_password(data.password, login=data.login)
    new = NewUser(login=data.login, role=Role(data.role), client_id=client_id, password_hash=password_hash)
    async with db.begin() as tx:

        async def work() -> Answer:
            row = await users.create_user(tx, new, actor=principal.label)
            shown, again = user_with_password(row, made_up), user_with_password(row, None)
            location = f"/users/{text_id('user', row.id)}"
            return Answer(status=201, body=encode(shown), shown_again=encode(again), location=location)

        answer = await once(tx, call, work)
    return created_response(answer)


@get("/users/{user_id:str}", roles=OPERATORS, tags=["Users"])
async def get_user(user_id: FromPath[str], db: NamedDependency[Database]) -> UserView:
    """Show a user."""
    wanted = UserId(path_id("user", user_id))
    async with db.begin() as tx:
        return user_view(await users.get_user(tx, wanted))


@patch("/users/{user_id:str}", roles=OPERATORS, tags=["Users"], refusals=[409])
async def change_user(
    user_id: FromPath[str],
    data: JSONBody[UserChangesInput],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> UserWithPassword:
    """Change a user. Another role, client or password, and deactivation, end the user's sessions at once."""
    wanted = UserId(path_id("user", user_id))
    changes = UserChanges(
        login=data.login,
        role=UNSET if data.role is UNSET else Role(data.role),
        client_id=UNSET if data.client_id is UNSET else read_client_id(data.client_id),
        active=data.active,
    )
    made_up = None
    if data.password is not UNSET:
        made_up, password_hash = await _prepare_password(data.password, login=data.login or "")
        changes = msgspec.structs.replace(changes, password_hash=password_hash)
    async with db.begin() as tx:
        row = await users.change_user(tx, wanted, changes, actor=principal.label)
    return user_with_password(row, made_up)


@delete("/users/{user_id:str}", roles=OPERATORS, status_code=204, tags=["Users"], refusals=[409])
async def delete_user(
    user_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> None:
    """Delete a user; the last active admin stays."""
    wanted = UserId(path_id("user", user_id))
    async with db.begin() as tx:
        await users.delete_user(tx, wanted, actor=principal.label)


async def _prepare_password(given: str | None, *, login: str) -> tuple[str | None, str]:
    """Return a password if it had to be made up, and the hash to store. Slow: outside any transaction."""
    if given is not None:
        users.check_password_choice("/password", given, sessions.normal_login(login))
        return None, await passwords.hash_password(given)
    made_up = passwords.make_password()
    return made_up, await passwords.hash_password(made_up)


async def _call_without_password(request: AnyRequest, data: NewUserInput, caller: Principal) -> Call:
    """Return the creation without its password: a fast hash of the body is stored, and could be tried out."""
    call = await creation_call(request, caller)
    return msgspec.structs.replace(call, body=encode(msgspec.structs.replace(data, password=None)))


ROUTES: list[HTTPRouteHandler] = [list_users, create_user, get_user, change_user, delete_user]
