"""The check of a credential and the count of its API requests, in one statement outside any transaction.

``{found}`` names who is calling: the caller's own columns, and ``holder`` (whose requests are counted),
``per_minute``, ``usable`` (the credential is good: a bad one counts against nobody) and ``now``. The row of
a holder is locked for that one statement. A refusal writes nothing, and takes no lock unless it lost a race.

The table is not logged: after a crash of the database everyone begins with a full minute. A moment that
lies too far ahead means that the clock was put back, and counts as none.
"""

from typing import Any

import asyncpg

from aifactory.kernel.allowance import Allowance, allowance

Raw = asyncpg.Connection
Counted = tuple[Any, Allowance]  #: a record, and what is left: to be believed only of a usable credential

# A moment further ahead than any count could be: a minute, and what a statement may wait for the row.
_COUNTING = """
WITH found AS MATERIALIZED ({found}), room AS MATERIALIZED (
    SELECT found.now AS asked_at, pause,
           CASE WHEN rate.clear_at > found.now + interval '2 minutes' THEN found.now
                ELSE greatest(rate.clear_at, found.now) END + pause AS clear_at
    FROM found CROSS JOIN LATERAL (
        SELECT interval '1 microsecond' * (60000000 / found.per_minute) AS pause) AS price
    LEFT JOIN request_rates AS rate USING (holder)
), taken AS (
    INSERT INTO request_rates AS rate (holder, asked_at, clear_at)
    SELECT holder, asked_at, asked_at + pause FROM found CROSS JOIN room
    WHERE found.usable AND room.clear_at <= room.asked_at + interval '1 minute'
    ON CONFLICT (holder) DO UPDATE SET asked_at = EXCLUDED.asked_at, clear_at = {next}
    WHERE {next} <= EXCLUDED.asked_at + interval '1 minute'
    RETURNING rate.clear_at
)
SELECT found.*, taken.clear_at AS taken_until, room.clear_at AS wanted_until
FROM found CROSS JOIN room LEFT JOIN taken ON true
"""
_NEXT = """
    CASE WHEN rate.clear_at > EXCLUDED.asked_at + interval '2 minutes' THEN EXCLUDED.asked_at
         ELSE greatest(rate.clear_at, EXCLUDED.asked_at) END + (EXCLUDED.clear_at - EXCLUDED.asked_at)
"""


def counting(found: str) -> str:
    """Return the statement that looks a credential up by ``found`` and counts a request of its holder."""
    return _COUNTING.replace("{found}", found).replace("{next}", _NEXT.strip())


async def fetch_counted(raw: "Raw[Any]", statement: str, *arguments: Any) -> Counted | None:
    """Run a statement made by ``counting``; None: there is no such credential."""
    row = await raw.fetchrow(statement, *arguments)
    if row is None:
        return None
    taken = row["taken_until"]
    left = allowance(
        per_minute=row["per_minute"],
        now=row["now"],
        clear_at=row["wanted_until"] if taken is None else taken,
        admitted=taken is not None,
    )
    return row, left
