"""HTML as blocks whose offsets point into the original: tags, menus and scripts are read past."""

import re
from html import unescape

from aifactory.granulation.offline.blocks import Block, is_noise
from aifactory.granulation.offline.wordlists import word_set

_HIDDEN = "script|style|svg|math|template|noscript|iframe|select|button|textarea|object|canvas|audio|video"
# Every alternative ends where it cannot go on, so that reading stays linear in hostile pages too.
_TOKEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    rf"|<(?P<hidden>{_HIDDEN})\b[^<>]*(?<!/)>.*?(?:</(?P=hidden)\s*>|\Z)"
    r"|<[!?][^<>]*>"
    r"|<(?P<close>/?)(?P<name>[a-z][^\s/<>]*+)(?P<told>(?:=\s*\"[^\"]*\"|=\s*'[^']*'|[^<>])*+)>",
    re.DOTALL | re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([\w-]+)\s*(?:=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?")
_PAGE_TITLE = re.compile(r"<title\b[^<>]*>([^<]{1,300})</title", re.IGNORECASE)
_MAIN = re.compile(r"<(/?)main\b", re.IGNORECASE)
_HEAD_CHARACTERS = 50_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b\u200e\u200f\ufeff\u00ad]")
_SPACE = re.compile(r"\s+")
_TERM_ENDS = "\x1f"

_ASIDE = word_set("nav footer aside dialog head")
_ASIDE_ROLES = word_set("navigation banner contentinfo search menu complementary")
_ASIDE_CLASSES = word_set("""
    toc sidebar sphinxsidebar navbar nav navigation navheader navfooter menu breadcrumb breadcrumbs footer
    headerlink permalink mw-editsection noprint
    """)
_BARE = word_set("area base br col embed hr img input link meta param source track wbr")
_BLOCK = word_set("""
    address article blockquote body caption center dd details div dl dt fieldset figcaption figure form h1
    h2 h3 h4 h5 h6 header hr html li main ol p pre section summary table tbody td tfoot th thead tr ul
    """)
_CELL = frozenset(("td", "th"))
_ROWS = word_set("table tbody tfoot thead tr caption")
_HEADING = re.compile(r"h[1-6]$")
_PERMALINK = re.compile(r"[#¶§🔗]$")
_LONGEST_TERM = 60
_LINKED_SHARE = 0.8


def surface_of(text: str) -> str:
    """The page with blanks for tags and a character for each place of an entity: offsets stay the same."""
    bare = _TOKEN.sub(lambda token: " " * len(token[0]), text)
    return _ENTITY.sub(lambda entity: (unescape(entity[0])[:1] or " ") * len(entity[0]), bare)


def shown(raw: str) -> str:
    """A passage of a page as a reader sees it; a definition as "term: what it is"."""
    term, *told = _TOKEN.sub(_in_place, raw).split(_TERM_ENDS)
    text = ": ".join([*([term.rstrip(": \n")] if told else [term]), *told])
    text = _CONTROL.sub("", _ENTITY.sub(lambda entity: unescape(entity[0]), text))
    return _SPACE.sub(" ", text).strip()


def _in_place(token: re.Match[str]) -> str:
    name = (token["name"] or "").lower()
    if name == "dd" and not token["close"]:
        return _TERM_ENDS
    return " " if name in _BLOCK or name == "br" else ""


def page_title(text: str) -> str:
    """What the page's head calls it, without the site's name; "" if it has none."""
    found = _PAGE_TITLE.search(text[:_HEAD_CHARACTERS])
    return re.split(r" [|—–·»-] ", shown(found[1]))[0].strip() if found else ""


def read_html(text: str, surface: str) -> list[Block]:
    """The blocks of a page in order; ``surface`` is what ``surface_of`` gives for it."""
    return _Page(text, surface).read()


class _Page:
    """Reads a page tag by tag; the state is the open run of text and what it stands in."""

    def __init__(self, text: str, surface: str) -> None:
        self.text = text
        self.surface = surface
        self.blocks: list[Block] = []
        self.first = self.last = -1
        self.letters = self.linked = 0
        self.breaks = 0
        self.in_link = self.in_term = self.in_cell = self.in_code = self.joined = False
        self.article = 0
        self.heading = 0
        self.lists: list[list[int]] = []
        self.item: Block | None = None
        self.past: list[str] = []

    def read(self) -> list[Block]:
        at, end = self._main()
        for token in _TOKEN.finditer(self.text, at, end):
            self._take_text(at, token.start())
            at = token.end()
            if token["name"]:
                self._take_tag(token["name"].lower(), token["told"], opens=not token["close"])
            elif token["hidden"] and token["hidden"].lower() != "math":
                self._flush()
        self._take_text(at, end)
        self._flush()
        return self.blocks

    def _main(self) -> tuple[int, int]:
        """Where the page's main part is, if it says so."""
        marks = list(_MAIN.finditer(self.text))
        first = next((mark.start() for mark in marks if not mark[1]), None)
        last = next((mark.start() for mark in reversed(marks) if mark[1]), None)
        return (first, last) if first is not None and last and first < last else (0, len(self.text))

    def _take_text(self, start: int, end: int) -> None:
        piece = self.surface[start:end]
        bare = piece.strip()
        if not bare or self.past or (self.in_link and _PERMALINK.match(bare)):
            return
        first = start + len(piece) - len(piece.lstrip())
        if self.first < 0:
            self.first = first
        self.last = first + len(bare)
        self.letters += len(bare)
        self.linked += len(bare) if self.in_link else 0
        self.breaks = 0
        self.joined = False

    def _take_tag(self, name: str, told: str, *, opens: bool) -> None:
        if self.past:
            if name == self.past[-1] and name not in _BARE and not told.endswith("/"):
                self.past.append(name) if opens else self.past.pop()
            elif name == "body":
                self.past.clear()
        elif opens and name not in _BARE and self._is_aside(name, told):
            if name in _BLOCK or name in _ASIDE:
                self._flush()
            self.past.append(name)
        elif name == "a":
            self.in_link = opens
        elif name == "br":
            self.breaks += 1
            if self.breaks > 1:
                self._flush()
        elif name in _BLOCK:
            self._take_block(name, told, opens=opens)

    def _is_aside(self, name: str, told: str) -> bool:
        if name in _ASIDE or (name == "header" and not self.article):
            return True
        if name == "body" or not told or told == "/":
            return False
        attributes = {
            found[1].lower(): found[2] or found[3] or found[4] or "" for found in _ATTRIBUTE.finditer(told)
        }
        return (
            "hidden" in attributes
            or attributes.get("role", "").lower() in _ASIDE_ROLES
            or attributes.get("id", "").lower() in _ASIDE_CLASSES
            or bool(_ASIDE_CLASSES.intersection(attributes.get("class", "").lower().split()))
        )

    def _take_block(self, name: str, told: str, *, opens: bool) -> None:
        if name == "dd" and opens and self._joins_term():
            return
        if not (self.in_term and name == "dt" and not opens) and not (opens and self.joined):
            self._flush()
        if name in ("article", "main"):
            self.article = max(0, self.article + (1 if opens else -1))
        elif _HEADING.match(name):
            self.heading = int(name[1]) if opens else 0
        elif name == "pre":
            self.in_code = opens
        elif name == "dt" and opens:
            self.in_term = True
        elif name in ("ul", "ol"):
            self._take_list(name, told, opens=opens)
        elif name == "li":
            self.item = self._item_of() if opens else None
        if opens:
            self.in_cell = name in _CELL or (self.in_cell and name == "pre")
        elif name in _ROWS:
            self.in_cell = False

    def _joins_term(self) -> bool:
        """Whether a short term without a signature is open, which its definition then follows."""
        if not self.in_term or self.first < 0:
            return False
        term = _SPACE.sub(" ", self.surface[self.first : self.last])
        self.joined = len(term) <= _LONGEST_TERM and not re.search(r"[(){}=\[\]]", term)
        self.in_term = not self.joined
        return self.joined

    def _take_list(self, name: str, told: str, *, opens: bool) -> None:
        if opens:
            start = re.search(r"\bstart\s*=\s*[\"']?(\d{1,6})", told)
            self.lists.append([name == "ol", int(start[1]) if start else 1])
        elif self.lists:
            self.lists.pop()
        self.item = None

    def _item_of(self) -> Block:
        ordered, number = self.lists[-1] if self.lists else [0, 0]
        if self.lists:
            self.lists[-1][1] += 1
        kind = "step" if ordered else "bullet"
        return Block(kind=kind, start=0, end=0, indent=2 * max(0, len(self.lists) - 1), number=number)

    def _flush(self) -> None:
        """Close the open run of text as the block it stands in."""
        start, end = self.first, self.last
        linked = self.linked >= _LINKED_SHARE * max(1, self.letters)
        self.first, self.letters, self.linked, self.breaks, self.joined = -1, 0, 0, 0, False
        unexplained, self.in_term = self.in_term, False
        if start < 0:
            return
        told = self.surface[start:end]
        if self.heading:
            if any(map(str.isalpha, told)):
                title = shown(self.text[start:end])
                self.blocks.append(
                    Block(kind="heading", start=start, end=end, level=self.heading, title=title)
                )
        elif self.in_code or self.in_cell or unexplained:
            self.blocks.append(Block(kind="code" if self.in_code else "table", start=start, end=end))
        elif (linked and told[-1] not in ".!?") or is_noise(told):
            return
        elif self.item is not None:
            self.blocks.append(
                Block(
                    kind=self.item.kind,
                    start=start,
                    end=end,
                    indent=self.item.indent,
                    number=self.item.number,
                )
            )
            self.item = None
        else:
            self.blocks.append(Block(kind="paragraph", start=start, end=end, indent=2 * len(self.lists)))
