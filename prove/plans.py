"""Every statement of a tick, a submission, a settle and the upkeep reads by index, whatever is queued.

The statistics are those of a nearly empty database, as they are when work comes faster than autovacuum. Each
statement is explained where it is sent, with its own values and both as a plan for these values and as the
plan for all values that a prepared statement may get; then what it read with a thousand queued jobs is
compared with what it reads with a hundred times as many.
"""

import argparse
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence

import anyio
import msgspec

from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId, ExecutionId
from aifactory.resources.queries import positions
from prove import filling
from prove.databases import Databases
from prove.reporting import Option, Proof, Proven
from prove.sized_worker import HOP
from prove.turns import Turns, open_turns
from prove.watching import Explained, Watched, open_watched

SLOTS = 64
CLIENTS = 20
FEW, MANY = 1_000, 100_000
HISTORY = 100_000
ASIDE = 10_000  #: rows at least of what grows with clients and time
MOST_GROWTH = 1.5  #: of the rows that a statement reads, where the queue is a hundred times as long
FEW_ROWS = 40  #: that is nothing, however few they were before
BLOCKS_A_ROW = 12  #: a tree is a level deeper, what is read lies further apart, dead entries are in between
FEW_BLOCKS = 40
JOBS = 20  #: of an execution

# Tables that may be read whole, and why they stay small; every other one grows with work or with time.
SMALL = {
    "scheduler_control": "one row",
    "retention_rounds": "one row",
    "processes": "the processes of the fleet",
    "tiers": "four rows",
    "queues": "five rows",
    "resource_pools": "what the operator has set up",
    "providers": "what the operator has set up",
    "models": "what the operator has set up",
    "worker_registry": "what the operator has set up",
    "routes": "the ways through models that there are, each stored once",
    "running_jobs": "at most the slots of the fleet",
    "lanes": "the active clients' ways through the queues; empty ones are closed",
}
PARTIAL = {
    "client_pool_usage_active": "the active clients",
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen: each statement with few and with many jobs queued, and what is wrong with it.

    ``without``: what was wrong when indexes had been dropped, so that it can be seen that it is seen.
    """

    few: tuple[Explained, ...]
    many: tuple[Explained, ...]
    queued: int
    history: int
    fill_seconds: float
    broken: tuple[str, ...]
    without: tuple[str, ...]


async def run(
    database: Database,
    *,
    few: int = FEW,
    many: int = MANY,
    history: int = HISTORY,
    clients: int = CLIENTS,
    dropped: Sequence[str] = (),
) -> Report:
    """Explain all work at both sizes; then once more without some indexes."""
    async with _ground(database) as (turns, watched):
        seeds = await _sow(turns, clients)
        await filling.forget_to_analyze(database)
        began = time.monotonic()
        await filling.copy_ended(database, [seeds.ended], history // JOBS, part=1)
        await filling.fill_aside(database, HOP.pool, max(ASIDE, history // 10))
        await filling.copy_queued(database, seeds.queued, few // clients // JOBS, part=2)
        filled = time.monotonic() - began
        first = await _work(turns, watched, seeds)
        began = time.monotonic()
        await filling.copy_queued(database, seeds.queued, (many - few) // clients // JOBS, part=3)
        filled += time.monotonic() - began
        second = await _work(turns, watched, seeds)
        (depth,) = (await turns.fetch("SELECT count(*) FROM resource_queue"))[0]
        for index in dropped:
            await turns.execute(f"DROP INDEX {index}")
        third = await _common_work(turns, watched, seeds) if dropped else []
    broken = (*judge(first), *judge(second), *_compare(first, second), *_heads(second, clients))
    return Report(
        few=tuple(first),
        many=tuple(second),
        queued=depth,
        history=history,
        fill_seconds=filled,
        broken=tuple(dict.fromkeys(broken)),
        without=tuple(dict.fromkeys(judge(third))),
    )


def totals(found: Sequence[Explained]) -> dict[str, tuple[int, int, int]]:
    """Return by work its statements and what they read as prepared: blocks, rows of large tables."""
    sums: dict[str, tuple[int, int, int]] = {}
    for one in found:
        if one.mode == "force_generic_plan":
            statements, blocks, rows = sums.get(one.work, (0, 0, 0))
            sums[one.work] = statements + 1, blocks + one.blocks, rows + rows_of(one)
    return sums


class _Seeds(msgspec.Struct, frozen=True, kw_only=True):
    """What the copies are made of: one queued execution of each client, and one that has ended."""

    clients: tuple[ClientId, ...]
    queued: tuple[ExecutionId, ...]
    ended: ExecutionId


# The seeds themselves may have been started by now; some jobs in, so that others are before it.
_NEAR_FRONT = """
    SELECT j.execution_id FROM resource_queue q JOIN jobs j ON j.id = q.job_id
    WHERE q.lane_id = (SELECT lane_id FROM resource_queue LIMIT 1)
    ORDER BY q.aged_from, q.seq OFFSET 8 LIMIT 1"""


@contextlib.asynccontextmanager
async def _ground(database: Database) -> AsyncIterator[tuple[Turns, Watched]]:
    async with open_watched(database) as watched, open_turns(watched, slots=SLOTS) as turns:
        yield turns, watched


async def _sow(turns: Turns, clients: int) -> _Seeds:
    ids = [await turns.client() for _ in range(clients)]
    ended = (await turns.submit(ids[0], jobs=JOBS)).execution_id
    await turns.round()
    queued = [(await turns.submit(client, jobs=JOBS)).execution_id for client in ids]
    return _Seeds(clients=tuple(ids), queued=tuple(queued), ended=ended)


async def _work(turns: Turns, watched: Watched, seeds: _Seeds) -> list[Explained]:
    """Do every kind of work once, and return what it sent."""
    found, engine = await _common_work(turns, watched, seeds), turns.engine
    with watched.watch("expire"):
        await _expire(turns)
    await _clear_runs(turns)
    with watched.watch("rescue"):
        await _rescue(turns)
    with watched.watch("strand"):
        await engine.maintenance.end_stranded([HOP.provider])
    return found + watched.taken()


async def _common_work(turns: Turns, watched: Watched, seeds: _Seeds) -> list[Explained]:
    """Do what happens all the time; what upkeep does once a minute, it is not due for."""
    engine, client = turns.engine, seeds.clients[0]
    await engine.lease.round()
    near_front = ExecutionId((await turns.fetch(_NEAR_FRONT))[0][0])
    with watched.watch("submit"):
        submitted = await turns.submit(client, jobs=3)
    with watched.watch("explain"):
        await _explain(watched, near_front)
    with watched.watch("tick and start"):
        await engine.tick()
    await _clear_runs(turns)
    with watched.watch("settle"):
        await turns.settle()
    with watched.watch("cancel"):
        async with watched.begin() as tx:
            await turns.service.cancel(tx, submitted.execution_id)
    with watched.watch("look"):
        engine.maintenance._purged = anyio.current_time()
        await engine.maintenance.round()
        await engine.maintenance.reopen_orphans()
    return watched.taken()


async def _clear_runs(turns: Turns) -> None:
    """Take out the rows that were explained and rolled back; how much of them is left is chance."""
    async with turns.database.lend() as raw:
        await raw.execute("VACUUM running_jobs, executions, jobs")


async def _explain(watched: Watched, execution_id: ExecutionId) -> None:
    """Read where the jobs of an execution near the front of its lane stand."""
    async with watched.begin() as tx:
        groups = (await positions.open_work(tx, execution_id)).groups
        jobs = await positions.open_jobs(tx, [one for group in groups for one in (group.first, group.last)])
        queued = [job for job in jobs.values() if job.lane_id is not None]
        if not queued or not await positions.count_before(tx, queued, most=FEW_ROWS):
            raise RuntimeError("Nothing of it waits.")


async def _expire(turns: Turns) -> None:
    late = (await turns.submit(await turns.client())).execution_id
    await turns.execute("UPDATE executions SET deadline = created_at - interval '1 day' WHERE id = $1", late)
    if not await turns.engine.maintenance.expire():
        raise RuntimeError("Nothing has expired.")


async def _rescue(turns: Turns) -> None:
    """Take over what was claimed by a process that is gone."""
    runner = turns.engine.runner
    tick = await turns.engine.scheduler.tick(slots=runner.lease.slots, local_slots=1, idle=True)
    gone = "UPDATE running_jobs SET process_id = job_id WHERE job_id = ANY($1)"
    await turns.execute(gone, [one.start.head.job_id for one in tick.claimed])
    if await turns.engine.maintenance.rescue() != len(tick.claimed):
        raise RuntimeError("Not everything was rescued.")


def judge(found: Sequence[Explained]) -> Iterator[str]:
    """Name the scans that read all of a table that grows."""
    for one in found:
        for scan in one.scans:
            if scan.whole and not is_small(scan.table) and scan.index not in PARTIAL:
                kind = one.mode.removeprefix("force_").replace("_", " ")
                yield f"{one.work}, {kind}: {scan.node} reads {scan.rows} rows of {scan.table}: {one.title}"


def is_small(table: str) -> bool:
    """Whether a table may be read whole."""
    return table in SMALL


def _compare(few: Sequence[Explained], many: Sequence[Explained]) -> Iterator[str]:
    """Name what read much more with a longer queue, for as many keys."""
    before = {(one.work, one.sql, one.mode): one for one in few}
    for one in many:
        old = before.get((one.work, one.sql, one.mode))
        if old is None:
            continue
        rows, old_rows = rows_of(one), rows_of(old)
        if rows > max(FEW_ROWS, MOST_GROWTH * old_rows * one.keys / old.keys):
            yield f"{one.work}: {old_rows} rows become {rows}: {one.title}"
        if one.blocks > FEW_BLOCKS + MOST_GROWTH * old.blocks + BLOCKS_A_ROW * rows:
            yield f"{one.work}: {old.blocks} blocks become {one.blocks}: {one.title}"


def rows_of(one: Explained) -> int:
    """Return how many rows a statement read of tables that grow."""
    scans = (scan for scan in one.scans if not is_small(scan.table))
    return sum(scan.rows for scan in scans if scan.node != "Bitmap Index Scan")  # the heap scan counts them


def _heads(many: Sequence[Explained], lanes: int) -> Iterator[str]:
    """Name a load of lane heads that reads more than twice the lanes and the slots."""
    loads = [one for one in many if "CROSS JOIN LATERAL" in one.sql and one.work == "tick and start"]
    if not loads:
        yield "no load of heads was seen"
    most = 2 * (lanes + 2 + SLOTS)
    for one in loads:
        rows = sum(scan.rows for scan in one.scans if scan.table == "resource_queue")
        if not 0 < rows <= most:
            yield f"{rows} heads were read, at most {most} are promised: {one.title}"


async def _prove(databases: Databases, asked: argparse.Namespace) -> Proven:
    async with databases.fresh() as database:
        report = await run(database, many=asked.queued, history=asked.queued)
    few, many = totals(report.few), totals(report.many)
    head = ("work", "statements", "blocks: few queued", "many", "rows of large tables: few queued", "many")
    rows = [
        (work, statements, few[work][1], blocks, few[work][2], read)
        for work, (statements, blocks, read) in many.items()
    ]
    queued = (
        f"{report.queued:,} queued, {report.history:,} in history",
        f"{report.fill_seconds:.0f} s to fill",
    )
    return Proven(table=[head, *rows, (*queued, "", "", "", "")], broken=report.broken[:20])


PROOF = Proof(
    name="plans",
    shows="what every statement of the hot paths reads with a million jobs queued and stale statistics",
    needs="3 to 10 minutes, 4 GB of disk",
    options=(Option(name="queued", default=1_000_000, help="how many jobs `plans` queues"),),
    run=_prove,
)
