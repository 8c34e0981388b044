"""What the operator edits reaches the next tick, and loses nothing that a tick writes meanwhile; depths."""

from datetime import timedelta
from typing import Any

import anyio
import pytest
from tests.fleet import Fleet, until

from aifactory.resources.interface import Tier, Urgency
from aifactory.resources.queries import control_edit, queue, tick, views
from aifactory.resources.terms import PoolTerms, TierTerms

pytestmark = pytest.mark.anyio

WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"""


def terms(**changes: Any) -> PoolTerms:
    plain = {
        "unit": "tokens",
        "capacity": 1_000_000,
        "refill_per_second": 50_000,
        "price_nano_per_million": 0,
        "requests_per_minute": None,
        "reserved_percent": 10,
        "dedicated_client_id": None,
        "paused": False,
    }
    return PoolTerms(**{**plain, **changes})


async def test_an_edit_waits_for_a_tick_and_keeps_what_it_took(fleet: Fleet) -> None:
    edited = anyio.Event()

    async def edit() -> None:
        async with fleet.database.begin() as tx:
            row = await control_edit.find_pool(tx, "test")
            await control_edit.update_pool(tx, row, terms(capacity=900))
        edited.set()

    async def waits() -> bool:
        return bool(await fleet.value(WAITING))

    async with anyio.create_task_group() as tasks:
        async with fleet.database.begin() as tx:
            await tick.lock_pools(tx)
            tasks.start_soon(edit)
            await until(waits)
            at = tx.now + timedelta(hours=1)  # later than the edit read its clock
            await tx.raw.execute(
                "UPDATE resource_pools SET level_micro = 7, as_of = $1 WHERE pool = 'test'", at
            )
        await edited.wait()
    row = (await fleet.fetch("SELECT * FROM resource_pools WHERE pool = 'test'"))[0]
    assert (row["level_micro"], row["as_of"], row["capacity"]) == (7, at, 900)


async def test_pauses_caps_and_terms_hold_from_the_next_tick_on(fleet: Fleet) -> None:
    fleet.script({"work": 1})
    client_id = await fleet.client(Tier.STANDARD)
    for _ in range(4):
        await fleet.submit(client_id)
    process = await fleet.process()

    async def change(what: Any, *args: Any, **options: Any) -> None:
        async with fleet.database.begin() as tx:
            await what(tx, *args, **options)

    async def started() -> int:
        return len((await process.claim()).claimed)

    await change(control_edit.set_pool_paused, "test", paused=True)
    assert await started() == 0
    await change(control_edit.set_pool_paused, "test", paused=False)
    await change(control_edit.set_queue_paused, "normal", paused=True)
    assert await started() == 0
    await change(control_edit.set_queue_paused, "normal", paused=False)
    tier = TierTerms(
        points=20,
        weight=20,
        max_running=1,
        monthly_budget_nano=10**12,
        requests_per_minute=60,
        retention_days=None,
    )
    await change(control_edit.update_tier, Tier.STANDARD, tier)
    before = await fleet.fetch("SELECT * FROM resource_queue ORDER BY job_id")
    assert (await started(), await started()) == (1, 0)
    after = await fleet.fetch("SELECT * FROM resource_queue ORDER BY job_id")
    assert set(after) < set(before)  # nothing that waits was rewritten


async def test_depths_are_counted_by_queue_for_a_client_and_for_all(fleet: Fleet) -> None:
    fleet.script({"work": 1})
    ours, theirs = await fleet.client(), await fleet.client()
    async with fleet.database.begin() as tx:
        later = tx.now + timedelta(hours=1)
    for client_id, urgency, run_after in (
        (ours, Urgency.NORMAL, None),
        (ours, Urgency.NORMAL, None),
        (ours, Urgency.LOW, later),
        (theirs, Urgency.URGENT, None),
        (theirs, Urgency.NORMAL, None),
    ):
        await fleet.submit(client_id, urgency=urgency, run_after=run_after)
    process = await fleet.process(slots=1)
    (claimed,) = (await process.claim()).claimed  # the urgent one, as nothing else is there to be fair to
    assert claimed.start.lane.client_id == theirs
    async with fleet.database.begin() as tx:
        assert await queue.close_empty_lanes(tx) == 1  # that of what runs

    async def depths(client_id: Any) -> dict[str, tuple[int, int, int, bool]]:
        async with fleet.database.begin() as tx:
            rows = await views.queue_depths(tx, client_id)
        assert [row["queue"] for row in rows] == ["immediate", "fast", "normal", "batch", "deferred"]
        told = {
            row["queue"]: (row["ready"], row["scheduled"], row["running"], row["oldest"] is not None)
            for row in rows
        }
        return {name: counts for name, counts in told.items() if any(counts)}

    assert await depths(ours) == {"normal": (2, 0, 0, True), "deferred": (0, 1, 0, False)}
    assert await depths(theirs) == {"normal": (1, 0, 0, True), "immediate": (0, 0, 1, False)}
    assert await depths(None) == {
        "immediate": (0, 0, 1, False), "normal": (3, 0, 0, True), "deferred": (0, 1, 0, False)
    }  # fmt: skip
    async with fleet.database.begin() as tx:
        work = await control_edit.pool_work(tx)
        urgent = await control_edit.pools_with_urgent_work(tx)
    assert work == {"test": control_edit.PoolWork(waiting=3, running=1, clients=2, urgent_waits=False)}
    assert urgent == set()
    await fleet.submit(ours, urgency=Urgency.URGENT)
    async with fleet.database.begin() as tx:
        assert await control_edit.pools_with_urgent_work(tx) == {"test"}
        assert (await control_edit.pool_work(tx))["test"].urgent_waits
