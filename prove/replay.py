"""A loaded run, recorded and replayed: what the simulator says of its spend and its waits, and the truth."""

import argparse
import random
from typing import Any

import anyio
import msgspec

from aifactory.kernel.clock import utc_now
from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId, RequestId, new_id
from aifactory.resources.engine import Engine
from aifactory.resources.interface import (
    ClientLimits,
    FlowStage,
    Line,
    NewExecution,
    Outcome,
    Phase,
    ResolvedStage,
    Route,
    RunningStage,
    StageInputs,
    StageResult,
    Tier,
    Urgency,
    Usage,
)
from aifactory.resources.recording import record
from aifactory.resources.service import ResourceService
from aifactory.resources.simulation.recorded import RecordedExecution, spend_of, waits_of
from aifactory.resources.simulation.report import report_of
from aifactory.resources.simulation.running import play, recorded
from prove.databases import Databases
from prove.plain_worker import PlainWorker, line_of, phase_of, result_of
from prove.pools import add_pool, hop_of
from prove.reporting import Option, Proof, Proven, proven

POOLS = {"narrow": (6_000, 700), "wide": (1_000_000, 100_000)}  #: capacity, refill: by units, by slots
SLOTS = 12
CLIENTS = 8
SPREAD = 0.55  #: sigma of the log-normal seconds
MOST_SPEND_OFF, MOST_P95_OFF = 0.01, 0.10
SECONDS = Option(name="replay-seconds", default=600, help="how long work comes in `replay`")
_BUDGET_NANO = 10**15
_KINDS = (Urgency.NORMAL, Urgency.NORMAL, Urgency.HIGH, Urgency.LOW)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A real run and its replay: jobs, nano-dollars, seconds."""

    jobs: int
    replayed_jobs: int
    spent_nano: int
    replayed_nano: int
    wait_p50: float
    replayed_p50: float
    wait_p95: float
    replayed_p95: float
    turnaround_ms: float

    @property
    def spend_off(self) -> float:
        """Return by which part the predicted spend is wrong."""
        return abs(self.replayed_nano - self.spent_nano) / max(1, self.spent_nano)

    @property
    def p95_off(self) -> float:
        """Return by which part the predicted 95th percentile of the waits is wrong."""
        return abs(self.replayed_p95 - self.wait_p95) / max(1e-9, self.wait_p95)


class TimedWorker(PlainWorker):
    """An outline, then ``jobs`` jobs; each takes a random time and uses a part of what it may."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.chance = random.Random(seed)
        self.seconds = seconds

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """Return the lines of both phases."""
        route = Route(hops=(hop_of(resolved.parameters["pool"]),))
        return [line_of("outline", 1, route), line_of("write", resolved.parameters["jobs"], route)]

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """Return the outline."""
        return phase_of("outline", 1)

    async def run(self, job: Any, emit: Any) -> Outcome:
        """Take a while."""
        seconds = self.seconds * self.chance.lognormvariate(0, SPREAD)
        used = Usage(input_units=job.input_bound, output_units=self.chance.randint(20, job.output_limit))
        await anyio.sleep(seconds)
        return Outcome(usage=used)

    async def advance(self, tx: Any, stage: RunningStage) -> Phase | StageResult:
        """Follow the outline by its jobs."""
        if stage.phase == "outline":
            return phase_of("write", stage.resolved.parameters["jobs"])
        return result_of(stage)


async def run(
    database: Database,
    *,
    seconds: float = 600,
    most: int = 10**9,
    job_seconds: float = 1.2,
    per_second: float = 2.2,
    seed: int = 3,
) -> Report:
    """Let work come for so long, wait for its end, record it and replay the record."""
    async with database.begin() as tx:
        for name, (capacity, refill) in POOLS.items():
            await add_pool(tx, name, capacity=capacity, refill=refill, price_nano=700)
    workers: Any = {"granulation": TimedWorker(seed, job_seconds)}
    engine = Engine(
        database=database, workers=workers, slots=SLOTS, local_slots=1, grace_seconds=1, environ={}
    )
    service = ResourceService(workers=workers, wake=engine.wake, abort=lambda _: None)
    clients = await _clients(database, service)
    since = utc_now()
    async with engine.start():
        await _submit(database, service, clients, random.Random(seed), seconds, most, per_second)
        await _all_ended(database)
        lines = await record(database, since, utc_now())
    return _compared(lines)


def _compared(lines: list[bytes]) -> Report:
    really = [msgspec.json.decode(line, type=RecordedExecution) for line in lines[1:]]
    waits = sorted(waits_of(really))
    played = play(recorded(b"\n".join(lines)))
    found = report_of(played)
    return Report(
        jobs=len(waits),
        replayed_jobs=found.waits.count,
        spent_nano=spend_of(really),
        replayed_nano=sum(budget.total_nano for budget in played.budgets.values()),
        wait_p50=waits[len(waits) // 2],
        replayed_p50=found.waits.p50,
        wait_p95=waits[int(0.95 * len(waits))],
        replayed_p95=found.waits.p95,
        turnaround_ms=played.ground.run.turnaround_ms,
    )


async def _clients(database: Database, service: ResourceService) -> list[ClientId]:
    ids = [ClientId(new_id()) for _ in range(CLIENTS)]
    async with database.begin() as tx:
        for number, client_id in enumerate(ids):
            limits = ClientLimits(
                client_id=client_id,
                name=f"client {number}",
                tier=list(Tier)[number % 4],
                monthly_budget_nano=_BUDGET_NANO,
            )
            await service.set_client(tx, limits)
    return ids


async def _submit(
    database: Database,
    service: ResourceService,
    clients: list[ClientId],
    chance: random.Random,
    seconds: float,
    most: int,
    per_second: float,
) -> None:
    """Submit at random moments, in waves: a busy half and a quiet half of each fifth of the time."""
    began = anyio.current_time()
    while (into := anyio.current_time() - began) < seconds and (most := most - 1) >= 0:
        busy = into % (seconds / 5) < seconds / 10
        async with database.begin() as tx:
            await service.submit(tx, _execution(chance.choice(clients), chance))
        service.wake()
        await anyio.sleep(chance.expovariate(per_second * (1.6 if busy else 0.4)))


def _execution(client_id: ClientId, chance: random.Random) -> NewExecution:
    pool = "narrow" if chance.random() < 0.15 else "wide"
    return NewExecution(
        request_id=RequestId(new_id()),
        client_id=client_id,
        key_id=None,
        template="replay",
        template_version=1,
        flow=(FlowStage(worker="granulation", template_ref="replay"),),
        parameters={"jobs": chance.randint(1, 6), "pool": pool},
        urgency=chance.choice(_KINDS),
    )


async def _all_ended(database: Database) -> None:
    while True:
        async with database.begin() as tx:
            if not await tx.raw.fetchval("SELECT count(*) FROM executions WHERE finished_at IS NULL"):
                return
        await anyio.sleep(0.2)


async def _prove(databases: Databases, asked: argparse.Namespace) -> Proven:
    async with databases.fresh() as database:
        report = await run(database, seconds=asked.replay_seconds)
    rows = {
        "jobs run, replayed": f"{report.jobs:,}, {report.replayed_jobs:,}",
        "spent, predicted": f"${report.spent_nano / 1e9:.6f}, ${report.replayed_nano / 1e9:.6f}",
        "wait p50, predicted": f"{report.wait_p50:.2f} s, {report.replayed_p50:.2f} s",
        "wait p95, predicted": f"{report.wait_p95:.2f} s, {report.replayed_p95:.2f} s",
        "p95 off by": f"{100 * report.p95_off:.1f} %",
        "a start comes after what it waits for by": f"{report.turnaround_ms:.0f} ms (median)",
    }
    promises = {
        f"the predicted spend is off by {100 * MOST_SPEND_OFF:g} % at most": report.spend_off
        <= MOST_SPEND_OFF,
        f"the predicted p95 wait is off by {100 * MOST_P95_OFF:g} % at most": report.p95_off <= MOST_P95_OFF,
    }
    return proven(rows, promises=promises)


PROOF = Proof(
    name="replay",
    shows="a loaded run replayed by the simulator: its spend and its waits",
    needs="11 minutes, 100 MB of disk",
    options=(SECONDS,),
    run=_prove,
)
