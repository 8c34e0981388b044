"""Which language a text is written in, by its stop words."""

from aifactory.granulation.offline.stopwords import STOP_WORDS
from aifactory.granulation.offline.words import words_of

UNKNOWN = "und"
_SAMPLE_CHARACTERS = 40_000
_LEAST_SHARE = 0.12
# Texts full of names and code have fewer stop words; then several kinds of them have to agree.
_LEAST_KINDS = 5
_LEAST_CLEAR_SHARE = 0.04
_FAR_AHEAD = 2
_NAMES = {
    "english": "en", "spanish": "es", "español": "es", "german": "de", "deutsch": "de",
    "french": "fr", "français": "fr", "czech": "cs", "čeština": "cs",
}  # fmt: skip


def language_code(name: str) -> str:
    """A two-letter code for ``en``, ``en-GB`` or ``English``; other names in lower case."""
    low = name.strip().lower().replace("_", "-")
    return _NAMES.get(low, low.split("-")[0])


def detect_language(text: str) -> str:
    """The language whose stop words cover most of the text, or ``und``."""
    # Single letters are as often symbols and initials as words.
    words = [word.lower() for word in words_of(text[:_SAMPLE_CHARACTERS]) if len(word) > 1]
    if not words:
        return UNKNOWN
    found = {code: [word for word in words if word in stop] for code, stop in STOP_WORDS.items()}
    best, second = sorted(sorted(found), key=lambda code: -len(found[code]))[:2]
    if len(found[best]) >= _LEAST_SHARE * len(words):
        return best
    clear = len(found[best]) >= max(_FAR_AHEAD * len(found[second]), _LEAST_CLEAR_SHARE * len(words))
    return best if clear and len(set(found[best])) >= _LEAST_KINDS else UNKNOWN
