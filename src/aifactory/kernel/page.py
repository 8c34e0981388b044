"""Cursor lists: newest first, opaque cursors, no totals."""

import base64
import binascii
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from aifactory.kernel.errors import Invalid, invalid

T = TypeVar("T")

DEFAULT_LIMIT = 25
MAX_LIMIT = 100


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True, rename="camel"):
    """One page of a list."""

    data: list[T]
    has_more: bool
    next_cursor: str | None


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which page is asked for: ids before ``before``, at most ``limit``."""

    limit: int = DEFAULT_LIMIT
    before: UUID | None = None


def page_request(limit: int | None, cursor: str | None) -> PageRequest:
    """Read ``limit`` and ``cursor`` of a query string. Raises Invalid."""
    if limit is not None and not 1 <= limit <= MAX_LIMIT:
        raise invalid("/limit", "out_of_range", f"limit must be between 1 and {MAX_LIMIT}.")
    return PageRequest(limit=limit or DEFAULT_LIMIT, before=None if cursor is None else _decode(cursor))


def page_of(rows: list[T], ids: list[UUID], asked: PageRequest) -> Page[T]:
    """Return a page of ``limit`` rows; ``rows`` and ``ids`` hold one more if there is more."""
    more = len(rows) > asked.limit
    kept = rows[: asked.limit]
    return Page(data=kept, has_more=more, next_cursor=_encode(ids[len(kept) - 1]) if more else None)


def page_as(found: Page[Any], data: list[T]) -> Page[T]:
    """Return the same page with its rows in another form."""
    return Page(data=data, has_more=found.has_more, next_cursor=found.next_cursor)


def bad_cursor() -> Invalid:
    """Return the refusal of a cursor that no page gave."""
    return invalid("/cursor", "bad_cursor", "Use nextCursor of an earlier page, unchanged.")


def _encode(value: UUID) -> str:
    return base64.urlsafe_b64encode(value.bytes).rstrip(b"=").decode()


def _decode(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor.encode("ascii") + b"=="))
    except (ValueError, binascii.Error) as error:
        raise bad_cursor() from error
