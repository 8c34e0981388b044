"""Budget periods and the words of a refusal. Pure."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from aifactory.kernel.clock import rfc3339
from aifactory.kernel.errors import AppError
from aifactory.kernel.money import format_usd, usd
from aifactory.resources.interface import BudgetExceeded, BudgetInUse, QueueFull

MAX_UNFINISHED = 100_000


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Half-open: ``start <= t < end``."""

    start: datetime
    end: datetime


def month_of(now: datetime, time_zone: str) -> Period:
    """Return the calendar month around ``now`` in a time zone, as moments."""
    local = now.astimezone(ZoneInfo(time_zone))
    start = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)
    year, month = (start.year + 1, 1) if start.month == 12 else (start.year, start.month + 1)
    end = start.replace(year=year, month=month)
    return Period(start=start.astimezone(UTC), end=end.astimezone(UTC))


class BudgetLevel(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stands, nano-dollars."""

    limit_nano: int
    held_nano: int
    spent_nano: int
    unfinished: int
    period_end: datetime

    def allows(self, wanted_nano: int) -> bool:
        """Whether a hold would fit now."""
        free = self.limit_nano - self.spent_nano - self.held_nano
        return wanted_nano <= free and self.unfinished < MAX_UNFINISHED


def refusal(level: BudgetLevel, wanted_nano: int) -> AppError:
    """Say why a hold was refused: never fits, does not fit now, or too many unfinished."""
    if level.unfinished >= MAX_UNFINISHED:
        return QueueFull(
            f"{level.unfinished:,} executions are unfinished; wait until some end, or cancel some.",
            headers={"Retry-After": "60"},
        )
    left = level.limit_nano - level.spent_nano
    figures: dict[str, Any] = {
        "limitUsd": usd(level.limit_nano),
        "spentUsd": usd(level.spent_nano),
        "heldUsd": usd(level.held_nano),
        "neededUsd": usd(wanted_nano),
        "resetsAt": rfc3339(level.period_end),
    }
    if wanted_nano > left:
        return BudgetExceeded(
            f"This needs up to {format_usd(wanted_nano)} and the budget has {format_usd(max(0, left))} left "
            f"until {rfc3339(level.period_end)}. Make the request smaller, or ask the operator for a larger "
            "budget.",
            shortfallUsd=usd(wanted_nano - left),
            **figures,
        )
    return BudgetInUse(
        f"This needs up to {format_usd(wanted_nano)}; {format_usd(level.held_nano)} of the budget is held by "
        "your own unfinished work. Try again when some of it has ended.",
        shortfallUsd=usd(wanted_nano + level.held_nano - left),
        **figures,
    )
