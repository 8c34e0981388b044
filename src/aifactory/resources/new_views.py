"""What anyone would read of an execution that was just admitted, from its books. Pure."""

from collections.abc import Mapping, Sequence

from aifactory.kernel.ids import RequestId, StageId
from aifactory.resources.interface import ExecutionView, Line, StageView
from aifactory.resources.records import ExecutionBook, StageBook


def view_of(
    execution: ExecutionBook,
    stages: Sequence[StageBook],
    lines: Sequence[Sequence[Line]],
    jobs: Mapping[StageId, int],
) -> ExecutionView:
    """Return an execution with its stages; ``lines`` are each stage's, ``jobs`` those that were opened."""
    return ExecutionView(
        id=execution.id,
        request_id=RequestId(execution.request_id),
        client_id=execution.client_id,
        template=execution.template,
        template_version=execution.template_version,
        state=execution.state,
        urgency=execution.urgency,
        queue=execution.queue,
        estimated_nano=execution.estimated_nano,
        held_nano=execution.held_nano,
        spent_nano=execution.spent_nano,
        reasons=execution.reasons,
        created_at=execution.created_at,
        deadline=execution.deadline,
        started_at=execution.started_at,
        finished_at=execution.finished_at,
        due_at=execution.aged_from if execution.queue == "deferred" else None,
        stages=tuple(
            _stage(
                stage, opened=jobs.get(stage.id, 0), planned=sum(line.count for line in lines[stage.ordinal])
            )
            for stage in stages
        ),
    )


def _stage(stage: StageBook, *, opened: int, planned: int) -> StageView:
    done = opened - stage.open_jobs
    return StageView(
        id=stage.id,
        ordinal=stage.ordinal,
        name=stage.spec.name,
        worker=stage.worker,
        action=stage.action,
        template=stage.resolved.template,
        template_version=stage.resolved.template_version,
        state=stage.state,
        phase=stage.phase,
        open_jobs=stage.open_jobs,
        jobs_done=done,
        jobs_total=done if stage.finished_at else max(opened, planned),
        outputs=stage.outputs,
        reasons=stage.reasons,
        started_at=stage.started_at,
        finished_at=stage.finished_at,
    )
