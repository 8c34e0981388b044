"""HTML that can only be made from escaped text: ``Html`` comes from the functions here alone. Pure."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import NewType

Html = NewType("Html", str)

NOTHING = Html("")
_VOID = frozenset({"br", "meta", "hr"})
# What HTML does not allow in a text.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_ADDRESS = re.compile(r"https?://[^\s<>\"'`{}|\\^\[\]“”‘’«»]+")
_SPACE = re.compile(r"\s+")
_GAP = re.compile(r"_{3,}")
_MARKED = re.compile(f"{_ADDRESS.pattern}|{_GAP.pattern}")


def clean(raw: str) -> str:
    """The characters that a page may hold; line breaks and runs of spaces become one space."""
    return _SPACE.sub(" ", _FORBIDDEN.sub("\ufffd", raw))


def text(raw: str) -> Html:
    """Text that shows as it is, in an element and in an attribute."""
    return Html(html.escape(clean(raw)))


def tag(name: str, /, *content: Html, **attributes: str | None) -> Html:
    """An element; ``class_`` and ``aria_label`` name ``class`` and ``aria-label``, None leaves one out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>" if name in _VOID else f"<{name}{given}>{''.join(content)}</{name}>")


def join(parts: Iterable[Html], between: str = "") -> Html:
    """Parts in a row, without the empty ones; ``between`` is text."""
    return Html(_escaped(between).join(part for part in parts if part))


def _escaped(raw: str) -> Html:
    return Html(html.escape(raw))


def words(raw: str) -> Html:
    """A line of prose: web addresses can be followed, gaps to fill in are drawn."""
    line = clean(raw)
    parts, end = [], 0
    for match in _MARKED.finditer(line):
        shown = match.group()
        if not shown.startswith("_"):
            # A full stop after an address ends the sentence, not the address.
            shown = shown.rstrip(".,;:!?)")
        parts += [_escaped(line[end : match.start()]), _marked(shown)]
        end = match.start() + len(shown)
    return Html("".join([*parts, _escaped(line[end:])]))


def _marked(shown: str) -> Html:
    if shown.startswith("_"):
        return tag("span", text(shown), class_="gap")
    return tag("a", text(shown), href=shown, rel="noopener noreferrer nofollow")


def prose(raw: str, after: Html = NOTHING, **attributes: str | None) -> Html:
    """Paragraphs, split at blank lines; ``after`` ends the last one."""
    found = [words(part) for part in re.split(r"\n\s*\n", raw) if part.strip()]
    if found:
        found[-1] = Html(found[-1] + after)
    return Html("".join(tag("p", one, **attributes) for one in found))


def listing(entries: Iterable[Html], name: str = "ul", **attributes: str | None) -> Html:
    """A list, or nothing for no entries."""
    rows = [tag("li", entry) for entry in entries]
    return tag(name, *rows, **attributes) if rows else NOTHING


def table(heads: Sequence[str], rows: Iterable[Sequence[Html]], **attributes: str | None) -> Html:
    """A table; each cell names its column too, for a phone that shows rows as blocks."""
    head = tag("tr", *(tag("th", text(one), scope="col") for one in heads))
    body = [
        tag(
            "tr",
            *(
                tag("td", tag("div", cell) if cell else NOTHING, data_label=name)
                for name, cell in zip(heads, row, strict=True)
            ),
        )
        for row in rows
    ]
    inner = tag("table", tag("thead", head), tag("tbody", *body), **attributes)
    return tag("div", inner, class_="scroll")


def pairs(entries: Iterable[tuple[Html, Html]], **attributes: str | None) -> Html:
    """Names and what they stand for, or nothing for no entries."""
    rows = [tag("div", tag("dt", name), tag("dd", value)) for name, value in entries]
    return tag("dl", *rows, **attributes) if rows else NOTHING
