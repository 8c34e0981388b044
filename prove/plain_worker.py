"""What workers without templates have in common: a stage takes the request as it is, and just ends."""

from collections.abc import Mapping
from typing import Any

import msgspec

from aifactory.kernel.db import Tx
from aifactory.resources.interface import (
    EndedJob,
    FlowStage,
    Line,
    ModelChoice,
    NewJob,
    Outcome,
    Phase,
    Ports,
    Reason,
    ResolvedStage,
    Route,
    RunningStage,
    StageInputs,
    StageResult,
    StageState,
    Tier,
)

INPUT_BOUND, OUTPUT_LIMIT = 300, 200


class PlainWorker:
    """One phase, ``write``, of as many jobs as the request's ``jobs`` say.

    Who derives from it says what they cost, ``estimate``, and how they end, ``run``.
    """

    name = "granulation"

    async def resolve(
        self, tx: Tx, stage: FlowStage, parameters: Mapping[str, Any], tier: Tier, choice: ModelChoice
    ) -> ResolvedStage:
        """Take the request as it is."""
        return ResolvedStage(
            template=stage.template_ref,
            template_version=1,
            minimum_tier=Tier.BASIC,
            parameters=dict(parameters),
        )

    def ports(self, resolved: ResolvedStage) -> Ports | None:
        """Return nothing: it is not known."""
        return None

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """Return the only phase."""
        return phase_of("write", resolved.parameters["jobs"])

    async def record(self, tx: Tx, job: EndedJob, outcome: Outcome) -> list[NewJob]:
        """Ask for nothing more."""
        return []

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        """End the stage, whatever became of its jobs."""
        return StageResult(state=StageState.SUCCEEDED, outputs={"jobs": len(stage.jobs)})


def line_of(
    kind: str,
    count: int,
    route: Route,
    *,
    input_bound: int = INPUT_BOUND,
    output_limit: int = OUTPUT_LIMIT,
    needs: Mapping[str, int] | None = None,
) -> Line:
    """Return what pays for a phase of equal jobs; half of what is held is expected."""
    return Line(
        kind=kind,
        phase=kind,
        count=count,
        route=route,
        input_bound=input_bound,
        output_limit=output_limit,
        expected_input=input_bound // 2,
        expected_output=output_limit // 2,
        needs=dict(needs or {}),
    )


def new_job(kind: str, **changes: Any) -> NewJob:
    """Return a job that the line of its kind pays for."""
    return msgspec.structs.replace(NewJob(kind=kind, line=kind, payload={}), **changes)


def phase_of(kind: str, count: int, **changes: Any) -> Phase:
    """Return a phase of equal jobs."""
    return Phase(name=kind, jobs=(new_job(kind, **changes),) * count)


def result_of(stage: RunningStage, outputs: dict[str, Any] | None = None) -> StageResult:
    """Return the end of a stage that fails with the first of its jobs that did."""
    fault = next((job.fault for job in stage.jobs if job.fault is not None), None)
    if fault is not None:
        reason = Reason(code=fault.code, message=fault.message)
        return StageResult(state=StageState.FAILED, outputs={}, reasons=(reason,))
    if outputs is None:
        outputs = {"jobs": len(stage.jobs)}
    return StageResult(state=StageState.SUCCEEDED, outputs=outputs)
