"""Load the books of executions under their locks, and write them back."""

from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx, encode_json
from aifactory.kernel.ids import BudgetId, DataId, ExecutionId, JobId
from aifactory.resources.books import Books
from aifactory.resources.interface import FlowStage, Hop, JobFault, Reason, ResolvedStage, StageInputs
from aifactory.resources.ledger import ACCOUNTS
from aifactory.resources.metrics import count_books
from aifactory.resources.pricing import Price
from aifactory.resources.queries import circuits, control, events, queue
from aifactory.resources.records import BudgetBook, ExecutionBook, JobBook, LineBook, Run, StageBook

_EXECUTION = """
    id, request_id, client_id, key_id, template, template_version, state, urgency, queue, accuracy, input,
    metadata, budget_ids, estimated_nano, held_nano, free_hold_nano, spent_nano, event_seq, releases,
    jobs_done, jobs_total, reasons, result, created_at, aged_from, deadline, started_at, finished_at"""
_STAGE = """
    id, execution_id, ordinal, worker, action, spec, resolved, state, phase, open_jobs, inputs, outputs,
    reasons, started_at, finished_at"""
_LINE = """
    execution_id, stage_ordinal, kind, phase, count, remaining, route_id, input_bound, output_limit,
    worst_nano"""
_JOB = """
    id, stage_id, execution_id, client_id, worker, kind, line, state, attempt, max_attempts, losses, crashes,
    timeout_seconds, route_id, input_bound, output_limit, hold_nano, cost_nano, payload, data, result, error,
    created_at, started_at, finished_at"""


async def executions_of_jobs(tx: Tx, job_ids: list[JobId]) -> list[ExecutionId]:
    """Return the executions that jobs belong to."""
    rows = await tx.raw.fetch("SELECT DISTINCT execution_id FROM jobs WHERE id = ANY($1)", job_ids)
    return [row["execution_id"] for row in rows]


async def load_books(tx: Tx, execution_ids: list[ExecutionId], job_ids: list[JobId]) -> Books:
    """Lock executions, then their budgets, and load their stages, open lines and the named jobs."""
    prices, routes = await control.prices(tx), await control.routes(tx)
    books = Books(now=tx.now, prices=prices, routes=routes)
    for row in await tx.raw.fetch(
        f"SELECT {_EXECUTION} FROM executions WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        execution_ids,
    ):
        execution = _execution(row)
        books.executions[execution.id] = execution
    for row in await tx.raw.fetch(
        f"SELECT {_STAGE} FROM stage_executions WHERE execution_id = ANY($1)", execution_ids
    ):
        stage = _stage(row)
        books.stages[stage.id] = stage
    for row in await tx.raw.fetch(
        f"SELECT {_LINE} FROM execution_lines WHERE execution_id = ANY($1)", execution_ids
    ):
        line = LineBook(**dict(row))
        books.lines[line.execution_id, line.stage_ordinal, line.kind] = line
    await load_jobs(tx, books, job_ids)
    budgets = sorted({key for execution in books.executions.values() for key in execution.budget_ids})
    books.budgets = {budget.id: budget for budget in await lock_budgets(tx, budgets)}
    return books


async def load_jobs(tx: Tx, books: Books, job_ids: list[JobId]) -> None:
    """Add jobs to books that hold their executions."""
    for row in await tx.raw.fetch(f"SELECT {_JOB} FROM jobs WHERE id = ANY($1)", job_ids):
        job = _job(row)
        books.jobs.setdefault(job.id, job)


async def load_open_jobs(tx: Tx, books: Books) -> None:
    """Add every job of the books' executions that is not final."""
    rows = await tx.raw.fetch(
        f"SELECT {_JOB} FROM jobs WHERE execution_id = ANY($1) AND finished_at IS NULL",
        list(books.executions),
    )
    for row in rows:
        job = _job(row)
        books.jobs.setdefault(job.id, job)


async def ended_jobs(tx: Tx, stage_id: UUID) -> list[JobBook]:
    """Return the final jobs of a stage, oldest first."""
    rows = await tx.raw.fetch(
        f"SELECT {_JOB} FROM jobs WHERE stage_id = $1 AND finished_at IS NOT NULL ORDER BY id", stage_id
    )
    return [_job(row) for row in rows]


async def lock_budgets(tx: Tx, budget_ids: list[BudgetId]) -> list[BudgetBook]:
    """Lock budgets in the order of their ids and return them with the limits in force."""
    rows = await tx.raw.fetch(
        """
        SELECT b.id, b.held_nano, b.spent_nano,
               coalesce(b.limit_nano, c.monthly_budget_nano, t.monthly_budget_nano) AS limit_nano
        FROM budgets b
        JOIN client_resource_limits c USING (client_id)
        JOIN tiers t USING (tier)
        WHERE b.id = ANY($1)
        ORDER BY b.id
        FOR NO KEY UPDATE OF b
        """,
        budget_ids,
    )
    return [BudgetBook(**dict(row)) for row in rows]


async def load_runs(tx: Tx, job_ids: list[JobId]) -> dict[JobId, Run]:
    """Return the running rows of jobs."""
    rows = await tx.raw.fetch(
        """
        SELECT r.job_id, r.token, r.attempt, r.provider, r.model, r.pool, r.units, r.started_at, a.price
        FROM running_jobs r LEFT JOIN job_attempts a USING (job_id, attempt, token)
        WHERE r.job_id = ANY($1)
        """,
        job_ids,
    )
    return {
        row["job_id"]: Run(
            job_id=row["job_id"],
            token=row["token"],
            attempt=row["attempt"],
            hop=Hop(provider=row["provider"], model=row["model"], pool=row["pool"]),
            units=row["units"],
            started_at=row["started_at"],
            price=msgspec.convert(row["price"], Price | None),
        )
        for row in rows
    }


async def find_attempt(tx: Tx, job_id: JobId, token: UUID) -> Run | None:
    """Return an attempt that ended before, by its token."""
    row = await tx.raw.fetchrow("SELECT * FROM job_attempts WHERE job_id = $1 AND token = $2", job_id, token)
    return None if row is None else _past_run(row)


def _past_run(row: Any) -> Run:
    return Run(
        job_id=row["job_id"],
        token=row["token"],
        attempt=row["attempt"],
        hop=Hop(provider=row["provider"], model=row["model"], pool=row["pool"]),
        units=0,
        started_at=row["started_at"],
        price=msgspec.convert(row["price"], Price | None),
    )


async def unreconciled_run(tx: Tx, job_id: JobId, token: UUID) -> tuple[Run, int] | None:
    """Return an attempt whose cost was booked as unreconciled and not yet reversed, and that amount."""
    row = await tx.raw.fetchrow(
        """
        SELECT a.*, c.amount_nano FROM job_attempts a
        JOIN cost_tracking c ON c.subject_id = a.job_id AND c.attempt = a.attempt AND c.kind = 'unreconciled'
        WHERE a.job_id = $1 AND a.token = $2 AND NOT EXISTS (
            SELECT FROM cost_tracking r
            WHERE r.subject_id = a.job_id AND r.attempt = a.attempt AND r.kind = 'reconciled')
        """,
        job_id,
        token,
    )
    return None if row is None else (_past_run(row), row["amount_nano"])


async def write_books(tx: Tx, books: Books) -> None:
    """Write everything that was decided, in the order in which locks are taken."""
    await _insert_new(tx, books)
    await _update_facts(tx, books)
    await _insert_history(tx, books)
    await _update_budgets(tx, books)
    await queue.change_pools(tx, books.pool_changes)
    await circuits.heed(tx, books.answers)
    await queue.enqueue(tx, books)
    await queue.remove(tx, books.unqueued)
    await queue.end_runs(tx, [run.token for run in books.ended_runs])
    await queue.correct_usage(tx, books.usage_units)
    tx.after_commit(partial(count_books, books))


async def _insert_new(tx: Tx, books: Books) -> None:
    for execution in books.new_executions:
        await tx.raw.execute(
            f"INSERT INTO executions ({_EXECUTION}) VALUES ({_marks(28)})", *_execution_values(execution)
        )
    await tx.execute_many(
        f"INSERT INTO stage_executions ({_STAGE}) VALUES ({_marks(15)})",
        [_stage_values(stage) for stage in books.new_stages],
    )
    await tx.execute_many(
        f"INSERT INTO execution_lines ({_LINE}) VALUES ({_marks(10)})",
        [msgspec.structs.astuple(line) for line in books.new_lines],
    )
    await tx.execute_many(
        f"INSERT INTO jobs ({_JOB}) VALUES ({_marks(25)})",
        [_job_values(job) for job in books.new_jobs.values()],
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
                _json(e.result),
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
                _json(s.outputs),
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
                _result(j),
                _json(j.fault),
                j.started_at,
                j.finished_at,
            )
            for j in books.jobs.values()
            if j.id not in books.new_jobs
        ],
    )


async def _insert_history(tx: Tx, books: Books) -> None:
    await tx.execute_many(
        """
        UPDATE job_attempts SET finished_at = $4, outcome = $5, usage = $6,
            price = coalesce($7, price), cost_nano = $8
        WHERE job_id = $1 AND attempt = $2 AND token = $3
        """,
        [
            (
                end.job_id,
                end.attempt,
                end.token,
                books.now,
                end.outcome,
                _json(end.usage),
                _json(end.price),
                end.cost_nano,
            )
            for end in books.attempts
        ],
    )
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
                _json(entry.usage),
                _json(entry.price),
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


def _marks(count: int) -> str:
    return ", ".join(f"${number}" for number in range(1, count + 1))


def _json(value: Any) -> bytes | None:
    return None if value is None else encode_json(value)


def _result(job: JobBook) -> bytes | None:
    if not (job.output or job.artifacts):
        return None
    return encode_json({"output": job.output, "artifacts": job.artifacts})


def _execution(row: Any) -> ExecutionBook:
    values = dict(row)
    values["budget_ids"] = tuple(values["budget_ids"])
    values["reasons"] = msgspec.convert(values["reasons"], tuple[Reason, ...])
    return msgspec.convert(values, ExecutionBook)


def _execution_values(e: ExecutionBook) -> tuple[Any, ...]:
    values = msgspec.structs.asdict(e)
    for name in ("input", "metadata", "reasons"):
        values[name] = encode_json(values[name])
    values["result"] = _json(e.result)
    return tuple(values[name.strip()] for name in _EXECUTION.split(","))


def _stage(row: Any) -> StageBook:
    values = dict(row)
    values["spec"] = msgspec.convert(values["spec"], FlowStage)
    values["resolved"] = msgspec.convert(values["resolved"], ResolvedStage)
    values["inputs"] = msgspec.convert(values["inputs"], StageInputs)
    values["reasons"] = msgspec.convert(values["reasons"], tuple[Reason, ...])
    return msgspec.convert(values, StageBook)


def _stage_values(s: StageBook) -> tuple[Any, ...]:
    values = msgspec.structs.asdict(s)
    for name in ("spec", "resolved", "inputs", "reasons"):
        values[name] = encode_json(values[name])
    values["outputs"] = _json(s.outputs)
    return tuple(values[name.strip()] for name in _STAGE.split(","))


def _job(row: Any) -> JobBook:
    values = dict(row)
    result, error = values.pop("result") or {}, values.pop("error")
    values["data"] = msgspec.convert(values["data"], dict[str, DataId])
    values["output"] = result.get("output", {})
    values["artifacts"] = msgspec.convert(result.get("artifacts", {}), dict[str, DataId])
    values["fault"] = None if error is None else msgspec.convert(error, JobFault)
    return msgspec.convert(values, JobBook)


def _job_values(j: JobBook) -> tuple[Any, ...]:
    values = msgspec.structs.asdict(j)
    values["payload"], values["data"] = encode_json(j.payload), encode_json(j.data)
    values["result"], values["error"] = _result(j), _json(j.fault)
    return tuple(values[name.strip()] for name in _JOB.split(","))
