"""A worker for proofs of turns: as many jobs as asked, each of the size asked, which cost what they say."""

from typing import Any

import msgspec

from aifactory.resources.interface import Line, NewJob, Outcome, Phase, ResolvedStage, StageInputs, Usage
from prove.sized_worker import SizedWorker


class EvenWorker(SizedWorker):
    """One phase of ``jobs`` jobs of ``units`` units each, parameters of the request."""

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """Return one line of all jobs."""
        (line,) = super().estimate(resolved, inputs)
        return [msgspec.structs.replace(line, count=resolved.parameters["jobs"])]

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """Return all jobs, which know their size."""
        payload = {"units": resolved.parameters["units"]}
        job = NewJob(kind="work", line="work", payload=payload)
        return Phase(name="work", jobs=(job,) * resolved.parameters["jobs"])

    async def run(self, job: Any, emit: Any) -> Outcome:
        """End at once; the estimate was right."""
        return Outcome(usage=Usage(input_units=job.payload["units"]))
