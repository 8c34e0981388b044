"""What running jobs say of themselves, written as events now and then: short jobs cost nothing."""

from functools import partial
from typing import Any
from uuid import UUID

import anyio
import msgspec

from aifactory.kernel.db import Database
from aifactory.kernel.ids import ExecutionId
from aifactory.kernel.loop import Wake
from aifactory.resources import events
from aifactory.resources.interface import Emit, Job
from aifactory.resources.queries import events as queries

WRITE_EVERY_SECONDS = 0.5
SHORTEST_RUN_SECONDS = 1.0
IDLE_SECONDS = 5.0
MOST_TOKENS = 10**9


class _Report(msgspec.Struct, kw_only=True):
    """The newest word of a running job; ``told`` is what was written of it."""

    job: Job
    started_at: float
    output_tokens: int | None = None
    told: int | None = None

    def is_new(self, now: float) -> bool:
        """Whether there is something to write, and the job has run for long enough."""
        return self.output_tokens != self.told and now - self.started_at >= SHORTEST_RUN_SECONDS


class Reports:
    """The running jobs of one process. ``round`` writes ``execution.progress``, at most twice a second each.

    ``wake`` is for the loop that calls ``round``.
    """

    def __init__(self, *, database: Database) -> None:
        self.database = database
        self.wake = Wake()
        self._reports: dict[UUID, _Report] = {}
        self._resting = True

    def begin(self, token: UUID, job: Job) -> Emit:
        """Return what a run is to call with ``{"outputTokens": n}``; cheap, and never fails."""
        report = self._reports[token] = _Report(job=job, started_at=anyio.current_time())
        return partial(self._hear, report)

    def _hear(self, report: _Report, said: dict[str, Any]) -> None:
        tokens = said.get("outputTokens")
        if type(tokens) is int and 0 <= tokens <= MOST_TOKENS:
            report.output_tokens = tokens
            if self._resting:
                self._resting = False
                self.wake.set()

    def end(self, token: UUID) -> None:
        """Forget a run."""
        self._reports.pop(token, None)

    async def round(self) -> float:
        """Write what is new of executions that still run; returns the seconds until the next time."""
        now = anyio.current_time()
        new = {report.job.execution_id for report in self._reports.values() if report.is_new(now)}
        if new:
            await self._write(new)
        waiting = any(report.output_tokens != report.told for report in self._reports.values())
        self._resting = not (new or waiting)  # only who rests may be woken before the time
        return IDLE_SECONDS if self._resting else WRITE_EVERY_SECONDS

    async def _write(self, execution_ids: set[ExecutionId]) -> None:
        """Write one event each, and wait for no lock: an execution that is being settled has newer events."""
        said = {execution_id: self._running(execution_id) for execution_id in execution_ids}
        async with self.database.begin() as tx:
            locked = await queries.lock_running(tx, execution_ids)
            told = [
                events.next_event(execution, "execution.progress", {"running": _members(said[execution.id])})
                for execution in locked
            ]
            await queries.tell(tx, locked, told)
        for execution in locked:
            for report, tokens in said[execution.id]:
                report.told = tokens

    def _running(self, execution_id: ExecutionId) -> list[tuple[_Report, int]]:
        """Return the reports of an execution's jobs with what they say now."""
        return [
            (report, report.output_tokens)
            for report in self._reports.values()
            if report.job.execution_id == execution_id and report.output_tokens is not None
        ]


def _members(said: list[tuple[_Report, int]]) -> list[dict[str, Any]]:
    return [events.told_run(report.job.id, report.job.kind, tokens) for report, tokens in said]
