"""A worker whose jobs wait until the history says how they ended; it keeps a book of every answer."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import JobId
from aifactory.resources.interface import (
    LOCAL_ROUTE,
    Emit,
    EndedJob,
    FlowStage,
    Hop,
    Job,
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

FIRST = Hop(provider="test", model="test-model", pool="test")
SPARE = Hop(provider="spare", model="spare-model", pool="spare")
ROUTES = {
    "one": Route(hops=(FIRST,)),
    "spare": Route(hops=(SPARE,)),
    "two": Route(hops=(FIRST, SPARE)),
    "local": LOCAL_ROUTE,
}
INPUT_BOUND, OUTPUT_LIMIT = 300, 200


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A job that runs somewhere and waits for its answer."""

    job: Job
    answer: asyncio.Future[Outcome]


class HistoryWorker:
    """Two phases: ``write``, as many jobs as asked, and ``check``, one; a job may ask for another one."""

    name = "granulation"

    def __init__(self) -> None:
        self.pending: dict[tuple[UUID, int], Pending] = {}
        self.answered: dict[tuple[UUID, int], Outcome] = {}
        self.escalating: set[JobId] = set()

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
        jobs, route = resolved.parameters["jobs"], ROUTES[resolved.parameters["route"]]
        return [_line("write", jobs, route, resolved), _line("check", 1, ROUTES["one"], resolved)]

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """See ``Worker.plan``."""
        job = NewJob(kind="write", line="write", payload={}, max_attempts=3)
        return Phase(name="write", jobs=(job,) * resolved.parameters["jobs"])

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Wait until the history answers."""
        key = (job.id, job.attempt)
        self.pending[key] = Pending(job=job, answer=asyncio.get_running_loop().create_future())
        try:
            self.answered[key] = await self.pending[key].answer
        finally:
            del self.pending[key]
        return self.answered[key]

    async def record(self, tx: Tx, job: EndedJob, outcome: Outcome) -> list[NewJob]:
        """Ask for one more job, outside the lines, after some."""
        if job.id not in self.escalating or job.fault is not None:
            return []
        return [
            NewJob(
                kind="again",
                line=None,
                payload={},
                route=ROUTES["spare"],
                input_bound=INPUT_BOUND,
                output_limit=OUTPUT_LIMIT,
                max_attempts=2,
            )
        ]

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        """See ``Worker.advance``."""
        if stage.phase == "write":
            return Phase(name="check", jobs=(NewJob(kind="check", line="check", payload={}, max_attempts=2),))
        faults = [job.fault for job in stage.jobs if job.fault is not None]
        if faults:
            reason = Reason(code=faults[0].code, message=faults[0].message)
            return StageResult(state=StageState.FAILED, outputs={}, reasons=(reason,))
        return StageResult(state=StageState.SUCCEEDED, outputs={"jobs": len(stage.jobs)})


def _line(kind: str, count: int, route: Route, resolved: ResolvedStage) -> Line:
    return Line(
        kind=kind,
        phase=kind,
        count=count,
        route=route,
        input_bound=INPUT_BOUND,
        output_limit=OUTPUT_LIMIT,
        expected_input=INPUT_BOUND // 2,
        expected_output=OUTPUT_LIMIT // 2,
    )
