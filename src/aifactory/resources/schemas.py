"""What the Resource Manager's routes take and give."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.resources.interface import (
    Accuracy,
    ExecutionState,
    ExecutionView,
    Reason,
    StageState,
    StageView,
    Urgency,
)

Label = Annotated[str, Meta(max_length=500)]
LabelName = Annotated[str, Meta(min_length=1, max_length=64)]


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what leaves: camelCase; may grow."""


class ExecuteInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A named template to execute at once."""

    template: Annotated[str, Meta(min_length=1, max_length=120)]
    parameters: dict[str, Any]
    urgency: Urgency = Urgency.NORMAL
    accuracy: Accuracy = Accuracy.NORMAL
    run_after: Annotated[datetime, Meta(tz=True)] | None = None
    deadline: Annotated[datetime, Meta(tz=True)] | None = None
    metadata: Annotated[dict[LabelName, Label], Meta(max_length=16)] = {}
    client_id: Annotated[str, Meta(max_length=64)] | None = None


class Progress(View, frozen=True, kw_only=True):
    """Jobs that have ended, of those known so far."""

    jobs_done: int
    jobs_total: int


class Stage(View, frozen=True, kw_only=True):
    """A stage."""

    id: str
    ordinal: int
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
    """An execution: state, stages, progress, cost so far."""

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
    deadline: datetime
    started_at: datetime | None
    finished_at: datetime | None
    stages: tuple[Stage, ...]


class Call(View, frozen=True, kw_only=True):
    """One attempt of one job: where it ran, what it used, the price used, what it cost."""

    job_id: str
    kind: str
    state: str
    attempt: int
    provider: str
    model: str
    pool: str
    outcome: str | None
    usage: dict[str, Any] | None
    price: dict[str, Any] | None
    cost_usd: Decimal
    duration_ms: int | None
    started_at: datetime
    finished_at: datetime | None


class Cost(View, frozen=True, kw_only=True):
    """What an execution was estimated to cost, still holds, and really cost, call by call.

    ``heldInAllUsd`` is everything that was ever held, extensions and top-ups included; never all of it at
    once.
    """

    execution_id: str
    state: ExecutionState
    estimated_cost_usd: Decimal
    held_in_all_usd: Decimal
    held_now_usd: Decimal
    cost_usd: Decimal
    calls: list[Call]


class QueueDepth(View, frozen=True, kw_only=True):
    """One queue, counted for the caller: a client sees its own jobs, the operator all."""

    queue: str
    paused: bool
    policy: str
    ready: int
    scheduled: int
    running: int
    oldest_waiting_ms: int | None


class QueueStatus(View, frozen=True, kw_only=True):
    """The queues, from the top."""

    queues: list[QueueDepth]


class Process(View, frozen=True, kw_only=True):
    """One process of the fleet."""

    id: str
    host: str
    pid: int
    alive: bool
    running: int
    slots: int
    local_slots: int
    started_at: datetime
    renewed_at: datetime


class SchedulerState(View, frozen=True, kw_only=True):
    """Whether the fleet's scheduler is on, and every process."""

    enabled: bool
    last_tick_at: datetime | None
    changed_at: datetime | None
    changed_by: str | None
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
        deadline=view.deadline,
        started_at=view.started_at,
        finished_at=view.finished_at,
        stages=tuple(_stage_of(stage) for stage in view.stages),
    )


def _stage_of(view: StageView) -> Stage:
    return Stage(
        id=text_id("stage", view.id),
        ordinal=view.ordinal,
        worker=view.worker,
        action=view.action,
        template=view.template,
        template_version=view.template_version,
        state=view.state,
        phase=view.phase,
        progress=Progress(jobs_done=view.jobs_done, jobs_total=view.jobs_total),
        outputs=view.outputs,
        reasons=view.reasons,
        started_at=view.started_at,
        finished_at=view.finished_at,
    )


def call_of(row: Any) -> Call:
    """Return an attempt's row as it leaves."""
    ended = row["finished_at"]
    return Call(
        job_id=text_id("job", row["job_id"]),
        kind=row["kind"],
        state=row["state"],
        attempt=row["attempt"],
        provider=row["provider"],
        model=row["model"],
        pool=row["pool"],
        outcome=row["outcome"],
        usage=row["usage"],
        price=row["price"],
        cost_usd=usd(row["cost_nano"]),
        duration_ms=None if ended is None else round((ended - row["started_at"]).total_seconds() * 1000),
        started_at=row["started_at"],
        finished_at=ended,
    )


def queue_depth_of(row: Any, now: datetime) -> QueueDepth:
    """Return a queue's row as it leaves."""
    oldest = row["oldest"]
    return QueueDepth(
        queue=row["queue"],
        paused=row["paused"],
        policy=row["policy"],
        ready=row["ready"],
        scheduled=row["scheduled"],
        running=row["running"],
        oldest_waiting_ms=None if oldest is None else max(0, round((now - oldest).total_seconds() * 1000)),
    )
