"""What answers do to their provider and pool: circuits, probes, fall-back, 429, rate headers."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.fake_worker import (
    DOWN,
    NO_KEY,
    TWO_HOPS,
    USAGE,
    WELL,
    limited,
)
from tests.fleet import Fleet, Process, until

from aifactory.resources import retries
from aifactory.resources.buckets import MICRO
from aifactory.resources.interface import (
    LOCAL_ROUTE,
    ExecutionState,
    Health,
    Job,
    Outcome,
    SchemaProfile,
    Signal,
    Usage,
)
from aifactory.resources.queries import queue
from aifactory.resources.records import PoolChange

pytestmark = pytest.mark.anyio

NO_WAY = {"resource_queue": 1, "queue_due": 0, "running_jobs": 0}


async def circuit(fleet: Fleet, name: str = "test") -> tuple[str, int, int]:
    row = await fleet.provider(name)
    return row["circuit"], row["failures"], row["openings"]


async def pool(fleet: Fleet, name: str = "test") -> Any:
    (row,) = await fleet.fetch("SELECT * FROM resource_pools WHERE pool = $1", name)
    return row


def held_back(fleet: Fleet) -> tuple[list[Outcome], anyio.Event]:
    """Let calls wait for an event; each then gives the next outcome of the list."""
    outcomes: list[Outcome] = []
    go = anyio.Event()

    async def run(job: Job) -> Outcome:
        mine = outcomes.pop(0)
        await go.wait()
        return mine

    fleet.worker.on_run = run
    return outcomes, go


# Circuits.


async def test_five_failures_in_a_row_open_a_circuit_and_nothing_starts_there(fleet: Fleet) -> None:
    worker = fleet.script({"write": 6}, max_attempts=1)
    client, process = await fleet.client(), await fleet.process(slots=5)
    worker.answers = [DOWN] * 5
    execution = await fleet.submit(client)
    await process.work()
    row = await fleet.provider()
    assert (row["circuit"], row["failures"], row["openings"]) == ("open", 5, 1)
    assert (row["circuit_until"] - row["circuit_changed_at"]).total_seconds() == 30
    assert row["last_error"] == "HTTP 503"
    assert await fleet.counts() == NO_WAY
    assert (await process.claim()).next_wake == row["circuit_until"]
    await process.age(31)
    worker.answers = [WELL]
    await process.work()
    assert await circuit(fleet) == ("closed", 0, 0)
    assert (await fleet.view(execution)).state.final


async def test_one_probe_in_the_whole_fleet_decides_whether_a_circuit_closes(fleet: Fleet) -> None:
    fleet.script({"write": 6})
    client, processes = await fleet.client(), [await fleet.process(slots=3) for _ in range(3)]
    outcomes, go = held_back(fleet)
    outcomes += [WELL] * 6
    await fleet.open_circuit(since=31, until=-1)
    execution = await fleet.submit(client)
    claimed = [len((await process.tick()).claimed) for process in processes]
    assert claimed == [1, 0, 0]
    go.set()
    await processes[0].settle()
    assert await circuit(fleet) == ("closed", 0, 0)
    assert [len((await process.tick()).claimed) for process in processes] == [3, 2, 0]
    for process in processes:
        await process.settle()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_deciders_that_try_at_the_same_time_send_one_probe(fleet: Fleet) -> None:
    fleet.script({"write": 9})
    client, processes = await fleet.client(), [await fleet.process(slots=3) for _ in range(4)]
    await fleet.open_circuit(since=31, until=-1)
    await fleet.submit(client)
    claimed: list[int] = []

    async def decide(process: Process) -> None:
        while (tick := await process.claim()).refused:
            await anyio.lowlevel.checkpoint()
        claimed.append(len(tick.claimed))

    async with anyio.create_task_group() as tasks:
        for process in processes:
            tasks.start_soon(decide, process)
    assert sorted(claimed) == [0, 0, 0, 1]
    assert await fleet.counts() == {"resource_queue": 8, "queue_due": 0, "running_jobs": 1}


async def test_a_failed_probe_opens_it_for_twice_as_long(fleet: Fleet) -> None:
    worker = fleet.script({"write": 2}, max_attempts=1)
    client, process = await fleet.client(), await fleet.process()
    await fleet.open_circuit(since=31, until=-1)
    await fleet.submit(client)
    worker.answers = [DOWN]
    before = await fleet.provider()
    await process.work()
    after = await fleet.provider()
    assert len(worker.ran) == 1
    assert (after["openings"], after["circuit_changed_at"]) == (2, before["circuit_changed_at"])
    assert (after["circuit_until"] - after["last_error_at"]).total_seconds() == 60


async def test_a_probe_that_is_lost_with_its_process_is_followed_by_another(fleet: Fleet) -> None:
    client, dying, other = await fleet.client(), await fleet.process(), await fleet.process()
    await fleet.open_circuit(since=31, until=-1)
    fleet.worker.answers = [WELL]
    execution = await fleet.submit(client)
    assert len((await dying.claim()).claimed) == 1
    assert (await other.claim()).claimed == ()
    await other.age(16)
    assert await other.rescue() == 1
    await other.work()
    assert await circuit(fleet) == ("closed", 0, 0)
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


@pytest.mark.parametrize("late", [WELL, DOWN, NO_KEY])
async def test_calls_that_began_before_the_opening_neither_close_it_nor_count_twice(
    fleet: Fleet, late: Outcome
) -> None:
    fleet.script({"write": 6}, max_attempts=1)
    client, early, other = await fleet.client(), await fleet.process(slots=1), await fleet.process(slots=5)
    outcomes, go = held_back(fleet)
    outcomes += [late]
    await fleet.submit(client)
    await early.tick()
    await until(lambda: not outcomes)
    fleet.worker.on_run, fleet.worker.answers = None, [DOWN] * 5
    await other.work()
    opened = await fleet.provider()
    assert opened["circuit"] == "open"
    go.set()
    await early.settle()
    assert await fleet.provider() == opened


async def test_a_call_that_has_hung_since_before_the_opening_is_no_probe_and_does_not_prevent_one(
    fleet: Fleet,
) -> None:
    fleet.script({"write": 2}, max_attempts=1)
    client, hung, other = await fleet.client(), await fleet.process(slots=1), await fleet.process()
    outcomes, go = held_back(fleet)
    outcomes += [DOWN]
    await fleet.submit(client)
    await hung.tick()
    await until(lambda: not outcomes)
    await fleet.open_circuit(since=0, until=1)
    await other.age(2)
    fleet.worker.on_run, fleet.worker.answers = None, [WELL]
    await other.work()
    assert await circuit(fleet) == ("closed", 0, 0)
    go.set()
    await hung.settle()
    assert await circuit(fleet) == ("closed", 0, 0)


async def test_a_refused_key_opens_the_circuit_at_once_for_ten_minutes(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    fleet.worker.answers = [NO_KEY]
    await fleet.submit(client)
    await process.work()
    row = await fleet.provider()
    assert (row["circuit_until"] - row["circuit_changed_at"]).total_seconds() == 600
    assert len(fleet.worker.ran) == 1


async def test_while_a_circuit_is_open_lanes_fall_to_their_next_hop_and_come_back(fleet: Fleet) -> None:
    worker = fleet.script({"read": 1, "write": 1, "assess": 1}, route=TWO_HOPS)
    await fleet.add_spare()
    client, process = await fleet.client(), await fleet.process()
    await fleet.open_circuit(since=1, until=29)
    await fleet.submit(client)
    worker.answers = [WELL]
    await process.tick()
    await process.settle()
    await process.age(30)
    worker.answers = [WELL]
    await process.work()
    assert [job.hop.provider for job in worker.ran] == ["spare", "test", "test"]
    assert await circuit(fleet) == ("closed", 0, 0)


async def test_a_provider_that_is_well_is_never_written(fleet: Fleet) -> None:
    worker = fleet.script({"write": 4})
    client, process = await fleet.client(), await fleet.process()
    worker.answers = [WELL] * 4
    before = await fleet.fetch("SELECT xmin, ctid, * FROM providers")
    execution = await fleet.submit(client)
    await process.work()
    assert await fleet.fetch("SELECT xmin, ctid, * FROM providers") == before
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_a_success_starts_the_count_of_failures_again(fleet: Fleet) -> None:
    worker = fleet.script({"write": 5}, max_attempts=1)
    client, process = await fleet.client(), await fleet.process(slots=1)
    worker.answers = [DOWN, DOWN, DOWN, DOWN, WELL]
    await fleet.submit(client)
    for _ in range(4):
        await process.tick()
        await process.settle()
    assert await circuit(fleet) == ("closed", 4, 0)
    await process.work()
    assert await circuit(fleet) == ("closed", 0, 0)


@pytest.mark.parametrize(("streaming", "failures"), [(False, 1), (True, 0)])
async def test_a_time_limit_tells_of_a_provider_only_where_no_other_limit_does(
    fleet: Fleet, streaming: bool, failures: int
) -> None:
    async def hang(job: Job) -> Outcome:
        raise TimeoutError

    await fleet.execute("UPDATE providers SET streaming = $1 WHERE provider = 'test'", streaming)
    process, client = await fleet.process(), await fleet.client()
    for route in (None, LOCAL_ROUTE):
        worker = fleet.script({"write": 1}, max_attempts=1, **({"route": route} if route else {}))
        worker.on_run = hang
        await fleet.submit(client)
        await process.work()
    assert await circuit(fleet) == ("closed", failures, 0)
    assert await circuit(fleet, "local") == ("closed", 0, 0)


# Pools: 429 and rate headers.


async def test_while_a_pool_is_blocked_other_work_on_it_waits_until_then(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    fleet.worker.answers = [limited(20)]
    await fleet.submit(client)
    await process.work()
    await fleet.submit(client)
    tick = await process.claim()
    assert (tick.claimed, tick.next_wake) == ((), (await pool(fleet))["blocked_until"])


async def test_a_429_does_not_count_against_the_tries_of_its_job(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1}, max_attempts=1)
    client, process = await fleet.client(), await fleet.process()
    worker.answers = [limited(1), limited(), limited(3)]
    execution = await fleet.submit(client)
    for _ in range(4):
        await process.work()
        await process.age(61)
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert [job.attempt for job in worker.ran] == [1, 2, 3, 4]


async def test_429s_without_end_are_given_up(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "MAX_UNCOUNTED", 3)
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(), await fleet.process()
    worker.answers = [limited()] * 9
    execution = await fleet.submit(client)
    for _ in range(9):
        await process.work()
        await process.age(61)
    assert len(worker.ran) == 3
    assert (await fleet.view(execution)).reasons[0].code == "rate_limited"


async def test_after_a_429_a_job_with_another_hop_goes_there_at_once(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1}, route=TWO_HOPS)
    await fleet.add_spare()
    client, process = await fleet.client(), await fleet.process()
    worker.answers = [limited(600), WELL]
    execution = await fleet.submit(client)
    await process.work()
    assert [job.hop.provider for job in worker.ran] == ["test", "spare"]
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_when_every_hop_was_limited_a_job_rests_before_its_next_round(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1}, route=TWO_HOPS)
    await fleet.add_spare()
    client, process = await fleet.client(), await fleet.process()
    worker.answers = [limited(0), limited(0)]
    await fleet.submit(client)
    await process.work()
    assert len(worker.ran) == 2
    assert await fleet.counts() == {"resource_queue": 0, "queue_due": 1, "running_jobs": 0}


@pytest.mark.parametrize(("given", "kept"), [(10**9, 3600), (float("nan"), 0), (-5, 0)])
async def test_a_pool_is_blocked_for_an_hour_at_most_and_never_into_the_past(
    fleet: Fleet, given: float, kept: float
) -> None:
    client, process = await fleet.client(), await fleet.process()
    fleet.worker.answers = [Outcome(usage=USAGE, signal=Signal(blocked_seconds=given))]
    await fleet.submit(client)
    await process.work()
    row = await pool(fleet)
    assert (row["blocked_until"] - row["as_of"]).total_seconds() == kept


@pytest.mark.parametrize("slots", [2, 1], ids=["settled together", "settled one after the other"])
async def test_a_shorter_block_does_not_end_a_longer_one(fleet: Fleet, slots: int) -> None:
    fleet.script({"write": 2}).answers = [limited(20), limited(2)]
    client, processes = await fleet.client(), [await fleet.process(slots=slots) for _ in range(2)]
    await fleet.submit(client)
    for process in processes:
        await process.tick()
        await until(lambda: processes[0].engine.runner.idle)
    longest = None
    for process in processes:
        await process.settle()
        if longest is None:
            row = await pool(fleet)
            longest = row["blocked_until"]
            assert (longest - row["as_of"]).total_seconds() == 20
    assert len(fleet.worker.ran) == 2
    assert (await pool(fleet))["blocked_until"] == longest


async def test_rate_headers_lower_what_a_pool_has_and_never_raise_it(fleet: Fleet) -> None:
    fleet.script({"write": 3}).answers = [
        Outcome(usage=USAGE, signal=Signal(remaining_units=700, remaining_requests=7)),
        Outcome(usage=USAGE, signal=Signal(remaining_units=400, remaining_requests=9)),
        Outcome(usage=USAGE, signal=Signal(remaining_units=10**30, remaining_requests=10**30)),
    ]
    await fleet.execute(
        """
        UPDATE resource_pools SET refill_per_second = 0, requests_per_minute = 60, requests_micro = 60000000
        WHERE pool = 'test'
        """
    )
    client, process = await fleet.client(), await fleet.process()
    await fleet.submit(client)
    await process.tick()
    await process.settle()
    row = await pool(fleet)
    assert (row["level_micro"], row["requests_micro"]) == (400_000_000, 7_000_000)
    fleet.worker.answers = [Outcome(usage=Usage(), signal=Signal(remaining_units=900_000))]
    await fleet.execute("UPDATE resource_pools SET level_micro = 500000000 WHERE pool = 'test'")
    await fleet.submit(client)
    await process.tick()
    await process.settle()
    assert (await pool(fleet))["level_micro"] == 500_000_000


@pytest.mark.parametrize("lie", [10**9, 10**12])
async def test_a_lying_usage_shuts_a_pool_for_as_long_as_it_takes_to_fill_it_twice_at_most(
    fleet: Fleet, lie: int
) -> None:
    worker = fleet.script({"write": 1})
    client, process = await fleet.client(), await fleet.process()
    worker.answers = [Outcome(usage=Usage(input_units=lie, output_units=1))]
    await fleet.submit(client)
    await process.work()
    row = await pool(fleet)
    assert row["level_micro"] == -row["capacity"] * MICRO
    following = await fleet.submit(client)
    assert (await process.tick()).claimed == ()
    await process.age(2 * row["capacity"] / row["refill_per_second"])
    await process.work()
    assert (await fleet.view(following)).state is ExecutionState.SUCCEEDED


async def test_a_fast_pool_may_have_been_quiet_for_a_year(fleet: Fleet) -> None:
    async with fleet.database.begin() as tx:
        await tx.raw.execute(
            """
            UPDATE resource_pools SET capacity = 1000000000000, refill_per_second = 1000000000,
                requests_per_minute = 1000000, requests_micro = 0, level_micro = 5, as_of = $1
            WHERE pool = 'test'
            """,
            tx.now - timedelta(days=400),
        )
        await queue.change_pools(tx, {"test": PoolChange(units=-1)})
    row = await pool(fleet)
    assert (row["level_micro"], row["requests_micro"]) == (10**12 * MICRO, 10**6 * MICRO)


# Results that come too late still tell.


async def rescued(fleet: Fleet, stale: Process, other: Process) -> None:
    await other.age(16)
    assert await other.rescue() == 1


async def cancelled(fleet: Fleet, stale: Process, other: Process) -> None:
    await fleet.cancel(await fleet.value("SELECT id FROM executions"))


@pytest.mark.parametrize("meanwhile", [rescued, cancelled])
async def test_what_a_late_answer_says_of_its_provider_is_heeded(
    fleet: Fleet, meanwhile: Callable[[Fleet, Process, Process], Awaitable[None]]
) -> None:
    fleet.script({"write": 1})
    client, stale, other = await fleet.client(), await fleet.process(), await fleet.process()
    outcomes, go = held_back(fleet)
    outcomes += [Outcome(usage=USAGE, signal=Signal(health=Health.BAD, blocked_seconds=20, error="cut"))]
    await fleet.submit(client)
    await stale.tick()
    await until(lambda: not outcomes)
    await meanwhile(fleet, stale, other)
    go.set()
    await stale.settle()
    row = await fleet.provider()
    assert (row["failures"], row["last_error"]) == (1, "cut")
    assert (await pool(fleet))["blocked_until"] is not None


async def test_what_a_database_does_not_take_in_an_error_text_is_left_out(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    text = "a\0b\ud800c" + "x" * 9999
    fleet.worker.answers = [Outcome(usage=USAGE, signal=Signal(health=Health.BAD, error=text))]
    execution = await fleet.submit(client)
    await process.work()
    assert (await fleet.provider())["last_error"].startswith("ab?cxx")
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


# What a job is told.


async def test_a_job_knows_its_bounds_and_where_its_provider_answers_now(fleet: Fleet) -> None:
    worker = fleet.script({"read": 1, "write": 1})
    client, process = await fleet.client(), await fleet.process()
    await fleet.submit(client)
    await process.tick()
    await process.settle()
    await fleet.execute(
        "UPDATE providers SET base_url = 'http://x/v1', profile = 'gemini', streaming = false "
        "WHERE provider = 'test'"
    )
    await process.work()
    first, second = (job.endpoint for job in worker.ran)
    assert first is not None
    assert second is not None
    assert (first.base_url, second.base_url) == (None, "http://x/v1")
    assert (second.profile, second.streaming) == (SchemaProfile.GEMINI, False)
    assert {(job.input_bound, job.output_limit) for job in worker.ran} == {
        (worker.input_bound, worker.output_limit)
    }


async def test_local_work_has_no_endpoint(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1}, route=LOCAL_ROUTE)
    client, process = await fleet.client(), await fleet.process()
    await fleet.submit(client)
    await process.work()
    assert [job.endpoint for job in worker.ran] == [None]
