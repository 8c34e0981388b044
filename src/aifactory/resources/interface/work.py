"""What a worker gives and gets, and the Protocol that it implements."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, DataId, ExecutionId, JobId, StageId
from aifactory.resources.interface.providers import Endpoint, ModelChoice, Signal
from aifactory.resources.interface.states import JobState, StageState, Tier


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One place where a job can run: a model of a provider, drawing on a pool."""

    provider: str
    model: str
    pool: str


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Hops in the order of preference, and further pools that every start draws on too.

    How much of a further pool a job takes is in its ``needs``; a pool that they don't name gives its request
    slot only. Its pause, block and dedication close the whole route.
    """

    hops: tuple[Hop, ...]
    further_pools: tuple[str, ...] = ()
    local: bool = False
    alone: bool = False


LOCAL_ROUTE = Route(hops=(Hop(provider="local", model="offline", pool="compute"),), local=True)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``count`` jobs of one kind in one phase, each with bounds in the pool's units.

    ``expected_input`` and ``expected_output`` are for the estimate shown to people; the hold is the bounds.
    ``needs``: further pool → units, taken with each start, whatever the call uses; see ``Route``.
    """

    kind: str
    phase: str
    count: int
    route: Route
    input_bound: int
    output_limit: int
    expected_input: int
    expected_output: int
    needs: dict[str, int] = {}


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a worker asks for. ``line`` pays for it; without one the hold must be extended.

    ``data`` names stored bytes that ``run`` gets along with the payload. Route and bounds are the line's
    unless given, and must be given without one. ``needs`` None: the line's, which they may lower, or none.
    ``max_attempts`` lowers the tries that the stage's retries allow.
    """

    kind: str
    line: str | None
    payload: dict[str, Any]
    data: dict[str, DataId] = {}
    route: Route | None = None
    input_bound: int | None = None
    output_limit: int | None = None
    needs: dict[str, int] | None = None
    max_attempts: int | None = None
    timeout_seconds: int = 120


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """The next jobs of a stage; lines of earlier phases are released."""

    name: str
    jobs: tuple[NewJob, ...]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A started job, as its worker sees it; ``endpoint`` is its hop's provider, None for local work.

    A job with ``missing_data``, names of stored bytes that are gone or damaged, is not given to its worker.
    """

    id: JobId
    execution_id: ExecutionId
    stage_id: StageId
    client_id: ClientId
    kind: str
    payload: dict[str, Any]
    data: dict[str, bytes]
    missing_data: tuple[str, ...] = ()
    attempt: int
    hop: Hop
    timeout_seconds: int
    input_bound: int = 0
    output_limit: int = 0
    endpoint: Endpoint | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Metered units: tokens of a model, words of local work."""

    input_units: int = 0
    cached_input_units: int = 0
    output_units: int = 0


class JobFault(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why an attempt gave no result; ``retryable`` says whether another one may."""

    code: str
    message: str
    retryable: bool = False
    retry_after_seconds: float | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended. ``fault`` None means success; ``usage`` None means unknown, booked as such.

    ``artifacts`` are stored as data references with the result; ``record`` and ``advance`` see their ids.
    """

    output: dict[str, Any] = {}
    artifacts: dict[str, bytes] = {}
    usage: Usage | None = None
    fault: JobFault | None = None
    signal: Signal | None = None


class EndedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job in a final state, as ``record`` and ``advance`` see it."""

    id: JobId
    execution_id: ExecutionId
    stage_id: StageId
    client_id: ClientId
    kind: str
    state: JobState
    payload: dict[str, Any]
    output: dict[str, Any]
    artifacts: dict[str, DataId]
    fault: JobFault | None
    data: dict[str, DataId] = {}


class Reason(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a result is partial or failed."""

    code: str
    message: str


class StageResult(msgspec.Struct, frozen=True, kw_only=True):
    """A stage's end: succeeded, partial or failed, with small outputs that refer to what is stored."""

    state: StageState
    outputs: dict[str, Any]
    reasons: tuple[Reason, ...] = ()


class ResolvedStage(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage will run, fixed at submission so that later edits of a template do not change it.

    ``expected_seconds`` and ``memory_mb`` are what its template says of it; None: it says nothing.
    """

    template: str
    template_version: int
    minimum_tier: Tier
    parameters: dict[str, Any]
    settings: dict[str, Any] = {}
    expected_seconds: int | None = None
    memory_mb: int | None = None


class StageInputs(msgspec.Struct, frozen=True, kw_only=True):
    """The stored source of a request and its size, and the values mapped from earlier stages.

    ``data`` has the stored bytes that mapped values refer to, by target; they are the client's own.
    """

    source: DataId | None = None
    source_name: str = ""
    source_words: int = 0
    mapped: dict[str, Any] = {}
    data: dict[str, DataId] = {}


class RunningStage(msgspec.Struct, frozen=True, kw_only=True):
    """A stage whose open jobs have reached 0, with the jobs of its present phase."""

    id: StageId
    execution_id: ExecutionId
    client_id: ClientId
    action: str
    phase: str
    resolved: ResolvedStage
    inputs: StageInputs
    jobs: tuple[EndedJob, ...]


class FlowStage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One stage of a master template. ``name`` is how pointers and requests speak of it, beside its ordinal.

    ``retries``: how often each of its jobs is tried again after a fault that may pass.
    """

    worker: str
    template_ref: str
    action: str = "granulate"
    params_override: dict[str, Any] = {}
    input_mapping: dict[str, str] = {}
    condition: dict[str, Any] | None = None
    required: bool = True
    retries: int = 2
    on_failure: str = "fail"
    name: str | None = None


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage can be given by earlier ones (target → kind) and leaves for later ones (name → kind).

    Kinds: text, number, object, list, tree (a reference to a stored tree), objectives (one to a tree that has
    some). ``needed`` are targets that a stage can't do without once they are mapped.
    """

    takes: dict[str, str]
    gives: dict[str, str]
    needed: frozenset[str] = frozenset()


Emit = Callable[[dict[str, Any]], None]


@runtime_checkable
class Worker(Protocol):
    """Does stages. Granulation is one, in this process; outside workers are reached over HTTP."""

    name: str

    async def resolve(
        self,
        tx: Tx,
        stage: FlowStage,
        parameters: Mapping[str, Any],
        tier: Tier,
        choice: ModelChoice,
    ) -> ResolvedStage:
        """Find the template, merge and check the parameters, check the tier, choose among the models that
        can be used now. Reads only.

        Raises NotFound, Invalid or TierTooLow.
        """
        ...

    def ports(self, resolved: ResolvedStage) -> Ports | None:
        """Say what the stage can be given and leaves for others. Pure. None: that is not known."""
        ...

    def estimate(self, resolved: ResolvedStage, inputs: StageInputs | None) -> list[Line]:
        """Bound the stage's jobs from the request alone. Pure. None: nothing is known of the inputs yet.

        Raises Invalid when the inputs can't be used.
        """
        ...

    def plan(self, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
        """Return the first phase. Pure, under 10 ms."""
        ...

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Do the work: network, or CPU in a worker process. No transaction is open."""
        ...

    async def record(self, tx: Tx, job: EndedJob, outcome: Outcome) -> list[NewJob]:
        """Store what a final job brought; return follow-up jobs of the same phase. Database only.

        Where another job's worker raises beside it, all is undone and asked again: change no argument.
        """
        ...

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        """Decide what comes when no job of the stage is open. The only fan-in."""
        ...
