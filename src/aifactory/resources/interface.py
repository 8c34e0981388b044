"""The door of the Resource Manager: its states, structs, errors and the Protocols on both sides."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.errors import AppError, NotFound, TooMany
from aifactory.kernel.ids import ClientId, DataId, ExecutionId, JobId, KeyId, RequestId, StageId
from aifactory.kernel.page import Page, PageRequest


class Tier(StrEnum):
    """A client's tier, lowest first."""

    BASIC = "basic"
    STANDARD = "standard"
    PREMIUM = "premium"
    ENTERPRISE = "enterprise"

    @property
    def rank(self) -> int:
        """0 for basic to 3 for enterprise."""
        return list(Tier).index(self)


class Urgency(StrEnum):
    """How urgent a request is; decides its queue."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class Accuracy(StrEnum):
    """Whether the cheapest allowed model may start (normal) or not (high)."""

    NORMAL = "normal"
    HIGH = "high"


class ExecutionState(StrEnum):
    """The states of an execution."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (ExecutionState.QUEUED, ExecutionState.RUNNING)


class StageState(StrEnum):
    """The states of a stage."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class JobState(StrEnum):
    """The states of a job."""

    SCHEDULED = "scheduled"
    READY = "ready"
    FOLLOWING = "following"
    RUNNING = "running"
    AT_PROVIDER = "at_provider"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    POISONED = "poisoned"


# What a worker gives and gets.


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One place where a job can run: a model of a provider, drawing on a pool."""

    provider: str
    model: str
    pool: str


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Hops in the order of preference, and further pools that every start draws on."""

    hops: tuple[Hop, ...]
    further_pools: tuple[str, ...] = ()
    local: bool = False
    alone: bool = False


LOCAL_ROUTE = Route(hops=(Hop(provider="local", model="offline", pool="compute"),), local=True)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """At most ``count`` jobs of one kind in one phase, each with bounds in the pool's units.

    ``expected_input`` and ``expected_output`` are for the estimate shown to people; the hold is the bounds.
    """

    kind: str
    phase: str
    count: int
    route: Route
    input_bound: int
    output_limit: int
    expected_input: int
    expected_output: int


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a worker asks for. ``line`` pays for it; without one the hold must be extended.

    ``data`` names stored bytes that ``run`` gets along with the payload. Route and bounds are the line's
    unless given, and must be given without one.
    """

    kind: str
    line: str | None
    payload: dict[str, Any]
    data: dict[str, DataId] = {}
    route: Route | None = None
    input_bound: int | None = None
    output_limit: int | None = None
    max_attempts: int = 3
    timeout_seconds: int = 120


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """The next jobs of a stage; lines of earlier phases are released."""

    name: str
    jobs: tuple[NewJob, ...]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A started job, as its worker sees it."""

    id: JobId
    execution_id: ExecutionId
    stage_id: StageId
    client_id: ClientId
    kind: str
    payload: dict[str, Any]
    data: dict[str, bytes]
    attempt: int
    hop: Hop
    timeout_seconds: int


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
    """What a stage will run, fixed at submission so that later edits of a template do not change it."""

    template: str
    template_version: int
    minimum_tier: Tier
    parameters: dict[str, Any]
    settings: dict[str, Any] = {}


class StageInputs(msgspec.Struct, frozen=True, kw_only=True):
    """The stored source of a request and its size, and the values mapped from earlier stages."""

    source: DataId | None = None
    source_name: str = ""
    source_words: int = 0
    mapped: dict[str, Any] = {}


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
    """One stage of a master template."""

    worker: str
    template_ref: str
    action: str = "granulate"
    params_override: dict[str, Any] = {}
    input_mapping: dict[str, str] = {}
    condition: dict[str, Any] | None = None
    required: bool = True
    retries: int = 2
    on_failure: str = "fail"


Emit = Callable[[dict[str, Any]], None]


@runtime_checkable
class Worker(Protocol):
    """Does stages. Granulation is one, in this process; outside workers are reached over HTTP."""

    name: str

    async def resolve(
        self, tx: Tx, stage: FlowStage, parameters: Mapping[str, Any], tier: Tier
    ) -> ResolvedStage:
        """Find the template, merge and check the parameters, check the tier. Reads only.

        Raises NotFound, Invalid or TierTooLow.
        """
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
        """Store what a final job brought; return follow-up jobs of the same phase. Database only."""
        ...

    async def advance(self, tx: Tx, stage: RunningStage) -> Phase | StageResult:
        """Decide what comes when no job of the stage is open. The only fan-in."""
        ...


# What accounts give and get.


class NewExecution(msgspec.Struct, frozen=True, kw_only=True):
    """A submission. ``parameters`` name no source text: it is stored, ``source`` is its id."""

    request_id: RequestId
    client_id: ClientId
    key_id: KeyId | None
    template: str
    template_version: int
    flow: tuple[FlowStage, ...]
    parameters: dict[str, Any]
    source: DataId | None = None
    urgency: Urgency = Urgency.NORMAL
    accuracy: Accuracy = Accuracy.NORMAL
    run_after: datetime | None = None
    deadline: datetime | None = None
    metadata: dict[str, str] = {}


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What an execution is expected to cost and the most that it can cost, nano-dollars."""

    estimated_nano: int
    worst_nano: int


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """An admitted execution."""

    execution_id: ExecutionId
    state: ExecutionState
    queue: str
    quote: Quote


class StageView(msgspec.Struct, frozen=True, kw_only=True):
    """A stage, read."""

    id: StageId
    ordinal: int
    worker: str
    action: str
    template: str
    template_version: int
    state: StageState
    phase: str
    open_jobs: int
    jobs_done: int
    jobs_total: int
    outputs: dict[str, Any] | None
    reasons: tuple[Reason, ...]
    started_at: datetime | None
    finished_at: datetime | None


class ExecutionView(msgspec.Struct, frozen=True, kw_only=True):
    """An execution, read; money in nano-dollars."""

    id: ExecutionId
    request_id: RequestId
    client_id: ClientId
    template: str
    template_version: int
    state: ExecutionState
    urgency: Urgency
    queue: str
    estimated_nano: int
    held_nano: int
    spent_nano: int
    reasons: tuple[Reason, ...]
    created_at: datetime
    deadline: datetime
    started_at: datetime | None
    finished_at: datetime | None
    stages: tuple[StageView, ...] = ()

    @property
    def result(self) -> dict[str, Any] | None:
        """The outputs of the last stage that has any."""
        return next((stage.outputs for stage in reversed(self.stages) if stage.outputs), None)


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """A client as the gatekeeper knows it: tier, suspension and its own limits over the tier's."""

    client_id: ClientId
    name: str
    tier: Tier
    suspended: bool = False
    time_zone: str = "UTC"
    max_running: int | None = None
    monthly_budget_nano: int | None = None
    requests_per_minute: int | None = None


class StoredData(msgspec.Struct, frozen=True, kw_only=True):
    """A stored blob's description."""

    id: DataId
    name: str
    media_type: str
    size_bytes: int
    words: int
    sha256: bytes


@runtime_checkable
class Resources(Protocol):
    """What the other domains may ask of the Resource Manager. Every call is part of the caller's Tx."""

    async def submit(self, tx: Tx, new: NewExecution) -> Submitted:
        """Hold the worst-case cost, store the execution and queue its first jobs, all or nothing.

        Raises BudgetExceeded, BudgetInUse, QueueFull, ClientSuspended, TierTooLow, Invalid, NotFound.
        """
        ...

    async def quote(self, tx: Tx, new: NewExecution) -> Quote:
        """Check a submission and price it; stores nothing. Raises what ``submit`` raises for bad input."""
        ...

    async def describe_flow(self, tx: Tx, flow: tuple[FlowStage, ...], tier: Tier) -> tuple[Tier, Quote]:
        """Return the tier that a flow needs and its price for default parameters."""
        ...

    async def cancel(self, tx: Tx, execution_id: ExecutionId) -> ExecutionView:
        """End an execution now; a final one is returned unchanged."""
        ...

    async def find_execution(
        self, tx: Tx, *, client_id: ClientId | None, execution_id: ExecutionId
    ) -> ExecutionView | None:
        """Return an execution with its stages; None if unknown or another client's (None: any client)."""
        ...

    async def latest_executions(self, tx: Tx, request_ids: list[RequestId]) -> dict[RequestId, ExecutionView]:
        """Return the newest execution, with stages, of each request that has one."""
        ...

    async def list_executions(
        self, tx: Tx, *, client_id: ClientId | None, state: ExecutionState | None, page: PageRequest
    ) -> Page[ExecutionView]:
        """List executions, newest first, without stages."""
        ...

    async def set_client(self, tx: Tx, limits: ClientLimits) -> None:
        """Create or replace a client's tier and limits."""
        ...

    async def get_client(self, tx: Tx, client_id: ClientId) -> ClientLimits:
        """Return a client's tier and limits."""
        ...

    async def store_data(
        self, tx: Tx, *, client_id: ClientId, name: str, media_type: str, content: bytes
    ) -> DataId:
        """Store bytes for a client and return their reference."""
        ...

    async def find_data(self, tx: Tx, *, client_id: ClientId | None, data_id: DataId) -> StoredData | None:
        """Describe stored bytes; None if unknown or another client's (None: any client)."""
        ...

    async def load_data(self, tx: Tx, data_id: DataId) -> bytes:
        """Return stored bytes. Raises NotFound."""
        ...


class NamedTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A master template's name, version and flow."""

    name: str
    version: int
    flow: tuple[FlowStage, ...]


class NewRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for; ``parameters`` as they came, a source's text included."""

    client_id: ClientId
    key_id: KeyId | None
    template: str
    parameters: dict[str, Any]
    urgency: Urgency = Urgency.NORMAL
    accuracy: Accuracy = Accuracy.NORMAL
    run_after: datetime | None = None
    deadline: datetime | None = None
    metadata: dict[str, str] = {}


@runtime_checkable
class TemplateSource(Protocol):
    """Given by accounts: master templates by name."""

    async def get_template(self, tx: Tx, name: str) -> NamedTemplate:
        """Return the newest active version. Raises NotFound."""
        ...


@runtime_checkable
class RequestBook(Protocol):
    """Given by accounts, so that work started elsewhere has a request too."""

    async def open_request(self, tx: Tx, new: NewRequest) -> NewExecution:
        """Store a request (and its source text as data) and return what is to be submitted for it."""
        ...


# Refusals.


class MoneyRefused(AppError):
    """The budget does not allow it; the more exact codes say why."""

    code, title, status = "payment_required", "The budget does not allow that", 402


class BudgetExceeded(MoneyRefused):
    """It can't fit this period, whatever ends in the meantime."""

    code, title = "budget_exceeded", "This costs more than the budget has left"


class BudgetInUse(MoneyRefused):
    """It would fit if the client's own unfinished work did not hold the money."""

    code, title, retryable = "budget_in_use", "Your own unfinished work holds the budget", True


class QueueFull(TooMany):
    """The client has as many unfinished executions as it may."""

    code, title = "queue_full", "Too many unfinished executions"


class TierTooLow(AppError):
    """The template needs a higher tier; ``requiredTier`` says which."""

    code, title, status = "tier_too_low", "A higher tier is needed", 403


class ClientSuspended(AppError):
    """The operator has suspended the client."""

    code, title, status = "client_suspended", "This client is suspended", 403


class ExceedsPool(AppError):
    """One job would need more units than its pool can ever hold."""

    code, title, status = "exceeds_pool", "One step is larger than its pool", 422


class ExecutionNotFound(NotFound):
    """Unknown, or another client's."""

    code, title = "execution_not_found", "There is no such execution"
