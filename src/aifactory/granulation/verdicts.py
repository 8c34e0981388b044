"""What is said of a stage's result: its state, the reasons, how far it was checked. Pure."""

from aifactory.granulation.model.calls import MODEL_KINDS
from aifactory.granulation.parameters import Parameters
from aifactory.granulation.queries import StoredTree
from aifactory.granulation.scoring import Assessment
from aifactory.granulation.tree import Origin
from aifactory.resources.interface import JobState, Reason, RunningStage, StageState


def is_written_offline(stage: RunningStage) -> bool:
    """Whether the offline generator wrote everything."""
    return any(job.kind == "write" for job in stage.jobs)


def has_succeeded(stage: RunningStage, kind: str) -> bool:
    """Whether a job of a kind succeeded."""
    return any(job.kind == kind and job.state is JobState.SUCCEEDED for job in stage.jobs)


def tree_state(assessment: Assessment, parameters: Parameters) -> str:
    """Return the state that a tree is stored in."""
    score = assessment.score
    if score.gates_failed or score.score is None:
        return "invalid"
    below = parameters.validation.enabled and score.score < parameters.validation.threshold
    return "below_threshold" if below else "valid"


def gaps_of(stage: RunningStage) -> tuple[Reason, ...]:
    """Say what models were to write and did not."""
    if stage.resolved.settings.get("generator") is None:
        why = stage.resolved.settings.get("whyOffline")
        return (Reason(code="written_offline", message=why),) if why else ()
    cause = _cause(stage)
    if is_written_offline(stage):
        message = f"The models gave no usable outline ({cause}); the offline generator wrote everything."
        return (Reason(code="written_offline", message=message),)
    done = next(job.output for job in reversed(stage.jobs) if job.kind == "score")
    said = {
        "parts_offline": (done["offline"], f"of the parts got no usable answer ({cause}); written offline."),
        "parts_missing": (done["leftOut"], f"of the parts got no usable answer ({cause}); left out."),
        "made_smaller": (
            _made_smaller(stage),
            f"of the calls failed ({cause}) and were made again, smaller.",
        ),
    }
    return tuple(
        Reason(code=code, message=f"{count} {what}") for code, (count, what) in said.items() if count
    )


def _made_smaller(stage: RunningStage) -> int:
    return sum(
        job.state is JobState.SUCCEEDED and job.payload.get("portion", {}).get("small", False)
        for job in stage.jobs
    )


def _cause(stage: RunningStage) -> str:
    """Return what went wrong most often."""
    faults = [job.fault.message for job in stage.jobs if job.kind in MODEL_KINDS and job.fault]
    if not faults:
        return "no answer came"
    return max(faults, key=faults.count).rstrip(".")


def end_of(
    stored: StoredTree, parameters: Parameters, gaps: tuple[Reason, ...]
) -> tuple[StageState, tuple[Reason, ...]]:
    """Gates fail → failed; gaps, or below the threshold → partial; else succeeded."""
    if stored.state == "invalid":
        return StageState.FAILED, (*gaps, _invalid(stored))
    reasons = gaps
    if stored.state == "below_threshold":
        message = f"The score {stored.score} is below the threshold {parameters.validation.threshold:g}."
        reasons = (Reason(code="below_threshold", message=message), *gaps)
    return (StageState.PARTIAL if reasons else StageState.SUCCEEDED), reasons


def _invalid(stored: StoredTree) -> Reason:
    """Say which required checks failed; too few nodes of the offline generator mean a thin source."""
    gates = stored.assessment["gatesFailed"]
    if gates == ["levels.minimum"] and stored.origin == Origin.OFFLINE:
        message = (
            f"The source holds too little for a {stored.structure_type} of this depth. Use a longer "
            "source, a smaller depth, or another type."
        )
        return Reason(code="source_too_thin", message=message)
    return Reason(code="invalid_tree", message=f"Required checks failed: {', '.join(gates)}.")


def validation_label(stage: RunningStage, parameters: Parameters) -> str:
    """Rules always run; from level 2 on a judge is wanted: without its answer the result is unverified."""
    if parameters.validation.level == 1:
        return "rules"
    return "judged" if has_succeeded(stage, "judge") else "unverified"
