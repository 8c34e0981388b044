"""The months of the history: which parts are to be there, and which are not wanted any more. Pure."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

PARTED = ("execution_events", "performance_metrics")  #: the tables in monthly parts
MONTHS_AHEAD = 2
METRICS_KEPT = timedelta(days=90)
_NAMED = re.compile(r"_(\d{4})_(\d{2})")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One month (UTC) of a table."""

    table: str
    first: datetime

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return month_after(self.first)

    @property
    def name(self) -> str:
        """The part's own name as a table."""
        return f"{self.table}_{self.first:%Y_%m}"

    @classmethod
    def named(cls, table: str, name: str) -> "Part | None":
        """Return the part that a table's partition is, by its name; None for one that is no month."""
        found = _NAMED.fullmatch(name.removeprefix(table))
        if found is None:
            return None
        return cls(table=table, first=datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC))


def month_after(moment: datetime) -> datetime:
    """Return the first moment of the month after the one of a moment."""
    month = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (month + timedelta(days=32)).replace(day=1)


def missing(parts: Collection[Part], now: datetime) -> list[Part]:
    """Return the parts of the coming months that are not there.

    The present month is never made: its first rows may lie in the part for everything else already.
    """
    wanted, first = [], now
    for _ in range(MONTHS_AHEAD):
        first = month_after(first)
        wanted += [Part(table=table, first=first) for table in PARTED]
    return [part for part in wanted if part not in parts]


def is_old(part: Part, now: datetime) -> bool:
    """Tell whether a part has been over for as long as figures of the work itself are kept."""
    return part.end <= now - METRICS_KEPT


def unwanted(parts: Sequence[Part], now: datetime, oldest_kept: datetime | None) -> list[Part]:
    """Return the parts to be dropped: old, and no execution that has its content is told of in them.

    ``oldest_kept``: when the oldest such execution began; None: there is none.
    """
    return [
        part
        for part in parts
        if is_old(part, now)
        and (part.table != "execution_events" or oldest_kept is None or part.end <= oldest_kept)
    ]
