"""More of what the server gives: content, templates and estimates, the account."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from aifactory.client.models import View

# Content.


class SubScore(View, frozen=True, kw_only=True):
    """One part of a score, 0 to 1, and its share of the whole."""

    value: float
    weight: float
    detail: str = ""


class Tree(View, frozen=True, kw_only=True):
    """A piece of content without its nodes: what it is and how good (``score`` 0 to 100)."""

    id: str
    execution_id: str | None = None
    structure_type: str
    template: str = ""
    title: str = ""
    state: str = ""
    origin: str = ""
    models: tuple[str, ...] = ()
    score: Decimal | None = None
    band: str = ""
    sub_scores: dict[str, SubScore] = {}  # noqa: RUF012 (msgspec copies it)
    gates_failed: tuple[str, ...] = ()
    checks_run: tuple[str, ...] = ()
    checks_skipped: dict[str, str] = {}  # noqa: RUF012 (msgspec copies it)
    repairs: int = 0
    created_at: datetime | None = None


class StageProgress(View, frozen=True, kw_only=True):
    """How far a stage is; ``tree_id`` once its tree is stored."""

    ordinal: int
    name: str | None = None
    worker: str = ""
    template: str = ""
    state: str
    phase: str = ""
    jobs_done: int = 0
    jobs_total: int = 0
    tree_id: str | None = None


class GrowingTree(View, frozen=True, kw_only=True):
    """Content as far as it is written; a ``draft`` may still be changed. Once stored: its id, no nodes."""

    stage: int = 0
    structure_type: str = ""
    title: str = ""
    summary: str | None = None
    draft: bool = False
    complete: bool = False
    tree_id: str | None = None
    nodes: tuple[dict[str, Any], ...] = ()


class ExecutionProgress(View, frozen=True, kw_only=True):
    """How far an execution is, with its newest tree as it grows; ``percent`` never falls."""

    execution_id: str
    request_id: str | None = None
    state: str
    percent: int = 0
    jobs_done: int = 0
    jobs_total: int = 0
    cost_usd: Decimal = Decimal(0)
    started_at: datetime | None = None
    elapsed_ms: int | None = None
    estimated_remaining_ms: int | None = None
    stages: tuple[StageProgress, ...] = ()
    tree: GrowingTree | None = None


class Node(View, frozen=True, kw_only=True):
    """A node of an outline and the nodes below."""

    path: str
    id: str
    kind: str
    title: str
    summary: str = ""
    minutes: int | None = None
    state: str = ""
    children: tuple["Node", ...] = ()


class Outline(View, frozen=True, kw_only=True):
    """A tree as an outline, and how many nodes of each kind it has."""

    id: str
    title: str = ""
    counts: dict[str, int] = {}  # noqa: RUF012 (msgspec copies it)
    nodes: tuple[Node, ...] = ()


class Violation(View, frozen=True, kw_only=True):
    """A broken rule: where and how bad."""

    severity: str
    rule: str
    path: str = ""
    node_id: str | None = None
    message: str = ""


class Checked(View, frozen=True, kw_only=True):
    """What a check of a tree found."""

    tree_id: str | None = None
    structure_type: str
    title: str = ""
    nodes: int = 0
    state: str = ""
    score: Decimal | None = None
    band: str = ""
    threshold: float | None = None
    passed: bool
    gates_failed: tuple[str, ...] = ()
    sub_scores: dict[str, SubScore] = {}  # noqa: RUF012 (msgspec copies it)
    checks_skipped: dict[str, str] = {}  # noqa: RUF012 (msgspec copies it)
    violation_count: int = 0
    violations: tuple[Violation, ...] = ()


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """A tree in a format; ``losses`` counts what that format can't carry."""

    content: bytes
    media_type: str
    file_name: str
    losses: int = 0

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode()


# Templates and estimates.


class FlowStage(View, frozen=True, kw_only=True):
    """A stage of a template."""

    name: str | None = None
    worker: str
    template_ref: str
    action: str = ""
    required: bool = True


class Template(View, frozen=True, kw_only=True):
    """A template that requests name, priced for the caller; null prices: it can't run at present."""

    id: str
    name: str
    version: int
    title: str = ""
    description: str = ""
    active: bool = True
    flow: tuple[FlowStage, ...] = ()
    required_tier: str | None = None
    allowed: bool = True
    estimated_cost_usd: Decimal | None = None
    worst_cost_usd: Decimal | None = None


class BudgetNow(View, frozen=True, kw_only=True):
    """This month's budget as an estimate saw it."""

    limit_usd: Decimal
    spent_usd: Decimal
    held_usd: Decimal
    left_usd: Decimal
    resets_at: datetime


class TierEstimate(View, frozen=True, kw_only=True):
    """What a tier says to a request: allowed, or the refusal's code; its price there."""

    tier: str
    allowed: bool
    refusal: str | None = None
    estimated_cost_usd: Decimal | None = None
    worst_cost_usd: Decimal | None = None
    fits: bool = False


class Estimate(View, frozen=True, kw_only=True):
    """What a request would cost; ``worst_cost_usd`` would be held, ``fits``: it would be taken now."""

    template: str
    template_version: int | None = None
    estimated_cost_usd: Decimal
    worst_cost_usd: Decimal
    fits: bool
    required_tier: str | None = None
    budget: BudgetNow
    stages: tuple[dict[str, Any], ...] = ()
    tiers: tuple[TierEstimate, ...] = ()


# The server and the account.


class Part(View, frozen=True, kw_only=True):
    """A part of the server; requests can't be served without the ``needed`` ones."""

    ok: bool
    needed: bool = True
    detail: dict[str, Any] = {}  # noqa: RUF012 (msgspec copies it)


class Health(View, frozen=True, kw_only=True):
    """How the server is: ``ok`` or ``degraded``."""

    status: str
    version: str
    parts: dict[str, Part] = {}  # noqa: RUF012 (msgspec copies it)


class Caller(View, frozen=True, kw_only=True):
    """Who the credential belongs to."""

    role: str
    client_id: str | None = None
    key_id: str | None = None
    scopes: tuple[str, ...] = ()


class Usage(View, frozen=True, kw_only=True):
    """A client's budget of this period and its work now; ``left_usd`` is neither spent nor held."""

    client_id: str
    period_start: datetime
    period_end: datetime
    time_zone: str = "UTC"
    limit_usd: Decimal
    held_usd: Decimal
    spent_usd: Decimal
    left_usd: Decimal
    unfinished_executions: int = 0
    running_jobs: int = 0


class UsageRow(View, frozen=True, kw_only=True):
    """Sums of a group; of the first five it has those by which was grouped. ``operator_usd``: to an admin."""

    day: date | None = None
    client_id: str | None = None
    template: str | None = None
    provider: str | None = None
    model: str | None = None
    calls: int = 0
    failed_calls: int = 0
    input_units: int = 0
    cached_input_units: int = 0
    output_units: int = 0
    cost_usd: Decimal = Decimal(0)
    operator_usd: Decimal | None = None


class UsageReport(View, frozen=True, kw_only=True):
    """Usage of whole days in UTC, ``until`` not included, ordered by its groups."""

    client_id: str
    since: datetime = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    group_by: tuple[str, ...] = ()
    data: list[UsageRow]
    totals: UsageRow
    next_cursor: str | None = None


class Budget(View, frozen=True, kw_only=True):
    """What a client may spend in a scope (client, day, key, template) in the period that runs now."""

    scope: str
    scope_key: str | None = None
    period_start: datetime
    period_end: datetime
    limit_usd: Decimal
    held_usd: Decimal
    spent_usd: Decimal
    left_usd: Decimal


class Budgets(View, frozen=True, kw_only=True):
    """A client's budgets, its own first."""

    client_id: str
    time_zone: str = "UTC"
    budgets: tuple[Budget, ...] = ()


class ApiKey(View, frozen=True, kw_only=True):
    """An API key; ``key``, the secret, only when it was just made, and this once."""

    id: str
    name: str
    prefix: str = ""
    scopes: tuple[str, ...] = ()
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    key: str | None = None

    def __repr__(self) -> str:
        """Show it without the secret, which would end up in a log."""
        return f"ApiKey(id={self.id!r}, name={self.name!r}, prefix={self.prefix!r})"


class Webhook(View, frozen=True, kw_only=True):
    """An address that is told how executions end; ``secret`` only when it was just made."""

    id: str
    url: str
    events: tuple[str, ...] | None = None
    active: bool = True
    secret: str | None = None
    created_at: datetime | None = None

    def __repr__(self) -> str:
        """Show it without the secret, which would end up in a log."""
        return f"Webhook(id={self.id!r}, url={self.url!r})"
