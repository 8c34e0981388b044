"""What events of an execution say: as they are stored, and as they leave. Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.ids import ClientId, ExecutionId, RequestId, text_id
from aifactory.kernel.money import usd
from aifactory.resources.interface import EventMessage, ExecutionState
from aifactory.resources.records import Event, ExecutionBook

FINAL_TYPES = frozenset(f"execution.{state}" for state in ExecutionState if state.final)


class LockedExecution(msgspec.Struct, kw_only=True):
    """As much of a locked execution as its events tell, outside the books."""

    id: ExecutionId
    state: ExecutionState
    event_seq: int
    jobs_done: int
    jobs_total: int
    spent_nano: int


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What never changes of an execution and is told with each event."""

    execution_id: ExecutionId
    request_id: RequestId
    client_id: ClientId
    template: str


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the events."""

    execution_id: ExecutionId
    seq: int
    at: datetime
    type: str
    data: dict[str, Any]

    @property
    def final(self) -> bool:
        """Whether no event of its execution comes after it."""
        return self.type in FINAL_TYPES


def next_event(execution: ExecutionBook | LockedExecution, type_: str, members: dict[str, Any]) -> Event:
    """Return the next event in an execution's sequence: the execution as it is now, and the members.

    The execution is locked, and its sequence moves on.
    """
    execution.event_seq += 1
    now = {
        "state": execution.state,
        "jobsDone": execution.jobs_done,
        "jobsTotal": execution.jobs_total,
        "spentNano": execution.spent_nano,
    }
    return Event(
        execution_id=execution.id,
        seq=execution.event_seq,
        type=type_,
        data=now | members,
        final=type_ in FINAL_TYPES,
    )


def begin(
    executions: Mapping[ExecutionId, LockedExecution],
    started: Collection[ExecutionId],
    stages: Iterable[tuple[ExecutionId, int, str, str]],
) -> list[Event]:
    """Return the start events of locked executions that were queued, and of stages (execution, ordinal,
    worker, name or nothing).
    """
    told = []
    for execution in (executions[id_] for id_ in sorted(started)):
        if execution.state is ExecutionState.QUEUED:
            execution.state = ExecutionState.RUNNING
            told.append(next_event(execution, "execution.started", {}))
    for execution_id, ordinal, worker, name in stages:
        members = told_stage(ordinal, worker, name)
        told.append(next_event(executions[execution_id], "stage.started", members))
    return told


def told_job(job_id: UUID, kind: str, attempt: int, stage: int) -> dict[str, Any]:
    """Return what an event of a job tells of it."""
    return {"jobId": text_id("job", job_id), "kind": kind, "attempt": attempt, "stage": stage}


def told_run(job_id: UUID, kind: str, output_tokens: int) -> dict[str, Any]:
    """Return what an event of progress tells of a running job."""
    return {"jobId": text_id("job", job_id), "kind": kind, "outputTokens": output_tokens}


def told_stage(ordinal: int, worker: str, name: str | None) -> dict[str, Any]:
    """Return what an event of a stage tells of it."""
    return {"stage": ordinal, "worker": worker} | ({"name": name} if name else {})


def message_of(event: StoredEvent, subject: Subject) -> EventMessage:
    """Return an event as it leaves. Events from before snapshots were stored tell no progress."""
    members = dict(event.data)
    done, total = members.pop("jobsDone", None), members.pop("jobsTotal", None)
    state, spent = members.pop("state", None), members.pop("spentNano", None)
    told: dict[str, Any] = {
        "executionId": text_id("exec", subject.execution_id),
        "requestId": text_id("req", subject.request_id),
        "clientId": text_id("client", subject.client_id),
        "template": subject.template,
    }
    if state is not None:
        told["state"] = state
    if done is not None:
        told["progress"] = {"jobsDone": done, "jobsTotal": total}
    if spent is not None:
        told["costUsd"] = usd(spent)
    return EventMessage(type=event.type, timestamp=event.at, data=told | members)


def end_of(last: EventMessage) -> EventMessage:
    """Return what closes a stream: the final event's facts under another type."""
    return EventMessage(type="end", timestamp=last.timestamp, data=last.data)
