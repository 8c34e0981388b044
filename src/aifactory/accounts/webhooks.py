"""Webhooks: endpoints, and what is sent to them. The caller's transaction, never a commit.

Lock order: the endpoint, then its deliveries.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog

from aifactory.accounts import clients, webhook_queries, webhook_rules
from aifactory.accounts.audit_rows import record_row
from aifactory.accounts.interface import (
    AlreadyTesting,
    DeliveryNotFound,
    TooManyWebhooks,
    WebhookInactive,
    WebhookNotFound,
)
from aifactory.accounts.webhook_models import DeliveryRow, WebhookRow
from aifactory.accounts.webhook_rules import ERASED_BODY, TEST_EVENT, Attempt, DeliveryState
from aifactory.kernel.db import Tx
from aifactory.kernel.egress import NotCallable, check_url
from aifactory.kernel.errors import ContentErased, invalid
from aifactory.kernel.http import encode
from aifactory.kernel.ids import ClientId, new_id, parse_id, text_id
from aifactory.resources.interface import EventMessage, Resources

log = structlog.get_logger()

TOPIC = "deliveries"
GONE = 410


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint to make."""

    client_id: ClientId
    url: str
    events: list[str]
    description: str


# Endpoints.


async def create_webhook(tx: Tx, *, new: NewWebhook, private_allowed: bool, actor: str) -> WebhookRow:
    """Store an endpoint with a fresh secret. Raises Invalid, ClientNotFound, TooManyWebhooks."""
    url = _checked(new.url, private_allowed)
    await clients.get_client(tx, new.client_id, lock=True)
    if await webhook_queries.count_webhooks(tx, new.client_id) >= webhook_rules.MAX_WEBHOOKS:
        raise TooManyWebhooks(f"A client may have {webhook_rules.MAX_WEBHOOKS} webhooks; delete one.")
    row = WebhookRow(
        id=new_id(),
        client_id=new.client_id,
        url=url,
        secret=webhook_rules.make_secret(),
        events=sorted(set(new.events)),
        description=new.description,
        active=True,
        created_at=tx.now,
    )
    tx.session.add(row)
    await record_row(tx, actor, "webhook.created", row, after=_shown(row))
    return row


async def get_webhook(
    tx: Tx, *, webhook_id: UUID, client_id: ClientId | None, lock: bool = False
) -> WebhookRow:
    """Return an endpoint, of one client or (None) of any. Raises WebhookNotFound."""
    row = await webhook_queries.find_webhook(tx, webhook_id=webhook_id, client_id=client_id, lock=lock)
    if row is None:
        raise WebhookNotFound("There is no webhook with this id.")
    return row


async def change_webhook(
    tx: Tx, row: WebhookRow, *, changes: dict[str, Any], private_allowed: bool, actor: str
) -> None:
    """Change a locked endpoint's url, events, description or active. Raises Invalid.

    Switching off gives up what is on its way; switching on, and another URL, forget past failures.
    """
    before = _shown(row)
    if "url" in changes:
        row.url = _checked(changes["url"], private_allowed)
    if "events" in changes:
        row.events = sorted(set(changes["events"]))
    row.description = changes.get("description", row.description)
    row.active = changes.get("active", row.active)
    if "url" in changes or changes.get("active"):
        row.failing_since = None
    if row.active:
        row.disabled_reason = None
    else:
        await webhook_queries.fail_pending(tx, row.id)
    await record_row(tx, actor, "webhook.changed", row, before=before, after=_shown(row))


async def delete_webhook(tx: Tx, row: WebhookRow, *, actor: str) -> None:
    """Hide a locked endpoint and forget its secrets; its deliveries are removed in the background."""
    before = _shown(row)
    row.deleted_at, row.active = tx.now, False
    row.secret, row.previous_secret, row.previous_secret_until = "", None, None
    await webhook_queries.fail_pending(tx, row.id)
    await record_row(tx, actor, "webhook.deleted", row, before=before, after=_shown(row))


async def rotate_secret(tx: Tx, row: WebhookRow, *, actor: str) -> None:
    """Give a locked endpoint a fresh secret; the old one also signs for 24 h."""
    before = _shown(row)
    row.previous_secret, row.previous_secret_until = row.secret, tx.now + webhook_rules.OLD_SECRET_SIGNS
    row.secret = webhook_rules.make_secret()
    await record_row(tx, actor, "webhook.secret_rotated", row, before=before, after=_shown(row))


def _checked(url: str, private_allowed: bool) -> str:
    try:
        return str(check_url(url, private_allowed=private_allowed))
    except NotCallable as error:
        raise invalid("/url", "not_callable", str(error)) from error


def _shown(row: WebhookRow) -> dict[str, Any]:
    """Return what the audit log tells: of the URL the host and a hash, because it may hold a secret."""
    return {
        "client": text_id("client", row.client_id),
        "host": row.url.split("/")[2],
        "url_sha256": hashlib.sha256(row.url.encode()).hexdigest()[:16],
        "events": list(row.events),
        "description": row.description,
        "active": row.active,
        "disabled_reason": row.disabled_reason,
        "previous_secret_until": row.previous_secret_until,
        "deleted_at": row.deleted_at,
    }


# Deliveries.


async def fan_out(tx: Tx, resources: Resources, *, limit: int) -> int:
    """Turn the endings of executions into deliveries, each once; return how many endings were taken."""
    endings = await resources.take_endings(tx, limit)
    if not endings:
        return 0
    owners = [(parse_id("client", str(ending.data.get("clientId"))), ending) for ending in endings]
    listening: dict[UUID, list[Any]] = {}
    for row in await webhook_queries.share_listeners(tx, sorted({owner for owner, _ in owners if owner})):
        listening.setdefault(row["client_id"], []).append(row)
    rows = [
        (new_id(), row["id"], ending.type, encode(ending).decode())
        for owner, ending in owners
        if owner is not None
        for row in listening.get(owner, ())
        if ending.type in row["events"]
    ]
    await webhook_queries.insert_deliveries(tx, rows)
    tx.tell(TOPIC, {webhook_id for _, webhook_id, *_ in rows})
    return len(endings)


async def send_test(tx: Tx, row: WebhookRow) -> DeliveryRow:
    """Queue a test message for a locked endpoint. Raises WebhookInactive, AlreadyTesting."""
    _check_active(row)
    if await webhook_queries.has_pending(tx, webhook_id=row.id, event_type=TEST_EVENT):
        raise AlreadyTesting("A test is on its way; look at the deliveries in a moment.")
    told = {"webhookId": text_id("whk", row.id), "clientId": text_id("client", row.client_id)}
    message = EventMessage(type=TEST_EVENT, timestamp=tx.now, data=told)
    delivery_id = new_id()
    body = encode(message).decode()
    await webhook_queries.insert_deliveries(tx, [(delivery_id, row.id, TEST_EVENT, body)])
    tx.tell(TOPIC, {row.id})
    return await get_delivery(tx, row, delivery_id=delivery_id)


async def get_delivery(tx: Tx, row: WebhookRow, *, delivery_id: UUID, lock: bool = False) -> DeliveryRow:
    """Return a delivery of an endpoint. Raises DeliveryNotFound."""
    delivery = await webhook_queries.find_delivery(tx, webhook_id=row.id, delivery_id=delivery_id, lock=lock)
    if delivery is None:
        raise DeliveryNotFound("There is no delivery with this id.")
    return delivery


async def resend(tx: Tx, row: WebhookRow, *, delivery_id: UUID) -> DeliveryRow:
    """Start a delivery of a locked endpoint anew, under the same id; one that waits is sent now.

    Raises WebhookInactive, DeliveryNotFound, ContentErased.
    """
    delivery = await get_delivery(tx, row, delivery_id=delivery_id, lock=True)
    if delivery.body == ERASED_BODY:
        raise ContentErased("What was sent with this delivery was erased; it can't be sent again.")
    _check_active(row)
    soon = tx.now + webhook_rules.LEASE  # it may be under way: then nothing changes
    if delivery.next_attempt_at is None or delivery.next_attempt_at > soon:
        delivery.state, delivery.tries = DeliveryState.PENDING.value, 0
        delivery.next_attempt_at = tx.now
        await tx.flush()
        tx.tell(TOPIC, {row.id})
    return delivery


def _check_active(row: WebhookRow) -> None:
    if not row.active:
        raise WebhookInactive("Switch the webhook on first.", disabled_reason=row.disabled_reason)


# What came of sending.


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery taken to be sent; ``number`` counts its attempts."""

    id: UUID
    webhook_id: UUID
    number: int
    tries: int
    event_type: str
    claimed_at: datetime


async def record(tx: Tx, claimed: Claimed, attempt: Attempt, *, chance: float) -> None:
    """Store what came of an attempt, and what follows from it for the delivery and its endpoint.

    A delivery or an endpoint that is gone is left alone; so is one that another attempt has overtaken.
    """
    row = await webhook_queries.find_webhook(tx, webhook_id=claimed.webhook_id, client_id=None, lock=True)
    if row is None:
        return
    delivery = await webhook_queries.find_delivery(tx, webhook_id=row.id, delivery_id=claimed.id, lock=True)
    if delivery is None:
        return
    if delivery.body == ERASED_BODY:
        attempt = msgspec.structs.replace(attempt, excerpt="")
    await webhook_queries.insert_attempt(
        tx, delivery_id=claimed.id, number=claimed.number, began=claimed.claimed_at, attempt=attempt
    )
    if attempt.succeeded:
        row.failing_since = None
        _close(delivery, DeliveryState.DELIVERED, tx.now)
        return
    is_test = claimed.event_type == TEST_EVENT
    if not is_test and row.failing_since is None:
        row.failing_since = tx.now
    if delivery.state == DeliveryState.PENDING and delivery.attempts == claimed.number:
        again = webhook_rules.next_try(
            tries=webhook_rules.MAX_TRIES if is_test else claimed.tries,
            now=tx.now,
            retry_after=attempt.retry_after,
            chance=chance,
        )
        if again is None:
            _close(delivery, DeliveryState.FAILED, None)
        else:
            delivery.next_attempt_at = again
    await _disable_if_due(tx, row, delivery, attempt)


def _close(delivery: DeliveryRow, state: DeliveryState, delivered_at: datetime | None) -> None:
    delivery.state, delivery.next_attempt_at = state.value, None
    delivery.delivered_at = delivery.delivered_at or delivered_at


async def _disable_if_due(tx: Tx, row: WebhookRow, delivery: DeliveryRow, attempt: Attempt) -> None:
    """Switch an endpoint off that says it is gone, or whose deliveries have failed for days.

    The latter only when a delivery has used up its tries: one slip after a quiet week is no reason.
    """
    if not row.active:
        return
    if attempt.status == GONE:
        reason = "It answered 410 Gone."
    elif delivery.state == DeliveryState.FAILED and _failing_for(row, tx.now) >= webhook_rules.DISABLED_AFTER:
        reason = f"Nothing could be delivered for {webhook_rules.DISABLED_AFTER.days} days."
    else:
        return
    before = _shown(row)
    row.active, row.disabled_reason = False, reason
    await record_row(tx, "system", "webhook.disabled", row, before=before, after=_shown(row))
    await webhook_queries.fail_pending(tx, row.id)
    log.warning("webhook.disabled", webhook=text_id("whk", row.id), reason=reason)


def _failing_for(row: WebhookRow, now: datetime) -> timedelta:
    return timedelta() if row.failing_since is None else now - row.failing_since
