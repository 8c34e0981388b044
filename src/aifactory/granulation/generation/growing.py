"""A tree while it is written: what is planned, and what of it is there, without checks. Pure.

The order is the plan's. What two calls write of one part stands in the order of the calls, as in the draft,
whichever answer comes first; so what is shown only grows until the draft takes its place.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum

import msgspec

from aifactory.granulation.generation.assembly import title_from
from aifactory.granulation.generation.plan import Plan, PlannedPart, fitted_summary, fitted_title
from aifactory.granulation.generation.recipe import Recipe, title_field
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.specs import LevelSpec
from aifactory.granulation.tree import NodeState


class Growth(StrEnum):
    """Whether a node's text is there."""

    PENDING = "pending"
    WRITTEN = "written"


class GrowingNode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A node as far as it is; ``id`` is the one that it will have, where that is known already."""

    id: str | None
    kind: str
    title: str
    summary: str = ""
    state: Growth = Growth.WRITTEN
    children: tuple["GrowingNode", ...] = ()


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """What of an answer names a node."""

    key: str = ""
    title: str | None = None
    summary: str | None = None
    stem: str | None = None
    front: str | None = None
    claim: str | None = None
    children: tuple["_Said", ...] = ()


class Expansion(msgspec.Struct, frozen=True, kw_only=True):
    """What of an expansion names nodes."""

    children: tuple[_Said, ...] = ()
    items: tuple[_Said, ...] = ()


class PartAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An expansion: of which part, and for how many untitled children."""

    part: str
    count: int
    said: Expansion


class _Drafted(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: str
    title: str
    summary: str = ""
    state: NodeState = NodeState.DRAFT
    children: tuple["_Drafted", ...] = ()


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What of a tree is shown while it is not checked."""

    title: str
    summary: str = ""
    nodes: tuple[_Drafted, ...] = ()


def nodes_of_plan(
    plan: Plan, recipe: Recipe, answers: Sequence[PartAnswer], busy: Collection[str]
) -> tuple[GrowingNode, ...]:
    """Return the planned parts with what is written of each; ``busy`` are parts with open calls.

    A part is written once none of its calls is open and something came of them. ``answers`` are in the order
    of their calls.
    """
    by_part: dict[str, list[PartAnswer]] = {}
    for answer in answers:
        by_part.setdefault(answer.part, []).append(answer)
    return tuple(
        _part(plan, recipe, part, by_part.get(part.key, []), is_busy=part.key in busy) for part in plan.parts
    )


def nodes_of_draft(draft: Draft) -> tuple[GrowingNode, ...]:
    """Return the nodes of a tree that is put together."""
    return tuple(_drafted(node) for node in draft.nodes)


def _drafted(node: _Drafted) -> GrowingNode:
    return GrowingNode(
        id=node.id,
        kind=node.kind,
        title=node.title,
        summary=node.summary,
        state=Growth.PENDING if node.state is NodeState.FAILED else Growth.WRITTEN,
        children=tuple(_drafted(child) for child in node.children),
    )


def _part(
    plan: Plan, recipe: Recipe, part: PlannedPart, answers: Sequence[PartAnswer], *, is_busy: bool
) -> GrowingNode:
    if recipe.children_are_titled:
        children = _titled(plan, recipe, part, answers)
    else:
        children = tuple(
            _node(None, None, said, recipe, 1) for answer in answers for said in _untitled(answer, recipe)
        )
    complete = not recipe.has_insides or (bool(answers) and not is_busy)
    return GrowingNode(
        id="n_" + short_hash(plan.title, part.key),
        kind=recipe.spec.levels[0].kind,
        title=part.title,
        summary=part.summary,
        state=Growth.WRITTEN if complete else Growth.PENDING,
        children=children,
    )


def _untitled(answer: PartAnswer, recipe: Recipe) -> tuple[_Said, ...]:
    said = answer.said
    return (said.items if recipe.children_are_items else said.children)[: answer.count]


def _titled(
    plan: Plan, recipe: Recipe, part: PlannedPart, answers: Sequence[PartAnswer]
) -> tuple[GrowingNode, ...]:
    found: dict[str, _Said] = {}
    for answer in answers:
        for said in answer.said.children:
            found.setdefault(said.key, said)
    return tuple(
        _node("n_" + short_hash(plan.title, child.key), child.title, found.get(child.key), recipe, 1)
        for child in part.children
    )


def _node(
    node_id: str | None, title: str | None, said: _Said | None, recipe: Recipe, depth: int
) -> GrowingNode:
    level = recipe.spec.levels[depth]
    below = said.children if said is not None and depth + 1 < recipe.counts.depth else ()
    most = recipe.counts.per_level[depth + 1] if below else 0
    return GrowingNode(
        id=node_id,
        kind=level.kind,
        title=fitted_title(title or title_from(_named(level, said)), level.title),
        summary=fitted_summary((said.summary if said is not None else None) or ""),
        state=Growth.PENDING if said is None else Growth.WRITTEN,
        children=tuple(_node(None, None, one, recipe, depth + 1) for one in below[:most]),
    )


def _named(level: LevelSpec, said: _Said | None) -> str:
    """Return what a node without a planned title is named after."""
    field = title_field(level) or "title"
    text: str | None = getattr(said, "stem" if field == "item" else field, None)
    return text or ""
