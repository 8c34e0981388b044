"""What a report of usage looks like: its period, its groups, its rows, and the same as CSV. Pure."""

import base64
import binascii
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.csv_lines import csv_line
from aifactory.kernel.errors import invalid
from aifactory.kernel.ids import text_id
from aifactory.kernel.moments import read_moment
from aifactory.kernel.money import usd
from aifactory.kernel.page import bad_cursor
from aifactory.resources.schemas import View

LONGEST_DAYS = 366
ROWS_PER_PAGE = 1000
_DAY = timedelta(days=1)


class Group(StrEnum):
    """What usage can be grouped by."""

    DAY = "day"
    MODEL = "model"
    TEMPLATE = "template"
    PROVIDER = "provider"
    CLIENT = "client"


class Days(msgspec.Struct, frozen=True, kw_only=True):
    """Whole days in UTC, ``until`` not included."""

    since: date
    until: date

    def each(self) -> Iterator[date]:
        """Give the days, one after another."""
        return (self.since + n * _DAY for n in range((self.until - self.since).days))


class UsageSums(View, frozen=True, kw_only=True):
    """Calls, metered units and money; ``costUsd`` is the client's, ``operatorUsd`` (to an admin) ours.

    ``cachedInputUnits`` are part of ``inputUnits``. ``operatorUsd`` is overrun, waste and calls of unknown
    cost; it is below zero where more of these became known than were added.
    """

    calls: int
    failed_calls: int
    input_units: int
    cached_input_units: int
    output_units: int
    cost_usd: Decimal
    operator_usd: Decimal | msgspec.UnsetType = msgspec.UNSET


class UsageRow(UsageSums, frozen=True, kw_only=True):
    """One group; it has those of the first five members that were asked for."""

    day: date | msgspec.UnsetType = msgspec.UNSET
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    template: str | msgspec.UnsetType = msgspec.UNSET
    provider: str | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType = msgspec.UNSET


class UsageReport(View, frozen=True, kw_only=True):
    """Usage of whole days in UTC, ``to`` not included, ordered by its groups; ``totals`` are of all pages."""

    client_id: str
    since: datetime = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    group_by: list[Group]
    data: list[UsageRow]
    totals: UsageSums
    has_more: bool
    next_cursor: str | None


def read_groups(text: str) -> tuple[Group, ...]:
    """Return the groups that a list like ``day,model`` names, each once. Raises Invalid."""
    names = list(dict.fromkeys(text.split(",")))
    if not set(names) <= set(Group):
        raise invalid("/groupBy", "unknown_group", f"groupBy takes some of {', '.join(Group)}.")
    return tuple(map(Group, names))


def read_days(since: str | None, until: str | None, now: datetime) -> Days:
    """Return the days that a period touches: by default those of this month. Raises Invalid."""
    first, end = read_moment("from", since), read_moment("to", until)
    try:
        last = (end - timedelta(microseconds=1) if end else now).astimezone(UTC).date()
        begin = first.date() if first else last.replace(day=1)
        days = Days(since=begin, until=last + _DAY)
    except OverflowError as error:
        raise invalid("/to", "no_time", "There is no such day.") from error
    if not 0 < (days.until - days.since).days <= LONGEST_DAYS:
        message = f"to must be after from, by at most {LONGEST_DAYS} days."
        raise invalid("/to", "bad_period", message)
    return days


def moment_of(day: date) -> datetime:
    """Return the first moment of a day in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def sums_of(row: Any, *, is_operator: bool) -> dict[str, Any]:
    """Return the sums of a row as members of what leaves."""
    sums = {
        "calls": row["calls"],
        "failed_calls": row["failed_calls"],
        "input_units": row["input_units"],
        "cached_input_units": row["cached_input_units"],
        "output_units": row["output_units"],
        "cost_usd": usd(row["cost_nano"]),
    }
    return sums | {"operator_usd": usd(row["operator_nano"])} if is_operator else sums


def keys_of(row: Any, groups: Iterable[Group]) -> dict[str, Any]:
    """Return the groups of a row as members of what leaves."""
    keys: dict[str, Any] = {}
    for group in groups:
        if group is Group.CLIENT:
            keys["client_id"] = text_id("client", row["client_id"])
        else:
            keys[group.value] = row[group.value]
    return keys


def csv_head(groups: Iterable[Group], *, is_operator: bool) -> bytes:
    """Return the first line of the report as CSV."""
    keys = ["clientId" if group is Group.CLIENT else group.value for group in groups]
    sums = ["calls", "failedCalls", "inputUnits", "cachedInputUnits", "outputUnits", "costUsd"]
    return csv_line([*keys, *sums, *(["operatorUsd"] if is_operator else [])])


def csv_row(row: Any, groups: tuple[Group, ...], *, is_operator: bool) -> bytes:
    """Return a row of the report as CSV."""
    return csv_line([*keys_of(row, groups).values(), *sums_of(row, is_operator=is_operator).values()])


Place = tuple[date | UUID | str, ...]  #: the groups of a row, after which a page begins


def place_of(row: Any, groups: Iterable[Group]) -> Place:
    """Return the place of a row."""
    return tuple(row["client_id" if group is Group.CLIENT else group.value] for group in groups)


_SUMS = (
    "calls", "failed_calls", "input_units", "cached_input_units", "output_units", "cost_nano",
    "operator_nano",
)  # fmt: skip


def add_up(whole: dict[Place, dict[str, Any]], rows: Iterable[Any], groups: tuple[Group, ...]) -> None:
    """Add a day's rows to those of the days before."""
    for row in rows:
        known = whole.setdefault(place_of(row, groups), dict(row) | dict.fromkeys(_SUMS, 0))
        for name in _SUMS:
            known[name] += row[name]


def cursor_of(row: Any, groups: Iterable[Group]) -> str:
    """Return what names a row as the last of its page."""
    texts = [str(one) for one in place_of(row, groups)]
    return base64.urlsafe_b64encode(msgspec.json.encode(texts)).rstrip(b"=").decode()


def read_cursor(text: str | None, groups: tuple[Group, ...]) -> Place | None:
    """Return the groups that a cursor names. Raises Invalid."""
    if text is None:
        return None
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        texts = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=list[str])
        return tuple(_place(group, one) for group, one in zip(groups, texts, strict=True))
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise bad_cursor() from error


def _place(group: Group, text: str) -> date | UUID | str:
    if group is Group.DAY:
        return date.fromisoformat(text)
    if group is Group.CLIENT:
        return UUID(text)
    if "\0" in text:
        raise ValueError("no text of the database")
    return text
