"""A tree as one page: no script, nothing loaded from elsewhere, for screens, phones and paper. Pure."""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from aifactory.granulation.exports.html_book import (
    Book,
    anchor,
    dicts,
    figure,
    glossary_of,
    items_of,
    minutes_of,
    objects,
)
from aifactory.granulation.exports.html_fields import fields, label, objectives, rows
from aifactory.granulation.exports.html_flow import lanes
from aifactory.granulation.exports.html_map import edges, edges_of
from aifactory.granulation.exports.html_nodes import nodes
from aifactory.granulation.exports.html_story import threads
from aifactory.granulation.exports.markdown_leaves import is_card, is_claim
from aifactory.granulation.exports.markdown_text import duration, words_of
from aifactory.granulation.exports.markup import NOTHING, Html, join, pairs, prose, tag, text, words
from aifactory.granulation.exports.model import EVERY_NODE, Loss
from aifactory.granulation.tree import SIMULATED_NOTICE, Node, Objective, Origin, Tree

RIGHT_TO_LEFT = frozenset({"ar", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"})
LANGUAGES = {
    "en": "English",
    "de": "Deutsch",
    "fr": "français",
    "es": "español",
    "cs": "čeština",
    "it": "italiano",
    "pt": "português",
    "nl": "Nederlands",
    "pl": "polski",
    "und": "",
}
_OPENING_WORDS = 6


def export(tree: Tree) -> bytes:
    """UTF-8 HTML; the same tree gives the same bytes."""
    language = text(tree.language or "und")
    direction = "rtl" if language.split("-")[0].lower() in RIGHT_TO_LEFT else None
    page = tag("html", _head(tree), _body(tree), lang=language, dir=direction)
    return f"<!doctype html>\n{page}\n".encode()


def losses(tree: Tree) -> list[Loss]:
    """What the page does not show, as far as the tree has it."""
    book = Book(tree)
    dropped = [("", "schemaVersion", "A page to read has no schema")]
    if tree.source is not None:
        dropped.append(("", "source.sha256", "Shown is the source's name, not its hash"))
    if book.nodes:
        dropped += [
            (EVERY_NODE, "id", "Ids are replaced by numbers, names and links"),
            (EVERY_NODE, "origin", "Who wrote a node is not shown"),
            (EVERY_NODE, "state", "The state of work is not shown"),
        ]
    if any(items_of(node) for _, node in book.nodes):
        reason = "Questions are numbered; parts to match and to put in order are shown shuffled"
        dropped.append((EVERY_NODE, "items.id", reason))
    return [Loss(node=node, field=field, reason=reason) for node, field, reason in dropped]


@cache
def style() -> str:
    """The page's style sheet."""
    return (files(__package__) / "page.css").read_text(encoding="utf-8").strip()


@cache
def security() -> str:
    """The policy that lets a browser use the page's own style and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _head(tree: Tree) -> Html:
    policy = {"http_equiv": "Content-Security-Policy", "content": security()}
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", **policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", text(tree.title)),
        # The style sheet is ours and holds no "<".
        tag("style", Html(style())),
    )


def _body(tree: Tree) -> Html:
    book = Book(tree)
    # In this order: writing a part collects what the key and the sources list.
    about, main = _about(book), nodes(book, "", tree.nodes, 2)
    written = [("key", "Answer key", _key(book)), ("glossary", "Glossary", _glossary(book))]
    written.append(("sources", "Sources", _sources(book)))
    ends = [(name, title, inner) for name, title, inner in written if inner]
    shown = [tag("section", about, class_="about")] if about else []
    shown.append(main)
    shown += [
        tag("section", tag("h2", text(title)), inner, class_=f"end {name}", id=name)
        for name, title, inner in ends
    ]
    contents = _contents(tree, [(name, title) for name, title, _ in ends])
    return tag(
        "body",
        tag("a", text("Skip to the text"), href="#text", class_="skip"),
        _title(tree),
        tag("div", contents, tag("main", *shown, id="text"), class_="page"),
    )


def _title(tree: Tree) -> Html:
    minutes = sum(minutes_of(node) for node in tree.nodes)
    facts = [
        ("For", tree.target_audience),
        ("Level", tree.level),
        ("Language", LANGUAGES.get(tree.language.split("-")[0], tree.language)),
        ("Time", duration(minutes) if minutes else ""),
        ("Source", f"{tree.source.name}, {figure(tree.source.words)} words" if tree.source else ""),
    ]
    simulated = tree.origin is Origin.SIMULATED
    return tag(
        "header",
        tag("p", text(words_of(tree.structure_type)), class_="kicker"),
        tag("h1", words(tree.title)),
        tag("p", text(SIMULATED_NOTICE), class_="notice") if simulated else NOTHING,
        prose(tree.summary, class_="lead"),
        pairs([(text(name), words(fact)) for name, fact in facts if fact], class_="facts"),
    )


def _contents(tree: Tree, ends: list[tuple[str, str]]) -> Html:
    entries = [_entry(str(place), node) for place, node in enumerate(tree.nodes, 1)]
    entries += [
        tag("li", tag("a", text(title), href=f"#{name}"), class_=f"to-{name}") for name, title in ends
    ]
    if not entries:
        return NOTHING
    listed = tag("details", tag("summary", text("Contents")), tag("ol", *entries), open="")
    return tag("nav", listed, aria_label="Contents")


def _entry(path: str, node: Node) -> Html:
    under = [
        tag("li", _to(f"{path}.{place}", child))
        for place, child in enumerate(node.children, 1)
        if child.kind != "item" and not is_card(child) and not is_claim(child)
    ]
    return tag("li", _to(path, node), tag("ol", *under) if under else NOTHING)


def _to(path: str, node: Node) -> Html:
    number = tag("span", text(path), class_="number")
    return tag("a", number, tag("span", text(node.title)), href=f"#{anchor(path)}")


def _about(book: Book) -> Html:
    """The root's fields: outcomes and objectives first, lists as tables, the rest by name."""
    held, shown = book.tree.fields, {"glossary"} if glossary_of(book.tree) else set()
    parts: list[Html] = []
    for name, title, listed in (("outcomes", "Outcomes", "ol"), ("objectives", "Objectives", "ul")):
        if found := objects(held.get(name), Objective):
            parts += [tag("h2", text(title)), objectives(book, found, listed)]
            shown.add(name)
    for name in sorted(held.keys() - shown):
        table = _table(book, name)
        if table:
            parts += [tag("h2", text(label(name))), table]
            shown.add(name)
    overview = lanes(book)
    if overview:
        parts += [tag("h2", text("Who does what")), overview]
    return join([fields(book, held, shown), *parts])


def _table(book: Book, name: str) -> Html:
    held = dicts(book.tree.fields[name])
    if name == "edges" and edges_of(held):
        return edges(book, held)
    if name == "threads" and held:
        return threads(book, held)
    if name == "blueprint":
        # A plan's objectives are what the reader knows, not their ids.
        held = [{**row, "objectiveIds": [row.get("objectiveId")]} for row in held]
        held = [{key: one for key, one in row.items() if key != "objectiveId"} for row in held]
    return rows(book, held, name) if held else NOTHING


def _key(book: Book) -> Html:
    return tag("ol", *(tag("li", one) for one in book.answers)) if book.answers else NOTHING


def _glossary(book: Book) -> Html:
    entries = [
        (words(entry.term), join([words(entry.definition), book.marks(entry.sources)]))
        for entry in glossary_of(book.tree)
    ]
    return pairs(entries)


def _sources(book: Book) -> Html:
    lines = []
    for (start, end, quote), (number, cited) in book.spans.items():
        back = [
            tag(
                "a",
                text("↩" if len(cited) == 1 else f"↩{place}"),
                href=f"#{name}",
                aria_label="Back to the text",
            )
            for place, name in enumerate(cited, 1)
        ]
        place = tag("small", text(f" {start}–{end} "))
        lines.append(
            tag("li", tag("q", text(_quoted(book, quote))), place, join(back, " "), id=f"s-{number}")
        )
    if not lines:
        return NOTHING
    name = f" of {book.tree.source.name}" if book.tree.source else ""
    return join([tag("p", text(f"Passages{name}, with their first and last character.")), tag("ol", *lines)])


def _quoted(book: Book, quote: str) -> str:
    """A quote; of one that stands as a claim in the text, its opening words."""
    found = quote.split()
    return " ".join(found[:_OPENING_WORDS]) + " …" if " ".join(found) in book.claims else quote
