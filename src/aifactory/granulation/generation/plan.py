"""The outline gate: from a model's outline to a plan that every later call and the assembly rely on. Pure."""

from typing import Any

import msgspec

from aifactory.granulation.generation.fields import FieldReader
from aifactory.granulation.generation.passages import Passages
from aifactory.granulation.generation.recipe import Recipe
from aifactory.granulation.generation.roots import object_keys, outlined_fields
from aifactory.granulation.offline.titles import fit_title
from aifactory.granulation.tree import Bloom

LONGEST_SUMMARY = 400


class Planned(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what a plan is made of."""


class PlannedObjective(Planned, frozen=True, kw_only=True):
    """An objective or outcome under its key; ``serves`` are the keys of outcomes.

    ``id`` is that of a given objective; others get one when the tree is put together.
    """

    key: str
    text: str
    bloom: Bloom
    serves: tuple[str, ...] = ()
    id: str = ""


class PlannedChild(Planned, frozen=True, kw_only=True):
    """A second-level node: its key and title."""

    key: str
    title: str


class PlannedPart(Planned, frozen=True, kw_only=True):
    """A first-level node. ``lines`` are the passages that it is to be written from, ``cited`` those that the
    outline named for it."""

    key: str
    title: str
    summary: str
    objectives: tuple[PlannedObjective, ...] = ()
    refers_to: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    children: tuple[PlannedChild, ...] = ()
    cited: tuple[int, ...] = ()
    lines: tuple[int, ...] = ()


class Plan(Planned, frozen=True, kw_only=True):
    """An outline that passed its gate; ``fields`` are those of the root that it has settled."""

    title: str
    summary: str
    objectives: tuple[PlannedObjective, ...]
    parts: tuple[PlannedPart, ...]
    fields: dict[str, Any] = {}
    fixes: tuple[str, ...] = ()

    def objectives_for(self, part: PlannedPart) -> tuple[PlannedObjective, ...]:
        """Return the objectives that a part's children may refer to."""
        if part.objectives:
            return part.objectives
        chosen = tuple(one for one in self.objectives if one.key in part.refers_to)
        return chosen or self.objectives


def outline_faults(answer: dict[str, Any], recipe: Recipe) -> str | None:
    """Say why an outline can't be planned from, or None: too few parts, children or objectives."""
    least = min(recipe.spec.levels[0].min, recipe.parts)
    nodes = _by_key(answer["nodes"])
    if len(nodes) < least:
        return f"{len(nodes)} nodes; at least {least} are needed"
    if recipe.children_are_titled:
        least = min(recipe.spec.levels[1].min, recipe.children)
        short = [key for key, node in nodes.items() if len(node["children"]) < least]
        if short:
            return f"{', '.join(short)}: fewer than {least} children"
    for name, field in outlined_fields(recipe).items():
        if field.required and _amount(answer[name]) < (field.min or 1 if field.of is not None else 1):
            return f"no {name}, or too few"
    # An outline for given objectives was not asked for any.
    if recipe.root_objectives and not answer.get(recipe.root_objectives, True):
        return f"no {recipe.root_objectives}"
    if recipe.part_objectives and any(not node[recipe.part_objectives] for node in nodes.values()):
        return f"a node without {recipe.part_objectives}"
    return None


def _amount(value: Any) -> float:
    """How much there is of a root's value: entries under keys of their own, characters of a text."""
    if isinstance(value, list):
        keys = {one["key"] for one in value if isinstance(one, dict) and "key" in one}
        return len(keys or value)
    return len(value.strip()) if isinstance(value, str) else 1


def plan_of(
    answer: dict[str, Any],
    recipe: Recipe,
    passages: Passages | None,
    given: tuple[PlannedObjective, ...] = (),
) -> Plan:
    """Turn an outline without faults into a plan: cut to size, references closed and backward only.

    ``given`` objectives are the plan's, whatever the outline says.
    """
    fixes: list[str] = []
    roots = given or _root_objectives(answer, recipe)
    known = {one.key for one in roots}
    parts: list[PlannedPart] = []
    for node in list(_by_key(answer["nodes"]).values())[: recipe.parts]:
        parts.append(_part(node, recipe, known, [part.key for part in parts], fixes))
    if len(answer["nodes"]) != len(parts):
        fixes.append(f"outline: {len(answer['nodes'])} nodes became {len(parts)}")
    if passages is not None:
        parts = _with_lines(parts, answer, passages)
    return Plan(
        title=fitted_title(answer["title"], parts[0].title),
        summary=fitted_summary(answer["summary"]),
        objectives=_served(roots, parts) if recipe.part_objectives else roots,
        parts=tuple(parts),
        fields=_root_fields(answer, recipe),
        fixes=tuple(fixes),
    )


def _root_fields(answer: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The fields that the outline settles; what it declares has its key for an id."""
    keys = object_keys(recipe)
    fields = outlined_fields(recipe)
    said: dict[str, Any] = {}
    for name, field in fields.items():
        value = answer.get(name)
        if value and field.of is not None and field.of.defines in keys and isinstance(value[0], dict):
            value = [{**row, "id": key} for key, row in _by_key(value).items()]
        said[name] = value
    return FieldReader({key: key for known in keys.values() for key in known}).read(fields, said)


def _by_key(nodes: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return nodes by their keys, the first of each, in order."""
    found: dict[str, dict[str, Any]] = {}
    for node in nodes:
        found.setdefault(node["key"], node)
    return found


def _root_objectives(answer: dict[str, Any], recipe: Recipe) -> tuple[PlannedObjective, ...]:
    if recipe.root_objectives is None:
        return ()
    most = int(recipe.spec.root_fields[recipe.root_objectives].max or 40)
    found = _by_key(answer[recipe.root_objectives])
    return tuple(
        PlannedObjective(key=key, text=one_line(one["text"]), bloom=Bloom(one["bloom"]))
        for key, one in list(found.items())[:most]
    )


def _part(
    node: dict[str, Any], recipe: Recipe, known: set[str], earlier: list[str], fixes: list[str]
) -> PlannedPart:
    key = node["key"]
    needs = tuple(dict.fromkeys(node[recipe.part_needs])) if recipe.part_needs else ()
    requires = tuple(need for need in needs if need in earlier)
    if len(requires) != len(needs):
        fixes.append(f"{key}: requires only what comes earlier")
    refers = node.get(recipe.part_objective_refs or "", ()) if not recipe.part_objectives else ()
    return PlannedPart(
        key=key,
        title=fitted_title(node["title"], f"Part {key[1:]}"),
        summary=fitted_summary(node["summary"]),
        objectives=_part_objectives(node, recipe, known),
        refers_to=tuple(dict.fromkeys(name for name in refers if name in known)),
        requires=requires,
        children=_children(node, recipe),
    )


def _part_objectives(node: dict[str, Any], recipe: Recipe, known: set[str]) -> tuple[PlannedObjective, ...]:
    if recipe.part_objectives is None:
        return ()
    most = int(recipe.spec.levels[0].fields[recipe.part_objectives].max or 5)
    return tuple(
        PlannedObjective(
            key=f"{node['key']}o{position}",
            text=one_line(one["text"]),
            bloom=Bloom(one["bloom"]),
            serves=tuple(dict.fromkeys(name for name in one.get("outcomeIds", ()) if name in known)),
        )
        for position, one in enumerate(node[recipe.part_objectives][:most], 1)
    )


def _children(node: dict[str, Any], recipe: Recipe) -> tuple[PlannedChild, ...]:
    if not recipe.children_are_titled:
        return ()
    return tuple(
        PlannedChild(key=f"{node['key']}c{position}", title=fitted_title(child["title"], f"Topic {position}"))
        for position, child in enumerate(node["children"][: recipe.children], 1)
    )


def _served(outcomes: tuple[PlannedObjective, ...], parts: list[PlannedPart]) -> tuple[PlannedObjective, ...]:
    """Keep outcomes that an objective serves, as long as enough are left."""
    served = {name for part in parts for one in part.objectives for name in one.serves}
    kept = tuple(one for one in outcomes if one.key in served)
    return kept if len(kept) >= min(3, len(outcomes)) else outcomes


def _with_lines(parts: list[PlannedPart], answer: dict[str, Any], passages: Passages) -> list[PlannedPart]:
    nodes = _by_key(answer["nodes"])
    cited = [passages.known(nodes[part.key]["sources"]) for part in parts]
    shares = passages.shares(cited)
    return [
        msgspec.structs.replace(part, cited=own, lines=lines)
        for part, own, lines in zip(parts, cited, shares, strict=True)
    ]


def one_line(text: str) -> str:
    """Return a text on one line, single blanks between its words."""
    return " ".join(text.split())


def fitted_title(text: str, otherwise: str) -> str:
    """Return a title within its length, or another one where nothing of it is left."""
    fitted = fit_title(one_line(text))
    return fitted if len(fitted) >= 3 else otherwise


def fitted_summary(text: str) -> str:
    """Return a summary within its length, cut after a sentence or else a word."""
    text = one_line(text)
    if len(text) <= LONGEST_SUMMARY:
        return text
    cut = text[: LONGEST_SUMMARY - 1]
    end = max(cut.rfind(". "), cut.rfind("! "), cut.rfind("? "))
    return cut[: end + 1] if end > 80 else cut.rsplit(" ", 1)[0] + "…"
