"""The fields of a tree and its nodes as named values, whatever their type: nothing is dropped. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from aifactory.granulation.exports.html_book import Book, dicts, figure, group_of, string, texts
from aifactory.granulation.exports.markdown_text import duration, words_of
from aifactory.granulation.exports.markup import (
    NOTHING,
    Html,
    join,
    listing,
    pairs,
    prose,
    table,
    tag,
    text,
    words,
)
from aifactory.granulation.tree import Objective

# Names that say more to a reader than the field's own.
LABELS = {
    "requires": "After",
    "introduces": "New terms",
    "needs": "Builds on",
    "deliverable": "To hand in",
    "objectiveIds": "Objectives",
    "evidence": "Shown by",
    "entry": "Starts when",
    "pov": "Seen by",
    "opens": "Opens",
    "closes": "Closes",
    "hoursPerWeek": "Hours a week",
    "targetWords": "Words to write",
    "startLevel": "From level",
    "targetLevel": "To level",
    "from": "From",
    "to": "To",
    "aliases": "Also called",
    "edgeKind": "Relation",
    "gate": "Done when",
    "estimatedMinutes": "Time",
    "edges": "How they are connected",
}
# The order of fields that are read one after the other; all others follow by name.
_ORDER = (
    ("purpose", "goal", "conflict", "outcome", "startLevel", "targetLevel", "hoursPerWeek", "weeks", "entry"),
    ("id", "name", "role", "tool", "inputs", "outputs", "gate", "criteria", "approver", "title", "setup"),
    (
        "payoff",
        "want",
        "need",
        "arc",
        "from",
        "edgeKind",
        "to",
        "label",
        "evidence",
        "deliverable",
        "resource",
    ),
    ("introduces", "needs", "aliases", "objectiveIds", "requires"),
)
_PLACES = {name: place for place, name in enumerate(chain.from_iterable(_ORDER))}
# Fields whose texts are ids.
_REFERRING = frozenset(
    {"requires", "role", "approver", "pov", "place", "cast", "opens", "closes", "from", "to", "objectiveIds"}
)
_OUTCOMES = {"yes": "Yes", "no": "No", "yesBut": "Yes, but", "noAnd": "No, and"}
# Lists of texts of up to this many words read well in one line.
_SHORT = 3


def label(name: str) -> str:
    """A field's name for readers."""
    return LABELS.get(name) or words_of(name) or name


def in_order(names: Iterable[str]) -> list[str]:
    """Field names in the order to read them."""
    return sorted(names, key=lambda name: (_PLACES.get(name, len(_PLACES)), name))


def fields(book: Book, held: Mapping[str, Any], shown: Iterable[str] = ()) -> Html:
    """All fields but the shown ones, by name; empty ones are left out."""
    names = in_order(held.keys() - set(shown))
    entries = [(text(label(name)), value(book, name, held[name])) for name in names]
    return pairs([(name, shown) for name, shown in entries if shown], class_="fields")


def value(book: Book, name: str, held: Any) -> Html:
    """A value by its shape: text, number, link, list, table or named values again."""
    if isinstance(held, bool):
        return text("Yes" if held else "No")
    if isinstance(held, (int, float)):
        return text(duration(held) if name == "estimatedMinutes" and isinstance(held, int) else figure(held))
    if isinstance(held, str):
        return _text(book, name, held)
    if dicts(held):
        return rows(book, dicts(held), name="")
    if isinstance(held, (list, tuple)):
        return _list(book, name, held)
    if isinstance(held, Mapping):
        return fields(book, held)
    return NOTHING


def _text(book: Book, name: str, held: str) -> Html:
    if (name in _REFERRING and held) or book.knows(held):
        return book.refer(held)
    if name == "outcome" and held in _OUTCOMES:
        return text(_OUTCOMES[held])
    return prose(held) if "\n\n" in held else words(held)


def _list(book: Book, name: str, held: Sequence[Any]) -> Html:
    parts = [part for part in (value(book, name, one) for one in held) if part]
    short = all(not isinstance(one, str) or len(one.split()) <= _SHORT for one in held)
    if (short or name in _REFERRING) and not any(isinstance(one, (list, tuple, dict)) for one in held):
        return join(parts, ", ")
    return listing(parts)


def rows(book: Book, held: Sequence[dict[str, Any]], name: str) -> Html:
    """Objects as a table; those of the root list ``name`` can be linked to and don't show their ids."""
    columns = in_order({key for row in held for key in row} - ({"id"} if name else set()))
    heads = [label(column) for column in columns]
    cells = [[value(book, column, row.get(column)) for column in columns] for row in held]
    if name and columns:
        for position, (row, line) in enumerate(zip(held, cells, strict=True), 1):
            first = line[0] or text(string(row.get("id")))
            line[0] = tag("span", first, id=f"{group_of(name)}-{position}")
    return table(heads, cells) if columns else NOTHING


def objectives(book: Book, held: Sequence[Objective], name: str = "ul") -> Html:
    """What a learner can do afterwards, each with its level of thinking and the outcomes it serves."""
    return listing([_objective(book, one) for one in held], name, class_="objectives")


def _objective(book: Book, one: Objective) -> Html:
    served = [str(book.outcomes.index(key) + 1) for key in one.outcome_ids if key in book.outcomes]
    note = f"for outcome {' and '.join(served)}" if served else ""
    facts = [
        tag("span", text(words_of(one.bloom)), class_="bloom"),
        tag("small", text(note)) if note else NOTHING,
    ]
    return join([words(one.text), *facts], " ")


def served(book: Book, ids: Any) -> Html:
    """The objectives that a part serves, as a list."""
    return listing([book.refer(one) for one in texts(ids)], class_="served")
