"""A bounded version of ``python -m prove plans``: 1,000 and 100,000 queued jobs, and dropped indexes."""

import pytest

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


async def test_the_hot_paths_read_by_index_however_much_is_queued_and_a_dropped_index_is_noticed(
    database: Database,
) -> None:
    """Seen to fail by ``NOT EXISTS`` for lanes, ``EXISTS`` for deadlines, ``random_page_cost`` of 4."""
    report = await plans.run(database, clients=10, history=20_000, dropped=list(NEEDED))
    assert report.broken == ()
    assert report.queued > 90_000
    seen = {(one.work, one.mode) for one in report.many}
    works = ("submit", "tick and start", "settle", "cancel", "expire", "rescue", "strand", "look")
    assert seen == {(work, mode) for work in works for mode in MODES}
    for index, (work, table) in NEEDED.items():
        assert any(one.startswith(work) and f"rows of {table}:" in one for one in report.without), index
