"""Traps of running work: rescue, stale and hung runs, tries. See ``tests.traps``."""

from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.fake_worker import AGAIN, COST_NANO, USAGE, WORST_NANO
from tests.fleet import Fleet, until
from tests.locks import locked
from tests.traps import Proof, edited, proof, replaced, twin

from aifactory.kernel import db
from aifactory.kernel.db import Database
from aifactory.kernel.ids import new_id
from aifactory.resources import job_ends, lease, maintenance, retries, settlement
from aifactory.resources.books import Books
from aifactory.resources.interface import ExecutionState, Job, Outcome
from aifactory.resources.job_ends import Ended
from aifactory.resources.maintenance import Maintenance
from aifactory.resources.queries import queue, starts, tick
from aifactory.resources.queries import snapshot as snapshots
from aifactory.resources.runner import Runner

PROOFS: list[Proof] = []


async def a_rescue_works_at_the_cap_and_leaves_no_counter_behind(fleet: Fleet) -> None:
    hold = anyio.Event()
    fleet.script({"write": 3})
    client, stale, other = (
        await fleet.client(max_running=2),
        await fleet.process(slots=2),
        await fleet.process(),
    )

    async def run(job: Job) -> Outcome:
        if job.attempt == 1 and not hold.is_set():
            await hold.wait()
        return Outcome(usage=USAGE)

    fleet.worker.on_run = run
    execution = await fleet.submit(client)
    await stale.tick()
    assert (await other.tick()).claimed == ()
    await other.age(16)
    assert await other.rescue() == 2
    assert (await fleet.counts())["running_jobs"] == 0, "what was lost still runs in the books"
    hold.set()
    await other.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED, "the cap is taken by nobody"
    await stale.settle()


async def _settle_what_has_room(database: Database, group: list[Ended], workers: Any) -> Any:
    async with database.begin() as tx:
        rows = await tx.raw.fetch(
            """
            SELECT r.job_id FROM running_jobs r JOIN client_resource_limits c USING (client_id)
            WHERE (SELECT count(*) FROM running_jobs o WHERE o.client_id = r.client_id) < c.max_running
            """
        )
    room = {row["job_id"] for row in rows}
    return await settlement.settle_group(database, [one for one in group if one.job_id in room], workers)


PROOFS.append(
    proof(
        5,
        a_rescue_works_at_the_cap_and_leaves_no_counter_behind,
        twin(
            "who runs is counted by starts and ends, and a loss is no end",
            "the cap is taken by nobody",
            edited(
                snapshots.load_snapshot,
                "FROM running_jobs GROUP",
                "FROM (SELECT j.client_id, j.worker, a.pool FROM job_attempts a "
                "JOIN jobs j ON j.id = a.job_id WHERE coalesce(a.outcome, 'lost') = 'lost') r GROUP",
            ),
        ),
    )
)
PROOFS.append(
    proof(
        6,
        a_rescue_works_at_the_cap_and_leaves_no_counter_behind,
        twin(
            "a rescue asks for room below its client's cap first",
            "what was lost still runs in the books",
            replaced(maintenance, "settle_group", _settle_what_has_room),
        ),
    )
)


async def a_rescued_job_keeps_its_age(fleet: Fleet) -> None:
    client, first, other = await fleet.client(), await fleet.process(), await fleet.process()
    await fleet.submit(client)
    aged_from = (await first.claim()).claimed[0].start.head.aged_from
    await other.age(16)
    await other.rescue()
    assert await fleet.value("SELECT aged_from FROM resource_queue") == aged_from, "its age begins anew"
    await other.work()


PROOFS.append(
    proof(
        13,
        a_rescued_job_keeps_its_age,
        twin(
            "a job ages from when it was queued last",
            "its age begins anew",
            edited(queue.ready_rows, "books.executions[job.execution_id].aged_from", "tx.now"),
        ),
    )
)


async def a_process_that_comes_back_is_another_one_and_its_old_runs_are_rescued(fleet: Fleet) -> None:
    client, before = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    await before.claim()
    again = await fleet.process()
    await again.age(16)
    assert await again.rescue() == 1, "its old runs are taken for its own"
    assert again.engine.lease.process_id != before.engine.lease.process_id
    await again.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def _nothing_forgotten(*_: Any) -> list[Ended]:
    return []


_HOSTNAME = new_id()

PROOFS.append(
    proof(
        10,
        a_process_that_comes_back_is_another_one_and_its_old_runs_are_rescued,
        twin(
            "a process is known by its host, and what is claimed in its name is its own",
            "its old runs are taken for its own",
            replaced(lease, "new_id", lambda: _HOSTNAME),
            replaced(Maintenance, "_forgotten", _nothing_forgotten),
        ),
    )
)


async def a_stale_workers_result_is_refused_and_its_cost_is_waste(fleet: Fleet) -> None:
    finish = anyio.Event()
    client, stale, other = await fleet.client(), await fleet.process(), await fleet.process()

    async def run(job: Job) -> Outcome:
        if job.attempt == 1:
            await finish.wait()
        return Outcome(usage=USAGE)

    fleet.worker.on_run = run
    execution = await fleet.submit(client)
    await stale.tick()
    await other.age(16)
    assert await other.rescue() == 1
    assert await fleet.ledger("unreconciled") == [WORST_NANO]
    assert await fleet.budget(client) == (WORST_NANO, 0, 1)
    await other.tick()
    finish.set()
    await stale.settle()
    assert (await fleet.view(execution)).state is ExecutionState.RUNNING, "a stale result was taken"
    await other.settle()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert await fleet.budget(client) == (0, COST_NANO, 0)
    assert (await fleet.ledger("reconciled"), await fleet.ledger("waste")) == ([WORST_NANO], [COST_NANO])


PROOFS.append(
    proof(
        16,
        a_stale_workers_result_is_refused_and_its_cost_is_waste,
        twin(
            "a result is known by its job, not by the token of its run",
            "a stale result was taken",
            edited(settlement.settle, "run is None or run.token != one.token", "run is None"),
        ),
    )
)


async def a_lock_waited_for_too_long_is_tried_again_and_not_a_failure(fleet: Fleet) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(db._SERVER_SETTINGS, "statement_timeout", "1000")
        client, process = await fleet.client(), await fleet.process()
        execution = await fleet.submit(client)
        await process.tick()
        await until(lambda: process.engine.runner.idle)
        async with locked(fleet, "executions"):
            await process.settle()
            await process.settle()
        await process.settle()
    state = (await fleet.view(execution)).state
    assert state is ExecutionState.SUCCEEDED, "contention became a failure"
    assert await fleet.budget(client) == (0, COST_NANO, 0)


PROOFS.append(
    proof(
        8,
        a_lock_waited_for_too_long_is_tried_again_and_not_a_failure,
        twin(
            "an error is an error",
            "contention became a failure",
            edited(job_ends.is_transient, "return True", "return False"),
        ),
    )
)


async def a_job_that_never_ends_is_stopped_and_given_up_after_its_attempts(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1}, max_attempts=2, timeout_seconds=0)
    client, process = await fleet.client(), await fleet.process()

    async def hang(job: Job) -> Outcome:
        await anyio.sleep_forever()
        raise AssertionError

    worker.on_run = hang
    execution = await fleet.submit(client)
    for _ in range(2):
        await process.tick()
        for _ in range(100):  # its time limit is over when it begins
            await anyio.lowlevel.checkpoint()
        assert process.engine.runner.idle, "a hung job runs on"
        await process.settle()
        await process.age(3)
    view = await fleet.view(execution)
    assert view.state is ExecutionState.FAILED, "a hung job comes back for ever"
    assert view.reasons[0].code == "timeout"
    assert (await process.tick()).claimed == ()
    assert len(worker.ran) == 2
    assert await fleet.ledger("unreconciled") == [WORST_NANO] * 2
    assert await fleet.budget(client) == (0, 0, 0)


PROOFS.append(
    proof(
        9,
        a_job_that_never_ends_is_stopped_and_given_up_after_its_attempts,
        twin(
            "a call may take as long as it likes",
            "a hung job runs on",
            edited(Runner.launch, "anyio.current_time() + job.timeout_seconds", "float('inf')"),
        ),
        twin(
            "attempts are not counted",
            "a hung job comes back for ever",
            edited(retries.may_retry, "return job.attempt - job.losses < job.max_attempts", "return True"),
        ),
    )
)


async def waiting_long_in_the_queue_does_not_shorten_a_running_call(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1}, timeout_seconds=30)

    async def run(job: Job) -> Outcome:
        await anyio.lowlevel.checkpoint()  # where a run without time left ends
        return Outcome(usage=USAGE)

    worker.on_run = run
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    await process.age(100)
    await process.tick()
    started, deadline = (await fleet.fetch("SELECT started_at, deadline FROM running_jobs"))[0]
    assert deadline - started == timedelta(seconds=30), "its time began in the queue"
    await process.settle()
    state = (await fleet.view(execution)).state
    assert state is ExecutionState.SUCCEEDED, "it was cancelled for having waited"


PROOFS.append(
    proof(
        24,
        waiting_long_in_the_queue_does_not_shorten_a_running_call,
        twin(
            "a run's deadline counts from its submission",
            "its time began in the queue",
            edited(tick._begin_runs, "tx.now + timedelta", "one.start.head.aged_from + timedelta"),
        ),
        twin(
            "what a job has waited is taken off its time limit",
            "it was cancelled for having waited",
            edited(
                starts.start_jobs,
                "j.timeout_seconds,",
                "greatest(0, j.timeout_seconds - extract(epoch FROM $2::timestamptz - j.created_at))::int"
                " AS timeout_seconds,",
            ),
        ),
    )
)


async def a_retry_keeps_its_hold_while_it_waits(fleet: Fleet) -> None:
    fleet.script({"write": 1})
    client, process = await fleet.client(), await fleet.process()
    fleet.worker.answers = [AGAIN]
    await fleet.submit(client)
    await process.tick()
    await process.settle()
    assert await fleet.counts() == {"resource_queue": 0, "queue_due": 1, "running_jobs": 0}
    assert await fleet.value("SELECT hold_nano FROM jobs") == WORST_NANO, "a retry without its whole hold"
    assert await fleet.budget(client) == (WORST_NANO, COST_NANO, 1)
    assert await fleet.job_states() == ["scheduled"]


_retry = Books.retry


def _release_and_retry(self: Books, job: Any, due_at: Any) -> bool:
    done = _retry(self, job, due_at)
    self._move(self.executions[job.execution_id], held=-job.hold_nano)
    job.hold_nano = 0
    return done


PROOFS.append(
    proof(
        30,
        a_retry_keeps_its_hold_while_it_waits,
        twin(
            "a hold is given back when its attempt ends, whatever follows",
            "a retry without its whole hold",
            replaced(Books, "retry", _release_and_retry),
        ),
        twin(
            "a retry gets what its last attempt left",
            "a retry without its whole hold",
            edited(Books.retry, "missing > 0 and", "False and"),
        ),
    )
)
