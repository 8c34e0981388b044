"""How fast jobs are stored durably with nobody working: one by one, in batches, by several callers at once.

Ours holds money on a budget and writes an execution with its stage, lines and events for each submission;
the peers write a job and a row of its log.
"""

import asyncio
import time

from aifactory.resources.interface import Urgency
from bench.drain import TREE
from bench.figures import OURS, Row, spread
from bench.ours import execution, open_ours
from bench.running import Bench, Measure

BATCH = 100
CALLERS = 20
WARM = 40  #: submissions before the clock runs, so that connections and their plans are there


async def submit_ours(
    dsn: str, *, submissions: int, at_once: int = 1, together: int = 1, jobs: int = 1
) -> dict[str, float]:
    """Submit so many executions of so many jobs, some in each transaction; return jobs a second."""
    async with open_ours(dsn) as ours:
        await ours.add_pools("first")
        clients = await ours.add_clients(at_once)

        async def caller(number: int, transactions: int) -> None:
            for _ in range(transactions):
                wanted = [
                    execution(clients[number], "first", jobs=jobs, urgency=Urgency.NORMAL)
                    for _ in range(together)
                ]
                await ours.submit(*wanted)

        async def call(transactions: int) -> float:
            shares = [transactions // at_once + (n < transactions % at_once) for n in range(at_once)]
            began = time.perf_counter()
            await asyncio.gather(*(caller(number, share) for number, share in enumerate(shares)))
            return time.perf_counter() - began

        await call(-(-WARM // together))
        transactions = -(-submissions // together)
        seconds = await call(transactions)
    return {"jobs_per_second": transactions * together * jobs / seconds}


def run(bench: Bench) -> list[Row]:
    """Enqueue with every system in turn, in each of the ways."""
    count = 300 if bench.quick else 2000
    kinds: dict[str, dict[str, list[float]]] = {"single": {}, "callers": {}, "batch": {}, "tree": {}}
    for system in bench.turns():
        rates = _ours(bench, count) if system == OURS else _peer(bench, system, count)
        for kind, rate in rates.items():
            kinds[kind].setdefault(system, []).append(rate)
    whats = {
        "single": "enqueue, one caller, a job a transaction",
        "callers": f"enqueue, {CALLERS} callers at once, a job a transaction",
        "batch": f"enqueue, {BATCH} submissions at a time",
        "tree": f"enqueue, {TREE} jobs a transaction; ours: one execution of them",
    }
    return [
        Row(
            what=what,
            unit="jobs/s",
            systems={system: spread(values) for system, values in kinds[kind].items()},
            asked=True,
        )
        for kind, what in whats.items()
    ]


def _ours(bench: Bench, count: int) -> dict[str, float]:
    ways: dict[str, dict[str, int]] = {
        "single": {"submissions": count},
        "callers": {"submissions": count, "at_once": CALLERS},
        "batch": {"submissions": count, "together": BATCH},
        "tree": {"submissions": max(1, count // 4), "jobs": TREE},
    }
    work = "bench.enqueue:submit_ours"
    return {kind: bench.ours(work, **arguments)["jobs_per_second"] for kind, arguments in ways.items()}


def _peer(bench: Bench, system: str, count: int) -> dict[str, float]:
    many = 10 * count
    _, single, _, callers, batch, tree = bench.peer(
        system,
        ("enqueue", {"n": WARM}),
        ("enqueue", {"n": count}),
        ("enqueue", {"n": 5 * CALLERS, "at_once": CALLERS}),
        ("enqueue", {"n": count, "at_once": CALLERS}),
        ("enqueue_many", {"n": many, "batch": BATCH}),
        ("enqueue_many", {"n": many, "batch": TREE}),
        connections=CALLERS,
    )
    return {"single": count / single, "callers": count / callers, "batch": many / batch, "tree": many / tree}


MEASURE = Measure(name="enqueue", shows="jobs stored a second: single, by many callers, in batches", run=run)
