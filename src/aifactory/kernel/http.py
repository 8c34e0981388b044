"""HTTP plumbing: strict bodies, waiting, answers, problem documents."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar, cast
from uuid import UUID

import anyio
import msgspec
import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from litestar.utils.helpers import get_enum_string_value

from aifactory.kernel import ids
from aifactory.kernel.bodies import allowed_values
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
from aifactory.kernel.money import is_money, without_money
from aifactory.kernel.principal import Principal
from aifactory.kernel.problems import (
    BAD_CHOICE,
    PROBLEM_MEDIA_TYPE,
    Internal,
    as_app_error,
    camel,
    decode_strictly,
    problem_members,
    with_choices,
)

MAX_BODY = 1024 * 1024
MAX_SOURCE_BODY = 5 * 1024 * 1024 + 512 * 1024  #: 5 MiB of source and its JSON around it

log = structlog.get_logger()
_encoder = msgspec.json.Encoder(decimal_format="number")
_exact_decoder = msgspec.json.Decoder(float_hook=Decimal)
_T = TypeVar("_T")


def encode(value: Any) -> bytes:
    """Return the JSON that leaves the server: money as exact numbers."""
    return _encoder.encode(value)


def encode_for(caller: Principal, value: Any) -> bytes:
    """Return the JSON that leaves for this caller: without money if it may see none."""
    return encode(value) if caller.sees_money else _blank(encode(value))


def _blank(encoded: bytes) -> bytes:
    return encode(without_money(_exact_decoder.decode(encoded))) if encoded else encoded


class JsonResponse(Response[_T]):
    """The app's response class: the same JSON everywhere, and no money for who may see none."""

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **options: Any) -> ASGIResponse:
        """Leave out what is money, whichever route answers, if the caller may see none."""
        caller = request.scope.get("user")
        if isinstance(caller, Principal) and not caller.sees_money:
            media_type = get_enum_string_value(self.media_type or MediaType.JSON)
            self.headers = {name: value for name, value in self.headers.items() if not is_money(name)}
            if media_type.endswith("json"):
                self.content = cast("_T", _blank(self.render(self.content, media_type)))
        return super().to_asgi_response(app, request, **options)

    def render(self, content: Any, media_type: str, enc_hook: Any = None) -> bytes:
        """Encode anything that is not text or bytes already."""
        if isinstance(content, bytes):
            return content
        if isinstance(content, str) and not media_type.endswith("json"):
            return content.encode()
        return b"" if content is None else encode(content)


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
        self._actions: list[Callable[[], None]] = []

    def then(self, action: Callable[[], None]) -> None:
        """Call ``action`` when the end is asked for; it must not wait."""
        self._actions.append(action)

    def request(self) -> None:
        """Ask for the end; from a signal handler too."""
        if not self.requested:
            self.requested = True
            for action in self._actions:
                _call_in_loop(action)


def _call_in_loop(action: Callable[[], None]) -> None:
    """Call in the running loop's next round: a signal may come in the middle of anything."""
    try:
        asyncio.get_running_loop().call_soon_threadsafe(action)
    except RuntimeError:
        action()


Wait = Callable[[float], Awaitable[object]]

_SLOW_LOOK_SECONDS, _PAUSE_SECONDS = 5.0, 0.25


async def wait_for(
    request: Request[Any, Any, Any],
    look: Callable[[], Awaitable[_T | None]],
    *,
    seconds: float,
    until_then: Wait,
) -> _T | None:
    """Look until there is something, the time is over, or the process is to end.

    ``until_then`` returns when it is worth looking, at the latest after the seconds that it is given.
    """
    shutdown: Shutdown = request.app.state.shutdown
    ends = anyio.current_time() + seconds
    while not shutdown.requested and (left := ends - anyio.current_time()) > 0:
        try:
            await until_then(min(_SLOW_LOOK_SECONDS, left))
            found = await look()
        except DatabaseUnavailable:  # what was stored is stored: it is looked at later
            await anyio.sleep(min(_PAUSE_SECONDS, left))
        else:
            if found is not None:
                return found
    return None


async def creation_call(request: Request[Any, Any, Any], principal: Principal) -> Call:
    """Return who creates what, with the Idempotency-Key if there is one. Raises Invalid."""
    key = check_key(request.headers.get("idempotency-key"))
    return Call(
        scope=principal.stored_name,
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
    *,
    until_ended: Wait,
) -> Response[Any]:
    """Answer a creation; with ``Prefer: wait``, by what became of it and its cost, if it ends in time.

    ``until_ended`` returns when it may have ended, at the latest after the seconds that it is given. When the
    time is over, the body is ``current``; a replay gets the first body, whatever became of it.
    """
    seconds = preferred_wait(request)
    if answer.status != 202 or answer.replayed or not seconds:
        return created_response(answer)
    ended = await wait_for(request, look, seconds=seconds, until_then=until_ended)
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


# Answering with problems.


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Turn whatever was raised into a problem document."""
    refusal = _refusal(request, error)
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


def _refusal(request: Request[Any, Any, Any], error: Exception) -> AppError:
    known = as_app_error(error)
    if known is not None:
        return known
    if isinstance(error, ValidationException):
        return _refuse_parameters(request, error)
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


def _refuse_parameters(request: Request[Any, Any, Any], error: ValidationException) -> AppError:
    faults = [fault for fault in error.extra or [] if isinstance(fault, dict)]
    if any(fault.get("key") == "data" for fault in faults):
        return Unreadable("A JSON body is needed, and there is none.")
    errors = tuple(
        FieldError(
            pointer=f"/{camel(str(fault.get('key', '')))}".rstrip("/"),
            code="invalid_parameter",
            message=_fault_of_parameter(request, fault),
        )
        for fault in faults
    )
    detail = "; ".join(f"{fault.pointer}: {fault.message}" for fault in errors)
    return Invalid(detail or "A parameter is missing or not acceptable.", errors=errors)


def _fault_of_parameter(request: Request[Any, Any, Any], fault: dict[str, Any]) -> str:
    text = str(fault.get("message", "not acceptable"))
    text = text[1:-1] if text.startswith("'") and text.endswith("'") else text
    handler = request.scope.get("route_handler")
    if not (text.startswith(BAD_CHOICE) and isinstance(handler, HTTPRouteHandler)):
        return text
    parameter = handler.parsed_fn_signature.parameters.get(str(fault.get("key")))
    return text if parameter is None else with_choices(text, allowed_values(parameter.annotation, ""))
