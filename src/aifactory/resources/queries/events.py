"""The events of executions: written in a sequence of each execution, read by whoever follows."""

from collections.abc import Collection
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import ClientId, ExecutionId
from aifactory.resources.events import LockedExecution, StoredEvent, Subject
from aifactory.resources.journal import write_journal
from aifactory.resources.records import Event


class FoundSubject(msgspec.Struct, frozen=True, kw_only=True):
    """An execution whose events are wanted: how far its sequence has come.

    ``ended``: what stands for the event of its end, if it has ended and the history is there no more.
    """

    subject: Subject
    newest: int
    ended: StoredEvent | None


Place = tuple[ExecutionId, int]  #: an execution and the last event that was read of it

_EVENT = "execution_id, seq, at, type, data"
_TELL = """
    WITH changed AS (
        UPDATE executions e SET state = n.state, event_seq = n.event_seq,
            started_at = coalesce(e.started_at, n.started_at)
        FROM json_to_recordset($1) AS n (id uuid, state text, event_seq bigint, started_at timestamptz)
        WHERE e.id = ANY(ARRAY[n.id])
    ), ending AS (
        INSERT INTO event_outbox (execution_id, seq, at) SELECT execution_id, seq, $3
        FROM json_to_recordset($2) AS n (execution_id uuid, seq bigint, final boolean) WHERE final
    )
    INSERT INTO execution_events (execution_id, seq, at, type, data) SELECT execution_id, seq, $3, type, data
    FROM json_to_recordset($2) AS n (execution_id uuid, seq bigint, type text, data jsonb)
    """


async def lock_running(tx: Tx, execution_ids: Collection[ExecutionId]) -> list[LockedExecution]:
    """Lock those executions that still run; one that is locked already is left out."""
    rows = await tx.raw.fetch(
        """
        SELECT id, state, event_seq, jobs_done, jobs_total, spent_nano FROM executions
        WHERE id = ANY($1) AND state = 'running' ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        """,
        list(execution_ids),
    )
    return [msgspec.convert(dict(row), LockedExecution) for row in rows]


async def tell(tx: Tx, executions: Collection[LockedExecution], events: Collection[Event]) -> None:
    """Write events of locked executions that are in no books, with their states and sequences."""
    if not events:
        return
    told = {event.execution_id for event in events}
    states = [
        {"id": one.id, "state": one.state, "event_seq": one.event_seq, "started_at": tx.now}
        for one in executions
        if one.id in told
    ]
    await tx.raw.execute(_TELL, encode_json(states), encode_json(events), tx.now)
    tell_of(tx, events)


async def insert_events(tx: Tx, events: Collection[Event]) -> None:
    """Write events, their sequence taken under the execution's lock; what ends an execution goes out too.

    Whoever follows these executions is told after commit, and the log too.
    """
    await tx.insert_rows(
        "execution_events",
        _EVENT,
        [(event.execution_id, event.seq, tx.now, event.type, encode_json(event.data)) for event in events],
    )
    await tx.insert_rows(
        "event_outbox",
        "execution_id, seq, at",
        [(event.execution_id, event.seq, tx.now) for event in events if event.final],
    )
    tell_of(tx, events)


def tell_of(tx: Tx, events: Collection[Event]) -> None:
    """Tell of events that this transaction stores, once it has been committed."""
    tx.tell("events", {event.execution_id for event in events})
    tx.after_commit(partial(write_journal, tuple(events)))


async def take_endings(tx: Tx, limit: int) -> list[tuple[StoredEvent, Subject]]:
    """Delete the oldest rows of the outbox that nobody else is taking, and return what they stand for."""
    rows = await tx.raw.fetch(
        """
        WITH taken AS (
            DELETE FROM event_outbox WHERE (execution_id, seq) IN (
                SELECT execution_id, seq FROM event_outbox ORDER BY at, execution_id LIMIT $1
                FOR UPDATE SKIP LOCKED)
            RETURNING execution_id, seq)
        SELECT v.execution_id, v.seq, v.at, v.type, v.data, e.request_id, e.client_id, e.template
        FROM taken JOIN execution_events v USING (execution_id, seq)
        JOIN executions e ON e.id = v.execution_id
        ORDER BY v.at, v.execution_id
        """,
        limit,
    )
    return [(_event(row), _subject(row)) for row in rows]


async def read_after(tx: Tx, places: Collection[Place], *, limit: int) -> dict[Place, list[StoredEvent]]:
    """Return, per place that has any, at most ``limit`` events after it, in order."""
    rows = await tx.raw.fetch(
        f"""
        SELECT place.last, v.* FROM unnest($1::uuid[], $2::bigint[]) AS place(id, last)
        CROSS JOIN LATERAL (
            SELECT {_EVENT} FROM execution_events
            WHERE execution_id = place.id AND seq > place.last ORDER BY seq LIMIT $3
        ) v
        ORDER BY v.execution_id, place.last, v.seq
        """,
        [place[0] for place in places],
        [place[1] for place in places],
        limit,
    )
    found: dict[Place, list[StoredEvent]] = {}
    for row in rows:
        found.setdefault((row["execution_id"], row["last"]), []).append(_event(row))
    return found


async def find_subject(
    tx: Tx, *, client_id: ClientId | None, execution_id: UUID | None, request_id: UUID | None
) -> FoundSubject | None:
    """Return an execution, or the latest of a request, of one client or of any."""
    column = "request_id" if execution_id is None else "id"
    row = await tx.raw.fetchrow(
        f"""
        SELECT id AS execution_id, request_id, client_id, template, state, event_seq, finished_at
        FROM executions
        WHERE {column} = $1 AND ($2::uuid IS NULL OR client_id = $2) ORDER BY id DESC LIMIT 1
        """,
        execution_id or request_id,
        client_id,
    )
    if row is None:
        return None
    ended = None
    if row["finished_at"] is not None:
        ended = StoredEvent(
            execution_id=row["execution_id"],
            seq=row["event_seq"],
            at=row["finished_at"],
            type=f"execution.{row['state']}",
            data={"state": row["state"]},
        )
    return FoundSubject(subject=_subject(row), newest=row["event_seq"], ended=ended)


async def find_last(tx: Tx, execution_id: ExecutionId) -> StoredEvent | None:
    """Return an execution's newest event."""
    row = await tx.raw.fetchrow(
        f"SELECT {_EVENT} FROM execution_events WHERE execution_id = $1 ORDER BY seq DESC LIMIT 1",
        execution_id,
    )
    return None if row is None else _event(row)


def _event(row: Any) -> StoredEvent:
    return StoredEvent(
        execution_id=row["execution_id"], seq=row["seq"], at=row["at"], type=row["type"], data=row["data"]
    )


def _subject(row: Any) -> Subject:
    return Subject(
        execution_id=row["execution_id"],
        request_id=row["request_id"],
        client_id=row["client_id"],
        template=row["template"],
    )
