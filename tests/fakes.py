"""Fakes, at Protocols only."""

from collections.abc import Mapping
from typing import Any

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import NotFound
from aifactory.resources.interface import (
    LOCAL_ROUTE,
    Emit,
    EndedJob,
    FlowStage,
    Job,
    Line,
    ModelChoice,
    NewJob,
    Outcome,
    Phase,
    Ports,
    Reason,
    ResolvedStage,
    RunningStage,
    StageInputs,
    StageResult,
    StageState,
    Tier,
    Usage,
)


class FakeWorker:
    """Does every stage in one local job, which costs a word per word of input.

    Knows any template but ``missing``; one whose name starts with a tier needs that tier.
    """

    def __init__(self, name: str = "granulation") -> None:
        self.name = name

    async def resolve(
        self,
        tx: Tx,
        stage: FlowStage,
        parameters: Mapping[str, Any],
        tier: Tier,
        choice: ModelChoice,
    ) -> ResolvedStage:
        if stage.template_ref == "missing":
            raise NotFound("There is no worker template with this name.")
        needed = next((one for one in Tier if stage.template_ref.startswith(one.value)), Tier.BASIC)
        return ResolvedStage(
            template=stage.template_ref,
            template_version=1,
            minimum_tier=needed,
            parameters=dict(parameters) | stage.params_override,
        )

    def ports(self, resolved: ResolvedStage) -> Ports | None:
        return None

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        line = Line(
            kind="work",
            phase="work",
            count=1,
            route=LOCAL_ROUTE,
            input_bound=1000,
            output_limit=1000,
            expected_input=500,
            expected_output=500,
        )
        return [line]

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        data = {} if inputs.source is None else {"source": inputs.source}
        payload = {"parameters": resolved.parameters}
        return Phase(name="work", jobs=(NewJob(kind="work", line="work", payload=payload, data=data),))

    async def run(self, job: Job, emit: Emit) -> Outcome:
        source = job.data.get("source", b"").decode()
        return Outcome(
            output={"words": len(source.split()), "parameters": job.payload["parameters"]},
            usage=Usage(input_units=100, output_units=100),
        )

    async def record(self, tx: Tx, job: EndedJob, outcome: Outcome) -> list[NewJob]:
        return []

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        job = stage.jobs[-1]
        if job.fault is not None:
            reason = Reason(code=job.fault.code, message=job.fault.message)
            return StageResult(state=StageState.FAILED, outputs={}, reasons=(reason,))
        return StageResult(state=StageState.SUCCEEDED, outputs=job.output)
