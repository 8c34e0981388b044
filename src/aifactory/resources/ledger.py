"""The ledger's accounts and entries: every entry moves one amount from one account to another. Pure."""

from enum import StrEnum
from uuid import UUID

import msgspec

from aifactory.kernel.ids import BudgetId, ClientId, ExecutionId
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
