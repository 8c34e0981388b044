"""What a claim costs by the depth of the queue and the number of its clients: time, and buffers touched.

Ours is the whole tick: lock, load every lane's heads and gates, plan, apply, commit. A queue of jobs is made
from copies of real submissions. The peers know no clients.
"""

import time
from statistics import median
from typing import Any

import asyncpg
from sqlalchemy import make_url

from aifactory.resources.interface import Urgency
from bench.figures import OURS, Goal, Row, Spread, number, spread
from bench.ours import Ours, execution, open_ours
from bench.running import Bench, Measure, rotated
from prove.filling import copy_queued, forget_to_analyze

BATCH = 10
WARM, SERIES, TIMES = 5, 3, 5  #: ticks: together they claim at most a fifth of the smallest queue
MOST_IN_A_TREE = 20
WITHIN = Goal(bound="at most", value=1.25)


async def claim_ours(dsn: str, *, depth: int, clients: int) -> dict[str, Any]:
    """Queue so many jobs of so many clients, claim some; return each series' milliseconds, and buffers."""
    async with open_ours(dsn) as ours:
        await _queue(ours, depth=depth, clients=clients)
        engine = ours.factory.engine
        await engine.lease.round()
        server = make_url(dsn).set(database="postgres", drivername="postgresql")
        watcher = await asyncpg.connect(server.render_as_string(hide_password=False))
        try:
            for _ in range(WARM):
                await _claim(ours)
            taken: list[list[float]] = []
            buffers: list[float] = []
            for _ in range(SERIES):
                before = await _touched(ours, watcher)
                taken.append([await _claim(ours) for _ in range(TIMES)])
                buffers.append((await _touched(ours, watcher) - before) / TIMES)
        finally:
            await watcher.close()
            await engine.lease.release()
    return {"ms": taken, "buffers": buffers}


async def _claim(ours: Ours) -> float:
    """Claim once; return the milliseconds."""
    began = time.perf_counter()
    tick = await ours.factory.engine.scheduler.tick(slots=BATCH, local_slots=0, idle=True)
    taken = 1000 * (time.perf_counter() - began)
    assert len(tick.claimed) == BATCH, len(tick.claimed)
    return taken


async def _touched(ours: Ours, watcher: "asyncpg.Connection[Any]") -> int:
    """Return how many buffers all sessions of our database have asked for so far."""
    async with ours.database.lend() as connection:  # the one that ticks: it was used last
        await connection.fetchval("SELECT pg_stat_force_next_flush()")
        name = await connection.fetchval("SELECT current_database()")
    await watcher.execute("SELECT pg_stat_clear_snapshot()")
    asked = "SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = $1"
    return int(await watcher.fetchval(asked, name))


async def _queue(ours: Ours, *, depth: int, clients: int) -> None:
    """Submit one execution for each client and copy them until the queue is as deep as asked."""
    await ours.add_pools("first", capacity=10**9, refill=10**6)
    jobs = max(1, min(MOST_IN_A_TREE, depth // clients))
    wanted = [
        execution(client_id, "first", jobs=jobs, urgency=Urgency.NORMAL)
        for client_id in await ours.add_clients(clients)
    ]
    await ours.switch(on=False)
    await ours.fill(wanted)
    copies = depth // (clients * jobs) - 1
    if copies:
        async with ours.database.begin() as tx:
            originals = [row["id"] for row in await tx.raw.fetch("SELECT id FROM executions")]
        await copy_queued(ours.database, originals, copies, part=1)
    await ours.vacuum()
    await forget_to_analyze(ours.database)
    await ours.switch(on=True)


def run(bench: Bench) -> list[Row]:
    """Claim from queues of every depth; each is filled once for each system, each led by another one."""
    depths = (1_000, 100_000) if bench.quick else (1_000, 10_000, 100_000, 1_000_000)
    many = (1, 1_000) if bench.quick else (1, 30, 1_000)
    rows: list[Row] = []
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for turn, depth in enumerate(depths):
        peers: dict[str, tuple[Spread, Spread]] = {}
        for system in rotated(bench.systems, turn):
            if system != OURS:
                peers[system] = _claim_peer(bench, system, depth)
                continue
            for clients in many:
                found[depth, clients] = bench.ours("bench.claim:claim_ours", depth=depth, clients=clients)
        for clients in many:
            own = peers if clients == 1 else {}
            rows += _rows(depth, clients, found[depth, clients], own, asked=depth == depths[-1])
    growth = [row for clients in many for row in _growth(found, depths[0], depths[-1], clients)]
    return [*growth, *rows]


def _rows(
    depth: int, clients: int, done: dict[str, Any], peers: dict[str, tuple[Spread, Spread]], *, asked: bool
) -> list[Row]:
    where = f"{depth:,} queued, {_clients(clients)}"
    note = f"a claim is of {BATCH} jobs, Procrastinate's of 1" if peers else ""
    of_time = {OURS: spread([one for series in done["ms"] for one in series])}
    of_buffers = {OURS: spread(done["buffers"])}
    return [
        Row(
            what=f"claim, {where}: time",
            unit="ms",
            systems=of_time | {name: one for name, (one, _) in peers.items()},
            note=note,
            asked=asked,
        ),
        Row(
            what=f"claim, {where}: buffers touched",
            unit="buffers",
            systems=of_buffers | {name: one for name, (_, one) in peers.items()},
            asked=asked,
        ),
    ]


def _growth(found: dict[tuple[int, int], dict[str, Any]], first: int, last: int, clients: int) -> list[Row]:
    """Return how much dearer a claim gets from the shortest to the longest queue."""
    low, high = found[first, clients], found[last, clients]
    of_time = [one / median(one for series in low["ms"] for one in series) for one in map(median, high["ms"])]
    of_buffers = [one / median(low["buffers"]) for one in high["buffers"]]
    where = f"claim, {last:,} queued against {first:,}, {_clients(clients)}"
    return [
        Row(what=f"{where}: time", unit="×", systems={OURS: spread(of_time)}, goals=(WITHIN,)),
        Row(
            what=f"{where}: buffers",
            unit="×",
            systems={OURS: spread(of_buffers)},
            goals=(WITHIN,),
            note=f"{number(median(low['buffers']))} → {number(median(high['buffers']))} buffers",
        ),
    ]


def _clients(count: int) -> str:
    return f"{count:,} client{'s' if count > 1 else ''}"


def _claim_peer(bench: Bench, name: str, depth: int) -> tuple[Spread, Spread]:
    """Return a peer's milliseconds and buffers of a claim; a warm connection, as ours has."""
    batch = 1 if name == "Procrastinate" else BATCH
    settings = {"concurrency": 1} if name == "Procrastinate" else {"consumers": 1}
    many = min(60, depth // 5 // batch)
    _, seconds, buffers = bench.peer(
        name,
        ("depth", {"n": depth}),
        ("claim", {"times": many, "batch": batch}),
        ("claim_buffers", {"batch": batch}),
        settings=settings,
        connections=1,
    )
    return spread([1000 * one for one in seconds[many // 2 :]]), spread([buffers])


MEASURE = Measure(name="claim", shows="time and buffers of a claim by depth and clients", run=run)
