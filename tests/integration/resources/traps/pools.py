"""Traps of pools: slots, charges, refills. See ``tests.traps``."""

from datetime import timedelta

from tests.fake_worker import COST_NANO, WORST_NANO, limited
from tests.fleet import Fleet
from tests.traps import Proof, edited, proof, replaced, twin

from aifactory.resources.admission import Admission
from aifactory.resources.books import Books
from aifactory.resources.interface import ExecutionState, Outcome, Signal, Usage
from aifactory.resources.queries import queue

PROOFS: list[Proof] = []


async def set_level(fleet: Fleet, units: int) -> None:
    await fleet.execute(
        "UPDATE resource_pools SET level_micro = $1, refill_per_second = 0 WHERE pool = 'test'",
        units * 1_000_000,
    )


async def level_of(fleet: Fleet) -> int:
    level: int = await fleet.value("SELECT level_micro FROM resource_pools WHERE pool = 'test'")
    return level


async def a_job_without_units_holds_no_slot_and_others_go_on(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process(slots=1)
    await set_level(fleet, 499)
    waiting = await fleet.submit(client)
    found = await process.claim()
    held = await fleet.counts()
    nothing = {"resource_queue": 1, "queue_due": 0, "running_jobs": 0}
    assert (found.claimed, held) == ((), nothing), "a job without units has a slot"
    await set_level(fleet, 500)
    await process.work()
    assert (await fleet.view(waiting)).state is ExecutionState.SUCCEEDED


PROOFS.append(
    proof(
        4,
        a_job_without_units_holds_no_slot_and_others_go_on,
        twin(
            "a job is claimed first and asks for its units when it runs",
            "a job without units has a slot",
            replaced(Admission, "_lacks_units", lambda *_: None),
        ),
    )
)


async def a_429_blocks_its_pool_holds_no_slot_and_charges_nothing(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1}, max_attempts=1)
    client, process = await fleet.client(), await fleet.process(slots=1)
    await fleet.execute("UPDATE resource_pools SET refill_per_second = 0 WHERE pool = 'test'")
    level = await level_of(fleet)
    worker.answers = [limited(20)]
    execution = await fleet.submit(client)
    await process.tick()
    await process.settle()
    rows = await fleet.counts()
    assert rows == {"resource_queue": 0, "queue_due": 1, "running_jobs": 0}, "it waits in its slot"
    assert (await process.tick()).claimed == ()
    sql = "SELECT level_micro, blocked_until - as_of AS blocked FROM resource_pools WHERE pool = 'test'"
    ((left, closed),) = await fleet.fetch(sql)
    assert closed == timedelta(seconds=20)
    assert left == level, "a denied call was charged"
    assert await fleet.budget(client) == (WORST_NANO, 0, 1)
    assert process.engine.runner.free_slots(local=False) == 1
    await process.age(21)
    await process.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert await fleet.budget(client) == (0, COST_NANO, 0)


PROOFS.append(
    proof(
        4,
        a_429_blocks_its_pool_holds_no_slot_and_charges_nothing,
        twin(
            "a run that was told to wait is kept",
            "it waits in its slot",
            edited(Books.end_run, "self.ended_runs.append(run)", "pass"),
        ),
    )
)
PROOFS.append(
    proof(
        17,
        a_429_blocks_its_pool_holds_no_slot_and_charges_nothing,
        twin(
            "the estimate of a call that was denied stays taken",
            "a denied call was charged",
            edited(Books.pay, "self.units.settle(", "usage.input_units and self.units.settle("),
        ),
        twin(
            "a 429 empties the bucket",
            "a denied call was charged",
            edited(
                Books.heed, "    if signal is None:", "        change.note_left(0, 0)\n    if signal is None:"
            ),
        ),
    )
)


async def fractions_of_units_survive_any_number_of_corrections(fleet: Fleet) -> None:
    fleet.script({"write": 1})
    client, process = await fleet.client(), await fleet.process()
    fleet.worker.answers = [Outcome(usage=Usage(), signal=Signal(remaining_units=10**6))] * 8
    await fleet.execute(
        "UPDATE resource_pools SET level_micro = 1000 * 1000000, refill_per_second = 7 WHERE pool = 'test'"
    )
    (before,) = await fleet.fetch("SELECT level_micro, as_of FROM resource_pools WHERE pool = 'test'")
    for _ in range(8):
        process.database.clock_offset += timedelta(milliseconds=13)
        await fleet.submit(client)
        await process.tick()
        await process.settle()
    (after,) = await fleet.fetch("SELECT level_micro, as_of FROM resource_pools WHERE pool = 'test'")
    elapsed = (after["as_of"] - before["as_of"]) // timedelta(microseconds=1)
    gained = after["level_micro"] - before["level_micro"]
    assert gained == 7 * elapsed, "fractions of a refill are lost"


PROOFS.append(
    proof(
        18,
        fractions_of_units_survive_any_number_of_corrections,
        twin(
            "a correction refills for whole seconds",
            "fractions of a refill are lost",
            edited(
                queue.change_pools,
                "trunc(extract(epoch FROM $3::timestamptz - as_of) * 1000000)",
                "trunc(extract(epoch FROM $3::timestamptz - as_of)) * 1000000",
            ),
        ),
    )
)
