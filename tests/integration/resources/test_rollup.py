"""The usage of days: what each settle adds, and to which day; at the end a rebuild gives the same."""

from datetime import date, timedelta
from typing import Any

import anyio
import pytest
from tests.fake_worker import AGAIN_AT_ONCE, COST_NANO, NANO_PER_UNIT, USAGE, WORST_NANO
from tests.fleet import Fleet, Process

from aifactory.kernel.ids import ClientId, ExecutionId, new_id
from aifactory.resources.audit import audit
from aifactory.resources.interface import Job, JobFault, Outcome, Usage
from aifactory.resources.queries import rollups, views
from aifactory.resources.rollup import DayKey, DayUsage

pytestmark = pytest.mark.anyio

SUMS = "calls, failed_calls, input_units, cached_input_units, output_units, cost_nano, operator_nano"
UNKNOWN = Outcome(fault=JobFault(code="cut", message="No usage came.", retryable=False))


async def days(fleet: Fleet, *keys: str) -> list[tuple[Any, ...]]:
    """The rows of the roll-up: some of their keys, and their sums."""
    columns = ", ".join([*keys, SUMS])
    rows = await fleet.fetch(f"SELECT {columns} FROM daily_usage ORDER BY day, client_id, template, model")
    return [tuple(row) for row in rows]


async def test_calls_that_work_fail_and_end_unknown_are_counted_with_their_units_and_money(
    fleet: Fleet,
) -> None:
    client, process = await fleet.client(), await fleet.process()
    free = Outcome(usage=Usage())
    cached = Outcome(usage=Usage(input_units=100, cached_input_units=40, output_units=50))
    fleet.script({"write": 5})
    fleet.worker.answers = [AGAIN_AT_ONCE, UNKNOWN, cached, free, Outcome(usage=Usage(input_units=600))]
    await fleet.submit(client)
    await process.tick()
    assert await days(fleet) == []
    await process.settle()
    await process.work()
    overrun = 100 * NANO_PER_UNIT  # of the 600 units, 500 were held
    assert await days(fleet, "template", "provider", "model") == [
        ("tests", "test", "test-model", 6, 2, 900, 40, 150, 3 * COST_NANO + WORST_NANO, WORST_NANO + overrun)
    ]
    fleet.worker.answers = []
    await fleet.submit(client, template="other")
    await fleet.submit(await fleet.client(), template="other")
    await process.work()
    found = sorted(row[:2] for row in await days(fleet, "template"))
    assert found == [("other", 5), ("other", 5), ("tests", 6)]
    await read_by_indexes(fleet, await fleet.submit(client))


async def read_by_indexes(fleet: Fleet, execution: ExecutionId) -> None:
    """What one execution cost must not be looked for among the jobs of all."""
    whole_reads = "SELECT relname, seq_scan FROM pg_stat_xact_user_tables ORDER BY relname"
    async with fleet.database.begin() as tx:
        await tx.raw.execute("SET LOCAL enable_seqscan = off")
        before = await tx.raw.fetch(whole_reads)
        assert await views.outstanding_hold(tx, execution) == 5 * WORST_NANO
        assert await views.calls_of(tx, execution) == []
        assert await tx.raw.fetch(whole_reads) == before


async def run_late(fleet: Fleet, stale: Process, other: Process, finish: anyio.Event) -> None:
    """Let a run be lost, taken over by another, and answer at last."""

    async def run(job: Job) -> Outcome:
        if job.attempt == 1:
            await finish.wait()
        return Outcome(usage=USAGE)

    fleet.worker.on_run = run
    await stale.tick()
    await other.age(16)
    assert await other.rescue() == 1


async def test_a_late_answer_counts_on_the_day_on_which_it_came(fleet: Fleet) -> None:
    finish = anyio.Event()
    client, stale, other = await fleet.client(), await fleet.process(), await fleet.process()
    await fleet.submit(client)
    await run_late(fleet, stale, other, finish)
    await other.tick()
    await other.settle()
    (lost, *_) = await days(fleet, "day")
    assert lost[1:] == (2, 1, 100, 0, 50, COST_NANO, WORST_NANO)
    stale.database.clock_offset += timedelta(days=1, seconds=16)
    finish.set()
    await stale.settle()
    first, second = await days(fleet, "day")
    assert first == lost
    assert second == (lost[0] + timedelta(days=1), 0, 0, 100, 0, 50, 0, COST_NANO - WORST_NANO)


async def test_many_settles_at_once_add_to_the_same_rows_in_one_order(fleet: Fleet) -> None:
    """Rows that two settles share are locked in the order of their keys: no ring, and nothing is lost."""
    keys = [
        DayKey(day=date(2026, 1, 1), client_id=ClientId(new_id()), template=name, provider="p", model="m")
        for name in ("b", "a", "c")
    ]
    rows = sorted((key, DayUsage(calls=1, cost_nano=2, operator_nano=-1)) for key in keys)

    async def add() -> None:
        for _ in range(10):
            async with fleet.database.begin() as tx:
                await rollups.add(tx, rows)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(add)
    assert await days(fleet) == [(40, 0, 0, 0, 0, 80, -40)] * 3
    assert {one.check for one in (await audit(fleet.database)).differences} == {"usage.calls", "usage.money"}
    fleet.audited = False


async def test_a_settle_that_is_undone_adds_nothing(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    await fleet.submit(client)
    await process.tick()
    await fleet.execute(
        """
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
        CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON daily_usage DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION fail();
        """
    )
    await process.settle()
    assert await days(fleet) == []
    assert await fleet.ledger("spend") == []
    await fleet.execute("DROP TRIGGER fail ON daily_usage")
