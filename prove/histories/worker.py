"""A worker whose jobs wait until the history says how they ended; it keeps a book of every answer."""

import asyncio
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import JobId
from aifactory.resources.interface import (
    LOCAL_ROUTE,
    Emit,
    EndedJob,
    Job,
    Line,
    NewJob,
    Outcome,
    Phase,
    ResolvedStage,
    Route,
    RunningStage,
    StageInputs,
    StageResult,
)
from prove.plain_worker import INPUT_BOUND, OUTPUT_LIMIT, PlainWorker, line_of, phase_of, result_of
from prove.pools import hop_of

FIRST, SPARE = hop_of("test"), hop_of("spare")
ROUTES = {
    "one": Route(hops=(FIRST,)),
    "spare": Route(hops=(SPARE,)),
    "two": Route(hops=(FIRST, SPARE)),
    "local": LOCAL_ROUTE,
}


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A job that runs somewhere and waits for its answer."""

    job: Job
    answer: asyncio.Future[Outcome]


class HistoryWorker(PlainWorker):
    """Two phases: ``write``, as many jobs as asked, and ``check``, one; a job may ask for another one."""

    def __init__(self) -> None:
        self.pending: dict[tuple[UUID, int], Pending] = {}
        self.answered: dict[tuple[UUID, int], Outcome] = {}
        self.escalating: set[JobId] = set()

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """See ``Worker.estimate``."""
        jobs, route = resolved.parameters["jobs"], ROUTES[resolved.parameters["route"]]
        return [line_of("write", jobs, route), line_of("check", 1, ROUTES["one"])]

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """See ``Worker.plan``."""
        return phase_of("write", resolved.parameters["jobs"], max_attempts=3)

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
            return phase_of("check", 1, max_attempts=2)
        return result_of(stage)
