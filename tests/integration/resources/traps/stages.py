"""Traps of fan-in and lanes. See ``tests.traps``."""

import anyio
import anyio.lowlevel
from tests.fleet import Fleet, until
from tests.locks import blocked, in_order
from tests.traps import Proof, edited, proof, twin

from aifactory.resources.interface import ExecutionState
from aifactory.resources.queries import books as book_queries
from aifactory.resources.queries import queue

PROOFS: list[Proof] = []


async def two_last_siblings_in_two_processes_advance_their_stage_once(fleet: Fleet) -> None:
    """In two real processes: ``test_the_last_two_siblings_meet_between_two_real_processes`` in test_races."""
    worker = fleet.script({"write": 2})
    client, first, second = await fleet.client(), await fleet.process(slots=1), await fleet.process(slots=1)
    execution = await fleet.submit(client)
    await first.tick()
    await second.tick()
    await until(lambda: first.engine.runner.idle and second.engine.runner.idle)
    await in_order(fleet, first.settle, second.settle)
    assert worker.advanced == ["write"], "each of the two saw the other open"
    assert len(worker.recorded) == 2
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


PROOFS.append(
    proof(
        26,
        two_last_siblings_in_two_processes_advance_their_stage_once,
        twin(
            "a settle reads its executions without their locks",
            "each of the two saw the other open",
            edited(book_queries.load_books, "ORDER BY id FOR NO KEY UPDATE", "ORDER BY id"),
        ),
    )
)


async def a_lane_being_filled_is_not_closed(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    await fleet.cancel(await fleet.submit(client))
    lane = await fleet.value("SELECT id FROM lanes")
    async with fleet.database.begin() as filling:
        submitted = await fleet.service.submit(filling, fleet.submission(client))
        async with fleet.database.begin() as closing:
            assert await queue.close_empty_lanes(closing) == 0, "a lane was closed while it was filled"
    assert await fleet.value("SELECT id FROM lanes") == lane
    await process.work()
    assert (await fleet.view(submitted.execution_id)).state is ExecutionState.SUCCEEDED


PROOFS.append(
    proof(
        27,
        a_lane_being_filled_is_not_closed,
        twin(
            "who fills a lane does not lock it",
            "a lane was closed while it was filled",
            edited(queue.lane_ids, "ORDER BY l.id FOR KEY SHARE OF l", "ORDER BY l.id"),
        ),
    )
)


async def a_lane_that_was_just_closed_is_opened_again_by_who_fills_it(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    await fleet.cancel(await fleet.submit(client))
    executions = []

    async def fill() -> None:
        executions.append(await fleet.submit(client))

    async with anyio.create_task_group() as tasks, fleet.database.begin() as closing:
        assert await queue.close_empty_lanes(closing) == 1
        tasks.start_soon(fill)
        await blocked(fleet, 1)
    await process.work()
    assert (await fleet.view(executions[0])).state is ExecutionState.SUCCEEDED


PROOFS.append(proof(27, a_lane_that_was_just_closed_is_opened_again_by_who_fills_it))


async def a_lane_found_empty_but_filled_before_it_is_deleted_stays(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    await fleet.cancel(await fleet.submit(client))
    executions = []

    async def fill() -> None:
        executions.append(await fleet.submit(client))

    async with anyio.create_task_group() as tasks, fleet.database.begin() as closing:
        # The first of the two statements of close_empty_lanes, then a submission, then the second.
        await closing.raw.execute("SELECT FROM lanes FOR UPDATE SKIP LOCKED")
        tasks.start_soon(fill)
        await blocked(fleet, 1)
        assert await queue.close_empty_lanes(closing) == 1
    await process.work()
    assert (await fleet.view(executions[0])).state is ExecutionState.SUCCEEDED


PROOFS.append(
    proof(
        27,
        a_lane_found_empty_but_filled_before_it_is_deleted_stays,
        twin(
            "a lane that is gone when it is locked is not opened again",
            "KeyError",
            edited(queue.lane_ids, "while missing :=", "if missing :="),
        ),
    )
)
