"""Fan-in: a stage goes on when its last open job has ended, an execution when its stage has."""

from typing import Any
from uuid import UUID

import msgspec
import structlog

from aifactory.kernel.errors import Invalid
from aifactory.kernel.ids import DataId, StageId, text_id
from aifactory.resources import flow
from aifactory.resources.interface import (
    ExecutionState,
    Phase,
    Reason,
    RunningStage,
    StageResult,
    StageState,
)
from aifactory.resources.job_ends import JobEnds, WorkerRaised, is_transient
from aifactory.resources.queries import books as book_queries
from aifactory.resources.queries import references
from aifactory.resources.records import ExecutionBook, JobBook, StageBook

log = structlog.get_logger()

LOADED_TOGETHER = 1000
_NO_NEXT_STEP = "The next step could not be planned."
_FAILED_REASON = "The step that this result depends on failed."


class FanIn:
    """The stages of one settle; ``jobs`` opens what they ask for."""

    def __init__(self, jobs: JobEnds) -> None:
        self.tx = jobs.tx
        self.books = jobs.books
        self.workers = jobs.workers
        self.jobs = jobs
        self._ended: dict[StageId, list[JobBook]] = {}

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
                await self._end_stage(execution, stage, step)
                return
            if step.name in seen or not step.jobs:
                await self._end_stage(execution, stage, _failed("advance_error", _NO_NEXT_STEP))
                return
            seen.add(step.name)
            self.books.enter_phase(stage, step.name)
            await self.jobs.open_all(stage, step.jobs)

    async def _next_step(self, stage: StageBook) -> Phase | StageResult:
        view = await self._running_stage(stage)
        try:
            return await self.jobs.ask(self.workers[stage.worker].advance(self.tx, view))
        except WorkerRaised:
            raise
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("settle.advance_failed", stage_id=text_id("stage", stage.id), phase=stage.phase)
            return _failed("advance_error", _NO_NEXT_STEP)

    async def _ended_before(self, stage: StageBook) -> list[JobBook]:
        """Return the jobs of a stage that ended in other transactions; of the stages next in turn with it."""
        if stage.id not in self._ended:
            together, jobs = [stage.id], self.books.executions[stage.execution_id].jobs_total
            for other in filter(self._is_due, self.books.stages.values()):
                jobs += self.books.executions[other.execution_id].jobs_total
                if jobs > LOADED_TOGETHER:
                    break
                together.append(other.id)
            self._ended = await book_queries.ended_jobs(self.tx, together)
        return self._ended[stage.id]

    async def _running_stage(self, stage: StageBook) -> RunningStage:
        stored = {job.id: job for job in await self._ended_before(stage)}
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

    async def _end_stage(self, execution: ExecutionBook, stage: StageBook, result: StageResult) -> None:
        """Close a stage as its result and its flow say; then the next one starts, or the execution ends."""
        state = flow.end_state(stage.spec, result.state)
        outputs = None if state is StageState.SKIPPED else result.outputs
        self.books.finish_stage(stage, state, outputs, result.reasons)
        if flow.is_fatal(stage.spec, state):
            reasons = _reasons_of([stage], len(self.books.stages_of(execution.id)))
            self._finish(execution, ExecutionState.FAILED, reasons)
        else:
            await self.start_next(execution)

    async def start_next(self, execution: ExecutionBook) -> None:
        """Start the next stage whose condition holds, or end the execution; skipped ones release their lines.

        Locks what ``settle`` has locked already.
        """
        stages = self.books.stages_of(execution.id)
        for following in stages:
            if following.state is not StageState.WAITING:
                continue
            document = flow.document_of(execution.input, map(_seen, stages))
            try:
                wanted = flow.holds(following.spec.condition, document)
            except (KeyError, TypeError, AttributeError):
                log.exception("settle.condition_failed", stage_id=text_id("stage", following.id))
                failed = _failed("plan_error", "Its condition can't be read.")
                await self._end_stage(execution, following, failed)
                return
            if wanted:
                await self._start_with(execution, following, flow.mapped_inputs(following.spec, document))
                return
            self.books.finish_stage(following, StageState.SKIPPED, None, (flow.NOT_WANTED,))
        self._finish(execution, *final_state(stages))

    async def _start_with(self, execution: ExecutionBook, stage: StageBook, mapped: dict[str, Any]) -> None:
        """Open a stage with what earlier ones give it, as far as that belongs to the same client."""
        ports = self.workers[stage.worker].ports(stage.resolved)
        wanted = stage.spec.input_mapping.keys() & (ports.needed if ports is not None else set())
        missing = sorted(wanted - mapped.keys())
        wished = flow.references_in(mapped)
        own = await self._owned(execution, wished)
        missing += [target for target in wished if target not in own]
        if missing:
            message = f"What an earlier stage was to give is not there: {', '.join(missing)}."
            await self._end_stage(execution, stage, _failed("input_missing", message))
            return
        stage.inputs = msgspec.structs.replace(stage.inputs, mapped=mapped, data=own)
        await self._open_stage(execution, stage)

    async def _owned(self, execution: ExecutionBook, wished: dict[str, UUID | None]) -> dict[str, DataId]:
        """Return the references among mapped values that are the execution's client's."""
        if not wished:
            return {}
        ids = [data_id for data_id in wished.values() if data_id is not None]
        own = await references.owned(self.tx, execution.client_id, ids)
        return {target: DataId(one) for target, one in wished.items() if one in own and one is not None}

    async def _open_stage(self, execution: ExecutionBook, stage: StageBook) -> None:
        """Plan a waiting stage and open its first jobs; one that can't be planned fails."""
        try:
            phase = self.workers[stage.worker].plan(stage.resolved, stage.inputs)
            if not phase.jobs:
                raise ValueError(f"worker {stage.worker} planned no job")
        except Invalid as refusal:
            await self._end_stage(execution, stage, _failed("input_unusable", refusal.detail))
            return
        except Exception:
            log.exception("settle.plan_failed", stage_id=text_id("stage", stage.id))
            await self._end_stage(execution, stage, _failed("plan_error", "This stage could not be planned."))
            return
        self.books.start_stage(stage, phase.name)
        await self.jobs.open_all(stage, phase.jobs)

    def _finish(self, execution: ExecutionBook, state: ExecutionState, reasons: tuple[Reason, ...]) -> None:
        """End an execution; what its stages left is its result, whatever became of it."""
        stages = self.books.stages_of(execution.id)
        execution.result = {"stages": [{"stage": one.ordinal, "outputs": one.outputs} for one in stages]}
        self.books.finish_execution(execution, state, reasons)


def _seen(stage: StageBook) -> flow.EndedStage:
    return flow.EndedStage(
        ordinal=stage.ordinal, name=stage.spec.name, state=stage.state, outputs=stage.outputs
    )


def _failed(code: str, message: str) -> StageResult:
    return StageResult(state=StageState.FAILED, outputs={}, reasons=(Reason(code=code, message=message),))


def final_state(stages: list[StageBook]) -> tuple[ExecutionState, tuple[Reason, ...]]:
    """Return an execution's final state once no stage is left.

    Stages whose condition did not hold don't count, nor do failures of optional ones that are to be skipped.
    """
    reasons = _reasons_of(stages, len(stages))
    made = [one for one in stages if one.state in (StageState.SUCCEEDED, StageState.PARTIAL)]
    skipped_over = [one for one in stages if one.state is StageState.SKIPPED and _faults(one)]
    failed = [one for one in stages if one.state is StageState.FAILED]
    short = [one for one in made if one.state is StageState.PARTIAL]
    lacking = failed or short or [one for one in skipped_over if one.spec.required]
    if not lacking and (made or not skipped_over):
        return ExecutionState.SUCCEEDED, reasons
    reasons = reasons or (Reason(code="stage_failed", message=_FAILED_REASON),)
    return (ExecutionState.PARTIAL if made else ExecutionState.FAILED), reasons


def _reasons_of(stages: list[StageBook], of_how_many: int) -> tuple[Reason, ...]:
    """Return the reasons of stages; where there are several, each says which stage it is of."""
    if of_how_many < 2:
        return tuple(reason for stage in stages for reason in _faults(stage))
    return tuple(
        Reason(
            code=reason.code,
            message=f"Stage {flow.label(stage.ordinal, stage.spec.name)}: {reason.message}",
        )
        for stage in stages
        for reason in _faults(stage)
    )


def _faults(stage: StageBook) -> tuple[Reason, ...]:
    """Return a stage's reasons without that of one that was not wanted: nothing went wrong there."""
    return () if stage.reasons == (flow.NOT_WANTED,) else stage.reasons
