"""What the other domains may ask of the Resource Manager."""

from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import msgspec

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, DataId, ExecutionId, KeyId, RequestId, StageId
from aifactory.kernel.page import Page, PageRequest
from aifactory.resources.interface.events import EventMessage
from aifactory.resources.interface.progress import StageWork, Step
from aifactory.resources.interface.states import (
    Accuracy,
    ExecutionState,
    StageState,
    Tier,
    Urgency,
)
from aifactory.resources.interface.work import FlowStage, Line, Reason


class UnstoredSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source that came with a request: stored when that is submitted, not when its price is asked."""

    name: str
    media_type: str
    content: bytes


class NewExecution(msgspec.Struct, frozen=True, kw_only=True):
    """A submission. ``parameters`` name no source text: ``source`` is its id.

    What is not stored yet is ``unstored_source``; it is stored under that id with what is admitted.
    With ``hold_until`` the money is held and nothing runs: it is released in time, or expires at that moment.
    ``off_peak`` work is put off to the operator's window, unless its deadline is too near.
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
    hold_until: datetime | None = None
    off_peak: bool = False
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
    expected_seconds: int | None = None
    memory_mb: int | None = None


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
    """An admitted execution, about where it stands in its pool and when it starts; None: not known yet."""

    execution: "ExecutionView"
    quote: Quote
    position: int | None = None
    estimated_start: datetime | None = None

    @property
    def execution_id(self) -> ExecutionId:
        """The execution's id."""
        return self.execution.id


class StageView(msgspec.Struct, frozen=True, kw_only=True):
    """A stage, read."""

    id: StageId
    ordinal: int
    name: str | None
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

    @property
    def shown_state(self) -> StageState:
        """The state that people are told: an open stage runs from the start of its first job on."""
        is_queued = self.state is StageState.RUNNING and self.started_at is None
        return StageState.WAITING if is_queued else self.state


class ExecutionView(msgspec.Struct, frozen=True, kw_only=True):
    """An execution, read; money in nano-dollars. ``due_at`` is when deferred work may start."""

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
    erased_at: datetime | None = None
    erasure: str | None = None
    due_at: datetime | None = None
    stages: tuple[StageView, ...] = ()

    @property
    def result(self) -> dict[str, Any] | None:
        """The outputs of the only stage; of several, each one's under its name or ordinal."""
        brought = {stage.name or str(stage.ordinal): stage.outputs for stage in self.stages if stage.outputs}
        if len(self.stages) < 2:
            return next(iter(brought.values()), None)
        return brought or None


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
    """A stored blob's description; ``stored_bytes`` is what it takes, compressed where that pays."""

    id: DataId
    client_id: ClientId
    name: str
    media_type: str
    size_bytes: int
    stored_bytes: int
    words: int
    sha256: bytes
    created_at: datetime
    expires_at: datetime | None
    erased_at: datetime | None = None
    erasure: str | None = None


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

    async def input_of(self, tx: Tx, execution_id: ExecutionId) -> dict[str, Any]:
        """Return the parameters that an execution was submitted with."""
        ...

    async def latest_executions(self, tx: Tx, request_ids: list[RequestId]) -> dict[RequestId, ExecutionView]:
        """Return the newest execution, with stages, of each request that has one."""
        ...

    async def requests_kept(self, tx: Tx, request_ids: list[RequestId]) -> set[RequestId]:
        """Return those requests that have an execution whose content was not erased."""
        ...

    async def list_executions(
        self, tx: Tx, *, client_id: ClientId | None, state: ExecutionState | None, page: PageRequest
    ) -> Page[ExecutionView]:
        """List executions, newest first, without stages."""
        ...

    async def find_steps(self, tx: Tx, execution_id: ExecutionId) -> list[Step]:
        """Count an execution's jobs by stage and kind, those that may still come included."""
        ...

    async def find_stage_work(self, tx: Tx, stage_id: StageId) -> StageWork:
        """Return what a stage runs and all its jobs, oldest first. The caller has checked whose it is."""
        ...

    async def take_endings(self, tx: Tx, limit: int) -> list[EventMessage]:
        """Take the events of executions that ended, oldest first; they are yours once ``tx`` commits.

        Those that another process is taking are passed over. Notices under ``events`` tell of new ones.
        """
        ...

    async def wait_for_end(self, execution_id: ExecutionId, seconds: float) -> None:
        """Return when an execution has ended or may have, at the latest after ``seconds``: look then.

        No transaction may be open.
        """
        ...

    async def set_client(self, tx: Tx, limits: ClientLimits) -> None:
        """Create or replace a client's tier and limits."""
        ...

    async def get_client(self, tx: Tx, client_id: ClientId, *, lock: bool = False) -> ClientLimits:
        """Return a client's tier and limits; locked, they are this transaction's to change."""
        ...

    async def inherit_key_budget(self, tx: Tx, *, old: KeyId, new: KeyId) -> None:
        """Let a new key count on the budget of the one that it replaces."""
        ...

    async def store_data(
        self, tx: Tx, *, client_id: ClientId, name: str, media_type: str, content: bytes
    ) -> DataId:
        """Store the source of a request and return its reference."""
        ...

    async def keep_data(self, tx: Tx, *, client_id: ClientId, data_id: DataId) -> None:
        """Put the expiry of stored bytes off, as each use does. Raises DataNotFound."""
        ...

    async def find_data(self, tx: Tx, *, client_id: ClientId | None, data_id: DataId) -> StoredData | None:
        """Describe what a client gave to store; None if unknown or another client's (None: any client)."""
        ...

    async def load_data(self, tx: Tx, data_id: DataId) -> bytes:
        """Return stored bytes, checked. Raises DataNotFound or DataDamaged."""
        ...

    async def load_intact(self, tx: Tx, data_ids: list[DataId]) -> dict[DataId, bytes]:
        """Return stored bytes by id; left out is what is gone or damaged."""
        ...
