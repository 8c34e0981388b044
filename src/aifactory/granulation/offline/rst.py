"""reStructuredText as blocks: directives, fields, literal blocks, definitions; with the text's offsets."""

import re

from aifactory.granulation.offline.blocks import Block, BlockReader
from aifactory.granulation.offline.sentences import clean
from aifactory.granulation.offline.wordlists import word_set

_EXPLICIT = re.compile(r"^[ \t]*\.\.(?:[ \t]|$)")
_DIRECTIVE = re.compile(r"^[ \t]*\.\.[ \t]+(?:\|[^|]+\|[ \t]+)?([\w+:-]*[\w+-])::[ \t]*")
_FIELD = re.compile(r"^[ \t]*:[^:`\s][^:`]{0,60}:(?:[ \t]|$)")
_TABLE = re.compile(r"^[ \t]*=+(?:[ \t]+=+)+[ \t]*$")
_NOTES = word_set("""
    note warning tip hint important caution danger attention admonition topic sidebar
    """)
# Whose first line names something and whose body is prose.
_TOLD = word_set("""
    function class method classmethod staticmethod attribute property data exception module describe object
    option program envvar confval directive role glossary rubric container only epigraph highlights compound
    c:function c:type c:macro c:struct c:member cpp:function cpp:class py:function py:class py:method
    py:attribute py:data py:exception py:property js:function
    """)
_SUBSTITUTION = re.compile(r"\|([^|\s][^|\n]{0,60})\|_{0,2}")
_REFERENCE = re.compile(r"(?<=\w)_{1,2}(?=[\s.,;:)]|$)")
_LONGEST_TERM = 60


def read_rst(text: str) -> list[Block]:
    """The blocks of a text in order."""
    return _RstReader(text, markdown=False, plain=False).read()


def shown(text: str, start: int, end: int) -> str:
    """A passage as a reader sees it; a definition as "term: what it is"."""
    raw = text[start:end]
    first, _, rest = raw.partition("\n")
    before = text[text.rfind("\n", 0, start) + 1 : start]
    if rest and not before.strip() and len(first) <= _LONGEST_TERM and first.rstrip()[-1:] not in ".!?:,;":
        deeper = rest[: len(rest) - len(rest.lstrip())]
        if len(deeper.expandtabs()) > len(before.expandtabs()):
            raw = f"{first.split(' : ')[0].rstrip()}: {rest}"
    raw = _SUBSTITUTION.sub(r"\1", raw)
    return re.sub(r"::$", ":", _REFERENCE.sub("", clean(raw)))


class _RstReader(BlockReader):
    """Adds what only reStructuredText has; code in a ``literal`` block is indented deeper than this."""

    literal: int | None = None

    def _step(self) -> None:
        line = self.lines[self.at]
        if not line.strip():
            self.at += 1
            return
        indent = self._indent(self.at)
        above, self.literal = self.literal, None
        if above is not None and indent > above:
            self._take_deeper("code", above)
        elif directive := _DIRECTIVE.match(line):
            self._take_directive(directive, indent)
        elif _EXPLICIT.match(line) or _FIELD.match(line):
            self._skip_body(indent)
        elif line.lstrip().startswith(">>>"):
            self._take_while("code", lambda other: bool(other.strip()))
        elif _TABLE.match(line):
            self._skip_table()
        else:
            self._take_prose(indent)

    def _take_prose(self, indent: int) -> None:
        before = len(self.blocks)
        super()._step()
        if len(self.blocks) > before and self.text.endswith("::", 0, self.blocks[-1].end):
            self.literal = indent

    def _take_directive(self, found: re.Match[str], indent: int) -> None:
        name, line = found[1], self.lines[self.at]
        self.list_indent = -1
        if name in _NOTES and line[found.end() :].strip() and name not in ("admonition", "topic", "sidebar"):
            self._take_paragraph(found.end())
        elif name in _NOTES or name in _TOLD:
            self.at += 1
            while self.at < len(self.lines) and _FIELD.match(self.lines[self.at]):
                self.at += 1
        else:
            self._skip_body(indent)

    def _skip_body(self, indent: int) -> None:
        self.at += 1
        while self.at < len(self.lines) and (
            not self.lines[self.at].strip() or self._indent(self.at) > indent
        ):
            self.at += 1

    def _take_deeper(self, kind: str, above: int) -> None:
        first = self.at
        self._skip_body(above)
        self._add(kind, first, self.at - 1)

    def _skip_table(self) -> None:
        self.at += 1
        while self.at < len(self.lines):
            closes = _TABLE.match(self.lines[self.at])
            self.at += 1
            if closes and (self.at >= len(self.lines) or not self.lines[self.at].strip()):
                return
