"""What happens at the same time: forced by locks and events, never by waiting and hoping."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import permutations
from typing import Any

import anyio
import msgspec
import pytest
from tests.fake_worker import COST_NANO, MODEL, SPARE, USAGE, WORST_NANO
from tests.fleet import Fleet, until
from tests.locks import Action, blocked, locked

from aifactory.kernel import db
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import ClientId, ExecutionId
from aifactory.resources import runner
from aifactory.resources.audit import audit
from aifactory.resources.interface import (
    BudgetInUse,
    EndedJob,
    ExecutionState,
    Job,
    Line,
    NewJob,
    Outcome,
    Route,
)
from aifactory.resources.queries import budgets, control, tick

pytestmark = pytest.mark.anyio

FINAL_EVENTS = {f"execution.{state}" for state in ExecutionState if state.final}


# Fan-in, lanes, deciders.


async def test_two_submissions_that_open_the_same_lane_share_it(fleet: Fleet) -> None:
    client = await fleet.client()
    async with anyio.create_task_group() as tasks, fleet.database.begin() as first:
        await fleet.service.submit(first, fleet.submission(client))
        tasks.start_soon(fleet.submit, client)
        await blocked(fleet, 1)
    assert await fleet.value("SELECT count(*) FROM lanes") == 1
    assert (await fleet.counts())["resource_queue"] == 2


async def test_two_ticks_take_turns_whatever_many_processes_try(fleet: Fleet) -> None:
    worker = fleet.script({"write": 60})
    client = await fleet.client()
    processes = [await fleet.process(slots=5) for _ in range(4)]
    await fleet.submit(client)

    async def drain(process: Any) -> None:
        while len(worker.ran) < 60:
            await process.tick()
            await process.settle()
        await process.settle()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for process in processes:
                tasks.start_soon(drain, process)
    assert len({job.id for job in worker.ran}) == len(worker.ran) == 60
    assert worker.advanced == ["write"]


# Cancel, completion, rescue.


ACTIONS = ("cancel", "settle", "rescue", "expire")
# What an execution is once an action came first. A rescue gives the job back, so the next one decides.
FIRST_ENDS = {
    "settle": ExecutionState.SUCCEEDED,
    "cancel": ExecutionState.CANCELLED,
    "expire": ExecutionState.EXPIRED,
}
FAR = timedelta(hours=2)


async def race(fleet: Fleet, order: tuple[str, ...]) -> tuple[ClientId, ExecutionId]:
    """Let a job end in a process that is struck off, and let these actions come in this order."""
    client, owner, other = await fleet.client(), await fleet.process(), await fleet.process()
    later = await fleet.process(clock_offset=FAR)
    async with fleet.database.begin() as tx:
        deadline = tx.now + FAR / 2
    execution = await fleet.submit(client, deadline=deadline)
    await owner.tick()
    await until(lambda: owner.engine.runner.idle)
    await fleet.execute("DELETE FROM processes WHERE id = $1", owner.engine.lease.process_id)

    async def cancel() -> None:
        await fleet.cancel(execution)

    async def expire() -> None:
        await later.engine.maintenance.expire()

    actions: dict[str, Action] = {
        "cancel": cancel,
        "settle": owner.settle,
        "rescue": other.rescue,
        "expire": expire,
    }
    # The first has the execution's row and waits for its budget's, the others wait for the execution's;
    # expiry passes over what somebody is at, and comes again.
    async with anyio.create_task_group() as tasks, locked(fleet, "budgets"):
        waiting = 0
        for name in order:
            if name == "expire" and waiting:
                await expire()
                continue
            tasks.start_soon(actions[name])
            waiting += 1
            await blocked(fleet, waiting)
    if "expire" in order:
        await expire()
    if order[0] == "rescue" and not {"cancel", "expire"} & set(order):
        assert (await fleet.view(execution)).state is ExecutionState.RUNNING
        await other.work()
        assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    await owner.settle()
    if "settle" not in order or "rescue" in order:  # the row of a run that ended unsettled is nobody's now
        await other.rescue()
    return client, execution


async def assert_counters_equal_rows(fleet: Fleet, execution: ExecutionId) -> None:
    """Check the counters of an ended execution, and that it has one last event, its end."""
    (row,) = await fleet.fetch(
        """
        SELECT e.state, e.jobs_done, e.jobs_total, e.free_hold_nano, e.event_seq, count(j.*) AS jobs,
               count(j.finished_at) AS ended, coalesce(sum(j.hold_nano), 0) AS held,
               (SELECT sum(open_jobs) FROM stage_executions s WHERE s.execution_id = e.id) AS open
        FROM executions e JOIN jobs j ON j.execution_id = e.id WHERE e.id = $1 GROUP BY e.id
        """,
        execution,
    )
    assert (row["jobs_done"], row["jobs_total"]) == (row["jobs"], row["jobs"]) == (row["ended"], row["ended"])
    assert (row["open"], row["held"], row["free_hold_nano"]) == (0, 0, 0)
    told = await fleet.events(execution)
    ends = [type_ for type_ in told if type_ in FINAL_EVENTS]
    assert ends == [told[-1]] == [f"execution.{row['state']}"]
    assert await fleet.counts() == {"resource_queue": 0, "queue_due": 0, "running_jobs": 0}


@pytest.mark.parametrize("first", ACTIONS)
async def test_whatever_comes_first_there_is_one_end_and_the_books_are_exact(
    fleet: Fleet, first: str
) -> None:
    orders = [order for count in (2, 3) for order in permutations(ACTIONS, count) if order[0] == first]
    for order in orders:
        client, execution = await race(fleet, order)
        view = await fleet.view(execution)
        if first in FIRST_ENDS:
            assert view.state is FIRST_ENDS[first], order
        else:
            second = next((name for name in ("cancel", "expire") if name in order), "settle")
            assert view.state is FIRST_ENDS[second], order
        await assert_counters_equal_rows(fleet, execution)
        held, paid, unfinished = await fleet.budget(client)
        assert (held, unfinished) == (0, 0), order
        assert paid in ({COST_NANO} if view.state is ExecutionState.SUCCEEDED else {0, COST_NANO}), order
        sums = {kind: sum(await ledger_of(fleet, execution, kind)) for kind in ("reconciled", "unreconciled")}
        assert sums["reconciled"] == sums["unreconciled"], order  # the owner's answer came in the end
        # The owner's call was paid by the client or is waste, once.
        wasted = sum(await ledger_of(fleet, execution, "waste"))
        calls = 2 if view.state is ExecutionState.SUCCEEDED and first == "rescue" else 1
        assert paid + wasted == calls * COST_NANO, order
    assert (await audit(fleet.database)).differences == []


async def ledger_of(fleet: Fleet, execution: ExecutionId, kind: str) -> list[int]:
    rows = await fleet.fetch(
        "SELECT amount_nano FROM cost_tracking WHERE kind = $1 AND execution_id = $2", kind, execution
    )
    return [row[0] for row in rows]


async def test_a_cancelled_execution_pays_for_what_was_done_and_nothing_else(fleet: Fleet) -> None:
    fleet.script({"read": 1, "write": 4})
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    await process.tick()
    await process.settle()
    view = await fleet.cancel(execution)
    assert view.state is ExecutionState.CANCELLED
    assert await fleet.budget(client) == (0, COST_NANO, 0)
    assert await fleet.counts() == {"resource_queue": 0, "queue_due": 0, "running_jobs": 0}


async def test_cancelling_twice_answers_the_same(fleet: Fleet) -> None:
    client = await fleet.client()
    execution = await fleet.submit(client)
    first = await fleet.cancel(execution)
    assert first.state is ExecutionState.CANCELLED
    assert await fleet.cancel(execution) == first
    assert await fleet.budget(client) == (0, 0, 0)


async def test_a_cancelled_job_that_was_claimed_but_not_started_never_runs(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    claimed = (await process.claim()).claimed
    await fleet.cancel(execution)
    await process.engine.runner.launch(list(claimed), process.tasks)
    assert process.engine.runner.idle
    assert fleet.worker.ran == []
    assert await fleet.counts() == {"resource_queue": 0, "queue_due": 0, "running_jobs": 0}
    assert await fleet.value("SELECT level_micro FROM resource_pools WHERE pool = 'test'") == 10**12


async def test_a_job_that_can_not_be_started_stands_in_no_others_way_and_uses_up_its_tries(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, process = await fleet.client(), await fleet.process()
    bad, good = await fleet.submit(client), await fleet.submit(client)
    make = runner._job

    def make_or_raise(one: Any, row: Any, *rest: Any) -> Job:
        if row["execution_id"] == bad:
            raise ValueError("this row can't be read")
        return make(one, row, *rest)

    monkeypatch.setattr(runner, "_job", make_or_raise)
    await process.tick()
    await process.settle()
    assert (await fleet.view(good)).state is ExecutionState.SUCCEEDED
    for _ in range(9):
        await process.age(61)
        await process.work()
    ended = await fleet.view(bad)
    assert ended.state is ExecutionState.FAILED
    assert [reason.code for reason in ended.reasons] == ["not_started"]
    assert await fleet.value("SELECT sum(spent_nano)::bigint FROM budgets") == COST_NANO
    await assert_counters_equal_rows(fleet, bad)


async def test_a_rescue_begins_with_what_nobody_else_is_at(fleet: Fleet) -> None:
    dying, other = await fleet.process(), await fleet.process()
    client = await fleet.client()
    executions = [await fleet.submit(client) for _ in range(3)]
    await dying.claim()
    await other.age(16)

    async def rescued_but_one() -> bool:
        return bool(await fleet.value("SELECT count(*) FROM running_jobs") == 1)

    first = f"executions WHERE id = '{executions[0]}'"
    async with anyio.create_task_group() as tasks, locked(fleet, first):
        tasks.start_soon(other.rescue)
        await until(rescued_but_one, 10)
        await blocked(fleet, 1)
    assert await fleet.value("SELECT count(*) FROM running_jobs") == 0


async def test_a_claim_of_a_cancelled_job_whose_process_died_is_only_undone(fleet: Fleet) -> None:
    client, dying, other = await fleet.client(), await fleet.process(), await fleet.process()
    execution = await fleet.submit(client)
    await dying.claim()
    await fleet.cancel(execution)
    await other.age(16)
    assert await other.rescue() == 1
    await assert_counters_equal_rows(fleet, execution)
    assert await fleet.budget(client) == (0, 0, 0)
    assert await fleet.ledger("unreconciled") == []


async def test_cancelling_stops_the_running_call_in_its_process(fleet: Fleet) -> None:
    client, process, started = await fleet.client(), await fleet.process(), anyio.Event()

    async def hang(job: Job) -> Outcome:
        started.set()
        await anyio.sleep_forever()
        raise AssertionError

    fleet.worker.on_run = hang
    execution = await fleet.submit(client)
    await process.tick()
    await started.wait()
    await fleet.cancel(execution)
    assert await fleet.budget(client) == (WORST_NANO, 0, 0)
    await process.engine._maintain()
    await process.settle()
    assert await fleet.budget(client) == (0, 0, 0)
    assert await fleet.ledger("unreconciled") == [WORST_NANO]
    assert await fleet.job_states() == ["cancelled"]


async def test_a_cancel_and_a_tick_that_promotes_the_same_job_leave_nothing_queued(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    async with fleet.database.begin() as tx:
        due = tx.now + timedelta(seconds=1)
    execution = await fleet.submit(client, run_after=due)
    await process.age(2)

    async def cancel() -> None:
        await fleet.cancel(execution)

    # The tick has moved the job but not committed when the cancel looks for it.
    async with anyio.create_task_group() as tasks, process.database.begin() as tx:
        assert await tick.promote_due(tx) == 1
        tasks.start_soon(cancel)
        await blocked(fleet, 1)
    assert await fleet.counts() == {"resource_queue": 0, "queue_due": 0, "running_jobs": 0}


# Dead, stale and stopped processes.


async def test_a_price_that_changes_in_between_reverses_what_was_booked(fleet: Fleet) -> None:
    finish = anyio.Event()
    client, stale, other = await fleet.client(), await fleet.process(), await fleet.process()

    async def run(job: Job) -> Outcome:
        await finish.wait()
        return Outcome(usage=USAGE)

    fleet.worker.on_run = run
    await fleet.submit(client)
    await stale.tick()
    await other.age(16)
    await other.rescue()
    await fleet.execute("UPDATE models SET output_nano_per_million = 0 WHERE provider = 'test'")
    finish.set()
    await stale.settle()
    assert await fleet.ledger("reconciled") == await fleet.ledger("unreconciled") == [WORST_NANO]


async def test_a_crash_between_tick_and_start_costs_nothing_and_gives_the_units_back(fleet: Fleet) -> None:
    client, crashed, other = await fleet.client(), await fleet.process(), await fleet.process()
    execution = await fleet.submit(client)
    claimed = (await crashed.claim()).claimed
    await other.age(16)
    assert await other.rescue() == 1
    assert await fleet.ledger("unreconciled") == []
    assert await fleet.value("SELECT level_micro FROM resource_pools WHERE pool = 'test'") == 10**12
    # It was only stopped: now it goes on where it was, while the job is queued again.
    await crashed.engine.runner.launch(list(claimed), crashed.tasks)
    assert (crashed.engine.runner.idle, await fleet.job_states()) == (True, ["ready"])
    await other.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert len(fleet.worker.ran) == 1


async def test_a_stale_claim_does_not_start_a_job_that_another_process_has_claimed(fleet: Fleet) -> None:
    client, stale, other = await fleet.client(), await fleet.process(), await fleet.process()
    execution = await fleet.submit(client)
    old = (await stale.claim()).claimed
    await other.age(16)
    await other.rescue()
    new = (await other.claim()).claimed
    await stale.engine.runner.launch(list(old), stale.tasks)
    assert (stale.engine.runner.idle, await fleet.job_states()) == (True, ["ready"])
    await other.engine.runner.launch(list(new), other.tasks)
    await other.settle()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED
    assert len(fleet.worker.ran) == 1


async def test_a_claim_whose_answer_was_lost_is_found_by_its_own_process(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    await process.claim()
    assert await process.rescue() == 0
    await process.age(11)
    assert await process.rescue() == 1
    await process.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_what_a_process_runs_is_not_forgotten_however_long_it_takes(fleet: Fleet) -> None:
    client, process, finish = await fleet.client(), await fleet.process(), anyio.Event()

    async def run(job: Job) -> Outcome:
        await finish.wait()
        return Outcome(usage=USAGE)

    fleet.worker.on_run = run
    await fleet.submit(client)
    await process.tick()
    await process.age(12)
    assert await process.rescue() == 0
    finish.set()
    await process.settle()


async def test_a_process_registers_once_when_the_answer_to_its_registration_was_lost(fleet: Fleet) -> None:
    process = await fleet.process()
    process.engine.lease._registered = False
    await process.engine.lease.round()
    assert process.engine.lease.may_start
    assert await fleet.value("SELECT count(*) FROM processes") == 1


async def test_after_an_outage_a_rescue_waits_one_whole_lease(fleet: Fleet) -> None:
    client, stale, other = await fleet.client(), await fleet.process(), await fleet.process()
    await fleet.submit(client)
    await other.rescue()
    await stale.claim()
    other.database.clock_offset = timedelta(hours=1)
    assert await other.rescue() == 0
    await other.age(16)
    assert await other.rescue() == 1
    await other.work()


async def test_a_process_whose_lease_was_taken_stops_its_work_and_comes_back_as_another(
    fleet: Fleet,
) -> None:
    client, stale, other = await fleet.client(), await fleet.process(), await fleet.process()
    started = anyio.Event()

    async def run(job: Job) -> Outcome:
        if job.attempt == 1:
            started.set()
            await anyio.sleep_forever()
        return Outcome(usage=USAGE)

    fleet.worker.on_run = run
    execution = await fleet.submit(client)
    await stale.tick()
    await started.wait()
    before = stale.engine.lease.process_id
    await other.age(16)
    await other.rescue()
    await stale.engine.lease.round()
    await stale.settle()
    assert not stale.engine.lease.may_start
    await stale.engine.lease.round()
    assert stale.engine.lease.may_start
    assert stale.engine.lease.process_id != before
    await stale.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_jobs_of_a_process_that_keeps_dying_young_run_alone_and_then_are_poisoned(
    fleet: Fleet,
) -> None:
    client, survivor = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)

    async def never(job: Job) -> Outcome:
        await anyio.sleep_forever()
        raise AssertionError

    fleet.worker.on_run = never
    for deaths in range(1, 5):
        victim = await fleet.process(clock_offset=survivor.database.clock_offset)
        claimed = (await victim.tick()).claimed
        assert [one.start.lane.alone for one in claimed] == [deaths == 4]
        await survivor.age(16)
        await survivor.rescue()
        await survivor.age(20)  # longer than the pause before the next attempt
    assert await fleet.job_states() == ["poisoned"]
    assert (await fleet.view(execution)).state is ExecutionState.FAILED
    assert await fleet.budget(client) == (0, 0, 0)


@pytest.fixture
def start_process(database: Database) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a real process in a mode of ``tests.process``; waits until it is where it should be."""
    started: list[subprocess.Popen[str]] = []

    def start(mode: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.process", database.url, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


async def test_the_last_two_siblings_meet_between_two_real_processes(
    fleet: Fleet, start_process: Callable[[str], subprocess.Popen[str]]
) -> None:
    """Trap 26; what makes it fail is in ``traps/stages.py``."""
    fleet.script({"write": 2})
    client = await fleet.client()
    execution = await fleet.submit(client)
    siblings = [await asyncio.to_thread(start_process, "sibling") for _ in range(2)]
    async with locked(fleet, "executions"):
        for number, sibling in enumerate(siblings, start=1):
            assert sibling.stdin is not None
            sibling.stdin.write("\n")
            sibling.stdin.flush()
            await blocked(fleet, number)
    said = [await asyncio.to_thread(sibling.stdout.readline) for sibling in siblings if sibling.stdout]
    assert sorted(said) == ["advanced 0\n", "advanced 1\n"]
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


async def test_a_killed_process_on_this_host_is_rescued_at_once(
    fleet: Fleet, start_process: Callable[[str], subprocess.Popen[str]]
) -> None:
    client, survivor = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    victim = await asyncio.to_thread(start_process, "run")
    assert await survivor.rescue() == 0
    victim.kill()
    victim.wait()

    async def rescued() -> bool:
        return await survivor.rescue() == 1

    await until(rescued, 5)
    await survivor.work()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


@pytest.mark.parametrize("mode", ["idle", "statement", "result"])
async def test_a_decider_stopped_in_its_tick_stops_nobody_else(
    fleet: Fleet, start_process: Callable[[str], subprocess.Popen[str]], mode: str
) -> None:
    """Trap 28; what makes it fail is in ``traps/deciding.py``."""
    client = await fleet.client()
    execution = await fleet.submit(client)
    stopped = await asyncio.to_thread(start_process, mode)
    with anyio.fail_after(15):
        async with fleet.engine().start():
            view = await fleet.ended(execution, seconds=10)
    assert view.state is ExecutionState.SUCCEEDED
    os.kill(stopped.pid, signal.SIGCONT)


# A database in trouble.


async def test_everything_resumes_after_all_connections_were_cut_in_the_middle(fleet: Fleet) -> None:
    fleet.script({"read": 1, "write": 10, "assess": 1})
    client = await fleet.client()
    end_all = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
        """
    async with fleet.engine(slots=8).start(), fleet.engine(slots=8).start():
        executions = [await fleet.submit(client) for _ in range(10)]
        for _ in range(3):
            cut = await fleet.database.own_connection()
            await cut.fetch(end_all)
            await cut.close()

            async def alive() -> bool:
                try:
                    await fleet.value("SELECT 1")
                except db.DatabaseUnavailable:
                    return False
                return True

            await until(alive)
        views = [await fleet.ended(execution) for execution in executions]
    assert {view.state for view in views} == {ExecutionState.SUCCEEDED}
    assert await fleet.budget(client) == (0, 120 * COST_NANO, 0)


async def test_a_record_that_writes_too_slowly_is_given_up_in_the_end(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()

    async def slow(tx: Tx, job: EndedJob) -> list[NewJob]:
        if job.fault is None:
            await tx.raw.execute("SET LOCAL statement_timeout = 50")
            await tx.raw.execute("SELECT pg_sleep(10)")
        return []

    fleet.worker.on_record = slow
    execution = await fleet.submit(client)
    await process.tick()
    for _ in range(12):
        await process.settle()
    view = await fleet.view(execution)
    assert (view.state, view.reasons[0].code) == (ExecutionState.FAILED, "settle_error")
    assert await fleet.budget(client) == (0, COST_NANO, 0)


# Money under contention.


async def test_many_submissions_on_one_budget_admit_exactly_what_fits(fleet: Fleet) -> None:
    fits, submitters, each = 40, 20, 12
    client = await fleet.client(monthly_budget_nano=fits * WORST_NANO + 1)
    admitted: list[Any] = []
    refused: list[Exception] = []

    async def submit_all(database: Database) -> None:
        for _ in range(each):
            try:
                async with database.begin() as tx:
                    admitted.append(await fleet.service.submit(tx, fleet.submission(client)))
            except BudgetInUse as error:
                refused.append(error)

    pools = [fleet.engine().database for _ in range(4)]
    async with anyio.create_task_group() as tasks:
        for number in range(submitters):
            tasks.start_soon(submit_all, pools[number % 4])
    assert (len(admitted), len(refused)) == (fits, submitters * each - fits)
    assert await fleet.budget(client) == (fits * WORST_NANO, 0, fits)
    assert await fleet.value("SELECT count(*) FROM executions") == fits
    process = await fleet.process()
    await process.work()
    assert await fleet.budget(client) == (0, fits * COST_NANO, 0)


async def test_money_that_came_free_while_a_hold_was_refused_is_given_and_not_denied(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await fleet.client(monthly_budget_nano=WORST_NANO)
    first = await fleet.submit(client)
    hold, refusals = budgets.hold, 0

    async def free_after_the_first_refusal(*arguments: Any) -> Any:
        nonlocal refusals
        answer = await hold(*arguments)
        if answer is None:
            refusals += 1
            await fleet.cancel(first)
        return answer

    monkeypatch.setattr(budgets, "hold", free_after_the_first_refusal)
    await fleet.submit(client)
    assert refusals == 1
    assert await fleet.budget(client) == (WORST_NANO, 0, 1)


async def test_much_is_settled_in_two_halves_at_the_same_time_and_to_the_end(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each half waits for the other in the middle of its transaction; seen to hang when done in turn."""
    monkeypatch.setattr(runner, "HALVED_FROM", 4)
    monkeypatch.setattr(runner, "SETTLE_TOGETHER", 4)
    worker, process = fleet.script({"write": 3}), await fleet.process(slots=12)
    clients = [await fleet.client() for _ in range(2)]
    while len({client.int % 2 for client in clients}) < 2:
        clients[1] = await fleet.client()
    there = {client: anyio.Event() for client in clients}

    async def record(tx: Tx, job: EndedJob) -> list[NewJob]:
        there[job.client_id].set()
        with anyio.fail_after(20):
            for other in there.values():
                await other.wait()
        return []

    worker.on_record = record
    executions = [await fleet.submit(client) for client in clients for _ in range(2)]
    await process.work()
    assert {(await fleet.view(one)).state for one in executions} == {ExecutionState.SUCCEEDED}
    assert len(worker.ran) == 12
    assert [await fleet.budget(client) for client in clients] == [(0, 6 * COST_NANO, 0)] * 2
    assert not any((await fleet.counts()).values())


async def test_a_hold_settles_in_the_month_in_which_it_was_taken(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process()
    await fleet.submit(client, deadline=await a_year_ahead(fleet))
    process.database.clock_offset = fleet.database.clock_offset = timedelta(days=40)
    await process.engine.lease.round()
    await process.work()
    assert await fleet.value("SELECT count(*) FROM budgets") == 1
    assert await fleet.budget(client) == (0, COST_NANO, 0)


async def a_year_ahead(fleet: Fleet) -> Any:
    async with fleet.database.begin() as tx:
        return tx.now + timedelta(days=365)


async def test_new_routes_are_stored_in_one_order_in_every_process(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two submissions that bring the same new routes would else lock them crosswise."""
    await fleet.add_spare()
    hops = [MODEL, SPARE]
    routes = [Route(hops=(one, *rest)) for one in hops for rest in ((), (MODEL,), (SPARE,))]
    worker, intern = fleet.script({"write": 1}), control.intern_route
    plain, stored = worker.estimate, list[Route]()

    def estimate(resolved: Any, inputs: Any) -> list[Line]:
        (line,) = plain(resolved, inputs)
        more = [msgspec.structs.replace(line, kind=f"k{n}", route=one) for n, one in enumerate(routes)]
        return [line, *more]

    async def interned(tx: Tx, route: Route) -> int:
        stored.append(route)
        return await intern(tx, route)

    monkeypatch.setattr(worker, "estimate", estimate)
    monkeypatch.setattr(control, "intern_route", interned)
    await fleet.submit(await fleet.client())
    assert stored == sorted(set(routes), key=msgspec.json.encode)
