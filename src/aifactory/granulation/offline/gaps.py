"""Where a sentence of a source can have a gap: at a figure, or at a term or phrase that it speaks of."""

import re
from collections.abc import Iterator
from itertools import islice

import msgspec

from aifactory.granulation.offline.figures import Figure, figure_in
from aifactory.granulation.offline.phrases import is_telling
from aifactory.granulation.offline.quotable import is_plain
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import rank_lines, shorten
from aifactory.granulation.offline.words import count_words, is_stop, places_of, stem, words_of
from aifactory.granulation.tree import Difficulty

GAP = "____"
# A part needs a dozen gaps; a long one has thousands of sentences.
MOST_LINES = 60
_LEAST_CONTEXT = 8
_LEAST_STEMS = 5
_GAPS_PER_LINE = 3
_MOST_SPARE = 120
# Mentions in the source from which on a missing word is easy, or not hard, to find.
_OFTEN, _SELDOM = 8, 3
_HANGING = re.compile(r"\b(?:also|as well|too|another|other|again|then)\b", re.IGNORECASE)


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a sentence: ``name`` is the term or phrase there, ``answer`` its form in the sentence."""

    line: Line
    before: str
    after: str
    name: str
    answer: str


def figure_gaps(study: Study, first: int, last: int) -> Iterator[tuple[Line, Figure]]:
    """Sentences of a part with one figure worth asking for, in text order."""
    lines = (line for line in study.lines[first:last] if line.kind == "s" and is_plain(line))
    for line in islice(lines, 4 * MOST_LINES):
        if not 7 <= line.words <= 32:
            continue
        figure = figure_in(line.told)
        if figure:
            yield line, figure


def word_gaps(study: Study, first: int, last: int, *, spare: bool = False) -> Iterator[Gap]:
    """Gaps at a term, or at what a heading or a name says; ``spare``: at any phrase. Best sentences first."""
    names = _names(study, first, last, spare=spare)
    for _, line in rank_lines(study, first, last)[:MOST_LINES]:
        told = shorten(line.told, 30)
        if (
            line.kind not in ("s", "b")
            or study.definition_at(line)
            or _HANGING.search(told)
            or len(set(line.stems)) <= _LEAST_STEMS
            or not is_plain(line)
        ):
            continue
        places = ((name, _gap_at(study, told, name)) for name in names)
        for name, at in islice((pair for pair in places if pair[1] >= 0), _GAPS_PER_LINE):
            end = at + len(name)
            yield Gap(
                line=line,
                before=re.sub(r"\b([Aa])n? $", r"\1(n) ", told[:at]),
                after=told[end:],
                name=name,
                answer=name if at == 0 else told[at:end],
            )


def difficulty_of(study: Study, name: str) -> Difficulty:
    """How hard a missing name is to find: a reader has met it often, now and then, or hardly."""
    mentions = len(study.mentions.of(name))
    if mentions >= _OFTEN:
        return Difficulty.EASY
    return Difficulty.MEDIUM if mentions >= _SELDOM else Difficulty.HARD


def _names(study: Study, first: int, last: int, *, spare: bool) -> list[str]:
    """What may be missing: terms, then phrases of the part that only one thing is called."""
    headed = frozenset(stem(word) for section in study.reading.sections for word in words_of(section.title))
    topic = frozenset(stem(word) for word in words_of(study.digest.title))
    # What the whole source is about fits every gap.
    terms = [
        definition.term
        for definition in study.definitions
        if not topic.issuperset(stem(word) for word in words_of(definition.term))
    ]
    phrases = [
        phrase.text
        for phrase in study.book.best(first, last, limit=20)
        if (phrase.count > 1 or len(phrase.stems) > 1)
        and (len(phrase.stems) > 1 or (headed.issuperset(phrase.stems) and phrase.text[0].islower()))
        and not topic.issuperset(phrase.stems)
        and is_telling(phrase.text, study.lexicon)
    ]
    if not spare:
        return list(dict.fromkeys([*terms, *phrases]))
    others = [phrase.text for phrase in study.book.best(first, last, limit=_MOST_SPARE)]
    # A word that could stand anywhere is asked for last of all.
    others.sort(key=lambda name: not is_telling(name, study.lexicon))
    return list(dict.fromkeys([*terms, *phrases, *others]))


def _gap_at(study: Study, told: str, answer: str) -> int:
    """Where a gap for an answer can be, -1 if nowhere: said once, whole, among enough other words."""
    places = places_of(told.lower(), answer.lower())
    if len(places) != 1 or count_words(told) - count_words(answer) < _LEAST_CONTEXT:
        return -1
    at = places[0]
    if not _is_token(told, at, at + len(answer)):
        return -1
    before, after = (
        re.search(r"([^\W\d_]+) $", told[:at]),
        re.match(r" ([^\W\d_]+)", told[at + len(answer) :]),
    )
    # A neighbour that belongs to the name would leave half of it standing.
    own = tuple(map(stem, words_of(answer)))
    pairs = [(stem(before[1]), *own)] if before else []
    pairs += [(*own, stem(after[1]))] if after else []
    beside = [found[1] for found in (before, after) if found]
    known = study.book.tallies
    whole = all(
        is_stop(word, study.language)
        or study.lexicon.is_verb(word)
        or (pair not in known or known[pair].count < 2)
        for word, pair in zip(beside, pairs, strict=True)
    )
    return at if whole else -1


def _is_token(told: str, at: int, end: int) -> bool:
    """Whether white space and sentence marks are all that touch a place: no half of a path or a name."""
    left = told[:at].rpartition(" ")[2]
    right = told[end:].partition(" ")[0]
    return not left.strip('“‘"(') and not right.strip('”’"),;.!?:')
