"""Time zones by their names. Pure."""

from functools import cache
from zoneinfo import available_timezones

from aifactory.kernel.errors import invalid

# A file of the machine, which is another zone or none on the next one; and one that stands for none.
_NO_ZONES = frozenset({"localtime", "Factory"})


@cache
def time_zones() -> frozenset[str]:
    """Return the names that mean the same on every machine."""
    return frozenset(available_timezones() | {"UTC"}) - _NO_ZONES


def check_time_zone(name: str) -> None:
    """Refuse a time zone that nobody knows. Raises Invalid."""
    if name not in time_zones():
        raise invalid("/timeZone", "unknown_time_zone", "Use a name like Europe/Berlin, or UTC.")
