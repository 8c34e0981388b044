"""A node as a section of the page: its heading, what it says, and what is under it. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

from aifactory.granulation.exports import html_flow, html_story
from aifactory.granulation.exports.html_book import (
    Book,
    anchor,
    figure,
    items_of,
    minutes_of,
    objects,
    string,
    texts,
)
from aifactory.granulation.exports.html_fields import fields, objectives, served
from aifactory.granulation.exports.html_items import question
from aifactory.granulation.exports.markdown_leaves import EITHER_SIDE, is_card, is_claim, opens_with_title
from aifactory.granulation.exports.markdown_text import duration, words_of
from aifactory.granulation.exports.markup import NOTHING, Html, join, listing, prose, tag, text, words
from aifactory.granulation.tree import Item, Node, Objective

HIGHEST_LEVEL = 5
_KINDS = {"item": "question"}


def nodes(book: Book, prefix: str, held: Sequence[Node], depth: int) -> Html:
    """Siblings; cards and claims in short form, and those below the first level can be folded."""
    if not held:
        return NOTHING
    if all(map(is_card, held)):
        cards = [_card(book, f"{prefix}{place}", one) for place, one in enumerate(held, 1)]
        return tag("div", *cards, class_="deck")
    if all(map(is_claim, held)):
        claims = [_claim(book, f"{prefix}{place}", one) for place, one in enumerate(held, 1)]
        return tag("ul", *claims, class_="claims")
    inner = join([node(book, f"{prefix}{place}", one, depth) for place, one in enumerate(held, 1)])
    if depth != 3:
        return inner
    return tag("details", tag("summary", text(_amount(held))), inner, class_="fold", open="")


def _amount(held: Sequence[Node]) -> str:
    kinds = list(dict.fromkeys(node.kind for node in held))
    named = _KINDS.get(kinds[0]) or words_of(kinds[0]).lower() if len(kinds) == 1 else "part"
    many = f"{named[:-1]}ies" if named.endswith("y") and named[-2:-1] not in "aeiou" else f"{named}s"
    return f"{len(held)} {named if len(held) == 1 else many}"


def node(book: Book, path: str, one: Node, depth: int) -> Html:
    """One section; ``depth`` is its heading's level: 2 for the outermost, deepest 6."""
    items = items_of(one)
    inner = (
        [_alone(book, path, one, depth)]
        if _is_question(one, items)
        else _parts(book, path, one, depth, items)
    )
    kind = f"node {one.kind}" if one.kind.isalnum() else "node"
    return tag("section", *inner, class_=f"{kind} d{min(depth, 6)}", id=anchor(path))


def _parts(book: Book, path: str, one: Node, depth: int, items: Sequence[Item]) -> list[Html]:
    shown = {"weight"}
    number = tag("span", text(path), class_="number")
    parts = [tag(f"h{min(depth, 6)}", number, text(" "), words(one.title)), _facts(one)]
    if html_story.is_scene(one):
        parts.append(html_story.where(book, one))
        shown |= {"place", "cast", "words"}
    parts += [_opening(book, one), *_body(book, one, shown)]
    if items:
        shown |= {"item"} if one.fields.get("item") is not None else {"items"}
    parts += [question(book, item, f"h{min(depth + 1, 6)}") for item in items]
    return [*parts, fields(book, one.fields, shown), nodes(book, f"{path}.", one.children, depth + 1)]


def _is_question(one: Node, items: Sequence[Item]) -> bool:
    """Whether a node is its question and nothing else."""
    return len(items) == 1 and not one.children and one.fields.keys() == {"item"}


def _alone(book: Book, path: str, one: Node, depth: int) -> Html:
    """A node that is a question: what else it says may give the answer away, and stands behind the fold."""
    title = tag("small", tag("span", text(path), class_="number"), text(" "), words(one.title))
    notes = join([tag("p", title), _facts(one), _opening(book, one)])
    return question(book, items_of(one)[0], f"h{min(depth, 6)}", notes)


def repeats(title: str, body: str) -> bool:
    """Whether a title is only the opening words of a text."""
    start = " ".join(title.rstrip("….!?: ").split()).casefold()
    return bool(start) and " ".join(body.split()).casefold().startswith(start)


def _opening(book: Book, one: Node) -> Html:
    marks = book.marks(one.sources)
    if one.summary.strip():
        return prose(one.summary, marks, class_="summary")
    return tag("p", text("Source"), marks, class_="marks") if marks else NOTHING


def _facts(one: Node) -> Html:
    weight, minutes = figure(one.fields.get("weight")), minutes_of(one)
    kind = string(one.fields.get("activityKind"))
    facts = [
        tag("span", text(kind), class_="chip") if kind else NOTHING,
        tag("span", text(duration(minutes))) if minutes else NOTHING,
        tag("span", text(f"weight {weight}")) if weight else NOTHING,
        _rise(one),
        *(tag("span", text(one_tag), class_="tag") for one_tag in one.tags),
    ]
    return tag("p", join(facts, " "), class_="facts") if any(facts) else NOTHING


def _rise(one: Node) -> Html:
    """A skill's way from a level to a higher one, as filled steps and in words."""
    low, high = one.fields.get("from"), one.fields.get("to")
    if not _is_level(low) or not _is_level(high):
        return NOTHING
    steps = [
        tag("i", class_="had" if step < low else "new" if step < high else "open")
        for step in range(HIGHEST_LEVEL)
    ]
    said = f"Level {low} → {high} of {HIGHEST_LEVEL}"
    return tag("span", *steps, text(f" {said}"), class_="rise")


def _is_level(held: Any) -> TypeGuard[int]:
    return isinstance(held, int) and not isinstance(held, bool) and 0 <= held <= HIGHEST_LEVEL


def _body(book: Book, one: Node, shown: set[str]) -> list[Html]:
    """The fields with a look of their own; their names are added to ``shown``."""
    parts = []
    for name, write in _LOOKS.items():
        held = one.fields.get(name)
        written = write(book, held) if held else NOTHING
        if written:
            parts.append(written)
            shown.add(name)
    if _rise(one):
        shown |= {"from", "to"}
    if string(one.fields.get("activityKind")):
        shown.add("activityKind")
    if not figure(one.fields.get("weight")):
        shown.discard("weight")
    return parts


def _objectives(book: Book, held: Any) -> Html:
    listed = objectives(book, objects(held, Objective))
    return _titled("Objectives", listed)


def _titled(title: str, listed: Html) -> Html:
    return tag("div", tag("p", text(title), class_="label"), listed, class_="block") if listed else NOTHING


def _key_points(book: Book, held: Any) -> Html:
    return _titled("Key points", listing(words(one) for one in texts(held)))


def _assessment(book: Book, held: Any) -> Html:
    if not isinstance(held, Mapping):
        return NOTHING
    weight, kind = figure(held.get("weight")), string(held.get("kind"))
    said = f"{words_of(kind)}{f', weight {weight}' if weight else ''}"
    known = ({"kind"} if kind else set()) | ({"weight"} if weight else set())
    tested = served(book, held.get("objectiveIds"))
    rest = fields(book, held, known | ({"objectiveIds"} if tested else set()))
    title = tag("p", text(f"Assessment: {said}" if said else "Assessment"), class_="label")
    return tag("div", title, tested, rest, class_="block assessment")


def _decision(book: Book, held: Any) -> Html:
    return html_flow.decision(book, held) if html_flow.is_decision(held) else NOTHING


def _prose(_: Book, held: Any) -> Html:
    return prose(string(held))


_LOOKS: dict[str, Callable[[Book, Any], Html]] = {
    "definition": _prose,
    "instructions": _prose,
    "instruction": _prose,
    "objectives": _objectives,
    "objectiveIds": lambda book, held: _titled("Objectives", served(book, held)),
    "keyPoints": _key_points,
    "assessment": _assessment,
    "decision": _decision,
}


def _card(book: Book, path: str, one: Node) -> Html:
    front, back = one.fields["front"], one.fields["back"]
    either = one.fields.get("cardKind") == "reversed"
    title = NOTHING if repeats(one.title, front) or repeats(one.title, back) else text(one.title)
    facts = [
        title,
        *(text(tag_) for tag_ in one.tags),
        text(duration(one.minutes)) if one.minutes else NOTHING,
    ]
    side = tag("span", text(f" {EITHER_SIDE}"), title="Can be asked from either side") if either else NOTHING
    notes = [prose(one.summary), served(book, one.fields.get("objectiveIds"))]
    behind = join([prose(back, book.marks(one.sources), class_="back"), *notes])
    small = tag("small", join([part for part in facts if part], " · ")) if any(facts) else NOTHING
    asked = tag("summary", tag("span", words(front), side, class_="front"), small)
    paper = tag("div", tag("p", words(front), side), prose(back), class_="paper")
    return tag("div", tag("details", asked, behind), paper, class_="card", id=anchor(path))


def _claim(book: Book, path: str, one: Node) -> Html:
    claim = one.fields["claim"]
    book.claims.add(" ".join(claim.split()))
    facts = [*([duration(one.minutes)] if one.minutes else []), *one.tags]
    parts = [
        NOTHING if opens_with_title(one) else tag("b", words(one.title), text(" – ")),
        words(claim),
        book.marks(one.sources),
        tag("span", text(" "), words(one.summary)) if one.summary.strip() else NOTHING,
        tag("small", text(" " + " · ".join(facts))) if facts else NOTHING,
    ]
    return tag("li", *parts, id=anchor(path))
