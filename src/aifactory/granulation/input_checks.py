"""What a stage must have been given before anything is held for it."""

from aifactory.granulation import given, types
from aifactory.granulation.model.choice import Generator
from aifactory.granulation.offline.frames.framing import why_unframed
from aifactory.granulation.offline.source import LEAST_WORDS
from aifactory.granulation.parameters import Mode, Parameters
from aifactory.kernel.errors import invalid
from aifactory.resources.interface import ResolvedStage, StageInputs


def check_inputs(
    inputs: StageInputs, resolved: ResolvedStage, parameters: Parameters, generator: Generator | None
) -> None:
    """Refuse at submission what the first step would refuse. Raises Invalid."""
    if given.SOURCE in given.trees_given(resolved):
        return
    if inputs.source is None and generator is None and (why := _unframed(resolved, parameters)) is not None:
        reason = resolved.settings.get("whyOffline") or (
            "The offline generator works from a source."
            if parameters.mode is Mode.OFFLINE
            else "No model provider is configured, so the text comes from a source."
        )
        message = f"{reason} {why} Add parameters.source with text or dataRef."
        raise invalid("/parameters/source", "source_required", message)
    named = {"topic", "title", given.OBJECTIVES}.intersection(resolved.settings.get("given", ()))
    said = f"{parameters.topic or ''}{parameters.title or ''}".strip()
    if inputs.source is None and not said and not named:
        message = "Say what it is to be about: parameters.topic, or parameters.source with text or dataRef."
        raise invalid("/parameters/topic", "topic_required", message)
    if inputs.source is not None and inputs.source_words < LEAST_WORDS:
        raise invalid(
            "/parameters/source",
            "source_too_short",
            f"The source is too short: it has {inputs.source_words} of at least {LEAST_WORDS} words.",
        )


def _unframed(resolved: ResolvedStage, parameters: Parameters) -> str | None:
    """Why a stage without a source can't be given a frame; None where it can."""
    if given.OBJECTIVES in given.trees_given(resolved):
        return "A frame cannot serve the objectives of an earlier stage."
    return why_unframed(types.type_of(resolved).type, parameters.language or "")
