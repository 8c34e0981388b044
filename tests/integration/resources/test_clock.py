"""The clock of the database is put back: who lives is not taken for dead, and nothing waits for hours."""

from datetime import timedelta

import pytest
from tests.fleet import Fleet

from aifactory.resources.interface import ExecutionState

pytestmark = pytest.mark.anyio

FAR = timedelta(hours=2)


async def test_who_lives_is_not_taken_for_dead_when_the_clock_is_put_back(fleet: Fleet) -> None:
    await fleet.process(clock_offset=FAR)
    other = await fleet.process(clock_offset=FAR)
    await other.tick()
    other.database.clock_offset = timedelta()
    for _ in range(2):
        await other.engine.maintenance.round()
    assert await fleet.value("SELECT count(*) FROM processes") == 2


async def test_who_died_before_the_clock_was_put_back_is_found_one_lease_later(fleet: Fleet) -> None:
    dying, other = await fleet.process(clock_offset=FAR), await fleet.process(clock_offset=FAR)
    execution = await fleet.submit(await fleet.client())
    assert (await dying.claim()).claimed
    other.database.clock_offset = timedelta()
    await other.engine.maintenance.round()
    await other.age(16)
    assert sum([(await other.engine.maintenance.round()).rescued for _ in range(2)]) == 1
    await other.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_an_empty_pool_fills_again_after_the_clock_was_put_back(fleet: Fleet) -> None:
    process = await fleet.process()
    async with fleet.database.begin() as tx:
        await tx.raw.execute("UPDATE resource_pools SET level_micro = 0, as_of = $1", tx.now + FAR)
    await fleet.submit(await fleet.client())
    assert not (await process.tick()).claimed
    await process.age(4)
    assert (await process.tick()).claimed
    await process.settle()
