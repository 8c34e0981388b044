"""The SQL of erasing what accounts keep: requests, webhooks' messages. No decisions."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from aifactory.accounts.webhook_rules import ERASED_BODY
from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, DataId, RequestId
from aifactory.resources.interface import Term

_DUE = "unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS term(client_id, due_before, erase_before)"


def _columns(terms: Sequence[Term]) -> tuple[list[Any], ...]:
    return (
        [term.client_id for term in terms],
        [term.due_before for term in terms],
        [term.erase_before for term in terms],
    )


async def lock_requests(tx: Tx, request_ids: Sequence[RequestId]) -> list[RequestId]:
    """Lock requests that have their content, in the order of their ids; waits for who submits them."""
    rows = await tx.raw.fetch(
        "SELECT id FROM client_requests WHERE id = ANY($1) AND erased_at IS NULL ORDER BY id FOR UPDATE",
        list(request_ids),
    )
    return [row["id"] for row in rows]


async def lock_drafts(tx: Tx, terms: Sequence[Term], limit: int) -> dict[RequestId, str]:
    """Lock drafts that are due and that nobody is submitting; return why each is to be erased."""
    rows = await tx.raw.fetch(
        f"""
        SELECT due.id,
               CASE WHEN due.created_at <= term.erase_before THEN 'request' ELSE 'retention' END AS why
        FROM {_DUE} CROSS JOIN LATERAL (
            SELECT id, created_at FROM client_requests r
            WHERE r.client_id = term.client_id AND NOT r.executed AND r.erased_at IS NULL
              AND r.created_at <= term.due_before
            ORDER BY created_at LIMIT $4 FOR UPDATE SKIP LOCKED
        ) due LIMIT $4
        """,
        *_columns(terms),
        limit,
    )
    return {row["id"]: row["why"] for row in rows}


async def erase_requests(tx: Tx, erasures: Mapping[RequestId, str]) -> list[DataId]:
    """Blank locked requests, each for its reason; return the sources that they named."""
    rows = await tx.raw.fetch(
        """
        UPDATE client_requests r SET erased_at = $1, erasure = due.erasure, parameters = '{}',
            metadata = '{}', flow = NULL, source_data_id = NULL
        FROM unnest($2::uuid[], $3::text[]) AS due(id, erasure)
        JOIN client_requests old ON old.id = due.id
        WHERE r.id = due.id RETURNING old.source_data_id
        """,
        tx.now,
        list(erasures.keys()),
        list(erasures.values()),
    )
    return [row["source_data_id"] for row in rows if row["source_data_id"] is not None]


async def sources_named(tx: Tx, data_ids: Sequence[DataId]) -> set[DataId]:
    """Return those of some stored data that a request names as its source."""
    rows = await tx.raw.fetch(
        "SELECT DISTINCT source_data_id AS id FROM client_requests WHERE source_data_id = ANY($1)",
        list(data_ids),
    )
    return {row["id"] for row in rows}


async def erase_deliveries(tx: Tx, terms: Sequence[Term], limit: int) -> int:
    """Erase messages that are due, and what endpoints answered; what was not sent yet is given up."""
    rows = await tx.raw.fetch(
        f"""
        SELECT due.id FROM {_DUE}
        JOIN webhooks w ON w.client_id = term.client_id AND w.deleted_at IS NULL
        CROSS JOIN LATERAL (
            SELECT id FROM webhook_deliveries d
            WHERE d.webhook_id = w.id AND d.body <> '{ERASED_BODY}' AND d.created_at <= term.due_before
            ORDER BY d.created_at LIMIT $4 FOR UPDATE SKIP LOCKED
        ) due LIMIT $4
        """,
        *_columns(terms),
        limit,
    )
    ids = [row["id"] for row in rows]
    if ids:
        await tx.raw.execute(
            f"""
            UPDATE webhook_deliveries SET body = '{ERASED_BODY}', next_attempt_at = NULL,
                state = CASE state WHEN 'pending' THEN 'failed' ELSE state END
            WHERE id = ANY($1)
            """,
            ids,
        )
        await tx.raw.execute("UPDATE webhook_attempts SET excerpt = '' WHERE delivery_id = ANY($1)", ids)
    return len(ids)


async def users_of(tx: Tx, client_id: ClientId) -> list[UUID]:
    """Return the users of a client."""
    rows = await tx.raw.fetch("SELECT id FROM users WHERE client_id = $1", client_id)
    return [row["id"] for row in rows]
