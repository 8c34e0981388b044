"""Load the books of executions under their locks, and write them back."""

from functools import partial
from uuid import UUID

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import ExecutionId, JobId
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
    execution_values,
    job_of,
    job_result,
    job_values,
    json_or_null,
    line_values,
    stage_of,
    stage_values,
)
from aifactory.resources.records import JobBook, LineBook
from aifactory.resources.rollup import roll_up


async def executions_of_jobs(tx: Tx, job_ids: list[JobId]) -> list[ExecutionId]:
    """Return the executions that jobs belong to."""
    rows = await tx.raw.fetch("SELECT DISTINCT execution_id FROM jobs WHERE id = ANY($1)", job_ids)
    return [row["execution_id"] for row in rows]


async def load_books(tx: Tx, execution_ids: list[ExecutionId], job_ids: list[JobId]) -> Books:
    """Lock executions, then their budgets, and load their stages, open lines and the named jobs."""
    prices, routes = await control.prices(tx), await control.routes(tx)
    books = Books(now=tx.now, prices=prices, routes=routes)
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
        books.stages[stage.id] = stage
    for row in await tx.raw.fetch(
        f"SELECT {LINE} FROM execution_lines WHERE execution_id = ANY($1)", execution_ids
    ):
        line = LineBook(**dict(row))
        books.lines[line.execution_id, line.stage_ordinal, line.kind] = line
    await load_jobs(tx, books, job_ids)
    keys = sorted({key for execution in books.executions.values() for key in execution.budget_ids})
    books.budgets = {budget.id: budget for budget in await budgets.lock_budgets(tx, keys)}
    return books


async def load_jobs(tx: Tx, books: Books, job_ids: list[JobId]) -> None:
    """Add jobs to books that hold their executions."""
    for row in await tx.raw.fetch(f"SELECT {JOB} FROM jobs WHERE id = ANY($1)", job_ids):
        job = job_of(row)
        books.jobs.setdefault(job.id, job)


async def load_open_jobs(tx: Tx, books: Books) -> None:
    """Add every job of the books' executions that is not final."""
    rows = await tx.raw.fetch(
        f"SELECT {JOB} FROM jobs WHERE execution_id = ANY($1) AND finished_at IS NULL",
        list(books.executions),
    )
    for row in rows:
        job = job_of(row)
        books.jobs.setdefault(job.id, job)


async def ended_jobs(tx: Tx, stage_id: UUID) -> list[JobBook]:
    """Return the final jobs of a stage, oldest first."""
    rows = await tx.raw.fetch(
        f"SELECT {JOB} FROM jobs WHERE stage_id = $1 AND finished_at IS NOT NULL ORDER BY id", stage_id
    )
    return [job_of(row) for row in rows]


async def write_books(tx: Tx, books: Books) -> None:
    """Write everything that was decided, in the order in which locks are taken."""
    await _insert_new(tx, books)
    await _update_facts(tx, books)
    await _insert_history(tx, books)
    await _update_budgets(tx, books)
    await queue.change_pools(tx, books.units.pools_to_write())
    await circuits.heed(tx, books.answers)
    await queue.enqueue(tx, books)
    await queue.remove(tx, books.unqueued)
    await queue.end_runs(tx, [run.token for run in books.ended_runs])
    await queue.correct_usage(tx, books.units.usage)
    await quotas.correct(tx, books.units.quotas)
    await rollups.add(tx, roll_up(books))
    tx.after_commit(partial(count_books, books))


async def _insert_new(tx: Tx, books: Books) -> None:
    for execution in books.new_executions:
        await tx.raw.execute(
            f"INSERT INTO executions ({EXECUTION}) VALUES ({_marks(EXECUTION)})", *execution_values(execution)
        )
    await tx.execute_many(
        f"INSERT INTO stage_executions ({STAGE}) VALUES ({_marks(STAGE)})",
        [stage_values(stage) for stage in books.new_stages],
    )
    await tx.execute_many(
        f"INSERT INTO execution_lines ({LINE}) VALUES ({_marks(LINE)})",
        [line_values(line) for line in books.new_lines],
    )
    await tx.execute_many(
        f"INSERT INTO jobs ({JOB}) VALUES ({_marks(JOB)})",
        [job_values(job) for job in books.new_jobs.values()],
    )


async def _update_facts(tx: Tx, books: Books) -> None:
    new = {execution.id for execution in books.new_executions}
    await _update_executions(tx, books, new)
    await _update_stages(tx, books, new)
    await _update_lines(tx, books, new)
    await _update_jobs(tx, books)


async def _update_executions(tx: Tx, books: Books, new: set[ExecutionId]) -> None:
    await tx.execute_many(
        """
        UPDATE executions SET state = $2, held_nano = $3, free_hold_nano = $4, spent_nano = $5,
            event_seq = $6, reasons = $7, result = $8, started_at = $9, finished_at = $10, jobs_done = $11,
            jobs_total = $12, releases = $13
        WHERE id = $1
        """,
        [
            (
                e.id,
                e.state,
                e.held_nano,
                e.free_hold_nano,
                e.spent_nano,
                e.event_seq,
                encode_json(e.reasons),
                json_or_null(e.result),
                e.started_at,
                e.finished_at,
                e.jobs_done,
                e.jobs_total,
                e.releases,
            )
            for e in books.executions.values()
            if e.id not in new
        ],
    )


async def _update_stages(tx: Tx, books: Books, new: set[ExecutionId]) -> None:
    await tx.execute_many(
        """
        UPDATE stage_executions SET state = $2, phase = $3, open_jobs = $4, inputs = $5, outputs = $6,
            reasons = $7, started_at = $8, finished_at = $9
        WHERE id = $1
        """,
        [
            (
                s.id,
                s.state,
                s.phase,
                s.open_jobs,
                encode_json(s.inputs),
                json_or_null(s.outputs),
                encode_json(s.reasons),
                s.started_at,
                s.finished_at,
            )
            for s in books.stages.values()
            if s.execution_id not in new
        ],
    )


async def _update_lines(tx: Tx, books: Books, new: set[ExecutionId]) -> None:
    await tx.execute_many(
        """
        UPDATE execution_lines SET remaining = $4
        WHERE execution_id = $1 AND stage_ordinal = $2 AND kind = $3
        """,
        [
            (key[0], key[1], key[2], line.remaining)
            for key, line in books.lines.items()
            if line.execution_id not in new
        ],
    )


async def _update_jobs(tx: Tx, books: Books) -> None:
    await tx.execute_many(
        """
        UPDATE jobs SET state = $2, attempt = $3, losses = $4, crashes = $5, route_id = $6, hold_nano = $7,
            cost_nano = $8, result = $9, error = $10, started_at = $11, finished_at = $12
        WHERE id = $1
        """,
        [
            (
                j.id,
                j.state,
                j.attempt,
                j.losses,
                j.crashes,
                j.route_id,
                j.hold_nano,
                j.cost_nano,
                job_result(j),
                json_or_null(j.fault),
                j.started_at,
                j.finished_at,
            )
            for j in books.jobs.values()
            if j.id not in books.new_jobs
        ],
    )


async def _insert_history(tx: Tx, books: Books) -> None:
    await attempts.record_ends(tx, books)
    await tx.execute_many(
        """
        INSERT INTO cost_tracking (at, client_id, execution_id, subject_id, attempt, kind, from_account,
            to_account, amount_nano, budget_ids, provider, model, pool, usage, price)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        """,
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


async def _update_budgets(tx: Tx, books: Books) -> None:
    await tx.execute_many(
        """
        UPDATE budgets SET held_nano = held_nano + $2, spent_nano = spent_nano + $3,
            unfinished = unfinished + $4
        WHERE id = $1
        """,
        [
            (budget.id, budget.held_change, budget.spent_change, budget.unfinished_change)
            for _, budget in sorted(books.budgets.items())
            if budget.held_change or budget.spent_change or budget.unfinished_change
        ],
    )


def _marks(columns: str) -> str:
    return ", ".join(f"${number}" for number, _ in enumerate(columns.split(","), start=1))
