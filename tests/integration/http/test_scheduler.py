"""The operator's view of the fleet, the switch of its scheduler, and readiness as its loops are."""

from datetime import timedelta
from typing import Any

import anyio
import pytest
from tests.factories import World, assert_problem, open_world
from tests.fleet import until

import aifactory
from aifactory.kernel.db import Database
from aifactory.kernel.ids import ProcessId, new_id
from aifactory.resources.engine import Engine
from aifactory.resources.queries import processes
from aifactory.resources.queries.fleet import fleet_now
from aifactory.server import loops_check

pytestmark = pytest.mark.anyio


async def enter_neighbour(database: Database) -> str:
    """Enter another process of the fleet, that has its lease and stops; return its id."""
    process_id = ProcessId(new_id())
    async with database.begin() as tx:
        await processes.register(
            tx, process_id=process_id, host="elsewhere", pid=7, lock_key=1, slots=3, local_slots=2
        )
        await processes.mark_stopping(tx, process_id)
    return str(process_id)


async def test_the_fleet_is_shown_process_by_process(world: World) -> None:
    await world.engine.lease.round()
    neighbour = await enter_neighbour(world.database)
    shown = (await world.ask("GET", "/admin/scheduler", world.support)).json()
    assert (shown["enabled"], shown["orphans"], shown["lostRuns"]) == (True, 0, 0)
    mine, other = sorted(shown["processes"], key=lambda process: process["id"] == neighbour)
    assert mine["id"] == str(world.engine.lease.process_id)
    assert mine["version"] == aifactory.__version__
    assert (mine["alive"], mine["mayStart"], mine["stopping"], mine["running"]) == (True, True, False, 0)
    assert (mine["slots"], mine["localSlots"]) == (8, 2)
    assert mine["loops"]["scheduler"] == {"ok": False, "ageMs": None}
    assert (other["host"], other["pid"]) == ("elsewhere", 7)
    assert (other["alive"], other["mayStart"], other["stopping"]) == (True, False, True)
    assert mine["epoch"] < other["epoch"]


async def test_who_keeps_the_fleet_up_does_not_pass_for_its_scheduler(world: World) -> None:
    async def last_tick() -> str:
        seen: str = (await world.ask("GET", "/admin/scheduler", world.support)).json()["lastTickAt"]
        return seen

    await world.engine.lease.round()
    started = await last_tick()
    world.database.clock_offset = timedelta(minutes=1)
    world.engine.healths["scheduler"].good_round()
    await world.engine.lease.round()
    ticked = await last_tick()
    assert started < ticked
    world.database.clock_offset = timedelta(minutes=5)
    await world.engine.maintenance.round()
    assert await last_tick() == ticked
    async with world.database.begin() as tx:
        fleet = await fleet_now(tx)
    assert fleet.last_tick_at is not None
    assert fleet.now - fleet.last_tick_at > timedelta(minutes=4)


async def test_switching_the_scheduler_is_told_to_the_fleet_and_audited(world: World) -> None:
    told: list[tuple[str, Any]] = []
    world.database.on_tell = lambda topic, keys: told.append((topic, keys))
    stopped = await world.ask("POST", "/admin/scheduler/stop", world.admin)
    assert (stopped.status_code, stopped.json()["enabled"]) == (200, False)
    assert (await world.ask("POST", "/admin/scheduler/stop", world.admin)).json()["enabled"] is False
    started = (await world.ask("POST", "/admin/scheduler/start", world.admin)).json()
    assert (started["enabled"], started["changedBy"]) == (True, stopped.json()["changedBy"])
    assert told == [("work", ())] * 3
    async with world.database.begin() as tx:
        rows = await tx.raw.fetch("SELECT action FROM audit_log WHERE action LIKE 'scheduler.%' ORDER BY id")
    assert [row["action"] for row in rows] == ["scheduler.stop", "scheduler.start"]  # none for the same again


async def test_readiness_is_as_the_loops_are_and_liveness_is_not(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(database=database, workers={}, slots=1, local_slots=1, grace_seconds=0, environ={})
    async with open_world(database, health={"scheduler": loops_check(engine)}) as world:

        async def status(path: str) -> int:
            return (await world.ask("GET", path)).status_code

        assert await status("/health/ready") == 503  # it has not begun
        async with engine.start():
            await until(lambda: all_alive(engine))
            assert await status("/health/ready") == 200
            hangs = anyio.Event()

            async def hang() -> Any:
                hangs.set()
                await anyio.sleep_forever()

            monkeypatch.setattr("aifactory.resources.engine.LAST_ROUNDS_SECONDS", 0.05)
            monkeypatch.setattr(engine.maintenance, "round", hang)
            engine._wakes["maintenance"].set()
            await hangs.wait()
            health = engine.healths["maintenance"]
            assert health.last_round is not None
            health.last_round -= health.stale_after.total_seconds()
            problem = assert_problem(await world.ask("GET", "/health/ready"), 503, "not_ready")
            loops = problem["parts"]["scheduler"]["detail"]["loops"]
            assert [name for name, alive in loops.items() if not alive] == ["maintenance"]
            assert await status("/health") == 200


def all_alive(engine: Engine) -> bool:
    engine._wake_all()
    return all(engine.alive().values())
