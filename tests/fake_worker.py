"""A worker that does what a test tells it: phases, jobs, costs, faults, answers, hooks at every call."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aifactory.kernel.db import Tx
from aifactory.resources.interface import (
    Emit,
    EndedJob,
    Health,
    Job,
    JobFault,
    Line,
    NewJob,
    Outcome,
    Phase,
    Ports,
    ResolvedStage,
    Route,
    RunningStage,
    Signal,
    StageInputs,
    StageResult,
    Usage,
)
from prove.plain_worker import (
    INPUT_BOUND,
    OUTPUT_LIMIT,
    PlainWorker,
    line_of,
    phase_of,
    result_of,
)
from prove.pools import hop_of

MODEL, SPARE = hop_of("test"), hop_of("spare")
MODEL_ROUTE, TWO_HOPS = Route(hops=(MODEL,)), Route(hops=(MODEL, SPARE))
NANO_PER_UNIT = 1000  # the price of every unit of the test model
WORST_NANO = (INPUT_BOUND + OUTPUT_LIMIT) * NANO_PER_UNIT
USAGE = Usage(input_units=100, output_units=50)
COST_NANO = 150 * NANO_PER_UNIT
AGAIN = Outcome(usage=USAGE, fault=JobFault(code="flaky", message="Again.", retryable=True))
BROKEN = Outcome(usage=USAGE, fault=JobFault(code="broken", message="No.", retryable=False))
AGAIN_AT_ONCE = Outcome(
    usage=USAGE,
    fault=JobFault(code="flaky", message="Again.", retryable=True, retry_after_seconds=0.0),
)
WELL = Outcome(usage=USAGE, signal=Signal(health=Health.GOOD))
DOWN = Outcome(
    usage=Usage(),
    fault=JobFault(code="unavailable", message="HTTP 503", retryable=True, retry_after_seconds=0.0),
    signal=Signal(health=Health.BAD, error="HTTP 503"),
)
NO_KEY = Outcome(
    usage=Usage(),
    fault=JobFault(code="unauthorized", message="HTTP 401", retryable=True, retry_after_seconds=0.0),
    signal=Signal(health=Health.REFUSED_KEY, error="HTTP 401"),
)


def limited(seconds: float | None = None, **said: Any) -> Outcome:
    """A 429, with a time to wait or without."""
    fault = JobFault(code="rate_limited", message="HTTP 429", retryable=True, retry_after_seconds=seconds)
    return Outcome(usage=Usage(), fault=fault, signal=Signal(blocked_seconds=seconds, **said))


OnRun = Callable[[Job], Awaitable[Outcome]]
OnRecord = Callable[[Tx, EndedJob], Awaitable[list[NewJob]]]
OnAdvance = Callable[[Tx, RunningStage], Awaitable[Phase | StageResult | None]]


class ScriptedWorker(PlainWorker):
    """Runs ``phases`` (name: number of jobs), one line each; hooks stand in for what it would do.

    ``answers`` are given first, in their order.
    """

    def __init__(
        self,
        phases: Mapping[str, int] | None = None,
        *,
        name: str = "granulation",
        route: Route = MODEL_ROUTE,
        input_bound: int = INPUT_BOUND,
        output_limit: int = OUTPUT_LIMIT,
        needs: Mapping[str, int] | None = None,
        max_attempts: int = 3,
        timeout_seconds: int = 30,
    ) -> None:
        self.name = name
        self.phases = dict(phases or {"write": 1})
        self.route = route
        self.input_bound = input_bound
        self.output_limit = output_limit
        self.needs = dict(needs or {})
        self.max_attempts = max_attempts
        self.timeout_seconds = timeout_seconds
        self.answers: list[Outcome] = []
        self.on_run: OnRun | None = None
        self.on_record: OnRecord | None = None
        self.on_advance: OnAdvance | None = None
        self.on_plan: Callable[[], Phase] | None = None
        self.given_ports: Ports | None = None
        self.ran: list[Job] = []
        self.recorded: list[EndedJob] = []
        self.advanced: list[str] = []

    def ports(self, resolved: ResolvedStage) -> Ports | None:
        return self.given_ports

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        bounds = {"input_bound": self.input_bound, "output_limit": self.output_limit}
        return [
            line_of(name, count, self.route, **bounds, needs=self.needs)
            for name, count in self.phases.items()
        ]

    def phase(self, name: str) -> Phase:
        terms = {"max_attempts": self.max_attempts, "timeout_seconds": self.timeout_seconds}
        return phase_of(name, self.phases[name], **terms)

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        return self.on_plan() if self.on_plan else self.phase(next(iter(self.phases)))

    async def run(self, job: Job, emit: Emit) -> Outcome:
        self.ran.append(job)
        if self.answers:
            return self.answers.pop(0)
        if self.on_run:
            return await self.on_run(job)
        return Outcome(output={"kind": job.kind}, usage=USAGE)

    async def record(self, tx: Tx, job: EndedJob, outcome: Outcome) -> list[NewJob]:
        self.recorded.append(job)
        return await self.on_record(tx, job) if self.on_record else []

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        self.advanced.append(stage.phase)
        if self.on_advance and (answer := await self.on_advance(tx, stage)) is not None:
            return answer
        names = list(self.phases)
        following = names[names.index(stage.phase) + 1 :]
        return self.phase(following[0]) if following else result_of(stage)
