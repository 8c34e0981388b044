"""What the offline generator writes in place of an answer that never came. Pure."""

from typing import Any

import msgspec

from aifactory.granulation.generation.plan import PlannedPart
from aifactory.granulation.generation.recipe import Recipe
from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.offline.generate import STRUCTURE_TYPES, generate
from aifactory.granulation.tree import Node, NodeState, Origin, Tree


class OfflineFill:
    """Writes parts offline: the whole tree once, when the first part is missing, then its fitting nodes."""

    def __init__(self, recipe: Recipe, digest: Digest | None, text: str, brief: Brief) -> None:
        self._recipe = recipe
        self._digest = digest
        self._text = text
        self._brief = brief
        self._tree: Tree | None = None
        self._free: list[Node] | None = None

    def __call__(self, part: PlannedPart) -> tuple[Node, list[dict[str, Any]]] | None:
        """Return the offline node that covers most of a part's passages, and the objectives it refers to."""
        free = self._nodes()
        if not free or self._digest is None or self._tree is None:
            return None
        spans = [self._digest.sentences[index] for index in part.lines]
        wanted = [(sentence.start, sentence.end) for sentence in spans]
        chosen = max(free, key=lambda node: _overlap(node, wanted))
        free.remove(chosen)
        named = set(chosen.fields.get(self._recipe.part_objective_refs or "", ()))
        roots = self._tree.fields.get(self._recipe.root_objectives or "", [])
        return self._adopted(chosen), [one for one in roots if one["id"] in named]

    def _nodes(self) -> list[Node]:
        if self._free is None:
            self._free = []
            if self._digest is not None and self._recipe.spec.type in STRUCTURE_TYPES:
                self._tree = generate(self._digest, self._text, self._brief)
                self._free = list(self._tree.nodes)
        return self._free

    def _adopted(self, node: Node) -> Node:
        """A node without what ties it to the rest of its own tree."""
        fields = {name: value for name, value in node.fields.items() if name != self._recipe.part_needs}
        if self._recipe.part_objectives in fields:
            own = fields[self._recipe.part_objectives]
            fields[self._recipe.part_objectives] = [
                {name: value for name, value in one.items() if name != "outcomeIds"} for one in own
            ]
        return _marked(msgspec.structs.replace(node, fields=fields))


def _marked(node: Node) -> Node:
    children = tuple(_marked(child) for child in node.children)
    return msgspec.structs.replace(node, origin=Origin.OFFLINE, state=NodeState.REPAIRED, children=children)


def _overlap(node: Node, wanted: list[tuple[int, int]]) -> int:
    """Return how many of a node's spans, and of those below it, lie among the wanted passages."""
    own = sum(any(start < span.end and span.start < end for start, end in wanted) for span in node.sources)
    return own + sum(_overlap(child, wanted) for child in node.children)
