"""Every check of the audit finds a difference that was planted for it."""

import contextlib

import asyncpg
import pytest
from tests.fleet import Fleet

from aifactory.resources.audit import audit, invariants_script
from aifactory.resources.queries.invariants import INVARIANTS

pytestmark = pytest.mark.anyio

ENTRY = """
    INSERT INTO cost_tracking (at, client_id, execution_id, subject_id, attempt, kind, from_account,
        to_account, amount_nano, budget_ids, provider, model)
    SELECT at, {client}, execution_id, {subject}, attempt + {later}, kind, from_account, {to}, amount_nano,
        {budgets}, provider, model
    FROM cost_tracking WHERE kind = '{kind}' ORDER BY id LIMIT 1
    """


def entry(kind: str = "spend", **changes: str) -> str:
    """Another entry like one that is there, and what is different about it."""
    same = {
        "client": "client_id",
        "subject": "subject_id",
        "later": "7",
        "to": "to_account",
        "budgets": "budget_ids",
    }
    return ENTRY.format(**{**same, "kind": kind, **changes})


PLANTED = {
    "ledger.accounts": entry(to="'waste'"),
    "ledger.sealed": "ALTER TABLE cost_tracking DISABLE TRIGGER cost_tracking_append_only",
    "ledger.owner": entry(client="gen_random_uuid()"),
    "budget.held": "UPDATE budgets SET held_nano = held_nano + 1",
    "budget.spent": "UPDATE budgets SET spent_nano = spent_nano + 1",
    "budget.unfinished": "UPDATE budgets SET unfinished = unfinished + 1",
    "execution.held": "UPDATE jobs SET hold_nano = hold_nano + 1 WHERE finished_at IS NULL",
    "execution.spent": "UPDATE executions SET spent_nano = spent_nano + 1",
    "execution.budgets": "UPDATE executions SET budget_ids = budget_ids || gen_random_uuid()",
    "execution.free_hold": "UPDATE executions SET free_hold_nano = free_hold_nano + 1",
    "execution.jobs_done": "UPDATE executions SET jobs_done = jobs_done + 1",
    "execution.jobs_total": "UPDATE executions SET jobs_total = jobs_total + 1",
    "execution.one_end": """
        INSERT INTO execution_events (execution_id, seq, at, type, data)
        SELECT id, event_seq + 1, created_at, 'execution.failed', '{}' FROM executions
        """,
    "job.cost": "UPDATE jobs SET cost_nano = cost_nano + 1",
    "usage.calls": "UPDATE daily_usage SET failed_calls = failed_calls + 1",
    "usage.units": "UPDATE daily_usage SET cached_input_units = cached_input_units + 1",
    "usage.money": "UPDATE daily_usage SET operator_nano = operator_nano - 1",
    "stage.open_jobs": "UPDATE stage_executions SET open_jobs = open_jobs + 1",
    "job.queued_once": "DELETE FROM resource_queue",
    "queue.job_open": "UPDATE resource_queue SET job_id = gen_random_uuid()",
    "queue.lane_exists": "DELETE FROM lanes",
    "client.running": """
        INSERT INTO running_jobs (job_id, token, process_id, client_id, worker, pool, provider, model, local,
            lane_id, units, attempt, started_at, deadline)
        SELECT gen_random_uuid(), id, id, client_id, worker, 'p', 'p', 'm', false, 1, 1, 1, created_at,
            created_at
        FROM jobs, generate_series(1, 2)
        """,
    "quota.used": """
        INSERT INTO quotas (client_id, pool, period, units_limit, units_used, period_start, period_end)
        SELECT client_id, 'test', 'day', 1000, 151, created_at - interval '1 hour',
            created_at + interval '1 day'
        FROM executions
        """,
    "pool.level": "UPDATE resource_pools SET requests_micro = 1 WHERE requests_per_minute IS NULL",
}
# Other ways to break what is kept, and the check that finds them.
ALSO = [
    ("ledger.sealed", "ALTER TABLE cost_tracking DROP CONSTRAINT cost_tracking_subject_id_attempt_kind_key"),
    ("ledger.owner", entry(budgets="budget_ids || gen_random_uuid()")),
    ("budget.held", entry("hold")),
    ("budget.held", entry("hold", budgets="ARRAY[gen_random_uuid()]")),
    ("budget.spent", entry()),
    ("execution.held", entry("hold")),
    ("execution.spent", entry()),
    ("execution.budgets", "UPDATE budgets SET scope = 'key'"),
    ("job.cost", entry(subject="gen_random_uuid()")),
    ("usage.money", entry()),
    ("usage.calls", "DELETE FROM daily_usage"),
    ("usage.calls", "UPDATE daily_usage SET day = day - 1"),
    ("usage.money", "UPDATE daily_usage SET template = 'another'"),
    ("job.queued_once", "INSERT INTO queue_due SELECT q.job_id, q.aged_from, l.route_id, l.worker, l.queue,"
     " l.client_id, l.urgency, q.aged_from, q.seq, q.units, q.needs, q.attempt, q.timeout_seconds"
     " FROM resource_queue q JOIN lanes l ON l.id = q.lane_id"),
]  # fmt: skip


class Undone(Exception):
    """Ends a transaction of which nothing is to stay."""


@pytest.fixture
async def half_done(fleet: Fleet) -> Fleet:
    """An execution with a job that is paid, one that waits, and lines that are open."""
    fleet.script({"read": 1, "write": 1, "assess": 1})
    process = await fleet.process()
    await fleet.submit(await fleet.client(max_running=1))
    await process.tick()
    await process.settle()
    return fleet


async def differences_after(fleet: Fleet, statement: str) -> set[str]:
    """Return the checks that find something after a statement that is undone again."""
    found: set[str] = set()
    with contextlib.suppress(Undone):
        async with fleet.database.begin() as tx:
            await tx.raw.execute(statement)
            for invariant in INVARIANTS:
                found |= {row[0] for row in await tx.raw.fetch(invariant.sql)}
            raise Undone
    return found


def test_every_check_has_its_planted_difference() -> None:
    checks = [check for invariant in INVARIANTS for check in invariant.checks]
    assert sorted(PLANTED) == sorted(checks)


async def test_every_planted_difference_is_found_and_nothing_without_one(half_done: Fleet) -> None:
    report = await audit(half_done.database)
    assert report.differences == []
    assert report.entries > 0
    assert [*report.checks] == [invariant.checks[0] for invariant in INVARIANTS]
    for check, statement in [*PLANTED.items(), *ALSO]:
        assert check in await differences_after(half_done, statement), statement


async def test_a_quota_that_counted_what_was_used_is_no_difference(half_done: Fleet) -> None:
    await half_done.execute(PLANTED["quota.used"].replace("151", "150"))
    assert (await audit(half_done.database)).differences == []


async def test_the_ledger_can_not_be_changed_and_its_script_prints_what_is_wrong(half_done: Fleet) -> None:
    for statement in ("UPDATE cost_tracking SET amount_nano = 1", "DELETE FROM cost_tracking"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await half_done.execute(statement)
    script = invariants_script()
    assert all(invariant.meaning in script for invariant in INVARIANTS)
    connection = await half_done.database.own_connection()
    await connection.execute(script)
    await connection.close()
    await half_done.execute("UPDATE budgets SET spent_nano = spent_nano + 1")
    half_done.audited = False
    (found,) = (await audit(half_done.database)).differences
    assert (found.check, found.stored - found.rebuilt) == ("budget.spent", 1)
