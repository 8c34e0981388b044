"""What the operator's routes of queues and tiers take and give."""

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from aifactory.kernel.money import MOST_BUDGET_USD, exact_nano, usd
from aifactory.resources.interface import Tier
from aifactory.resources.schemas import View
from aifactory.resources.terms import QueueTerms, TierTerms


class QueueInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How a queue is served: ``score``, the best score first, or ``fair``, the client that used least.

    ``sharePercent`` of a pool's last 100 starts go to this queue if it has work. After ``fullAgeSeconds`` of
    waiting a job has all 20 points for it.
    """

    policy: Literal["score", "fair"]
    share_percent: Annotated[int, Meta(ge=0, le=50)]
    full_age_seconds: Annotated[int, Meta(ge=1, le=30 * 86_400)]


class QueueSettings(View, frozen=True, kw_only=True):
    """What of a queue can be edited: what its ETag stands for and the audit log shows."""

    policy: str
    share_percent: int
    full_age_seconds: int


class TierInput(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a tier gives. ``monthlyBudgetUsd`` is null for enterprise, whose clients each have their own.

    ``retentionDays`` null: content is kept for ever.
    """

    points: Annotated[int, Meta(ge=0, le=40)]
    weight: Annotated[int, Meta(ge=1, le=1000)]
    max_running: Annotated[int, Meta(ge=0, le=100_000)]
    monthly_budget_usd: Decimal | None
    requests_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)]
    retention_days: Annotated[int, Meta(ge=1, le=36_500)] | None


class TierSettings(View, frozen=True, kw_only=True):
    """What of a tier can be edited: what its ETag stands for and the audit log shows."""

    points: int
    weight: int
    max_running: int
    monthly_budget_usd: Decimal | None
    requests_per_minute: int
    retention_days: int | None


class TierView(TierSettings, frozen=True, kw_only=True):
    """A tier's settings and how many clients have it."""

    tier: Tier
    clients: int


def queue_terms(data: QueueInput) -> QueueTerms:
    """Return the terms that a body asks for."""
    return QueueTerms(**msgspec.structs.asdict(data))


def tier_terms(data: TierInput) -> TierTerms:
    """Return the terms that a body asks for. Raises Invalid."""
    budget = data.monthly_budget_usd
    return TierTerms(
        points=data.points,
        weight=data.weight,
        max_running=data.max_running,
        monthly_budget_nano=None
        if budget is None
        else exact_nano("/monthlyBudgetUsd", budget, most=MOST_BUDGET_USD),
        requests_per_minute=data.requests_per_minute,
        retention_days=data.retention_days,
    )


def tier_view(row: Any) -> TierView:
    """Return a tier's row as it leaves."""
    budget = row["monthly_budget_nano"]
    return TierView(
        tier=Tier(row["tier"]),
        points=row["points"],
        weight=row["weight"],
        max_running=row["max_running"],
        monthly_budget_usd=None if budget is None else usd(budget),
        requests_per_minute=row["requests_per_minute"],
        retention_days=row["retention_days"],
        clients=row["clients"],
    )
