"""HTTP plumbing: strict bodies, problem documents, request ids, security headers, the one guard."""

import contextlib
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol, TypeVar, runtime_checkable
from uuid import UUID

import anyio
import msgspec
import structlog
from litestar import Litestar, Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.routes import ASGIRoute, HTTPRoute, WebSocketRoute
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from aifactory.kernel import ids
from aifactory.kernel.db import DatabaseUnavailable
from aifactory.kernel.errors import (
    AppError,
    FieldError,
    Invalid,
    MethodNotAllowed,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    TooLarge,
    Unreadable,
    UnsupportedMediaType,
)
from aifactory.kernel.idempotency import Answer, Call, check_key
from aifactory.kernel.principal import Principal, Role
from aifactory.kernel.problems import (
    PROBLEM_MEDIA_TYPE,
    Internal,
    as_app_error,
    camel,
    decode_strictly,
    has_bad_text,
    problem_members,
)

MAX_BODY = 1024 * 1024
MAX_SOURCE_BODY = 5 * 1024 * 1024 + 512 * 1024  #: 5 MiB of source and its JSON around it

SESSION_HEADER = "x-bitware-session-token"

log = structlog.get_logger()
_encoder = msgspec.json.Encoder(decimal_format="number")
_T = TypeVar("_T")


def encode(value: Any) -> bytes:
    """Return the JSON that leaves the server: money as exact numbers."""
    return _encoder.encode(value)


class JsonResponse(Response[_T]):
    """The app's response class: the same JSON everywhere."""

    def render(self, content: Any, media_type: str, enc_hook: Any = None) -> bytes:
        """Encode anything that is not text or bytes already."""
        if isinstance(content, bytes):
            return content
        if isinstance(content, str) and not media_type.endswith("json"):
            return content.encode()
        return b"" if content is None else encode(content)


class KeyInUrl(Unreadable):
    """A credential in a URL ends up in logs: take it as leaked and rotate it."""

    code, title = "key_in_url", "Credentials are not taken from the URL"


class ScopeMissing(NotAllowed):
    """The key lacks a scope; ``requiredScope`` says which."""

    code, title = "scope_missing", "This key lacks a scope"


# Reading requests.


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON body becomes the handler's ``data`` type at once, strictly."""

    async def json(self) -> Any:
        """Decode the body. Raises UnsupportedMediaType, Unreadable or Invalid."""
        _check_content_type(self.headers.get("content-type"), self.headers.get("content-encoding"))
        field = self.route_handler.parsed_fn_signature.parameters.get("data")
        return decode_strictly(await self.body(), _decoder(Any if field is None else field.annotation))


@lru_cache(256)
def _decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind)


def _check_content_type(content_type: str | None, encoding: str | None) -> None:
    kind, _, parameters = (content_type or "").partition(";")
    charset = parameters.partition("charset=")[2].strip(' "').lower()
    if kind.strip().lower() != "application/json" or charset not in ("", "utf-8", "utf8"):
        raise UnsupportedMediaType("Send JSON in UTF-8 with Content-Type: application/json.")
    if encoding and encoding.lower() != "identity":
        raise UnsupportedMediaType("Send the body without Content-Encoding.")


def path_id(prefix: str, text: str) -> UUID:
    """Return the id in a path. Raises NotFound: an impossible id is an unknown one."""
    value = ids.parse_id(prefix, text)
    if value is None:
        raise NotFound("There is nothing with this id.")
    return value


def preferred_wait(request: Request[Any, Any, Any]) -> float:
    """Return the seconds of ``Prefer: wait=N``, at most 60; 0 when absent or senseless."""
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})", request.headers.get("prefer", ""))
    return min(float(match[1]), 60.0) if match else 0.0


class Shutdown:
    """Whether this process has been asked to end; waiting callers are then answered at once."""

    def __init__(self) -> None:
        self.requested = False


_FIRST_LOOK_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 0.5


async def wait_for(
    request: Request[Any, Any, Any], look: Callable[[], Awaitable[_T | None]], *, seconds: float
) -> _T | None:
    """Look again and again until there is something, the time is over, or the process is to end."""
    shutdown: Shutdown = request.app.state.shutdown
    pause = _FIRST_LOOK_SECONDS
    ends = anyio.current_time() + seconds
    while not shutdown.requested and (left := ends - anyio.current_time()) > 0:
        await anyio.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
        with contextlib.suppress(DatabaseUnavailable):  # what was stored is stored: it is looked at later
            found = await look()
            if found is not None:
                return found
    return None


async def creation_call(request: Request[Any, Any, Any], principal: Principal) -> Call:
    """Return who creates what, with the Idempotency-Key if there is one. Raises Invalid."""
    key = check_key(request.headers.get("idempotency-key"))
    return Call(
        scope=principal.label,
        route=f"{request.method} {request.scope['path']}",
        key=key,
        body=await request.body() if key else b"",
    )


def created_response(answer: Answer, *, headers: dict[str, str] | None = None) -> Response[Any]:
    """Return an idempotent answer as a response."""
    sent = dict(headers or {})
    if answer.location:
        sent["Location"] = answer.location
    if answer.replayed:
        sent["Idempotent-Replayed"] = "true"
    return JsonResponse(answer.body, status_code=answer.status, headers=sent, media_type="application/json")


async def created_or_ended(
    request: Request[Any, Any, Any],
    answer: Answer,
    look: Callable[[], Awaitable[tuple[Any, Decimal] | None]],
    current: Callable[[], Awaitable[Any | None]],
) -> Response[Any]:
    """Answer a creation; with ``Prefer: wait``, by what became of it and its cost, if it ends in time.

    When the time is over, the body is ``current``; a replay gets the first body, whatever became of it.
    """
    seconds = preferred_wait(request)
    if answer.status != 202 or answer.replayed or not seconds:
        return created_response(answer)
    ended = await wait_for(request, look, seconds=seconds)
    applied = {"Preference-Applied": f"wait={seconds:.0f}"}
    if ended is None:
        return created_response(await _as_it_is_now(answer, current), headers=applied)
    view, cost_usd = ended
    headers = applied | {"Location": answer.location or "", "X-Cost-Usd": f"{cost_usd:f}"}
    return JsonResponse(view, status_code=200, headers=headers)


async def _as_it_is_now(answer: Answer, current: Callable[[], Awaitable[Any | None]]) -> Answer:
    with contextlib.suppress(DatabaseUnavailable):  # what was stored is stored: the first body still holds
        view = await current()
        if view is not None:
            return msgspec.structs.replace(answer, body=encode(view))
    return answer


# Who may call.


@runtime_checkable
class Authenticator(Protocol):
    """Given by accounts: finds out who is calling."""

    async def authenticate(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Principal | None:
        """Return the caller, or None if there is no credential.

        Raises NotAuthenticated for a bad one and DatabaseUnavailable when nobody can tell.
        """
        ...


_URL_CREDENTIALS = frozenset({"apikey", "api_key", "api-key", "x-api-key", "access_token", "token"})
_CREDENTIAL = re.compile(r"aif[sw]?_[0-9A-Za-z_-]{20}")
_SAFE_METHODS = frozenset({"GET", "HEAD"})


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Check the URL, then the caller's credential, role and scope against the route's ``roles``."""
    _check_url(connection)
    roles = handler.opt.get("roles")
    if roles is None or Role.PUBLIC in roles:  # none: an automatic OPTIONS answer, see check_roles
        return
    authenticator: Authenticator = connection.app.state.authenticator
    principal = await authenticator.authenticate(connection)
    if principal is None:
        raise NotAuthenticated(
            f"Send an API key as X-API-Key or Authorization: Bearer, or a session token as {SESSION_HEADER}."
        )
    if principal.role not in roles:
        raise NotAllowed(f"This is open to {_in_words(roles)} only.")
    if principal.key_id is not None:
        reads = connection.scope.get("method") in _SAFE_METHODS
        scope = handler.opt.get("scope", "read" if reads else "write")
        if scope not in principal.scopes:
            raise ScopeMissing(f"This needs a key with the scope {scope}.", required_scope=scope)
    connection.scope["user"] = principal
    structlog.contextvars.bind_contextvars(caller=principal.label)


def provide_principal(request: Request[Any, Any, Any]) -> Principal:
    """Return the caller that the guard let in."""
    principal: Principal = request.scope["user"]
    return principal


def _check_url(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    for name, value in connection.query_params.multi_items():
        if name.lower() in _URL_CREDENTIALS or _CREDENTIAL.match(value):
            log.warning("auth.key_in_url", path=connection.scope["path"], parameter=name)
            raise KeyInUrl("Send the key as a header, and rotate it: a URL ends up in logs.")
        if has_bad_text(name) or has_bad_text(value):
            raise Unreadable("The query string has control characters.")
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
                if not is_automatic_options(handler) and not handler.opt.get("roles"):
                    raise UndeclaredRoles(f"{method} {route.path} declares no roles=.")
                names = frozenset(parameter.field_alias for parameter in model.expected_query_params)
                known = None if handler.opt.get("any_query") else names
                methods.setdefault(route.path_format, {})[method] = known
        elif isinstance(route, ASGIRoute | WebSocketRoute) and not route.route_handler.opt.get("roles"):
            raise UndeclaredRoles(f"{route.path} declares no roles=.")
    app.state.methods = methods


def is_automatic_options(handler: HTTPRouteHandler) -> bool:
    """Tell whether a handler is Litestar's own answer to OPTIONS."""
    return set(handler.http_methods) == {"OPTIONS"} and handler.handler_name == "options_handler"


# Answering with problems.


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Turn whatever was raised into a problem document."""
    refusal = _refusal(error)
    if refusal.status == 500:
        log.error("http.failed", path=request.scope["path"], exc_info=error)
    elif refusal.status > 500:
        log.warning("http.unavailable", path=request.scope["path"], code=refusal.code)
    headers = dict(refusal.headers)
    if refusal.status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="aifactory"')
    if refusal.status in (429, 503):
        headers.setdefault("Retry-After", "1")
    members = problem_members(
        refusal, instance=request.scope["path"], request_id=request.scope["state"].get("request_id", "")
    )
    return JsonResponse(
        encode(members), status_code=refusal.status, media_type=PROBLEM_MEDIA_TYPE, headers=headers
    )


def _refusal(error: Exception) -> AppError:
    known = as_app_error(error)
    if known is not None:
        return known
    if isinstance(error, ValidationException):
        return _refuse_parameters(error)
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _refuse_http(error)
    return Internal("This was our fault; it is in our log under the requestId.")


_BY_STATUS: dict[int, tuple[type[AppError], str]] = {
    401: (NotAuthenticated, "A valid credential is needed."),
    403: (NotAllowed, "This credential may not do that."),
    404: (NotFound, "There is nothing at this address."),
    405: (MethodNotAllowed, "This address does not take that method; Allow lists those that it takes."),
    413: (TooLarge, "The body is larger than this route takes: 1 MiB, or 5 MiB for source material."),
    415: (UnsupportedMediaType, "Send JSON in UTF-8 with Content-Type: application/json."),
}


def _refuse_http(error: HTTPException) -> AppError:
    kind, detail = _BY_STATUS.get(error.status_code, (Unreadable, "The request can't be read."))
    return kind(detail, headers=dict(error.headers or {}))


def _refuse_parameters(error: ValidationException) -> AppError:
    faults = [fault for fault in error.extra or [] if isinstance(fault, dict)]
    if any(fault.get("key") == "data" for fault in faults):
        return Unreadable("A JSON body is needed, and there is none.")
    errors = tuple(
        FieldError(
            pointer=f"/{camel(str(fault.get('key', '')))}".rstrip("/"),
            code="invalid_parameter",
            message=str(fault.get("message", "not acceptable")).strip("'"),
        )
        for fault in faults
    )
    detail = "; ".join(f"{fault.pointer}: {fault.message}" for fault in errors)
    return Invalid(detail or "A parameter is missing or not acceptable.", errors=errors)


# Around every request, 404 and 500 included.

_SAFE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_CONTENT_SECURITY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": _CONTENT_SECURITY,
    "Cache-Control": "no-store",
}


class RequestContext:
    """ASGI: gives every answer a request id and security headers, and answers HEAD as GET without a body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on in its context."""
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["state"]["request_id"] = request_id
        is_head, is_options = scope["method"] == "HEAD", scope["method"] == "OPTIONS"
        if is_head:  # a copy: the server must go on knowing that it was asked for the head only
            scope = {**scope, "method": "GET"}
        ended = False

        async def answer(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                headers = MutableScopeHeaders(message)
                headers["X-Request-Id"] = request_id
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if is_options or message["status"] == 405:
                    headers["Allow"] = _allow(scope, headers.get("allow", ""))
            elif is_head and message["type"] == "http.response.body":
                if ended:
                    return
                ended = True
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id, caller=None):
            await self.app(scope, receive, answer)


def _allow(scope: Scope, given: str) -> str:
    """List a path's methods, HEAD included; Litestar's own OPTIONS answer names one handler's only."""
    found = scope["app"].state.methods.get(scope.get("path_template"), {})
    methods = set(found) | {method.strip() for method in given.split(",") if method.strip()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            return text if _SAFE_REQUEST_ID.fullmatch(text) else str(ids.new_id())
    return str(ids.new_id())
