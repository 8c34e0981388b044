"""``aifactory audit``: rebuild every balance and counter from what it is made of, and print the differences."""

from typing import Any

import msgspec

from aifactory.kernel.db import Database


class Difference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A figure that does not equal what it is rebuilt from."""

    check: str
    object_id: str
    stored: int
    rebuilt: int


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was rebuilt: how many figures of each check, and the differences."""

    entries: int
    checks: dict[str, int]
    differences: list[Difference]


# Each statement returns (object_id, stored, rebuilt) for every figure that it rebuilds.
CHECKS: dict[str, str] = {
    "budget.held": """
        SELECT b.id, b.held_nano, coalesce(sum(CASE WHEN c.to_account = 'held' THEN c.amount_nano
            WHEN c.from_account = 'held' THEN -c.amount_nano END), 0)
        FROM budgets b LEFT JOIN cost_tracking c ON b.id = ANY(c.budget_ids)
            AND 'held' IN (c.from_account, c.to_account)
        GROUP BY b.id
        """,
    "budget.spent": """
        SELECT b.id, b.spent_nano, coalesce(sum(CASE WHEN c.to_account = 'spent' THEN c.amount_nano
            WHEN c.from_account = 'spent' THEN -c.amount_nano END), 0)
        FROM budgets b LEFT JOIN cost_tracking c ON b.id = ANY(c.budget_ids)
            AND 'spent' IN (c.from_account, c.to_account)
        GROUP BY b.id
        """,
    "budget.unfinished": """
        SELECT b.id, b.unfinished, count(e.id)
        FROM budgets b LEFT JOIN executions e ON b.id = ANY(e.budget_ids) AND e.finished_at IS NULL
        GROUP BY b.id
        """,
    "execution.held": """
        SELECT e.id, e.free_hold_nano + coalesce((SELECT sum(j.hold_nano) FROM jobs j
                WHERE j.execution_id = e.id), 0),
            coalesce((SELECT sum(CASE WHEN c.to_account = 'held' THEN c.amount_nano
                WHEN c.from_account = 'held' THEN -c.amount_nano END)
                FROM cost_tracking c WHERE c.execution_id = e.id), 0)
        FROM executions e
        """,
    "execution.spent": """
        SELECT e.id, e.spent_nano, coalesce((SELECT sum(c.amount_nano) FROM cost_tracking c
            WHERE c.execution_id = e.id AND c.to_account = 'spent'), 0)
        FROM executions e
        """,
    "execution.free_hold": """
        SELECT e.id, e.free_hold_nano, coalesce((SELECT sum(l.remaining * l.worst_nano)
            FROM execution_lines l WHERE l.execution_id = e.id), 0)
        FROM executions e
        """,
    "job.cost": """
        SELECT j.id, j.cost_nano, coalesce((SELECT sum(c.amount_nano) FROM cost_tracking c
            WHERE c.subject_id = j.id AND c.to_account = 'spent'), 0)
        FROM jobs j
        """,
    "stage.open_jobs": """
        SELECT s.id, s.open_jobs, (SELECT count(*) FROM jobs j
            WHERE j.stage_id = s.id AND j.finished_at IS NULL)
        FROM stage_executions s
        """,
    "job.queued_once": """
        SELECT j.id, 1,
            (SELECT count(*) FROM resource_queue q WHERE q.job_id = j.id)
            + (SELECT count(*) FROM queue_due d WHERE d.job_id = j.id)
            + (SELECT count(*) FROM running_jobs r WHERE r.job_id = j.id)
        FROM jobs j WHERE j.state IN ('ready', 'scheduled', 'running')
        """,
    "queue.lane_exists": """
        SELECT q.job_id, 1, (SELECT count(*) FROM lanes l WHERE l.id = q.lane_id) FROM resource_queue q
        """,
}


async def audit(database: Database) -> Report:
    """Run every check in one snapshot; changes nothing. Differences: none, or something is wrong."""
    connection = await database.own_connection()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            entries = await connection.fetchval("SELECT count(*) FROM cost_tracking")
            rebuilt = {check: await connection.fetch(sql) for check, sql in CHECKS.items()}
    finally:
        await connection.close()
    return Report(
        entries=entries,
        checks={check: len(rows) for check, rows in rebuilt.items()},
        differences=[found for check, rows in rebuilt.items() for found in _differences(check, rows)],
    )


def _differences(check: str, rows: list[Any]) -> list[Difference]:
    return [
        Difference(check=check, object_id=str(row[0]), stored=int(row[1]), rebuilt=int(row[2]))
        for row in rows
        if row[1] != row[2]
    ]
