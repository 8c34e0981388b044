"""Off-peak work: low-urgency work waits for the operator's window, unless its deadline is too near. Pure."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from aifactory.kernel.daily_window import DailyWindow, TimeZone

SHORTEST_ROOM = timedelta(minutes=15)
ROOM_FACTOR = 2  #: work has a reasonable time when it has twice what its templates expect
_LONGEST_SEARCH_DAYS = 4  # a window that falls into a gap of the clocks is missing on that day


class OffPeak(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's off-peak window, told in a time zone."""

    window: DailyWindow = DailyWindow("22:00-06:00")
    zone: TimeZone = TimeZone("UTC")

    def due_at(
        self,
        now: datetime,
        *,
        run_after: datetime | None,
        deadline: datetime | None,
        expected_seconds: int,
    ) -> datetime:
        """Return when work is due: in the window, or at once where that would endanger its deadline."""
        earliest = max(now, run_after or now)
        opens = next_window(earliest, self.window, self.zone.info)
        room = max(SHORTEST_ROOM, ROOM_FACTOR * timedelta(seconds=expected_seconds))
        return earliest if deadline is not None and opens + room > deadline else opens


def next_window(now: datetime, window: DailyWindow, zone: ZoneInfo) -> datetime:
    """Return the first moment from ``now`` on that is inside the window: now, or when it opens next.

    A time that the clocks skip is as much later as they are put forward; of one that they show twice the
    first counts. A window that would be over before it opens is left out on that day.
    """
    today = now.astimezone(zone).date()
    for days in range(-1, _LONGEST_SEARCH_DAYS):
        day = today + timedelta(days=days)
        ends_on = day if window.end > window.start else day + timedelta(days=1)
        opens, ends = _moment(day, window.start, zone), _moment(ends_on, window.end, zone)
        if opens < ends and now < ends:
            return max(now, opens)
    raise ValueError("This window never opens.")


def _moment(day: date, local: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, local, tzinfo=zone).astimezone(UTC)
