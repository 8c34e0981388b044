"""What entries of the ledger look like, as JSON and as CSV. Pure."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from aifactory.kernel.csv_lines import csv_line
from aifactory.kernel.errors import invalid
from aifactory.kernel.ids import ClientId, ExecutionId, text_id
from aifactory.kernel.money import usd
from aifactory.resources.cost_schemas import PriceUsed, price_used
from aifactory.resources.interface import Usage
from aifactory.resources.ledger import ACCOUNTS, Account, EntryKind, entry_id
from aifactory.resources.schemas import View


class LedgerFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are wanted; None is any; ``since`` is included, ``until`` is not."""

    client_id: ClientId | None = None
    execution_id: ExecutionId | None = None
    kinds: tuple[EntryKind, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None


class LedgerEntry(View, frozen=True, kw_only=True):
    """An amount that moved from one account to another, and what for: a job, or a whole execution.

    Where a call was paid or given up, with its place, its metered units and the price used.
    """

    id: str
    at: datetime
    client_id: str
    execution_id: str
    job_id: str | None
    attempt: int
    kind: EntryKind
    from_account: Account
    to_account: Account
    amount_usd: Decimal
    provider: str | None
    model: str | None
    pool: str | None
    usage: Usage | None
    price: PriceUsed | None


CSV_HEAD = csv_line(
    (
        *("id", "at", "clientId", "executionId", "jobId", "attempt", "kind", "fromAccount", "toAccount"),
        *("amountUsd", "provider", "model", "pool", "inputUnits", "cachedInputUnits", "outputUnits"),
        *("inputUsdPerMillion", "cachedUsdPerMillion", "outputUsdPerMillion", "priceSource", "priceAt"),
    )
)


def read_kinds(kind: str | None, account: str | None) -> tuple[EntryKind, ...] | None:
    """Return the kinds of entry that are of a kind and touch an account; None: any. Raises Invalid."""
    if kind is not None and kind not in set(EntryKind):
        raise invalid("/kind", "unknown_kind", f"kind is one of {', '.join(EntryKind)}.")
    if account is not None and account not in set(Account):
        raise invalid("/account", "unknown_account", f"account is one of {', '.join(Account)}.")
    if kind is None and account is None:
        return None
    return tuple(one for one in EntryKind if kind in (None, one) and account in (None, *ACCOUNTS[one]))


def entry_of(row: Any) -> LedgerEntry:
    """Return an entry's row as it leaves."""
    is_of_execution = row["subject_id"] == row["execution_id"]
    return LedgerEntry(
        id=text_id("led", entry_id(row["at"], row["id"])),
        at=row["at"],
        client_id=text_id("client", row["client_id"]),
        execution_id=text_id("exec", row["execution_id"]),
        job_id=None if is_of_execution else text_id("job", row["subject_id"]),
        attempt=row["attempt"],
        kind=EntryKind(row["kind"]),
        from_account=Account(row["from_account"]),
        to_account=Account(row["to_account"]),
        amount_usd=usd(row["amount_nano"]),
        provider=row["provider"],
        model=row["model"],
        pool=row["pool"],
        usage=msgspec.convert(row["usage"], Usage | None),
        price=price_used(row["price"]),
    )


def csv_of(row: Any) -> bytes:
    """Return an entry's row as a line of CSV."""
    entry = entry_of(row)
    *plain, usage, price = msgspec.structs.astuple(entry)
    used = (None,) * 3 if usage is None else msgspec.structs.astuple(usage)
    return csv_line((*plain, *used, *((None,) * 5 if price is None else msgspec.structs.astuple(price))))
