"""A bounded version of ``python -m prove plans``: 1,000 and 100,000 queued jobs, and dropped indexes."""

import contextlib

import pytest
from tests.fleet import Fleet

from aifactory.kernel.db import Database
from prove import plans
from prove.watching import MODES

pytestmark = pytest.mark.anyio

# Each is the only way to what this work wants of this table.
NEEDED = {
    "resource_queue_order": ("tick and start", "resource_queue"),
    "queue_due_order": ("tick and start", "queue_due"),
    "client_pool_usage_active": ("tick and start", "client_pool_usage"),
    "jobs_stage": ("settle", "jobs"),
    "jobs_open": ("cancel", "jobs"),
    "executions_deadline": ("look", "executions"),
}


KEPT_SETS = """
    SELECT name, statement FROM pg_prepared_statements
    WHERE ltrim(statement, E' \n') LIKE 'UPDATE%json_to_recordset%' AND generic_plans > 0"""


async def test_the_hot_paths_read_by_index_however_much_is_queued_and_a_dropped_index_is_noticed(
    database: Database,
) -> None:
    """Seen to fail by ``NOT EXISTS`` for lanes, ``EXISTS`` for deadlines, ``random_page_cost`` of 4."""
    report = await plans.run(database, clients=10, history=20_000, dropped=list(NEEDED))
    assert report.broken == ()
    assert report.queued > 90_000
    seen = {(one.work, one.mode) for one in report.many}
    works = ("submit", "explain", "tick and start", "settle", "cancel", "expire", "rescue", "strand", "look")
    assert seen == {(work, mode) for work in works for mode in MODES}
    for index, (work, table) in NEEDED.items():
        assert any(one.startswith(work) and f"rows of {table}:" in one for one in report.without), index


async def test_sets_that_were_planned_while_a_table_was_tiny_go_on_by_index(fleet: Fleet) -> None:
    """Plans are kept: seen to fail without ``enable_seqscan``."""
    client, process = await fleet.client(), await fleet.process()
    for _ in range(9):  # after five a plan is kept
        await fleet.submit(client)
        await fleet.fetch("ANALYZE")
        await process.work()
    plans: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as connections:
        for _ in range(4):
            tx = await connections.enter_async_context(process.database.begin())
            for name, statement in await tx.raw.fetch(KEPT_SETS):
                plan = await tx.raw.fetch(f"EXPLAIN EXECUTE {name}('[]')")
                plans[statement] = "\n".join(row[0] for row in plan)
    tables = {statement.split()[1] for statement in plans}
    assert tables >= {"jobs", "executions", "stage_executions", "job_attempts", "budgets"}
    for statement, plan in plans.items():
        assert "Seq Scan" not in plan, statement
