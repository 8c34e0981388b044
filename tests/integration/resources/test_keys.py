"""Processes of one fleet that have different keys: each claims what it can call and harms no other."""

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from tests.fake_worker import TWO_HOPS
from tests.fleet import Fleet
from tests.integration.resources.test_providers import FILE, Start

from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId, ProcessId, new_id
from aifactory.resources.interface import ExecutionState
from aifactory.resources.queries import control, pool_uses, processes

pytestmark = pytest.mark.anyio

KEY = {"TEST_KEY": "x"}
BOTH = {"ALPHA_KEY": "x", "OPENAI_API_KEY": "x"}


@pytest.fixture
def start(database: Database, tmp_path: Path) -> Start:
    return Start(database, tmp_path / "providers.toml")


async def need_key(fleet: Fleet) -> None:
    await fleet.execute("UPDATE providers SET api_key_variable = 'TEST_KEY' WHERE provider = 'test'")


async def neighbour(start: Start, lease: timedelta = timedelta(seconds=15)) -> None:
    """Another process of the fleet, whose lease is over in some time."""
    async with start.database.begin() as tx:
        key = ProcessId(new_id())
        await processes.register(
            tx, process_id=key, host="elsewhere", pid=1, lock_key=1, slots=1, local_slots=1
        )
        await tx.raw.execute("UPDATE processes SET lease_until = $1 WHERE id = $2", tx.now + lease, key)


async def key_present(fleet: Fleet) -> bool:
    return bool((await fleet.provider())["key_present"])


# Claims.


@pytest.mark.parametrize("value", [None, "", " "])
async def test_a_process_without_the_key_leaves_the_work_to_one_that_has_it(
    fleet: Fleet, value: str | None
) -> None:
    await need_key(fleet)
    without = await fleet.process(environ={} if value is None else {"TEST_KEY": value})
    with_key = await fleet.process(environ=KEY)
    execution = await fleet.submit(await fleet.client())
    assert (await without.tick()).claimed == ()
    assert await fleet.counts() == {"resource_queue": 1, "queue_due": 0, "running_jobs": 0}
    await with_key.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_a_process_without_the_key_takes_the_next_hop_that_it_can_call(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1}, route=TWO_HOPS)
    await fleet.add_spare()
    await need_key(fleet)
    process = await fleet.process(environ={})
    await fleet.submit(await fleet.client())
    await process.work()
    assert [job.hop.provider for job in worker.ran] == ["spare"]


# What is noted while processes run.


async def test_a_key_that_the_last_living_process_lacks_is_noted_as_missing_after_a_lease(
    fleet: Fleet,
) -> None:
    await need_key(fleet)
    without, with_key = await fleet.process(environ={}), await fleet.process(environ=KEY)
    await without.engine.maintenance.keep_keys()
    await without.age(20)
    await with_key.age(20)
    await without.engine.maintenance.keep_keys()
    assert await key_present(fleet)
    await with_key.engine.lease.release()
    await without.engine.maintenance.keep_keys()
    assert await key_present(fleet)
    await without.age(16)
    await without.engine.maintenance.keep_keys()
    assert not await key_present(fleet)


async def test_a_process_that_has_a_key_notes_it_whoever_else_lives(fleet: Fleet) -> None:
    await need_key(fleet)
    await fleet.execute("UPDATE providers SET key_present = false WHERE provider = 'test'")
    await fleet.process(environ={})
    with_key = await fleet.process(environ=KEY)
    await with_key.engine.maintenance.round()
    assert await key_present(fleet)


# Starts.


async def test_a_start_beside_living_processes_takes_nothing_from_them(start: Start) -> None:
    await start(environ=BOTH)
    before = await start.usable()
    await neighbour(start)
    await start()
    assert await start.usable() == before
    await start(FILE.replace("models.large]", "models.larger]"))
    assert set(await start.usable()) == {*before, ("alpha", "larger")}
    await start("")
    assert set(await start.usable()) == {*before, ("alpha", "larger")}


async def test_a_start_beside_living_processes_adds_its_keys_and_openai(start: Start) -> None:
    await start()
    assert await start.usable() == []
    await neighbour(start)
    await start(environ=BOTH)
    assert {name for name, _ in await start.usable()} == {"alpha", "openai"}


async def test_a_start_says_all_when_the_leases_of_others_are_over(start: Start) -> None:
    await start(environ=BOTH)
    await neighbour(start, timedelta(seconds=-1))
    await start()
    assert await start.usable() == []
    assert (await start.providers())["openai"]["active"] is False


async def test_another_variable_for_a_key_is_another_key(start: Start) -> None:
    await start(environ=BOTH)
    await neighbour(start)
    await start(FILE.replace("ALPHA_KEY", "OTHER_KEY"))
    assert (await start.providers())["alpha"]["key_present"] is False


async def test_starts_at_the_same_time_add_up(start: Start) -> None:
    await start()
    await neighbour(start)
    await asyncio.gather(*(start(environ={name: "x"}) for name in [*BOTH, "OTHER_KEY"] * 3))
    assert {name for name, _ in await start.usable()} == {"alpha", "openai"}


# Dedicated pools.


async def test_work_is_stuck_when_the_last_pool_of_its_route_becomes_another_clients(fleet: Fleet) -> None:
    fleet.script({"write": 1}, route=TWO_HOPS)
    await fleet.add_spare()
    ours, theirs = await fleet.client(), ClientId(new_id())
    await fleet.submit(ours)

    async def stuck(before: ClientId | None, after: ClientId) -> int:
        shared = pool_uses.Reach(urgent=10**6, other=10**6, client_id=before)
        async with fleet.database.begin() as tx:
            return await pool_uses.count_outgrown(
                tx, "test", before=shared, after=msgspec.structs.replace(shared, client_id=after)
            )

    assert await stuck(None, theirs) == 0  # it takes the spare one
    await fleet.execute("UPDATE resource_pools SET dedicated_client_id = $1 WHERE pool = 'spare'", theirs)
    assert [await stuck(None, theirs), await stuck(ours, theirs), await stuck(None, ours)] == [1, 1, 0]
    assert await stuck(theirs, ClientId(new_id())) == 0  # it was stuck before
    await fleet.execute("UPDATE resource_pools SET dedicated_client_id = $1 WHERE pool = 'spare'", ours)
    assert await stuck(None, theirs) == 0


async def test_a_pool_that_is_dedicated_to_a_client_is_offered_to_nobody_else(start: Start) -> None:
    await start(environ={"ALPHA_KEY": "x"})
    ours, theirs = ClientId(new_id()), ClientId(new_id())
    await start.rows(
        "UPDATE resource_pools SET dedicated_client_id = $1 WHERE pool = 'wide' RETURNING 1", ours
    )

    async def offered(client_id: ClientId | None) -> list[str]:
        async with start.database.begin() as tx:
            return [model.model for model in await control.usable_models(tx, client_id)]

    assert await offered(ours) == ["small", "large"]
    assert await offered(theirs) == ["small"]
    assert await offered(None) == ["small"]
