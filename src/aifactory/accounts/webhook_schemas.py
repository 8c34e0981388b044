"""What webhooks take and give over HTTP."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from aifactory.accounts.schemas import Input, ShortText, View
from aifactory.accounts.webhook_models import DeliveryRow, WebhookRow
from aifactory.accounts.webhook_rules import ERASED_BODY, EVENT_TYPES, DeliveryState, EventType
from aifactory.kernel.egress import LONGEST_URL
from aifactory.kernel.ids import text_id

Url = Annotated[str, Meta(min_length=1, max_length=LONGEST_URL)]
Events = Annotated[list[EventType], Meta(min_length=1, max_length=20)]
ClientIdText = Annotated[str, Meta(max_length=64)]

_message = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class NewWebhookInput(Input, frozen=True, kw_only=True):
    """An endpoint to make; without ``events`` it gets all. An admin adds ``clientId``."""

    url: Url
    events: Events = msgspec.field(default_factory=lambda: list(EVENT_TYPES))
    description: ShortText = ""
    client_id: ClientIdText | None = None


class WebhookChanges(Input, frozen=True, kw_only=True):
    """What to change of an endpoint; what is left out stays."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    description: ShortText | UnsetType = UNSET
    active: bool | UnsetType = UNSET


class WebhookView(View, frozen=True, kw_only=True):
    """An endpoint without its secret. Until ``previousSecretUntil`` the old secret signs too."""

    id: str
    client_id: str
    url: str
    events: list[str]
    description: str
    active: bool
    disabled_reason: str | None
    failing_since: datetime | None
    previous_secret_until: datetime | None
    created_at: datetime


class NewWebhookView(WebhookView, frozen=True, kw_only=True):
    """An endpoint with a new secret, which is shown this once; null in a replay."""

    secret: str | None


class AttemptView(View, frozen=True, kw_only=True):
    """One attempt: the receiver's status, or what went wrong; the beginning of its answer."""

    number: int
    at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    response_excerpt: str


class DeliveryView(View, frozen=True, kw_only=True):
    """An event on its way to an endpoint, with its newest attempts. ``id`` is sent as ``webhook-id``."""

    id: str
    webhook_id: str
    event: str
    state: DeliveryState
    attempts_made: int
    attempts: list[AttemptView]
    next_attempt_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None
    message: dict[str, Any]
    erased: bool


def webhook_changes(body: WebhookChanges) -> dict[str, Any]:
    """Return the given changes by field."""
    return {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}


def webhook_view(row: WebhookRow, now: datetime) -> WebhookView:
    """Show an endpoint."""
    return WebhookView(**_webhook_fields(row, now))


def new_webhook_view(row: WebhookRow, now: datetime, secret: str | None) -> NewWebhookView:
    """Show an endpoint whose secret was just made."""
    return NewWebhookView(**_webhook_fields(row, now), secret=secret)


def _webhook_fields(row: WebhookRow, now: datetime) -> dict[str, Any]:
    until = row.previous_secret_until
    return {
        "id": text_id("whk", row.id),
        "client_id": text_id("client", row.client_id),
        "url": row.url,
        "events": list(row.events),
        "description": row.description,
        "active": row.active,
        "disabled_reason": row.disabled_reason,
        "failing_since": row.failing_since,
        "previous_secret_until": until if until is not None and until > now else None,
        "created_at": row.created_at,
    }


def delivery_view(row: DeliveryRow, attempts: Iterable[Any]) -> DeliveryView:
    """Show a delivery with these attempts."""
    return DeliveryView(
        id=text_id("dlv", row.id),
        webhook_id=text_id("whk", row.webhook_id),
        event=row.event_type,
        state=DeliveryState(row.state),
        attempts_made=row.attempts,
        attempts=[_attempt_view(attempt) for attempt in attempts],
        next_attempt_at=row.next_attempt_at,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
        message=_message.decode(row.body),
        erased=row.body == ERASED_BODY,
    )


def _attempt_view(row: Any) -> AttemptView:
    return AttemptView(
        number=row["number"],
        at=row["at"],
        duration_ms=row["duration_ms"],
        status=row["status"],
        error=row["error"],
        response_excerpt=row["excerpt"],
    )
