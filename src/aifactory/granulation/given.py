"""What a stage can be given by earlier ones, and what it leaves for later ones. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from aifactory.granulation.generation.recipe import Recipe, recipe_of
from aifactory.granulation.parameters import read_parameters
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import StructureSpec
from aifactory.resources.interface import Ports, ResolvedStage, StageInputs

SOURCE, OBJECTIVES = "source", "objectives"
# Parameters that an earlier stage's outputs, or others of the request, can stand in for.
TEXTS = ("topic", "title", "targetAudience", "level", "language")
GIVES = {
    "treeId": "text",
    "tree": "tree",
    "structureType": "text",
    "title": "text",
    "language": "text",
    "origin": "text",
    "models": "list",
    "score": "number",
    "band": "text",
    "validation": "text",
    "counts": "object",
}


def ports_of(spec: StructureSpec) -> Ports:
    """Return what a stage of a type takes and gives; trees that it was promised it can't do without."""
    recipe = _recipe_of(spec)
    takes = dict.fromkeys(TEXTS, "text") | {SOURCE: "tree"}
    if takes_objectives(spec):
        takes[OBJECTIVES] = "objectives"
    has_some = recipe.root_objectives is not None or recipe.part_objectives is not None
    gives = GIVES | {"tree": "objectives"} if has_some else GIVES
    return Ports(takes=takes, gives=gives, needed=frozenset({SOURCE, OBJECTIVES}))


def takes_objectives(spec: StructureSpec) -> bool:
    """Whether a type has its objectives at the root, so that another tree's can take their place."""
    recipe = _recipe_of(spec)
    at_root = recipe.root_objectives == OBJECTIVES and spec.root_fields[OBJECTIVES].required
    return at_root and recipe.part_objectives is None


def _recipe_of(spec: StructureSpec) -> Recipe:
    return recipe_of(spec, Counts(per_level=(1,) * len(spec.levels)))


def trees_given(resolved: ResolvedStage) -> tuple[str, ...]:
    """Return the targets for which a stage gets trees of earlier stages."""
    return tuple(name for name in (SOURCE, OBJECTIVES) if name in resolved.settings.get("given", ()))


def has_source(resolved: ResolvedStage, inputs: StageInputs | None) -> bool:
    """Whether there is, or will be, a text to work from; with no inputs known, there is."""
    return inputs is None or inputs.source is not None or SOURCE in trees_given(resolved)


def with_given(
    resolved: ResolvedStage, inputs: StageInputs, spec: StructureSpec
) -> tuple[ResolvedStage, StageInputs]:
    """Return a stage with what it was given in place. Raises Invalid where that can't be used."""
    parameters = resolved.parameters | {name: inputs.mapped[name] for name in TEXTS if name in inputs.mapped}
    if SOURCE in inputs.data:
        parameters[SOURCE] = _reference(inputs.mapped[SOURCE])
        inputs = msgspec.structs.replace(inputs, source=None, source_words=bound_of(resolved))
    if parameters == resolved.parameters:
        return resolved, inputs
    read_parameters(parameters, spec)
    return msgspec.structs.replace(resolved, parameters=parameters), inputs


def _reference(tree: Mapping[str, Any]) -> dict[str, str]:
    name = tree.get("name")
    return {
        "dataRef": tree["dataRef"],
        "format": "markdown",
        "name": name if isinstance(name, str) else "source",
    }


def bound_of(resolved: ResolvedStage) -> int:
    """Return the most words that a stage reads of a tree."""
    words: int = resolved.settings["maxInputTokens"]
    return words
