"""Budget periods in clients' time zones, and which refusal is said."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifactory.resources.budgets import MAX_UNFINISHED, BudgetLevel, month_of, refusal
from aifactory.resources.interface import BudgetExceeded, BudgetInUse, QueueFull


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("now", "zone", "start", "end"),
    [
        (utc(2026, 11, 22, 12), "UTC", utc(2026, 11, 1), utc(2026, 12, 1)),
        (utc(2026, 12, 31, 23, 59), "UTC", utc(2026, 12, 1), utc(2027, 1, 1)),
        (utc(2026, 10, 31, 23, 30), "Europe/Berlin", utc(2026, 10, 31, 23), utc(2026, 11, 30, 23)),
        (utc(2026, 10, 31, 22, 59), "Europe/Berlin", utc(2026, 9, 30, 22), utc(2026, 10, 31, 23)),
        (utc(2026, 11, 1, 3), "America/New_York", utc(2026, 10, 1, 4), utc(2026, 11, 1, 4)),
        (utc(2026, 11, 1, 4), "America/New_York", utc(2026, 11, 1, 4), utc(2026, 12, 1, 5)),
        # Midnight of the first comes twice: the month begins with the first of them.
        (utc(2026, 11, 1, 5, 30), "America/Havana", utc(2026, 11, 1, 4), utc(2026, 12, 1, 5)),
        # There is no midnight of the first: the month begins with one o'clock.
        (utc(2023, 10, 1, 4), "America/Asuncion", utc(2023, 10, 1, 4), utc(2023, 11, 1, 3)),
        (utc(2026, 1, 31, 18, 30), "Asia/Kolkata", utc(2026, 1, 31, 18, 30), utc(2026, 2, 28, 18, 30)),
    ],
)
def test_a_month_begins_at_the_clients_midnight(
    now: datetime, zone: str, start: datetime, end: datetime
) -> None:
    period = month_of(now, zone)
    assert (period.start, period.end) == (start, end)
    assert period.start.tzinfo is period.end.tzinfo is UTC


zones = st.sampled_from(sorted(zone for zone in available_timezones() if "/" in zone))


@given(st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)), zones)
def test_every_moment_is_in_exactly_one_month(now: datetime, zone: str) -> None:
    period = month_of(now, zone)
    assert period.start <= now < period.end
    assert month_of(period.start, zone) == period
    assert month_of(period.end, zone).start == period.end
    assert month_of(period.end - timedelta(microseconds=1), zone) == period
    assert period.start.astimezone(ZoneInfo(zone)).day == 1


def level(limit: int, held: int, spent: int, unfinished: int = 0) -> BudgetLevel:
    return BudgetLevel(
        limit_nano=limit,
        held_nano=held,
        spent_nano=spent,
        unfinished=unfinished,
        period_end=utc(2026, 12, 1),
    )


def test_what_can_never_fit_names_the_shortfall_and_the_day_of_the_reset() -> None:
    refused = refusal(level(10 * 10**9, 0, 4 * 10**9), 7 * 10**9)
    assert isinstance(refused, BudgetExceeded)
    assert (refused.status, refused.retryable) == (402, False)
    assert str(refused.extras["shortfallUsd"]) == "1"
    assert refused.extras["resetsAt"].startswith("2026-12-01")


def test_what_only_the_own_work_keeps_out_may_be_tried_again() -> None:
    refused = refusal(level(10 * 10**9, 5 * 10**9, 0), 7 * 10**9)
    assert isinstance(refused, BudgetInUse)
    assert (refused.status, refused.retryable) == (402, True)
    assert str(refused.extras["shortfallUsd"]) == "2"


def test_too_many_unfinished_executions_are_a_full_queue_and_no_matter_of_money() -> None:
    refused = refusal(level(10**12, 0, 0, MAX_UNFINISHED), 1)
    assert isinstance(refused, QueueFull)
    assert refused.status == 429


amounts = st.integers(0, 10**13)


@given(amounts, amounts, amounts, st.integers(1, 10**13))
def test_a_refusal_is_said_only_when_the_hold_does_not_fit_and_its_shortfall_is_positive(
    limit: int, held: int, spent: int, wanted: int
) -> None:
    now = level(limit, held, spent)
    assert now.allows(wanted) == (spent + held + wanted <= limit)
    if not now.allows(wanted):
        refused = refusal(now, wanted)
        assert refused.extras["shortfallUsd"] > 0
        assert isinstance(refused, BudgetExceeded) == (spent + wanted > limit)
