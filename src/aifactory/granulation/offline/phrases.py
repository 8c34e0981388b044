"""Phrases a text or a part of it is about."""

import re
from collections import Counter
from collections.abc import Sequence
from math import log

import msgspec

from aifactory.granulation.offline.concepts import PLACEHOLDERS
from aifactory.granulation.offline.grammar import THINGS_IN_ING
from aifactory.granulation.offline.lexicon import Lexicon
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.wordlists import word_set
from aifactory.granulation.offline.words import WORD, is_stop, stem

_MAX_WORDS = 3
_LENGTH_BONUS = {1: 1.0, 2: 1.7, 3: 1.8}
_BETWEEN = re.compile(r"^[ \t]+$")
_GLUE = ("_", "@", ".", ":")


class Phrase(msgspec.Struct, frozen=True):
    """A phrase as it is usually written, its stems and where it is first seen."""

    text: str
    stems: tuple[str, ...]
    count: int
    first: int
    score: float = 0.0


class _Tally:
    """Occurrences of one phrase."""

    __slots__ = ("count", "cue", "first", "forms")

    def __init__(self, first: int) -> None:
        self.first = first
        self.count = 0
        self.cue = 0.0
        self.forms: dict[tuple[str, ...], int] = {}


class PhraseBook:
    """All candidate phrases of a text with the lines they occur in."""

    def __init__(self, lines: Sequence[Line], lexicon: Lexicon, language: str) -> None:
        self.lexicon = lexicon
        self.language = language
        self.total = len(lines)
        self.tallies: dict[tuple[str, ...], _Tally] = {}
        self.by_line: dict[int, list[tuple[str, ...]]] = {}
        for line in lines:
            self._read(line)

    def _read(self, line: Line) -> None:
        seen = self.by_line.setdefault(line.index, [])
        for run in _runs(line.shown, self.language):
            for size in range(1, _MAX_WORDS + 1):
                for at in range(len(run) - size + 1):
                    words = run[at : at + size]
                    if not self._is_candidate(words):
                        continue
                    key = tuple(stem(word) for word in words)
                    tally = self.tallies.get(key)
                    if tally is None:
                        tally = self.tallies[key] = _Tally(line.start)
                    tally.count += 1
                    tally.cue += 0.5 if line.opens_block else 0.0
                    form = tuple(words)
                    tally.forms[form] = tally.forms.get(form, 0) + 1
                    seen.append(key)

    def _is_candidate(self, words: list[str]) -> bool:
        head = words[-1]
        if len(head) < 3 or not self.lexicon.is_sure_noun(head):
            return False
        if len(words) == 1:
            return len(head) >= 4 or head.isupper()
        first = words[0].lower()
        if self.lexicon.is_verb(first) or (len(words) == 3 and self.lexicon.is_verb(words[1])):
            return False
        if first.endswith("ly") or any(len(word) < 2 for word in words):
            return False
        return first not in _WEAK_FIRST and not (len(words) == 3 and words[1].lower() in _WEAK_FIRST)

    def best(
        self, first: int, last: int, *, limit: int, spread: float = 1.0, boost: frozenset[str] = frozenset()
    ) -> list[Phrase]:
        """The phrases most typical of the lines from first up to, without, last, best first."""
        counts: Counter[tuple[str, ...]] = Counter()
        for index in range(first, last):
            counts.update(self.by_line.get(index, ()))
        size = max(1, last - first)
        scored = []
        for key, count in counts.items():
            tally = self.tallies[key]
            if len(key) > 1 and tally.count < 2 and not self._is_name(tally):
                weight = 0.7
            else:
                weight = _LENGTH_BONUS[len(key)]
            outside = (tally.count - count) / max(1, self.total - size)
            typical = log(1.0 + (count / size) / (outside + 1.0 / self.total)) if spread else 1.0
            cue = 1.0 + min(1.0, tally.cue / tally.count)
            wanted = 1.5 if boost and boost.intersection(key) else 1.0
            score = count**0.75 * typical * weight * cue * wanted
            scored.append((-score, tally.first, key, count))
        scored.sort()
        return self._without_nested(scored, limit)

    def _without_nested(
        self, scored: list[tuple[float, int, tuple[str, ...], int]], limit: int
    ) -> list[Phrase]:
        kept: list[Phrase] = []
        for score, first, key, count in scored:
            if any(set(key) <= set(other.stems) or set(other.stems) <= set(key) for other in kept):
                continue
            kept.append(Phrase(self._shown(self.tallies[key]), key, count, first, -score))
            if len(kept) >= limit:
                break
        return kept

    def longest(self, first: int, last: int) -> str:
        """The last phrase of at least two words in some lines, "" if there is none."""
        keys = [key for index in range(first, last) for key in self.by_line.get(index, ()) if len(key) > 1]
        return self._shown(self.tallies[keys[-1]]) if keys else ""

    def _shown(self, tally: _Tally) -> str:
        """The commonest way to write a phrase inside a sentence."""
        shown: Counter[str] = Counter()
        for form, count in tally.forms.items():
            usual = [self.lexicon.usual(word) for word in form]
            # "Dependency Injection" in a list of names, not "dependency Injection".
            is_name = usual[0][:1].islower() and any(
                word[:1].isupper() and word[1:].islower() for word in usual
            )
            shown[" ".join(form if is_name else usual)] += count
        return max(sorted(shown), key=lambda form: shown[form])

    def _is_name(self, tally: _Tally) -> bool:
        return all(self.lexicon.usual(word)[:1].isupper() for form in tally.forms for word in form)


def is_telling(phrase: str, lexicon: Lexicon) -> bool:
    """Whether a phrase names something of its own: no "value" or "terms", no adjective with a name."""
    words = phrase.split()
    first, last = words[0], words[-1]
    if len(words) == 1:
        is_deed = last.endswith(("ing", "ed")) and last.lower() not in THINGS_IN_ING
        return last.lower() not in _COMMON and not is_deed
    low = first.lower()
    is_quality = low in _QUALITIES or (low.endswith("ing") and low not in THINGS_IN_ING)
    return lexicon.is_noun(first) and not is_quality and not all(word.lower() in _COMMON for word in words)


_COMMON = PLACEHOLDERS | word_set("""
    term terms condition conditions system systems product products version versions change changes step steps
    line lines copy copies list lists set sets instance instances form forms level levels kind request
    requests user users support class classes purpose purposes target targets range ranges action actions
    """)

_QUALITIES = word_set("""
    precise exact actual specific particular respective appropriate relevant proper corresponding certain
    special necessary additional individual separate entire complete
    """)
_WEAK_FIRST = word_set("""
    good better best bad great small smaller large larger big high higher low lower long longer short new
    old same different similar certain main important common single whole entire full real typical simple
    extra more most many much several few other another next last first second third final total average
    adding making taking giving using keeping getting add keep put leave let gives makes takes
    """)


def _runs(shown: str, language: str) -> list[list[str]]:
    """Runs of content words with nothing but a blank between them."""
    runs: list[list[str]] = []
    open_run: list[str] = []
    end = -1
    for found in WORD.finditer(shown):
        word = found[0]
        if _is_glued(shown, found.start(), found.end()):
            continue
        between = shown[end : found.start()]
        joined = end >= 0 and (between == " " or _BETWEEN.match(between))
        if not joined and open_run:
            runs.append(open_run)
            open_run = []
        end = found.end()
        if word[-1] in "sS" and word[-2:-1] in ("'", "’"):
            word = word[:-2]
        if is_stop(found[0], language):
            if open_run:
                runs.append(open_run)
                open_run = []
        else:
            open_run.append(word)
    return [*runs, open_run] if open_run else runs


def _is_glued(shown: str, start: int, end: int) -> bool:
    """Whether a word is half of a name such as "Node.js", "node:stream" or "IPv4"."""
    before, after = shown[start - 1 : start] if start else "", shown[end : end + 1]
    if before.isdigit() or after.isdigit() or before in _GLUE:
        return True
    return after in _GLUE and shown[end + 1 : end + 2].isalnum()
