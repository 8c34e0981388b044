"""A worker for proofs: its only job costs as many units as the request says, and is never run."""

from collections.abc import Mapping
from typing import Any

from aifactory.kernel.db import Tx
from aifactory.resources.interface import (
    EndedJob,
    FlowStage,
    Hop,
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
)

HOP = Hop(provider="proof", model="proof-model", pool="proof")
ROUTE = Route(hops=(HOP,))


class SizedWorker:
    """Plans one job of ``units`` input units, a parameter of the request."""

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
        """Return nothing: there is one stage."""
        return None

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """Return one line of one job."""
        units = resolved.parameters["units"]
        return [
            Line(
                kind="work",
                phase="work",
                count=1,
                route=ROUTE,
                input_bound=units,
                output_limit=0,
                expected_input=units,
                expected_output=0,
            )
        ]

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """Return the one job."""
        return Phase(name="work", jobs=(NewJob(kind="work", line="work", payload={}),))

    async def run(self, job: Any, emit: Any) -> Outcome:
        """Run nothing: the scheduler is off."""
        raise AssertionError("nothing runs here")

    async def record(self, tx: Tx, job: EndedJob, outcome: Outcome) -> list[NewJob]:
        """Plan nothing more."""
        return []

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        """End the stage."""
        return StageResult(state=StageState.SUCCEEDED, outputs={})
