"""How soon a job starts that is submitted to an idle process: from the call until the worker's first line.

The peers wake their worker by a notice of the database. Ours wakes the scheduler of the process that took
the submission, and those of the others by a notice: both are measured.
"""

import asyncio
import json
import random
import sys
import time
from uuid import UUID

import anyio

from aifactory.kernel.ids import ClientId
from aifactory.resources.interface import Urgency
from bench.figures import OURS, Goal, Row, percentile, spread
from bench.ours import Ours, execution, open_ours
from bench.running import REPOSITORY, Bench, Measure

PAUSE_SECONDS = 0.3  #: at least; a peer's worker is idle only 0.12 s after a job
START_SECONDS = 60.0
OTHER = "ours, from another process"


async def wait_ours(dsn: str, *, samples: int, elsewhere: bool) -> list[float]:
    """Submit single jobs to an idle process, here or from another one; return the seconds of each."""
    async with open_ours(dsn) as ours:
        await ours.add_pools("first")
        (client_id,) = await ours.add_clients(1)
        starts: asyncio.Queue[float] = asyncio.Queue()
        ours.worker.on_run = lambda: starts.put_nowait(time.perf_counter())
        async with ours.running():
            if not elsewhere:
                calls = await submit_some(ours, client_id, samples)
            else:
                calls = await _let_submit(dsn, str(client_id), samples)
            with anyio.fail_after(START_SECONDS):
                begun = [await starts.get() for _ in calls]
    # Each had ended before the next was submitted, and the clock is the machine's.
    return [start - call for call, start in zip(calls, begun, strict=True)][1:]


async def submit_some(ours: Ours, client_id: ClientId, samples: int) -> list[float]:
    """Submit one job more than asked, with pauses; return when each was called."""
    calls: list[float] = []
    for _ in range(samples + 1):
        await asyncio.sleep(PAUSE_SECONDS * random.uniform(1, 1.5))
        wanted = execution(client_id, "first", jobs=1, urgency=Urgency.NORMAL)
        calls.append(time.perf_counter())
        await ours.submit(wanted)
    return calls


async def submit_elsewhere(dsn: str, *, client_id: str, samples: int) -> list[float]:
    """Submit from a process that only serves; return when each was called."""
    async with open_ours(dsn, scheduler=False) as ours, ours.running():
        return await submit_some(ours, ClientId(UUID(client_id)), samples)


async def _let_submit(dsn: str, client_id: str, samples: int) -> list[float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.child", "bench.idle:submit_elsewhere"),
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    wanted = json.dumps({"dsn": dsn, "client_id": client_id, "samples": samples})
    said, _ = await process.communicate(f"{wanted}\n".encode())
    assert not process.returncode, f"the process that submits ended with {process.returncode}"
    calls: list[float] = json.loads(said)
    return calls


def run(bench: Bench) -> list[Row]:
    """Wait with every system in turn."""
    samples = 15 if bench.quick else 80
    found: dict[str, list[list[float]]] = {}
    for system in bench.turns():
        if system == OURS:
            for name, elsewhere in ((OURS, False), (OTHER, True)):
                done = bench.ours("bench.idle:wait_ours", samples=samples, elsewhere=elsewhere)
                found.setdefault(name, []).append(done)
        else:
            settings = {"concurrency": 10} if system == "Procrastinate" else {"consumers": 1}
            (done,) = bench.peer(system, ("latency", {"n": samples}), settings=settings)
            found.setdefault(system, []).append(done)
    return [
        _row(found, 50, goals=(Goal(bound="at most", value=1.2, peer="PgQueuer"),)),
        _row(found, 99),
        _elsewhere(found, 50),
        _elsewhere(found, 99),
    ]


def _row(found: dict[str, list[list[float]]], percent: int, goals: tuple[Goal, ...] = ()) -> Row:
    systems = {
        name: spread([1000 * percentile(seconds, percent) for seconds in runs])
        for name, runs in found.items()
        if name != OTHER
    }
    return Row(
        what=f"idle, submit → first line of the job: p{percent}", unit="ms", systems=systems, goals=goals
    )


def _elsewhere(found: dict[str, list[list[float]]], percent: int) -> Row:
    systems = {OURS: spread([1000 * percentile(seconds, percent) for seconds in found[OTHER]])}
    systems |= {name: one for name, one in _row(found, percent).systems.items() if name != OURS}
    what = f"idle, submitted in another process: p{percent}"
    note = "the peers take the same way in both"
    return Row(what=what, unit="ms", systems=systems, note=note, asked=percent == 50)


MEASURE = Measure(name="idle", shows="from a submission to its start in an idle process", run=run)
