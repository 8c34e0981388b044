"""The rows that books are made of, as they are held in memory under their locks. Pure."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.ids import BudgetId, ClientId, DataId, ExecutionId, JobId, StageId
from aifactory.resources.interface import (
    Accuracy,
    EndedJob,
    ExecutionState,
    FlowStage,
    Hop,
    JobFault,
    JobState,
    Reason,
    ResolvedStage,
    StageInputs,
    StageState,
    Urgency,
    Usage,
)
from aifactory.resources.pricing import Price

LARGEST_COUNT = 10**12


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of an execution, in its own sequence; ``final``: nothing comes after it."""

    execution_id: ExecutionId
    seq: int
    type: str
    data: dict[str, Any]
    final: bool = False


class BudgetBook(msgspec.Struct, kw_only=True):
    """A locked budget and what this transaction changes on it; ``limit_nano`` None: its limit was lifted."""

    id: BudgetId
    limit_nano: int | None
    held_nano: int
    spent_nano: int
    held_change: int = 0
    spent_change: int = 0
    unfinished_change: int = 0


class ExecutionBook(msgspec.Struct, kw_only=True):
    """An execution under its row lock."""

    id: ExecutionId
    request_id: UUID
    client_id: ClientId
    key_id: UUID | None
    template: str
    template_version: int
    state: ExecutionState
    urgency: Urgency
    queue: str
    accuracy: Accuracy
    input: dict[str, Any]
    metadata: dict[str, str]
    budget_ids: tuple[BudgetId, ...]
    estimated_nano: int
    held_nano: int
    free_hold_nano: int
    spent_nano: int = 0
    event_seq: int = 0
    releases: int = 0
    jobs_done: int = 0
    jobs_total: int = 0
    reasons: tuple[Reason, ...] = ()
    result: dict[str, Any] | None = None
    created_at: datetime
    aged_from: datetime
    deadline: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None


class StageBook(msgspec.Struct, kw_only=True):
    """A stage of a locked execution."""

    id: StageId
    execution_id: ExecutionId
    ordinal: int
    worker: str
    action: str
    spec: FlowStage
    resolved: ResolvedStage
    state: StageState = StageState.WAITING
    phase: str = ""
    open_jobs: int = 0
    inputs: StageInputs = StageInputs()
    outputs: dict[str, Any] | None = None
    reasons: tuple[Reason, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None


class LineBook(msgspec.Struct, kw_only=True):
    """What is still reserved for jobs of one kind."""

    execution_id: ExecutionId
    stage_ordinal: int
    kind: str
    phase: str
    count: int
    remaining: int
    route_id: int
    input_bound: int
    output_limit: int
    worst_nano: int
    needs: dict[str, int] = {}


class JobBook(msgspec.Struct, kw_only=True):
    """A job of a locked execution; ``losses`` are attempts that leave it all of its tries."""

    id: JobId
    stage_id: StageId
    execution_id: ExecutionId
    client_id: ClientId
    worker: str
    kind: str
    line: str | None
    state: JobState
    attempt: int = 1
    max_attempts: int
    losses: int = 0
    crashes: int = 0
    timeout_seconds: int
    route_id: int
    input_bound: int
    output_limit: int
    needs: dict[str, int] = {}
    hold_nano: int
    cost_nano: int = 0
    payload: dict[str, Any]
    data: dict[str, DataId] = {}
    output: dict[str, Any] = {}
    artifacts: dict[str, DataId] = {}
    fault: JobFault | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    due_at: datetime | None = None

    @property
    def units(self) -> int:
        """What a start takes from the pool: the input bound and the whole output limit."""
        return self.input_bound + self.output_limit

    def ended(self) -> EndedJob:
        """Return the job as ``record`` and ``advance`` see it."""
        return EndedJob(
            id=self.id,
            execution_id=self.execution_id,
            stage_id=self.stage_id,
            client_id=self.client_id,
            kind=self.kind,
            state=self.state,
            payload=self.payload,
            output=self.output,
            artifacts=self.artifacts,
            fault=self.fault,
            data=self.data,
        )


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the running jobs: one attempt of a job, named by its random token.

    ``units`` are of its hop's pool, ``needs`` of further ones; ``has_quota``: its client has one on a pool.
    ``price`` is what it was when the call began; None before that was written down: whoever claimed the run
    may have died before it was ``recorded`` among the attempts.
    """

    job_id: JobId
    token: UUID
    attempt: int
    hop: Hop
    units: int
    needs: dict[str, int] = {}
    has_quota: bool = False
    started_at: datetime
    price: Price | None = None
    recorded: bool = True


class PoolChange(msgspec.Struct, kw_only=True):
    """What a transaction does to a pool: units and request slots given back, or units taken, and what its
    provider said of it.

    ``remaining_units`` and ``remaining_requests`` are the least that were left; they only ever lower a level.
    """

    units: int = 0
    requests: int = 0
    blocked_until: datetime | None = None
    remaining_units: int | None = None
    remaining_requests: int | None = None

    def note_left(self, units: int | None, requests: int | None) -> None:
        """Keep the least of what a provider said is left."""
        if units is not None:
            self.remaining_units = _least(self.remaining_units, units)
        if requests is not None:
            self.remaining_requests = _least(self.remaining_requests, requests)


class UnitChanges:
    """What ends of runs change in pools, in clients' usage of them, and in quotas.

    A quota is by client, pool and the time of the start, which says in which of its periods it was counted.
    """

    def __init__(self) -> None:
        self.pools: dict[str, PoolChange] = {}
        self.usage: dict[tuple[ClientId, str], int] = {}
        self.quotas: dict[tuple[ClientId, str, datetime], int] = {}

    def pool(self, name: str) -> PoolChange:
        """Return what changes in a pool, to be added to."""
        return self.pools.setdefault(name, PoolChange())

    def settle(self, client_id: ClientId, run: Run, used: int) -> None:
        """Replace the estimate of a call by what it used; needs of further pools are exact."""
        self._use(client_id, run, run.hop.pool, used - run.units)
        self._count(client_id, run, max(1, used) - max(1, run.units))

    def drop(self, client_id: ClientId, run: Run) -> None:
        """Give back all that a start took whose call never began: units, request slots, quota, usage."""
        self._use(client_id, run, run.hop.pool, -run.units)
        for name, units in run.needs.items():
            self._use(client_id, run, name, -units)
        for name in {run.hop.pool, *run.needs}:
            self.pool(name).requests += 1
        self._count(client_id, run, -max(1, run.units))

    def pools_to_write(self) -> dict[str, PoolChange]:
        """Return what changes in pools, also in those where only a client's usage does.

        Their rows are locked by it: a tick that has read the usage writes it before it is corrected.
        """
        used = {pool for (_, pool), units in self.usage.items() if units}
        return {name: change for name, change in self.pools.items() if change != PoolChange() or name in used}

    def _use(self, client_id: ClientId, run: Run, pool: str, units: int) -> None:
        self.pool(pool).units -= units
        if run.has_quota:
            key = client_id, pool, run.started_at
            self.quotas[key] = self.quotas.get(key, 0) + units

    def _count(self, client_id: ClientId, run: Run, units: int) -> None:
        key = client_id, run.hop.pool
        self.usage[key] = self.usage.get(key, 0) + units


def _least(known: int | None, said: int) -> int:
    """Return the smaller count; what a server says is no reason to overflow."""
    said = min(LARGEST_COUNT, max(0, said))
    return said if known is None else min(known, said)


class AttemptEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, for the record of attempts."""

    job_id: JobId
    attempt: int
    token: UUID
    outcome: str
    usage: Usage | None
    price: Price | None
    cost_nano: int
