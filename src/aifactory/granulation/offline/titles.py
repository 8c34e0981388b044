"""Titles: the source's headings as they are, else its phrases; and how a title reads inside a sentence."""

import re
from itertools import pairwise

from aifactory.granulation.offline.grammar import (
    IMPERATIVES,
    PREPOSITIONS,
    QUESTION_WORDS,
    SMALL_WORDS,
    THINGS_IN_ING,
)
from aifactory.granulation.offline.lexicon import Lexicon
from aifactory.granulation.offline.outline import Chunk
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.wordlists import word_set
from aifactory.granulation.offline.words import stem, words_of

MOST = 120
_JOINED_MOST = 80
_LEAST = 3
_PAIR_MOST = 56
_AFTER_NAME = ("and", "of", "or", "in")
_SECOND = 0.5
_NUMBERING = re.compile(
    r"^(?:§ ?|chapter |part |section |appendix )?(?:\d{1,3}(?:\.\d{1,3})*|[IVXLC]{1,6}(?=[.)]))[.):]?\s+",
    re.IGNORECASE,
)
_STRUCTURAL = word_set(
    """
    introduction overview background summary conclusion conclusions basics notes note tips faq description
    usage example examples general preface abstract contents details miscellaneous other appendix about readme
    options
    more synopsis name remarks discussion results method methods
    """
)


class Titles:
    """Hands out titles for the chunks of one source, unique among siblings."""

    def __init__(self, study: Study) -> None:
        self._study = study
        heads = [s.title for s in study.reading.sections if s.title]
        self._title_case = not heads or sum(map(_is_title_case, heads)) > len(heads) / 2

    def of(self, chunk: Chunk, taken: list[str], above: str = "") -> str:
        """A title for a chunk that none of its siblings has."""
        for title in (*self._from_headings(chunk), *self._from_phrases(chunk, above)):
            fitted = fit_title(title)
            if len(fitted) >= _LEAST and not any(same_title(fitted, other) for other in taken):
                return fitted
        return numbered(fit_title(above) or "Part", taken)

    def _from_headings(self, chunk: Chunk) -> list[str]:
        if chunk.title:
            return [_NUMBERING.sub("", chunk.title) or chunk.title]
        names = [_NUMBERING.sub("", child.title) for child in chunk.children if child.title]
        names = list(dict.fromkeys(name for name in names if name))
        if not chunk.merged or not names:
            return []
        return [self._joined(names), f"{names[0]} and more"]

    def _joined(self, names: list[str]) -> str:
        """Two or three short names in one; of more, the first and the last."""
        rest = [
            in_sentence(name, self._study.lexicon) if not self._title_case else name for name in names[1:]
        ]
        whole = [names[0], *rest]
        if any(kind_of_title(name) in ("question", "sentence") for name in names):
            full = "; ".join(whole)
        elif len(whole) > 1 and " and " in whole[-1]:
            full = ", ".join(whole)
        else:
            full = ", ".join(whole[:-1]) + f" and {whole[-1]}" if len(whole) > 1 else whole[0]
        if len(whole) <= 3 and len(full) <= _JOINED_MOST:
            return full
        ends = f"{whole[0]} to {rest[-1]}"
        plain = all(kind_of_title(name) in ("name", "doing") for name in (names[0], names[-1]))
        return ends if plain and len(ends) <= _JOINED_MOST else f"{whole[0]} and more"

    def _from_phrases(self, chunk: Chunk, above: str) -> list[str]:
        study = self._study
        avoid = set(map(stem, words_of(above)))
        terms = [d.term for d in study.defined_between(chunk.first, chunk.last)][:3]
        phrases = study.book.best(chunk.first, chunk.last, limit=8, boost=study.focus)
        strong = [p.text for p in phrases if p.score >= _SECOND * phrases[0].score]
        # A term that is defined here may repeat the title above; a mere phrase would say nothing new.
        names = _distinct(
            [*_distinct(terms, set(), strict=False), *_distinct(strong, avoid)], set(), strict=False
        )
        pairs = [sorted(pair, key=lambda name: self._place(name, chunk)) for pair in pairwise(names)]
        joined = [f"{one} and {two}" for one, two in pairs if len(one) + len(two) <= _PAIR_MOST]
        rest = _distinct([p.text for p in phrases], avoid)
        return [self._headline(name) for name in [*joined[:1], *names, *joined[1:], *rest]]

    def _place(self, name: str, chunk: Chunk) -> int:
        inside = [index for index in self._study.mentions.of(name) if chunk.first <= index < chunk.last]
        return inside[0] if inside else chunk.last

    def _headline(self, phrase: str) -> str:
        words = phrase.split()
        if self._title_case:
            words = [word if word.lower() in SMALL_WORDS else word[:1].upper() + word[1:] for word in words]
        first = words[0]
        return " ".join([first[:1].upper() + first[1:], *words[1:]])


def _distinct(names: list[str], avoid: set[str], *, strict: bool = True) -> list[str]:
    """Names that say something new beside the parent's words and each other (``strict``: share no word)."""
    kept: list[str] = []
    seen: list[set[str]] = []
    for name in names:
        stems = set(map(stem, words_of(name)))
        if (
            not stems
            or stems <= avoid
            or any(stems & other if strict else stems <= other or other <= stems for other in seen)
        ):
            continue
        kept.append(name)
        seen.append(stems)
    return kept


def _is_title_case(title: str) -> bool:
    later = [word for word in words_of(title)[1:] if word.lower() not in SMALL_WORDS]
    return bool(later) and all(word[:1].isupper() for word in later)


def same_title(one: str, two: str) -> bool:
    """Whether two titles share at least .8 of their words."""
    left, right = set(map(stem, words_of(one))), set(map(stem, words_of(two)))
    if not left or not right:
        return one.casefold() == two.casefold()
    return len(left & right) / len(left | right) >= 0.8


def numbered(title: str, taken: list[str]) -> str:
    """A title made unique by a number, the last resort."""
    known = {other.casefold() for other in taken}
    for number in range(1, len(taken) + 2):
        ending = f", part {number}"
        candidate = title[: MOST - len(ending)] + ending
        if candidate.casefold() not in known:
            return candidate
    return title


def fit_title(title: str) -> str:
    """A title in one line of at most 120 characters, cut at a word."""
    line = " ".join(title.split()).strip(" .,;:–—-*_#")
    if len(line) > MOST:
        line = line[: MOST - 1].rsplit(" ", 1)[0].rstrip(" .,;:–—-") + "…"
    return line


def is_structural(title: str) -> bool:
    """Whether a heading names a place in the text ("Overview") and not a subject."""
    words = words_of(title)
    return not words or (len(words) <= 2 and all(word.lower() in _STRUCTURAL | SMALL_WORDS for word in words))


def in_sentence(title: str, lexicon: Lexicon) -> str:
    """A title as it stands inside a sentence: capitals only where the text has them too."""
    shout = title.isupper() and len(title) > 5
    cased = _is_title_case(title)
    words = []
    for position, word in enumerate(title.split()):
        core = word.strip("“”\"'(),.:;?!")
        if not core or not core[0].isupper() or (core.isupper() and len(core) > 1 and not shout):
            words.append(word)
        elif core.lower() in lexicon.casing:
            words.append(word.replace(core, lexicon.usual(core)))
        elif shout or cased or position == 0:
            words.append(word.replace(core, core.lower()))
        else:
            words.append(word)
    return " ".join(words)


def kind_of_title(title: str) -> str:
    """How a title can stand in a sentence: question, doing, command, place ("At sea"), name or sentence."""
    words = [word.lower() for word in words_of(title)]
    if not words:
        return "sentence"
    if words[0] in QUESTION_WORDS:
        return "question"
    if words[0] in PREPOSITIONS:
        return "place"
    if title.endswith(("?", "!")) or words[0] in (
        "is",
        "are",
        "do",
        "does",
        "can",
        "should",
        "if",
        "when",
        "after",
    ):
        return "sentence"
    if words[0].endswith("ing") and len(words[0]) > 4 and words[0] not in THINGS_IN_ING:
        return (
            "doing"
            if (len(words) > 1 and words[1] not in ("and", "or", "of", "in")) or gerund_base(words[0])
            else "name"
        )
    second = words[2] if len(words) > 3 and words[1] in ("and", "or") else ""
    if words[0] in IMPERATIVES and len(words) > 1 and (second in IMPERATIVES or words[1] not in _AFTER_NAME):
        return "command"
    if any(
        word in ("is", "are", "was", "were", "can", "must", "should", "does", "do", "has", "have")
        for word in words[1:]
    ):
        return "sentence"
    return "name"


def gerund_base(word: str) -> str:
    """The verb behind a word in -ing, if it is a known one: shaping, shape; "" otherwise."""
    root = word.lower().removesuffix("ing")
    for base in (root, root + "e", root[:-1] if len(root) > 2 and root[-1] == root[-2] else root):
        if base in IMPERATIVES:
            return base
    return ""
