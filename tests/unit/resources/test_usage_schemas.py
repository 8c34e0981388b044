"""Periods, groups and places of reports; ids and places of ledger entries."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aifactory.kernel.errors import Invalid
from aifactory.kernel.ids import new_id, text_id
from aifactory.kernel.moments import read_moment
from aifactory.resources.ledger import ACCOUNTS, Account, EntryKind, entry_id, place_of_entry
from aifactory.resources.ledger_schemas import read_kinds
from aifactory.resources.usage_schemas import Group, cursor_of, read_cursor, read_days, read_groups

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
NUMBERS = st.integers(0, 2**62 - 1)


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [
        (None, None, ("2026-11-01", "2026-11-23")),
        ("2026-11-05", None, ("2026-11-05", "2026-11-23")),
        (None, "2026-03-01", ("2026-02-01", "2026-03-01")),
        (None, "2026-03-01T00:00:01Z", ("2026-03-01", "2026-03-02")),
        ("2026-11-05T23:59:59.5-01:00", "2026-11-07T00:30:00 01:00", ("2026-11-06", "2026-11-07")),
        ("2025-11-01", "2026-11-02", ("2025-11-01", "2026-11-02")),
    ],
)
def test_a_period_is_the_whole_days_that_it_touches(
    since: str | None, until: str | None, days: tuple[str, str]
) -> None:
    found = read_days(since, until, NOW)
    assert (found.since.isoformat(), found.until.isoformat()) == days


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2026-11-05", "2026-11-05"),
        ("2026-11-06", "2026-11-05"),
        ("2025-11-01", "2026-11-03"),
        ("2027-01-01", None),
        ("0001-01-01", None),
        (None, "0001-01-01"),
        (None, "9999-12-31T23:59:59Z"),
        ("yesterday", None),
        ("2026-02-30", None),
        ("20261101", None),
        ("2026-W45-1", None),
        ("2026-11-01T10:00", None),
        ("2026-11-01\n", None),
        ("٢٠٢٦-11-01", None),
    ],
)
def test_what_is_no_period_is_refused(since: str | None, until: str | None) -> None:
    with pytest.raises(Invalid):
        read_days(since, until, NOW)


def test_a_day_is_its_first_moment_in_utc() -> None:
    assert read_moment("from", "2026-11-01") == datetime(2026, 11, 1, tzinfo=UTC)
    assert read_moment("from", "2026-11-01t12:00z") == datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_groups_are_named_each_once_and_no_others() -> None:
    assert read_groups("model,day,model") == (Group.MODEL, Group.DAY)
    for text in ("", "day,", "hour", "day;model", "DAY"):
        with pytest.raises(Invalid):
            read_groups(text)


def test_a_cursor_goes_on_after_its_row_and_nothing_else_is_a_cursor() -> None:
    groups = (Group.DAY, Group.CLIENT, Group.MODEL)
    row = {"day": date(2026, 11, 1), "client_id": new_id(), "model": 'a "b" ü'}
    cursor = cursor_of(row, groups)
    assert read_cursor(cursor, groups) == tuple(row.values())
    assert read_cursor(None, groups) is None
    for text in (cursor[:-3], "", "x", "ü", "W10", cursor_of({"model": "a\0b"}, (Group.MODEL,))):
        with pytest.raises(Invalid):
            read_cursor(text, (Group.MODEL,))
    with pytest.raises(Invalid):
        read_cursor(cursor, (Group.DAY, Group.CLIENT))


@given(st.tuples(TIMES, NUMBERS), st.tuples(TIMES, NUMBERS))
def test_ids_of_entries_are_ordered_as_time_and_number_are(
    one: tuple[datetime, int], other: tuple[datetime, int]
) -> None:
    ids = entry_id(*one), entry_id(*other)
    assert ids[0].version == 7
    assert ids[0].variant == "specified in RFC 4122"
    assert place_of_entry(ids[0]) == one
    assert (one < other) == (ids[0] < ids[1]) == (text_id("led", ids[0]) < text_id("led", ids[1]))


@given(st.uuids())
def test_no_other_id_is_taken_for_a_place(other: UUID) -> None:
    try:
        found = place_of_entry(other)
    except Invalid:
        return
    assert entry_id(*found) == other


def test_an_account_names_the_kinds_that_move_money_to_or_from_it() -> None:
    assert read_kinds(None, None) is None
    assert read_kinds("spend", None) == (EntryKind.SPEND,)
    assert read_kinds("hold", "spent") == ()
    assert read_kinds(None, "unreconciled") == (EntryKind.UNRECONCILED, EntryKind.RECONCILED)
    for account in Account:
        assert set(read_kinds(None, account) or ()) == {
            kind for kind in EntryKind if account in ACCOUNTS[kind]
        }
    for kind, account in (("x", None), (None, "x")):
        with pytest.raises(Invalid):
            read_kinds(kind, account)


def test_a_time_before_the_first_day_is_no_time() -> None:
    with pytest.raises(Invalid):
        read_moment("from", "0001-01-01T00:00:00+23:59")
    assert read_moment("to", "9999-12-31T23:59:59Z") == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
