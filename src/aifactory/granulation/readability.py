"""School grade of a text by Flesch–Kincaid and the Automated Readability Index. Pure, no corpus."""

import re
from functools import lru_cache
from itertools import chain

import msgspec

from aifactory.granulation.words import sentences, words

_VOWELS = re.compile(r"[aeiouyáéíóúàèìòùäöüâêîôû]+")
# Neighbouring vowels that belong to two syllables: one more than the vowel groups say.
_SPLIT = re.compile(
    r"(?<![cgstx])i[ao]|(?<![gqs])ua|eo(?!u|ple)|(?<![cst])(?<!fr)ien|^scien|quiet|iety|[aeiouy]ing$"
    r"|creat(?!u)|(?:id|ar)ea|realit|eum|uou|thm|ism"
)
# A written e that is not spoken: one less.
_SILENT = re.compile(
    r"(?<![aeiouy])(?<![^aeiouylr]l)e$|(?<![dt])(?<![^aeiouylr]l)ed$"
    r"|(?<![cgsxz])(?<!sh|ch)(?<![^aeiouylr]l)es$|(?<=..[^aeiou])ely$|eful|eless|(?<=..[^l])ement"
)
_EXCEPTIONS = {"business": 2, "every": 2, "people": 2, "something": 2, "sometimes": 2, "yes": 1}


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Counts that both grades are made of."""

    sentences: int
    words: int
    syllables: int
    characters: int


@lru_cache(maxsize=65_536)
def syllables(word: str) -> int:
    """Count syllables of an English word by vowel groups, corrected for silent e and split groups."""
    word = word.lower()
    groups = len(_VOWELS.findall(word))
    if word in _EXCEPTIONS or not word.isalpha():
        return _EXCEPTIONS.get(word, max(1, groups))
    return max(1, groups + len(_SPLIT.findall(word)) - len(_SILENT.findall(word)))


def count(texts: list[str]) -> Reading:
    """Count sentences, words, syllables and letters over texts; each text ends a sentence."""
    return count_words([words(sentence) for text in texts for sentence in sentences(text)])


def count_words(cut: list[list[str]]) -> Reading:
    """Like ``count`` on sentences already cut into words; empty ones do not count."""
    found = list(chain.from_iterable(cut))
    return Reading(
        sentences=sum(map(bool, cut)),
        words=len(found),
        syllables=sum(map(syllables, found)),
        characters=sum(map(len, found)),
    )


def flesch_kincaid_grade(reading: Reading) -> float:
    """Kincaid, Fishburne, Rogers & Chissom 1975: .39 words/sentence + 11.8 syllables/word − 15.59."""
    return 0.39 * reading.words / reading.sentences + 11.8 * reading.syllables / reading.words - 15.59


def automated_readability_index(reading: Reading) -> float:
    """Smith & Senter 1967: 4.71 characters/word + .5 words/sentence − 21.43."""
    return 4.71 * reading.characters / reading.words + 0.5 * reading.words / reading.sentences - 21.43
