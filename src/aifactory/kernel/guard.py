"""Who may call what: the one guard before every route, and the check that each route declares its callers."""

import re
from typing import Any, Protocol, runtime_checkable

import structlog
from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.routes import ASGIRoute, HTTPRoute, WebSocketRoute

from aifactory.kernel.allowance import rate_limit_fields
from aifactory.kernel.errors import FieldError, Invalid, NotAllowed, NotAuthenticated, NotFound, Unreadable
from aifactory.kernel.principal import Principal, Role
from aifactory.kernel.problems import has_bad_text

SESSION_HEADER = "x-bitware-session-token"

log = structlog.get_logger()
_URL_CREDENTIALS = frozenset({"apikey", "api_key", "api-key", "x-api-key", "access_token", "token"})
_CREDENTIAL = re.compile(r"aif[sw]?_[0-9A-Za-z_-]{20}")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class KeyInUrl(Unreadable):
    """A credential in a URL ends up in logs: take it as leaked and rotate it."""

    code, title = "key_in_url", "Credentials are not taken from the URL"


class ScopeMissing(NotAllowed):
    """The key or the worker's secret lacks a scope; ``requiredScope`` says which."""

    code, title = "scope_missing", "This credential lacks a scope"


@runtime_checkable
class Authenticator(Protocol):
    """Given by accounts: finds out who is calling."""

    async def authenticate(
        self, connection: ASGIConnection[Any, Any, Any, Any], *, counts: bool = False
    ) -> Principal | None:
        """Return the caller, or None if there is no credential; ``counts``: as one API request more.

        Raises NotAuthenticated for a bad one, RateLimited, and DatabaseUnavailable when nobody can tell.
        """
        ...


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Check the URL, then the caller's credential and requests, then role and scope against ``roles``."""
    _check_url(connection)
    roles = handler.opt.get("roles")
    if roles is None or Role.PUBLIC in roles:  # none: an automatic OPTIONS answer, see check_roles
        return
    authenticator: Authenticator = connection.app.state.authenticator
    principal = await authenticator.authenticate(connection, counts=True)
    if principal is None:
        raise NotAuthenticated(
            f"Send an API key as X-API-Key or Authorization: Bearer, or a session token as {SESSION_HEADER}; "
            "a worker sends Authorization: Bearer and X-Worker-ID."
        )
    if principal.allowance is not None:
        connection.scope["state"]["rate_limit"] = rate_limit_fields(principal.allowance)
    if principal.role not in roles:
        raise NotAllowed(f"This is open to {_in_words(roles)} only.")
    scope = _required_scope(principal, handler, connection.scope.get("method"))
    if scope is not None and scope not in principal.scopes:
        raise ScopeMissing(f"This needs a credential with the scope {scope}.", required_scope=scope)
    connection.scope["user"] = principal
    structlog.contextvars.bind_contextvars(caller=principal.label)


def _required_scope(principal: Principal, handler: BaseRouteHandler, method: Any) -> str | None:
    """Return the scope that the caller's key or secret needs; users have none, their role says it all.

    A route open to workers says which of their scopes it needs: ``worker_scope``, None for any.
    """
    wanted: str | None = None
    if principal.worker is not None:
        wanted = handler.opt.get("worker_scope")
    elif principal.key_id is not None:
        wanted = handler.opt.get("scope", "read" if method in SAFE_METHODS else "write")
    return wanted


def provide_principal(request: Request[Any, Any, Any]) -> Principal:
    """Return the caller that the guard let in."""
    principal: Principal = request.scope["user"]
    return principal


def _check_url(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    seen = set[str]()
    for name, value in connection.query_params.multi_items():
        if name.lower() in _URL_CREDENTIALS or _CREDENTIAL.match(value):
            log.warning("auth.key_in_url", path=connection.scope["path"], parameter=name)
            raise KeyInUrl("Send the key as a header, and rotate it: a URL ends up in logs.")
        if has_bad_text(name) or has_bad_text(value):
            raise Unreadable("The query string has control characters.")
        if name in seen:
            raise Unreadable(f"The parameter {name[:80]!r} is there twice; send it once.")
        seen.add(name)
    for value in connection.path_params.values():
        if isinstance(value, str) and has_bad_text(value):
            raise NotFound("There is nothing at this address.")
    methods = connection.app.state.methods.get(connection.scope.get("path_template"), {})
    known = methods.get(connection.scope.get("method"))
    if known is not None:
        for name in connection.query_params:
            if name not in known:
                message = (
                    f"There is no parameter {name[:80]!r} here; known: {', '.join(sorted(known)) or 'none'}."
                )
                raise Invalid(
                    message, errors=(FieldError(pointer="", code="unknown_parameter", message=message),)
                )


def _in_words(roles: frozenset[Role]) -> str:
    return " and ".join(sorted(role.value for role in roles))


class UndeclaredRoles(Exception):
    """A route does not say who may call it; the app does not start."""


def check_roles(app: Litestar) -> None:
    """Raise UndeclaredRoles when a route has no ``roles``; note each route's methods and parameters."""
    methods: dict[str, dict[str, frozenset[str] | None]] = {}
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, model) in route.route_handler_map.items():
                if not is_automatic_options(handler):
                    _check_declared(f"{method} {route.path}", handler)
                names = frozenset(parameter.field_alias for parameter in model.expected_query_params)
                known = None if handler.opt.get("any_query") else names
                methods.setdefault(route.path_format, {})[method] = known
        elif isinstance(route, ASGIRoute | WebSocketRoute) and not route.route_handler.opt.get("roles"):
            raise UndeclaredRoles(f"{route.path} declares no roles=.")
    app.state.methods = methods


def _check_declared(name: str, handler: HTTPRouteHandler) -> None:
    roles = handler.opt.get("roles")
    if not roles:
        raise UndeclaredRoles(f"{name} declares no roles=.")
    if Role.WORKER in roles and "worker_scope" not in handler.opt:
        raise UndeclaredRoles(f"{name} is open to workers and declares no worker_scope=.")


def is_automatic_options(handler: HTTPRouteHandler) -> bool:
    """Tell whether a handler is Litestar's own answer to OPTIONS."""
    return set(handler.http_methods) == {"OPTIONS"} and handler.handler_name == "options_handler"
