"""Traps that others fell into, which need no race to show."""

from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.fake_worker import COST_NANO, WORST_NANO
from tests.fleet import Fleet, Process

from aifactory.kernel.db import Database, DatabaseUnavailable
from aifactory.resources.interface import ExecutionState

pytestmark = pytest.mark.anyio


async def set_level(fleet: Fleet, units: int) -> None:
    await fleet.execute(
        "UPDATE resource_pools SET level_micro = $1, refill_per_second = 0 WHERE pool = 'test'",
        units * 1_000_000,
    )


async def test_trap_2_two_processes_do_not_spend_one_allowance_twice(fleet: Fleet) -> None:
    fleet.script({"write": 8})
    client = await fleet.client()
    processes = [await fleet.process() for _ in range(3)]
    await set_level(fleet, 1700)
    await fleet.submit(client)
    claimed = [len((await process.claim()).claimed) for process in processes]
    assert claimed == [3, 0, 0]
    assert await fleet.value("SELECT level_micro FROM resource_pools WHERE pool = 'test'") == 200_000_000


async def test_trap_4_a_job_without_units_holds_no_slot_and_others_go_on(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process(slots=1)
    await set_level(fleet, 499)
    waiting = await fleet.submit(client)
    tick = await process.tick()
    assert (tick.claimed, await fleet.counts()) == (
        (),
        {"resource_queue": 1, "queue_due": 0, "running_jobs": 0},
    )
    await set_level(fleet, 500)
    await process.work()
    assert (await fleet.view(waiting)).state is ExecutionState.SUCCEEDED


async def test_traps_7_and_15_a_tick_reads_heads_only_whatever_statistics_and_dead_rows_say(
    fleet: Fleet,
) -> None:
    client, process = await fleet.client(), await fleet.process(slots=4)
    await fleet.submit(client)
    await fleet.submit(client)
    for table in ("resource_queue", "lanes", "running_jobs"):
        await fleet.execute(f"ANALYZE {table}")  # a queue of two, as far as the planner knows
    await fleet.execute(
        """
        INSERT INTO resource_queue
            SELECT gen_random_uuid(), lane_id, aged_from + interval '1 second', seq + n, units, needs,
                attempt, timeout_seconds
            FROM resource_queue, generate_series(1, 20000) n
        """
    )
    reader = await fleet.database.own_connection()
    transaction = reader.transaction(isolation="repeatable_read")
    await transaction.start()
    await reader.fetchval("SELECT count(*) FROM resource_queue")
    await fleet.execute("DELETE FROM resource_queue WHERE seq % 2 = 0")  # pinned by the reader
    before = await rows_read(fleet.database)
    await process.claim()
    await process.engine.maintenance.round()
    after = await rows_read(process.database)
    await transaction.rollback()
    await reader.close()
    assert after - before < 1000
    fleet.audited = False


async def rows_read(database: Database) -> int:
    """Rows of the queue that were read so far, by scans and through indexes."""
    async with database.begin() as tx:
        await tx.raw.execute("SELECT pg_stat_force_next_flush()")
    sql = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'resource_queue'"
    async with database.begin() as tx:
        return int(await tx.raw.fetchval(sql))


async def test_trap_10_a_process_that_comes_back_is_another_one_and_its_old_runs_are_rescued(
    fleet: Fleet,
) -> None:
    client, before = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    await before.claim()
    again = await fleet.process()
    assert again.engine.lease.process_id != before.engine.lease.process_id
    await again.age(16)
    assert await again.rescue() == 1
    await again.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_trap_19_changing_a_tier_rewrites_nothing_that_is_queued(fleet: Fleet) -> None:
    client = await fleet.client()
    await fleet.submit(client)
    before = await fleet.fetch("SELECT xmin, ctid, * FROM resource_queue")
    await fleet.execute("UPDATE tiers SET points = 1, weight = 1")
    assert await fleet.fetch("SELECT xmin, ctid, * FROM resource_queue") == before


async def test_trap_20_the_hold_is_what_the_dearest_course_of_the_work_would_cost(fleet: Fleet) -> None:
    fleet.script({"write": 7})
    client = await fleet.client()
    quote = (await fleet.submitted(client)).quote
    assert quote.worst_nano == 7 * WORST_NANO
    assert await fleet.value("SELECT sum(remaining) FROM execution_lines") == 0
    assert await fleet.value("SELECT sum(hold_nano) FROM jobs") == 7 * WORST_NANO


async def test_trap_21_money_is_a_whole_number_in_every_table(fleet: Fleet) -> None:
    columns = await fleet.fetch(
        """
        SELECT table_name, column_name, data_type FROM information_schema.columns
        WHERE table_schema = 'public' AND column_name LIKE '%nano%'
        """
    )
    assert len(columns) > 20
    assert {column["data_type"] for column in columns} == {"bigint"}


async def test_trap_23_a_database_that_goes_away_is_no_refusal_of_the_client(fleet: Fleet) -> None:
    client = await fleet.client()

    async def submit_while_the_connection_breaks() -> None:
        async with fleet.database.begin() as tx:
            own = await tx.raw.fetchval("SELECT pg_backend_pid()")
            await fleet.value("SELECT pg_terminate_backend($1)", own)
            await fleet.service.submit(tx, fleet.submission(client))

    with pytest.raises(DatabaseUnavailable) as fault:
        await submit_while_the_connection_breaks()
    assert (fault.value.status, fault.value.retryable) == (503, True)
    assert await fleet.value("SELECT count(*) FROM executions") == 0


async def test_trap_25_no_prompt_and_no_text_is_in_a_hot_table(fleet: Fleet) -> None:
    columns = await fleet.fetch(
        """
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_name IN ('resource_queue', 'queue_due', 'running_jobs', 'lanes')
          AND data_type IN ('jsonb', 'bytea', 'ARRAY')
        """
    )
    assert {column["column_name"] for column in columns} == {"needs"}


async def test_trap_29_events_are_numbered_in_the_order_in_which_they_can_be_read(fleet: Fleet) -> None:
    """Numbers are taken under the execution's row lock, so no later one commits before an earlier one."""
    worker = fleet.script({"write": 20})
    client, processes = await fleet.client(), [await fleet.process(slots=5) for _ in range(2)]
    execution = await fleet.submit(client)
    seen: list[int] = []

    async def read() -> None:
        while True:
            sql = "SELECT seq FROM execution_events WHERE execution_id = $1 AND seq > $2 ORDER BY seq"
            seen.extend(row["seq"] for row in await fleet.fetch(sql, execution, max(seen, default=0)))
            await anyio.lowlevel.checkpoint()

    async def drain(process: Process) -> None:
        while len(worker.ran) < 20:
            await process.tick()
            await process.settle()
        await process.settle()

    async with anyio.create_task_group() as readers:
        readers.start_soon(read)
        async with anyio.create_task_group() as tasks:
            for process in processes:
                tasks.start_soon(drain, process)
        readers.cancel_scope.cancel()
    every: list[Any] = await fleet.fetch("SELECT seq FROM execution_events ORDER BY seq")
    assert seen == [row["seq"] for row in every][: len(seen)]
    assert len(seen) > 1


async def test_budget_periods_follow_the_clients_time_zone(fleet: Fleet) -> None:
    client = await fleet.client(time_zone="Pacific/Kiritimati")
    await fleet.submit(client)
    start, end = (await fleet.fetch("SELECT period_start, period_end FROM budgets"))[0]
    assert (start.hour, end.hour) == (10, 10)
    assert end - start >= timedelta(days=28)


async def test_a_pool_that_is_not_set_up_is_the_operators_fault_and_said_so(fleet: Fleet) -> None:
    client = await fleet.client()
    await fleet.execute("UPDATE models SET pool = 'default' WHERE pool = 'test'")
    await fleet.execute("DELETE FROM resource_pools WHERE pool = 'test'")
    with pytest.raises(Exception, match="not set up") as refused:
        await fleet.submit(client)
    assert getattr(refused.value, "status", None) == 503


async def test_a_cancelled_execution_pays_for_what_was_done_and_nothing_else(fleet: Fleet) -> None:
    fleet.script({"read": 1, "write": 4})
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    await process.tick()
    await process.settle()
    view = await fleet.cancel(execution)
    assert view.state is ExecutionState.CANCELLED
    assert await fleet.budget(client) == (0, COST_NANO, 0)
    assert await fleet.counts() == {"resource_queue": 0, "queue_due": 0, "running_jobs": 0}
