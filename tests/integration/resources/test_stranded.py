"""Work none of whose providers can be reached is ended, so that its worker can go on without a model."""

from datetime import timedelta
from typing import Any

import anyio
import asyncpg
import pytest
from structlog.testing import capture_logs
from tests.fake_worker import COST_NANO, TWO_HOPS, WELL, ScriptedWorker
from tests.fleet import Fleet, Process
from tests.locks import in_order

from aifactory.kernel.db import Tx
from aifactory.resources.interface import (
    LOCAL_ROUTE,
    EndedJob,
    ExecutionState,
    NewJob,
    RunningStage,
    StageResult,
    StageState,
)
from aifactory.resources.queries import tick

pytestmark = pytest.mark.anyio

OFFLINE = NewJob(kind="offline", line=None, payload={}, route=LOCAL_ROUTE, input_bound=100, output_limit=100)


def with_substitutes(fleet: Fleet, phases: dict[str, int], **options: Any) -> ScriptedWorker:
    """A worker that writes offline what its providers did not."""
    worker = fleet.script(phases, **options)

    async def substitute(tx: Tx, job: EndedJob) -> list[NewJob]:
        return [OFFLINE] if job.fault and job.fault.code == "providers_down" else []

    async def good_enough(tx: Tx, stage: RunningStage) -> StageResult | None:
        state = StageState.PARTIAL if any(job.fault for job in stage.jobs) else StageState.SUCCEEDED
        return StageResult(state=state, outputs={"jobs": len(stage.jobs)})

    worker.on_record, worker.on_advance = substitute, good_enough
    return worker


async def strand(process: Process) -> int:
    return await process.engine.maintenance.end_stranded()


async def test_work_whose_providers_have_all_been_down_for_a_minute_goes_on_without_them(
    fleet: Fleet,
) -> None:
    worker = with_substitutes(fleet, {"write": 3}, route=TWO_HOPS)
    await fleet.add_spare()
    client, process = await fleet.client(), await fleet.process()
    for name in ("test", "spare"):
        await fleet.open_circuit(name, since=61, until=30)
    execution = await fleet.submit(client)
    assert await strand(process) == 3
    assert [(job.kind, job.fault and job.fault.code) for job in worker.recorded] == [
        ("write", "providers_down")
    ] * 3
    assert await strand(process) == 0
    await process.work()
    view = await fleet.view(execution)
    assert (view.state, view.result) == (ExecutionState.PARTIAL, {"jobs": 6})
    assert {job.hop.provider for job in worker.ran} == {"local"}
    held, _, unfinished = await fleet.budget(client)
    assert (held, unfinished) == (0, 0)


@pytest.mark.parametrize(
    "spare",
    [
        "UPDATE providers SET circuit = 'closed'",
        "UPDATE providers SET circuit_until = circuit_until - interval '31 seconds'",
        "UPDATE providers SET circuit_changed_at = circuit_changed_at + interval '10 seconds'",
    ],
    ids=["reachable", "half-open", "down for less than a minute"],
)
async def test_work_is_not_given_up_as_long_as_one_provider_may_still_do_it(fleet: Fleet, spare: str) -> None:
    with_substitutes(fleet, {"write": 1}, route=TWO_HOPS)
    await fleet.add_spare()
    client, process = await fleet.client(), await fleet.process()
    for name in ("test", "spare"):
        await fleet.open_circuit(name, since=61, until=30)
    await fleet.execute(f"{spare} WHERE provider = 'spare'")
    await fleet.submit(client)
    assert await strand(process) == 0
    assert await fleet.job_states() == ["ready"]


@pytest.mark.parametrize("off", ["active = false", "key_present = false"])
async def test_a_provider_that_is_switched_off_counts_from_when_it_was_first_seen_so(
    fleet: Fleet, off: str
) -> None:
    with_substitutes(fleet, {"write": 1})
    client, process = await fleet.client(), await fleet.process()
    await fleet.submit(client)

    async def seen(change: str, seconds: float) -> int:
        await fleet.execute(f"UPDATE providers SET {change} WHERE provider = 'test'")
        await process.age(seconds)
        return await strand(process)

    assert await seen(off, 0) == 0
    assert await seen(off, 40) == 0
    assert await seen("active = true, key_present = true", 1) == 0
    assert await seen(off, 1) == 0
    assert await seen(off, 59) == 0
    assert await seen(off, 2) == 1


async def test_how_long_is_long_is_the_operators_choice(fleet: Fleet) -> None:
    with_substitutes(fleet, {"write": 1})
    client = await fleet.client()
    process = await fleet.process(stranded_after=timedelta(seconds=5))
    await fleet.open_circuit(since=6, until=30)
    await fleet.submit(client)
    assert (await process.engine.maintenance.round()).stranded == 1


async def test_work_that_is_due_is_ended_too_and_work_for_later_is_not(fleet: Fleet) -> None:
    with_substitutes(fleet, {"write": 1})
    client, process = await fleet.client(), await fleet.process()
    await fleet.open_circuit(since=61, until=300)
    async with fleet.database.begin() as tx:
        later = tx.now + timedelta(seconds=20)
    await fleet.submit(client, run_after=later)
    assert await strand(process) == 0
    await process.age(21)
    assert await strand(process) == 1


async def test_local_work_is_never_stranded(fleet: Fleet) -> None:
    fleet.script({"write": 1}, route=LOCAL_ROUTE)
    client, process = await fleet.client(), await fleet.process()
    await fleet.execute("UPDATE providers SET active = false WHERE provider <> 'local'")
    await fleet.open_circuit(since=61, until=30)
    await fleet.submit(client)
    process.engine.maintenance.stranded_after = timedelta()
    assert await strand(process) == 0
    await process.work()


async def test_a_round_ends_no_more_than_a_batch(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aifactory.resources.maintenance.STRANDED_AT_ONCE", 2)
    with_substitutes(fleet, {"write": 5})
    client, process = await fleet.client(), await fleet.process()
    await fleet.open_circuit(since=61, until=30)
    await fleet.submit(client)
    assert [await strand(process) for _ in range(4)] == [2, 2, 1, 0]


async def test_one_that_can_not_be_ended_does_not_stand_in_the_way_of_the_others(fleet: Fleet) -> None:
    worker = with_substitutes(fleet, {"write": 1})
    client, process = await fleet.client(), await fleet.process()
    executions = [await fleet.submit(client) for _ in range(3)]

    async def slow(tx: Tx, job: EndedJob) -> list[NewJob]:
        if job.execution_id == executions[1]:
            await tx.raw.execute("SET LOCAL statement_timeout = 1; SELECT pg_sleep(5)")
        return []

    worker.on_record = slow
    await fleet.open_circuit(since=61, until=30)
    assert await strand(process) == 2
    assert [(await fleet.view(one)).state.final for one in executions] == [True, False, True]


async def test_those_that_can_never_be_ended_are_set_aside_and_told_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aifactory.resources.maintenance.STRANDED_AT_ONCE", 2)
    worker = with_substitutes(fleet, {"write": 1})
    client, process = await fleet.client(), await fleet.process()
    executions = [await fleet.submit(client) for _ in range(4)]

    async def never(tx: Tx, job: EndedJob) -> list[NewJob]:
        if job.execution_id in executions[:2]:
            raise asyncpg.QueryCanceledError("no")
        return []

    worker.on_record = never
    await fleet.open_circuit(since=61, until=30)
    with capture_logs() as logs:
        ended = [await strand(process) for _ in range(8)]
    assert ended == [0] * 5 + [2, 0, 0]
    told = [one["job_id"] for one in logs if one["event"] == "maintenance.stranded_failed"]
    assert len(told) == len(set(told)) == 2
    await fleet.execute("UPDATE providers SET circuit = 'closed' WHERE provider = 'test'")
    assert await strand(process) == 0
    worker.on_record = None
    await fleet.open_circuit(since=61, until=30)
    assert await strand(process) == 2
    assert all([(await fleet.view(one)).state.final for one in executions])


# Races.


async def test_two_processes_that_end_the_same_work_end_it_once(fleet: Fleet) -> None:
    worker = with_substitutes(fleet, {"write": 4})
    client, processes = await fleet.client(), [await fleet.process() for _ in range(2)]
    await fleet.open_circuit(since=61, until=30)
    execution = await fleet.submit(client)
    ended: list[int] = []

    def ending(process: Process) -> Any:
        async def end() -> None:
            ended.append(await strand(process))

        return end

    await in_order(fleet, *map(ending, processes))
    assert ended == [4, 0]
    assert len(worker.recorded) == 4
    await processes[0].work()
    assert (await fleet.view(execution)).result == {"jobs": 8}


async def test_what_a_decider_is_claiming_is_its_own_and_the_rest_is_ended(fleet: Fleet) -> None:
    worker = with_substitutes(fleet, {"write": 3})
    client, process, other = await fleet.client(), await fleet.process(), await fleet.process()
    await fleet.submit(client)
    claim, claiming, ended = anyio.Event(), anyio.Event(), anyio.Event()
    original = tick.apply

    async def apply(tx: Tx, *args: Any, **options: Any) -> Any:
        claimed = await original(tx, *args, **options)
        claiming.set()
        await ended.wait()
        return claimed

    async def claim_one() -> None:
        tick.apply = apply
        try:
            assert len((await process.tick()).claimed) == 1
        finally:
            tick.apply = original
        claim.set()

    worker.answers = [WELL]
    await fleet.open_circuit(since=61, until=-1)  # half-open: the decider's probe is the one that is claimed
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(claim_one)
        await claiming.wait()
        await fleet.open_circuit(since=61, until=30)
        assert await strand(other) == 2
        ended.set()
        await claim.wait()
    await process.settle()
    assert sorted(job.fault.code if job.fault else "" for job in worker.recorded) == [
        "",
        "providers_down",
        "providers_down",
    ]
    await process.work()
    assert sum(job.hop.provider == "test" for job in worker.ran) == 1
    assert (await fleet.budget(client))[1] >= COST_NANO


async def test_what_was_cancelled_meanwhile_is_let_be(fleet: Fleet) -> None:
    worker = with_substitutes(fleet, {"write": 2})
    client, process = await fleet.client(), await fleet.process()
    await fleet.open_circuit(since=61, until=30)
    execution = await fleet.submit(client)
    ended: list[int] = []

    async def cancel() -> None:
        await fleet.cancel(execution)

    async def end() -> None:
        ended.append(await strand(process))

    await in_order(fleet, cancel, end)
    assert (ended, worker.recorded) == ([0], [])
    assert (await fleet.view(execution)).state is ExecutionState.CANCELLED
