"""What a client is doing now, and what it used: read from the roll-ups of days, never from history."""

from datetime import date
from typing import Any

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId
from aifactory.resources.usage_schemas import Days, Group, Place

_SUMS = """
    coalesce(sum(calls), 0)::bigint AS calls, coalesce(sum(failed_calls), 0)::bigint AS failed_calls,
    coalesce(sum(input_units), 0)::bigint AS input_units,
    coalesce(sum(cached_input_units), 0)::bigint AS cached_input_units,
    coalesce(sum(output_units), 0)::bigint AS output_units, coalesce(sum(cost_nano), 0)::bigint AS cost_nano,
    coalesce(sum(operator_nano), 0)::bigint AS operator_nano"""
_COLUMNS = {
    Group.DAY: ("day", "date"),
    Group.MODEL: ("model", "text"),
    Group.TEMPLATE: ("template", "text"),
    Group.PROVIDER: ("provider", "text"),
    Group.CLIENT: ("client_id", "uuid"),
}
_WANTED = "day >= $1 AND day < $2 AND ($3::uuid IS NULL OR client_id = $3)"


async def count_running_jobs(tx: Tx, client_id: ClientId) -> int:
    """Count a client's jobs that run now; the fleet's slots bound how many there can be."""
    return await tx.raw.fetchval(  # type: ignore[no-any-return]
        "SELECT count(*) FROM running_jobs WHERE client_id = $1", client_id
    )


async def sum_usage(tx: Tx, client_id: ClientId | None, days: Days) -> Any:
    """Return the sums of one client, or of all."""
    return await tx.raw.fetchrow(
        f"SELECT {_SUMS} FROM daily_usage WHERE {_WANTED}", days.since, days.until, client_id
    )


async def group_day(tx: Tx, client_id: ClientId | None, day: date, groups: tuple[Group, ...]) -> list[Any]:
    """Return the sums of one day by group, of one client, or of all, in the order of the groups."""
    names = ", ".join(_COLUMNS[group][0] for group in (Group.DAY, *groups))
    return await tx.raw.fetch(
        f"""
        SELECT {names}, {_SUMS} FROM daily_usage WHERE day = $1 AND ($2::uuid IS NULL OR client_id = $2)
        GROUP BY {names} ORDER BY {names}
        """,
        day,
        client_id,
    )


async def group_usage(
    tx: Tx,
    client_id: ClientId | None,
    days: Days,
    groups: tuple[Group, ...],
    *,
    after: Place | None,
    limit: int,
) -> list[Any]:
    """Return the sums by group of one client, or of all, in the order of the groups, after a place."""
    names = ", ".join(_COLUMNS[group][0] for group in groups)
    marks = ", ".join(f"${number}::{_COLUMNS[group][1]}" for number, group in enumerate(groups, 5))
    later = f"AND ({names}) > ({marks})" if after is not None else ""
    return await tx.raw.fetch(
        f"""
        SELECT {names}, {_SUMS} FROM daily_usage WHERE {_WANTED} {later}
        GROUP BY {names} ORDER BY {names} LIMIT $4
        """,
        days.since,
        days.until,
        client_id,
        limit,
        *(after or ()),
    )
