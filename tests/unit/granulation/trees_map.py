"""A sound knowledge map by hand, from the text on bread, for the tests of granulation."""

from itertools import pairwise
from typing import Any

from tests.unit.granulation.bread import MODULES, Lesson
from tests.unit.granulation.trees import node, source_info, span

from aifactory.granulation.tree import Node, Origin, Tree


def _subconcept(lesson: Lesson, place: int, name: str) -> Node:
    detail = node(
        "detail",
        3,
        1,
        lesson.points[0],
        id=f"{name}d",
        sources=[span(lesson.reason)],
        fields={"definition": lesson.reason},
    )
    # Whoever maps a field leaves some branches without details.
    return node(
        "subconcept",
        2,
        place,
        lesson.term.capitalize(),
        id=name,
        sources=[span(lesson.passage)],
        fields={"definition": lesson.passage.split(". ")[0] + "."},
        children=[detail] if place < 3 else [],
    )


def _edge(start: str, end: str, kind: str, weight: float) -> dict[str, Any]:
    return {"from": start, "to": end, "edgeKind": kind, "weight": weight}


def _edges() -> list[dict[str, Any]]:
    first = {
        lesson.term: f"c{m}l{n}"
        for m, module in enumerate(MODULES, 1)
        for n, lesson in enumerate(module.lessons, 1)
    }
    edges = [_edge(f"c{place}", f"c{place + 1}", "prerequisite", 0.9) for place in range(1, len(MODULES))]
    for m, module in enumerate(MODULES, 1):
        for n, lesson in enumerate(module.lessons, 1):
            edges += [_edge(first[term], f"c{m}l{n}", "prerequisite", 0.8) for term in lesson.needs]
    for n in (1, 2, 3):
        edges += [_edge(f"c{m}l{n}", f"c{after}l{n}", "related", 0.4) for m, after in pairwise(range(1, 5))]
    return edges


def map_tree() -> Tree:
    """Four concepts of three subconcepts, two of them with a detail; edges across the branches."""
    return Tree(
        structure_type="knowledge_map",
        title="What makes bread",
        summary="The ideas behind a loaf and how they hang together.",
        language="en",
        origin=Origin.LLM,
        depth=3,
        source=source_info(),
        fields={"edges": _edges()},
        nodes=tuple(
            node(
                "concept",
                1,
                place,
                module.title,
                id=f"c{place}",
                fields={"definition": module.summary, "importance": 1 + place % 3},
                children=[_subconcept(one, n, f"c{place}l{n}") for n, one in enumerate(module.lessons, 1)],
            )
            for place, module in enumerate(MODULES, 1)
        ),
    )
