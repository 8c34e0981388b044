"""Several processes on one database: stopping, switching off, aborting, fencing, and what rest costs."""

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
from tests.fake_worker import COST_NANO, USAGE, WORST_NANO
from tests.fleet import Fleet, Process, until

from aifactory.kernel.db import DatabaseUnavailable, Tx
from aifactory.kernel.ids import JobId
from aifactory.kernel.notices import Notices
from aifactory.resources import provider_store, runner, schemas
from aifactory.resources.engine import Engine
from aifactory.resources.interface import ExecutionState, Job, Outcome
from aifactory.resources.queries import processes, starts, tick, upkeep, views

pytestmark = pytest.mark.anyio

FAR = timedelta(hours=2)


class Hanging:
    """What a job does until it is let go; says how many have started."""

    def __init__(self, fleet: Fleet) -> None:
        self.release = anyio.Event()
        self.started = 0
        self.cancelled = 0
        fleet.worker.on_run = self.run

    async def run(self, job: Job) -> Outcome:
        self.started += 1
        try:
            await self.release.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        return Outcome(usage=USAGE)


async def process_rows(fleet: Fleet) -> list[schemas.Process]:
    """The fleet as the operator sees it."""
    async with fleet.database.begin() as tx:
        _, rows = await views.scheduler_state(tx)
        return [schemas.process_of(row, tx.now) for row in rows]


async def switch(fleet: Fleet, *, enabled: bool) -> None:
    async with fleet.database.begin() as tx:
        await tick.set_enabled(tx, enabled=enabled, by="a test")


async def assert_nothing_left(fleet: Fleet) -> None:
    assert await fleet.counts() == {"resource_queue": 0, "queue_due": 0, "running_jobs": 0}


# Stopping one process.


async def test_a_stopping_process_says_so_claims_nothing_and_lets_others_work(fleet: Fleet) -> None:
    work = Hanging(fleet)
    client, engine, other = await fleet.client(), fleet.engine(grace_seconds=30), await fleet.process()
    first = await fleet.submit(client)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(engine.start())
        await until(lambda: work.started == 1)
        engine.ask_to_stop()
        second = await fleet.submit(client)
        engine.wake()

        async def seen() -> bool:
            return any(row.stopping for row in await process_rows(fleet))

        await until(seen)
        stopping, living = sorted(await process_rows(fleet), key=lambda row: not row.stopping)
        assert (stopping.running, stopping.alive, stopping.may_start) == (1, True, False)
        assert (living.stopping, living.may_start) == (False, True)
        assert (await engine.tick()).claimed == ()
        assert not engine.lease.may_start
        assert len((await other.tick()).claimed) == 1
        work.release.set()
    assert (await fleet.view(first)).state is ExecutionState.SUCCEEDED
    await other.settle()
    assert (await fleet.view(second)).state is ExecutionState.SUCCEEDED
    assert [row.id for row in await process_rows(fleet)] == [str(other.engine.lease.process_id)]


async def test_the_grace_runs_from_the_signal_and_jobs_go_back_while_requests_still_end(fleet: Fleet) -> None:
    work = Hanging(fleet)
    client, engine, other = await fleet.client(), fleet.engine(grace_seconds=0), await fleet.process()
    execution = await fleet.submit(client)
    async with engine.start():
        await until(lambda: work.started == 1)
        engine.ask_to_stop()
        await until(lambda: work.cancelled == 1)

        async def handed_back() -> bool:
            return bool((await fleet.counts())["running_jobs"] == 0)

        await until(handed_back)
        # The stopped process is still there and has its lease, and yet nobody waits for it.
        assert len(await process_rows(fleet)) == 2
        assert len((await other.tick()).claimed) == 1
        work.release.set()
        await other.settle()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert await fleet.budget(client) == (0, COST_NANO, 0)
    await assert_nothing_left(fleet)


async def test_a_stop_without_a_database_ends_and_its_jobs_are_rescued_as_of_a_dead_process(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Hanging(fleet)
    client, engine, other = await fleet.client(), fleet.engine(grace_seconds=0), await fleet.process()
    execution = await fleet.submit(client)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(engine.start())
        await until(lambda: work.started == 1)
        monkeypatch.setattr(runner, "HAND_BACK_SECONDS", 0.1)
        stack.callback(monkeypatch.setattr, engine.database, "begin", unreachable)
    assert await fleet.value("SELECT count(*) FROM running_jobs") == 1
    await other.age(16)
    work.release.set()
    assert await other.rescue() == 1
    await other.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


@contextlib.asynccontextmanager
async def unreachable() -> AsyncIterator[Tx]:
    raise DatabaseUnavailable("gone")
    yield


# Stopping the fleet.


async def test_a_fleet_that_is_switched_off_ends_what_runs_and_starts_nothing_restarts_included(
    fleet: Fleet,
) -> None:
    work = Hanging(fleet)
    client = await fleet.client()
    async with fleet.engine(slots=1).start(), fleet.engine(slots=1).start():
        running = [await fleet.submit(client) for _ in range(2)]
        await until(lambda: work.started == 2)
        await switch(fleet, enabled=False)
        waiting = await fleet.submit(client)
        work.release.set()
        assert {(await fleet.ended(one)).state for one in running} == {ExecutionState.SUCCEEDED}
    async with healthy(fleet) as engine, healthy(fleet):
        restarted = await fleet.process()
        for _ in range(3):
            assert (await restarted.tick()).claimed == ()
        assert (await fleet.view(waiting)).state is ExecutionState.QUEUED
        assert work.started == 2
        await switch(fleet, enabled=True)
        engine.wake()
        assert (await fleet.ended(waiting)).state is ExecutionState.SUCCEEDED


async def test_a_switch_in_the_middle_of_a_tick_holds_for_that_tick_already(fleet: Fleet) -> None:
    process = await fleet.process()
    await fleet.submit(await fleet.client())
    ticks: list[Any] = []

    async def run_tick() -> None:
        ticks.append(await process.tick())

    connection = await fleet.database.own_connection()
    async with anyio.create_task_group() as tasks, connection.transaction():
        await connection.execute("SELECT FROM resource_pools FOR UPDATE")
        tasks.start_soon(run_tick)
        await waits_for_a_lock(fleet)
        await switch(fleet, enabled=False)
    await connection.close()
    assert ticks[0].claimed == ()
    await switch(fleet, enabled=True)
    await process.work()


async def waits_for_a_lock(fleet: Fleet) -> None:
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock'"
    )

    async def one() -> bool:
        return bool(await fleet.value(sql))

    await until(one, 10)


# What a process says of itself.


async def test_the_fleet_sees_every_process_with_its_loops(fleet: Fleet) -> None:
    async with healthy(fleet) as one, healthy(fleet) as other:
        for row in await process_rows(fleet):
            assert (row.alive, row.may_start, row.stopping) == (True, True, False)
        first, second = await process_rows(fleet)
        assert first.epoch != second.epoch
        assert first.version == second.version != ""

        async def all_said() -> bool:
            one._wakes["lease"].set()
            other._wakes["lease"].set()
            rows = await process_rows(fleet)
            loops = [loop for row in rows for loop in row.loops.values()]
            assert all(loop.age_ms is None or loop.age_ms >= 0 for loop in loops)
            return all(row.loops for row in rows) and all(loop.ok for loop in loops)

        await until(all_said)
        names = {frozenset(row.loops) for row in await process_rows(fleet)}
        assert names == {frozenset(one.healths)}


async def test_a_process_that_has_not_renewed_is_seen_to_be_fenced_before_it_is_seen_to_be_dead(
    fleet: Fleet,
) -> None:
    await fleet.process()

    async def seen_after(seconds: float) -> tuple[bool, bool]:
        fleet.database.clock_offset = timedelta(seconds=seconds)
        (row,) = await process_rows(fleet)
        return row.alive, row.may_start

    assert await seen_after(9) == (True, True)
    assert await seen_after(11) == (True, False)
    assert await seen_after(16) == (False, False)


# Fencing.


async def test_a_fenced_process_starts_nothing_and_settles_what_it_ran(fleet: Fleet) -> None:
    work = Hanging(fleet)
    client, process = await fleet.client(), await fleet.process()
    running = await fleet.submit(client)
    await process.tick()
    waiting = await fleet.submit(client)
    process.engine.lease._renewed = time.monotonic() - 11
    assert not process.engine.lease.may_start
    assert (await process.tick()).claimed == ()
    work.release.set()
    await process.settle()
    assert (await fleet.view(running)).state is ExecutionState.SUCCEEDED
    assert (await fleet.view(waiting)).state is ExecutionState.QUEUED
    await process.engine.lease.round()
    await process.work()
    assert (await fleet.view(waiting)).state is ExecutionState.SUCCEEDED


async def test_outcomes_wait_while_the_database_is_away_and_settle_by_token(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Hanging(fleet)
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    await process.tick()
    with monkeypatch.context() as outage:
        outage.setattr(process.database, "begin", unreachable)
        work.release.set()
        await process.settle()
        await process.engine.runner.settle_ended()
        assert len(process.engine.runner.tokens) == 1
    await process.settle()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert await fleet.budget(client) == (0, COST_NANO, 0)


# Aborting.


async def test_a_cancel_in_one_process_aborts_the_call_in_another_at_once(fleet: Fleet) -> None:
    work = Hanging(fleet)
    client, process = await fleet.client(), await fleet.process()
    here, there = Notices(database=fleet.database), Notices(database=process.database)
    fleet.database.on_tell = here.tell
    there.subscribe("abort", lambda keys: process.engine.abort([JobId(key) for key in keys or ()]))
    execution = await fleet.submit(client)
    await process.tick()
    await until(lambda: work.started == 1)
    async with here.listen(), there.listen():
        await until(lambda: there._connection is not None)
        await fleet.cancel(execution)
        await until(lambda: work.cancelled == 1)
    await process.settle()
    assert (await fleet.view(execution)).state is ExecutionState.CANCELLED
    assert await fleet.ledger("unreconciled") == [WORST_NANO]
    assert await fleet.budget(client) == (0, 0, 0)
    await assert_nothing_left(fleet)


async def test_what_expires_while_it_runs_is_aborted_and_its_money_goes_back(fleet: Fleet) -> None:
    fleet.script({"write": 3})
    work = Hanging(fleet)
    client, process = await fleet.client(), await fleet.process(slots=2)
    later = await fleet.process(clock_offset=FAR)
    told: list[Any] = []
    later.database.on_tell = lambda topic, keys: told.append((topic, set(keys)))
    async with fleet.database.begin() as tx:
        deadline = tx.now + FAR / 2
    execution = await fleet.submit(client, deadline=deadline)
    running = {one.start.head.job_id for one in (await process.tick()).claimed}
    await until(lambda: work.started == 2)
    assert await later.engine.maintenance.expire() == 1
    assert ("abort", running) in told
    view = await fleet.view(execution)
    assert (view.state, view.reasons[0].code) == (ExecutionState.EXPIRED, "deadline")
    # The worst case of what runs is held until it is known; the rest is free at once.
    assert await fleet.budget(client) == (2 * WORST_NANO, 0, 0)
    await process.engine._maintain()
    await process.settle()
    assert work.cancelled == 2
    assert await fleet.budget(client) == (0, 0, 0)
    assert await fleet.ledger("unreconciled") == [WORST_NANO] * 2
    assert sorted(await fleet.job_states()) == ["cancelled", "cancelled", "expired"]
    assert (await fleet.events(execution)).count("execution.expired") == 1
    await assert_nothing_left(fleet)


async def test_a_call_that_ends_after_its_execution_expired_is_paid_and_followed_by_nothing(
    fleet: Fleet,
) -> None:
    fleet.script({"read": 1, "write": 1})
    client, process, later = (
        await fleet.client(),
        await fleet.process(),
        await fleet.process(clock_offset=FAR),
    )
    async with fleet.database.begin() as tx:
        deadline = tx.now + FAR / 2
    execution = await fleet.submit(client, deadline=deadline)
    await process.tick()
    await until(lambda: process.engine.runner.idle)
    await later.engine.maintenance.expire()
    await process.settle()
    assert (await fleet.view(execution)).state is ExecutionState.EXPIRED
    assert await fleet.budget(client) == (0, COST_NANO, 0)
    await assert_nothing_left(fleet)


# Suspension.


async def test_a_suspended_clients_running_step_ends_and_what_follows_waits(fleet: Fleet) -> None:
    fleet.script({"read": 1, "write": 1})
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    await process.tick()
    await fleet.set_client(client, suspended=True)
    await process.settle()
    assert await fleet.budget(client) == (WORST_NANO, COST_NANO, 1)
    for _ in range(2):
        assert (await process.tick()).claimed == ()
    assert (await fleet.view(execution)).state is ExecutionState.RUNNING
    assert (await fleet.counts())["resource_queue"] == 1
    await fleet.set_client(client)
    await process.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert await fleet.budget(client) == (0, 2 * COST_NANO, 0)


async def test_a_suspended_clients_work_may_be_cancelled_and_expires(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    async with fleet.database.begin() as tx:
        deadline = tx.now + timedelta(seconds=5)
    cancelled, expired = await fleet.submit(client), await fleet.submit(client, deadline=deadline)
    await fleet.set_client(client, suspended=True)
    assert (await fleet.cancel(cancelled)).state is ExecutionState.CANCELLED
    await process.age(6)
    await process.engine.maintenance.round()
    assert (await fleet.view(expired)).state is ExecutionState.EXPIRED
    assert await fleet.budget(client) == (0, 0, 0)


async def test_work_for_later_that_comes_due_while_its_client_is_suspended_waits_on(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    async with fleet.database.begin() as tx:
        due = tx.now + timedelta(seconds=5)
    execution = await fleet.submit(client, run_after=due)
    assert (await fleet.view(execution)).queue == "deferred"
    await fleet.set_client(client, suspended=True)
    await process.age(6)
    assert (await process.tick()).claimed == ()
    await fleet.set_client(client)
    await process.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


# At rest.


async def count_transactions(process: Process, action: Callable[[], Awaitable[Any]]) -> int:
    begin, count = process.database.begin, 0

    def counted() -> Any:
        nonlocal count
        count += 1
        return begin()

    process.database.begin = counted  # type: ignore[method-assign]
    try:
        await action()
    finally:
        process.database.begin = begin  # type: ignore[method-assign]
    return count


async def test_maintenance_of_a_fleet_at_rest_is_one_look(fleet: Fleet) -> None:
    await fleet.process()
    process = await fleet.process()
    await fleet.submit(await fleet.client())
    await process.work()
    await process.engine.maintenance.round()
    assert await fleet.value("SELECT count(*) FROM lanes") == 0
    assert await count_transactions(process, process.engine.maintenance.round) == 1


async def test_a_tick_at_rest_locks_nothing_and_waits_for_nobody(fleet: Fleet) -> None:
    process = await fleet.process()
    await fleet.submit(await fleet.client())
    await process.work()
    assert not (await process.tick()).at_rest  # while there is a lane
    await process.engine.maintenance.round()
    process.database.clock_offset += timedelta(seconds=2)  # so that it has something to note
    async with fleet.database.begin() as tx:
        assert await tick.try_decider_lock(tx)
        await tx.raw.execute("SELECT FROM resource_pools FOR UPDATE")
        await tx.raw.execute("SELECT FROM scheduler_control FOR UPDATE")
        found = await process.tick()
    assert (found.at_rest, found.refused) == (True, False)
    assert found.rest_seconds >= 1.5


async def test_a_claim_waits_for_no_disk_and_every_start_does(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: dict[str, bool] = {}  #: as the server is set up to do, or the transaction has said that it doesn't
    as_set_up = "SELECT source <> 'session' FROM pg_settings WHERE name = 'synchronous_commit'"

    def noting(name: str, plain: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def noted(tx: Tx, *values: Any, **rest: Any) -> Any:
            done = await plain(tx, *values, **rest)
            waits[name] = await tx.raw.fetchval(as_set_up)
            return done

        return noted

    monkeypatch.setattr(tick, "apply", noting("claim", tick.apply))
    monkeypatch.setattr(starts, "insert_attempts", noting("start", starts.insert_attempts))
    process = await fleet.process()
    await fleet.submit(await fleet.client())
    await process.work()
    assert waits == {"claim": False, "start": True}


async def test_a_fleet_at_rest_is_seen_to_tick_and_no_outage_is_noted(fleet: Fleet) -> None:
    process = await fleet.process()
    await process.tick()
    resumed = await fleet.value("SELECT resumed_at FROM scheduler_control")
    for _ in range(5):
        process.database.clock_offset += timedelta(seconds=2)
        assert (await process.tick()).at_rest
    assert await fleet.value("SELECT resumed_at FROM scheduler_control") == resumed
    process.database.clock_offset += timedelta(seconds=20)
    await process.tick()
    assert await fleet.value("SELECT resumed_at > $1 FROM scheduler_control", resumed)


async def test_a_process_without_a_free_slot_keeps_the_fleet_from_looking_dead(fleet: Fleet) -> None:
    work = Hanging(fleet)
    client, process = await fleet.client(), await fleet.process(slots=1, local_slots=0)
    await fleet.submit(client)
    await process.tick()
    resumed = await fleet.value("SELECT resumed_at FROM scheduler_control")
    for _ in range(4):
        process.database.clock_offset += timedelta(seconds=3)
        await process.tick()
        await process.engine.maintenance.round()
    work.release.set()
    await process.settle()
    await process.tick()
    assert await fleet.value("SELECT resumed_at FROM scheduler_control") == resumed


async def test_a_client_whose_work_has_ended_is_noted_as_idle_before_the_fleet_rests(fleet: Fleet) -> None:
    process = await fleet.process()
    await fleet.submit(await fleet.client())
    await process.tick()
    await process.engine.maintenance.round()  # the lane is gone while the job still runs
    await process.settle()
    assert await fleet.value("SELECT count(*) FROM client_pool_usage WHERE active") == 1
    assert not (await process.tick()).at_rest
    assert await fleet.value("SELECT count(*) FROM client_pool_usage WHERE active") == 0
    assert (await process.tick()).at_rest


async def test_work_for_later_wakes_a_fleet_at_rest_when_it_is_due(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    async with fleet.database.begin() as tx:
        due = tx.now + timedelta(seconds=1)
    await fleet.submit(client, run_after=due)
    resting = await process.tick()
    assert (resting.at_rest, resting.next_wake) == (True, due)
    assert resting.rest_seconds <= 1
    await process.age(2)
    await process.work()
    assert await fleet.job_states() == ["succeeded"]


async def test_keys_are_noted_now_and_then_and_at_once_when_one_appears(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.execute("UPDATE providers SET api_key_variable = 'TEST_KEY' WHERE provider = 'test'")
    environ = {"TEST_KEY": "a key"}
    process, noted = await fleet.process(environ=environ), 0
    note_keys = provider_store.note_keys

    async def counted(*arguments: Any, **named: Any) -> None:
        nonlocal noted
        noted += 1
        await note_keys(*arguments, **named)

    monkeypatch.setattr(provider_store, "note_keys", counted)
    for _ in range(3):
        await process.engine.maintenance.round()
    assert noted == 1
    await fleet.execute("UPDATE providers SET key_present = false WHERE provider = 'test'")
    await process.engine.maintenance.round()
    assert noted == 2
    assert (await fleet.provider())["key_present"]
    del environ["TEST_KEY"]
    await process.age(16)
    await process.engine.maintenance.round()
    assert noted == 3
    assert not (await fleet.provider())["key_present"]


# What should never be.


async def test_a_queued_job_without_a_lane_is_counted_and_put_into_one(fleet: Fleet) -> None:
    process, executions = await fleet.process(), []
    for _ in range(2):
        client = await fleet.client()
        executions += [await fleet.submit(client), await fleet.submit(client)]
    await fleet.execute("DELETE FROM lanes WHERE id = (SELECT min(id) FROM lanes)")
    async with fleet.database.begin() as tx:
        assert await upkeep.count_orphans(tx) == 2
    await process.work()
    assert (await fleet.counts())["resource_queue"] == 2
    assert await process.engine.maintenance.reopen_orphans() == 2
    async with fleet.database.begin() as tx:
        assert await upkeep.count_orphans(tx) == 0
    await process.work()
    assert {(await fleet.view(one)).state for one in executions} == {ExecutionState.SUCCEEDED}


async def test_runs_of_no_process_are_counted_until_they_are_rescued(fleet: Fleet) -> None:
    dying, other = await fleet.process(), await fleet.process()
    await fleet.submit(await fleet.client())
    await dying.claim()
    async with fleet.database.begin() as tx:
        assert await upkeep.count_lost_runs(tx) == 0
        await processes.remove(tx, dying.engine.lease.process_id)
        assert await upkeep.count_lost_runs(tx) == 1
    assert (await other.engine.maintenance.round()).rescued == 1
    async with fleet.database.begin() as tx:
        assert await upkeep.count_lost_runs(tx) == 0
    await other.work()


async def test_a_round_rescues_what_a_process_ran_whose_lease_is_over(fleet: Fleet) -> None:
    dying, other = await fleet.process(), await fleet.process()
    execution = await fleet.submit(await fleet.client())
    await dying.claim()
    assert (await other.engine.maintenance.round()).rescued == 0
    await other.age(16)
    assert (await other.engine.maintenance.round()).rescued == 1
    await other.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_nobody_is_taken_for_dead_before_the_first_tick_or_after_an_outage(fleet: Fleet) -> None:
    await fleet.process()
    other = await fleet.process()
    await other.engine.maintenance.round()  # with what is done once a minute: the next one is short
    async with fleet.database.begin() as tx:  # whoever ticks holds the row that says when ticking began
        await tx.raw.execute("SELECT FROM scheduler_control FOR UPDATE")
        await other.engine.maintenance.round()
    other.database.clock_offset = FAR
    await other.engine.maintenance.round()
    assert await fleet.value("SELECT count(*) FROM processes") == 2
    await other.age(16)
    await other.engine.maintenance.round()
    assert await fleet.value("SELECT count(*) FROM processes") == 1


async def test_a_process_takes_its_session_lock_once_its_old_connection_is_seen_to_be_gone(
    fleet: Fleet,
) -> None:
    process, other = await fleet.process(), await fleet.process()
    lease, old = process.engine.lease, await fleet.database.own_connection()
    await lease._drop_connection()
    await old.execute("SELECT pg_advisory_lock($1)", lease._lock_key)  # as if the server still held it
    await lease.round()
    await old.close()
    await lease.round()
    async with fleet.database.begin() as tx:
        (seen,) = await processes.others(tx, other.engine.lease.process_id)
    assert not seen["session_gone"]


# Dead and late loops.


@contextlib.asynccontextmanager
async def healthy(fleet: Fleet, **options: Any) -> AsyncIterator[Engine]:
    """An engine each of whose loops has done a round."""
    engine = fleet.engine(**options)
    async with engine.start():
        await until(lambda: all_alive(engine))
        yield engine


def all_alive(engine: Engine) -> bool:
    engine._wake_all()
    return all(engine.alive().values())


def late(engine: Engine, name: str) -> bool:
    """Whether a loop counts as late when nothing of it has been heard for as long as it may take."""
    health = engine.healths[name]
    assert health.last_round is not None
    health.last_round -= health.stale_after.total_seconds()
    return not engine.alive()[name]


@pytest.mark.parametrize("name", ["lease", "scheduler", "settler", "maintenance"])
async def test_a_loop_whose_round_hangs_is_late(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hangs = anyio.Event()

    async def hang(*_: Any, **__: Any) -> Any:
        hangs.set()
        await anyio.sleep_forever()

    monkeypatch.setattr("aifactory.resources.engine.LAST_ROUNDS_SECONDS", 0.05)
    async with healthy(fleet) as engine:
        place: dict[str, tuple[object, str]] = {
            "lease": (engine.lease, "_renew"),
            "scheduler": (engine.scheduler, "tick"),
            "settler": (engine.runner, "settle_ended"),
            "maintenance": (engine.maintenance, "round"),
        }
        with monkeypatch.context() as broken:
            broken.setattr(*place[name], hang)
            engine._wake_all()
            await hangs.wait()
            assert all(engine.alive().values())
            assert late(engine, name)
            assert sum(not alive for alive in engine.alive().values()) == 1


@pytest.mark.parametrize("name", ["scheduler", "maintenance"])
async def test_a_loop_whose_rounds_all_fail_is_late(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise ValueError("no")

    async with healthy(fleet) as engine:
        part = engine.scheduler if name == "scheduler" else engine.maintenance
        with monkeypatch.context() as broken:
            broken.setattr(part, "tick" if name == "scheduler" else "round", fail)
            engine._wake_all()
            await until(lambda: engine.healths[name].failures > 0)
            assert late(engine, name)
        engine._wake_all()
        await until(lambda: engine.alive()[name])


async def test_a_loop_whose_task_has_ended_is_dead_at_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        """What no loop catches."""

    async def end() -> Any:
        raise Ended

    async def run_to_its_end() -> None:
        async with healthy(fleet) as engine:
            engines.append(engine)
            monkeypatch.setattr(engine.maintenance, "round", end)
            engine._wakes["maintenance"].set()
            await anyio.sleep_forever()

    engines: list[Engine] = []
    with pytest.raises(BaseExceptionGroup) as raised:
        await run_to_its_end()
    assert raised.group_contains(Ended)
    assert not engines[0].alive()["maintenance"]
    assert await fleet.value("SELECT count(*) FROM processes") == 0


async def test_a_lease_that_can_not_be_renewed_is_dead_although_its_loop_goes_round(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> bool:
        raise OSError("gone")

    async with healthy(fleet) as engine:
        monkeypatch.setattr(processes, "renew", refuse)
        engine.lease._renewed -= 11
        assert engine.healths["lease"].alive
        assert not engine.alive()["lease"]
        monkeypatch.undo()
        engine._wakes["lease"].set()
        await until(lambda: engine.alive()["lease"])
