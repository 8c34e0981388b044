"""Change one thing in a sound tree and see what is found, for the tests of rules."""

from collections.abc import Callable
from typing import Any

import msgspec
from tests.unit.granulation.trees import SOURCE

from aifactory.granulation.rules_source import MandatoryObject
from aifactory.granulation.scoring.model import Score
from aifactory.granulation.scoring.total import assess
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Tree
from aifactory.granulation.validation import validate
from aifactory.granulation.violations import Severity

Plain = dict[str, Any]
Change = Callable[[Plain], Any]


def changed(tree: Tree, change: Change | None = None) -> Tree:
    """The tree after a change of its plain JSON."""
    plain = msgspec.json.decode(msgspec.json.encode(tree))
    if change is not None:
        change(plain)
    return msgspec.convert(plain, Tree)


def at(plain: Plain, name: str) -> Plain:
    """The node with an id."""
    left = list(plain["nodes"])
    while left:
        node: Plain = left.pop(0)
        if node["id"] == name:
            node.setdefault("fields", {})
            return node
        left += node.get("children", [])
    raise LookupError(name)


def findings(
    tree: Tree,
    change: Change | None = None,
    counts: Counts | None = None,
    objects: tuple[MandatoryObject, ...] = (),
) -> list[tuple[str, Severity, str]]:
    """Rule, severity and pointer of all that is wrong after a change."""
    made = changed(tree, change)
    text = SOURCE if made.source else None
    found = validate(made, builtin_specs()[made.structure_type], counts, text=text, objects=objects)
    return [(one.rule, one.severity, one.pointer) for one in found]


def scored(tree: Tree, change: Change | None = None, counts: Counts | None = None) -> Score:
    """The score after a change."""
    made = changed(tree, change)
    text = SOURCE if made.source else None
    return assess(made, builtin_specs()[made.structure_type], text=text, counts=counts).score


def sub_score(tree: Tree, name: str, change: Change | None = None, counts: Counts | None = None) -> float:
    """The value of one sub-score after a change."""
    return scored(tree, change, counts).sub_scores[name].value
