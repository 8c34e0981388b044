"""Store new executions with all that belongs to them and queue their first jobs, in one statement.

A statement for each table would be seven round trips, by COPY twice as many; rows are read from JSON, into
which the books are encoded as they are.
"""

from functools import partial
from typing import Any

import msgspec

from aifactory.kernel.db import Tx, encode_json
from aifactory.resources.books import Books
from aifactory.resources.ledger import ACCOUNTS, Entry
from aifactory.resources.metrics import count_books
from aifactory.resources.queries import events, queue
from aifactory.resources.queries.books import update_budgets

_EXECUTIONS = """
    id uuid, request_id uuid, client_id uuid, key_id uuid, template text, template_version integer,
    state text, urgency text, queue text, accuracy text, input jsonb, metadata jsonb, budget_ids uuid[],
    estimated_nano bigint, held_nano bigint, free_hold_nano bigint, spent_nano bigint, event_seq bigint,
    releases bigint, jobs_done integer, jobs_total integer, reasons jsonb, result jsonb,
    created_at timestamptz, aged_from timestamptz, deadline timestamptz, started_at timestamptz,
    finished_at timestamptz"""
_STAGES = """
    id uuid, execution_id uuid, ordinal smallint, worker text, action text, spec jsonb, resolved jsonb,
    state text, phase text, open_jobs integer, inputs jsonb, outputs jsonb, reasons jsonb,
    started_at timestamptz, finished_at timestamptz"""
_LINES = """
    execution_id uuid, stage_ordinal smallint, kind text, phase text, count integer, remaining integer,
    route_id bigint, input_bound bigint, output_limit bigint, worst_nano bigint, needs jsonb"""
_JOBS = """
    id uuid, stage_id uuid, execution_id uuid, client_id uuid, worker text, kind text, line text, state text,
    attempt smallint, max_attempts smallint, losses smallint, crashes smallint, timeout_seconds integer,
    route_id bigint, input_bound bigint, output_limit bigint, needs jsonb, hold_nano bigint, cost_nano bigint,
    payload jsonb, data jsonb, created_at timestamptz, started_at timestamptz, finished_at timestamptz"""
_ENTRIES = """
    client_id uuid, execution_id uuid, subject_id uuid, attempt integer, kind text, from_account text,
    to_account text, amount_nano bigint, budget_ids uuid[]"""
_EVENTS = "execution_id uuid, seq bigint, type text, data jsonb"


def _names(columns: str) -> str:
    return ", ".join(column.split()[0] for column in columns.split(","))


def _insert(table: str, columns: str, number: int, more: str = "", values: str = "") -> str:
    """Return what inserts the rows of a parameter, with more columns that have other values."""
    names = _names(columns)
    return f"""
        INSERT INTO {table} ({names}{more}) SELECT {names}{values}
        FROM json_to_recordset(${number}) AS n ({columns}"""


_STORE = f"""
    WITH new_executions AS ({_insert("executions", _EXECUTIONS, 1)})),
    new_stages AS ({_insert("stage_executions", _STAGES, 2)})),
    new_lines AS ({_insert("execution_lines", _LINES, 3)})),
    new_jobs AS ({_insert("jobs", _JOBS, 4, ", error", ", fault")}, fault jsonb)),
    new_entries AS ({_insert("cost_tracking", _ENTRIES, 5, ", at", ", $8")})),
    new_events AS ({_insert("execution_events", _EVENTS, 6, ", at", ", $8")}))
    {queue.INSERT_READY} FROM json_to_recordset($7) AS n ({queue.READY})
    """


async def write(tx: Tx, books: Books) -> None:
    """Write books of new executions only, their holds taken before, in the order of locks."""
    await update_budgets(tx, books)
    ready = await queue.ready_rows(tx, books)
    rows = (
        books.new_executions,
        books.new_stages,
        books.new_lines,
        list(books.new_jobs.values()),
        [_entry(entry) for entry in books.entries],
        books.events,
        ready,
    )
    await tx.raw.execute(_STORE, *map(encode_json, rows), tx.now)
    await queue.enqueue_later(tx, books)
    events.tell_of(tx, books.events)
    tx.after_commit(partial(count_books, books))


def _entry(entry: Entry) -> dict[str, Any]:
    """Return a hold, or the release of a stage that is not wanted; neither is about a call."""
    from_account, to_account = ACCOUNTS[entry.kind]
    return {**msgspec.structs.asdict(entry), "from_account": from_account, "to_account": to_account}
