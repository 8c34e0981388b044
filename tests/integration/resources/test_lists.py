"""Lists of long histories are read from their indexes."""

from datetime import timedelta

import pytest

from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId, new_id
from aifactory.kernel.page import PageRequest
from aifactory.resources.interface import ExecutionState
from aifactory.resources.queries import fleet, views

pytestmark = pytest.mark.anyio

HISTORY = """
    INSERT INTO executions (id, request_id, client_id, template, template_version, state, urgency, queue,
        accuracy, input, budget_ids, estimated_nano, held_nano, free_hold_nano, created_at, aged_from,
        deadline, finished_at)
    SELECT gen_random_uuid(), $1, $1, 't', 1, state, 'normal', 'normal', 'normal', '{}', '{}', 1, 1, 0, $2,
        $2, $2, CASE WHEN state NOT IN ('queued', 'running') THEN $2::timestamptz END
    FROM (SELECT CASE n WHEN 1 THEN 'queued' WHEN 2 THEN 'running' WHEN 3 THEN 'partial' WHEN 4 THEN 'failed'
                 WHEN 5 THEN 'cancelled' WHEN 6 THEN 'expired' ELSE 'succeeded' END AS state
          FROM generate_series(1, 3000) n) history"""
MONTHS = """
    INSERT INTO budgets (id, client_id, scope, period_start, period_end)
    SELECT gen_random_uuid(), gen_random_uuid(), 'client', $1::timestamptz - n * interval '31 days',
        $1::timestamptz - (n - 1) * interval '31 days' + interval '1 day'
    FROM generate_series(0, 2999) n"""


async def test_rare_states_and_present_budgets_are_found_without_reading_all_history(
    database: Database,
) -> None:
    client_id = ClientId(new_id())
    async with database.begin() as tx:
        await tx.raw.execute(HISTORY, client_id, tx.now)
        await tx.raw.execute(MONTHS, tx.now - timedelta(hours=1))
        await tx.raw.execute("ANALYZE executions, budgets")
    page = PageRequest(limit=50)
    rare = [state for state in ExecutionState if state is not ExecutionState.SUCCEEDED]
    async with database.begin() as tx:
        for whose in (client_id, None):
            for state in rare * 3:  # also when the statement was prepared for long
                found = await views.list_executions(tx, client_id=whose, state=state, page=page)
                assert [one.state for one in found.data] == [state]
        assert 1 <= len(await fleet.costliest_clients(tx)) <= 2
        await tx.raw.execute("SELECT pg_stat_force_next_flush()")
    async with database.begin() as tx:
        rows = await tx.raw.fetch(
            "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes WHERE idx_scan > 0"
        )
        whole = await tx.raw.fetchval("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'budgets'")
    used = {row["indexrelname"]: row["idx_scan"] for row in rows}
    by_state = ("executions_unfinished_state", "executions_client_ended_badly", "executions_ended_badly")
    assert sum(used.get(name, 0) for name in by_state) == len(rare) * 3 * 2, used
    assert "budgets_of_clients" in used, (used, whole)
