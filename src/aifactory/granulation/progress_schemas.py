"""What the progress of an execution looks like."""

from datetime import datetime
from decimal import Decimal

from aifactory.granulation.generation.growing import GrowingNode
from aifactory.granulation.progress import percent_done, remaining_seconds
from aifactory.granulation.progress_tree import Growing
from aifactory.granulation.schemas import View
from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.resources.interface import ExecutionState, ExecutionView, StageState, StageView, Step


class StageProgress(View, frozen=True, kw_only=True):
    """How far a stage is; ``treeId`` once its tree is stored."""

    ordinal: int
    name: str | None
    worker: str
    template: str
    state: StageState
    phase: str
    jobs_done: int
    jobs_total: int
    tree_id: str | None


class GrowingTree(View, frozen=True, kw_only=True):
    """The tree of the latest stage that has one. A ``draft`` is not checked yet and may still be changed.

    It comes without nodes once it is stored: ``treeId`` says where. ``complete``: every part is written.
    """

    stage: int
    structure_type: str
    title: str
    summary: str | None
    draft: bool
    complete: bool
    tree_id: str | None
    nodes: tuple[GrowingNode, ...]


class ExecutionProgress(View, frozen=True, kw_only=True):
    """How far an execution is.

    ``percent`` never falls and is 100 at the end. ``estimatedRemainingMs`` takes the speed of the calls and
    steps that have ended for those that are left, and is null before there are some and at the end.
    """

    execution_id: str
    request_id: str
    state: ExecutionState
    percent: int
    jobs_done: int
    jobs_total: int
    cost_usd: Decimal
    started_at: datetime | None
    elapsed_ms: int | None
    estimated_remaining_ms: int | None
    stages: tuple[StageProgress, ...]
    tree: GrowingTree | None


def progress_of(
    view: ExecutionView, steps: list[Step], tree: GrowingTree | None, now: datetime
) -> ExecutionProgress:
    """Return an execution's progress as it leaves."""
    seconds = remaining_seconds(steps) if view.state is ExecutionState.RUNNING else None
    elapsed = None if view.started_at is None else (view.finished_at or now) - view.started_at
    return ExecutionProgress(
        execution_id=text_id("exec", view.id),
        request_id=text_id("req", view.request_id),
        state=view.state,
        percent=percent_done(steps, is_final=view.state.final),
        jobs_done=sum(stage.jobs_done for stage in view.stages),
        jobs_total=sum(stage.jobs_total for stage in view.stages),
        cost_usd=usd(view.spent_nano),
        started_at=view.started_at,
        elapsed_ms=None if elapsed is None else max(0, round(elapsed.total_seconds() * 1000)),
        estimated_remaining_ms=None if seconds is None else round(seconds * 1000),
        stages=tuple(_stage_of(stage) for stage in view.stages),
        tree=tree,
    )


def _stage_of(stage: StageView) -> StageProgress:
    return StageProgress(
        ordinal=stage.ordinal,
        name=stage.name,
        worker=stage.worker,
        template=stage.template,
        state=stage.shown_state,
        phase=stage.phase,
        jobs_done=stage.jobs_done,
        jobs_total=stage.jobs_total,
        tree_id=(stage.outputs or {}).get("treeId"),
    )


def stored_tree(stage: StageView) -> GrowingTree:
    """Return where the tree of a stage is that has stored one."""
    outputs = stage.outputs or {}
    return GrowingTree(
        stage=stage.ordinal,
        structure_type=outputs.get("structureType", ""),
        title=outputs.get("title", ""),
        summary=None,
        draft=False,
        complete=True,
        tree_id=outputs["treeId"],
        nodes=(),
    )


def tree_of(stage: StageView, growing: Growing) -> GrowingTree:
    """Return the tree of a stage as far as it is."""
    return GrowingTree(
        stage=stage.ordinal,
        structure_type=growing.structure_type,
        title=growing.title,
        summary=growing.summary,
        draft=True,
        complete=growing.complete,
        tree_id=None,
        nodes=growing.nodes,
    )
