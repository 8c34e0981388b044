"""Which budgets a hold is taken on, their periods, and the words of a refusal. Pure.

A period is one calendar month or day of the client's time zone, known by its first day. A change of the
time zone moves when it begins and ends, and gives nobody a second budget for it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from aifactory.kernel.clock import rfc3339
from aifactory.kernel.errors import AppError
from aifactory.kernel.ids import BudgetId, KeyId, text_id
from aifactory.kernel.money import format_usd, usd
from aifactory.resources.interface import BudgetExceeded, BudgetInUse, QueueFull

MAX_UNFINISHED = 100_000
_NAMES = {"client": "the client's budget", "day": "the client's daily budget"}


class Scope(StrEnum):
    """Whose spending a budget limits; all but the client's own are there only where a limit was set."""

    CLIENT = "client"
    DAY = "day"
    KEY = "key"
    TEMPLATE = "template"


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Half-open: ``start <= t < end``; ``first_day`` is its date in the client's time zone."""

    first_day: date
    start: datetime
    end: datetime


class BudgetScope(msgspec.Struct, frozen=True, kw_only=True):
    """One scope in one of its periods; ``scope_key`` is a key's public id or a template's name."""

    scope: Scope
    scope_key: str = ""
    period: Period


# Periods.


def month_of(now: datetime, time_zone: str) -> Period:
    """Return the calendar month around ``now`` in a time zone, as moments."""
    zone = ZoneInfo(time_zone)
    first = now.astimezone(zone).date().replace(day=1)
    while (end := _opening(_next_month(first), zone)) <= now:
        first = _next_month(first)
    return Period(first_day=first, start=_opening(first, zone), end=end)


def day_of(now: datetime, time_zone: str) -> Period:
    """Return the day around ``now`` in a time zone, as moments; 23 to 25 hours where clocks are changed."""
    zone = ZoneInfo(time_zone)
    day = now.astimezone(zone).date()
    while (end := _opening(day + timedelta(days=1), zone)) <= now:
        day += timedelta(days=1)
    return Period(first_day=day, start=_opening(day, zone), end=end)


def _next_month(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def _opening(day: date, zone: ZoneInfo) -> datetime:
    """Return the first moment at which the clocks show ``day``, or a later one where they leap over it.

    What has begun stays begun: of two midnights the first counts, though clocks go back to the day before.
    """
    midnight = datetime.combine(day, time(), zone)
    moment = midnight.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return moment
    before = midnight.replace(fold=1).astimezone(UTC)  # clocks leap over this midnight: find the leap
    while moment - before > timedelta.resolution:
        middle = before + (moment - before) // 2
        if middle.astimezone(zone).date() >= day:
            moment = middle
        else:
            before = middle
    return moment


def scopes_of(
    now: datetime, time_zone: str, *, key_id: KeyId | None, template: str
) -> tuple[BudgetScope, ...]:
    """Return every scope that a submission may count on; where no limit is set, it does not."""
    month = month_of(now, time_zone)
    scopes = [
        BudgetScope(scope=Scope.CLIENT, period=month),
        BudgetScope(scope=Scope.DAY, period=day_of(now, time_zone)),
        BudgetScope(scope=Scope.TEMPLATE, scope_key=template, period=month),
    ]
    if key_id is not None:
        scopes.append(BudgetScope(scope=Scope.KEY, scope_key=text_id("key", key_id), period=month))
    return tuple(scopes)


# Levels and refusals.


class BudgetLevel(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stands, nano-dollars; ``budget_id`` None: nothing was held on it in this period.

    ``unfinished`` counts all of the client's executions, whatever their budgets.
    """

    scope: Scope = Scope.CLIENT
    scope_key: str = ""
    budget_id: BudgetId | None = None
    limit_nano: int
    held_nano: int
    spent_nano: int
    unfinished: int
    period_start: datetime
    period_end: datetime

    @property
    def left_nano(self) -> int:
        """What is neither spent nor held; 0 also where a limit was lowered below that."""
        return max(0, self.limit_nano - self.spent_nano - self.held_nano)

    def allows(self, wanted_nano: int) -> bool:
        """Whether a hold would fit now."""
        committed = self.spent_nano + self.held_nano + wanted_nano
        return committed <= self.limit_nano and self.unfinished < MAX_UNFINISHED

    def exceeds(self, wanted_nano: int) -> bool:
        """Whether a hold can't fit in this period, whatever ends in the meantime."""
        return self.spent_nano + wanted_nano > self.limit_nano

    def used_at_least(self, percent: int) -> bool:
        """Whether so much of the limit is spent or held."""
        return (self.spent_nano + self.held_nano) * 100 >= self.limit_nano * percent


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """When the first and the last unfinished execution on a budget ends at the latest."""

    earliest: datetime
    latest: datetime


def refusal(
    levels: Sequence[BudgetLevel], wanted_nano: int, ends: Mapping[BudgetId | None, Deadlines]
) -> AppError:
    """Say why a hold was refused: it never fits, else too many are unfinished, else it does not fit now.

    ``ends`` says of budgets when the work on them ends. At least one level must refuse.
    """
    never = [level for level in levels if level.exceeds(wanted_nano)]
    later = [level for level in levels if not level.allows(wanted_nano) and level not in never]
    if not never and (unfinished := max(level.unfinished for level in levels)) >= MAX_UNFINISHED:
        return QueueFull(
            f"{unfinished:,} executions are unfinished; wait until some end, or cancel some.",
            headers={"Retry-After": "60"},
        )
    told = [_figures(level, wanted_nano, ends.get(level.budget_id)) for level in (*never, *later)]
    make = _exceeded if never else _in_use
    return make((never or later)[0], wanted_nano, {**told[0], "refusals": told})


def _exceeded(level: BudgetLevel, wanted_nano: int, figures: dict[str, Any]) -> AppError:
    left, reset = max(0, level.limit_nano - level.spent_nano), rfc3339(level.period_end)
    return BudgetExceeded(
        f"This needs up to {format_usd(wanted_nano)} and {_name(level)} has {format_usd(left)} left "
        f"until {reset}. Make the request smaller, or ask the operator for a larger budget.",
        **figures,
    )


def _in_use(level: BudgetLevel, wanted_nano: int, figures: dict[str, Any]) -> AppError:
    return BudgetInUse(
        f"This needs up to {format_usd(wanted_nano)}; {format_usd(level.held_nano)} of {_name(level)} is "
        "held by your own unfinished work. Try again when some of it has ended.",
        **figures,
    )


def _name(level: BudgetLevel) -> str:
    return _NAMES.get(level.scope, f"the budget of {level.scope} {level.scope_key}")


def _figures(level: BudgetLevel, wanted_nano: int, ends: Deadlines | None) -> dict[str, Any]:
    exceeds = level.exceeds(wanted_nano)
    taken = level.spent_nano + (0 if exceeds else level.held_nano)
    figures: dict[str, Any] = {
        "reason": BudgetExceeded.code if exceeds else BudgetInUse.code,
        "scope": level.scope,
        "scopeKey": level.scope_key or None,
        "limitUsd": usd(level.limit_nano),
        "spentUsd": usd(level.spent_nano),
        "heldUsd": usd(level.held_nano),
        "neededUsd": usd(wanted_nano),
        "shortfallUsd": usd(wanted_nano + taken - level.limit_nano),
        "resetsAt": rfc3339(level.period_end),
    }
    if not exceeds and ends is not None:
        figures["earliestDeadline"] = rfc3339(ends.earliest)
        figures["clearsAt"] = rfc3339(min(ends.latest, level.period_end))
    return figures
