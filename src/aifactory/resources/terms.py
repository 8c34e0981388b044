"""What the operator sets: the terms of pools, queues and tiers, and what can't be set. Pure."""

import re
from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

import msgspec

from aifactory.kernel.errors import invalid
from aifactory.resources.interface import Tier, Urgency

MOST_SHARED_PERCENT = 50
MOST_PRICE_USD = Decimal(1_000)  # per thousand units; as dear as a model may be
QUEUE_OF = {
    Urgency.URGENT: "immediate",
    Urgency.HIGH: "fast",
    Urgency.NORMAL: "normal",
    Urgency.LOW: "batch",
}
_POOL_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII)


class PoolTerms(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as the operator defines it; the price is nano-dollars per million units."""

    unit: str
    capacity: int
    refill_per_second: int
    price_nano_per_million: int
    requests_per_minute: int | None
    reserved_percent: int
    dedicated_client_id: UUID | None
    paused: bool


class QueueTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How a queue is served; ``full_age_seconds``: after them a job has all points for waiting."""

    policy: str
    share_percent: int
    full_age_seconds: int


class TierTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a tier gives; a budget of None: each client has a number of its own; retention None: for ever."""

    points: int
    weight: int
    max_running: int
    monthly_budget_nano: int | None
    requests_per_minute: int
    retention_days: int | None


def check_pool_name(name: str) -> None:
    """Raise Invalid for a name that no pool may have; the providers file has the same rule."""
    if not _POOL_NAME.fullmatch(name):
        raise invalid(
            "/name", "bad_name", "A name has a-z, 0-9, _ . - only, at most 64, and starts with a letter."
        )


def check_shares(queue: str, terms: QueueTerms, others: Iterable[int]) -> None:
    """Raise Invalid when the shares of all queues would be more than half of the starts.

    The other half is given by policy, or urgent work would wait for its turn behind everyone's shares.
    """
    total = terms.share_percent + sum(others)
    if total > MOST_SHARED_PERCENT:
        raise invalid(
            "/sharePercent",
            "shares_too_large",
            f"The shares of all queues would be {total} %, and {MOST_SHARED_PERCENT} % is the most. Lower "
            f"another queue's before you raise that of {queue}.",
        )


def check_tier(tier: Tier, terms: TierTerms) -> None:
    """Raise Invalid for a budget where each client has its own, or none where a tier must have one."""
    if tier is Tier.ENTERPRISE and terms.monthly_budget_nano is not None:
        raise invalid(
            "/monthlyBudgetUsd", "own_budgets", "Each enterprise client has a budget of its own; send null."
        )
    if tier is not Tier.ENTERPRISE and terms.monthly_budget_nano is None:
        raise invalid("/monthlyBudgetUsd", "missing_budget", f"Tier {tier} needs a monthly budget.")
