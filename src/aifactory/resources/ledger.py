"""The ledger's accounts and entries: every entry moves one amount from one account to another. Pure."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from aifactory.kernel.ids import BudgetId, ClientId, ExecutionId
from aifactory.kernel.page import bad_cursor
from aifactory.resources.interface import Hop, Usage
from aifactory.resources.pricing import Price


class Account(StrEnum):
    """The accounts of the ledger: a client's three, and the operator's."""

    AVAILABLE = "available"
    HELD = "held"
    SPENT = "spent"
    OPERATOR = "operator"
    OVERRUN = "overrun"
    WASTE = "waste"
    UNRECONCILED = "unreconciled"


class EntryKind(StrEnum):
    """Why money moved; fixes the two accounts."""

    HOLD = "hold"
    TOP_UP = "top_up"
    SPEND = "spend"
    RELEASE = "release"
    OVERRUN = "overrun"
    WASTE = "waste"
    UNRECONCILED = "unreconciled"
    RECONCILED = "reconciled"


ACCOUNTS: dict[EntryKind, tuple[Account, Account]] = {
    EntryKind.HOLD: (Account.AVAILABLE, Account.HELD),
    EntryKind.TOP_UP: (Account.AVAILABLE, Account.HELD),
    EntryKind.SPEND: (Account.HELD, Account.SPENT),
    EntryKind.RELEASE: (Account.HELD, Account.AVAILABLE),
    EntryKind.OVERRUN: (Account.OPERATOR, Account.OVERRUN),
    EntryKind.WASTE: (Account.OPERATOR, Account.WASTE),
    EntryKind.UNRECONCILED: (Account.OPERATOR, Account.UNRECONCILED),
    EntryKind.RECONCILED: (Account.UNRECONCILED, Account.OPERATOR),
}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One ledger entry; unique on (subject, attempt, kind). The subject is a job or an execution."""

    client_id: ClientId
    execution_id: ExecutionId
    subject_id: UUID
    attempt: int
    kind: EntryKind
    amount_nano: int
    budget_ids: tuple[BudgetId, ...]
    hop: Hop | None = None
    usage: Usage | None = None
    price: Price | None = None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_VERSION_7, _VARIANT = 7 << 76, 2 << 62


def entry_id(at: datetime, number: int) -> UUID:
    """Return an entry's public id: a UUIDv7 of its time and its number, so the order of ids is (at, number).

    Milliseconds are where the version says, microseconds and the number in what is free.
    """
    milliseconds, microseconds = divmod((at - _EPOCH) // _MICROSECOND, 1000)
    return UUID(int=milliseconds << 80 | _VERSION_7 | microseconds << 64 | _VARIANT | number)


def place_of_entry(public: UUID) -> tuple[datetime, int]:
    """Return the time and the number that ``entry_id`` was given. Raises Invalid for any other."""
    milliseconds, microseconds = public.int >> 80, public.int >> 64 & 0xFFF
    try:
        at = _EPOCH + timedelta(milliseconds=milliseconds, microseconds=microseconds)
    except OverflowError as error:
        raise bad_cursor() from error
    number = public.int & (1 << 62) - 1
    if entry_id(at, number) != public:
        raise bad_cursor()
    return at, number
