"""What the Orchestrator's older paths take and give, and how their names become ours. Pure."""

import re
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aifactory.kernel.errors import invalid
from aifactory.resources.schemas import ExecuteInput, Name, View

MAX_DEPTH = 10
MAX_TIMEOUT_MS = 7 * 86_400_000

GivenId = Annotated[str, Meta(min_length=1, max_length=128)]

_SNAKE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")


class Input(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of what comes: camelCase; unknown fields are refused."""


class PipelineInput(ExecuteInput, frozen=True, kw_only=True):
    """What ``/api/execute`` takes; ``inputData`` are its parameters, in camelCase or snake_case.

    ``inputData.templateName`` names the template where ``template`` is left out.
    """

    parameters: dict[str, Any] = {}  # noqa: RUF012 (msgspec copies it)
    input_data: dict[str, Any] = {}  # noqa: RUF012 (msgspec copies it)


class Requirements(Input, frozen=True, kw_only=True):
    """What the caller reckons with. ``timeoutMs``: how long ``/api/process`` waits, at most 60 s."""

    estimated_tokens: Annotated[int, Meta(ge=0, le=2**53)] = 0
    timeout_ms: Annotated[int, Meta(ge=1, le=MAX_TIMEOUT_MS)] = 60_000


class HandshakeInput(Input, frozen=True, kw_only=True):
    """Work to be promised. ``executionId`` is the caller's own name for it; without one it gets ours."""

    execution_id: GivenId | None = None
    stage_id: GivenId | None = None
    action: Name = "granulate"
    input_data: dict[str, Any]
    resource_requirements: Requirements = Requirements()
    client_id: Annotated[str, Meta(max_length=64)] | None = None


class Needs(View, frozen=True, kw_only=True):
    """What the work needs: cores at a time, megabytes (null: not known), model calls at most."""

    cpu: int
    memory: int | None
    api_calls: int


class HandshakeView(View, frozen=True, kw_only=True):
    """A promise that is kept until ``expiresAt``, or the reason why there is none: pool, cap or budget."""

    execution_id: str
    worker_id: str
    accepted: bool
    reason: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    estimated_completion_ms: int | None
    resource_requirements: Needs
    held_cost_usd: Decimal
    expires_at: str | None


class ProcessInput(Input, frozen=True, kw_only=True):
    """The ``executionId`` of a handshake."""

    execution_id: GivenId


class ProcessResult(View, frozen=True, kw_only=True):
    """What was made: the tree's id, its outline, its score of 0 to 100."""

    job_id: str | None
    structure: Any
    quality_score: float | None


class ProcessMetrics(View, frozen=True, kw_only=True):
    """What it took, so far or in all."""

    tokens_used: int
    processing_time_ms: int
    cost_usd: Decimal


class ProcessView(View, frozen=True, kw_only=True):
    """Processed work. ``status``: processing (202), completed, partial or failed, with the reasons."""

    execution_id: str
    status: str
    result: ProcessResult | None
    metrics: ProcessMetrics
    reasons: tuple[Any, ...] = ()


def camel_names(given: Any, pointer: str = "/inputData", depth: int = 1) -> Any:
    """Return a value with its snake_case names in camelCase. Raises Invalid if a name comes twice."""
    if isinstance(given, list) and depth < MAX_DEPTH:
        return [camel_names(one, f"{pointer}/{n}", depth + 1) for n, one in enumerate(given)]
    if not isinstance(given, dict) or depth >= MAX_DEPTH:  # what is deeper is refused as too deep
        return given
    renamed: dict[str, Any] = {}
    for name, value in given.items():
        own = _camel(name)
        if own in renamed:
            raise invalid(pointer, "twice", f"{pointer}: {own} is there in camelCase and in snake_case.")
        renamed[own] = camel_names(value, f"{pointer}/{own}", depth + 1)
    return renamed


def _camel(name: str) -> str:
    if not _SNAKE.fullmatch(name):
        return name
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def as_execute_input(data: PipelineInput) -> ExecuteInput:
    """Return what ``/api/execute`` would have been sent. Raises Invalid."""
    given = camel_names(data.input_data)
    template = given.pop("templateName", None)
    if template is not None and not (isinstance(template, str) and 1 <= len(template) <= 120):
        raise invalid("/inputData/templateName", "wrong_type", "/inputData/templateName: a template's name.")
    if twice := sorted(given.keys() & data.parameters.keys()):
        raise invalid("/inputData", "twice", f"/inputData: {twice[0][:80]} is in parameters too.")
    fields = {name: getattr(data, name) for name in ExecuteInput.__struct_fields__}
    something = data.template or data.worker_flow or data.action
    fields |= {
        "template": template if something is None else data.template,
        "parameters": data.parameters | given,
    }
    return ExecuteInput(**fields)
