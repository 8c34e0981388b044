"""What the Resource Manager's routes take and give."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.resources.interface import (
    Accuracy,
    ExecutionState,
    ExecutionView,
    FlowStage,
    NewExecution,
    Optimization,
    Quote,
    Reason,
    StageState,
    StageView,
    Urgency,
)

_View = TypeVar("_View", bound=msgspec.Struct)
Label = Annotated[str, Meta(max_length=500)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
LabelName = Annotated[str, Meta(min_length=1, max_length=64)]


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what leaves: camelCase; may grow."""


class SingleAction(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One action of a worker, with one of its templates."""

    template_ref: Name
    worker: Name = "granulation"
    action: Name = "granulate"


class ExecuteInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to execute: a named ``template``, a ``workerFlow``, or a single ``action``; one of them."""

    template: Annotated[str, Meta(min_length=1, max_length=120)] | None = None
    worker_flow: Annotated[tuple[FlowStage, ...], Meta(min_length=1, max_length=20)] | None = None
    action: SingleAction | None = None
    parameters: dict[str, Any]
    urgency: Urgency = Urgency.NORMAL
    accuracy: Accuracy = Accuracy.NORMAL
    run_after: Annotated[datetime, Meta(tz=True)] | None = None
    deadline: Annotated[datetime, Meta(tz=True)] | None = None
    optimization: Optimization = Optimization()
    metadata: Annotated[dict[LabelName, Label], Meta(max_length=16)] = {}
    client_id: Annotated[str, Meta(max_length=64)] | None = None


class EnqueueInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A stored request to execute, with parameters over the stored ones, key by key."""

    request_id: Annotated[str, Meta(max_length=64)]
    parameters: dict[str, Any] = {}


class ExecutionQuote(View, frozen=True, kw_only=True):
    """What an execution would cost; nothing was stored."""

    dry_run: bool
    template: str
    template_version: int
    estimated_cost_usd: Decimal
    worst_cost_usd: Decimal


class Progress(View, frozen=True, kw_only=True):
    """Jobs that have ended, of those known so far."""

    jobs_done: int
    jobs_total: int


class Stage(View, frozen=True, kw_only=True):
    """A stage."""

    id: str
    ordinal: int
    name: str | None
    worker: str
    action: str
    template: str
    template_version: int
    state: StageState
    phase: str
    progress: Progress
    outputs: dict[str, Any] | None
    reasons: tuple[Reason, ...]
    started_at: datetime | None
    finished_at: datetime | None


class Execution(View, frozen=True, kw_only=True):
    """An execution: state, stages, progress, cost so far. ``dueAt``: when deferred work may start.

    ``heldCostUsd`` is all that was held for it so far, also after its end; ``GET /api/cost/{id}`` tells what
    it holds now.
    """

    id: str
    request_id: str
    client_id: str
    template: str
    template_version: int
    state: ExecutionState
    urgency: Urgency
    queue: str
    progress: Progress
    estimated_cost_usd: Decimal
    held_cost_usd: Decimal
    cost_usd: Decimal
    reasons: tuple[Reason, ...]
    result: dict[str, Any] | None
    created_at: datetime
    due_at: datetime | None
    deadline: datetime
    started_at: datetime | None
    finished_at: datetime | None
    erased: bool
    stages: tuple[Stage, ...]


class QueueDepth(View, frozen=True, kw_only=True):
    """One queue, counted for the caller: a client sees its own jobs, the operator all.

    ``sharePercent`` of a pool's last 100 starts go to it if it has work; after ``fullAgeSeconds`` of waiting
    a job has all points for it.
    """

    queue: str
    paused: bool
    policy: str
    share_percent: int
    full_age_seconds: int
    ready: int
    scheduled: int
    running: int
    oldest_waiting_ms: int | None


class QueueStatus(View, frozen=True, kw_only=True):
    """The queues, from the top."""

    queues: list[QueueDepth]


class LoopState(View, frozen=True, kw_only=True):
    """A loop of a process: as the process last said, whether it works; how old its last good round is now."""

    ok: bool
    age_ms: int | None


class Process(View, frozen=True, kw_only=True):
    """One process of the fleet.

    ``alive``: it has its lease. ``mayStart``: it renewed it lately and does not stop, so it starts work.
    """

    id: str
    host: str
    pid: int
    version: str
    epoch: int
    alive: bool
    stopping: bool
    may_start: bool
    running: int
    slots: int
    local_slots: int
    loops: dict[str, LoopState]
    started_at: datetime
    renewed_at: datetime


class SchedulerState(View, frozen=True, kw_only=True):
    """Whether the fleet's scheduler is on, and every process.

    ``orphans`` are queued jobs that no tick can see, and ``lostRuns`` runs of no process: both must be 0.
    """

    enabled: bool
    last_tick_at: datetime | None
    resumed_at: datetime | None
    changed_at: datetime | None
    changed_by: str | None
    orphans: int
    lost_runs: int
    processes: list[Process]


class Round(View, frozen=True, kw_only=True):
    """What one scheduling round did; ``refused``: another process was deciding."""

    started: int
    promoted: int
    refused: bool


class PoolState(View, frozen=True, kw_only=True):
    """A pool's level now."""

    pool: str
    unit: str
    capacity: int
    level: int
    refill_per_second: int
    paused: bool
    blocked_until: datetime | None


class Status(View, frozen=True, kw_only=True):
    """Pools and queues at a glance."""

    queues: list[QueueDepth]
    pools: list[PoolState]


def part_of(view: msgspec.Struct, kind: type[_View]) -> _View:
    """Return those members of a view that ``kind`` has too."""
    return kind(**{name: getattr(view, name) for name in kind.__struct_fields__})


def process_of(row: Any, now: datetime) -> Process:
    """Return a process's row as it leaves."""
    since = round((now - row["renewed_at"]).total_seconds() * 1000)
    loops = {
        name: LoopState(ok=said["alive"], age_ms=None if said["ageMs"] is None else said["ageMs"] + since)
        for name, said in sorted(row["loops"].items())
    }
    return Process(
        id=str(row["id"]),
        host=row["host"],
        pid=row["pid"],
        version=row["version"],
        epoch=row["epoch"],
        alive=row["alive"],
        stopping=row["stopping"],
        may_start=row["may_start"],
        running=row["running"],
        slots=row["slots"],
        local_slots=row["local_slots"],
        loops=loops,
        started_at=row["started_at"],
        renewed_at=row["renewed_at"],
    )


def execution_of(view: ExecutionView) -> Execution:
    """Return an execution as it leaves."""
    done = sum(stage.jobs_done for stage in view.stages)
    return Execution(
        id=text_id("exec", view.id),
        request_id=text_id("req", view.request_id),
        client_id=text_id("client", view.client_id),
        template=view.template,
        template_version=view.template_version,
        state=view.state,
        urgency=view.urgency,
        queue=view.queue,
        progress=Progress(jobs_done=done, jobs_total=sum(stage.jobs_total for stage in view.stages)),
        estimated_cost_usd=usd(view.estimated_nano),
        held_cost_usd=usd(view.held_nano),
        cost_usd=usd(view.spent_nano),
        reasons=view.reasons,
        result=view.result,
        created_at=view.created_at,
        due_at=view.due_at,
        deadline=view.deadline,
        started_at=view.started_at,
        finished_at=view.finished_at,
        erased=view.erased_at is not None,
        stages=tuple(_stage_of(stage) for stage in view.stages),
    )


def quote_of(new: NewExecution, quote: Quote) -> ExecutionQuote:
    """Return the price of a submission as it leaves."""
    return ExecutionQuote(
        dry_run=True,
        template=new.template,
        template_version=new.template_version,
        estimated_cost_usd=usd(quote.estimated_nano),
        worst_cost_usd=usd(quote.worst_nano),
    )


def _stage_of(view: StageView) -> Stage:
    return Stage(
        id=text_id("stage", view.id),
        ordinal=view.ordinal,
        name=view.name,
        worker=view.worker,
        action=view.action,
        template=view.template,
        template_version=view.template_version,
        state=view.shown_state,
        phase=view.phase,
        progress=Progress(jobs_done=view.jobs_done, jobs_total=view.jobs_total),
        outputs=view.outputs,
        reasons=view.reasons,
        started_at=view.started_at,
        finished_at=view.finished_at,
    )


def queue_depth_of(row: Any, now: datetime) -> QueueDepth:
    """Return a queue's row as it leaves."""
    oldest = row["oldest"]
    return QueueDepth(
        queue=row["queue"],
        paused=row["paused"],
        policy=row["policy"],
        share_percent=row["share_percent"],
        full_age_seconds=row["full_age_seconds"],
        ready=row["ready"],
        scheduled=row["scheduled"],
        running=row["running"],
        oldest_waiting_ms=None if oldest is None else max(0, round((now - oldest).total_seconds() * 1000)),
    )
