"""Walking and cutting trees as plain JSON, for the operators that make them worse."""

import random
from collections.abc import Callable, Iterator
from typing import Any

from aifactory.granulation.specs import Presence, StructureSpec, builtin_specs

Plain = dict[str, Any]
# What names other parts of a tree, or is a number, a list of terms or a choice: no prose of the node itself.
_REFERENCES = frozenset(
    [
        "id",
        "requires",
        "objectiveIds",
        "opens",
        "closes",
        "introduces",
        "needs",
        "from",
        "to",
        "role",
        "decision",
        "items",
        "inputs",
        "outputs",
        "place",
        "cast",
        "pov",
        "weeks",
        "words",
        "branch",
    ]
)


def nodes_of(plain: Plain) -> Iterator[Plain]:
    """Every node, parents first, each with fields and children of its own."""

    def visit(nodes: list[Plain]) -> Iterator[Plain]:
        for node in nodes:
            node.setdefault("fields", {})
            yield node
            yield from visit(node.get("children", []))

    return visit(plain["nodes"])


def leaves_of(plain: Plain) -> list[Plain]:
    return [node for node in nodes_of(plain) if not node.get("children")]


def alike_leaves(plain: Plain) -> list[Plain]:
    """The leaves of the most frequent kind: those of a map may be of two."""
    leaves = leaves_of(plain)
    kinds = [leaf["kind"] for leaf in leaves]
    usual = max(dict.fromkeys(kinds), key=kinds.count)
    return [leaf for leaf in leaves if leaf["kind"] == usual]


def items_of(plain: Plain) -> list[Plain]:
    found: list[Plain] = []
    for node in nodes_of(plain):
        found += [node["fields"]["item"]] if "item" in node["fields"] else node["fields"].get("items", [])
    return found


def objectives_of(plain: Plain) -> list[Plain]:
    found = list(plain.get("fields", {}).get("objectives", []))
    for node in nodes_of(plain):
        found += node["fields"].get("objectives", [])
    return found


def spec_of(plain: Plain) -> StructureSpec:
    return builtin_specs()[plain["structureType"]]


def has_prose(value: object) -> bool:
    return isinstance(value, str) and len(value.split()) >= 3


def prose_fields(node: Plain) -> list[str]:
    """The fields of a node that say something in words, an item's not among them."""
    return [
        name
        for name, value in node["fields"].items()
        if name not in _REFERENCES
        and (has_prose(value) or (isinstance(value, list) and value and all(map(has_prose, value))))
    ]


def copied_fields(node: Plain) -> Plain:
    """What a copy of a node takes over: all but its references and what is inside it."""
    return {name: value for name, value in node["fields"].items() if name not in {*_REFERENCES, "item"}}


def told(plain: Plain) -> list[Plain]:
    """The nodes with a summary that their level requires."""
    asked = {level.kind for level in spec_of(plain).levels if level.summary is Presence.REQUIRED}
    return [node for node in nodes_of(plain) if node["kind"] in asked and node.get("summary")]


def rewritten(value: Any, write: Callable[[str], str]) -> Any:
    """A text or list of texts, each written anew."""
    return [write(one) for one in value] if isinstance(value, list) else write(value)


def forget(value: Any, gone: set[str]) -> None:
    """Take every reference to what is gone out of lists, with rows and branches that lead to it."""
    if isinstance(value, dict):
        for inner in value.values():
            forget(inner, gone)
    elif isinstance(value, list):
        value[:] = [one for one in value if not _leads_to(one, gone)]
        for inner in value:
            forget(inner, gone)


def _leads_to(one: Any, gone: set[str]) -> bool:
    if isinstance(one, dict):
        return bool(
            gone
            & {
                end
                for end in (one.get("from"), one.get("to"), one.get("objectiveId"))
                if isinstance(end, str)
            }
        )
    return isinstance(one, str) and one in gone


def some(places: list[Any], strength: int, chance: random.Random) -> list[Any]:
    """So many of the places, by chance; those of a lower strength are among those of a higher one."""
    return chance.sample(places, len(places))[:strength]
