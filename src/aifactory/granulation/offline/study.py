"""All that is known about a source while a tree is made of it."""

from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.concepts import Mentions, term_key
from aifactory.granulation.offline.digest import Definition, Digest, Procedure
from aifactory.granulation.offline.lexicon import Lexicon, build_lexicon
from aifactory.granulation.offline.phrases import PhraseBook
from aifactory.granulation.offline.reading import Line, Reading, open_reading

_FEW = 24


def _is_quotable(line: Line) -> bool:
    return line.usable and 6 <= line.words <= 45


# Parts that no model wrote are written one by one, of the same source.
@lru_cache(maxsize=1)
def _opened(digest: Digest, text: str) -> tuple[Reading, Lexicon, PhraseBook, Mentions]:
    reading = open_reading(digest, text)
    lexicon = build_lexicon(reading.lines, digest.language)
    book = PhraseBook(reading.lines, lexicon, digest.language)
    return reading, lexicon, book, Mentions(reading.lines, digest.language)


class Study:
    """The reading of a source with its words, phrases and terms, and what the brief stresses."""

    def __init__(self, digest: Digest, text: str, brief: Brief) -> None:
        self.digest = digest
        self.brief = brief
        self.language = digest.language
        self.reading, self.lexicon, self.book, self.mentions = _opened(digest, text)
        self.lines = self.reading.lines
        self.definitions = digest.concepts
        # Names with their articles, as they have been looked up.
        self.named: dict[str, str] = {}
        self.focus = frozenset(
            stem for wish in (*brief.focus_areas, *brief.objects) for stem in term_key(wish, digest.language)
        )
        self._weights = [0, *accumulate(map(_is_quotable, self.lines))]
        if self._weights[-1] < _FEW:
            # Notes and lists have hardly a sentence that stands alone; then every line has to count.
            self._weights = [0, *accumulate(line.kind != "l" and line.words > 2 for line in self.lines)]
        self._by_line = {definition.sentence: definition for definition in reversed(digest.concepts)}

    def weight(self, first: int, last: int) -> int:
        """How many lines from first up to, without, last a lesson can be made of."""
        return self._weights[last] - self._weights[first]

    def defined_between(self, first: int, last: int) -> list[Definition]:
        """Terms defined in the lines from first up to, without, last, most mentioned there first."""
        found = [definition for definition in self.definitions if first <= definition.sentence < last]
        return sorted(found, key=lambda d: (-self.mentions.between(d.term, first, last), d.start))

    def definition_at(self, line: Line) -> Definition | None:
        """The term a line defines, if any."""
        return self._by_line.get(line.index)

    def procedures_between(self, first: int, last: int) -> list[Procedure]:
        """Procedures whose first step is in the lines from first up to, without, last."""
        if first >= last:
            return []
        start, end = self.lines[first].start, self.lines[last - 1].end
        procedures = self.reading.procedures
        low = bisect_left(procedures, start, key=lambda procedure: procedure.steps[0][0])
        high = bisect_left(procedures, end, key=lambda procedure: procedure.steps[0][0])
        return list(procedures[low:high])

    def is_focus(self, line: Line) -> bool:
        """Whether a line speaks of something the brief stresses."""
        return bool(self.focus.intersection(line.stems))
