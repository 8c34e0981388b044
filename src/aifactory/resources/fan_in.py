"""Fan-in: a stage goes on when its last open job has ended, an execution when its stage has."""

import msgspec
import structlog

from aifactory.resources import flow
from aifactory.resources.interface import (
    ExecutionState,
    Phase,
    Reason,
    RunningStage,
    StageResult,
    StageState,
)
from aifactory.resources.job_ends import JobEnds, is_transient
from aifactory.resources.queries import books as book_queries
from aifactory.resources.records import ExecutionBook, StageBook

log = structlog.get_logger()

_FAILED_REASON = "The step that this result depends on failed."


class FanIn:
    """The stages of one settle; ``jobs`` opens what they ask for."""

    def __init__(self, jobs: JobEnds) -> None:
        self.tx = jobs.tx
        self.books = jobs.books
        self.workers = jobs.workers
        self.jobs = jobs

    async def advance_stages(self) -> None:
        """Advance every touched stage that has no open job, and those that this opens: the only fan-in."""
        while stage := next(filter(self._is_due, self.books.stages.values()), None):
            await self._advance(self.books.executions[stage.execution_id], stage)

    def _is_due(self, stage: StageBook) -> bool:
        open_execution = self.books.executions[stage.execution_id].finished_at is None
        return open_execution and stage.state is StageState.RUNNING and stage.open_jobs == 0

    async def _advance(self, execution: ExecutionBook, stage: StageBook) -> None:
        """Call ``advance`` until it opens a job or ends the stage; at most once a phase."""
        seen = {stage.phase}
        while stage.open_jobs == 0:
            step = await self._next_step(stage)
            if isinstance(step, StageResult):
                self.books.finish_stage(stage, step.state, step.outputs, step.reasons)
                await self._after_stage(execution, stage)
                return
            if step.name in seen or not step.jobs:
                await self._fail_stage(
                    execution, stage, "advance_error", "The next step could not be planned."
                )
                return
            seen.add(step.name)
            self.books.enter_phase(stage, step.name)
            await self.jobs.open_all(stage, step.jobs)

    async def _next_step(self, stage: StageBook) -> Phase | StageResult:
        view = await self._running_stage(stage)
        try:
            async with self.tx.savepoint():
                return await self.workers[stage.worker].advance(self.tx, view)
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("settle.advance_failed", stage_id=str(stage.id), phase=stage.phase)
            return StageResult(
                state=StageState.FAILED,
                outputs={},
                reasons=(Reason(code="advance_error", message="The next step could not be planned."),),
            )

    async def _running_stage(self, stage: StageBook) -> RunningStage:
        stored = {job.id: job for job in await book_queries.ended_jobs(self.tx, stage.id)}
        for job in self.books.jobs.values():
            if job.stage_id == stage.id and job.finished_at is not None:
                stored[job.id] = job
        return RunningStage(
            id=stage.id,
            execution_id=stage.execution_id,
            client_id=self.books.executions[stage.execution_id].client_id,
            action=stage.action,
            phase=stage.phase,
            resolved=stage.resolved,
            inputs=stage.inputs,
            jobs=tuple(job.ended() for _, job in sorted(stored.items())),
        )

    async def _fail_stage(self, execution: ExecutionBook, stage: StageBook, code: str, message: str) -> None:
        self.books.finish_stage(stage, StageState.FAILED, None, (Reason(code=code, message=message),))
        await self._after_stage(execution, stage)

    async def _after_stage(self, execution: ExecutionBook, stage: StageBook) -> None:
        """Start the next stage whose condition holds, or end the execution."""
        if flow.is_fatal(stage.spec, stage.state):
            self.books.finish_execution(execution, ExecutionState.FAILED, stage.reasons)
            return
        stages = self.books.stages_of(execution.id)
        ended = [{"state": one.state, "outputs": one.outputs} for one in stages]
        document = {"request": execution.input, "stages": ended}
        for following in stages:
            if following.state is not StageState.WAITING:
                continue
            try:
                wanted = flow.holds(following.spec.condition, document)
                mapped = flow.mapped_inputs(following.spec, document)
            except (KeyError, TypeError, AttributeError):
                log.exception("settle.condition_failed", stage_id=str(following.id))
                await self._fail_stage(execution, following, "plan_error", "Its condition can't be read.")
                return
            if wanted:
                following.inputs = msgspec.structs.replace(following.inputs, mapped=mapped)
                await self.open_stage(following)
                return
            self.books.finish_stage(following, StageState.SKIPPED, None, ())
        execution.result = {"stages": [{"stage": one.ordinal, "outputs": one.outputs} for one in stages]}
        self.books.finish_execution(execution, *final_state(stages))

    async def open_stage(self, stage: StageBook) -> None:
        """Plan a waiting stage and open its first jobs; one that can't be planned fails."""
        try:
            phase = self.workers[stage.worker].plan(stage.resolved, stage.inputs)
            if not phase.jobs:
                raise ValueError(f"worker {stage.worker} planned no job")
        except Exception:
            log.exception("settle.plan_failed", stage_id=str(stage.id))
            execution = self.books.executions[stage.execution_id]
            await self._fail_stage(execution, stage, "plan_error", "This stage could not be planned.")
            return
        self.books.start_stage(stage, phase.name)
        await self.jobs.open_all(stage, phase.jobs)


def final_state(stages: list[StageBook]) -> tuple[ExecutionState, tuple[Reason, ...]]:
    """Return an execution's final state once no stage is left: the worst of its stages that count."""
    reasons = tuple(reason for stage in stages for reason in stage.reasons)
    states = {stage.state for stage in stages} - {StageState.SKIPPED}
    if states <= {StageState.SUCCEEDED}:
        return ExecutionState.SUCCEEDED, reasons
    reasons = reasons or (Reason(code="stage_failed", message=_FAILED_REASON),)
    return (ExecutionState.FAILED if states == {StageState.FAILED} else ExecutionState.PARTIAL), reasons
