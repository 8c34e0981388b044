"""The way of a stage that models write: its phases, and what each is given. Pure.

take → read → outline → plan → expand (and items, side by side) → assemble → patch → mend → patch_again →
score → judge. Only a stage that is given trees of earlier ones takes from them; without a source there is
nothing to read; patches are asked for only where something is to be mended, a judge only from validation
level 2 on. When no outline comes, the offline generator writes everything.
"""

from collections.abc import Iterable, Sequence

import msgspec

from aifactory.granulation.model.calls import Portion
from aifactory.granulation.model.lines import (
    PATCH_OUTPUT,
    PATCH_SECONDS,
    ModelPath,
    further_call,
    line_call,
    patch_calls,
)
from aifactory.granulation.offline_path import local_phase, taking_phase
from aifactory.kernel.ids import DataId
from aifactory.resources.interface import (
    EndedJob,
    JobState,
    NewJob,
    Phase,
    ResolvedStage,
    RunningStage,
    StageInputs,
)


def first_phase(path: ModelPath, resolved: ResolvedStage, inputs: StageInputs) -> Phase:
    """Return what comes first: taking from earlier trees, reading the source, or the outline at once."""
    taking = taking_phase(resolved, inputs)
    return taking or _reading_phase(path, resolved, inputs, {})


def _reading_phase(
    path: ModelPath, resolved: ResolvedStage, inputs: StageInputs, data: dict[str, DataId]
) -> Phase:
    if path.has_source:
        return local_phase("read", resolved, inputs, data)
    return _outline_phase(path, resolved, data)


def _outline_phase(path: ModelPath, resolved: ResolvedStage, data: dict[str, DataId]) -> Phase:
    return Phase(name="outline", jobs=(line_call(path, "outline", resolved, data),))


def next_phase(path: ModelPath, stage: RunningStage) -> Phase | None:
    """Return what follows the phase that has ended; None where nothing does, or nothing can."""
    done = _Done(stage.jobs)
    match stage.phase:
        case "take":
            if done.made("take") is None:
                return None
            return _reading_phase(path, stage.resolved, stage.inputs, done.data(*_TAKEN))
        case "read":
            data = done.data("material", "objectives")
            return _outline_phase(path, stage.resolved, data) if done.made("read") else None
        case "outline":
            return _local(stage, done, "plan", "digest", answer=done.made("outline"))
        case "plan":
            return _expand_phase(path, stage, done)
        case "expand":
            return _assemble_phase(path, stage, done)
        case "assemble" | "mend":
            return _patch_phase(path, stage, done)
        case "patch" | "patch_again":
            return _patched_phase(stage, done)
        case "score":
            return _judge_phase(path, stage, done)
        case _:
            return None


_TAKEN = ("source", "objectives")
_ORDER = (
    "take",
    "read",
    "outline",
    "plan",
    "expand",
    "items",
    "assemble",
    "patch",
    "mend",
    "patch_again",
    "write",
    "score",
    "judge",
)


def offline_phase(path: ModelPath, stage: RunningStage) -> Phase | None:
    """Return what the offline generator does in the models' place, where it may and can."""
    done = _Done(stage.jobs)
    if stage.phase not in ("outline", "plan", "assemble"):
        return None
    if not (path.generator.fallback and path.has_source and done.made("read")):
        return None
    return local_phase("write", stage.resolved, stage.inputs, done.data("digest", *_TAKEN))


class _Done:
    """The jobs of a stage that succeeded, and what they left."""

    def __init__(self, jobs: Sequence[EndedJob]) -> None:
        succeeded = [job for job in jobs if job.state is JobState.SUCCEEDED]
        # By what they are, not by when: ids of two machines' clocks do not tell.
        self.jobs = sorted(succeeded, key=lambda job: _ORDER.index(job.kind) if job.kind in _ORDER else -1)

    def made(self, kind: str) -> EndedJob | None:
        return next((job for job in reversed(self.jobs) if job.kind == kind), None)

    def data(self, *names: str) -> dict[str, DataId]:
        """Return the newest artifact of each name, of those that exist."""
        found = {name: one for job in self.jobs for name, one in job.artifacts.items()}
        return {name: found[name] for name in names if name in found}


def _local(stage: RunningStage, done: _Done, kind: str, *names: str, answer: EndedJob | None) -> Phase | None:
    if answer is None:
        return None
    data = {**done.data(*names, *_TAKEN), "answer": answer.artifacts["answer"]}
    return local_phase(kind, stage.resolved, stage.inputs, data)


def _expand_phase(path: ModelPath, stage: RunningStage, done: _Done) -> Phase | None:
    planned = done.made("plan")
    if planned is None:
        return None
    if not path.recipe.has_insides:
        return _assemble_phase(path, stage, done)
    expansions: list[NewJob] = []
    items: list[NewJob] = []
    for part, children in planned.output["parts"].items():
        data = {"material": planned.artifacts[f"part.{part}"]}
        portions = _portions(path, part, children)
        expansions += [line_call(path, "expand", stage.resolved, data, portion) for portion in portions]
        if path.recipe.item_list and children:
            portion = Portion(part=part, children=tuple(children))
            items.append(line_call(path, "items", stage.resolved, data, portion))
    # The longest calls first: then the short ones fill the gaps.
    return Phase(name="expand", jobs=(*expansions, *items))


def _portions(path: ModelPath, part: str, children: Sequence[str]) -> Iterable[Portion]:
    if children:
        size = path.children_a_portion
        for start in range(0, len(children), size):
            yield Portion(part=part, children=tuple(children[start : start + size]), whole=start == 0)
    else:
        size = path.children_a_portion
        for piece in range(path.portions):
            count = min(size, path.recipe.children - piece * size)
            yield Portion(part=part, count=max(0, count), piece=piece, pieces=path.portions, whole=piece == 0)


def _assemble_phase(path: ModelPath, stage: RunningStage, done: _Done) -> Phase:
    data = done.data("digest", "plan", *_TAKEN)
    for job in done.jobs:
        if job.kind in ("expand", "items"):
            data[f"{job.kind}.{job.payload['portion']['part']}.{job.id}"] = job.artifacts["answer"]
    facts = {"simulated": _simulated(done.jobs), "patchCalls": patch_calls(path)}
    return local_phase("assemble", stage.resolved, stage.inputs, data, **facts)


def _simulated(jobs: Iterable[EndedJob]) -> bool:
    return any(job.output.get("simulated") for job in jobs)


def models_used(jobs: Iterable[EndedJob]) -> list[str]:
    """Return the models whose answers were used, most used first."""
    counted: dict[str, int] = {}
    for job in jobs:
        if job.state is JobState.SUCCEEDED and "model" in job.output:
            counted[job.output["model"]] = counted.get(job.output["model"], 0) + 1
    return sorted(counted, key=lambda name: (-counted[name], name))


def _patch_phase(path: ModelPath, stage: RunningStage, done: _Done) -> Phase | None:
    drafted = done.made(stage.phase)
    if drafted is None:
        return None
    names = drafted.output["patches"]
    if not names:
        return _score_phase(stage, done)
    # The second round is a kind of its own, so that its answers are never taken for the first one's.
    kind = "patch" if stage.phase == "assemble" else "patch_again"
    jobs = tuple(
        msgspec.structs.replace(
            further_call(
                path,
                kind,
                stage.resolved,
                {"material": drafted.artifacts[name]},
                route=path.generator.routes[0],
                output_limit=path.output_limit(PATCH_OUTPUT),
            ),
            timeout_seconds=PATCH_SECONDS,
            max_attempts=1,
        )
        for name in names
    )
    return Phase(name=kind, jobs=jobs)


def _patched_phase(stage: RunningStage, done: _Done) -> Phase:
    """Put what came into the draft; a round of calls of which none succeeded is no reason for another."""
    answers = [job for job in done.jobs if job.kind == stage.phase]
    if stage.phase == "patch_again" or not answers:
        return _score_phase(stage, done, answers)
    data = done.data("digest", "draft", "repairs", *_TAKEN) | _numbered(answers)
    return local_phase("mend", stage.resolved, stage.inputs, data)


def _numbered(answers: Sequence[EndedJob]) -> dict[str, DataId]:
    return {f"answer.{at}": job.artifacts["answer"] for at, job in enumerate(answers)}


def _score_phase(stage: RunningStage, done: _Done, answers: Sequence[EndedJob] = ()) -> Phase:
    data = done.data("digest", "draft", "repairs", *_TAKEN) | _numbered(answers)
    facts = {"models": models_used(done.jobs)}
    return local_phase("score", stage.resolved, stage.inputs, data, **facts)


def _judge_phase(path: ModelPath, stage: RunningStage, done: _Done) -> Phase | None:
    data = done.data("judged")
    if path.wish.parameters.validation.level < 2 or not data:
        return None
    return Phase(name="judge", jobs=(line_call(path, "judge", stage.resolved, data),))
