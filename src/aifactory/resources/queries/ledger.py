"""Read the ledger: a page, newest first; chunks, oldest first."""

from datetime import datetime
from typing import Any
from uuid import UUID

from aifactory.kernel.db import Tx
from aifactory.kernel.page import Page, PageRequest, page_of
from aifactory.resources.ledger import entry_id, place_of_entry
from aifactory.resources.ledger_schemas import LedgerFilter

_ENTRY = """
    id, at, client_id, execution_id, subject_id, attempt, kind, from_account, to_account, amount_nano,
    provider, model, pool, usage, price"""


async def list_entries(tx: Tx, wanted: LedgerFilter, page: PageRequest) -> Page[Any]:
    """Return a page of entries, newest first. Raises Invalid for a cursor that no page gave."""
    conditions, values = _conditions(wanted)
    if page.before is not None:
        values += place_of_entry(page.before)
        conditions.append(f"(at, id) < (${len(values) - 1}, ${len(values)})")
    rows = await tx.raw.fetch(
        f"""
        SELECT {_ENTRY} FROM cost_tracking {_where(conditions)}
        ORDER BY at DESC, id DESC LIMIT {page.limit + 1}
        """,
        *values,
    )
    return page_of(rows, [entry_id(row["at"], row["id"]) for row in rows], page)


async def next_entries(
    tx: Tx, wanted: LedgerFilter, after: tuple[datetime, int] | None, limit: int
) -> list[Any]:
    """Return the next entries, oldest first, after the time and number of the last one."""
    conditions, values = _conditions(wanted)
    if after is not None:
        values += after
        conditions.append(f"(at, id) > (${len(values) - 1}, ${len(values)})")
    return await tx.raw.fetch(
        f"SELECT {_ENTRY} FROM cost_tracking {_where(conditions)} ORDER BY at, id LIMIT {limit}", *values
    )


def _conditions(wanted: LedgerFilter) -> tuple[list[str], list[datetime | UUID | int]]:
    """Return what entries must satisfy. Kinds are literals: the index of the rare ones is a partial one."""
    conditions: list[str] = []
    values: list[datetime | UUID | int] = []
    for condition, value in (
        ("client_id =", wanted.client_id),
        ("execution_id =", wanted.execution_id),
        ("at >=", wanted.since),
        ("at <", wanted.until),
    ):
        if value is not None:
            values.append(value)
            conditions.append(f"{condition} ${len(values)}")
    if wanted.kinds is not None:
        names = ", ".join(f"'{kind}'" for kind in wanted.kinds)
        conditions.append(f"kind IN ({names})" if names else "false")
    return conditions, values


def _where(conditions: list[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""
