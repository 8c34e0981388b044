"""The ledger beside the provider's own log: the same calls, the same nano-dollars."""

from collections.abc import Collection

import msgspec

from aifactory.kernel.db import Database
from aifactory.kernel.ids import text_id
from devprovider.calls import Call


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison found; ``differences`` in words, none when the books agree."""

    paid_calls: int
    paid_nano: int
    unpaid_served_calls: int
    refused_calls: int
    differences: tuple[str, ...]


class _Booked(msgspec.Struct, kw_only=True):
    """What the ledger says of one attempt."""

    paid_nano: int = 0
    spends: int = 0
    open_operator_entries: int = 0


async def compare(database: Database, calls: list[Call], lost: Collection[str] = frozenset()) -> Comparison:
    """Match every call that the provider logged with the ledger entries of its attempt, and the other way.

    ``lost`` names the attempts whose process died: whatever the provider did, the operator has one entry.
    """
    booked = await _booked(database)
    differences: list[str] = []
    paid = unpaid = refused = 0
    total = 0
    seen: set[str] = set()
    for call in calls:
        name = call.client_request_id
        if name in seen:
            differences.append(f"{name}: the provider saw it twice")
        seen.add(name)
        entry = booked.pop(name, _Booked())
        if name in lost:
            unpaid += 1
            if entry.spends or entry.open_operator_entries != 1:
                differences.append(f"{name}: lost with its process, and yet {entry}")
        elif not call.served:
            refused += 1
            if entry.paid_nano or entry.open_operator_entries:
                differences.append(f"{name}: refused, and yet {entry}")
        elif entry.spends:
            paid += 1
            total += entry.paid_nano
            if entry.paid_nano != call.cost_nano:
                differences.append(f"{name}: {entry.paid_nano} booked, {call.cost_nano} billed")
            if entry.open_operator_entries:
                differences.append(f"{name}: paid, and booked on the operator too")
        else:
            unpaid += 1
            if entry.open_operator_entries != 1:
                differences.append(f"{name}: served unpaid with {entry.open_operator_entries} entries")
            if call.usage_sent and call.fault == "":
                differences.append(f"{name}: its usage arrived and it was not paid")
    differences += [
        f"{name}: booked, and the provider has no such call" for name, one in booked.items() if one.spends
    ]
    return Comparison(
        paid_calls=paid,
        paid_nano=total,
        unpaid_served_calls=unpaid,
        refused_calls=refused,
        differences=tuple(differences),
    )


async def _booked(database: Database) -> dict[str, _Booked]:
    """Return the ledger's entries of model calls by attempt, named as the provider was told."""
    async with database.begin() as tx:
        rows = await tx.raw.fetch(
            """
            SELECT subject_id, attempt, kind, amount_nano FROM cost_tracking
            WHERE provider = 'simulated'
              AND kind IN ('spend', 'overrun', 'waste', 'unreconciled', 'reconciled')
            """
        )
    booked: dict[str, _Booked] = {}
    for row in rows:
        one = booked.setdefault(f"{text_id('job', row['subject_id'])}.{row['attempt']}", _Booked())
        if row["kind"] in ("spend", "overrun"):
            one.paid_nano += row["amount_nano"]
            one.spends += row["kind"] == "spend"
        else:
            one.open_operator_entries += -1 if row["kind"] == "reconciled" else 1
    return booked
