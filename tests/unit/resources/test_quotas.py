"""The periods of quotas: days and months of the client's time zone, rolled over and never back."""

from datetime import UTC, datetime, timedelta

import pytest

from aifactory.kernel.ids import ClientId, new_id
from aifactory.resources.quotas import Quota, QuotaPeriod, period_around, rolled

NOW = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def quota(period: QuotaPeriod, time_zone: str, used: int = 7) -> Quota:
    around = period_around(NOW, period, time_zone)
    return Quota(
        client_id=ClientId(new_id()),
        pool="email",
        period=period,
        units_limit=10,
        units_used=used,
        period_start=around.start,
        period_end=around.end,
    )


@pytest.mark.parametrize(
    ("period", "time_zone", "start", "end"),
    [
        ("day", "UTC", datetime(2026, 11, 30, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        ("month", "UTC", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        ("day", "Asia/Tokyo", datetime(2026, 11, 30, 15, tzinfo=UTC), datetime(2026, 12, 1, 15, tzinfo=UTC)),
        (
            "month",
            "Asia/Tokyo",
            datetime(2026, 11, 30, 15, tzinfo=UTC),
            datetime(2026, 12, 31, 15, tzinfo=UTC),
        ),
    ],
)
def test_a_period_is_the_clients_own_day_or_month(
    period: str, time_zone: str, start: datetime, end: datetime
) -> None:
    found = quota(QuotaPeriod(period), time_zone)
    assert (found.period_start, found.period_end) == (start, end)


def test_use_is_kept_to_the_end_of_the_period_and_begins_at_nothing_after_it() -> None:
    one = quota(QuotaPeriod.DAY, "UTC")
    assert rolled(one, "UTC", one.period_end - SECOND) == one
    after = rolled(one, "UTC", one.period_end)
    assert (after.units_used, after.period_start) == (0, one.period_end)


def test_a_decider_whose_clock_is_a_moment_behind_does_not_roll_a_new_period_back() -> None:
    one = quota(QuotaPeriod.DAY, "UTC")
    assert rolled(one, "UTC", one.period_start - SECOND) == one
    assert rolled(one, "UTC", one.period_start - timedelta(days=2)).units_used == 0


def test_a_change_of_the_time_zone_waits_for_the_end_of_the_running_period() -> None:
    one = quota(QuotaPeriod.MONTH, "UTC")
    assert rolled(one, "Asia/Tokyo", NOW) == one
    after = rolled(one, "Asia/Tokyo", one.period_end)
    assert after.period_end == datetime(2026, 12, 31, 15, tzinfo=UTC)
    assert after.period_start == one.period_end  # or what the old one counted would be given back in this one
