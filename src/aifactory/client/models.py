"""What the server gives, as structs: camelCase on the wire, money as Decimal, fields that are new ignored."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

FINAL_STATES = frozenset({"succeeded", "partial", "failed", "cancelled", "expired"})
GOOD_STATES = frozenset({"succeeded", "partial"})
END = "end"


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what comes from the server. States and types are open sets: they are plain text."""


class Page(View, Generic[T], frozen=True, kw_only=True):
    """One page of a list, newest first; ``next_cursor`` asks for the one after."""

    data: list[T]
    has_more: bool = False
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


class Reason(View, frozen=True, kw_only=True):
    """Why something is partial, failed or late."""

    code: str
    message: str = ""


class Progress(View, frozen=True, kw_only=True):
    """Jobs that have ended, of those known so far."""

    jobs_done: int = 0
    jobs_total: int = 0


# Requests and executions.


class StageOutput(View, frozen=True, kw_only=True):
    """What a stage brought."""

    ordinal: int
    name: str | None = None
    template: str
    state: str
    reasons: tuple[Reason, ...] = ()
    outputs: dict[str, Any] = {}


class Request(View, frozen=True, kw_only=True):
    """A request with its latest execution.

    ``execution_id`` None: a draft. After ``submit`` with ``wait``, ``result`` and ``stages`` are there if it
    ended in time. After ``submit`` with ``dry_run`` there is the price only, and no id. ``held_cost_usd`` is
    all that was held for it so far, also after its end. ``position`` and ``estimated_start`` are about what
    was expected as it was submitted, if that was known; ``position(id)`` tells what holds now.
    """

    id: str = ""
    client_id: str | None = None
    execution_id: str | None = None
    state: str = ""
    queue: str | None = None
    template: str | None = None
    template_version: int | None = None
    urgency: str | None = None
    accuracy: str | None = None
    dry_run: bool = False
    estimated_cost_usd: Decimal | None = None
    worst_cost_usd: Decimal | None = None
    held_cost_usd: Decimal | None = None
    cost_usd: Decimal | None = None
    position: int | None = None
    estimated_start: datetime | None = None
    reasons: tuple[Reason, ...] = ()
    metadata: dict[str, str] = {}
    parameters: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    stages: tuple[StageOutput, ...] = ()
    run_after: datetime | None = None
    deadline: datetime | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether its latest execution has ended."""
        return self.state in FINAL_STATES


class StageStatus(View, frozen=True, kw_only=True):
    """A stage of a request's latest execution."""

    ordinal: int
    name: str | None = None
    worker: str
    action: str
    template: str
    state: str
    phase: str = ""
    jobs_done: int = 0
    jobs_total: int = 0
    reasons: tuple[Reason, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None


class RequestStatus(View, frozen=True, kw_only=True):
    """Where a request is."""

    id: str
    execution_id: str | None = None
    state: str
    queue: str | None = None
    progress: Progress = Progress()
    stages: tuple[StageStatus, ...] = ()
    estimated_cost_usd: Decimal | None = None
    held_cost_usd: Decimal | None = None
    spent_usd: Decimal = Decimal(0)
    reasons: tuple[Reason, ...] = ()
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.state in FINAL_STATES


class Result(View, frozen=True, kw_only=True):
    """How a request ended and what it brought; ``result["treeId"]`` is the content's tree."""

    id: str
    execution_id: str
    state: str
    reasons: tuple[Reason, ...] = ()
    result: dict[str, Any] | None = None
    stages: tuple[StageOutput, ...] = ()
    cost_usd: Decimal = Decimal(0)
    finished_at: datetime | None = None


class Stage(View, frozen=True, kw_only=True):
    """A stage of an execution."""

    id: str
    ordinal: int
    name: str | None = None
    worker: str
    action: str
    template: str
    template_version: int | None = None
    state: str
    phase: str = ""
    progress: Progress = Progress()
    outputs: dict[str, Any] | None = None
    reasons: tuple[Reason, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Execution(View, frozen=True, kw_only=True):
    """One execution of a request: state, stages, progress, cost so far.

    ``held_cost_usd`` is all that was held for it so far, also after its end.
    """

    id: str
    request_id: str
    client_id: str | None = None
    template: str
    template_version: int | None = None
    state: str
    urgency: str | None = None
    queue: str | None = None
    progress: Progress = Progress()
    estimated_cost_usd: Decimal | None = None
    held_cost_usd: Decimal | None = None
    cost_usd: Decimal = Decimal(0)
    position: int | None = None
    estimated_start: datetime | None = None
    reasons: tuple[Reason, ...] = ()
    result: dict[str, Any] | None = None
    stages: tuple[Stage, ...] = ()
    created_at: datetime | None = None
    deadline: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.state in FINAL_STATES

    @property
    def good(self) -> bool:
        """Whether it has ended with content: whole, or in part."""
        return self.state in GOOD_STATES


class EventData(View, frozen=True, kw_only=True):
    """What an event says of its execution, its stage (``stage``: ordinal) or its job."""

    execution_id: str
    request_id: str | None = None
    client_id: str | None = None
    template: str | None = None
    state: str = ""
    progress: Progress | None = None
    cost_usd: Decimal | None = None
    stage: int | None = None
    name: str | None = None
    worker: str | None = None
    job_id: str | None = None
    kind: str | None = None
    attempt: int | None = None
    reasons: tuple[Reason | str, ...] = ()  # a job's: codes


class Event(View, frozen=True, kw_only=True):
    """Something that happened to an execution; ``id`` resumes after it, and is None for the last, ``end``."""

    type: str
    timestamp: datetime
    data: EventData
    id: int | None = None

    @property
    def last(self) -> bool:
        """Whether nothing comes after it."""
        return self.type == END


# Source material.


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """Source material as text; ``format``: markdown, text, html or rst."""

    text: str
    format: str = "markdown"
    name: str = "source"


class DataRef(msgspec.Struct, frozen=True):
    """Source material that was uploaded before."""

    id: str


class StoredData(View, frozen=True, kw_only=True):
    """An upload; usable as source material until it expires."""

    id: str
    name: str = ""
    media_type: str = ""
    size_bytes: int = 0
    stored_bytes: int | None = None
    words: int | None = None
    sha256: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
