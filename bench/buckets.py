"""How much of what flows into a bucket is used while more is asked of it, by one process and by four.

What the bucket had at first is not counted as used: neither what was in it, nor what running jobs gave back.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import anyio
import msgspec

from aifactory.resources.interface import Outcome, Urgency, Usage
from bench.figures import OURS, Goal, Row, spread
from bench.ours import Ours, execution, open_ours
from bench.running import REPOSITORY, Bench, Measure

PROCESSES = (1, 4)
REFILL = 20_000  #: units a second; the bucket holds as much as one second brings
UNITS, USED = 500, 250  #: what a start takes, and what its call has used in the end
CLIENTS, TREE = 10, 20
SETTLES_IN_SECONDS = 3.0
WORK = "bench.buckets:use_ours"


async def decide(dsn: str) -> None:
    """Run an engine until nobody holds the standard input any more."""
    async with open_ours(dsn) as ours:
        half = USED // 2
        ours.worker.outcome = Outcome(usage=Usage(input_units=half, output_units=half))
        async with ours.running():
            await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


async def use_ours(dsn: str, *, processes: int, seconds: float) -> dict[str, float]:
    """Let processes work through more than a bucket gives; return the used part of what flowed in."""
    async with open_ours(dsn) as ours:
        await ours.add_pools("narrow", capacity=REFILL, refill=REFILL)
        clients = await ours.add_clients(CLIENTS)
        await ours.switch(on=False)
        jobs = int(2 * (seconds + SETTLES_IN_SECONDS) * REFILL / USED) + 10 * TREE
        wanted = [
            execution(clients[n % CLIENTS], "narrow", jobs=TREE, urgency=Urgency.NORMAL, units=UNITS)
            for n in range(jobs // TREE)
        ]
        await ours.fill(wanted)
        await ours.vacuum()
        async with _deciders(ours, processes):
            await ours.switch(on=True)
            await _until_empty(ours)
            await anyio.sleep(SETTLES_IN_SECONDS)
            before = await _stock(ours)
            await anyio.sleep(seconds)
            after = await _stock(ours)
            await _check(ours, before.at, processes)
    return {"percent": used_percent(before, after)}


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """At one moment: the bucket's starts so far; the units in it, and those that running jobs give back."""

    at: datetime
    starts: int
    units: float


def used_percent(before: Stock, after: Stock) -> float:
    """Return the part of what flowed in that starts used; what was drawn from the stock is left out."""
    inflow = (after.at - before.at) / timedelta(seconds=1) * REFILL
    drawn = max(0.0, before.units - after.units)
    return 100 * ((after.starts - before.starts) * USED - drawn) / inflow


async def _stock(ours: Ours) -> Stock:
    async with ours.database.begin() as tx:
        row = await tx.raw.fetchrow(
            """
            SELECT start_seq, (SELECT count(*) FROM running_jobs) AS running, least(capacity,
                level_micro / 1e6 + refill_per_second * extract(epoch FROM $1 - as_of)) AS level
            FROM resource_pools WHERE pool = 'narrow'
            """,
            tx.now,
        )
    assert row is not None
    units = float(row["level"]) + row["running"] * (UNITS - USED)
    return Stock(at=tx.now, starts=row["start_seq"], units=units)


async def _check(ours: Ours, since: datetime, processes: int) -> None:
    """Fail unless there was always more to start, and every process started some of it."""
    async with ours.database.begin() as tx:
        row = await tx.raw.fetchrow(
            """
            SELECT (SELECT count(*) FROM resource_queue) AS queued, (SELECT count(DISTINCT process_id)
                FROM job_attempts WHERE started_at >= $1) AS processes
            """,
            since,
        )
    assert row is not None
    assert row["queued"], "the queue ran dry"
    assert row["processes"] == processes, dict(row)


async def _until_empty(ours: Ours) -> None:
    """Wait until what the bucket held at first has been used."""
    with anyio.fail_after(120):
        while True:
            async with ours.database.begin() as tx:
                row = await tx.raw.fetchrow(
                    """
                    SELECT level_micro + 1e6 * refill_per_second * extract(epoch FROM $1 - as_of) AS level,
                        start_seq > 0 AS started
                    FROM resource_pools WHERE pool = 'narrow'
                    """,
                    tx.now,
                )
            assert row is not None
            if row["started"] and row["level"] < 4 * UNITS * 10**6:
                return
            await anyio.sleep(0.02)


@contextlib.asynccontextmanager
async def _deciders(ours: Ours, count: int) -> AsyncIterator[None]:
    """Run so many processes, and give way once all are registered."""
    running = []
    try:
        for _ in range(count):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "bench.child", "bench.buckets:decide"),
                cwd=REPOSITORY,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
            )
            running.append(process)
            assert process.stdin is not None
            process.stdin.write((json.dumps({"dsn": ours.database.url}) + "\n").encode())
        with anyio.fail_after(120):
            await _until_registered(ours, count)
        yield
    finally:
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in running:
            await process.wait()


async def _until_registered(ours: Ours, count: int) -> None:
    while True:
        async with ours.database.begin() as tx:
            if await tx.raw.fetchval("SELECT count(*) FROM processes") >= count:
                return
        await anyio.sleep(0.1)


def run(bench: Bench) -> list[Row]:
    """Use a bucket with one process and with several."""
    seconds, rows = 5.0 if bench.quick else 30.0, list[Row]()
    for count in PROCESSES:
        done = [bench.ours(WORK, processes=count, seconds=seconds) for _ in range(bench.rounds)]
        rows.append(
            Row(
                what=f"bucket used, {count} process{'es' if count > 1 else ''}",
                unit="%",
                systems={OURS: spread([one["percent"] for one in done])},
                goals=(Goal(bound="at least", value=97),),
                note=f"{REFILL:,} units/s; a start takes {UNITS}, its end gives {UNITS - USED} back",
            )
        )
    return rows


MEASURE = Measure(name="buckets", shows="the part of a bucket that is used under load", run=run)
