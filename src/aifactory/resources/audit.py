"""``aifactory audit``: rebuild every balance and counter from what it is made of; print the differences."""

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
_HELD = "sum(CASE 'held' WHEN to_account THEN amount_nano WHEN from_account THEN -amount_nano ELSE 0 END)"
_SPENT = "sum(CASE 'spent' WHEN to_account THEN amount_nano WHEN from_account THEN -amount_nano ELSE 0 END)"
CHECKS: dict[str, str] = {
    "budget.held": f"""
        SELECT b.id, b.held_nano, coalesce(c.amount, 0) FROM budgets b LEFT JOIN (
            SELECT budget_id, {_HELD} AS amount FROM cost_tracking, unnest(budget_ids) AS budget_id
            GROUP BY budget_id) c ON c.budget_id = b.id
        """,
    "budget.spent": f"""
        SELECT b.id, b.spent_nano, coalesce(c.amount, 0) FROM budgets b LEFT JOIN (
            SELECT budget_id, {_SPENT} AS amount FROM cost_tracking, unnest(budget_ids) AS budget_id
            GROUP BY budget_id) c ON c.budget_id = b.id
        """,
    "budget.unfinished": """
        SELECT b.id, b.unfinished, count(e.id)
        FROM budgets b LEFT JOIN executions e ON b.id = ANY(e.budget_ids) AND e.finished_at IS NULL
        GROUP BY b.id
        """,
    "execution.held": f"""
        SELECT e.id, e.free_hold_nano + coalesce(j.amount, 0), coalesce(c.amount, 0) FROM executions e
        LEFT JOIN (SELECT execution_id, sum(hold_nano) AS amount FROM jobs GROUP BY execution_id) j
            ON j.execution_id = e.id
        LEFT JOIN (SELECT execution_id, {_HELD} AS amount FROM cost_tracking GROUP BY execution_id) c
            ON c.execution_id = e.id
        """,
    "execution.spent": f"""
        SELECT e.id, e.spent_nano, coalesce(c.amount, 0) FROM executions e
        LEFT JOIN (SELECT execution_id, {_SPENT} AS amount FROM cost_tracking GROUP BY execution_id) c
            ON c.execution_id = e.id
        """,
    "execution.free_hold": """
        SELECT e.id, e.free_hold_nano, coalesce(l.amount, 0) FROM executions e LEFT JOIN (
            SELECT execution_id, sum(remaining * worst_nano) AS amount FROM execution_lines
            GROUP BY execution_id) l ON l.execution_id = e.id
        """,
    "execution.jobs_done": """
        SELECT e.id, e.jobs_done, coalesce(j.done, 0) FROM executions e LEFT JOIN (
            SELECT execution_id, count(*) AS done FROM jobs WHERE finished_at IS NOT NULL
            GROUP BY execution_id) j ON j.execution_id = e.id
        """,
    "execution.jobs_total": """
        SELECT e.id, e.jobs_total, coalesce(j.opened, 0) + coalesce(l.places, 0) FROM executions e
        LEFT JOIN (SELECT execution_id, count(*) AS opened FROM jobs GROUP BY execution_id) j
          ON j.execution_id = e.id
        LEFT JOIN (SELECT execution_id, sum(remaining) AS places FROM execution_lines
                   GROUP BY execution_id) l ON l.execution_id = e.id
        """,
    "execution.one_end": """
        SELECT e.id, CASE WHEN e.finished_at IS NULL THEN 0 ELSE 1 END, coalesce(v.ends, 0) FROM executions e
        LEFT JOIN (
            SELECT execution_id, count(*) AS ends FROM execution_events
            WHERE type IN ('execution.succeeded', 'execution.partial', 'execution.failed',
                'execution.cancelled', 'execution.expired')
            GROUP BY execution_id) v ON v.execution_id = e.id
        """,
    "job.cost": f"""
        SELECT j.id, j.cost_nano, coalesce(c.amount, 0) FROM jobs j
        LEFT JOIN (SELECT subject_id, {_SPENT} AS amount FROM cost_tracking GROUP BY subject_id) c
            ON c.subject_id = j.id
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
