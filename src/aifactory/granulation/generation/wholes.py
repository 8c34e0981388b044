"""What the root of a tree says of all its nodes: objectives, blueprint, glossary, shares. Pure."""

from collections.abc import Sequence
from typing import Any

from aifactory.granulation.generation.nodes import items_below, leaves_of, with_fields
from aifactory.granulation.generation.passages import Passages
from aifactory.granulation.generation.recipe import Recipe
from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.offline.handover import handed_over, tone_for
from aifactory.granulation.offline.identity import shares
from aifactory.granulation.offline.words import stems_of
from aifactory.granulation.tree import Bloom, Node, SourceInfo


def close_root(
    nodes: list[Node], objectives: list[dict[str, Any]], recipe: Recipe, passages: Passages | None
) -> tuple[list[Node], dict[str, Any]]:
    """Return the nodes and the root's fields, with references and objectives closed over each other.

    ``objectives`` are all that the root might declare; where parts have none of their own, those that
    nothing refers to are left out.
    """
    fields: dict[str, Any] = {}
    if recipe.root_objectives:
        if not recipe.part_objectives:
            named = named_below(nodes, {one["id"] for one in objectives})
            objectives = [one for one in objectives if not named or one["id"] in named]
            nodes = keep_known(nodes, recipe.part_objective_refs, {one["id"] for one in objectives})
        fields[recipe.root_objectives] = objectives
    if "blueprint" in recipe.spec.root_fields:
        fields["blueprint"] = blueprint_of(nodes)
    if "glossary" in recipe.spec.root_fields and passages is not None:
        fields["glossary"] = passages.glossary(introduced_in(nodes))
    return nodes, fields


def with_targets(nodes: Sequence[Node], digest: Digest | None, audience: str, language: str) -> list[Node]:
    """Tell a later writer of each node how long, in which tone, how urgent: as in trees made offline."""
    phrases: dict[str, float] = {}
    for phrase in digest.keyphrases if digest is not None else ():
        for stem in stems_of(phrase.text, language):
            phrases[stem] = max(phrases.get(stem, 0.0), phrase.weight)
    return list(handed_over(nodes, tone=tone_for(audience), phrases=phrases, language=language))


def weighted(nodes: list[Node]) -> list[Node]:
    """Give sections or assessments their share of the whole, by what is below them."""
    portions = shares([max(1, len(leaves_of(node))) for node in nodes])
    weighted = []
    for node, portion in zip(nodes, portions, strict=True):
        assessment = node.fields.get("assessment")
        if isinstance(assessment, dict):
            node = with_fields(node, {"assessment": {**assessment, "weight": portion}})
        elif node.kind == "section" and any("item" in child.fields for child in node.children):
            node = with_fields(node, {"weight": portion})
        weighted.append(node)
    return weighted


def named_below(nodes: Sequence[Node], ids: set[str]) -> set[str]:
    """Return those of some ids that nodes below the first level, or their items, refer to."""
    named: set[str] = set()
    for node in nodes:
        named.update(one for item in items_below(node) for one in item.objective_ids)
        for child in node.children:
            listed = [value for value in child.fields.values() if isinstance(value, list)]
            named.update(one for value in listed for one in value if isinstance(one, str))
            named |= named_below([child], ids)
    return named & ids


def keep_known(nodes: list[Node], name: str | None, known: set[str]) -> list[Node]:
    """Let parts refer only to objectives that are left, at least to those that their items test."""
    if name is None:
        return nodes
    closed = []
    for node in nodes:
        tested = [one for item in items_below(node) for one in item.objective_ids]
        kept = [one for one in dict.fromkeys([*node.fields.get(name, ()), *tested]) if one in known]
        closed.append(with_fields(node, {name: kept}))
    return closed


def blueprint_of(nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """Count the items of each objective, level and difficulty."""
    counted: dict[tuple[str, Bloom, str], int] = {}
    for node in nodes:
        for item in items_below(node):
            key = (item.objective_ids[0], item.bloom, str(item.difficulty))
            counted[key] = counted.get(key, 0) + 1
    return [
        {"objectiveId": objective, "bloom": str(bloom), "difficulty": difficulty, "count": count}
        for (objective, bloom, difficulty), count in counted.items()
    ]


def introduced_in(nodes: Sequence[Node]) -> list[str]:
    """Return the terms that nodes introduce, in order."""
    named: list[str] = []
    for node in nodes:
        named += [one for one in node.fields.get("introduces", ()) if isinstance(one, str)]
        named += introduced_in(node.children)
    return named


def source_info(digest: Digest | None) -> SourceInfo | None:
    """Return what the spans of a tree point into."""
    if digest is None:
        return None
    return SourceInfo(
        name=digest.name, characters=digest.characters, words=digest.words, sha256=digest.sha256
    )
