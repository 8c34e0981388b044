"""What the other domains may ask of the Resource Manager, and what it asks of accounts."""

from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, DataId, ExecutionId, KeyId, RequestId, StageId
from aifactory.kernel.page import Page, PageRequest
from aifactory.resources.interface.states import (
    Accuracy,
    ExecutionState,
    StageState,
    Tier,
    Urgency,
)
from aifactory.resources.interface.work import FlowStage, Line, Reason


class UnstoredSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source that came with a request whose price is asked."""

    name: str
    content: bytes


class NewExecution(msgspec.Struct, frozen=True, kw_only=True):
    """A submission. ``parameters`` name no source text: it is stored, ``source`` is its id.

    For a price alone the source need not be stored: ``unstored_source`` stands for it, ``source`` for its id.
    """

    request_id: RequestId
    client_id: ClientId
    key_id: KeyId | None
    template: str
    template_version: int
    flow: tuple[FlowStage, ...]
    parameters: dict[str, Any]
    source: DataId | None = None
    unstored_source: UnstoredSource | None = None
    urgency: Urgency = Urgency.NORMAL
    accuracy: Accuracy = Accuracy.NORMAL
    run_after: datetime | None = None
    deadline: datetime | None = None
    metadata: dict[str, str] = {}


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What an execution is expected to cost and the most that it can cost, nano-dollars."""

    estimated_nano: int
    worst_nano: int


class PricedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line with what all of its jobs are expected to cost, and the most that they can cost."""

    line: Line
    quote: Quote


class PricedStage(msgspec.Struct, frozen=True, kw_only=True):
    """A stage of an estimate."""

    worker: str
    template: str
    template_version: int
    minimum_tier: Tier
    lines: tuple[PricedLine, ...]


class TierEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a tier allows a submission, and what it costs there; ``refusal``: the code of why not.

    ``fits``: it is allowed and the tier's whole monthly budget would pay for it.
    """

    tier: Tier
    quote: Quote | None
    refusal: str | None
    monthly_budget_nano: int | None
    fits: bool


class BudgetNow(msgspec.Struct, frozen=True, kw_only=True):
    """A client's budget of this month, nano-dollars."""

    limit_nano: int
    held_nano: int
    spent_nano: int
    period_end: datetime


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A submission priced at the client's tier or, where that does not allow it, at ``required_tier``."""

    client_id: ClientId
    urgency: Urgency
    required_tier: Tier | None
    quote: Quote
    stages: tuple[PricedStage, ...]
    tiers: tuple[TierEstimate, ...]
    budget: BudgetNow
    fits: bool


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

    async def estimate(self, tx: Tx, new: NewExecution) -> Estimate:
        """Check a submission and price it line by line, at every tier; stores nothing, takes no hold.

        Raises what ``submit`` raises for bad input; a tier that is too low only if no other one allows it.
        """
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

    async def describe_request(self, tx: Tx, new: NewRequest) -> NewExecution:
        """Check a request like ``open_request`` and return what would be submitted for it; stores nothing."""
        ...

    async def find_template_of(self, tx: Tx, *, worker: str, template_ref: str) -> str | None:
        """Name an active master template that is this one stage and no other; None if there is none."""
        ...
