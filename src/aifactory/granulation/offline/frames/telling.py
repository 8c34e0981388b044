"""Frames of documents and knowledge maps: what is to be told, in which order, and how it hangs together."""

from itertools import pairwise
from typing import Any

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.frames.lenses import Facet
from aifactory.granulation.offline.frames.topic import Part, parts_of
from aifactory.granulation.offline.telling import placed
from aifactory.granulation.offline.titles import fit_title
from aifactory.granulation.tree import Node

Made = tuple[tuple[Node, ...], dict[str, Any]]

_TITLE_WORDS = 9
_CENTRAL, _MIDDLE, _MARGINAL = 1, 2, 3


def make_document(brief: Brief, per_level: tuple[int, ...]) -> Made:
    """Sections by lenses, a subsection for each facet, as points what holds whatever the topic is."""
    inner = per_level[1] if len(per_level) > 1 else 0
    points = per_level[2] if len(per_level) > 2 else 0
    nodes = []
    for at, part in enumerate(parts_of(brief, per_level[0], inner), 1):
        children = []
        for number, facet in enumerate(part.facets, 1):
            path = f"{at}.{number}"
            below = tuple(
                placed(f"{path}.{place}", "point", _short(rule), fields={"claim": rule})
                for place, rule in enumerate(facet.rules[:points], 1)
            )
            title = fit_title(facet.title)
            children.append(placed(path, "subsection", title, summary=facet.about, children=below))
        nodes.append(
            placed(str(at), "section", fit_title(part.title), summary=part.about, children=tuple(children))
        )
    return tuple(nodes), {}


def make_map(brief: Brief, per_level: tuple[int, ...]) -> Made:
    """A concept for each lens, below it its facets; an edge from each to what builds on it."""
    inner = per_level[1] if len(per_level) > 1 else 0
    details = per_level[2] if len(per_level) > 2 else 0
    parts = parts_of(brief, per_level[0], inner)
    nodes = tuple(_concept(at, part, details) for at, part in enumerate(parts, 1))
    edges = [_edge(one, two, "prerequisite", 0.8) for one, two in pairwise(nodes)]
    for node in nodes:
        edges += [_edge(one, two, "prerequisite", 0.5) for one, two in pairwise(node.children)]
    for one, two in pairwise(nodes):
        beside = zip(one.children, two.children, strict=False)
        edges += [_edge(left, right, "related", 0.3) for left, right in beside]
    return nodes, {"edges": edges}


def _concept(at: int, part: Part, details: int) -> Node:
    importance = _CENTRAL if at == 1 else _MIDDLE if at <= _MARGINAL else _MARGINAL
    return placed(
        str(at),
        "concept",
        fit_title(part.title),
        fields={"definition": part.about, "importance": importance},
        children=tuple(
            _subconcept(f"{at}.{number}", facet, details) for number, facet in enumerate(part.facets, 1)
        ),
    )


def _subconcept(path: str, facet: Facet, details: int) -> Node:
    return placed(
        path,
        "subconcept",
        fit_title(facet.title),
        fields={"definition": facet.about},
        children=tuple(
            placed(f"{path}.{place}", "detail", _short(rule), fields={"definition": rule})
            for place, rule in enumerate(facet.rules[:details], 1)
        ),
    )


def _edge(one: Node, two: Node, kind: str, weight: float) -> dict[str, Any]:
    return {"from": one.id, "to": two.id, "edgeKind": kind, "weight": weight}


def _short(rule: str) -> str:
    words = rule.rstrip(".").split()
    return fit_title(
        " ".join(words[:_TITLE_WORDS]).rstrip(",;:") + ("…" if len(words) > _TITLE_WORDS else "")
    )
