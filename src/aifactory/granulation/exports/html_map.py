"""The edges of a map: a drawing with an arc for every edge, and the same edges as a table. Pure."""

from collections.abc import Sequence
from typing import Any

from aifactory.granulation.exports.html_book import Book, anchor, dicts, figure, string
from aifactory.granulation.exports.html_fields import in_order, label, value
from aifactory.granulation.exports.markdown_text import words_of
from aifactory.granulation.exports.markup import NOTHING, Html, join, table, tag, text
from aifactory.granulation.tree import Node

KINDS = ("prerequisite", "part_of", "related", "contrasts", "example_of", "applies_to")
_SAID = {
    "prerequisite": "is needed for",
    "part_of": "is part of",
    "related": "is related to",
    "contrasts": "contrasts with",
    "example_of": "is an example of",
}
# Beyond this a drawing is a tangle: the table says it all.
MOST_ROWS, MOST_ARCS = 90, 150
ROW, WIDTH, LABELS, INDENT, CHARACTERS = 22, 400, 225, 12, 30
_EDGE = frozenset({"from", "to", "edgeKind", "weight"})


def edges_of(held: Any) -> list[dict[str, Any]]:
    """The edges of a field's value; nothing where any of them has no two ends."""
    found = dicts(held)
    return found if all(string(one.get("from")) and string(one.get("to")) for one in found) else []


def edges(book: Book, held: Sequence[dict[str, Any]]) -> Html:
    """The drawing and the table."""
    return join([_drawing(book, held), _table(book, held)])


def _table(book: Book, held: Sequence[dict[str, Any]]) -> Html:
    more = in_order({name for one in held for name in one} - _EDGE)
    weighed = any(figure(one.get("weight")) for one in held)
    heads = ["From", "Relation", "To", *(["Weight"] if weighed else [])]
    lines = [
        [
            book.refer(one["from"]),
            tag("span", text(_kind(one)), class_=f"edge {_look(one)}"),
            book.refer(one["to"]),
            *([text(figure(one.get("weight")))] if weighed else []),
            *(value(book, name, one.get(name)) for name in more),
        ]
        for one in held
    ]
    return table([*heads, *map(label, more)], lines, class_="edges")


def _kind(edge: dict[str, Any]) -> str:
    named = string(edge.get("edgeKind")) or "related"
    return _SAID.get(named) or words_of(named).lower()


def _look(edge: dict[str, Any]) -> str:
    named = string(edge.get("edgeKind"))
    return f"k{KINDS.index(named)}" if named in KINDS else "k2"


def _drawing(book: Book, held: Sequence[dict[str, Any]]) -> Html:
    ends = {one[end] for one in held for end in ("from", "to")}
    rows = [(path, node) for path, node in book.nodes if "." not in path or node.id in ends]
    place = {node.id: position for position, (_, node) in enumerate(rows)}
    arcs = [one for one in held if {one["from"], one["to"]} <= place.keys() and one["from"] != one["to"]]
    if not arcs or len(rows) > MOST_ROWS or len(arcs) > MOST_ARCS:
        return NOTHING
    labels = [_label(path, node, position) for position, (path, node) in enumerate(rows)]
    drawn = [_arc(one, place[one["from"]], place[one["to"]], len(rows)) for one in arcs]
    said = f"{len(arcs)} relations between {len(place)} concepts; the table below says the same in words."
    picture = tag(
        "svg",
        tag("title", text(said)),
        *drawn,
        *labels,
        viewBox=f"0 0 {WIDTH} {ROW * len(rows) + 8}",
        role="img",
    )
    return tag("figure", picture, tag("figcaption", _legend(arcs)), class_="map")


def _label(path: str, node: Node, position: int) -> Html:
    depth = path.count(".")
    room = CHARACTERS - 2 * depth
    shown = node.title if len(node.title) <= room else node.title[: room - 1].rstrip() + "…"
    at = {"x": str(INDENT * depth), "y": str(ROW * position + 18)}
    line = tag("text", text(shown), class_=f"d{depth}", **at)
    return tag("a", tag("title", text(f"{path} {node.title}")), line, href=f"#{anchor(path)}")


def _arc(edge: dict[str, Any], start: int, end: int, rows: int) -> Html:
    """A curve right of the labels, wider the farther its ends are apart, with a head at its end."""
    first, last = ROW * start + 13, ROW * end + 13
    reach = LABELS + 24 + round((WIDTH - LABELS - 40) * (abs(end - start) / max(rows - 1, 1)) ** 0.6 * 4 / 3)
    path = f"M{LABELS} {first} C{reach} {first} {reach} {last} {LABELS + 7} {last}"
    head = f"M{LABELS} {last} l9 -4 v8 z"
    said = tag("title", text(words_of(string(edge.get("edgeKind")) or "related")))
    return tag(
        "g", said, tag("path", d=path, class_="line"), tag("path", d=head, class_="head"), class_=_look(edge)
    )


def _legend(arcs: Sequence[dict[str, Any]]) -> Html:
    seen = {_look(one): _kind(one) for one in arcs}
    return join([tag("span", text(seen[look]), class_=f"edge {look}") for look in sorted(seen)], " ")
