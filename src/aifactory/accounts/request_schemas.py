"""What requests take and give over HTTP: camelCase, text ids, dollars."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta

from aifactory.accounts.interface import DRAFT
from aifactory.accounts.models import ClientRequestRow
from aifactory.accounts.schemas import Input, Moment, View
from aifactory.accounts.template_schemas import TemplateName
from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.resources.interface import (
    Accuracy,
    ExecutionView,
    NewExecution,
    Optimization,
    Quote,
    Reason,
    Submitted,
    Urgency,
)
from aifactory.resources.submitted_schemas import submission_fields

Label = Annotated[str, Meta(max_length=500)]
LabelName = Annotated[str, Meta(min_length=1, max_length=64)]
Labels = Annotated[dict[LabelName, Label], Meta(max_length=16)]


class NewRequestInput(Input, frozen=True, kw_only=True):
    """A request. ``parameters.source``: ``{text | dataRef, format?, name?}``; an admin adds ``clientId``."""

    template: TemplateName
    parameters: dict[str, Any]
    urgency: Urgency = Urgency.NORMAL
    accuracy: Accuracy = Accuracy.NORMAL
    run_after: Moment | None = None
    deadline: Moment | None = None
    timeout_ms: Annotated[int, Meta(ge=1000, le=7 * 86_400_000)] | None = None
    optimization: Optimization = Optimization()
    metadata: Labels = {}  # noqa: RUF012 (msgspec copies it)
    execute: bool = True
    client_id: Annotated[str, Meta(max_length=64)] | None = None


class ExecuteInput(Input, frozen=True, kw_only=True):
    """Parameters to put over the stored ones, key by key."""

    parameters: dict[str, Any] = {}  # noqa: RUF012 (msgspec copies it)


class QuoteView(View, frozen=True, kw_only=True):
    """What a request would cost; nothing was stored."""

    dry_run: bool
    template: str
    template_version: int
    estimated_cost_usd: Decimal
    worst_cost_usd: Decimal


class RequestView(View, frozen=True, kw_only=True):
    """A request and its latest execution; ``executionId`` null: a draft.

    ``heldCostUsd`` is all that was held for it so far, also after its end; ``GET /api/cost/{id}`` tells what
    it holds now.
    """

    id: str
    client_id: str
    execution_id: str | None
    state: str
    queue: str | None
    template: str
    template_version: int | None
    urgency: Urgency
    accuracy: Accuracy
    estimated_cost_usd: Decimal | None
    held_cost_usd: Decimal | None
    cost_usd: Decimal | None
    reasons: tuple[Reason, ...]
    metadata: dict[str, str]
    run_after: datetime | None
    deadline: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    erased: bool


class SubmittedRequest(RequestView, frozen=True, kw_only=True):
    """A request that was just submitted, with what ``POST /api/execute`` says of its place and its start."""

    position: int | None
    estimated_start: datetime | None
    position_url: str


class RequestDetail(RequestView, frozen=True, kw_only=True):
    """A request with its parameters; a source's text is replaced by its reference."""

    parameters: dict[str, Any]


class StageStatus(View, frozen=True, kw_only=True):
    """A stage of an execution; ``name``: what its template calls it."""

    ordinal: int
    name: str | None
    worker: str
    action: str
    template: str
    template_version: int
    state: str
    phase: str
    jobs_done: int
    jobs_total: int
    reasons: tuple[Reason, ...]
    started_at: datetime | None
    finished_at: datetime | None


class Progress(View, frozen=True, kw_only=True):
    """Jobs that have ended, of those known so far."""

    jobs_done: int
    jobs_total: int


class RequestStatus(View, frozen=True, kw_only=True):
    """Where a request is."""

    id: str
    execution_id: str | None
    state: str
    queue: str | None
    progress: Progress
    stages: list[StageStatus]
    estimated_cost_usd: Decimal | None
    held_cost_usd: Decimal | None
    spent_usd: Decimal
    reasons: tuple[Reason, ...]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class StageOutcome(View, frozen=True, kw_only=True):
    """How a stage ended, and what it brought."""

    ordinal: int
    name: str | None
    template: str
    state: str
    reasons: tuple[Reason, ...]
    outputs: dict[str, Any]


class ResultView(View, frozen=True, kw_only=True):
    """How a request ended, and what it brought: ``stages`` says it of each stage.

    ``result`` has the outputs of the only stage or, where there are several, each one's under its name.
    """

    id: str
    execution_id: str
    state: str
    reasons: tuple[Reason, ...]
    result: dict[str, Any] | None
    stages: list[StageOutcome]
    cost_usd: Decimal
    finished_at: datetime | None


def _request_fields(row: ClientRequestRow) -> dict[str, Any]:
    return {
        "id": text_id("req", row.id),
        "client_id": text_id("client", row.client_id),
        "template": row.template,
        "urgency": Urgency(row.urgency),
        "accuracy": Accuracy(row.accuracy),
        "metadata": row.labels,
        "run_after": row.run_after,
        "created_at": row.created_at,
        "erased": row.erased_at is not None,
    }


def _execution_fields(row: ClientRequestRow, execution: ExecutionView | None) -> dict[str, Any]:
    if execution is None:
        nothing = (
            "execution_id", "queue", "template_version", "estimated_cost_usd", "held_cost_usd",
            "cost_usd", "started_at", "finished_at",
        )  # fmt: skip
        return dict.fromkeys(nothing) | {"state": DRAFT, "reasons": (), "deadline": row.deadline}
    return {
        "execution_id": text_id("exec", execution.id),
        "state": execution.state.value,
        "queue": execution.queue,
        "template_version": execution.template_version,
        "estimated_cost_usd": usd(execution.estimated_nano),
        "held_cost_usd": usd(execution.held_nano),
        "cost_usd": usd(execution.spent_nano),
        "reasons": execution.reasons,
        "deadline": execution.deadline,
        "started_at": execution.started_at,
        "finished_at": execution.finished_at,
    }


def request_view(row: ClientRequestRow, execution: ExecutionView | None) -> RequestView:
    """Show a request in a list."""
    return RequestView(**_request_fields(row), **_execution_fields(row, execution))


def request_detail(row: ClientRequestRow, execution: ExecutionView | None) -> RequestDetail:
    """Show one request."""
    fields = _request_fields(row) | _execution_fields(row, execution)
    return RequestDetail(**fields, parameters=row.parameters)


def submitted_view(row: ClientRequestRow, template_version: int, submitted: Submitted | None) -> RequestView:
    """Show a request that was just stored or submitted."""
    fields = _request_fields(row) | _execution_fields(row, None) | {"template_version": template_version}
    if submitted is None:
        return RequestView(**fields)
    fields |= {
        "execution_id": text_id("exec", submitted.execution_id),
        "state": submitted.execution.state.value,
        "queue": submitted.execution.queue,
        "estimated_cost_usd": usd(submitted.quote.estimated_nano),
        "held_cost_usd": usd(submitted.quote.worst_nano),
        "cost_usd": usd(0),
    }
    return SubmittedRequest(**fields, **submission_fields(submitted.execution_id, submitted, None))


def later_view(row: ClientRequestRow, execution: ExecutionView | None) -> RequestView:
    """Show a submitted request a while later."""
    if execution is None:
        return request_view(row, None)
    fields = _request_fields(row) | _execution_fields(row, execution)
    return SubmittedRequest(**fields, **submission_fields(execution.id, None, execution))


def quote_view(new: NewExecution, quote: Quote) -> QuoteView:
    """Show what a request would cost."""
    return QuoteView(
        dry_run=True,
        template=new.template,
        template_version=new.template_version,
        estimated_cost_usd=usd(quote.estimated_nano),
        worst_cost_usd=usd(quote.worst_nano),
    )


def request_status(row: ClientRequestRow, execution: ExecutionView | None) -> RequestStatus:
    """Show where a request is."""
    fields = _execution_fields(row, execution)
    stages = [] if execution is None else [
        StageStatus(
            ordinal=stage.ordinal,
            name=stage.name,
            worker=stage.worker,
            action=stage.action,
            template=stage.template,
            template_version=stage.template_version,
            state=stage.shown_state.value,
            phase=stage.phase,
            jobs_done=stage.jobs_done,
            jobs_total=stage.jobs_total,
            reasons=stage.reasons,
            started_at=stage.started_at,
            finished_at=stage.finished_at,
        )
        for stage in execution.stages
    ]  # fmt: skip
    return RequestStatus(
        id=text_id("req", row.id),
        created_at=row.created_at,
        progress=Progress(
            jobs_done=sum(stage.jobs_done for stage in stages),
            jobs_total=sum(stage.jobs_total for stage in stages),
        ),
        stages=stages,
        spent_usd=fields["cost_usd"] or usd(0),
        **{name: fields[name] for name in _STATUS_FIELDS},
    )


_STATUS_FIELDS = (
    "execution_id", "state", "queue", "estimated_cost_usd", "held_cost_usd", "reasons", "started_at",
    "finished_at",
)  # fmt: skip


def result_view(row: ClientRequestRow, execution: ExecutionView) -> ResultView:
    """Show how a request ended, and each of its stages."""
    return ResultView(
        id=text_id("req", row.id),
        execution_id=text_id("exec", execution.id),
        state=execution.state.value,
        reasons=execution.reasons,
        result=execution.result,
        stages=[
            StageOutcome(
                ordinal=stage.ordinal,
                name=stage.name,
                template=stage.template,
                state=stage.shown_state.value,
                reasons=stage.reasons,
                outputs=stage.outputs or {},
            )
            for stage in execution.stages
        ],
        cost_usd=usd(execution.spent_nano),
        finished_at=execution.finished_at,
    )
