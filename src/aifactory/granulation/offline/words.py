"""Words of a text: tokens, light stems, content words."""

import re
from functools import lru_cache

from aifactory.granulation.offline.stopwords import STOP_WORDS

# Scripts without spaces count one word per character.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
WORD = re.compile(rf"[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+(?:['’\-‑][^\W\d_{_UNSPACED}]+)*")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_VOWEL = re.compile(r"[aeiouy]")


def words_of(text: str) -> list[str]:
    """The words of a text in order, as written; figures are not words."""
    return WORD.findall(text)


def count_words(text: str) -> int:
    """Words and figures, as a reader counts them."""
    return sum(1 for _ in WORD.finditer(text)) + sum(1 for _ in NUMBER.finditer(text))


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """A light stem: lower case, without possessive, plural, -ing, -ed and a final e."""
    low = word.lower().replace("’", "'")
    if low.endswith("'s"):
        low = low[:-2]
    if len(low) <= 3:
        return low
    low = _without_plural(low)
    for suffix in ("ing", "ed"):
        if low.endswith(suffix):
            rest = low[: -len(suffix)]
            if len(rest) >= 3 and _VOWEL.search(rest):
                low = rest[:-1] if rest[-1] == rest[-2] and rest[-1] not in "lsz" else rest
            break
    return low[:-1] if len(low) > 3 and low.endswith("e") else low


def _without_plural(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def stems_of(text: str, language: str = "en") -> list[str]:
    """Stems of the content words of a text, in order."""
    stop = STOP_WORDS.get(language, STOP_WORDS["en"])
    return [
        stem(word)
        for word in WORD.findall(text)
        if word.lower() not in stop and (len(word) > 2 or not word.isascii() or word.isupper())
    ]


@lru_cache(maxsize=65_536)
def is_stop(word: str, language: str = "en") -> bool:
    """Whether a word carries no topic."""
    return word.lower().replace("’", "'") in STOP_WORDS.get(language, STOP_WORDS["en"])


def places_of(text: str, name: str) -> list[int]:
    """Where a name stands in a text as whole words; both are compared as they are."""
    places = []
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        if not _joins(text[at - 1 : at]) and not _joins(text[end : end + 1]):
            places.append(at)
        at = text.find(name, at + 1)
    return places


def _joins(character: str) -> bool:
    return character.isalnum() or character in ("’", "'", "-", "_")
