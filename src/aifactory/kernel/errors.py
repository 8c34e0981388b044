"""Every refusal that leaves the server, as one hierarchy that becomes problem documents.

AppError
├── Unreadable (400) · NotAuthenticated (401) · NotAllowed (403) · NotFound (404)
├── Conflict (409) · ContentErased (410) · VersionChanged (412) · TooLarge (413)
├── Invalid (422) · TooMany (429)
└── Unavailable (503)
Domains derive their own from these; 402 lives where the money is.
"""

from typing import Any, ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of an input: a JSON Pointer to it, a stable code and what to do."""

    pointer: str
    code: str
    message: str


class AppError(Exception):
    """A refusal with a stable ``code``; ``extras`` become members of the problem document (camelCase)."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on our side"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        headers: dict[str, str] | None = None,
        **extras: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.extras = extras


class Unreadable(AppError):
    """The request cannot be read at all."""

    code, title, status = "unreadable", "The request could not be read", 400


class NotAuthenticated(AppError):
    """No credential, or one that is unknown, expired or revoked."""

    code, title, status = "not_authenticated", "A valid credential is needed", 401


class NotAllowed(AppError):
    """The credential is good but may not do this."""

    code, title, status = "not_allowed", "This credential may not do that", 403


class NotFound(AppError):
    """Nothing there, or nothing that the caller may know of."""

    code, title, status = "not_found", "There is no such thing", 404


class MethodNotAllowed(AppError):
    """The path exists, but not for this method."""

    code, title, status = "method_not_allowed", "This path does not take that method", 405


class Conflict(AppError):
    """The object's present state does not allow it."""

    code, title, status = "conflict", "The present state does not allow that", 409


class ContentErased(AppError):
    """It was here and its content is gone for good; ``erasedAt`` and ``erasure`` say when and why."""

    code, title, status = "content_erased", "This content was erased", 410


class VersionChanged(AppError):
    """``If-Match`` names another version than the newest; read it again."""

    code, title, status = "version_changed", "It has changed since you read it", 412


class TooLarge(AppError):
    """The body is larger than this route takes."""

    code, title, status = "too_large", "The request body is too large", 413


class UnsupportedMediaType(AppError):
    """The body is not JSON."""

    code, title, status = "unsupported_media_type", "The body must be JSON", 415


class Invalid(AppError):
    """The request is readable but its values are not acceptable."""

    code, title, status = "invalid", "Some values are not acceptable", 422


class TooMany(AppError):
    """Too much at once; ``Retry-After`` says when to come back."""

    code, title, status, retryable = "too_many", "Too many requests", 429, True


class Unavailable(AppError):
    """A part that is needed is down; nothing was stored."""

    code, title, status, retryable = "unavailable", "The service is not available", 503, True


def invalid(pointer: str, code: str, message: str) -> Invalid:
    """Return an ``Invalid`` with one field error."""
    return Invalid(message, errors=(FieldError(pointer=pointer, code=code, message=message),))
