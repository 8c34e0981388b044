"""Wrong options that a learner could believe: of the same kind as the key, and never also right."""

from functools import lru_cache
from math import log

import msgspec

from aifactory.granulation.item_rules import SIMILARITY_BAND, option_similarity
from aifactory.granulation.offline.concepts import mentions, term_key
from aifactory.granulation.offline.digest import Definition
from aifactory.granulation.offline.facts import DEED, DEMAND, PURPOSE, Fact, facts_of
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import shorten
from aifactory.granulation.offline.words import count_words, stem, words_of
from aifactory.granulation.words import content_stems

MOST_WORDS = 22
_WANTED = 3
# Facts around a fact that its wrong answers are looked for among.
_MOST_FACTS = 120
_SAME = 0.75
# Letters from which on a word that question and answer share is noticed.
_TELLING = 4


@lru_cache(maxsize=8_192)
def is_plural(term: str) -> bool:
    """Whether a term's head looks like a plural."""
    words = words_of(term)
    last = words[-1].lower() if words else ""
    return last.endswith("s") and not last.endswith(("ss", "us", "is"))


def is_doing(term: str) -> bool:
    """Whether a term opens with a word in -ing."""
    first = term.split()[0]
    return len(first) > 5 and first.endswith("ing")


def short_phrase(definition: Definition) -> str:
    """The words that define a term, cut at a clause, without a full stop."""
    return shorten(definition.phrase, MOST_WORDS).rstrip(". ")


def says_its_term(definition: Definition, phrase: str) -> bool:
    """Whether a defining phrase uses the term's own words, so that it would give the term away."""
    own = {stem(word)[:6] for word in words_of(definition.term) if len(word) > 3}
    return any(stem(word)[:6] in own for word in words_of(phrase))


class _Offer(msgspec.Struct, frozen=True):
    """A term's defining phrase as a wrong option."""

    phrase: str
    words: int
    stems: frozenset[str]
    says_its_term: bool


# Every term of a source is held against every other.
@lru_cache(maxsize=4_096)
def _offer_of(definition: Definition) -> _Offer:
    phrase = short_phrase(definition)
    return _Offer(
        phrase=phrase,
        words=count_words(phrase),
        stems=frozenset(map(stem, words_of(phrase))),
        says_its_term=says_its_term(definition, phrase),
    )


@lru_cache(maxsize=8_192)
def _head(term: str) -> list[str]:
    return words_of(term)[-1:]


def terms_beside(study: Study, key: Definition, line: Line) -> list[str]:
    """Other terms that could stand in the key's place, most alike first, at most three."""
    key_stems = set(term_key(key.term, study.language))
    scored = []
    for other in study.definitions:
        stems = set(term_key(other.term, study.language))
        if not stems or stems <= key_stems or key_stems <= stems:
            continue
        if is_plural(other.term) != is_plural(key.term) or mentions(
            line.stems, term_key(other.term, study.language)
        ):
            continue
        if key.term[0].isupper() != other.term[0].isupper() and not key.term.isupper():
            continue
        scored.append((-_likeness(key, other), other.start, other.term))
    scored.sort()
    return [term for _, _, term in scored[:_WANTED]]


def _likeness(key: Definition, other: Definition) -> float:
    frequency = 1.0 / (1.0 + abs(log(max(1, key.mentions)) - log(max(1, other.mentions))))
    length = 1.0 / (1.0 + abs(len(key.term) - len(other.term)) / 5)
    ending = 0.6 if key.term[-3:] == other.term[-3:] else 0.0
    head = 0.6 if _head(key.term) == _head(other.term) else 0.0
    first_word = key.phrase.split()[:1] == other.phrase.split()[:1]
    genus = 0.5 if key.phrase.split()[1:2] == other.phrase.split()[1:2] and first_word else 0.0
    near = 0.4 / (1.0 + abs(key.sentence - other.sentence) / 20)
    # A doing among things shows by its form that it is wrong.
    form = -0.7 if is_doing(key.term) != is_doing(other.term) else 0.0
    return frequency + length + ending + head + genus + near + form


def phrases_beside(study: Study, key: Definition, text: str) -> list[tuple[str, str]]:
    """Defining phrases of other terms, of about the key's length: (phrase, its term), at most three."""
    size = count_words(text)
    opener = text.split()[0].lower()
    key_stems = set(term_key(key.term, study.language))
    scored = []
    for other in study.definitions:
        if (
            other.term == key.term
            or other.form not in ("is", "means")
            or is_plural(other.term) != is_plural(key.term)
        ):
            continue
        offer = _offer_of(other)
        phrase, words = offer.phrase, offer.words
        if not phrase or words > MOST_WORDS + 2 or words * 3 < size * 2 or offer.says_its_term:
            continue
        if key_stems & offer.stems or other.sentence == key.sentence:
            continue
        alike = phrase.split()[0].lower() == opener
        scored.append((abs(words - size) - 2 * alike, other.start, phrase, other.term))
    scored.sort()
    return [(phrase, term) for _, _, phrase, term in scored[:_WANTED]]


def answers_beside(study: Study, key: Fact) -> list[Fact]:
    """Facts whose answers could be taken for that of another one: of its kind and length, at most three."""
    form, (low, high) = _form(key), SIMILARITY_BAND
    facts = [fact for fact in facts_of(study) if fact.kind == key.kind and _form(fact) == form]
    facts.sort(key=lambda fact: (abs(fact.line.index - key.line.index), fact.line.index))
    size, asked, echoed = len(key.answer), frozenset(key.line.stems), echoes(key)
    scored = []
    for fact in facts[:_MOST_FACTS]:
        shared = len(asked.intersection(fact.line.stems))
        if not 0.55 * size <= len(fact.answer) <= 1.8 * size or fact.subject == key.subject:
            continue
        if shared > 0.5 * min(len(asked), len(fact.line.stems)):
            continue
        if not low <= option_similarity(key.answer, fact.answer, study.language) <= high:
            continue
        # A word that the question shares with its answer tells it, unless a wrong one has it too.
        held = len(echoed.intersection(content_stems(fact.answer, "en")))
        scored.append((-held, fact.frame != key.frame, abs(len(fact.answer) - size), fact.line.index, fact))
    scored.sort(key=lambda one: one[:4])
    return _apart(study, [fact for *_, fact in scored])


def echoes(fact: Fact) -> frozenset[str]:
    """The stems of longer words that a question shares with its answer."""
    asked = frozenset(content_stems(fact.question, "en"))
    return frozenset(one for one in content_stems(fact.answer, "en") if one in asked and len(one) >= _TELLING)


def _form(fact: Fact) -> str:
    """What the answers to a question have in common that another answer would be told by."""
    if fact.kind == DEED:
        return fact.frame if fact.frame in ("do", "does") else "object"
    opening = fact.answer.split()[0]
    if fact.kind == DEMAND and opening in ("It", "They"):
        # Whether it is one thing or several would tell.
        return f"{fact.frame} {opening}"
    return opening if fact.kind == PURPOSE else fact.frame


def _apart(study: Study, facts: list[Fact]) -> list[Fact]:
    """Those of some facts whose answers also differ from each other."""
    kept: list[Fact] = []
    for fact in facts:
        if all(option_similarity(one.answer, fact.answer, study.language) < _SAME for one in kept):
            kept.append(fact)
        if len(kept) >= _WANTED:
            break
    return kept
