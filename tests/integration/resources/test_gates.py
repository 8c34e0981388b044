"""Needs of several pools, quotas and the reserve on a real database: taken and given back to the unit."""

from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.fake_worker import AGAIN_AT_ONCE, MODEL, ScriptedWorker
from tests.fleet import Fleet, Process
from tests.locks import blocked

from aifactory.kernel.errors import NotFound, Unavailable
from aifactory.kernel.ids import ClientId
from aifactory.resources import buckets
from aifactory.resources.audit import audit
from aifactory.resources.interface import (
    ExceedsPool,
    ExceedsQuota,
    ExecutionState,
    NewJob,
    Outcome,
    Phase,
    Route,
    Urgency,
    Usage,
)
from aifactory.resources.queries import quotas

pytestmark = pytest.mark.anyio

MAIL = Route(hops=(MODEL,), further_pools=("spare",))
ESTIMATE, USED, NEED = 500, 150, 30  # of the scripted worker's jobs
MICRO = buckets.MICRO
POOLS = "SELECT pool, level_micro, requests_micro, as_of FROM resource_pools WHERE pool IN ('test', 'spare')"


class Levels:
    """Two pools without a refill; tells what has been taken from each: units, request slots."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.before: dict[str, Any] = {}

    async def open(self, units: int = 100_000) -> None:
        await self.fleet.add_spare()
        await self.fleet.execute(
            """
            UPDATE resource_pools SET refill_per_second = 0, level_micro = $1, requests_per_minute = 60,
                requests_micro = 15000000 WHERE pool IN ('test', 'spare')
            """,
            units * MICRO,
        )
        self.before = {row["pool"]: row for row in await self.fleet.fetch(POOLS)}

    async def taken(self) -> dict[str, tuple[float, float]]:
        found = {}
        for row in await self.fleet.fetch(POOLS):
            old = self.before[row["pool"]]
            slots = buckets.refilled_requests(
                old["requests_micro"], per_minute=60, since=old["as_of"], now=row["as_of"]
            )
            units = old["level_micro"] - row["level_micro"]
            found[row["pool"]] = (units / MICRO, (slots - row["requests_micro"]) / MICRO)
        return found


def mail_script(fleet: Fleet, phases: dict[str, int] | None = None, **options: Any) -> ScriptedWorker:
    return fleet.script(phases or {"write": 1}, **{"route": MAIL, "needs": {"spare": NEED}, **options})


async def usage(fleet: Fleet, client: ClientId) -> int:
    sql = "SELECT usage FROM client_pool_usage WHERE client_id = $1 AND pool = 'test'"
    return round(await fleet.value(sql, client))


async def test_a_start_takes_from_every_pool_and_its_end_gives_back_what_it_did_not_use(fleet: Fleet) -> None:
    levels = Levels(fleet)
    await levels.open()
    worker = mail_script(fleet)
    client, process = await fleet.client(), await fleet.process()
    first = await fleet.submit(client)
    await process.tick()
    assert await levels.taken() == {"test": (500, 1), "spare": (30, 1)}
    await process.settle()
    settled = {"test": (150, 1), "spare": (30, 1)}
    assert (await fleet.view(first)).state is ExecutionState.SUCCEEDED
    assert (await levels.taken(), await usage(fleet, client)) == (settled, USED)

    cancelled = await fleet.submit(client)
    tick = await process.claim()
    await fleet.cancel(cancelled)
    await process.engine.runner.launch(list(tick.claimed), process.tasks)
    assert (await levels.taken(), await usage(fleet, client)) == (settled, USED)

    await fleet.submit(client)
    assert len((await process.claim()).claimed) == 1  # and dies: its call never begins
    await fleet.execute("DELETE FROM processes")
    second = await fleet.process()
    assert await second.rescue() == 1
    assert (await levels.taken(), await usage(fleet, client)) == (settled, USED)
    await second.work()
    assert await levels.taken() == {"test": (300, 2), "spare": (60, 2)}

    extra = NewJob(
        kind="write", line=None, payload={}, route=MAIL, input_bound=30, output_limit=20, needs={"spare": 7}
    )
    worker.on_plan = lambda: Phase(name="write", jobs=(extra,))
    worker.answers = [Outcome(usage=Usage(input_units=1))]
    await fleet.submit(client)
    await second.work()
    assert await levels.taken() == {"test": (301, 3), "spare": (67, 3)}


async def test_all_pools_of_a_job_are_there_or_none_is_touched(fleet: Fleet) -> None:
    levels = Levels(fleet)
    await levels.open()
    mail_script(fleet, {"write": 5})
    client, process = await fleet.client(), await fleet.process()
    await fleet.submit(client, run_after=None)
    await fleet.execute("UPDATE resource_pools SET level_micro = 65000000 WHERE pool = 'spare'")
    assert len((await process.claim()).claimed) == 2
    assert (await levels.taken())["test"] == (1000, 2)
    assert await fleet.value("SELECT level_micro FROM resource_pools WHERE pool = 'spare'") == 5 * MICRO
    await fleet.execute(
        "UPDATE resource_pools SET level_micro = 90000000, paused = true WHERE pool = 'spare'"
    )
    assert (await process.claim()).claimed == ()
    await fleet.execute("UPDATE resource_pools SET paused = false WHERE pool = 'spare'")
    assert len((await process.claim()).claimed) == 3
    assert (await levels.taken())["test"] == (2500, 5)


async def test_what_could_never_start_is_refused_by_name(fleet: Fleet) -> None:
    await fleet.add_spare()
    client = await fleet.client()
    await set_quotas(fleet, client, {("spare", "day"): 25, ("test", "month"): 499})
    with pytest.raises(ExceedsQuota, match="pool test") as too_much:
        await fleet.submit(client)
    assert too_much.value.extras == {"pool": "test", "neededUnits": 500, "quotaUnits": 499}
    await set_quotas(fleet, client, {("spare", "day"): 25})
    await fleet.submit(client)
    mail_script(fleet)
    with pytest.raises(ExceedsQuota, match="pool spare"):
        await fleet.submit(client)
    mail_script(fleet, needs={"spare": 900_001})
    with pytest.raises(ExceedsPool, match="pool spare"):
        await fleet.submit(client)
    for needs in ({"compute": 1}, {"spare": -1}):
        mail_script(fleet, needs=needs)
        with pytest.raises(Unavailable, match="mend its worker"):
            await fleet.submit(client)


# Quotas.


async def set_quotas(fleet: Fleet, client: ClientId, limits: dict[tuple[str, str], int]) -> None:
    async with fleet.database.begin() as tx:
        await quotas.set_quotas(tx, client, limits)


async def used(fleet: Fleet, client: ClientId, offset: timedelta = timedelta()) -> dict[str, int]:
    """Units used by pool and period, after so much more time."""
    async with fleet.database.begin() as tx:
        tx.now += offset
        found = await quotas.quotas_of(tx, client)
    return {f"{one.pool} {one.period}": one.units_used for one in found}


async def test_a_quota_counts_estimates_at_the_start_and_the_truth_at_the_end(fleet: Fleet) -> None:
    await fleet.add_spare()
    worker = mail_script(fleet, {"write": 4})
    client, other, process = await fleet.client(), await fleet.client(), await fleet.process()
    await set_quotas(fleet, client, {("test", "day"): 1200, ("test", "month"): 1000, ("spare", "day"): 1000})
    await fleet.submit(client)
    assert len((await process.tick()).claimed) == 2  # 3 would exceed the month's
    assert await used(fleet, client) == {"spare day": 60, "test day": 1000, "test month": 1000}
    await fleet.submit(other)
    assert len((await process.tick()).claimed) == 4
    await process.settle()
    assert await used(fleet, client) == {"spare day": 60, "test day": 300, "test month": 300}

    worker.answers = [AGAIN_AT_ONCE]
    await process.tick()
    await process.settle()
    # The month's left room for one, which is tried again: each attempt counts.
    assert await used(fleet, client) == {"spare day": 90, "test day": 450, "test month": 450}
    worker.answers = [Outcome(usage=None)]
    await process.tick()
    await process.settle()
    # One of unknown use stays counted with its estimate.
    assert await used(fleet, client) == {"spare day": 120, "test day": 950, "test month": 950}

    await set_quotas(fleet, client, {("test", "day"): 2000, ("spare", "day"): 90, ("spare", "month"): 90})
    assert await used(fleet, client) == {"spare day": 120, "spare month": 0, "test day": 950}
    assert (await process.tick()).claimed == ()
    tomorrow = await used(fleet, client, timedelta(days=1))
    assert tomorrow == {"spare day": 0, "spare month": tomorrow["spare month"], "test day": 0}
    with pytest.raises(NotFound, match="no pool 'gone'"):
        await set_quotas(fleet, client, {("gone", "day"): 1})
    # A call may begin a moment after the end of the period in which it was claimed: it counts there.
    await fleet.execute(
        "UPDATE quotas SET period_end = (SELECT max(started_at) FROM job_attempts) WHERE units_used > 0"
    )
    assert (await audit(fleet.database)).differences == []
    await corrected_in_the_order_of_a_tick(fleet, client)


async def corrected_in_the_order_of_a_tick(fleet: Fleet, client: ClientId) -> None:
    """First the day's quota, then the month's, whatever the plan: or a tick and a settle wait in a ring."""
    await set_quotas(fleet, client, {})
    await set_quotas(fleet, client, {("test", "month"): 1000})
    await fleet.execute(
        """
        INSERT INTO quotas (client_id, pool, period, units_limit, period_start, period_end)
        SELECT client_id, pool, 'day', units_limit, period_start, period_end FROM quotas
        """
    )

    async def correct() -> None:
        async with fleet.database.begin() as tx:
            await tx.raw.execute("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
            await quotas.correct(tx, {(client, "test", tx.now): 7})

    async with anyio.create_task_group() as tasks, fleet.database.begin() as tick:
        await tick.raw.execute("UPDATE quotas SET units_used = 1 WHERE period = 'day'")
        tasks.start_soon(correct)
        await blocked(fleet, 1)
        await tick.raw.execute("SELECT FROM quotas WHERE period = 'month' FOR UPDATE NOWAIT")
    assert await used(fleet, client) == {"test day": 8, "test month": 7}
    await set_quotas(fleet, client, {})  # no run was behind that


async def test_a_new_period_begins_with_its_first_start_and_old_runs_change_nothing_in_it(
    fleet: Fleet,
) -> None:
    client, process = await fleet.client(), await fleet.process(slots=1)
    fleet.script({"write": 2})
    await set_quotas(fleet, client, {("test", "day"): 700})
    await fleet.submit(client)
    assert len((await process.tick()).claimed) == 1
    tomorrow = await fleet.process(clock_offset=timedelta(days=1))
    assert len((await tomorrow.claim()).claimed) == 1
    assert await used(fleet, client, timedelta(days=1)) == {"test day": ESTIMATE}
    await process.settle()  # today's run
    assert await used(fleet, client, timedelta(days=1)) == {"test day": ESTIMATE}


async def test_eight_deciders_at_once_exceed_no_gate(fleet: Fleet) -> None:
    levels = Levels(fleet)
    await levels.open(units=13 * ESTIMATE)
    mail_script(fleet, {"write": 12})
    clients = [await fleet.client(), await fleet.client(max_running=4), await fleet.client()]
    processes = [await fleet.process(slots=3) for _ in range(8)]
    await set_quotas(fleet, clients[0], {("spare", "day"): 4 * NEED})
    for client in clients:
        await fleet.submit(client)

    async def decide(process: Process) -> None:
        for _ in range(3):
            while (await process.claim()).refused:
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for process in processes:
            tasks.start_soon(decide, process)
    rows = await fleet.fetch("SELECT client_id, count(*) AS jobs FROM running_jobs GROUP BY client_id")
    running = {row["client_id"]: row["jobs"] for row in rows}
    assert running == {clients[0]: 4, clients[1]: 4, clients[2]: 5}
    assert await levels.taken() == {"test": (13 * ESTIMATE, 13), "spare": (13 * NEED, 13)}
    assert await used(fleet, clients[0]) == {"spare day": 4 * NEED}


# The reserve, and rows that are gone.


async def test_urgent_work_that_waits_recalls_the_reserve_for_a_minute(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    await fleet.execute(
        "UPDATE resource_pools SET capacity = 10000, refill_per_second = 0, level_micro = 499000000, "
        "reserved_percent = 10 WHERE pool = 'test'"
    )
    urgent = await fleet.submit(client, urgency=Urgency.URGENT)
    assert (await process.claim()).claimed == ()
    await fleet.cancel(urgent)
    await fleet.execute("UPDATE resource_pools SET level_micro = 1400000000 WHERE pool = 'test'")
    await fleet.submit(client)
    tick = await process.claim()
    assert tick.claimed == ()
    assert tick.next_wake is not None
    lent_at = await fleet.value("SELECT last_urgent_at FROM resource_pools WHERE pool = 'test'")
    assert tick.next_wake == lent_at + timedelta(seconds=60)
    await process.age(61)
    assert len((await process.claim()).claimed) == 1


async def test_a_pool_and_a_client_that_are_gone_stop_nobody_else(fleet: Fleet) -> None:
    await fleet.add_spare()
    mail_script(fleet, {"write": 2})
    lost, ours, process = await fleet.client(), await fleet.client(), await fleet.process(slots=1)
    await set_quotas(fleet, lost, {("spare", "day"): 1000})
    await fleet.submit(lost)
    assert len((await process.claim()).claimed) == 1
    fleet.script({"write": 1})
    await fleet.submit(lost)
    await fleet.execute("DELETE FROM models WHERE pool = 'spare'")
    await fleet.execute("DELETE FROM resource_pools WHERE pool = 'spare'")
    await fleet.execute("DELETE FROM client_resource_limits WHERE client_id = $1", lost)
    execution = await fleet.submit(ours)
    second = await fleet.process()
    await second.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    fleet.audited = False  # the lost client's budgets have no owner


async def test_a_pool_that_is_not_set_up_is_the_operators_fault_and_said_so(fleet: Fleet) -> None:
    client = await fleet.client()
    await fleet.execute("UPDATE models SET pool = 'default' WHERE pool = 'test'")
    await fleet.execute("DELETE FROM resource_pools WHERE pool = 'test'")
    with pytest.raises(Exception, match="not set up") as refused:
        await fleet.submit(client)
    assert getattr(refused.value, "status", None) == 503
