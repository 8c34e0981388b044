"""Times in query strings: RFC 3339, or a day, which is its first moment in UTC. Pure."""

import re
from datetime import UTC, datetime

from aifactory.kernel.errors import invalid

_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d))?", re.ASCII)
_SPACED_ZONE = re.compile(r" (\d\d:\d\d)$", re.ASCII)


def read_moment(name: str, text: str | None) -> datetime | None:
    """Return a time as UTC; a plus sign that arrived as a space is understood. Raises Invalid."""
    if text is None:
        return None
    text = _SPACED_ZONE.sub(r"+\1", text)
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        found = datetime.fromisoformat(text.upper())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = f"{name} must be a day like 2026-12-31 or a time like 2026-12-31T18:00:00Z."
        raise invalid(f"/{name}", "no_time", message) from error


def read_span(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Return ``from`` and ``to``. Raises Invalid, also where the end is before the beginning."""
    first, end = read_moment("from", since), read_moment("to", until)
    if first and end and end < first:
        raise invalid("/to", "bad_period", "to must not be before from.")
    return first, end
