"""What a page has to know of a tree before it is written: names of ids, numbers of questions and sources."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from aifactory.granulation.exports.markup import Html, join, tag, text, words
from aifactory.granulation.tree import Concept, Item, Node, Objective, Span, Tree, walk

T = TypeVar("T")
# Lists at the root whose objects have an id that nodes point at.
_NAMED = ("name", "title", "setup", "text")
_LOOKS_LIKE_ID = re.compile(r"\A\w*[\d_-][\w-]*\Z")


class Book:
    """The names of everything that has an id, and the sources as they come to be cited."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.nodes = list(walk(tree))
        self.paths = {node.id: path for path, node in reversed(self.nodes)}
        self.objectives = {one.id: one for one in _objectives(self.nodes, tree)}
        self.outcomes = [one.id for one in objects(tree.fields.get("outcomes"), Objective)]
        self.names = dict(_names(tree))
        self.titles = {node.id: node.title for _, node in reversed(self.nodes)}
        self.spans: dict[tuple[int, int, str], tuple[int, list[str]]] = {}
        self.answers: list[Html] = []
        self.claims: set[str] = set()

    def next_question(self) -> int:
        """The number of the question that is written next, 1 for the first."""
        return len(self.answers) + 1

    def marks(self, spans: Sequence[Span]) -> Html:
        """The numbers of sources, linked to the list of them."""
        return join([self._mark(span) for span in spans])

    def _mark(self, span: Span) -> Html:
        number, cited = self.spans.setdefault((span.start, span.end, span.quote), (len(self.spans) + 1, []))
        cited.append(f"r-{number}-{len(cited) + 1}")
        link = tag("a", text(str(number)), href=f"#s-{number}", id=cited[-1], aria_label=f"Source {number}")
        return tag("sup", link)

    def refer(self, name: str) -> Html:
        """A link to the node, person, place, thread or role of an id, or its objective's text; or the id."""
        if name in self.paths:
            path = self.paths[name]
            title = tag("span", text(path), class_="number")
            return tag("a", title, text(" "), text(self.titles[name]), href=f"#{anchor(path)}", class_="to")
        if name in self.objectives:
            return words(self.objectives[name].text)
        if name in self.names:
            group, position, shown = self.names[name]
            return tag("a", text(shown), href=f"#{group}-{position}", class_="to")
        return text(name)

    def knows(self, name: str) -> bool:
        """Whether a text that may be anything is an id of this tree: known, and looking like one."""
        known = name in self.paths or name in self.objectives or name in self.names
        return known and _LOOKS_LIKE_ID.match(name) is not None


def anchor(path: str) -> str:
    """The id of a node's element: ``n-1-2`` for ``1.2``."""
    return "n-" + path.replace(".", "-")


def _names(tree: Tree) -> Iterator[tuple[str, tuple[str, int, str]]]:
    for field in sorted(tree.fields, reverse=True):
        rows = dicts(tree.fields[field])
        if field in {"objectives", "outcomes", "glossary", "edges"} or not rows:
            continue
        for position, row in enumerate(rows, 1):
            shown = next((row[key] for key in _NAMED if isinstance(row.get(key), str) and row[key]), "")
            if isinstance(row.get("id"), str) and row["id"]:
                yield row["id"], (group_of(field), position, shown or row["id"])


def group_of(field: str) -> str:
    """The beginning of the ids of a root list's rows."""
    return "l-" + re.sub(r"[^A-Za-z0-9]", "-", field)


def _objectives(nodes: Sequence[tuple[str, Node]], tree: Tree) -> Iterator[Objective]:
    for _, node in reversed(nodes):
        yield from objects(node.fields.get("objectives"), Objective)
    yield from objects(tree.fields.get("outcomes"), Objective)
    yield from objects(tree.fields.get("objectives"), Objective)


def objects(value: Any, kind: type[T]) -> tuple[T, ...]:
    """A list's parts in their type; nothing where any has another shape."""
    try:
        return msgspec.convert(value or (), tuple[kind, ...])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        return ()


def items_of(node: Node) -> tuple[Item, ...]:
    """A node's items; nothing where any has another shape."""
    single = node.fields.get("item")
    return objects([single] if single is not None else node.fields.get("items"), Item)


def glossary_of(tree: Tree) -> tuple[Concept, ...]:
    """The glossary in alphabetical order."""
    entries = objects(tree.fields.get("glossary"), Concept)
    return tuple(sorted(entries, key=lambda one: (one.term.casefold(), one.term)))


def dicts(value: Any) -> list[dict[str, Any]]:
    """A list of objects, or nothing where any part is something else."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, dict) for one in value):
        return list(value)
    return []


def texts(value: Any) -> list[str]:
    """A list of texts, or nothing where any part is something else."""
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return list(value)
    return []


def string(value: Any) -> str:
    """A text, or an empty one for anything else."""
    return value if isinstance(value, str) else ""


def figure(value: Any) -> str:
    """A number as people write it, empty for anything else: ``3``, ``0.25``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:.6g}" if math.isfinite(value) else str(value)


def minutes_of(node: Node) -> int:
    """The minutes of a node's leaves, else its own."""
    return sum(minutes_of(child) for child in node.children) or node.minutes or 0
