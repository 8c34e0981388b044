"""Budgets: the limits in force, holds, what is left. The one place that knows which limit is in force."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import BudgetId, ClientId, new_id
from aifactory.resources.budgets import (
    MAX_UNFINISHED,
    BudgetLevel,
    BudgetScope,
    Deadlines,
    Period,
    Scope,
)
from aifactory.resources.records import BudgetBook

_NEARLY_FULL = MAX_UNFINISHED * 9 // 10

# The limit of a budget (or a scope) ``b``; null: none. A client may spend nothing if its tier has no number.
_LIMIT = """
    CASE b.scope WHEN 'client' THEN coalesce(c.monthly_budget_nano, t.monthly_budget_nano, 0)
    ELSE l.limit_nano END"""
_LIMITED = """
    JOIN client_resource_limits c USING (client_id)
    JOIN tiers t USING (tier)
    LEFT JOIN budget_limits l USING (client_id, scope, scope_key)"""

# The scopes that are asked for, of one client each; a key that was rotated counts on its first one's budget.
_ASKED = """
    asked AS (
        SELECT a.client_id, a.scope, coalesce(h.counts_on, a.scope_key) AS scope_key, a.first_day,
               a.period_start, a.period_end
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::timestamptz[], $6::timestamptz[])
            AS a (client_id, scope, scope_key, first_day, period_start, period_end)
        LEFT JOIN budget_heirs h ON a.scope = 'key' AND h.scope_key = a.scope_key
    )"""
_RULED = f"""
    {_ASKED}, ruled AS (
        SELECT b.*, {_LIMIT} AS limit_nano FROM asked b {_LIMITED}
        WHERE b.scope = 'client' OR l.client_id IS NOT NULL
    )"""

_FIND = f"""
    WITH {_RULED}
    SELECT b.id, coalesce(b.spent_nano + b.held_nano + $7 <= r.limit_nano, false) AS fits
    FROM ruled r LEFT JOIN budgets b USING (client_id, scope, scope_key, first_day)
    """
_LOCK = """
    SELECT FROM budgets
    WHERE client_id = $2 AND (id = ANY($1) OR (scope = 'client' AND unfinished > 0))
    ORDER BY id FOR NO KEY UPDATE
    """

# A statement after the one that waited for the locks, so that it sees what was committed meanwhile. In one
# statement, rows that changed while it waited are judged again one by one, and by some plans left out.
_HOLD = f"""
    WITH {_RULED}, verdict AS (
        SELECT bool_and(
            coalesce(b.id = ANY($9) AND b.spent_nano + b.held_nano + $7 <= r.limit_nano, false)) AS fits
        FROM ruled r LEFT JOIN budgets b USING (client_id, scope, scope_key, first_day)
    )
    UPDATE budgets b SET held_nano = b.held_nano + $7, unfinished = b.unfinished + $11
    WHERE b.id IN (SELECT m.id FROM ruled JOIN budgets m USING (client_id, scope, scope_key, first_day))
      AND (SELECT fits FROM verdict)
      AND (SELECT sum(unfinished) FROM budgets WHERE client_id = $10 AND scope = 'client') + $11 <= $8
    RETURNING b.id
    """


# The usual case, at half the cost: no limit beside the client's own, and not nearly too many unfinished.
_HOLD_ALONE = """
    UPDATE budgets b SET held_nano = b.held_nano + n.amount_nano, unfinished = b.unfinished + n.count
    FROM unnest($1::uuid[], $2::date[], $3::bigint[], $4::integer[])
            AS n (client_id, first_day, amount_nano, count)
        JOIN client_resource_limits c ON c.client_id = ANY(ARRAY[n.client_id]) JOIN tiers t USING (tier)
    WHERE b.client_id = ANY(ARRAY[n.client_id]) AND b.scope = 'client' AND b.scope_key = ''
      AND b.first_day = n.first_day
      AND b.spent_nano + b.held_nano + n.amount_nano
          <= coalesce(c.monthly_budget_nano, t.monthly_budget_nano, 0)
      AND b.unfinished + n.count <= $5 - coalesce((
          SELECT sum(o.unfinished) FROM budgets o WHERE o.client_id = n.client_id AND o.scope = 'client'
            AND o.scope_key = '' AND o.first_day IS DISTINCT FROM n.first_day), 0)
      AND NOT EXISTS (SELECT FROM budget_limits l WHERE l.client_id = n.client_id)
    RETURNING b.client_id, b.id, b.held_nano, b.spent_nano,
        coalesce(c.monthly_budget_nano, t.monthly_budget_nano, 0) AS limit_nano
    """
_LOCK_FREE = """
    SELECT client_id, first_day FROM budgets
    WHERE client_id = ANY($1) AND scope = 'client' AND scope_key = '' AND first_day = ANY($2)
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    """


class MonthHold(msgspec.Struct, frozen=True, kw_only=True):
    """What so many new executions of a client may cost together; ``first_day`` is that of its month."""

    client_id: ClientId
    first_day: date
    amount_nano: int
    count: int


async def hold_alone(tx: Tx, wanted: Sequence[MonthHold]) -> dict[ClientId, BudgetBook]:
    """Hold on the budgets of clients that have no other limit and are far from having too much unfinished.

    A client's sum fits or is left out. Of several, those are left out too whose budget somebody is at: nobody
    waits for another client's.
    """
    if len(wanted) > 1:
        keys = [one.client_id for one in wanted], [one.first_day for one in wanted]
        free = {(row["client_id"], row["first_day"]) for row in await tx.raw.fetch(_LOCK_FREE, *keys)}
        wanted = [one for one in wanted if (one.client_id, one.first_day) in free]
    if not wanted:
        return {}
    columns = [list(column) for column in zip(*map(msgspec.structs.astuple, wanted), strict=True)]
    rows = await tx.raw.fetch(_HOLD_ALONE, *columns, _NEARLY_FULL)
    return {
        row["client_id"]: BudgetBook(
            id=row["id"],
            limit_nano=row["limit_nano"],
            held_nano=row["held_nano"],
            spent_nano=row["spent_nano"],
        )
        for row in rows
    }


async def hold(
    tx: Tx, client_id: ClientId, scopes: Sequence[BudgetScope], amount_nano: int, count: int = 1
) -> list[BudgetBook] | None:
    """Hold what so many executions may cost on every budget that applies, if it fits on all; None if not, or
    one is not open yet.

    Locks them in the order of their ids, with those of other months that count unfinished executions. What
    does not fit at first sight locks nothing.
    """
    month = next(one.period.first_day for one in scopes if one.scope is Scope.CLIENT)
    wanted = MonthHold(client_id=client_id, first_day=month, amount_nano=amount_nano, count=count)
    alone = await hold_alone(tx, [wanted])
    if alone:
        return list(alone.values())
    asked = _columns(client_id, scopes)
    found = await tx.raw.fetch(_FIND, *asked, amount_nano)
    if not all(row["fits"] for row in found):
        return None
    own = [row["id"] for row in found]
    await tx.raw.execute(_LOCK, own, client_id)
    held = await tx.raw.fetch(_HOLD, *asked, amount_nano, MAX_UNFINISHED, own, client_id, count)
    return await lock_budgets(tx, [row["id"] for row in held]) or None


async def open_budgets(tx: Tx, client_id: ClientId, scopes: Sequence[BudgetScope]) -> None:
    """Make sure that the rows of the scopes with a limit exist. No budget may be locked yet."""
    count = len(scopes)
    await tx.raw.execute(
        f"""
        WITH {_RULED}
        INSERT INTO budgets (id, client_id, scope, scope_key, first_day, period_start, period_end)
        SELECT n.id, r.client_id, r.scope, r.scope_key, r.first_day, r.period_start, r.period_end
        FROM (SELECT *, row_number() OVER (ORDER BY scope, scope_key) AS number FROM ruled) r
        JOIN unnest($7::uuid[]) WITH ORDINALITY AS n (id, number) USING (number)
        ORDER BY r.scope, r.scope_key
        ON CONFLICT DO NOTHING
        """,
        *_columns(client_id, scopes),
        [new_id() for _ in range(count)],
    )


async def levels(tx: Tx, client_id: ClientId, scopes: Sequence[BudgetScope]) -> list[BudgetLevel]:
    """Return those of the scopes that have a limit as they stand, held on or not, the client's first."""
    return (await levels_of_clients(tx, {client_id: scopes})).get(client_id, [])


async def levels_of_clients(
    tx: Tx, scopes: Mapping[ClientId, Sequence[BudgetScope]]
) -> dict[ClientId, list[BudgetLevel]]:
    """Return what ``levels`` does, for several clients at once."""
    every = [(client_id, scope) for client_id, own in scopes.items() for scope in own]
    rows = await tx.raw.fetch(
        f"""
        WITH {_RULED}
        SELECT r.client_id, r.scope, r.scope_key, b.id AS budget_id, r.limit_nano,
               r.period_start, r.period_end,
               coalesce(b.held_nano, 0) AS held_nano, coalesce(b.spent_nano, 0) AS spent_nano,
               (SELECT coalesce(sum(every.unfinished), 0)::bigint FROM budgets every
                WHERE every.client_id = r.client_id AND every.scope = 'client') AS unfinished
        FROM ruled r LEFT JOIN budgets b USING (client_id, scope, scope_key, first_day)
        ORDER BY r.client_id, array_position(ARRAY['client', 'day', 'key', 'template'], r.scope), r.scope_key
        """,
        *_rows(every),
    )
    found: dict[ClientId, list[BudgetLevel]] = {}
    for row in rows:
        values = dict(row)
        found.setdefault(values.pop("client_id"), []).append(msgspec.convert(values, BudgetLevel))
    return found


async def budget_now(tx: Tx, client_id: ClientId, period: Period) -> BudgetLevel | None:
    """Return a client's own budget of a month, also one that nothing was held on; None: unknown client."""
    found = await levels(tx, client_id, [BudgetScope(scope=Scope.CLIENT, period=period)])
    return found[0] if found else None


def _columns(client_id: ClientId, scopes: Sequence[BudgetScope]) -> tuple[list[Any], ...]:
    return _rows([(client_id, scope) for scope in scopes])


def _rows(scopes: list[tuple[ClientId, BudgetScope]]) -> tuple[list[Any], ...]:
    return (
        [client_id for client_id, _ in scopes],
        [one.scope.value for _, one in scopes],
        [one.scope_key for _, one in scopes],
        [one.period.first_day for _, one in scopes],
        [one.period.start for _, one in scopes],
        [one.period.end for _, one in scopes],
    )


async def lock_budgets(tx: Tx, budget_ids: list[BudgetId]) -> list[BudgetBook]:
    """Lock budgets in the order of their ids and return them with the limits in force; None: no limit."""
    rows = await tx.raw.fetch(
        f"""
        SELECT b.id, b.held_nano, b.spent_nano, {_LIMIT} AS limit_nano
        FROM budgets b {_LIMITED}
        WHERE b.id = ANY($1)
        ORDER BY b.id
        FOR NO KEY UPDATE OF b
        """,
        budget_ids,
    )
    return [BudgetBook(**dict(row)) for row in rows]


async def find_deadlines(
    tx: Tx, client_id: ClientId, budget_ids: list[BudgetId]
) -> dict[BudgetId | None, Deadlines]:
    """Return when the unfinished work on each budget ends at the latest, first and last; none: left out."""
    found: dict[BudgetId | None, Deadlines] = {}
    for budget_id in budget_ids:
        earliest, latest = [
            await tx.raw.fetchval(
                f"""
                SELECT deadline FROM executions
                WHERE client_id = $1 AND finished_at IS NULL AND $2 = ANY(budget_ids)
                ORDER BY deadline {order} LIMIT 1
                """,
                client_id,
                budget_id,
            )
            for order in ("ASC", "DESC")
        ]
        if earliest is not None and latest is not None:
            found[budget_id] = Deadlines(earliest=earliest, latest=latest)
    return found


# Limits that clients have beside their own.


class ScopeLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of one scope, nano-dollars a day or a month."""

    client_id: ClientId
    scope: Scope
    scope_key: str
    limit_nano: int


async def limits_of_clients(tx: Tx, client_ids: list[ClientId]) -> list[ScopeLimit]:
    """Return every limit that clients have beside their own, by client, scope and key."""
    rows = await tx.raw.fetch(
        """
        SELECT client_id, scope, scope_key, limit_nano FROM budget_limits WHERE client_id = ANY($1)
        ORDER BY client_id, scope, scope_key
        """,
        client_ids,
    )
    return [msgspec.convert(dict(row), ScopeLimit) for row in rows]


async def set_limits(tx: Tx, client_id: ClientId, limits: dict[tuple[Scope, str], int]) -> None:
    """Replace the limits that a client has beside its own; what was spent and held stays as it is."""
    scopes, keys = [scope.value for scope, _ in limits], [key for _, key in limits]
    await tx.raw.execute(
        """
        DELETE FROM budget_limits WHERE client_id = $1 AND (scope, scope_key) NOT IN (
            SELECT * FROM unnest($2::text[], $3::text[]))
        """,
        client_id,
        scopes,
        keys,
    )
    await tx.raw.execute(
        """
        INSERT INTO budget_limits (client_id, scope, scope_key, limit_nano)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[])
        ON CONFLICT (client_id, scope, scope_key) DO UPDATE SET limit_nano = EXCLUDED.limit_nano
        """,
        client_id,
        scopes,
        keys,
        list(limits.values()),
    )


async def first_keys(tx: Tx, keys: list[str]) -> dict[str, str]:
    """Return for each key on whose budget it counts: its own, or that of the key that it came from."""
    rows = await tx.raw.fetch("SELECT scope_key, counts_on FROM budget_heirs WHERE scope_key = ANY($1)", keys)
    return {key: key for key in keys} | {row["scope_key"]: row["counts_on"] for row in rows}


async def inherit_key(tx: Tx, *, old: str, new: str) -> None:
    """Let a new key count on the budget of the one that it replaces."""
    await tx.raw.execute(
        """
        INSERT INTO budget_heirs (scope_key, counts_on)
        VALUES ($2, coalesce((SELECT counts_on FROM budget_heirs WHERE scope_key = $1), $1))
        """,
        old,
        new,
    )


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A client whose budgets are shown: what says when its periods begin."""

    client_id: ClientId
    name: str
    time_zone: str


async def list_accounts(
    tx: Tx, *, client_id: ClientId | None, before: Any | None, limit: int
) -> list[Account]:
    """Return clients, newest first, at most ``limit``; all of them, or one."""
    rows = await tx.raw.fetch(
        """
        SELECT client_id, name, time_zone FROM client_resource_limits
        WHERE ($1::uuid IS NULL OR client_id = $1) AND ($2::uuid IS NULL OR client_id < $2)
        ORDER BY client_id DESC LIMIT $3
        """,
        client_id,
        before,
        limit,
    )
    return [Account(**dict(row)) for row in rows]
