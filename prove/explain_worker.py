"""The worker of the loads: jobs that only take time, as much as a request says on average."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from aifactory.resources.interface import (
    Line,
    Outcome,
    Phase,
    ResolvedStage,
    Route,
    RunningStage,
    StageInputs,
    StageResult,
    Usage,
)
from prove.plain_worker import PlainWorker, line_of, phase_of, result_of
from prove.pools import hop_of


class LoadedWorker(PlainWorker):
    """Maybe an outline, then ``jobs`` jobs; each takes a random time and uses a part of what it may."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.sleep: Callable[[float], Awaitable[None]] = anyio.sleep

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """Return the lines of both phases."""
        asked = resolved.parameters
        route = Route(hops=(hop_of(asked["pool"]),))
        bounds = {"input_bound": asked["units"] // 2, "output_limit": asked["units"] // 2}
        lines = [line_of("outline", 1, route, **bounds)] if asked["outline"] else []
        return [*lines, line_of("write", asked["jobs"], route, **bounds)]

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """Return the first phase."""
        asked = resolved.parameters
        return self._phase("outline", 1, asked) if asked["outline"] else self._write(asked)

    def _write(self, asked: Any) -> Phase:
        return self._phase("write", asked["jobs"], asked)

    def _phase(self, name: str, jobs: int, asked: Any) -> Phase:
        return phase_of(name, jobs, payload={"seconds": asked["seconds"], "sigma": asked["sigma"]})

    async def run(self, job: Any, emit: Any) -> Outcome:
        """Take a while."""
        seconds = job.payload["seconds"] * self.chance.lognormvariate(0, job.payload["sigma"])
        used = Usage(input_units=job.input_bound, output_units=self.chance.randint(1, job.output_limit))
        await self.sleep(seconds)
        return Outcome(usage=used)

    async def advance(self, tx: Any, stage: RunningStage) -> Phase | StageResult:
        """Follow the outline by its jobs."""
        return self._write(stage.resolved.parameters) if stage.phase == "outline" else result_of(stage)
