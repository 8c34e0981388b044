"""The SQL of retention and erasure: what is due, and what is left of it. Figures are never touched.

Every column that is changed here has its fate in ``resources.fates``.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, DataId, ExecutionId, RequestId
from aifactory.resources.interface import ErasedExecution, Term

ROUND_EVERY = timedelta(seconds=55)

# Whose content is due, and from when back: $1 is now.
_KEPT_FROM = "$1::timestamptz - make_interval(hours => 24 * t.retention_days)"
_LIMITED = """
    client_resource_limits c JOIN tiers t USING (tier)"""
# Who is erased has no inputs any more.
_USED = """
    SELECT FROM stage_executions s
    WHERE s.inputs ->> 'source' = d.id::text AND s.inputs ->> 'source' IS NOT NULL"""
_HAS_TERM = "(t.retention_days IS NOT NULL OR c.erase_before IS NOT NULL)"


async def take_round(tx: Tx) -> bool:
    """Tell whether this process is to look for what is due: one of all processes does, once a minute."""
    done = await tx.raw.execute(
        """
        UPDATE retention_rounds SET began_at = $1
        WHERE began_at IS NULL OR began_at <= $2 OR began_at > $1
        """,
        tx.now,
        tx.now - ROUND_EVERY,
    )
    return done.endswith(" 1")


async def load_terms(tx: Tx, client_id: ClientId | None) -> list[Term]:
    """Return the terms of the clients that have any, or of one client."""
    rows = await tx.raw.fetch(
        f"""
        SELECT c.client_id, {_KEPT_FROM} AS kept_from, c.erase_before FROM {_LIMITED}
        WHERE {_HAS_TERM} AND ($2::uuid IS NULL OR c.client_id = $2)
        """,
        tx.now,
        client_id,
    )
    return [Term(**dict(row)) for row in rows]


# Orders.


async def lock_order(tx: Tx, client_id: ClientId) -> Any:
    """Lock a client's limits; return until when its content was erased before (one row), or None."""
    return await tx.raw.fetchrow(
        "SELECT erase_before, cancel_before FROM client_resource_limits WHERE client_id = $1 FOR UPDATE",
        client_id,
    )


async def unfinished_of(tx: Tx, client_id: ClientId) -> int:
    """Return how many executions of a client have not ended, as its budgets count them."""
    found: int = await tx.raw.fetchval(
        """
        SELECT coalesce(sum(unfinished), 0)::bigint FROM budgets WHERE client_id = $1 AND scope = 'client'
        """,
        client_id,
    )
    return found


async def order(tx: Tx, client_id: ClientId, *, cancel: bool) -> None:
    """Have everything erased that a client has now, and what is unfinished of it cancelled if asked."""
    await tx.raw.execute(
        """
        UPDATE client_resource_limits
        SET erase_before = $2, cancel_before = CASE WHEN $3 THEN $2 ELSE cancel_before END
        WHERE client_id = $1
        """,
        client_id,
        tx.now,
        cancel,
    )


async def has_left(tx: Tx, client_id: ClientId) -> bool:
    """Tell whether an execution from before a client's erasure still has its content."""
    found: bool = await tx.raw.fetchval(
        """
        SELECT EXISTS (SELECT FROM client_resource_limits c JOIN executions e USING (client_id)
            WHERE c.client_id = $1 AND e.erased_at IS NULL AND e.created_at <= c.erase_before)
        """,
        client_id,
    )
    return found


# Executions.


async def due_executions(tx: Tx, client_id: ClientId | None, limit: int) -> list[Any]:
    """Return executions (id, request_id, erasure) to be erased or, if not ``final``, cancelled first.

    One index probe for each client that has a term.
    """
    return await tx.raw.fetch(
        f"""
        SELECT due.id, due.request_id, due.finished_at IS NOT NULL AS final,
               CASE WHEN due.created_at <= c.erase_before THEN 'request' ELSE 'retention' END AS erasure
        FROM {_LIMITED} CROSS JOIN LATERAL (
            SELECT e.id, e.request_id, e.created_at, e.finished_at FROM executions e
            WHERE e.client_id = c.client_id AND e.erased_at IS NULL
              AND e.created_at <= greatest(c.erase_before, {_KEPT_FROM})
              AND (e.finished_at <= {_KEPT_FROM} OR e.created_at <= c.cancel_before
                   OR (e.finished_at IS NOT NULL AND e.created_at <= c.erase_before))
            ORDER BY e.created_at LIMIT $2
        ) due
        WHERE {_HAS_TERM} AND ($3::uuid IS NULL OR c.client_id = $3)
        LIMIT $2
        """,
        tx.now,
        limit,
        client_id,
    )


async def lock_unerased(tx: Tx, execution_ids: Sequence[ExecutionId]) -> set[ExecutionId]:
    """Lock those executions that are final and have their content, and return them."""
    rows = await tx.raw.fetch(
        """
        SELECT id FROM executions WHERE id = ANY($1) AND erased_at IS NULL AND finished_at IS NOT NULL
        ORDER BY id FOR NO KEY UPDATE
        """,
        list(execution_ids),
    )
    return {row["id"] for row in rows}


async def requests_kept(tx: Tx, request_ids: Sequence[RequestId]) -> set[RequestId]:
    """Return those requests that have an execution with its content."""
    rows = await tx.raw.fetch(
        "SELECT DISTINCT request_id FROM executions WHERE request_id = ANY($1) AND erased_at IS NULL",
        list(request_ids),
    )
    return {row["request_id"] for row in rows}


async def stored_for(tx: Tx, execution_ids: Sequence[ExecutionId]) -> tuple[list[DataId], list[DataId]]:
    """Return what stages of executions worked from, and what their jobs had stored."""
    sources = await tx.raw.fetch(
        """
        SELECT DISTINCT (inputs ->> 'source')::uuid AS id FROM stage_executions
        WHERE execution_id = ANY($1) AND inputs ->> 'source' IS NOT NULL
        """,
        list(execution_ids),
    )
    steps = await tx.raw.fetch(
        """
        SELECT DISTINCT a.value::uuid AS id FROM stage_executions s JOIN jobs j ON j.stage_id = s.id
        CROSS JOIN LATERAL jsonb_each_text(j.result -> 'artifacts') a WHERE s.execution_id = ANY($1)
        """,
        list(execution_ids),
    )
    return [row["id"] for row in sources], [row["id"] for row in steps]


_CODES_ALONE = """
    (SELECT coalesce(jsonb_agg(jsonb_build_object('code', r -> 'code', 'message', '')), '[]')
     FROM jsonb_array_elements(reasons) r)"""


async def erase_executions(tx: Tx, executions: Sequence[ErasedExecution]) -> None:
    """Mark locked executions as erased and blank them, their stages and jobs; the last event is left."""
    ids = [one.id for one in executions]
    await tx.raw.execute(
        f"""
        UPDATE executions e SET erased_at = $1, erasure = due.erasure, input = '{{}}', metadata = '{{}}',
            result = NULL, reasons = {_CODES_ALONE}
        FROM unnest($2::uuid[], $3::text[]) AS due(id, erasure) WHERE e.id = due.id
        """,
        tx.now,
        ids,
        [one.erasure.value for one in executions],
    )
    await tx.raw.execute(
        f"""
        UPDATE stage_executions SET inputs = '{{}}', outputs = NULL, reasons = {_CODES_ALONE},
            spec = spec - '{{paramsOverride,condition,inputMapping}}'::text[],
            resolved = resolved || '{{"parameters": {{}}, "settings": {{}}}}'
        WHERE execution_id = ANY($1)
        """,
        ids,
    )
    await tx.raw.execute(
        """
        UPDATE jobs j SET payload = '{}', data = '{}', result = NULL,
            error = CASE WHEN error IS NOT NULL
                THEN jsonb_build_object('code', error -> 'code', 'message', '') END
        FROM stage_executions s WHERE s.execution_id = ANY($1) AND j.stage_id = s.id
        """,
        ids,
    )
    await tx.raw.execute(
        """
        DELETE FROM execution_events v USING executions e
        WHERE e.id = ANY($1) AND v.execution_id = e.id AND v.seq < e.event_seq
        """,
        ids,
    )


# Stored data.


async def due_uploads(tx: Tx, client_id: ClientId | None, limit: int, kept: timedelta) -> list[DataId]:
    """Return uploads that are due; ``kept``: how long one is kept after its last use."""
    rows = await tx.raw.fetch(
        f"""
        SELECT due.id FROM {_LIMITED} CROSS JOIN LATERAL (
            SELECT d.id, d.created_at FROM data_references d
            WHERE d.client_id = c.client_id AND d.kind = 'upload' AND d.erased_at IS NULL
              AND d.created_at <= greatest(c.erase_before, {_KEPT_FROM})
              AND (d.created_at <= c.erase_before OR d.expires_at <= {_KEPT_FROM} + $4::interval)
              AND NOT EXISTS ({_USED})
            ORDER BY d.created_at LIMIT $2
        ) due
        WHERE {_HAS_TERM} AND ($3::uuid IS NULL OR c.client_id = $3)
        LIMIT $2
        """,
        tx.now,
        limit,
        client_id,
        kept,
    )
    return [row["id"] for row in rows]


async def lock_data(tx: Tx, data_ids: Sequence[DataId]) -> list[DataId]:
    """Lock stored data that has its content, so that no submission takes it; waits for those that do."""
    rows = await tx.raw.fetch(
        "SELECT id FROM data_references WHERE id = ANY($1) AND erased_at IS NULL ORDER BY id FOR UPDATE",
        sorted(set(data_ids)),
    )
    return [row["id"] for row in rows]


async def unused(tx: Tx, data_ids: Sequence[DataId]) -> set[DataId]:
    """Return those of some locked data that no execution works from or could be retried with."""
    rows = await tx.raw.fetch(
        f"""
        SELECT d.id FROM unnest($1::uuid[]) AS d(id)
        WHERE NOT EXISTS ({_USED})
        """,
        list(data_ids),
    )
    return {row["id"] for row in rows}


async def delete_steps(tx: Tx, data_ids: Sequence[DataId]) -> None:
    """Delete results of steps."""
    await tx.raw.execute("DELETE FROM data_references WHERE id = ANY($1) AND kind = 'step'", list(data_ids))


async def blank_data(tx: Tx, data_ids: Sequence[DataId]) -> int:
    """Empty locked data; return how many. Size, words and times stay, the name and the checksum don't."""
    done = await tx.raw.execute(
        """
        UPDATE data_references d SET erased_at = $2, content = '', encoding = 'identity', name = '',
            sha256 = '',
            erasure = CASE WHEN d.created_at <= c.erase_before THEN 'request' ELSE 'retention' END
        FROM client_resource_limits c
        WHERE d.id = ANY($1) AND d.kind <> 'step' AND c.client_id = d.client_id
        """,
        list(data_ids),
        tx.now,
    )
    return int(done.split()[-1])


async def forget_answers(tx: Tx, client_id: ClientId) -> None:
    """Delete the cached answers to a client's prompts from before its erasure."""
    await tx.raw.execute(
        """
        DELETE FROM response_cache r USING client_resource_limits c
        WHERE r.client_id = $1 AND c.client_id = $1 AND r.created_at <= c.erase_before
        """,
        client_id,
    )
