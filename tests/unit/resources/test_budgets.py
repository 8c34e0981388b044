"""Budget periods in clients' time zones, and which refusal is said."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aifactory.kernel.ids import BudgetId, KeyId, new_id, text_id
from aifactory.resources.budgets import (
    MAX_UNFINISHED,
    BudgetLevel,
    Deadlines,
    Period,
    Scope,
    day_of,
    month_of,
    refusal,
    scopes_of,
)
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


@pytest.mark.parametrize(
    ("now", "zone", "day", "hours"),
    [
        (utc(2026, 3, 29, 12), "Europe/Berlin", date(2026, 3, 29), 23),
        (utc(2026, 10, 25, 12), "Europe/Berlin", date(2026, 10, 25), 25),
        (utc(2026, 12, 31, 23, 30), "Europe/Berlin", date(2027, 1, 1), 24),
        (utc(2026, 10, 3, 16), "Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        # There is no midnight: the day begins with one o'clock.
        (utc(2023, 10, 1, 4), "America/Asuncion", date(2023, 10, 1), 23),
        # Midnight comes twice: the day begins with the first of them.
        (utc(2026, 11, 1, 5, 30), "America/Havana", date(2026, 11, 1), 25),
        # The 30th never was: the day after the 29th is the 31st.
        (utc(2011, 12, 30, 12), "Pacific/Apia", date(2011, 12, 31), 24),
        (utc(2011, 12, 30, 9, 59), "Pacific/Apia", date(2011, 12, 29), 24),
        # One minute after midnight clocks go back to 23:01: the new day has begun and goes on.
        (utc(2006, 10, 29, 2, 45), "America/St_Johns", date(2006, 10, 29), 25),
        # At 23:30 clocks leap to 00:30: the day begins there.
        (utc(1919, 3, 31, 4, 45), "America/Toronto", date(1919, 3, 31), 23.5),
    ],
)
def test_a_day_is_the_clients_day_whatever_its_clocks_do(
    now: datetime, zone: str, day: date, hours: float
) -> None:
    period = day_of(now, zone)
    assert period.start <= now < period.end
    assert (period.first_day, (period.end - period.start) / timedelta(hours=1)) == (day, hours)


zones = st.sampled_from(sorted(zone for zone in available_timezones() if "/" in zone))
moments = st.datetimes(datetime(1900, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))
Periods = Callable[[datetime, str], Period]


def check_period(period_of: Periods, now: datetime, zone: str) -> None:
    """Periods cover all time without a gap, and no two of them have the same first day."""
    period = period_of(now, zone)
    assert period.start <= now < period.end
    assert period.start.tzinfo is period.end.tzinfo is UTC
    for inside in (period.start, period.end - timedelta.resolution):
        assert period_of(inside, zone) == period
    after, before = period_of(period.end, zone), period_of(period.start - timedelta.resolution, zone)
    assert (before.end, period.end) == (period.start, after.start)
    assert before.first_day < period.first_day < after.first_day
    assert (now.astimezone(ZoneInfo(zone)).date() - period.first_day).days in range(-1, 31)


@pytest.mark.parametrize("period_of", [month_of, day_of])
@given(now=moments, zone=zones)
@example(now=utc(1919, 3, 31, 4, 45), zone="America/Toronto")
@example(now=utc(2006, 10, 29, 2, 45), zone="America/St_Johns")
def test_every_moment_is_in_exactly_one_period(period_of: Periods, now: datetime, zone: str) -> None:
    check_period(period_of, now, zone)


@cache
def changes_of_clocks() -> list[tuple[datetime, str]]:
    """Up to three days before each change of any zone's clock in three years."""
    found = []
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for year in (1999, 2011, 2026):
            moment, offset = utc(year, 1, 1), utc(year, 1, 1).astimezone(zone).utcoffset()
            while moment.year == year:
                following = moment + timedelta(days=3)
                if (changed := following.astimezone(zone).utcoffset()) != offset:
                    found.append((moment, name))
                moment, offset = following, changed
    return found


@pytest.mark.parametrize("period_of", [month_of, day_of])
def test_no_change_of_any_clock_on_earth_leaves_a_gap_or_an_overlap(period_of: Periods) -> None:
    assert len(changes_of_clocks()) > 500
    for moment, name in changes_of_clocks():
        for hours in range(0, 73, 9):
            check_period(period_of, moment + timedelta(hours=hours), name)


@given(now=moments, first=zones, second=zones)
def test_a_change_of_the_time_zone_opens_no_second_budget_for_a_month(
    now: datetime, first: str, second: str
) -> None:
    """The months of two zones at one moment are the same one, or neighbours for a day or so."""
    here, there = month_of(now, first), month_of(now, second)
    if here.first_day != there.first_day:
        assert abs(here.first_day - there.first_day) <= timedelta(days=31)
        assert now < max(here.start, there.start) + timedelta(hours=36)


def test_a_submission_counts_on_client_and_day_its_template_and_its_key() -> None:
    key = KeyId(new_id())
    now = utc(2026, 11, 30, 23, 30)
    found = {
        (one.scope, one.scope_key): one.period.first_day
        for one in scopes_of(now, "Europe/Berlin", key_id=key, template="quiz")
    }
    month, day = date(2026, 12, 1), date(2026, 12, 1)
    assert found == {
        (Scope.CLIENT, ""): month,
        (Scope.DAY, ""): day,
        (Scope.TEMPLATE, "quiz"): month,
        (Scope.KEY, text_id("key", key)): month,
    }
    without = scopes_of(now, "Europe/Berlin", key_id=None, template="quiz")
    assert Scope.KEY not in {one.scope for one in without}


def level(limit: int, held: int, spent: int, unfinished: int = 0, **changes: Any) -> BudgetLevel:
    return BudgetLevel(
        limit_nano=limit,
        held_nano=held,
        spent_nano=spent,
        unfinished=unfinished,
        period_start=utc(2026, 11, 1),
        period_end=utc(2026, 12, 1),
        **changes,
    )


USD = 10**9


def test_what_can_never_fit_names_the_shortfall_and_the_day_of_the_reset() -> None:
    refused = refusal([level(10 * USD, 0, 4 * USD)], 7 * USD, {})
    assert isinstance(refused, BudgetExceeded)
    assert (refused.status, refused.retryable) == (402, False)
    assert str(refused.extras["shortfallUsd"]) == "1"
    assert refused.extras["resetsAt"].startswith("2026-12-01")
    assert "clearsAt" not in refused.extras


def test_what_only_the_own_work_keeps_out_may_be_tried_again_when_it_clears() -> None:
    budget_id = BudgetId(new_id())
    ends = {budget_id: Deadlines(earliest=utc(2026, 11, 5), latest=utc(2026, 11, 9))}
    refused = refusal([level(10 * USD, 5 * USD, 0, budget_id=budget_id)], 7 * USD, ends)
    assert isinstance(refused, BudgetInUse)
    assert (refused.status, refused.retryable) == (402, True)
    assert str(refused.extras["shortfallUsd"]) == "2"
    assert refused.extras["earliestDeadline"].startswith("2026-11-05")
    assert refused.extras["clearsAt"].startswith("2026-11-09")


def test_work_that_lasts_longer_than_the_period_clears_with_it() -> None:
    budget_id = BudgetId(new_id())
    ends = {budget_id: Deadlines(earliest=utc(2026, 12, 5), latest=utc(2026, 12, 9))}
    refused = refusal([level(1, 1, 0, budget_id=budget_id)], 1, ends)
    assert refused.extras["clearsAt"] == refused.extras["resetsAt"]


def test_of_several_refusals_the_hardest_is_said_and_all_are_listed() -> None:
    levels = [
        level(10, 8, 0),
        level(9, 0, 0, scope=Scope.DAY),
        level(4, 0, 0, scope=Scope.KEY, scope_key="key_x"),
        level(10, 7, 0, scope=Scope.TEMPLATE, scope_key="quiz"),
    ]
    refused = refusal(levels, 5, {})
    assert isinstance(refused, BudgetExceeded)
    assert (refused.extras["scope"], refused.extras["scopeKey"]) == (Scope.KEY, "key_x")
    assert "key key_x" in refused.detail
    told = [(one["scope"], one["reason"]) for one in refused.extras["refusals"]]
    assert told == [
        (Scope.KEY, "budget_exceeded"),
        (Scope.CLIENT, "budget_in_use"),
        (Scope.TEMPLATE, "budget_in_use"),
    ]


def test_too_many_unfinished_executions_are_a_full_queue_unless_it_could_never_fit() -> None:
    refused = refusal([level(10**12, 0, 0, MAX_UNFINISHED)], 1, {})
    assert isinstance(refused, QueueFull)
    assert refused.status == 429
    assert isinstance(refusal([level(0, 0, 0, MAX_UNFINISHED)], 1, {}), BudgetExceeded)


amounts = st.integers(0, 10**13)


@given(amounts, amounts, amounts, st.integers(1, 10**13))
def test_a_refusal_is_said_only_when_the_hold_does_not_fit_and_its_shortfall_is_positive(
    limit: int, held: int, spent: int, wanted: int
) -> None:
    now = level(limit, held, spent)
    assert now.allows(wanted) == (spent + held + wanted <= limit)
    assert now.left_nano == max(0, limit - held - spent)
    if not now.allows(wanted):
        refused = refusal([now], wanted, {})
        assert refused.extras["shortfallUsd"] > 0
        assert isinstance(refused, BudgetExceeded) == (spent + wanted > limit)


def test_how_far_a_budget_is_used_is_compared_exactly() -> None:
    assert level(1000, 300, 500).used_at_least(80)
    assert not level(1000, 300, 499).used_at_least(80)
    assert level(0, 0, 0).used_at_least(100)
