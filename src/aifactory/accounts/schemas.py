"""What clients and keys take and give over HTTP: camelCase, text ids, dollars."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aifactory.accounts.models import ApiKeyRow, ClientRow
from aifactory.kernel.ids import text_id
from aifactory.kernel.money import MOST_BUDGET_USD, exact_nano, usd
from aifactory.kernel.time_zones import check_time_zone
from aifactory.resources.interface import ClientLimits, Tier

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S")]
ShortText = Annotated[str, Meta(max_length=200)]
Moment = Annotated[datetime, Meta(tz=True)]
Scope = Literal["read", "write", "keys"]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Rate = Annotated[int, Meta(ge=1, le=1_000_000)]


class Input(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a caller sends: unknown fields are refused."""


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a caller gets; it may grow."""


# Clients and keys.


class LimitsInput(Input, frozen=True, kw_only=True):
    """A client's own limits; null: its tier's."""

    max_running: Count | UnsetType | None = UNSET
    monthly_budget_usd: Decimal | UnsetType | None = UNSET
    requests_per_minute: Rate | UnsetType | None = UNSET


class NewClientInput(Input, frozen=True, kw_only=True):
    """A client to make."""

    name: Name
    contact: ShortText = ""
    tier: Tier = Tier.BASIC
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    limits: LimitsInput = LimitsInput()


class ClientChanges(Input, frozen=True, kw_only=True):
    """What to change of a client; what is left out stays."""

    name: Name | UnsetType = UNSET
    contact: ShortText | UnsetType = UNSET
    tier: Tier | UnsetType = UNSET
    suspended: bool | UnsetType = UNSET
    time_zone: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    limits: LimitsInput = LimitsInput()


class LimitsView(View, frozen=True, kw_only=True):
    """A client's own limits; null: its tier's."""

    max_running: int | None
    monthly_budget_usd: Decimal | None
    requests_per_minute: int | None


class ClientView(View, frozen=True, kw_only=True):
    """A client."""

    id: str
    name: str
    contact: str
    tier: Tier
    suspended: bool
    time_zone: str
    limits: LimitsView
    created_at: datetime


def limit_changes(limits: LimitsInput) -> dict[str, Any]:
    """Return the given limits as fields of ClientLimits. Raises Invalid."""
    changes: dict[str, Any] = {}
    if limits.max_running is not UNSET:
        changes["max_running"] = limits.max_running
    if limits.requests_per_minute is not UNSET:
        changes["requests_per_minute"] = limits.requests_per_minute
    if limits.monthly_budget_usd is not UNSET:
        amount = limits.monthly_budget_usd
        changes["monthly_budget_nano"] = (
            None if amount is None else exact_nano("/limits/monthlyBudgetUsd", amount, most=MOST_BUDGET_USD)
        )
    return changes


def client_changes(body: ClientChanges) -> dict[str, Any]:
    """Return the changes of a client by field. Raises Invalid."""
    changes = limit_changes(body.limits)
    for name in ("name", "contact", "tier", "suspended", "time_zone"):
        if (value := getattr(body, name)) is not UNSET:
            changes[name] = value
    if "time_zone" in changes:
        check_time_zone(changes["time_zone"])
    return changes


def client_view(row: ClientRow, limits: ClientLimits) -> ClientView:
    """Show a client."""
    budget = limits.monthly_budget_nano
    return ClientView(
        id=text_id("client", row.id),
        name=row.name,
        contact=row.contact,
        tier=limits.tier,
        suspended=limits.suspended,
        time_zone=limits.time_zone,
        limits=LimitsView(
            max_running=limits.max_running,
            monthly_budget_usd=None if budget is None else usd(budget),
            requests_per_minute=limits.requests_per_minute,
        ),
        created_at=row.created_at,
    )


class NewKeyInput(Input, frozen=True, kw_only=True):
    """An API key to make."""

    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=8)] = msgspec.field(
        default_factory=lambda: ["read", "write"]
    )
    expires_at: Moment | None = None


class RotationInput(Input, frozen=True, kw_only=True):
    """How long the old key goes on working beside the new one; by default a day, at most 30."""

    overlap_ms: Annotated[int, Meta(ge=0, le=30 * 86_400_000)] = 86_400_000


class KeyView(View, frozen=True, kw_only=True):
    """An API key without its secret."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewKeyView(KeyView, frozen=True, kw_only=True):
    """A key that was just made. ``key`` is shown this once; null in a replay."""

    key: str | None


def key_view(row: ApiKeyRow) -> KeyView:
    """Show a key."""
    return KeyView(**_key_fields(row))


def new_key_view(row: ApiKeyRow, text: str | None) -> NewKeyView:
    """Show a key that was just made."""
    return NewKeyView(**_key_fields(row), key=text)


def _key_fields(row: ApiKeyRow) -> dict[str, Any]:
    return {
        "id": text_id("key", row.id),
        "name": row.name,
        "prefix": f"aif_{row.public_id}",
        "scopes": list(row.scopes),
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
        "last_used_at": row.last_used_at,
    }


def optional_id(prefix: str, value: Any) -> str | None:
    """Show an id that may be absent."""
    return None if value is None else text_id(prefix, value)
