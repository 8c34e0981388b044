"""The edges of a map so chosen that nothing comes before itself and all of it hangs together. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from aifactory.granulation.generation.nodes import every
from aifactory.granulation.rules_edges import PREREQUISITE
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.tree import Node
from aifactory.granulation.words import content_stems

_WEAKEST = "related"
_Edge = dict[str, Any]


def joined(
    nodes: list[Node], fields: dict[str, Any], spec: StructureSpec
) -> tuple[list[Node], int, dict[str, Any]]:
    """Return a map's root fields with edges that join it into one; how many were dropped or added."""
    places = {node.id: at for at, node in enumerate(every(nodes))}
    before = fields.get("edges", [])
    edges = _without_cycles(_once(before, places), places)
    field = spec.root_fields["edges"]
    assert field.of is not None
    choices = field.of.fields["edgeKind"].choices
    kind = _WEAKEST if _WEAKEST in choices else choices[-1]
    added = _links(nodes, edges, kind)
    most = int(field.max or len(edges) + len(added))
    whole = [*edges[: max(0, most - len(added))], *added]
    return nodes, len(before) - len(edges) + len(added), {**fields, "edges": whole}


def _once(edges: Sequence[_Edge], places: dict[str, int]) -> list[_Edge]:
    """Edges between two nodes that exist, one for each pair and kind."""
    kept: dict[tuple[str, str, str], _Edge] = {}
    for edge in edges:
        ends = sorted((edge["from"], edge["to"]))
        if ends[0] != ends[1] and all(end in places for end in ends):
            kept.setdefault((ends[0], ends[1], edge["edgeKind"]), edge)
    return list(kept.values())


def _without_cycles(edges: list[_Edge], places: dict[str, int]) -> list[_Edge]:
    """Drop prerequisites that would put a node before itself, those against the tree's order first."""
    after: dict[str, list[str]] = {}
    dropped: set[int] = set()
    ordered = sorted(
        (at for at, edge in enumerate(edges) if edge["edgeKind"] == PREREQUISITE),
        key=lambda at: places[edges[at]["from"]] > places[edges[at]["to"]],
    )
    for at in ordered:
        first, second = edges[at]["from"], edges[at]["to"]
        if _reaches(second, first, after):
            dropped.add(at)
        else:
            after.setdefault(first, []).append(second)
    return [edge for at, edge in enumerate(edges) if at not in dropped]


def _reaches(start: str, end: str, after: dict[str, list[str]]) -> bool:
    seen, left = {start}, [start]
    while left:
        for one in after.get(left.pop(), ()):
            if one == end:
                return True
            if one not in seen:
                seen.add(one)
                left.append(one)
    return False


def _links(nodes: Sequence[Node], edges: Iterable[_Edge], kind: str) -> list[_Edge]:
    """Join each part that nothing joins to the rest with the one before it that says most of the same."""
    part_of = {one.id: at for at, node in enumerate(nodes) for one in every([node])}
    group = list(range(len(nodes)))
    for edge in edges:
        one, other = group[part_of[edge["from"]]], group[part_of[edge["to"]]]
        group = [min(one, other) if number in (one, other) else number for number in group]
    stems = [_stems(node) for node in nodes]
    links: list[_Edge] = []
    for at in range(1, len(nodes)):
        if group[at] == 0:
            continue
        others = [place for place in range(len(nodes)) if group[place] == 0]
        nearest = max(others, key=lambda place: (len(stems[place] & stems[at]), -abs(place - at)))
        links.append({"from": nodes[nearest].id, "to": nodes[at].id, "edgeKind": kind})
        own = group[at]
        group = [0 if number == own else number for number in group]
    return links


def _stems(node: Node) -> frozenset[str]:
    """What a part says, to compare it with others; for that any language's words may be cut alike."""
    said = " ".join(f"{one.title} {one.summary} {one.fields.get('definition', '')}" for one in every([node]))
    return frozenset(content_stems(said, "en"))
