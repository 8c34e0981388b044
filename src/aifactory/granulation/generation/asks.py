"""From a job to a call: the answer's type and the user text, built from what earlier steps left. Pure."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from aifactory.granulation.generation import answers, bounds, prompts
from aifactory.granulation.generation.plan import PlannedObjective, PlannedPart, outline_faults
from aifactory.granulation.generation.recipe import (
    ITEMS_A_CHILD,
    Recipe,
    expanded_fields,
)
from aifactory.granulation.generation.roots import (
    gathered_fields,
    outlined_fields,
    rows_a_part,
    rows_asked,
)
from aifactory.granulation.parameters import Parameters
from aifactory.granulation.specs import FieldSpec, FieldType

Labelled = tuple[tuple[str, str], ...]


class OutlineMaterial(msgspec.Struct, frozen=True, kw_only=True):
    """What the outline call knows of a source."""

    name: str
    language: str
    keyphrases: tuple[str, ...]
    headings: tuple[str, ...]
    passages: Labelled


class PartMaterial(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls of one part know: the sections that all parts share, its objectives, its passages.

    ``keys`` are what it may refer to, by space.
    """

    shared: str
    objectives: tuple[PlannedObjective, ...]
    part: PlannedPart
    source_name: str
    passages: Labelled
    keys: dict[str, tuple[str, ...]] = {}


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A call to be made: what the answer is, and all that the model is told beside the system text."""

    name: str
    type: Any
    user: str


def outline_ask(
    recipe: Recipe,
    parameters: Parameters,
    material: OutlineMaterial | None,
    room: int,
    given: Sequence[PlannedObjective] = (),
) -> Ask:
    """Ask for an outline; at most ``room`` characters are spent on the source, ``given`` objectives stand."""
    language = material.language if material else parameters.language or "en"
    sizes = _outline_sizes(recipe, are_given=bool(given))
    text = prompts.brief_section(parameters, recipe, language)
    if material is not None:
        text += _headings(material, room // 3)
        passages = _fitting(material.passages, room - room // 3)
        text += prompts.passages_section(material.name, passages)
    text += prompts.objectives_section(given)
    text += prompts.outline_task(recipe) + prompts.sizes_section(sizes)
    return Ask(
        name="outline",
        type=answers.outline_type(recipe, grounded=material is not None, given=[one.key for one in given]),
        user=text,
    )


def _headings(material: OutlineMaterial, room: int) -> str:
    """The source's own words for what it is about, as data too."""
    lines = [f"[h] {heading}" for heading in material.headings]
    lines += [f"[k] {phrase}" for phrase in material.keyphrases]
    shown: Labelled = tuple(("h", line[4:]) for line in lines)
    kept = _fitting(shown, room)
    if not kept:
        return ""
    inside = [prompts.inert(line) for _, line in kept]
    return prompts.section("Subjects of the source", ['<source name="subjects">', *inside, "</source>"])


def _outline_sizes(recipe: Recipe, *, are_given: bool) -> dict[str, int]:
    sizes: dict[str, int] = {}
    if recipe.root_objectives and not are_given:
        sizes[recipe.root_objectives] = recipe.root_objective_count
    for name, field in outlined_fields(recipe).items():
        if field.of is not None:
            rows = field.of.type is FieldType.OBJECT
            sizes[name] = rows_asked(field, recipe) if rows else bounds.list_length(field)
    sizes["nodes"] = recipe.parts
    if recipe.part_objectives:
        sizes[f"nodes[].{recipe.part_objectives}"] = recipe.objectives_a_part
    if recipe.children_are_titled:
        sizes["nodes[].children"] = recipe.children
    return sizes


def expansion_ask(
    recipe: Recipe, material: PartMaterial, children: Sequence[str], *, count: int, whole: bool
) -> Ask:
    """Ask for the inside of a part: of the children named by key, or of ``count`` where they have none."""
    part = material.part
    sizes = _expansion_sizes(recipe, len(children) if recipe.children_are_titled else count, whole)
    kind = answers.expansion_type(
        recipe,
        children=children if recipe.children_are_titled else (),
        keys=_keys(material),
        grounded=bool(material.passages),
        whole=whole,
    )
    user = _part_text(recipe, material, prompts.part_task(part, recipe, children, items=False), sizes)
    return Ask(name="expansion", type=kind, user=user)


def items_ask(recipe: Recipe, material: PartMaterial, children: Sequence[str]) -> Ask:
    """Ask for the items of a part's children."""
    sizes = {"children": len(children), "children[].items": ITEMS_A_CHILD}
    kind = answers.items_of_children_type(
        _keys(material), children=children, grounded=bool(material.passages)
    )
    task = prompts.part_task(material.part, recipe, children, items=True)
    return Ask(name="items", type=kind, user=_part_text(recipe, material, task, sizes))


def _part_text(recipe: Recipe, material: PartMaterial, task: str, sizes: dict[str, int]) -> str:
    return (
        material.shared
        + prompts.passages_section(material.source_name, material.passages)
        + (prompts.objectives_section(material.objectives) if recipe.part_objectives else "")
        + task
        + prompts.sizes_section(sizes)
    )


def _keys(material: PartMaterial) -> answers.Keys:
    return {**material.keys, "objective": tuple(one.key for one in material.objectives)}


def _expansion_sizes(recipe: Recipe, children: int, whole: bool) -> dict[str, int]:
    if recipe.children_are_items:
        return {"items": children}
    sizes: dict[str, int] = {}
    if whole:
        sizes |= _list_sizes("", expanded_fields(recipe.spec.levels[0], recipe, 0))
        sizes |= {name: rows_a_part(field, recipe) for name, field in gathered_fields(recipe).items()}
    if recipe.children:
        sizes["children"] = children
        sizes |= _list_sizes("children[].", expanded_fields(recipe.spec.levels[1], recipe, 1))
    if recipe.grandchildren:
        sizes["children[].children"] = recipe.grandchildren
        sizes |= _list_sizes("children[].children[].", expanded_fields(recipe.spec.levels[2], recipe, 2))
    return sizes


def _list_sizes(prefix: str, fields: dict[str, FieldSpec]) -> dict[str, int]:
    """Lengths of lists of texts; how many references or labels a node needs is for the writer to know."""
    return {
        f"{prefix}{name}": bounds.list_length(field)
        for name, field in fields.items()
        if field.of is not None
        and field.of.type is FieldType.TEXT
        and field.of.refers_to is None
        and not bounds.lists_labels(field)
    }


def patches_ask(shared: str, problems: Sequence[dict[str, Any]], siblings: Sequence[str]) -> Ask:
    """Ask for new values at the places of problems ({path, rule, message, value})."""
    lines = [json.dumps(problem, ensure_ascii=False) for problem in problems]
    user = shared + prompts.problems_section(lines, siblings) + prompts.patch_task()
    sizes = {"patches": len(problems)}
    return Ask(
        name="patches",
        type=answers.patches_type([problem["path"] for problem in problems]),
        user=user + prompts.sizes_section(sizes),
    )


CRITERIA = {
    2: {
        "coverage": "the outline treats what the brief and the source are about, and nothing else",
        "flow": "each part follows from those before it and nothing is said twice",
    },
    3: {"audience": "words, examples and difficulty fit the audience and level of the brief"},
}


def judge_ask(shared: str, level: int) -> Ask:
    """Ask for an advisory judgement of a whole tree."""
    criteria = {name: text for at, named in CRITERIA.items() if at <= level for name, text in named.items()}
    return Ask(
        name="judgement",
        type=answers.judgement_type(list(criteria)),
        user=shared + prompts.judge_task(criteria),
    )


def answer_faults(name: str, answer: dict[str, Any], recipe: Recipe, asked: Sequence[str]) -> str | None:
    """Say why an answer of the right types can't be used, or None. ``asked`` are keys of titled children."""
    if name == "outline":
        return outline_faults(answer, recipe)
    if name == "expansion":
        return _expansion_faults(answer, recipe, asked)
    if name == "items":
        empty = [child["key"] for child in answer["children"] if not child["items"]]
        return f"no items for {', '.join(empty)}" if empty or not answer["children"] else None
    return None


def _expansion_faults(answer: dict[str, Any], recipe: Recipe, asked: Sequence[str]) -> str | None:
    if not recipe.children:
        return None
    found = answer["items"] if recipe.children_are_items else answer["children"]
    if recipe.children_are_titled:
        missing = set(asked) - {child["key"] for child in found}
        if missing:
            return f"{', '.join(sorted(missing))} missing"
    else:
        least = min(recipe.spec.levels[1].min, recipe.children)
        if len(found) < least:
            return f"{len(found)} of {least} needed"
    if recipe.grandchildren:
        least = min(recipe.spec.levels[2].min, recipe.grandchildren)
        if any(len(child["children"]) < least for child in found):
            return f"a node with fewer than {least} children"
    return None


def _fitting(lines: Labelled, room: int) -> Labelled:
    kept: list[tuple[str, str]] = []
    for label, line in lines:
        room -= len(line) + len(label) + 4
        if room < 0:
            break
        kept.append((label, line))
    return tuple(kept)


def outline_of_tree(nodes: Sequence[Any], room: int) -> str:
    """The titles and summaries of a tree's nodes, as many as fit, for a judge."""
    lines: list[str] = []
    for path, node in nodes:
        text = f"{'  ' * path.count('.')}{path} {prompts.inert(node.title)}"
        if node.summary:
            text += f": {prompts.inert(node.summary)}"
        room -= len(text) + 1
        if room < 0:
            break
        lines.append(text)
    # What a tree says comes from its source: to a judge it is data too.
    return prompts.section("Outline", ['<source name="outline">', *lines, "</source>"])
