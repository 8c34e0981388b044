"""What the offline generator writes in place of an answer that never came. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from aifactory.granulation.generation.plan import PlannedPart
from aifactory.granulation.generation.recipe import Recipe
from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.digest import Digest
from aifactory.granulation.offline.generate import generate
from aifactory.granulation.specs import FieldSpec, FieldType
from aifactory.granulation.tree import Node, NodeState, Origin, Tree


class OfflineFill:
    """Writes parts offline: the whole tree once, when the first part is missing, then its fitting nodes."""

    def __init__(
        self,
        recipe: Recipe,
        digest: Digest | None,
        text: str,
        brief: Brief,
        declared: Mapping[str, Sequence[Mapping[str, Any]]] = MappingProxyType({}),
    ) -> None:
        """``declared`` is what the plan's root declares, by the names of its fields: that is referred to."""
        self._recipe = recipe
        self._digest = digest
        self._text = text
        self._brief = brief
        self._declared = declared
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
        roots = [
            one for one in self._tree.fields.get(self._recipe.root_objectives or "", []) if one["id"] in named
        ]
        adopted = self._adopted(chosen)
        own = {row["id"] for rows in self._declared.values() for row in rows}
        severed = self._severed(adopted, _ids_in(adopted) | {one["id"] for one in roots} | own)
        return (severed, roots) if severed is not None else None

    def _nodes(self) -> list[Node]:
        if self._free is None:
            self._free = []
            if self._digest is not None:
                self._tree = generate(self._digest, self._text, self._brief, self._recipe.spec)
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
        adopted = msgspec.structs.replace(node, fields=fields)
        return _marked(_renamed(adopted, self._names()) if self._declared else adopted)

    def _names(self) -> dict[str, str]:
        """The plan's ids for those of the offline tree's own roles or characters, in their order."""
        assert self._tree is not None
        names: dict[str, str] = {}
        for name, rows in self._declared.items():
            for at, stranger in enumerate(self._tree.fields.get(name, ()) if rows else ()):
                names[stranger["id"]] = rows[at % len(rows)]["id"]
        return names

    def _severed(self, node: Node, known: frozenset[str]) -> Node | None:
        """A node without references to what is not known; None where it can't do without one of them."""
        level = next((one for one in self._recipe.spec.levels if one.kind == node.kind), None)
        fields = _without_strangers(node.fields, level.fields if level else {}, known)
        children = [self._severed(child, known) for child in node.children]
        whole = [child for child in children if child is not None]
        if fields is None or len(whole) < len(children):
            return None
        return msgspec.structs.replace(node, fields=fields, children=tuple(whole))


def _without_strangers(
    values: Mapping[str, Any], specs: Mapping[str, FieldSpec], known: frozenset[str]
) -> dict[str, Any] | None:
    """Fields without references to ids that are not known; None if a required one has to go."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        field = specs.get(name)
        own = _own(field, value, known) if field is not None else value
        if own is not None:
            kept[name] = own
        elif field is not None and field.required:
            return None
    return kept


def _own(field: FieldSpec, value: Any, known: frozenset[str]) -> Any:
    """A value without references to ids that are not known; None if nothing that is allowed is left."""
    if field.type is FieldType.REFERENCE:
        return value if value in known else None
    if field.type is FieldType.OBJECT:
        return _without_strangers(value, field.fields, known)
    if field.type is FieldType.LIST and field.of is not None:
        own = [one for one in (_own(field.of, entry, known) for entry in value) if one is not None]
        return own if len(own) == len(value) or len(own) >= (field.min or 0) else None
    return value


def _ids_in(node: Node) -> frozenset[str]:
    """The ids of a node, of its objectives, and of all below it."""
    own = {node.id, *(one.id for one in node.objectives)}
    return frozenset(own.union(*map(_ids_in, node.children)))


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    """A node, and all below it, that refers to other ids."""

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            return names.get(value, value)
        if isinstance(value, dict):
            return {name: renamed(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            own = [renamed(one) for one in value]
            # Two of theirs may have become the same one of ours.
            return list(dict.fromkeys(own)) if all(isinstance(one, str) for one in own) else own
        return value

    children = tuple(_renamed(child, names) for child in node.children)
    return msgspec.structs.replace(node, fields=renamed(node.fields), children=children)


def _marked(node: Node) -> Node:
    children = tuple(_marked(child) for child in node.children)
    return msgspec.structs.replace(node, origin=Origin.OFFLINE, state=NodeState.REPAIRED, children=children)


def _overlap(node: Node, wanted: list[tuple[int, int]]) -> int:
    """Return how many of a node's spans, and of those below it, lie among the wanted passages."""
    own = sum(any(start < span.end and span.start < end for start, end in wanted) for span in node.sources)
    return own + sum(_overlap(child, wanted) for child in node.children)
