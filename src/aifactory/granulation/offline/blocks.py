"""A text as blocks: headings, paragraphs, list items, code and tables, with offsets into the original."""

import re
from collections.abc import Callable

import msgspec

from aifactory.granulation.offline.headings import heading_at, levels_of
from aifactory.granulation.offline.layout import Layout, read_layout

_FENCE = re.compile(r"^\s{0,3}(`{3,}|~{3,})")
_RULE = re.compile(r"^\s*([-*_=~+#.^\"'])(?:\s*\1){2,}\s*$")
_LIST_ITEM = re.compile(r"^(\s*)([-*+•‣◦]|\(?\d{1,3}[.)]|\(?[a-z][.)])(\s+)(?=\S)")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*$|^\s*\+[-=+]{3,}\+\s*$")
_NOISE = re.compile(
    r"^\s*(?:\d{1,4}|page \d+(?: of \d+)?|.*\.{4,}\s*\d+|.*(?:\. ){4,}\d+|\[[^\]]{1,80}\]:\s*\S.*"
    r"|https?://\S+"
    r"|(?:\[?!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])\]?(?:\([^)]*\))?\s*)+|(?:<[^<>]{1,300}>\s*)+"
    r"|(?:[-*+•]\s+)?(?:\[[^\]\[]{1,120}\]\([^)\s]{1,300}\)[\s,|•·/&]{0,8})+"
    r"|(?:[-*+•]\s+)?(?:[\w'’-]+[ :]+){0,4}<?https?://\S+>?|(?:[-*+•]\s+)?`[^`<]{1,80}<[^`>]+>`_{1,2}"
    r"|copyright\b.{0,120}|©.{0,120}|all rights reserved\.?|:[\w-]+:.{0,100})\s*$",
    re.IGNORECASE,
)
_HASH = r"(?=[0-9a-f]*[a-f])(?=[a-f]*\d)[0-9a-f]{7,40}"
# Commits and merged requests in a list: what was done is cut too short to learn from.
_LOG = re.compile(
    rf"^\s*(?:[-*+•]\s+)?\[?`?{_HASH}\b.{{0,300}}$|^\s*[-*+•]\s.{{0,300}}\(\[?`?{_HASH}`?\]?(?:\([^()]*\))?\)$"
    r"|^\s*[-*+•]\s[^.]{0,300}\(?\[?#\d+\]?(?:\([^()]*\))?\)$"
)
_SYMBOLS = re.compile(r"[{}()<>;=\\|$&@~^`\[\]]")
_NOISE_CHARACTERS = 400


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A run of lines: ``start``/``end`` hold its own text (for a heading the title, for an item no mark)."""

    kind: str
    start: int
    end: int
    level: int = 0
    title: str = ""
    indent: int = 0
    number: int = 0


class BlockReader:
    """Reads blocks line by line; the state is the place and the indent of the open list."""

    def __init__(self, text: str, *, markdown: bool, plain: bool) -> None:
        self.text = text
        self.markdown = markdown
        self.lines = [line.rstrip("\r") for line in text.split("\n")]
        self.layout = read_layout(self.lines) if plain else Layout({}, frozenset())
        for dropped in self.layout.dropped - self.layout.titles.keys():
            self.lines[dropped] = ""
        self.starts = [0]
        for line in text.split("\n"):
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.at = 0
        self.list_indent = -1
        self.blocks: list[Block] = []
        self.styles: list[str] = []

    def read(self) -> list[Block]:
        """The blocks of the text in order."""
        self._skip_front_matter()
        while self.at < len(self.lines):
            self._step()
        return self._with_levels()

    def _step(self) -> None:
        line = self.lines[self.at]
        if not line.strip():
            self.at += 1
        elif fence := _FENCE.match(line):
            self._take_fence(fence[1])
        elif line.lstrip().startswith("<!--"):
            self._skip_until("-->")
        elif line.startswith(".. ") and not self.markdown:
            self._skip_directive()
        elif self._take_heading():
            pass
        elif self._starts_table():
            self._take_while("table", lambda text: "|" in text or text.lstrip()[:1] == "+")
        elif is_noise(line) or _RULE.match(line):
            self.at += 1
        elif self._starts_code(line):
            self._take_while("code", lambda text: text[:1] in " \t" and bool(text.strip()))
        elif item := _LIST_ITEM.match(line):
            self._take_item(item)
        else:
            self._take_paragraph()

    def _skip_front_matter(self) -> None:
        if self.markdown and self.lines[0].strip() == "---":
            for at, line in enumerate(self.lines[1:60], 1):
                if line.strip() in ("---", "..."):
                    self.at = at + 1
                    return

    def _take_fence(self, fence: str) -> None:
        first = self.at
        self.at += 1
        while self.at < len(self.lines) and not self.lines[self.at].strip().startswith(fence):
            self.at += 1
        self.at += 1
        self._add("code", first, min(self.at, len(self.lines)) - 1)

    def _skip_until(self, mark: str) -> None:
        while self.at < len(self.lines) and mark not in self.lines[self.at]:
            self.at += 1
        self.at += 1

    def _skip_directive(self) -> None:
        self.at += 1
        while self.at < len(self.lines) and (
            not self.lines[self.at].strip() or self.lines[self.at][0] in " \t"
        ):
            self.at += 1

    def _take_heading(self) -> bool:
        found = self._heading_here()
        if not found:
            return False
        style, title, height = found
        line = self.lines[self.at]
        start = self.starts[self.at] + max(0, line.find(title))
        self.blocks.append(Block(kind="heading", start=start, end=start + len(title), title=title))
        self.styles.append(style)
        self.list_indent = -1
        after = line[line.find(title) + len(title) :].lstrip(" \t.") if style.startswith("number") else ""
        if after and self.at in self.layout.titles:
            self._take_paragraph(len(line) - len(after))
        else:
            self.at += height
        return True

    def _heading_here(self) -> tuple[str, str, int] | None:
        if told := self.layout.titles.get(self.at):
            return *told, 1
        return heading_at(self.lines, self.at, markdown=self.markdown)

    def _starts_table(self) -> bool:
        line = self.lines[self.at]
        if line.lstrip().startswith("|") and line.count("|") >= 2:
            return True
        if _TABLE_RULE.match(line) and line.lstrip().startswith("+"):
            return True
        after = self.lines[self.at + 1] if self.at + 1 < len(self.lines) else ""
        return "|" in line and "|" in after and bool(_TABLE_RULE.match(after))

    def _starts_code(self, line: str) -> bool:
        if not line.startswith(("    ", "\t")) or self.list_indent >= 0 or _LIST_ITEM.match(line):
            return False
        return self.markdown or _is_code(line)

    def _take_while(self, kind: str, belongs: Callable[[str], bool]) -> None:
        first = self.at
        self.at += 1
        while self.at < len(self.lines) and belongs(self.lines[self.at]):
            self.at += 1
        self._add(kind, first, self.at - 1)

    def _take_item(self, item: re.Match[str]) -> None:
        first, mark = self.at, item[2].strip("()")
        self.list_indent = len(item[1].expandtabs(4))
        self.at += 1
        while self.at < len(self.lines) and not self._ends_item(self.lines[self.at]):
            self.at += 1
        ordered = mark[0].isalnum()
        number = (
            int(mark.rstrip(".)")) if ordered and mark[0].isdigit() else ord(mark[0]) - 96 if ordered else 0
        )
        start, end = self.starts[first] + item.end(), self.starts[self.at] - 1
        self.blocks.append(
            Block(
                kind="step" if ordered else "bullet",
                start=start,
                end=self._trim(start, end),
                indent=self.list_indent,
                number=number,
            )
        )

    def _ends_item(self, line: str) -> bool:
        return (
            not line.strip()
            or bool(_LIST_ITEM.match(line) or _FENCE.match(line))
            or bool(self._heading_here())
        )

    def _take_paragraph(self, column: int = 0) -> None:
        first = self.at
        indent = self._indent(first)
        if self.list_indent < 0 or indent <= self.list_indent:
            self.list_indent = -1
        self.at += 1
        while self.at < len(self.lines) and not self._ends_paragraph(first):
            self.at += 1
        body = "\n".join(self.lines[first : self.at])
        self._add(
            "code" if not self.markdown and _is_code(body) else "paragraph",
            first,
            self.at - 1,
            indent,
            column,
        )

    def _ends_paragraph(self, first: int) -> bool:
        line = self.lines[self.at]
        if not line.strip() or _FENCE.match(line) or _RULE.match(line) or self._heading_here() is not None:
            return True
        item = _LIST_ITEM.match(line)
        if item and (not item[2].strip("()")[0].isalnum() or item[2].strip("().") == "1"):
            return True
        # Books without blank lines open a paragraph by an indent after a full stop.
        opens = self._indent(self.at) >= self._indent(self.at - 1) + 2
        return (
            opens and self.at > first and self.lines[self.at - 1].rstrip().endswith((".", "!", "?", "”", '"'))
        )

    def _indent(self, at: int) -> int:
        line = self.lines[at].expandtabs(4)
        return len(line) - len(line.lstrip())

    def _add(self, kind: str, first: int, last: int, indent: int = 0, column: int = 0) -> None:
        line = self.lines[first]
        start = self.starts[first] + (column or len(line) - len(line.lstrip()))
        end = self.starts[last] + len(self.lines[last])
        self.blocks.append(Block(kind=kind, start=start, end=self._trim(start, end), indent=indent))

    def _trim(self, start: int, end: int) -> int:
        return start + len(self.text[start:end].rstrip())

    def _with_levels(self) -> list[Block]:
        levels = iter(levels_of(self.styles))
        return [
            msgspec.structs.replace(block, level=next(levels)) if block.kind == "heading" else block
            for block in self.blocks
        ]


def is_noise(line: str) -> bool:
    """Whether a line is boilerplate: a page number, a link or a badge, a commit, who holds the rights."""
    return len(line) <= _NOISE_CHARACTERS and bool(_NOISE.match(line) or _LOG.match(line))


def _is_code(text: str) -> bool:
    """Whether a block has too many symbols, or too few letters, to be prose."""
    dense = text.replace(" ", "").replace("\n", "")
    if not dense:
        return True
    letters = sum(character.isalpha() for character in dense)
    return len(_SYMBOLS.findall(dense)) > 0.08 * len(dense) or letters < 0.55 * len(dense)


def read_blocks(text: str, *, markdown: bool) -> list[Block]:
    """The blocks of a text in order; boilerplate lines, rules and comments are left out."""
    return BlockReader(text, markdown=markdown, plain=not markdown).read()
