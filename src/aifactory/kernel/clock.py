"""The clock of everything that does not own a database transaction."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the aware UTC time of this machine."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC, milliseconds, ending in ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
