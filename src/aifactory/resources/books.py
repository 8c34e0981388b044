"""The books of the executions that one transaction touches: states, holds, lines, ledger entries. Pure.

A service loads the books under their locks, decides on them in memory, and writes them back at once.
Money moves between accounts only here, always as one entry from one account to another, so every entry
balances by itself.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from aifactory.kernel.ids import BudgetId, ExecutionId, JobId, StageId
from aifactory.resources import events, flow
from aifactory.resources.circuit import Answer
from aifactory.resources.interface import (
    ExecutionState,
    Hop,
    JobState,
    Reason,
    Route,
    Signal,
    StageState,
    Usage,
)
from aifactory.resources.ledger import Entry, EntryKind
from aifactory.resources.pricing import (
    Pools,
    Price,
    Prices,
    price_of,
    worst_of_route,
)
from aifactory.resources.records import (
    AttemptEnd,
    BudgetBook,
    Event,
    ExecutionBook,
    JobBook,
    LineBook,
    Run,
    StageBook,
    UnitChanges,
)

LONGEST_ERROR = 500


class Books:
    """Everything that one transaction decides on, and everything that it will write."""

    def __init__(self, *, now: datetime, prices: Prices, routes: dict[int, Route]) -> None:
        self.now = now
        self.prices = prices
        self.routes: dict[int, Route] = {}
        self.route_ids: dict[Route, int] = {}
        self.add_routes(routes)
        self.pools: Pools = {}  # loaded when a job outside the lines is to be opened
        self.executions: dict[ExecutionId, ExecutionBook] = {}
        self.stages: dict[StageId, StageBook] = {}
        self.lines: dict[tuple[ExecutionId, int, str], LineBook] = {}
        # As they were loaded: what is the same is not written.
        self.stored_stages: dict[StageId, StageBook] = {}
        self.stored_remaining: dict[tuple[ExecutionId, int, str], int] = {}
        self.jobs: dict[JobId, JobBook] = {}
        self.budgets: dict[BudgetId, BudgetBook] = {}
        self.new_executions: list[ExecutionBook] = []
        self.new_stages: list[StageBook] = []
        self.new_lines: list[LineBook] = []
        self.new_jobs: dict[JobId, JobBook] = {}
        self.queued: dict[JobId, JobBook] = {}
        self.lane_ids: dict[ExecutionId, set[int]] = {}  # in which they were queued
        self.entries: list[Entry] = []
        self.events: list[Event] = []
        self.attempts: list[AttemptEnd] = []
        self.ended_runs: list[Run] = []
        self.unqueued: list[JobId] = []
        self.units = UnitChanges()
        self.answers: list[Answer] = []

    # Reading.

    def add_routes(self, routes: dict[int, Route]) -> None:
        """Know more routes."""
        self.routes |= routes
        self.route_ids |= {route: route_id for route_id, route in routes.items()}

    def stages_of(self, execution_id: ExecutionId) -> list[StageBook]:
        """Return an execution's stages in order."""
        own = (stage for stage in self.stages.values() if stage.execution_id == execution_id)
        return sorted(own, key=lambda stage: stage.ordinal)

    def lines_of(self, execution_id: ExecutionId) -> list[LineBook]:
        """Return an execution's lines."""
        return [line for line in self.lines.values() if line.execution_id == execution_id]

    def worst_of(self, job: JobBook) -> int:
        """Return the most that one attempt of a job can cost."""
        return worst_of_route(self.routes[job.route_id], job.input_bound, job.output_limit, self.prices)

    # Changing.

    def extend(self, execution: ExecutionBook, job: JobBook, kind: EntryKind, amount: int) -> bool:
        """Hold more for a job in the period of the first hold, on all its budgets or on none."""
        budgets = [self.budgets[budget_id] for budget_id in execution.budget_ids]
        for budget in budgets:
            committed = budget.held_nano + budget.held_change + budget.spent_nano + budget.spent_change
            if budget.limit_nano is not None and committed + amount > budget.limit_nano:
                return False
        for budget in budgets:
            budget.held_change += amount
        job.hold_nano += amount
        execution.held_nano += amount
        self.enter(execution, job.id, job.attempt, kind, amount)
        return True

    # Ending an attempt.

    def _price_of(self, run: Run) -> Price:
        """Return the price of a call: that of its start, so that a new price is for new calls only."""
        return run.price or price_of(run.hop, self.prices)

    def pay(self, job: JobBook, run: Run, usage: Usage | None) -> int:
        """Book what an attempt used: from the job's hold, an excess on the operator, unknown as unreconciled.

        Returns the client's part. The pool gets back, or gives, the difference to the estimate; of a call
        whose use is unknown the estimate stays taken.
        """
        execution = self.executions[job.execution_id]
        price = self._price_of(run)
        if usage is None:
            self.enter(
                execution,
                job.id,
                run.attempt,
                EntryKind.UNRECONCILED,
                self.worst_of(job),
                run.hop,
                None,
                price,
            )
            return 0
        cost = price.cost_of(usage)
        paid = min(cost, job.hold_nano)
        self._move(execution, held=-paid, spent=paid)
        job.hold_nano -= paid
        job.cost_nano += paid
        execution.spent_nano += paid
        self.enter(execution, job.id, run.attempt, EntryKind.SPEND, paid, run.hop, usage, price)
        self.enter(execution, job.id, run.attempt, EntryKind.OVERRUN, cost - paid, run.hop, usage, price)
        self.units.settle(job.client_id, run, usage.input_units + usage.output_units)
        return paid

    def heed(self, run: Run, signal: Signal | None, blocked_seconds: float | None) -> None:
        """Note what an answer said about its provider and its pool, whatever becomes of its job."""
        if blocked_seconds is not None:
            change, until = self.units.pool(run.hop.pool), self.now + timedelta(seconds=blocked_seconds)
            change.blocked_until = max(until, change.blocked_until or until)
        if signal is None:
            return
        if (signal.remaining_units, signal.remaining_requests) != (None, None):
            self.units.pool(run.hop.pool).note_left(signal.remaining_units, signal.remaining_requests)
        self.answers.append(
            Answer(
                provider=run.hop.provider,
                health=signal.health,
                started_at=run.started_at,
                error=_storable(signal.error),
            )
        )

    def end_run(self, job: JobBook, run: Run, outcome: str, usage: Usage | None, cost_nano: int) -> None:
        """Close an attempt's record and free its running row."""
        self.ended_runs.append(run)
        self.attempts.append(
            AttemptEnd(
                job_id=job.id,
                attempt=run.attempt,
                token=run.token,
                outcome=outcome,
                usage=usage,
                price=self._price_of(run) if usage is not None else None,
                cost_nano=cost_nano,
            )
        )

    def drop_run(self, job: JobBook, run: Run) -> None:
        """Undo a claim whose call never began: everything that it took is given back."""
        self.ended_runs.append(run)
        self.units.drop(job.client_id, run)

    def waste(self, job: JobBook, run: Run, usage: Usage, unreconciled_nano: int) -> None:
        """Book the real cost of an answer that came too late: reverse what stood for it, add the waste."""
        execution = self.executions[job.execution_id]
        price = self._price_of(run)
        self.enter(execution, job.id, run.attempt, EntryKind.RECONCILED, unreconciled_nano, run.hop)
        self.enter(
            execution, job.id, run.attempt, EntryKind.WASTE, price.cost_of(usage), run.hop, usage, price
        )

    def retry(self, job: JobBook, due_at: datetime) -> bool:
        """Queue another attempt with a whole hold; False when the budget refuses the top-up."""
        execution = self.executions[job.execution_id]
        job.attempt += 1
        missing = self.worst_of(job) - job.hold_nano
        if missing > 0 and not self.extend(execution, job, EntryKind.TOP_UP, missing):
            job.attempt -= 1
            return False
        job.started_at = None
        job.due_at = due_at if due_at > self.now else None
        job.state = JobState.SCHEDULED if job.due_at else JobState.READY
        self.queued[job.id] = job
        self._tell_of(job, "job.retrying")
        return True

    def finish_job(self, job: JobBook, state: JobState) -> None:
        """Put a job in a final state and give back what is left of its hold."""
        execution, stage = self.executions[job.execution_id], self.stages[job.stage_id]
        if job.hold_nano:
            self._move(execution, held=-job.hold_nano)
            self.enter(execution, job.id, job.attempt, EntryKind.RELEASE, job.hold_nano)
            job.hold_nano = 0
        job.state, job.finished_at, job.due_at = state, self.now, None
        self.queued.pop(job.id, None)
        stage.open_jobs -= 1
        execution.jobs_done += 1

    def tell_job(self, job: JobBook) -> None:
        """Emit how a job ended, unless its execution has ended too."""
        self._tell_of(job, f"job.{job.state}")

    def _tell_of(self, job: JobBook, type_: str) -> None:
        execution, stage = self.executions[job.execution_id], self.stages[job.stage_id]
        if execution.finished_at is None:
            self.emit(execution, type_, events.told_job(job.id, job.kind, job.attempt, stage.ordinal))

    # Ending stages and executions.

    def release_lines(self, execution: ExecutionBook, lines: list[LineBook]) -> None:
        """Give back what lines still reserve."""
        amount = sum(line.remaining * line.worst_nano for line in lines)
        for line in lines:
            execution.jobs_total -= line.remaining
            line.remaining = 0
        if amount:
            execution.free_hold_nano -= amount
            self._move(execution, held=-amount)
            execution.releases += 1  # entries are unique on (subject, attempt, kind)
            self.enter(execution, execution.id, execution.releases, EntryKind.RELEASE, amount)

    def enter_phase(self, stage: StageBook, phase: str) -> None:
        """Move a stage to its next phase; what the last one left over is released."""
        execution = self.executions[stage.execution_id]
        own = [line for line in self.lines_of(execution.id) if line.stage_ordinal == stage.ordinal]
        self.release_lines(execution, [line for line in own if stage.phase and line.phase == stage.phase])
        stage.phase = phase

    def start_stage(self, stage: StageBook, phase: str) -> None:
        """Open a stage at its first phase; it starts with its first job."""
        stage.state, stage.phase = StageState.RUNNING, phase

    def note_start(self, job: JobBook) -> None:
        """Emit that a job's execution and stage have started, if whoever began it died before telling."""
        execution, stage = self.executions[job.execution_id], self.stages[job.stage_id]
        if execution.state is ExecutionState.QUEUED:
            execution.state, execution.started_at = ExecutionState.RUNNING, self.now
            self.emit(execution, "execution.started", {})
        if execution.finished_at is None and stage.started_at is None:
            stage.started_at = self.now
            self._tell_of_stage(stage, "stage.started")

    def finish_stage(
        self, stage: StageBook, state: StageState, outputs: dict[str, Any] | None, reasons: tuple[Reason, ...]
    ) -> None:
        """Close a stage; all its lines are released."""
        execution = self.executions[stage.execution_id]
        own = [line for line in self.lines_of(execution.id) if line.stage_ordinal == stage.ordinal]
        self.release_lines(execution, own)
        stage.state, stage.outputs, stage.reasons, stage.finished_at = state, outputs, reasons, self.now
        self._tell_of_stage(stage, f"stage.{state}")

    def finish_execution(
        self, execution: ExecutionBook, state: ExecutionState, reasons: tuple[Reason, ...]
    ) -> None:
        """Put an execution in its one final state; nothing of its hold stays free."""
        self.release_lines(execution, self.lines_of(execution.id))
        for stage in self.stages_of(execution.id):
            if stage.finished_at is None:
                done = state in (ExecutionState.SUCCEEDED, ExecutionState.PARTIAL, ExecutionState.FAILED)
                if done and stage.state is StageState.WAITING:
                    stage.reasons = (flow.NOT_REACHED,)
                stage.state = StageState.SKIPPED if done else StageState.CANCELLED
                stage.finished_at = self.now
                self._tell_of_stage(stage, f"stage.{stage.state}")
        for budget_id in execution.budget_ids:
            self.budgets[budget_id].unfinished_change -= 1
        execution.state, execution.reasons, execution.finished_at = state, reasons, self.now
        self.emit(execution, f"execution.{state}", {"reasons": [reason.code for reason in reasons]})

    def _tell_of_stage(self, stage: StageBook, type_: str) -> None:
        execution = self.executions[stage.execution_id]
        codes = [reason.code for reason in stage.reasons]
        told = events.told_stage(stage.ordinal, stage.worker, stage.spec.name)
        self.emit(execution, type_, told | ({"reasons": codes} if codes else {}))

    def emit(self, execution: ExecutionBook, type_: str, members: dict[str, Any]) -> None:
        """Add an event in the execution's own sequence, with the execution as it is now."""
        self.events.append(events.next_event(execution, type_, members))

    def enter(
        self,
        execution: ExecutionBook,
        subject_id: UUID,
        attempt: int,
        kind: EntryKind,
        amount_nano: int,
        hop: Hop | None = None,
        usage: Usage | None = None,
        price: Price | None = None,
    ) -> None:
        """Post one entry; an amount of zero posts nothing."""
        if amount_nano <= 0:
            return
        self.entries.append(
            Entry(
                client_id=execution.client_id,
                execution_id=execution.id,
                subject_id=subject_id,
                attempt=attempt,
                kind=kind,
                amount_nano=amount_nano,
                budget_ids=execution.budget_ids,
                hop=hop,
                usage=usage,
                price=price,
            )
        )

    def _move(self, execution: ExecutionBook, *, held: int, spent: int = 0) -> None:
        for budget_id in execution.budget_ids:
            self.budgets[budget_id].held_change += held
            self.budgets[budget_id].spent_change += spent


def _storable(error: str) -> str:
    """Return the beginning of an error text, without what a database does not take."""
    return error[:LONGEST_ERROR].replace("\0", "").encode(errors="replace").decode()
