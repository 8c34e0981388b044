"""A novel's scenes as cards, and where its threads open and close. Pure."""

from collections.abc import Sequence
from typing import Any

from aifactory.granulation.exports.html_book import Book, anchor, figure, group_of, string, texts
from aifactory.granulation.exports.html_fields import in_order, label, value
from aifactory.granulation.exports.markup import NOTHING, Html, join, table, tag, text
from aifactory.granulation.tree import Node

_SCENE = ("place", "cast", "goal", "conflict")


def is_scene(node: Node) -> bool:
    """Whether a node says who is where and wants what."""
    fields = node.fields
    return bool(string(fields.get("place")) and string(fields.get("goal")) and texts(fields.get("cast")))


def where(book: Book, node: Node) -> Html:
    """A scene's place, people and length in one line; its other fields follow by name."""
    words = figure(node.fields.get("words"))
    people = join([book.refer(one) for one in texts(node.fields["cast"])], ", ")
    parts = [book.refer(node.fields["place"]), people, text(f"{words} words") if words else NOTHING]
    return tag("p", join(parts, " · "), class_="where")


def threads(book: Book, held: Sequence[dict[str, Any]]) -> Html:
    """The threads with the scenes that open and close them."""
    columns = in_order({name for row in held for name in row} - {"id"})
    heads = [*map(label, columns), "Opens in", "Closes in"]
    lines = [
        [
            *(value(book, name, row.get(name)) for name in columns),
            _scenes(book, string(row.get("id")), "opens"),
            _scenes(book, string(row.get("id")), "closes"),
        ]
        for row in held
    ]
    for position, line in enumerate(lines, 1):
        line[0] = tag("span", line[0], id=f"{group_of('threads')}-{position}")
    return table(heads, lines)


def _scenes(book: Book, thread: str, name: str) -> Html:
    found = [path for path, node in book.nodes if thread in texts(node.fields.get(name))]
    return join([tag("a", text(path), href=f"#{anchor(path)}") for path in found], ", ")
