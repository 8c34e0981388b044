"""How fast a full queue is drained by one process that shares two cores with PostgreSQL.

Ours: 100 clients × 2 queues × 2 pools with a price; ledger, events and history are written. The peers: one
queue, no gates, no prices. For all: filled, vacuumed, from the first job's start to the last durable end.
"""

import itertools
from typing import Any

from aifactory.resources.interface import Urgency
from bench import profiling
from bench.figures import OURS, Goal, Row, spread
from bench.ours import Ours, execution, open_ours
from bench.running import Bench, Measure

CLIENTS = 100
QUEUES = (Urgency.HIGH, Urgency.NORMAL)
POOLS = ("first", "second")
MIX = CLIENTS * len(QUEUES) * len(POOLS)
TREE = 20  #: jobs of an execution of usual size
SINGLE, QUICK_SINGLE = 4, 2  #: times as many where an execution has one job only
SLOTS = (64, 256, 1024)
GOALS = (
    Goal(bound="at least", value=1.0, peer="PgQueuer"),
    Goal(bound="at least", value=10.0, peer="Procrastinate"),
)


async def drain_ours(dsn: str, *, executions: int, jobs: int, slots: int) -> dict[str, float]:
    """Fill and drain once; return jobs a second, and what was counted for that."""
    async with open_ours(dsn, slots=slots) as ours:
        await _fill(ours, executions=executions, jobs=jobs)
        async with ours.running():
            done = await ours.drain(jobs=executions * jobs, executions=executions)
    return {
        "jobs_per_second": done.jobs / done.seconds,
        "jobs": done.jobs,
        "seconds": done.seconds,
        "entries": done.entries,
    }


async def profile_ours(dsn: str, *, executions: int, jobs: int, slots: int, log: str) -> str:
    """Fill and drain once, watched; return what it says of where the time went."""
    async with open_ours(dsn, slots=slots) as ours:
        await _fill(ours, executions=executions, jobs=jobs)
        async with ours.running(), profiling.watched(ours.database, log=log) as report:
            await ours.drain(jobs=executions * jobs, executions=executions)
        return report(executions * jobs)


async def _fill(ours: Ours, *, executions: int, jobs: int) -> None:
    """Queue executions of all kinds in turn, with the scheduler off."""
    await ours.add_pools(*POOLS)
    clients = await ours.add_clients(CLIENTS)
    await ours.switch(on=False)
    kinds = itertools.cycle(itertools.product(clients, QUEUES, POOLS))
    wanted = [
        execution(client_id, pool, jobs=jobs, urgency=urgency)
        for client_id, urgency, pool in itertools.islice(kinds, executions)
    ]
    await ours.fill(wanted)
    await ours.vacuum()


def sweep(bench: Bench) -> None:
    """Drain a little with each setting that a system's documents name; keep the best of each."""
    found: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for slots in SLOTS[:2] if bench.quick else SLOTS:
        done = bench.ours(
            "bench.drain:drain_ours", executions=MIX // 8 if bench.quick else MIX // 4, jobs=TREE, slots=slots
        )
        found.setdefault(OURS, []).append((done["jobs_per_second"], {"slots": slots}))
    if bench.peers:
        for settings in _settings_of_pgqueuer(quick=bench.quick):
            found.setdefault("PgQueuer", []).append(
                (_drain_peer(bench, "PgQueuer", settings, 5000), settings)
            )
        for settings in _settings_of_procrastinate(quick=bench.quick):
            rate = _drain_peer(bench, "Procrastinate", settings, 500)
            found.setdefault("Procrastinate", []).append((rate, settings))
    for system, tried in found.items():
        rate, best = max(tried, key=lambda one: one[0])
        bench.best.settings[system] = best
        bench.best.notes.append(f"{system}: best of {len(tried)} settings is {_in_words(best)}")


def _settings_of_pgqueuer(*, quick: bool) -> list[dict[str, Any]]:
    if quick:
        return [{"consumers": 1, "batch": 500}, {"consumers": 2, "batch": 100}]
    combined = itertools.product((1, 2, 5), (10, 100, 500), (False, True))
    return [{"consumers": many, "batch": batch, "pool": pool} for many, batch, pool in combined]


def _settings_of_procrastinate(*, quick: bool) -> list[dict[str, Any]]:
    if quick:
        return [{"workers": 1, "concurrency": 30}, {"workers": 4, "concurrency": 10}]
    combined = itertools.product((1, 4), (10, 30), ("always", "never"), (False, True))
    return [
        {"workers": many, "concurrency": at_once, "delete_jobs": delete, "lean_pool": lean}
        for many, at_once, delete, lean in combined
    ]


def _in_words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _drain_peer(bench: Bench, name: str, settings: dict[str, Any] | None, jobs: int) -> float:
    """Warm up, fill, vacuum, drain; return jobs a second."""
    warm = min(jobs, 500)
    calls = (("depth", {"n": warm}), ("drain", {"expected": warm}))
    *_, seconds = bench.peer(
        name, *calls, ("depth", {"n": jobs}), ("drain", {"expected": jobs}), settings=settings
    )
    return float(jobs / seconds)


def run(bench: Bench) -> list[Row]:
    """Drain with every system in turn."""
    if not bench.best.settings:
        sweep(bench)
    slots = bench.best.settings[OURS]["slots"]
    sizes = {"PgQueuer": 20_000, "Procrastinate": 1_000 if bench.quick else 10_000}
    executions = MIX if bench.quick else 2 * MIX
    singles = (QUICK_SINGLE if bench.quick else SINGLE) * executions
    rates: dict[str, list[float]] = {}
    single: list[float] = []
    for system in bench.turns():
        if system == OURS:
            done = bench.ours("bench.drain:drain_ours", executions=executions, jobs=TREE, slots=slots)
            rates.setdefault(OURS, []).append(done["jobs_per_second"])
            alone = bench.ours("bench.drain:drain_ours", executions=singles, jobs=1, slots=slots)
            single.append(alone["jobs_per_second"])
        else:
            rates.setdefault(system, []).append(_drain_peer(bench, system, None, sizes[system]))
    systems = {system: spread(values) for system, values in rates.items()}
    kinds = f"{CLIENTS} clients, {len(QUEUES)} queues, {len(POOLS)} pools, {executions * TREE:,} jobs"
    theirs = f"one queue, no gates, {sizes['PgQueuer']:,} and {sizes['Procrastinate']:,} jobs"
    return [
        Row(
            what=f"drain, executions of {TREE} jobs",
            unit="jobs/s",
            systems=systems,
            goals=GOALS,
            note=f"ours: {kinds}; the peers: {theirs}",
        ),
        Row(
            what="drain, executions of 1 job",
            unit="jobs/s",
            systems={**systems, OURS: spread(single)},
            asked=True,
            note=f"{singles:,} executions; the peers as above",
        ),
    ]


MEASURE = Measure(name="drain", shows="jobs a second of one process, queue full", run=run)


def profile(bench: Bench, *, slots: int, jobs: int, executions: int) -> str:
    """Drain ours twice, once timed by the server and once sampled; return where the time went."""
    settings = {"log_min_duration_statement": "0", "log_parameter_max_length": "0"}
    arguments = {"executions": executions, "jobs": jobs, "slots": slots}
    plain = bench.ours("bench.drain:profile_ours", log="", **arguments)
    with bench.server.database(ours=True, settings=settings) as dsn:
        timed = bench.ours_on(dsn, "bench.drain:profile_ours", log=str(bench.server.log), **arguments)
    return f"{plain}\n\n{timed}"
