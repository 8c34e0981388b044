"""The tree of a running stage, from what its jobs have left so far. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from aifactory.granulation.generation.growing import (
    Draft,
    Expansion,
    GrowingNode,
    Growth,
    PartAnswer,
    nodes_of_draft,
    nodes_of_plan,
)
from aifactory.granulation.generation.plan import Plan
from aifactory.granulation.generation.recipe import Recipe
from aifactory.granulation.model.calls import Portion
from aifactory.granulation.model.steps import Wish
from aifactory.granulation.parameters import read_parameters
from aifactory.granulation.types import type_of
from aifactory.kernel.ids import DataId
from aifactory.resources.interface import JobState, ResolvedStage, StageJob, StageWork

# What tells most of a tree, best first: where the artifact comes from, and its name.
_WHOLES = (("score", "tree"), ("write", "tree"), ("mend", "draft"), ("assemble", "draft"))
_OPEN = frozenset(
    (JobState.SCHEDULED, JobState.READY, JobState.FOLLOWING, JobState.RUNNING, JobState.AT_PROVIDER)
)


class Growing(msgspec.Struct, frozen=True, kw_only=True):
    """A tree as far as it is. ``complete``: every part of it is written."""

    structure_type: str
    title: str
    summary: str
    complete: bool
    nodes: tuple[GrowingNode, ...]


def wanted_data(work: StageWork) -> dict[DataId, Any]:
    """Return what shows a stage's tree, with the type to read it as; nothing where there is none yet."""
    if "structureType" not in work.resolved.settings:
        return {}
    if (whole := _whole(work)) is not None:
        return {whole: Draft}
    plan = _newest(work, "plan", "plan")
    return (
        {}
        if plan is None
        else {plan: Plan, **{one.artifacts["answer"]: Expansion for one in _expansions(work)}}
    )


def growing_tree(work: StageWork, read: Mapping[DataId, Any]) -> Growing | None:
    """Return a stage's tree as far as it is, from what was read; None before there is a plan."""
    if "structureType" not in work.resolved.settings:
        return None
    if (whole := _whole(work)) is not None:
        return _of_draft(work.resolved, read.get(whole))
    planned = _newest(work, "plan", "plan")
    plan: Plan | None = None if planned is None else read.get(planned)
    if plan is None:
        return None
    busy = {job.payload["portion"]["part"] for job in work.jobs if job.state in _OPEN and _is_expansion(job)}
    nodes = nodes_of_plan(plan, _recipe(work.resolved), _answers(work, read), busy)
    return _growing(work.resolved, plan.title, plan.summary, nodes)


def _whole(work: StageWork) -> DataId | None:
    return next((found for kind, name in _WHOLES if (found := _newest(work, kind, name))), None)


def _newest(work: StageWork, kind: str, name: str) -> DataId | None:
    made = [job for job in work.jobs if job.kind == kind and job.state is JobState.SUCCEEDED]
    return next((job.artifacts[name] for job in reversed(made) if name in job.artifacts), None)


def _is_expansion(job: StageJob) -> bool:
    return job.kind in ("expand", "items") and "portion" in job.payload


def _expansions(work: StageWork) -> list[StageJob]:
    """The answers that hold nodes; items of titled children are fields of theirs."""
    return [
        job
        for job in work.jobs
        if job.kind == "expand" and job.state is JobState.SUCCEEDED and "answer" in job.artifacts
    ]


def _recipe(resolved: ResolvedStage) -> Recipe:
    spec = type_of(resolved)
    return Wish(spec=spec, parameters=read_parameters(resolved.parameters, spec)).recipe


def _answers(work: StageWork, read: Mapping[DataId, Any]) -> list[PartAnswer]:
    answers = []
    for job in _expansions(work):
        portion = msgspec.convert(job.payload["portion"], Portion)
        if (said := read.get(job.artifacts["answer"])) is not None:
            answers.append(PartAnswer(part=portion.part, count=portion.count, said=said))
    return answers


def _of_draft(resolved: ResolvedStage, draft: Draft | None) -> Growing | None:
    if draft is None:
        return None
    return _growing(resolved, draft.title, draft.summary, nodes_of_draft(draft))


def _growing(resolved: ResolvedStage, title: str, summary: str, nodes: tuple[GrowingNode, ...]) -> Growing:
    return Growing(
        structure_type=resolved.settings["structureType"],
        title=title,
        summary=summary,
        complete=all(node.state is Growth.WRITTEN for node in nodes),
        nodes=nodes,
    )
