"""Small operations on nodes, each giving a new one. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aifactory.granulation.tree import Item, Node


def sum_of_minutes(nodes: Sequence[Node]) -> int | None:
    """Add up the minutes of nodes; None when none has any."""
    return sum(node.minutes or 0 for node in nodes) or None


def with_fields(node: Node, changed: dict[str, Any]) -> Node:
    """Return a node with some fields changed; what is empty is left out."""
    fields = {name: value for name, value in {**node.fields, **changed}.items() if value not in (None, [])}
    return msgspec.structs.replace(node, fields=fields)


def leaves_of(node: Node) -> list[Node]:
    """Return the nodes without children below a node, or itself."""
    if not node.children:
        return [node]
    return [leaf for child in node.children for leaf in leaves_of(child)]


def replaced(node: Node, new: Node) -> Node:
    """Return the tree below ``node`` with the node of the same id replaced."""
    if node.id == new.id:
        return new
    return msgspec.structs.replace(node, children=tuple(replaced(child, new) for child in node.children))


def refielded(nodes: Sequence[Node], changed: Mapping[str, dict[str, Any]]) -> list[Node]:
    """Return nodes, and all below them, with the fields that were changed, by id."""
    return [
        msgspec.structs.replace(
            node,
            fields=changed.get(node.id, node.fields),
            children=tuple(refielded(node.children, changed)),
        )
        for node in nodes
    ]


def every(nodes: Sequence[Node]) -> list[Node]:
    """Return nodes and all below them, in tree order."""
    return [one for node in nodes for one in (node, *every(node.children))]


def renumbered(node: Node, level: int, ordinal: int) -> Node:
    """Return a node and what is below it with levels and ordinals by their places."""
    children = tuple(renumbered(child, level + 1, at) for at, child in enumerate(node.children, 1))
    return msgspec.structs.replace(node, level=level, ordinal=ordinal, children=children)


def items_below(node: Node) -> list[Item]:
    """Return all items of a node and of what is below it."""
    return [*node.items, *(item for child in node.children for item in items_below(child))]


def in_source_order(node: Node) -> Node:
    """Put what stands below a part in the order in which the source says it."""
    children = [in_source_order(child) for child in node.children]
    children.sort(key=_first_place)
    return msgspec.structs.replace(node, children=tuple(children))


def _first_place(node: Node) -> float:
    own = [span.start for span in node.sources]
    return min([*own, *(_first_place(child) for child in node.children)], default=math.inf)
