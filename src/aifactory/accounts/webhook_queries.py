"""SQL of webhooks: endpoints, deliveries, attempts."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from aifactory.accounts.queries import newest_first
from aifactory.accounts.webhook_models import DeliveryRow, WebhookRow
from aifactory.accounts.webhook_rules import Attempt, DeliveryState, Waiting
from aifactory.kernel.db import Tx
from aifactory.kernel.page import PageRequest

# Endpoints.


async def find_webhook(
    tx: Tx, *, webhook_id: UUID, client_id: UUID | None, lock: bool = False
) -> WebhookRow | None:
    """Return an endpoint, of one client or (None) of any, locked if asked."""
    statement = select(WebhookRow).where(WebhookRow.id == webhook_id, WebhookRow.deleted_at.is_(None))
    if client_id is not None:
        statement = statement.where(WebhookRow.client_id == client_id)
    return await tx.session.scalar(statement.with_for_update(key_share=True) if lock else statement)


async def list_webhooks(tx: Tx, *, client_id: UUID | None, page: PageRequest) -> list[WebhookRow]:
    """Return one more than a page of endpoints, newest first."""
    statement = select(WebhookRow).where(WebhookRow.deleted_at.is_(None))
    if client_id is not None:
        statement = statement.where(WebhookRow.client_id == client_id)
    return await newest_first(tx, statement, WebhookRow.id, page)


async def count_webhooks(tx: Tx, client_id: UUID) -> int:
    """Count a client's endpoints."""
    statement = select(func.count()).where(WebhookRow.client_id == client_id, WebhookRow.deleted_at.is_(None))
    return await tx.session.scalar(statement) or 0


async def share_listeners(tx: Tx, client_ids: list[UUID]) -> list[Any]:
    """Return these clients' active endpoints (id, client_id, events); none is switched off meanwhile."""
    return await tx.raw.fetch(
        """
        SELECT id, client_id, events FROM webhooks WHERE client_id = ANY($1::uuid[]) AND active
        ORDER BY id FOR SHARE
        """,
        client_ids,
    )


# Deliveries, as they are shown.


async def find_delivery(
    tx: Tx, *, webhook_id: UUID, delivery_id: UUID, lock: bool = False
) -> DeliveryRow | None:
    """Return a delivery of an endpoint, locked if asked."""
    statement = select(DeliveryRow).where(DeliveryRow.id == delivery_id, DeliveryRow.webhook_id == webhook_id)
    return await tx.session.scalar(statement.with_for_update() if lock else statement)


async def list_deliveries(
    tx: Tx, *, webhook_id: UUID, state: DeliveryState | None, page: PageRequest
) -> list[DeliveryRow]:
    """Return one more than a page of an endpoint's deliveries, newest first."""
    statement = select(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id)
    if state is not None:
        statement = statement.where(DeliveryRow.state == state)
    return await newest_first(tx, statement, DeliveryRow.id, page)


async def load_attempts(tx: Tx, delivery_ids: Sequence[UUID], *, newest: int) -> dict[UUID, list[Any]]:
    """Return the newest attempts of each delivery, in order."""
    rows = await tx.raw.fetch(
        """
        SELECT made.* FROM unnest($1::uuid[]) AS wanted(id) CROSS JOIN LATERAL (
            SELECT * FROM webhook_attempts WHERE delivery_id = wanted.id ORDER BY number DESC LIMIT $2
        ) made ORDER BY made.delivery_id, made.number
        """,
        list(delivery_ids),
        newest,
    )
    found: dict[UUID, list[Any]] = {id_: [] for id_ in delivery_ids}
    for row in rows:
        found[row["delivery_id"]].append(row)
    return found


async def has_pending(tx: Tx, *, webhook_id: UUID, event_type: str) -> bool:
    """Tell whether a message of a type is on its way to an endpoint."""
    statement = select(DeliveryRow.id).where(
        DeliveryRow.webhook_id == webhook_id,
        DeliveryRow.event_type == event_type,
        DeliveryRow.state == DeliveryState.PENDING,
    )
    return await tx.session.scalar(statement.limit(1)) is not None


# Deliveries on their way.


async def insert_deliveries(tx: Tx, rows: Sequence[tuple[UUID, UUID, str, str]]) -> None:
    """Store deliveries (id, endpoint, type, body) that are due now."""
    await tx.execute_many(
        """
        INSERT INTO webhook_deliveries (id, webhook_id, event_type, body, state, created_at, next_attempt_at)
        VALUES ($1, $2, $3, $4, 'pending', $5, $5)
        """,
        [(*row, tx.now) for row in rows],
    )


async def next_due(tx: Tx) -> datetime | None:
    """Return when the next attempt is to be made."""
    found: datetime | None = await tx.raw.fetchval(
        """
        SELECT next_attempt_at FROM webhook_deliveries WHERE state = 'pending'
        ORDER BY next_attempt_at LIMIT 1
        """
    )
    return found


async def list_waiting(tx: Tx) -> list[Waiting]:
    """Return the endpoints with something due, those that wait longest first.

    Goes from endpoint to endpoint through the index: one with a long queue costs no more than another.
    """
    rows = await tx.raw.fetch(
        """
        WITH RECURSIVE queued AS (
            (SELECT webhook_id FROM webhook_deliveries WHERE state = 'pending' ORDER BY webhook_id LIMIT 1)
            UNION ALL
            SELECT (SELECT d.webhook_id FROM webhook_deliveries d
                    WHERE d.state = 'pending' AND d.webhook_id > queued.webhook_id
                    ORDER BY d.webhook_id LIMIT 1)
            FROM queued WHERE queued.webhook_id IS NOT NULL
        )
        SELECT w.id, w.client_id, w.failing_since IS NOT NULL AS failing
        FROM queued JOIN webhooks w ON w.id = queued.webhook_id AND w.active
        CROSS JOIN LATERAL (
            SELECT next_attempt_at FROM webhook_deliveries
            WHERE webhook_id = w.id AND state = 'pending' AND next_attempt_at <= $1
            ORDER BY next_attempt_at LIMIT 1
        ) oldest
        ORDER BY oldest.next_attempt_at, w.id
        """,
        tx.now,
    )
    return [Waiting(webhook_id=row["id"], client_id=row["client_id"], failing=row["failing"]) for row in rows]


async def claim(tx: Tx, places: Mapping[UUID, int], *, until: datetime) -> list[Any]:
    """Take due deliveries, so many of each endpoint: each counts an attempt and is due again at ``until``."""
    return await tx.raw.fetch(
        """
        UPDATE webhook_deliveries AS d
        SET attempts = d.attempts + 1, tries = d.tries + 1, next_attempt_at = $3
        FROM (
            SELECT due.id FROM unnest($1::uuid[], $2::int[]) AS wanted(webhook_id, places)
            CROSS JOIN LATERAL (
                SELECT id FROM webhook_deliveries
                WHERE webhook_id = wanted.webhook_id AND state = 'pending' AND next_attempt_at <= $4
                ORDER BY next_attempt_at, id LIMIT wanted.places FOR UPDATE SKIP LOCKED
            ) due
        ) AS picked, webhooks w
        WHERE d.id = picked.id AND w.id = d.webhook_id AND w.active
        RETURNING d.id, d.webhook_id, d.event_type, d.body, d.attempts, d.tries, w.client_id, w.url,
            w.failing_since IS NOT NULL AS failing, w.secret, w.previous_secret, w.previous_secret_until
        """,
        list(places.keys()),
        list(places.values()),
        until,
        tx.now,
    )


async def insert_attempt(
    tx: Tx, *, delivery_id: UUID, number: int, began: datetime, attempt: Attempt
) -> None:
    """Store what came of an attempt."""
    await tx.raw.execute(
        """
        INSERT INTO webhook_attempts (delivery_id, number, at, duration_ms, status, error, excerpt)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
        """,
        delivery_id,
        number,
        began,
        attempt.duration_ms,
        attempt.status,
        attempt.error,
        attempt.excerpt,
    )


async def fail_pending(tx: Tx, webhook_id: UUID) -> None:
    """Give up what is on its way to an endpoint, which the caller has locked."""
    await tx.raw.execute(
        """
        UPDATE webhook_deliveries SET state = 'failed', next_attempt_at = NULL
        WHERE webhook_id = $1 AND state = 'pending'
        """,
        webhook_id,
    )


# Removing what is old.

_ENDED_LONG_AGO = """
SELECT id FROM webhook_deliveries WHERE state <> 'pending' AND created_at < $1
ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
"""
_OF_DELETED = """
SELECT d.id FROM webhooks w JOIN webhook_deliveries d ON d.webhook_id = w.id
WHERE w.deleted_at IS NOT NULL AND w.deleted_at < $1 LIMIT $2 FOR UPDATE OF d SKIP LOCKED
"""


async def purge_ended(tx: Tx, *, before: datetime, limit: int) -> int:
    """Delete deliveries that ended and were made before a time; return how many."""
    return await _purge(tx, _ENDED_LONG_AGO, before, limit)


async def purge_deleted(tx: Tx, *, before: datetime, limit: int) -> int:
    """Delete deliveries of endpoints deleted before a time, then those endpoints; return how many."""
    deliveries = await _purge(tx, _OF_DELETED, before, limit)
    endpoints = await tx.raw.execute(
        """
        DELETE FROM webhooks w WHERE w.deleted_at IS NOT NULL AND w.deleted_at < $1
        AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE webhook_id = w.id)
        """,
        before,
    )
    return deliveries + int(endpoints.split()[-1])


async def _purge(tx: Tx, selection: str, before: datetime, limit: int) -> int:
    done = await tx.raw.execute(f"DELETE FROM webhook_deliveries WHERE id IN ({selection})", before, limit)
    return int(done.split()[-1])
