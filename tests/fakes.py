"""Fakes, at Protocols only."""

from collections.abc import Mapping
from typing import Any

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import NotFound
from aifactory.resources.interface import (
    LOCAL_ROUTE,
    Emit,
    FlowStage,
    Job,
    Line,
    ModelChoice,
    Outcome,
    Phase,
    ResolvedStage,
    RunningStage,
    StageInputs,
    StageResult,
    Tier,
    Usage,
)
from prove.plain_worker import PlainWorker, line_of, phase_of, result_of


class FakeWorker(PlainWorker):
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
        resolved = await super().resolve(tx, stage, parameters, tier, choice)
        return msgspec.structs.replace(
            resolved, minimum_tier=needed, parameters=resolved.parameters | stage.params_override
        )

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        return [line_of("work", 1, LOCAL_ROUTE, input_bound=1000, output_limit=1000)]

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        data = {} if inputs.source is None else {"source": inputs.source}
        payload = {"parameters": resolved.parameters}
        return phase_of("work", 1, payload=payload, data=data)

    async def run(self, job: Job, emit: Emit) -> Outcome:
        source = job.data.get("source", b"").decode()
        return Outcome(
            output={"words": len(source.split()), "parameters": job.payload["parameters"]},
            usage=Usage(input_units=100, output_units=100),
        )

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        return result_of(stage, outputs=stage.jobs[-1].output)
