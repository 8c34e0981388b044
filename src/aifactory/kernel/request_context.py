"""Around every request, 404 and 500 included: its id, security headers, HEAD and Allow, one log line."""

import logging
import re
import time

import structlog
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from aifactory.kernel import ids
from aifactory.kernel.metrics import count_answer

log = structlog.get_logger()

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
        ended, began, method = False, time.perf_counter(), str(scope["method"])

        async def answer(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                headers = MutableScopeHeaders(message)
                seconds = time.perf_counter() - began
                _note_answer(scope, method, message["status"], seconds, made=headers.get("location"))
                headers["X-Request-Id"] = request_id
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                for name, value in scope["state"].get("rate_limit", {}).items():
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


_UNREMARKABLE = 400


def _note_answer(scope: Scope, method: str, status: int, seconds: float, *, made: str | None) -> None:
    """Count an answer and log it, with what it made: reads that went well only for who debugs."""
    route = scope.get("path_template")
    count_answer(route=route, method=method, status=status, seconds=seconds)
    quiet = method in ("GET", "HEAD", "OPTIONS") and status < _UNREMARKABLE
    log.log(
        logging.DEBUG if quiet else logging.INFO,
        "http.answer",
        method=method[:16],
        route=route,
        status=status,
        milliseconds=round(seconds * 1000, 1),
        **({"made": made} if made else {}),
    )


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
