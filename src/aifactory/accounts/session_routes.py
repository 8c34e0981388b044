"""HTTP of logging in and out."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from aifactory.accounts import cookies, logins, sessions, user_queries
from aifactory.accounts.attempts import LoginLimits
from aifactory.accounts.user_schemas import (
    CallerView,
    LoginInput,
    PasswordInput,
    SessionStarted,
    caller_view,
    user_view,
)
from aifactory.kernel.db import Database
from aifactory.kernel.http import JsonResponse
from aifactory.kernel.principal import PUBLIC, READERS, Principal, Role
from aifactory.kernel.visitors import Proxies

AnyRequest = Request[Any, Any, Any]


@post("/auth/login", roles=PUBLIC, status_code=200, tags=["Log-in"], refusals=[401, 403, 429])
async def log_in(
    request: AnyRequest,
    data: JSONBody[LoginInput],
    db: NamedDependency[Database],
    login_limits: NamedDependency[LoginLimits],
    proxies: NamedDependency[Proxies],
) -> Response[SessionStarted]:
    """Start a session of 24 hours. Attempts are limited by address and by account.

    With ``cookie`` the token goes into a cookie that scripts can't read, and the answer has the ``csrfToken``
    that every change then needs as ``X-CSRF-Token``.
    """
    visitor = proxies.visitor(request.scope)
    if data.cookie:
        cookies.check_same_site(request.headers, visitor)
    started = await logins.log_in(
        db, limits=login_limits, visitor=visitor, login=data.login, password=data.password
    )
    headers = {}
    if data.cookie:
        cookie = cookies.session_cookie(started.token, visitor, lasts=sessions.SESSION_LASTS)
        headers["Set-Cookie"] = cookie
    view = SessionStarted(
        token=None if data.cookie else started.token,
        csrf_token=cookies.csrf_token(started.token) if data.cookie else None,
        expires_at=started.expires_at,
        user=user_view(started.user),
    )
    return JsonResponse(view, status_code=200, headers=headers)


@post("/auth/logout", roles=READERS, status_code=204, scope="read", tags=["Log-in"])
async def log_out(
    request: AnyRequest,
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
    proxies: NamedDependency[Proxies],
) -> Response[None]:
    """End this session, and remove its cookie."""
    async with db.begin() as tx:
        await sessions.end_session(tx, principal, everywhere=False)
    return _without_cookie(request, proxies)


@post("/auth/logout-all", roles=READERS, status_code=204, scope="read", tags=["Log-in"])
async def log_out_everywhere(
    request: AnyRequest,
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
    proxies: NamedDependency[Proxies],
) -> Response[None]:
    """End all sessions of this user."""
    async with db.begin() as tx:
        await sessions.end_session(tx, principal, everywhere=True)
    return _without_cookie(request, proxies)


@post(
    "/auth/password", roles=READERS, status_code=204, scope="read", tags=["Log-in"], refusals=[401, 403, 429]
)
async def change_own_password(
    request: AnyRequest,
    data: JSONBody[PasswordInput],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
    login_limits: NamedDependency[LoginLimits],
    proxies: NamedDependency[Proxies],
) -> None:
    """Change the caller's own password; the other sessions end. Attempts are limited as at log-in."""
    await logins.change_own_password(
        db,
        limits=login_limits,
        visitor=proxies.visitor(request.scope),
        caller=principal,
        old=data.password,
        new=data.new_password,
    )


@get("/auth/session", roles=READERS | {Role.WORKER}, worker_scope=None, tags=["Log-in"])
async def get_caller(db: NamedDependency[Database], principal: NamedDependency[Principal]) -> CallerView:
    """Say whom this credential belongs to, and what it may do."""
    if principal.user_id is None or principal.session_id is None:
        return caller_view(principal, None, None)
    async with db.begin() as tx:
        user = await user_queries.find_user(tx, principal.user_id)
        session = await user_queries.find_session_row(tx, principal.session_id)
    return caller_view(principal, user, session)


def _without_cookie(request: AnyRequest, proxies: Proxies) -> Response[None]:
    cookie = cookies.no_cookie(proxies.visitor(request.scope))
    return JsonResponse(None, status_code=204, headers={"Set-Cookie": cookie})


ROUTES: list[HTTPRouteHandler] = [log_in, log_out, log_out_everywhere, change_own_password, get_caller]
