"""Off-peak windows: over midnight, over changes of the clocks, and against deadlines."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifactory.kernel.daily_window import DailyWindow, TimeZone
from aifactory.resources.off_peak import OffPeak, next_window
from aifactory.settings import SettingsError, read_settings

NIGHT = DailyWindow("22:00-06:00")
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
MINUTES = st.times().map(lambda one: one.replace(second=0, microsecond=0, tzinfo=None))


def utc(day: int, hour: int, minute: int = 0, *, month: int = 6) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        (utc(5, 12), utc(5, 22)),
        (utc(5, 21, 59), utc(5, 22)),
        (utc(5, 22), utc(5, 22)),
        (utc(5, 23), utc(5, 23)),
        (utc(6, 0), utc(6, 0)),
        (utc(6, 5, 59), utc(6, 5, 59)),
        (utc(6, 6), utc(6, 22)),
    ],
)
def test_a_window_over_midnight_is_open_from_evening_to_morning(now: datetime, opens: datetime) -> None:
    assert next_window(now, NIGHT, ZoneInfo("UTC")) == opens


def test_a_window_within_a_day_is_told_in_its_own_zone() -> None:
    lunch = DailyWindow("12:00-13:00")
    assert next_window(utc(5, 9), lunch, BERLIN) == utc(5, 10)
    assert next_window(utc(5, 10, 30), lunch, BERLIN) == utc(5, 10, 30)
    assert next_window(utc(5, 11), lunch, BERLIN) == utc(6, 10)
    assert next_window(utc(5, 11, month=1), lunch, BERLIN) == utc(5, 11, month=1)


def test_the_clocks_going_forward_or_back_move_the_window_with_them() -> None:
    # On 29 March 2026 the clocks leap from 02:00 to 03:00, on 25 October from 03:00 back to 02:00.
    early = DailyWindow("02:30-05:00")
    assert next_window(utc(28, 23, month=3), early, BERLIN) == utc(29, 1, 30, month=3)
    assert next_window(utc(29, 23, month=3), early, BERLIN) == utc(30, 0, 30, month=3)
    assert next_window(utc(24, 23, month=10), early, BERLIN) == utc(25, 0, 30, month=10)
    assert next_window(utc(25, 3, 30, month=10), early, BERLIN) == utc(25, 3, 30, month=10)
    night = next_window(utc(29, 4, month=3), NIGHT, BERLIN)  # 06:00 of summer time: the night is over
    assert night == utc(29, 20, month=3)
    swallowed = DailyWindow("02:30-03:10")
    assert next_window(utc(29, 0, month=3), swallowed, BERLIN) == utc(30, 0, 30, month=3)


@given(
    now=st.datetimes(datetime(2010, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    start=MINUTES,
    end=MINUTES,
    zone=st.sampled_from(ZONES),
)
def test_work_never_waits_past_the_next_opening_and_always_starts_inside(
    now: datetime, start: time, end: time, zone: str
) -> None:
    if start == end:
        return
    window, info = DailyWindow(f"{start:%H:%M}-{end:%H:%M}"), ZoneInfo(zone)
    opens = next_window(now, window, info)
    assert now <= opens <= now + timedelta(days=3)
    assert next_window(opens, window, info) == opens
    local = opens.astimezone(info).replace(fold=0)
    around = (local - timedelta(hours=1)).time(), (local + timedelta(hours=1)).time()
    inside = [
        start <= shown < end if start < end else shown >= start or shown < end
        for shown in (local.time().replace(second=0, microsecond=0), *around)
    ]
    assert any(inside)  # within the hour by which clocks are changed


def test_a_deadline_that_is_too_near_lets_work_run_at_once() -> None:
    off_peak = OffPeak()

    def due(**terms: datetime | int | None) -> datetime:
        asked = {"run_after": None, "deadline": None, "expected_seconds": 600, **terms}
        return off_peak.due_at(utc(5, 12), **asked)  # type: ignore[arg-type]

    assert due() == utc(5, 22)
    assert due(deadline=utc(5, 22, 20)) == utc(5, 22)
    assert due(deadline=utc(5, 22, 19)) == utc(5, 12)
    assert due(deadline=utc(5, 22, 15), expected_seconds=1) == utc(5, 22)
    assert due(deadline=utc(5, 22, 14), expected_seconds=1) == utc(5, 12)
    assert due(run_after=utc(6, 3)) == utc(6, 3)
    assert due(run_after=utc(6, 7)) == utc(6, 22)
    assert due(run_after=utc(6, 7), deadline=utc(6, 21)) == utc(6, 7)


def test_the_window_and_its_zone_are_settings() -> None:
    read = read_settings({"AIFACTORY_OFF_PEAK": " 01:30 - 04:00", "AIFACTORY_TIME_ZONE": "Asia/Tokyo"})
    assert (str(read.off_peak), read.time_zone) == ("01:30-04:00", TimeZone("Asia/Tokyo"))
    for text in ("22:00", "24:00-06:00", "22:00-22:00", "22:60-06:00", "٢٢:00-06:00", "night"):
        with pytest.raises(SettingsError, match="AIFACTORY_OFF_PEAK"):
            read_settings({"AIFACTORY_OFF_PEAK": text})
    for zone in ("Nowhere", "../etc/passwd", "America", "Mars/Base"):
        with pytest.raises(SettingsError, match="AIFACTORY_TIME_ZONE"):
            read_settings({"AIFACTORY_TIME_ZONE": zone})
