"""A workflow: who does what as a table of lanes, and a step's decision with its ways on and back. Pure."""

from collections.abc import Mapping
from typing import Any

from aifactory.granulation.exports.html_book import Book, anchor, dicts, string
from aifactory.granulation.exports.html_fields import fields
from aifactory.granulation.exports.markup import NOTHING, Html, join, listing, table, tag, text, words
from aifactory.granulation.tree import Node

_DECISION = frozenset({"question", "branches"})
_BRANCH = frozenset({"label", "to", "rework"})


def is_decision(held: Any) -> bool:
    """Whether a value is a question with ways on, each with a label and a step."""
    branches = dicts(held.get("branches")) if isinstance(held, Mapping) else []
    whole = all(string(one.get("label")) and string(one.get("to")) for one in branches)
    return bool(branches) and whole and bool(string(held.get("question")))


def decision(book: Book, held: Mapping[str, Any]) -> Html:
    """The question and its ways on; a way back is marked as such."""
    ways = [_way(book, one) for one in dicts(held["branches"])]
    asked = tag("p", tag("b", text("Decision: ")), words(held["question"]))
    return tag("div", asked, listing(ways), fields(book, held, _DECISION), class_="decision")


def _way(book: Book, held: Mapping[str, Any]) -> Html:
    back = held.get("rework")
    shown = _BRANCH - (set() if isinstance(back, bool) else {"rework"})
    note = tag("em", text(" back for rework")) if back is True else NOTHING
    led = [tag("b", words(held["label"])), text(" → "), book.refer(held["to"])]
    return join([*led, note, fields(book, held, shown)])


def lanes(book: Book) -> Html:
    """A row for each role and a column for each phase, with the numbers of the role's steps in order."""
    roles = [row for row in dicts(book.tree.fields.get("roles")) if string(row.get("id"))]
    phases = book.tree.nodes
    if not roles or not any(_role(child) for phase in phases for child in phase.children):
        return NOTHING
    lines = [
        [book.refer(role["id"]), *(_lane(place, phase, role["id"]) for place, phase in enumerate(phases, 1))]
        for role in roles
    ]
    heads = ["Role", *(f"{place} {phase.title}" for place, phase in enumerate(phases, 1))]
    return table(heads, lines, class_="lanes")


def _lane(place: int, phase: Node, role: str) -> Html:
    steps = [
        tag("a", text(f"{place}.{step}"), href=f"#{anchor(f'{place}.{step}')}", title=child.title)
        for step, child in enumerate(phase.children, 1)
        if _role(child) == role
    ]
    return join(steps, " → ")


def _role(node: Node) -> str:
    return string(node.fields.get("role"))
