"""What can go wrong, as one hierarchy.

AIFactoryError
├── AuthError (401, 403) · NotFound (404) · Invalid (400, 413, 415, 422, or refused before it was sent)
├── Conflict (409, 412) · BudgetError (402) · RateLimited (429) · ServerError (5xx, or no sensible answer)
└── ConnectionFailed (no answer at all) · WaitTimedOut (the work goes on)
"""

from collections.abc import Mapping
from typing import Any

import msgspec


class FieldFault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of what was sent: a JSON Pointer to it, a stable code and what to do."""

    pointer: str = ""
    code: str = ""
    message: str = ""


class AIFactoryError(Exception):
    """A refusal or a failure; ``detail`` says what to do, ``code`` is stable.

    ``members`` is the whole problem document; ``status`` is None when there was no answer.
    """

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        status: int | None = None,
        request_id: str | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        errors: tuple[FieldFault, ...] = (),
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retryable = retryable
        self.retry_after = retry_after
        self.errors = errors
        self.members = dict(members or {})

    def __str__(self) -> str:
        return f"{self.detail} ({self.code})"


class AuthError(AIFactoryError):
    """The credential is missing, unknown, expired, or may not do this."""


class NotFound(AIFactoryError):
    """There is no such thing, or it is another client's."""


class Invalid(AIFactoryError):
    """What was sent is not acceptable; ``errors`` point at each fault."""


class Conflict(AIFactoryError):
    """The present state does not allow it; see ``members["currentState"]``."""


class BudgetError(AIFactoryError):
    """The budget does not allow it; ``members`` hold ``shortfallUsd``, ``limitUsd`` and the like."""


class RateLimited(AIFactoryError):
    """Too much at once; ``retry_after`` seconds say when to come back."""


class ServerError(AIFactoryError):
    """The server failed, or what answered is no AI Factory."""


class ConnectionFailed(AIFactoryError):
    """Nobody answered, also after retries. Whether a write was done is then unknown."""


class WaitTimedOut(AIFactoryError, TimeoutError):
    """It had not ended in time; it goes on."""


_BY_STATUS: dict[int, type[AIFactoryError]] = {
    401: AuthError,
    402: BudgetError,
    403: AuthError,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: RateLimited,
}


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, retry_after: float | None
) -> AIFactoryError:
    """Return the error that an answer stands for; ``headers`` have lower-case names."""
    members = _members(headers, body)
    kind = _BY_STATUS.get(status) or (Invalid if 400 <= status < 500 else ServerError)
    text = members.get("detail") or members.get("title")
    return kind(
        text if isinstance(text, str) else _without_problem(status, headers),
        code=_text(members.get("code")) or f"http_{status}",
        status=status,
        request_id=_text(members.get("requestId")) or headers.get("x-request-id"),
        retryable=members.get("retryable") is True,
        retry_after=retry_after,
        errors=_faults(members.get("errors")),
        members=members,
    )


def _members(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    if "json" not in headers.get("content-type", ""):
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _faults(found: object) -> tuple[FieldFault, ...]:
    try:
        return msgspec.convert(found, tuple[FieldFault, ...])
    except msgspec.ValidationError:
        return ()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _without_problem(status: int, headers: Mapping[str, str]) -> str:
    if 300 <= status < 400:
        return (
            f"The address redirects ({status}) to {headers.get('location', 'nowhere')[:200]}; use that one."
        )
    return f"The answer was a bare {status}, as a proxy or another program gives it: check the address."
