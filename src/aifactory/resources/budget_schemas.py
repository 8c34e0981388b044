"""What the routes of budgets and limits take and give."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aifactory.kernel.money import usd
from aifactory.resources.budgets import BudgetLevel
from aifactory.resources.interface import Tier
from aifactory.resources.schemas import View

Text = Annotated[str, Meta(min_length=1, max_length=120)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Rate = Annotated[int, Meta(ge=1, le=1_000_000)]
Units = Annotated[int, Meta(ge=0, le=10**15)]


class Input(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a caller sends: unknown fields are refused."""


class KeyBudget(Input, frozen=True, kw_only=True):
    """What may be spent through one API key in a month; a key made by rotation counts with its first one."""

    key_id: Text
    monthly_usd: Decimal


class TemplateBudget(Input, frozen=True, kw_only=True):
    """What may be spent on one master template in a month; ``inline`` stands for flows without one."""

    template: Text
    monthly_usd: Decimal


class BudgetsInput(Input, frozen=True, kw_only=True):
    """Every limit of a client's spending. ``monthlyUsd`` null: its tier's; ``dailyUsd`` null: none.

    Months and days are those of the client's time zone. What is left out of the lists has no limit.
    """

    monthly_usd: Decimal | None
    daily_usd: Decimal | None
    keys: Annotated[list[KeyBudget], Meta(max_length=100)]
    templates: Annotated[list[TemplateBudget], Meta(max_length=200)]


class BudgetSettings(View, frozen=True, kw_only=True):
    """What of a client's budgets can be edited: what the ETag stands for and the audit log shows."""

    monthly_usd: Decimal | None
    daily_usd: Decimal | None
    keys: list[KeyBudget]
    templates: list[TemplateBudget]


class BudgetView(View, frozen=True, kw_only=True):
    """A budget in the period that is running now.

    ``leftUsd`` is what is neither spent nor held; 0 also where a limit was lowered below that.
    """

    scope: Literal["client", "day", "key", "template"]
    scope_key: str | None
    period_start: datetime
    period_end: datetime
    limit_usd: Decimal
    held_usd: Decimal
    spent_usd: Decimal
    left_usd: Decimal


class ClientBudgets(View, frozen=True, kw_only=True):
    """A client's budgets now, its own first."""

    client_id: str
    name: str
    time_zone: str
    budgets: list[BudgetView]


class BudgetsView(BudgetSettings, frozen=True, kw_only=True):
    """A client's limits of spending, and how far each is used."""

    client_id: str
    tier: Tier
    time_zone: str
    budgets: list[BudgetView]


class QuotaInput(Input, frozen=True, kw_only=True):
    """How many units of a pool a client may take in a day or a month."""

    pool: Text
    period: Literal["day", "month"]
    units: Units


class LimitsInput(Input, frozen=True, kw_only=True):
    """A client's own limits. Null: its tier's. ``timeZone`` left out: it stays."""

    max_running: Count | None
    requests_per_minute: Rate | None
    time_zone: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    quotas: Annotated[list[QuotaInput], Meta(max_length=200)]


class LimitSettings(View, frozen=True, kw_only=True):
    """What of a client's limits can be edited: what the ETag stands for and the audit log shows."""

    max_running: int | None
    requests_per_minute: int | None
    time_zone: str
    quotas: list[QuotaInput]


class QuotaView(View, frozen=True, kw_only=True):
    """A quota, and how much of it is taken in the period that is running now."""

    pool: str
    period: Literal["day", "month"]
    units: int
    units_used: int
    period_start: datetime
    period_end: datetime


class TierLimits(View, frozen=True, kw_only=True):
    """What holds where a client has no limit of its own."""

    max_running: int
    requests_per_minute: int
    monthly_usd: Decimal | None


class ClientLimitsView(View, frozen=True, kw_only=True):
    """A client's own limits beside its tier's."""

    client_id: str
    tier: Tier
    max_running: int | None
    requests_per_minute: int | None
    time_zone: str
    quotas: list[QuotaView]
    tier_limits: TierLimits


def budget_view(level: BudgetLevel) -> BudgetView:
    """Show a budget."""
    return BudgetView(
        scope=level.scope.value,
        scope_key=level.scope_key or None,
        period_start=level.period_start,
        period_end=level.period_end,
        limit_usd=usd(level.limit_nano),
        held_usd=usd(level.held_nano),
        spent_usd=usd(level.spent_nano),
        left_usd=usd(level.left_nano),
    )
