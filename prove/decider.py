"""The deciders of the proof of the gates: real processes with an engine each, whose jobs end at once.

``python -m prove.decider URL SLOTS`` starts them; all die with whoever holds its standard input.
"""

import logging
import os
import random
import signal
import sys
from collections.abc import Mapping
from typing import Any

import anyio
import structlog

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.notices import Notices
from aifactory.resources.engine import Engine
from aifactory.resources.interface import (
    Emit,
    EndedJob,
    FlowStage,
    Hop,
    Job,
    JobFault,
    Line,
    ModelChoice,
    NewJob,
    Outcome,
    Phase,
    Ports,
    ResolvedStage,
    Route,
    RunningStage,
    StageInputs,
    StageResult,
    StageState,
    Tier,
    Usage,
)

INPUT_BOUND, OUTPUT_LIMIT = 300, 200
_AGAIN = JobFault(code="flaky", message="Again.", retryable=True, retry_after_seconds=0.0)
_BROKEN = JobFault(code="broken", message="No.", retryable=False)


def route_of(name: str) -> Route:
    """Return the route over one pool, or two of them; each start needs a unit of one behind an ``&``."""
    name, _, further = name.partition("&")
    hops = tuple(Hop(provider=pool, model=f"{pool}-model", pool=pool) for pool in name.split("+"))
    return Route(hops=hops, further_pools=(further,) if further else ())


def an_outcome(chance: random.Random) -> Outcome:
    """Return how a call ends: most are well; some are tried again, some are lost, a few cost too much."""
    usage = Usage(input_units=chance.randint(100, 300), output_units=chance.randint(0, 200))
    kind = chance.choices(("well", "again", "broken", "unknown", "greedy"), (900, 50, 20, 15, 15))[0]
    if kind == "well":
        return Outcome(usage=usage)
    if kind == "greedy":
        return Outcome(usage=Usage(input_units=chance.randint(400, 900), output_units=200))
    if kind == "unknown":
        return Outcome(usage=None, fault=_AGAIN)
    return Outcome(usage=usage, fault=_AGAIN if kind == "again" else _BROKEN)


class InstantWorker:
    """One phase of as many jobs as asked; each ends at once."""

    name = "granulation"

    def __init__(self) -> None:
        self.chance = random.Random()

    async def resolve(
        self, tx: Tx, stage: FlowStage, parameters: Mapping[str, Any], tier: Tier, choice: ModelChoice
    ) -> ResolvedStage:
        """See ``Worker.resolve``."""
        return ResolvedStage(
            template=stage.template_ref,
            template_version=1,
            minimum_tier=Tier.BASIC,
            parameters=dict(parameters),
        )

    def ports(self, resolved: ResolvedStage) -> Ports | None:
        """See ``Worker.ports``."""
        return None

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """See ``Worker.estimate``."""
        route = route_of(resolved.parameters["route"])
        return [
            Line(
                kind="write",
                phase="write",
                count=resolved.parameters["jobs"],
                route=route,
                needs=dict.fromkeys(route.further_pools, 1),
                input_bound=INPUT_BOUND,
                output_limit=OUTPUT_LIMIT,
                expected_input=INPUT_BOUND // 2,
                expected_output=OUTPUT_LIMIT // 2,
            )
        ]

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """See ``Worker.plan``."""
        job = NewJob(kind="write", line="write", payload={})
        return Phase(name="write", jobs=(job,) * resolved.parameters["jobs"])

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """End at once."""
        return an_outcome(self.chance)

    async def record(self, tx: Tx, job: EndedJob, outcome: Outcome) -> list[NewJob]:
        """See ``Worker.record``."""
        return []

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        """See ``Worker.advance``."""
        return StageResult(state=StageState.SUCCEEDED, outputs={"jobs": len(stage.jobs)})


async def decide(url: str, slots: int) -> None:
    """Run an engine until somebody ends it."""
    database = Database(url=url, pool_size=6)
    engine = Engine(
        database=database,
        workers={"granulation": InstantWorker()},
        slots=slots,
        local_slots=1,
        grace_seconds=1,
        environ={},
    )
    notices = Notices(database=database)
    database.on_tell = notices.tell
    async with engine.start():
        await anyio.sleep_forever()


def rear(url: str, slots: int) -> None:
    """Start a decider for every line that comes in, and say its process id; when no more can come, end all.

    Each is forked off this process, which has read all the code: a new one is at work at once.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are to be gone at once
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            random.seed()
            anyio.run(decide, url, slots)
        print(pid, flush=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    rear(sys.argv[1], int(sys.argv[2]))
