"""Quotas: how many units of a pool a client may take in a day or a month of its own time zone. Pure."""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from aifactory.kernel.ids import ClientId
from aifactory.resources.budgets import Period, day_of, month_of

CLOCK_SLACK = timedelta(seconds=5)


class QuotaPeriod(StrEnum):
    """How long a quota is for."""

    DAY = "day"
    MONTH = "month"


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """A client's quota of a pool in one period; a new one counts from when it was set.

    A start counts with its estimate, corrected when it ends; a lost run's estimate stays counted.
    """

    client_id: ClientId
    pool: str
    period: QuotaPeriod
    units_limit: int
    units_used: int
    period_start: datetime
    period_end: datetime

    def lacks(self, units: int, until: datetime) -> bool:
        """Whether a start of so many units would exceed it up to ``until``; what takes nothing never does."""
        return units > 0 and self.units_used + units > self.units_limit and self.period_end > until


def period_around(now: datetime, period: QuotaPeriod, time_zone: str) -> Period:
    """Return the day or month around ``now`` in a time zone."""
    return day_of(now, time_zone) if period is QuotaPeriod.DAY else month_of(now, time_zone)


def rolled(quota: Quota, time_zone: str, now: datetime) -> Quota:
    """Return a quota in the period that runs now: unused in a new one, which is of the present time zone.

    A new one never begins before the end of the old, whatever the time zone is now: what was counted there
    must not be corrected here. One that begins a moment from now began in a transaction of a moment later: it
    runs already. One that begins later than that is from before the clock was put back.
    """
    if quota.period_start - CLOCK_SLACK <= now < quota.period_end:
        return quota
    period = period_around(now, quota.period, time_zone)
    start = max(period.start, quota.period_end) if quota.period_end <= now else period.start
    return msgspec.structs.replace(quota, units_used=0, period_start=start, period_end=period.end)
