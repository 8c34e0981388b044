"""A digest opened over its text: sentences with their stems, ready for counting and choosing."""

from collections import Counter

import msgspec

from aifactory.granulation.offline import html, rst
from aifactory.granulation.offline.digest import Digest, Procedure, Section, Sentence, SourceFormat
from aifactory.granulation.offline.sentences import clean, is_prose, stands_alone, without_connective
from aifactory.granulation.offline.words import stems_of, words_of
from aifactory.granulation.tree import Span


class Line(msgspec.Struct, frozen=True):
    """A sentence, bullet or step as shown, with its content stems; ``told`` lacks a leading connective."""

    index: int
    start: int
    end: int
    block: int
    section: int
    kind: str
    shown: str
    told: str
    stems: tuple[str, ...]
    words: int
    alone: bool
    opens_block: bool

    @property
    def usable(self) -> bool:
        """Whether it can be quoted out of its place."""
        return self.alone and self.kind != "l"


class Reading(msgspec.Struct, frozen=True):
    """Lines, sections and procedures of a source, with counts over the whole of it."""

    text: str
    language: str
    sections: tuple[Section, ...]
    lines: tuple[Line, ...]
    procedures: tuple[Procedure, ...]
    frequency: Counter[str]

    def span(self, line: Line) -> Span:
        """The passage a line stands in."""
        return Span(start=line.start, end=line.end, quote=self.text[line.start : line.end])

    def span_of(self, line: Line, shown: str) -> Span:
        """The front of a line's passage that holds a shortened form of it; the whole if it is marked up."""
        at = line.start
        for character in shown.rstrip(".… "):
            if at >= line.end:
                return self.span(line)
            if character == " " and self.text[at].isspace():
                while at < line.end and self.text[at].isspace():
                    at += 1
            elif self.text[at] == character:
                at += 1
            else:
                return self.span(line)
        return Span(start=line.start, end=at, quote=self.text[line.start : at])

    def words_between(self, first: int, last: int) -> int:
        """Words of the lines from first up to, without, last."""
        return sum(line.words for line in self.lines[first:last])


def shown_of(text: str, start: int, end: int, format: SourceFormat) -> str:
    """A passage of a text as its reader sees it."""
    if format == "html":
        return html.shown(text[start:end])
    return rst.shown(text, start, end) if format == "rst" else clean(text[start:end])


def read_lines(
    text: str, sentences: tuple[Sentence, ...], language: str, format: SourceFormat
) -> tuple[Line, ...]:
    """The sentences of a digest as lines."""
    lines = []
    block_before = -1
    for index, sentence in enumerate(sentences):
        shown = shown_of(text, sentence.start, sentence.end, format)
        told = without_connective(shown)
        lines.append(
            Line(
                index=index,
                start=sentence.start,
                end=sentence.end,
                block=sentence.block,
                section=sentence.section,
                kind=sentence.kind,
                shown=shown,
                told=told,
                stems=tuple(stems_of(shown, language)),
                words=len(words_of(shown)),
                alone=is_prose(told) and stands_alone(told),
                opens_block=sentence.block != block_before,
            )
        )
        block_before = sentence.block
    return tuple(lines)


def open_reading(digest: Digest, text: str) -> Reading:
    """Open a digest over the text it was made from."""
    lines = read_lines(text, digest.sentences, digest.language, digest.format)
    return Reading(
        text=text,
        language=digest.language,
        sections=digest.sections,
        lines=lines,
        procedures=digest.procedures,
        frequency=Counter(stem for line in lines for stem in line.stems),
    )
