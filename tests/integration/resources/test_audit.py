"""Every check of the audit finds a difference that was planted for it."""

import pytest
from tests.fleet import Fleet

from aifactory.resources.audit import CHECKS, audit

pytestmark = pytest.mark.anyio

PLANTED = {
    "budget.held": "UPDATE budgets SET held_nano = held_nano + 1",
    "budget.spent": "UPDATE budgets SET spent_nano = spent_nano + 1",
    "budget.unfinished": "UPDATE budgets SET unfinished = unfinished + 1",
    "execution.held": "UPDATE jobs SET hold_nano = hold_nano + 1 WHERE finished_at IS NULL",
    "execution.spent": "UPDATE executions SET spent_nano = spent_nano + 1",
    "execution.free_hold": "UPDATE executions SET free_hold_nano = free_hold_nano + 1",
    "execution.jobs_done": "UPDATE executions SET jobs_done = jobs_done + 1",
    "execution.jobs_total": "UPDATE executions SET jobs_total = jobs_total + 1",
    "execution.one_end": """
        INSERT INTO execution_events (execution_id, seq, at, type, data)
        SELECT id, event_seq + 1, created_at, 'execution.failed', '{}' FROM executions
        """,
    "job.cost": "UPDATE jobs SET cost_nano = cost_nano + 1",
    "stage.open_jobs": "UPDATE stage_executions SET open_jobs = open_jobs + 1",
    "job.queued_once": "DELETE FROM resource_queue",
    "queue.lane_exists": "DELETE FROM lanes",
}


@pytest.fixture
async def half_done(fleet: Fleet) -> Fleet:
    """An execution with a job that is paid, one that waits, and lines that are open."""
    fleet.script({"read": 1, "write": 1, "assess": 1})
    process = await fleet.process()
    await fleet.submit(await fleet.client())
    await process.tick()
    await process.settle()
    return fleet


def test_every_check_has_its_planted_difference() -> None:
    assert PLANTED.keys() == CHECKS.keys()


async def test_half_done_work_has_no_differences(half_done: Fleet) -> None:
    report = await audit(half_done.database)
    assert report.differences == []
    assert all(figures > 0 for figures in report.checks.values())
    assert report.entries > 0


@pytest.mark.parametrize("check", list(PLANTED))
async def test_a_planted_difference_is_found(half_done: Fleet, check: str) -> None:
    await half_done.execute(PLANTED[check])
    half_done.audited = False
    found = (await audit(half_done.database)).differences
    assert check in {difference.check for difference in found}
    assert all(difference.stored != difference.rebuilt for difference in found)


async def test_the_ledger_can_not_be_changed(half_done: Fleet) -> None:
    for statement in ("UPDATE cost_tracking SET amount_nano = 1", "DELETE FROM cost_tracking"):
        with pytest.raises(Exception, match="append-only"):
            await half_done.execute(statement)
