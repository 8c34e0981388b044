"""School grade of a text by Flesch–Kincaid and the Automated Readability Index. Pure, no corpus."""

import re

import msgspec

from aifactory.granulation.words import WORD, sentences

_VOWELS = re.compile(r"[aeiouyáéíóúàèìòùäöüâêîôû]+")
# Vowel groups that are spoken as two syllables, and endings whose e is silent or spoken.
_SPLIT = re.compile(r"i[ao]|[eiy]i|[ui]us|eo(?!u)|ua[lnrt]|ying|oing|[^q]ue[nl]|iet|creat|riet|dnt$|sms?$")
_JOINED = re.compile(r"[ctsgx]io|[ct]ia[ln]|giou|gion|tient|cien|eous$|eau|people|[aeo]i[ao]")
_SILENT = re.compile(r"(?<![lr])e$|(?<=[aeiouylr])[lr]e$|(?<=[^dt])ed$|(?<=[^aeiouylrcgsxzh])es$|(?<=[a-z][lr])es$|ely$|eful|eness|ement")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Counts that both grades are made of."""

    sentences: int
    words: int
    syllables: int
    characters: int


def syllables(word: str) -> int:
    """Count syllables of an English word by vowel groups, corrected for silent e and split groups."""
    word = word.lower()
    if not word.isalpha():
        return max(1, len(_VOWELS.findall(word)))
    count = len(_VOWELS.findall(word))
    count += len(_SPLIT.findall(word)) - len(_JOINED.findall(word)) - len(_SILENT.findall(word))
    return max(1, count)


def count(texts: list[str]) -> Reading:
    """Count sentences, words, syllables and letters over texts; each text ends a sentence."""
    found = [WORD.findall(sentence) for text in texts for sentence in sentences(text)]
    found = [sentence for sentence in found if sentence]
    all_words = [word for sentence in found for word in sentence]
    known: dict[str, int] = {}
    for word in all_words:
        if word not in known:
            known[word] = syllables(word)
    return Reading(
        sentences=len(found),
        words=len(all_words),
        syllables=sum(known[word] for word in all_words),
        characters=sum(map(len, all_words)),
    )


def flesch_kincaid_grade(reading: Reading) -> float:
    """Kincaid, Fishburne, Rogers & Chissom 1975: .39 words/sentence + 11.8 syllables/word − 15.59."""
    return 0.39 * reading.words / reading.sentences + 11.8 * reading.syllables / reading.words - 15.59


def automated_readability_index(reading: Reading) -> float:
    """Smith & Senter 1967: 4.71 characters/word + .5 words/sentence − 21.43."""
    return 4.71 * reading.characters / reading.words + 0.5 * reading.words / reading.sentences - 21.43
