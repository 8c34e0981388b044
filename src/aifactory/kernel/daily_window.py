"""A part of every day and the time zone that it is told in, as they are configured. Pure."""

import re
from datetime import time
from zoneinfo import ZoneInfo

from aifactory.kernel.time_zones import time_zones

_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


class DailyWindow:
    """A part of every day, like ``22:00-06:00``: over midnight. Raises ValueError for another text."""

    def __init__(self, text: str) -> None:
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError("write a part of the day like 22:00-06:00")
        hour, minute, until_hour, until_minute = map(int, found.groups())
        self.start, self.end = time(hour, minute), time(until_hour, until_minute)
        if self.start == self.end:
            raise ValueError("the part of the day must end at another time than it starts")

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DailyWindow) and (self.start, self.end) == (other.start, other.end)

    def __hash__(self) -> int:
        return hash((self.start, self.end))


class TimeZone:
    """A time zone by its name, like ``Europe/Berlin``. Raises ValueError for a name that is none."""

    def __init__(self, name: str) -> None:
        if name not in time_zones():
            raise ValueError("name a time zone like Europe/Berlin or UTC")
        self.info = ZoneInfo(name)

    def __str__(self) -> str:
        return self.info.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TimeZone) and self.info.key == other.info.key

    def __hash__(self) -> int:
        return hash(self.info.key)
