"""Traps of deciding: who may, what it counts, what it reads. See ``tests.traps``."""

from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.fleet import Fleet, Process, until
from tests.integration.resources.traps.pools import level_of, set_level
from tests.locks import blocked, locked
from tests.traps import Proof, edited, proof, replaced, twin

from aifactory.kernel import db
from aifactory.kernel.db import Database, Tx
from aifactory.resources import effects, scheduler
from aifactory.resources.interface import ExecutionState, Urgency
from aifactory.resources.queries import snapshot as snapshots
from aifactory.resources.queries import tick
from aifactory.resources.scheduler import Scheduler, Tick

PROOFS: list[Proof] = []

# Three locks stand one behind the other: the decider's, the pools' rows, and the row of the scheduler.
UNLOCKED = (
    edited(tick.try_decider_lock, "return bool(", "return True or bool("),
    edited(tick.lock_pools, " FOR NO KEY UPDATE", ""),
    edited(
        tick.read_control,
        "UPDATE scheduler_control SET last_tick_at = $1, resumed_at = CASE\n"
        "            WHEN last_tick_at BETWEEN $2 AND $3 THEN resumed_at ELSE $1 END\n"
        "        RETURNING enabled",
        "WITH given AS (SELECT $1::timestamptz, $2::timestamptz, $3::timestamptz) SELECT enabled",
        "AS has_quotas\n",
        "AS has_quotas FROM scheduler_control\n",
    ),
)


async def two_deciders(fleet: Fleet, first: Process, second: Process, **submission: Any) -> list[Tick]:
    """Let a second process tick when a first has counted and not yet claimed, and work has come meanwhile."""
    load, counted, go = snapshots.load_snapshot, anyio.Event(), anyio.Event()
    ticks: list[Tick] = []

    async def load_and_wait(tx: Tx, **options: Any) -> Any:
        found = await load(tx, **options)
        if not counted.is_set():
            counted.set()
            await go.wait()
        return found

    async def claim() -> None:
        ticks.append(await first.claim())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "load_snapshot", load_and_wait)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(claim)
            await counted.wait()
            await fleet.submit(**submission)
            ticks.insert(0, await second.claim())
            go.set()
    return ticks


async def who_has_counted_is_the_only_one_to_claim(fleet: Fleet) -> None:
    fleet.script({"write": 4})
    client = await fleet.client(max_running=4)
    first, second = await fleet.process(), await fleet.process()
    await fleet.submit(client)
    other, own = await two_deciders(fleet, first, second, client_id=client, urgency=Urgency.URGENT)
    assert (await fleet.counts())["running_jobs"] == 4, "more run than the cap allows"
    assert (other.refused, len(own.claimed)) == (True, 4)


PROOFS.append(
    proof(
        1,
        who_has_counted_is_the_only_one_to_claim,
        twin(
            "everybody decides, and rows are only locked when they are claimed",
            "more run than the cap allows",
            *UNLOCKED,
        ),
    )
)


async def only_one_process_decides_at_a_time_and_no_job_starts_twice(fleet: Fleet) -> None:
    worker = fleet.script({"write": 30})
    client, first, second = await fleet.client(), await fleet.process(), await fleet.process()
    await fleet.submit(client)
    claims: list[Any] = []

    async def claim() -> None:
        claims.append(await first.tick())

    async with anyio.create_task_group() as tasks, locked(fleet, "resource_pools"):
        tasks.start_soon(claim)
        await blocked(fleet, 1)
        assert (await second.tick()).refused
    assert len(claims[0].claimed) == 30
    assert (await second.tick()).claimed == ()
    await first.settle()
    assert len({job.id for job in worker.ran}) == len(worker.ran) == 30


PROOFS.append(proof(1, only_one_process_decides_at_a_time_and_no_job_starts_twice))


async def two_processes_do_not_spend_one_allowance_twice(fleet: Fleet) -> None:
    fleet.script({"write": 8})
    client, processes = await fleet.client(), [await fleet.process() for _ in range(3)]
    await set_level(fleet, 1700)
    await fleet.submit(client)
    claimed = [len((await process.claim()).claimed) for process in processes]
    assert claimed == [3, 0, 0], "what was spent is spent again"
    assert await level_of(fleet) == 200_000_000
    await set_level(fleet, 1700)
    ticks = await two_deciders(fleet, *processes[:2], client_id=client, urgency=Urgency.HIGH)
    assert sum(len(one.claimed) for one in ticks) == 3, "two at once spent what only one had"
    assert await level_of(fleet) == 200_000_000


PROOFS.append(
    proof(
        2,
        two_processes_do_not_spend_one_allowance_twice,
        twin(
            "each takes other rows of the queue, and nobody locks what they share",
            "two at once spent what only one had",
            *UNLOCKED,
        ),
        twin(
            "the level is charged in the plan and written nowhere",
            "what was spent is spent again",
            edited(effects.pool_changes, "draw.units * buckets.MICRO,", "0,"),
        ),
    )
)


async def a_tick_reads_heads_only_whatever_statistics_and_dead_rows_say(fleet: Fleet) -> None:
    client, process = await fleet.client(), await fleet.process(slots=4)
    await fleet.submit(client)
    await fleet.submit(client)
    for table in ("resource_queue", "lanes", "running_jobs"):
        await fleet.execute(f"ANALYZE {table}")  # a queue of two, as far as the planner knows
    await fleet.execute(
        """
        INSERT INTO resource_queue
            SELECT gen_random_uuid(), lane_id, aged_from + interval '1 second', seq + n, units, needs,
                attempt, timeout_seconds
            FROM resource_queue, generate_series(1, 5000) n
        """
    )
    reader = await fleet.database.own_connection()
    transaction = reader.transaction(isolation="repeatable_read")
    await transaction.start()
    await reader.fetchval("SELECT count(*) FROM resource_queue")
    await fleet.execute("DELETE FROM resource_queue WHERE seq % 2 = 0")  # pinned by the reader
    before = await rows_read(fleet.database)
    await process.claim()
    await process.engine.maintenance.round()
    after = await rows_read(process.database)
    await transaction.rollback()
    await reader.close()
    fleet.audited = False
    assert after - before < 1000, "it read the queue and not its heads"


async def rows_read(database: Database) -> int:
    """Rows of the queue that were read so far, by scans and through indexes."""
    async with database.begin() as tx:
        await tx.raw.execute("SELECT pg_stat_force_next_flush()")
    sql = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'resource_queue'"
    async with database.begin() as tx:
        return int(await tx.raw.fetchval(sql))


PROOFS.append(
    proof(
        7,
        a_tick_reads_heads_only_whatever_statistics_and_dead_rows_say,
        twin(
            "there is no index in the order of the lanes, so the planner may choose",
            "it read the queue and not its heads",
            sql="DROP INDEX resource_queue_order",
        ),
    )
)
PROOFS.append(
    proof(
        15,
        a_tick_reads_heads_only_whatever_statistics_and_dead_rows_say,
        twin(
            "the rows of the queue are numbered, and the first of each lane taken",
            "it read the queue and not its heads",
            edited(
                snapshots.load_lanes,
                "FROM resource_queue q\n            WHERE q.lane_id = l.id ORDER BY aged_from, seq "
                "LIMIT coalesce(d.depth, $1)) h",
                "FROM (SELECT *, row_number() OVER (PARTITION BY lane_id ORDER BY aged_from, seq)"
                " AS place FROM resource_queue) q WHERE q.lane_id = l.id"
                " AND place <= coalesce(d.depth, $1)) h",
            ),
        ),
        twin(
            "a tick counts what waits",
            "it read the queue and not its heads",
            edited(
                tick.read_control, "(SELECT count(*) FROM lanes)", "(SELECT count(*) FROM resource_queue)"
            ),
        ),
    )
)


async def _say_who_decides(self: Scheduler, tx: Tx, **options: Any) -> Tick:
    await tx.raw.execute("SELECT set_config('twin.process', $1, true)", str(self.lease.process_id))
    return await _decide(self, tx, **options)


_decide = Scheduler._decide


async def caps_hold_for_the_fleet_and_not_for_each_process(fleet: Fleet) -> None:
    fleet.script({"write": 9})
    client = await fleet.client(max_running=4)
    processes = [await fleet.process(slots=3) for _ in range(3)]
    await fleet.submit(client)
    for process in processes:
        await process.tick()
    assert (await fleet.counts())["running_jobs"] == 4, "each process has the cap for itself"
    for _ in range(3):
        for process in processes:
            await process.settle()
            await process.tick()
            assert (await fleet.counts())["running_jobs"] <= 4
    for process in processes:
        await process.work()


PROOFS.append(
    proof(
        12,
        caps_hold_for_the_fleet_and_not_for_each_process,
        twin(
            "a process counts what it runs itself",
            "each process has the cap for itself",
            replaced(Scheduler, "_decide", _say_who_decides),
            edited(
                snapshots.load_snapshot,
                "FROM running_jobs GROUP",
                "FROM running_jobs WHERE process_id::text = current_setting('twin.process') GROUP",
            ),
        ),
    )
)


def _no_idle_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(db._SERVER_SETTINGS, "idle_in_transaction_session_timeout", "0")


async def a_decider_that_hangs_in_its_tick_is_ended(fleet: Fleet) -> None:
    """With stopped processes: ``test_a_decider_stopped_in_its_tick_stops_nobody_else`` in test_races."""
    execution, process = await fleet.submit(await fleet.client()), await fleet.process()
    async with process.database.begin() as tx:
        names = ("idle_in_transaction_session_timeout", "statement_timeout")
        limits = [await tx.raw.fetchval(f"SHOW {name}") for name in names]
    assert limits == ["2s", "5s"], "a transaction may last for ever"
    hung = await fleet.database.own_connection()
    await hung.execute("BEGIN")
    await hung.execute("SELECT pg_advisory_xact_lock($1::bigint)", tick.DECIDER_LOCK)
    end, ended = tick.end_decider, list[int]()

    async def end_and_note(*arguments: Any) -> int:
        ended.append(await end(*arguments))
        return ended[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tick, "end_decider", end_and_note)
        patch.setattr(scheduler, "REFUSED_TOO_LONG_SECONDS", 0.0)
        patch.setattr(scheduler, "LONGEST_DECISION", timedelta())
        assert [(await process.claim()).refused for _ in range(2)] == [True, True]
    assert ended == [1], "nobody ends the decider that hangs"

    async def claims() -> bool:
        return bool((await process.tick()).claimed)

    await until(claims)
    await process.settle()
    assert (await fleet.view(execution)).state is ExecutionState.SUCCEEDED


PROOFS.append(
    proof(
        28,
        a_decider_that_hangs_in_its_tick_is_ended,
        twin(
            "who is refused asks again, and that is all",
            "nobody ends the decider that hangs",
            edited(Scheduler._mind_a_stopped_decider, "elif now -", "elif False and now -"),
        ),
        twin(
            "a stopped process keeps its transaction, and with it its row locks",
            "a transaction may last for ever",
            _no_idle_limit,
        ),
    )
)
