"""Load the books of executions under their locks, and write them back."""

from copy import copy
from functools import partial
from typing import Any

from msgspec.structs import replace

from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ExecutionId, JobId, StageId
from aifactory.resources.books import Books
from aifactory.resources.ledger import ACCOUNTS
from aifactory.resources.metrics import count_books
from aifactory.resources.queries import attempts, budgets, circuits, control, events, queue, quotas, rollups
from aifactory.resources.queries.book_rows import (
    EXECUTION,
    JOB,
    LINE,
    STAGE,
    execution_of,
    job_of,
    job_result,
    job_values,
    json_or_null,
    stage_of,
)
from aifactory.resources.records import JobBook, LineBook, StageBook
from aifactory.resources.rollup import roll_up


async def executions_of_jobs(tx: Tx, job_ids: list[JobId]) -> list[ExecutionId]:
    """Return the executions that jobs belong to."""
    rows = await tx.raw.fetch("SELECT DISTINCT execution_id FROM jobs WHERE id = ANY($1)", job_ids)
    return [row["execution_id"] for row in rows]


async def load_books(tx: Tx, execution_ids: list[ExecutionId], job_ids: list[JobId]) -> Books:
    """Lock executions, then their budgets, and load their stages, open lines and the named jobs."""
    books = Books(now=tx.now, prices=await control.prices(tx), routes={})
    for row in await tx.raw.fetch(
        f"SELECT {EXECUTION} FROM executions WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        execution_ids,
    ):
        execution = execution_of(row)
        books.executions[execution.id] = execution
    for row in await tx.raw.fetch(
        f"SELECT {STAGE} FROM stage_executions WHERE execution_id = ANY($1)", execution_ids
    ):
        stage = stage_of(row)
        books.stages[stage.id], books.stored_stages[stage.id] = stage, copy(stage)
    for row in await tx.raw.fetch(
        f"SELECT {LINE} FROM execution_lines WHERE execution_id = ANY($1)", execution_ids
    ):
        line = LineBook(**dict(row))
        key = line.execution_id, line.stage_ordinal, line.kind
        books.lines[key], books.stored_remaining[key] = line, line.remaining
    books.add_routes(await control.routes(tx, {line.route_id for line in books.lines.values()}))
    await load_jobs(tx, books, job_ids)
    keys = sorted({key for execution in books.executions.values() for key in execution.budget_ids})
    books.budgets = {budget.id: budget for budget in await budgets.lock_budgets(tx, keys)}
    return books


async def load_jobs(tx: Tx, books: Books, job_ids: list[JobId]) -> None:
    """Add jobs to books that hold their executions."""
    await _add_jobs(tx, books, await tx.raw.fetch(f"SELECT {JOB} FROM jobs WHERE id = ANY($1)", job_ids))


async def load_open_jobs(tx: Tx, books: Books) -> None:
    """Add every job of the books' executions that is not final."""
    rows = await tx.raw.fetch(
        f"SELECT {JOB} FROM jobs WHERE execution_id = ANY($1) AND finished_at IS NULL",
        list(books.executions),
    )
    await _add_jobs(tx, books, rows)


async def _add_jobs(tx: Tx, books: Books, rows: list[Any]) -> None:
    books.add_routes(await control.routes(tx, {row["route_id"] for row in rows}))
    for row in rows:
        books.jobs.setdefault(row["id"], job_of(row))


async def ended_jobs(tx: Tx, stage_ids: list[StageId]) -> dict[StageId, list[JobBook]]:
    """Return the final jobs of stages, oldest first."""
    rows = await tx.raw.fetch(
        f"SELECT {JOB} FROM jobs WHERE stage_id = ANY($1) AND finished_at IS NOT NULL ORDER BY id", stage_ids
    )
    ended: dict[StageId, list[JobBook]] = {stage_id: [] for stage_id in stage_ids}
    for row in rows:
        ended[row["stage_id"]].append(job_of(row))
    return ended


async def write_books(tx: Tx, books: Books) -> None:
    """Write everything that was decided on stored executions, in the order in which locks are taken."""
    await tx.insert_rows("jobs", JOB, [job_values(job) for job in books.new_jobs.values()])
    await _update_facts(tx, books)
    await _insert_history(tx, books)
    await update_budgets(tx, books)
    await queue.change_pools(tx, books.units.pools_to_write())
    await circuits.heed(tx, books.answers)
    await queue.enqueue(tx, books)
    await queue.remove(tx, books.unqueued)
    await queue.end_runs(tx, [run.token for run in books.ended_runs])
    await queue.correct_usage(tx, books.units.usage)
    await quotas.correct(tx, books.units.quotas)
    await rollups.add(tx, roll_up(books))
    tx.after_commit(partial(count_books, books))


async def _update_facts(tx: Tx, books: Books) -> None:
    await _update_executions(tx, books)
    await _update_stages(tx, books)
    await _update_lines(tx, books)
    await _update_jobs(tx, books)


async def _update_executions(tx: Tx, books: Books) -> None:
    await tx.execute_set(
        """
        UPDATE executions e SET state = n.state, held_nano = n.held_nano, free_hold_nano = n.free_hold_nano,
            spent_nano = n.spent_nano, event_seq = n.event_seq, reasons = n.reasons, result = n.result,
            started_at = n.started_at, finished_at = n.finished_at, jobs_done = n.jobs_done,
            jobs_total = n.jobs_total, releases = n.releases
        FROM json_to_recordset($1) AS n (id uuid, state text, held_nano bigint, free_hold_nano bigint,
            spent_nano bigint, event_seq bigint, reasons jsonb, result jsonb, started_at timestamptz,
            finished_at timestamptz, jobs_done integer, jobs_total integer, releases bigint)
        WHERE e.id = ANY(ARRAY[n.id])
        """,
        [
            {
                "id": e.id,
                "state": e.state,
                "held_nano": e.held_nano,
                "free_hold_nano": e.free_hold_nano,
                "spent_nano": e.spent_nano,
                "event_seq": e.event_seq,
                "reasons": e.reasons,
                "result": e.result,
                "started_at": e.started_at,
                "finished_at": e.finished_at,
                "jobs_done": e.jobs_done,
                "jobs_total": e.jobs_total,
                "releases": e.releases,
            }
            for e in books.executions.values()
        ],
    )


async def _update_stages(tx: Tx, books: Books) -> None:
    """Write stages; of one that goes on, only the count: its inputs and outputs may be large."""
    counted: list[StageBook] = []
    changed: list[StageBook] = []
    for stage in books.stages.values():
        if stage != (stored := books.stored_stages[stage.id]):
            same = replace(stored, open_jobs=stage.open_jobs) == stage
            (counted if same else changed).append(stage)
    await tx.execute_set(
        """
        UPDATE stage_executions s SET open_jobs = n.open_jobs
        FROM json_to_recordset($1) AS n (id uuid, open_jobs integer)
        WHERE s.id = ANY(ARRAY[n.id])
        """,
        [{"id": stage.id, "open_jobs": stage.open_jobs} for stage in counted],
    )
    await tx.execute_set(
        """
        UPDATE stage_executions s SET state = n.state, phase = n.phase, open_jobs = n.open_jobs,
            inputs = n.inputs, outputs = n.outputs, reasons = n.reasons, started_at = n.started_at,
            finished_at = n.finished_at
        FROM json_to_recordset($1) AS n (id uuid, state text, phase text, open_jobs integer, inputs jsonb,
            outputs jsonb, reasons jsonb, started_at timestamptz, finished_at timestamptz)
        WHERE s.id = ANY(ARRAY[n.id])
        """,
        [
            {
                "id": s.id,
                "state": s.state,
                "phase": s.phase,
                "open_jobs": s.open_jobs,
                "inputs": s.inputs,
                "outputs": s.outputs,
                "reasons": s.reasons,
                "started_at": s.started_at,
                "finished_at": s.finished_at,
            }
            for s in changed
        ],
    )


async def _update_lines(tx: Tx, books: Books) -> None:
    await tx.execute_set(
        """
        UPDATE execution_lines l SET remaining = n.remaining
        FROM json_to_recordset($1)
            AS n (execution_id uuid, stage_ordinal smallint, kind text, remaining integer)
        WHERE l.execution_id = ANY(ARRAY[n.execution_id]) AND l.stage_ordinal = n.stage_ordinal
            AND l.kind = n.kind
        """,
        [
            {
                "execution_id": line.execution_id,
                "stage_ordinal": line.stage_ordinal,
                "kind": line.kind,
                "remaining": line.remaining,
            }
            for key, line in books.lines.items()
            if line.remaining != books.stored_remaining[key]
        ],
    )


async def _update_jobs(tx: Tx, books: Books) -> None:
    await tx.execute_set(
        """
        UPDATE jobs j SET state = n.state, attempt = n.attempt, losses = n.losses, crashes = n.crashes,
            route_id = n.route_id, hold_nano = n.hold_nano, cost_nano = n.cost_nano, result = n.result,
            error = n.error, started_at = n.started_at, finished_at = n.finished_at
        FROM json_to_recordset($1) AS n (id uuid, state text, attempt smallint, losses smallint,
            crashes smallint, route_id bigint, hold_nano bigint, cost_nano bigint, result jsonb, error jsonb,
            started_at timestamptz, finished_at timestamptz)
        WHERE j.id = ANY(ARRAY[n.id])
        """,
        [
            {
                "id": j.id,
                "state": j.state,
                "attempt": j.attempt,
                "losses": j.losses,
                "crashes": j.crashes,
                "route_id": j.route_id,
                "hold_nano": j.hold_nano,
                "cost_nano": j.cost_nano,
                "result": job_result(j),
                "error": j.fault,
                "started_at": j.started_at,
                "finished_at": j.finished_at,
            }
            for j in books.jobs.values()
            if j.id not in books.new_jobs
        ],
    )


async def _insert_history(tx: Tx, books: Books) -> None:
    await attempts.record_ends(tx, books)
    await tx.insert_rows(
        "cost_tracking",
        """at, client_id, execution_id, subject_id, attempt, kind, from_account, to_account, amount_nano,
        budget_ids, provider, model, pool, usage, price""",
        [
            (
                books.now,
                entry.client_id,
                entry.execution_id,
                entry.subject_id,
                entry.attempt,
                entry.kind,
                *ACCOUNTS[entry.kind],
                entry.amount_nano,
                entry.budget_ids,
                entry.hop and entry.hop.provider,
                entry.hop and entry.hop.model,
                entry.hop and entry.hop.pool,
                json_or_null(entry.usage),
                json_or_null(entry.price),
            )
            for entry in books.entries
        ],
    )
    await events.insert_events(tx, books.events)


async def update_budgets(tx: Tx, books: Books) -> None:
    """Write what changed on the books' budgets."""
    await tx.execute_set(
        """
        UPDATE budgets b SET held_nano = b.held_nano + n.held_nano, spent_nano = b.spent_nano + n.spent_nano,
            unfinished = b.unfinished + n.unfinished
        FROM json_to_recordset($1)
            AS n (id uuid, held_nano bigint, spent_nano bigint, unfinished integer)
        WHERE b.id = ANY(ARRAY[n.id])
        """,
        [
            {
                "id": budget.id,
                "held_nano": budget.held_change,
                "spent_nano": budget.spent_change,
                "unfinished": budget.unfinished_change,
            }
            for budget in books.budgets.values()
            if budget.held_change or budget.spent_change or budget.unfinished_change
        ],
    )
