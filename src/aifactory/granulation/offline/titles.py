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
# A word in capitals of more letters is shouted; a shorter one is a name if the part uses it.
_ACRONYM, _LEAST_SEEN, _MOST_SEEN = 5, 3, 40
_GOES_ON = re.compile(r" [A-Z][a-z]+|[-/_:][\w-]")
_CODE = re.compile(
    r"^[(\[]?v?\d[\w.\-/:]*[)\]]?(?:[\s\-–(]+\d{4}-\d\d-\d\d\)?)?$"
    r"|^(?:v?\d[\w.]* )?\(?[A-Z][a-z]{2,8} \d{1,2}(?:st|nd|rd|th)?,? \d{4}\)?$"
    r"|^(?=\S*[_.()\d])[\w.()\[\]':,\-]+$|^[A-Z][A-Z_\d]{5,}$"
)
_NUMBERING = re.compile(
    r"^(?:§ ?|chapter |part |section |appendix )?(?:\d{1,3}(?:\.\d{1,3})*|[IVXLC]{1,6}(?=[.)]))[.):]?\s+",
    re.IGNORECASE,
)
_SIGNS = re.compile(r"^[(\[]|[)\]](?=$|\s)")
_BRACES = re.compile(r"[{}]")
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
        for title in (*self._from_headings(chunk, above), *self._from_phrases(chunk, above)):
            fitted = fit_title(title)
            if len(fitted) >= _LEAST and not any(same_title(fitted, other) for other in taken):
                return fitted
        return numbered(fit_title(above) or "Part", taken)

    def _from_headings(self, chunk: Chunk, above: str) -> list[str]:
        if chunk.title:
            return [unnumbered(chunk.title)]
        names = [fit_title(unnumbered(child.title)) for child in chunk.children if child.title]
        names = list(dict.fromkeys(name for name in names if name))
        if not chunk.merged or not names:
            return []
        if len(names) > 1 and all(map(_is_code, names)):
            ends = (names[0], names[-1])
            span = " to ".join(_SIGNS.sub("", name) if name[0] in "([" else name for name in ends)
            named = [f"{above}: {span}"] if above and len(above) + len(span) < _JOINED_MOST else []
            return [*named, span]
        return self._joined(names)

    def _joined(self, names: list[str]) -> list[str]:
        """Two or three short names in one; of more, the first ones and how many there are beside them."""
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
        pair = f"{whole[0]}, {whole[1]} and {len(whole) - 2} more" if len(whole) > 2 else ""
        one = f"{whole[0]} and {len(whole) - 1} more" if len(whole) > 1 else whole[0]
        fitting = [full] if len(whole) <= 3 and len(full) <= _JOINED_MOST else []
        return [*fitting, *([pair] if pair and len(pair) <= _JOINED_MOST else []), one]

    def _from_phrases(self, chunk: Chunk, above: str) -> list[str]:
        study = self._study
        avoid = set(map(stem, words_of(above)))
        terms = [d.term for d in study.defined_between(chunk.first, chunk.last)][:3]
        phrases = study.book.best(chunk.first, chunk.last, limit=12, boost=study.focus)
        sound = [p for p in phrases if self._is_name(p.text, chunk)]
        strong = [p.text for p in sound if p.score >= _SECOND * sound[0].score]
        # Of phrases that say as much, one of two words says more closely what the part is about.
        strong.sort(key=lambda name: " " not in name)
        # A term that is defined here may repeat the title above; a mere phrase would say nothing new.
        names = _distinct(
            [*_distinct(terms, set(), strict=False), *_distinct(strong, avoid)], set(), strict=False
        )
        pairs = [sorted(pair, key=lambda name: self._place(name, chunk)) for pair in pairwise(names)]
        joined = [f"{one} and {two}" for one, two in pairs if len(one) + len(two) <= _PAIR_MOST]
        rest = _distinct([p.text for p in sound], avoid) or _distinct([p.text for p in phrases], set())
        return [self._headline(name) for name in [*names, *joined, *rest]]

    def _is_name(self, phrase: str, chunk: Chunk) -> bool:
        """Whether a phrase can stand as a title: a whole name, no adjective, no word that is only shouted."""
        words = phrase.split()
        head = words[-1]
        if any(word.lower().endswith("ly") and len(word) > 4 for word in words):
            return False
        if any(
            word.isupper() and len(word) > _ACRONYM for word in words
        ) or not self._study.lexicon.is_sure_noun(head):
            return False
        if head.endswith(("ing", "ed")) and head.lower() not in THINGS_IN_ING and len(words) == 1:
            return False
        if head.isupper() and self._study.mentions.between(phrase, chunk.first, chunk.last) < _LEAST_SEEN:
            return False
        return not self._is_stub(phrase, chunk)

    def _is_stub(self, phrase: str, chunk: Chunk) -> bool:
        """Whether a name goes on behind the phrase wherever it stands: "Affero General Public" License."""
        if not phrase[:1].isupper() and " " not in phrase:
            return False
        went_on = seen = 0
        for index in self._study.mentions.of(phrase)[:_MOST_SEEN]:
            shown = self._study.lines[index].shown
            at = shown.casefold().find(phrase.casefold())
            if at >= 0:
                seen += 1
                went_on += bool(_GOES_ON.match(shown, at + len(phrase)))
        return went_on > seen / 2

    def _place(self, name: str, chunk: Chunk) -> int:
        inside = [index for index in self._study.mentions.of(name) if chunk.first <= index < chunk.last]
        return inside[0] if inside else chunk.last

    def _headline(self, phrase: str) -> str:
        words = phrase.split()
        if self._title_case:
            words = [word if word.lower() in SMALL_WORDS else word[:1].upper() + word[1:] for word in words]
        first = words[0]
        return " ".join([first[:1].upper() + first[1:], *words[1:]])


def unnumbered(title: str) -> str:
    """A heading without its number: the tree has its own."""
    bare = _NUMBERING.sub("", title)
    # A version before its date is no number of a part.
    return title if not bare or bare.startswith("(") else bare


def _is_code(title: str) -> bool:
    """Whether a heading is a version, a date or an identifier: told by the first and last."""
    return bool(_CODE.match(title))


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
    line = " ".join(_BRACES.sub("", title).split()).strip(" .,;:–—-*_#")
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
        is_mixed = any(map(str.isupper, core[1:])) and not core.isupper()
        if not core or not core[0].isupper() or is_mixed or (core.isupper() and len(core) > 1 and not shout):
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
