"""A worker for proofs: jobs of the size that the request says, which cost what they were expected to."""

from typing import Any

import msgspec

from aifactory.resources.interface import Line, Outcome, Phase, ResolvedStage, Route, StageInputs, Usage
from prove.plain_worker import PlainWorker, line_of, phase_of
from prove.pools import hop_of

HOP = hop_of("proof")
ROUTE = Route(hops=(HOP,))


class SizedWorker(PlainWorker):
    """One phase of ``jobs`` jobs of ``units`` input units each, parameters of the request."""

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """Return one line of all jobs."""
        jobs, units = resolved.parameters["jobs"], resolved.parameters["units"]
        line = line_of("write", jobs, ROUTE, input_bound=units, output_limit=0)
        return [msgspec.structs.replace(line, expected_input=units)]

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """Return all jobs, which know their size."""
        payload = {"units": resolved.parameters["units"]}
        return phase_of("write", resolved.parameters["jobs"], payload=payload)

    async def run(self, job: Any, emit: Any) -> Outcome:
        """End at once; the estimate was right."""
        return Outcome(usage=Usage(input_units=job.payload["units"]))
