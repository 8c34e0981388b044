"""Words, sentences and stems of a text, and a guess at its language. Pure, without word lists to download."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# Twice as fast, and the same for a text without apostrophes.
_PLAIN_WORD = re.compile(r"[^\W_]+")
_SENTENCE_END = re.compile(r"[.!?…\n。！？]+[\"'”’)\]]*\s*")
_ENDS_WITHOUT_SPACE = "。！？"
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|Dr|Mr|Mrs|Ms|Prof|St|Fig|No|approx|resp|al)|\b[A-Z])\.$"
)


def _set(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# The commonest function words: enough to tell the languages apart and to leave them out of comparisons.
STOP_WORDS: dict[str, frozenset[str]] = {
    "en": _set(
        "a about above after again all also although an and any are as at be because been before "
        "being below between both but by can could did do does doing down during each either else for "
        "from further had has have having he her here hers him his how i if in into is it its itself "
        "just may me might more most must my no nor not of off on once only or other our out over own "
        "per same she should so some such than that the their them then there these they this those "
        "through to too under until up upon us very was we were what when where whether which while "
        "who whom whose why will with within without would you your"
    ),
    "es": _set(
        "a al algo ante antes aunque cada como con contra cual cuando de del desde donde dos el ella "
        "ellos en entre era es esa ese eso esta este esto estos están está fue ha hace hasta hay la "
        "las le les lo los más me mientras muy no nos o otra otro para pero por porque pueden puede "
        "que quien se ser si sin sobre son su sus también tan tiene todo todos tras un una uno unos y "
        "ya"
    ),
    "de": _set(
        "aber alle als also am an auch auf aus bei beim bis da damit dann das dass dem den denn der "
        "des die dies diese dieser dieses doch durch ein eine einem einen einer eines er es etwas für "
        "gegen hat haben ich ihr ihre im in ist ja jede jeder kann kein keine können man mehr mit "
        "muss nach nicht noch nur ob oder ohne sehr sein seine sich sie sind so über um und uns unter "
        "vom von vor war was weil welche wenn werden wie wird wir wo wurde zu zum zur zwischen"
    ),
    "fr": _set(
        "afin ainsi alors après au aussi autre aux avant avec ce cela ces cet cette chaque comme dans "
        "de depuis des donc dont du elle elles en entre est et eux fait ici il ils je la le les leur "
        "leurs lors lui mais même ne ni nos notre nous on ont ou où par pas pendant peut peuvent plus "
        "pour puis qu quand que qui sa sans se selon ses si son sont sous sur tous tout toute très un "
        "une vers vous y à été être"
    ),
    "cs": _set(
        "a aby ale ani až bez bude by byl byla bylo být co další do i jak jako je jeho její jejich "
        "jen jsou již k kde kdy když která které který ke má mezi může na nad nebo není než o od po "
        "pod podle pokud pro proto protože před při s se si také tak tato ten tento to tyto u už v ve "
        "více však z za ze že"
    ),
    "it": _set(
        "a ai al alla alle anche che chi ci come con così cui da dal dalla degli dei del della delle "
        "di dove e ed era essere fra gli ha hanno i il in io la le lo loro ma nei nel nella non o "
        "ogni per perché più può quale quando quello questa questo se senza si sia sono su sua sul "
        "sulla suo tra tutti un una uno"
    ),
    "pt": _set(
        "a ao aos as até com como da das de do dos e ela ele em entre era essa esse esta este eu foi "
        "há isso já mais mas mesmo muito na nas no nos não o os ou para pela pelo por porque pode "
        "qual quando que quem se sem ser seu seus sobre sua são também tem um uma"
    ),
}
MIN_WORDS_FOR_LANGUAGE = 30
# A list of keywords has hardly any function words; prose has 30 to 50 %.
MIN_FUNCTION_WORDS = 0.15
LIST_LENGTH = 8
SCRIPT_SAMPLE = 500
# Titles, options and claims are cut by one rule after the other, and again for every edit of a tree.
_SHORT = 300
_KEPT = 4_096


def primary_language(tag: str) -> str:
    """The first subtag of a BCP 47 tag, lower-cased: ``en-GB`` → ``en``."""
    return re.split(r"[-_]", tag.strip().lower(), maxsplit=1)[0]


def words(text: str) -> list[str]:
    """The words of a text, lower-cased, apostrophes kept inside."""
    return list(_words_of_short(text)) if len(text) <= _SHORT else _cut(text)


@lru_cache(maxsize=_KEPT)
def _words_of_short(text: str) -> tuple[str, ...]:
    return tuple(_cut(text))


def _cut(text: str) -> list[str]:
    pattern = _WORD if "'" in text or "’" in text else _PLAIN_WORD
    return pattern.findall(text.lower())


def sentences(text: str) -> list[str]:
    """Split at sentence ends and line breaks, not after common abbreviations and initials."""
    parts: list[str] = []
    start = 0
    ends = [
        match.end()
        for match in _SENTENCE_END.finditer(text)
        # A full stop inside "3.5" or "e.g." is followed by no space.
        if text[match.end() - 1].isspace() or text[match.end() - 1] in _ENDS_WITHOUT_SPACE
    ]
    for end in [*ends, len(text)]:
        piece = text[start:end].strip()
        start = end
        if not piece:
            continue
        if parts and _ABBREVIATION.search(parts[-1]):
            parts[-1] = f"{parts[-1]} {piece}"
        else:
            parts.append(piece)
    return parts


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """A light English-leaning stem: plural, -ing, -ed, -ly and a final e fall; short words stay."""
    if word.endswith(("'s", "’s")):
        word = word[:-2]
    if len(word) <= 3 or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for suffix in ("ing", "ed", "ly"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 4:
            word = word[: -len(suffix)]
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


def content_stems(text: str, language: str) -> list[str]:
    """The stems of the words that carry meaning, in order, repeats kept."""
    return list(_stems_of_short(text, language)) if len(text) <= _SHORT else stems_of(_cut(text), language)


@lru_cache(maxsize=_KEPT)
def _stems_of_short(text: str, language: str) -> tuple[str, ...]:
    return tuple(stems_of(_cut(text), language))


def passage_stems(text: str, language: str) -> list[frozenset[str]]:
    """The different stems of each sentence of a source."""
    return [frozenset(stems_of(frozenset(_cut(one)), language)) for one in sentences(text)]


def stems_of(text_words: Iterable[str], language: str) -> list[str]:
    """``content_stems`` of words that are already cut and lower-cased."""
    stop = STOP_WORDS.get(language, frozenset())
    return [stem(word) for word in text_words if word not in stop]


def is_word_list(text_words: Sequence[str], language: str) -> bool:
    """Eight or more words in a row with hardly a function word: a list, not a sentence."""
    stop = STOP_WORDS.get(language)
    if stop is None or len(text_words) < LIST_LENGTH:
        return False
    return len([word for word in text_words if word in stop]) < MIN_FUNCTION_WORDS * len(text_words)


def normalized(text: str) -> str:
    """Lower-case words joined by single spaces: what two texts share when they differ only in form."""
    return " ".join(words(text))


def overlap(left: Iterable[str], right: Iterable[str]) -> float:
    """Shared share of two word sets: intersection over union (Jaccard), 0 when both are empty."""
    one, two = frozenset(left), frozenset(right)
    union = len(one | two)
    return len(one & two) / union if union else 0.0


def bigram_similarity(left: str, right: str) -> float:
    """Dice coefficient of the character pairs of two strings, 0 to 1."""
    if left == right:
        return 1.0
    total = max(0, len(left) - 1) + max(0, len(right) - 1)
    if not total:
        return 0.0
    open_pairs: dict[str, int] = {}
    for index in range(len(left) - 1):
        pair = left[index : index + 2]
        open_pairs[pair] = open_pairs.get(pair, 0) + 1
    shared = 0
    for index in range(len(right) - 1):
        pair = right[index : index + 2]
        if open_pairs.get(pair):
            open_pairs[pair] -= 1
            shared += 1
    return 2 * shared / total


_SCRIPTS = (
    ("el", re.compile("[Ͱ-Ͽ]")),
    ("ru", re.compile("[Ѐ-ӿ]")),
    ("he", re.compile("[֐-׿]")),
    ("ar", re.compile("[؀-ۿ]")),
    ("hi", re.compile("[ऀ-ॿ]")),
    ("ja", re.compile("[぀-ヿ]")),
    ("ko", re.compile("[가-힯]")),
    ("zh", re.compile("[一-鿿]")),
)
# Languages that share a script: text in it says nothing against any of them.
_SAME_SCRIPT = {
    "ru": frozenset({"ru", "uk", "bg", "sr", "mk", "be", "kk"}),
    "ar": frozenset({"ar", "fa", "ur"}),
    "hi": frozenset({"hi", "mr", "ne"}),
    "zh": frozenset({"zh", "ja"}),
}


def differs_from_language(text_words: list[str], asked: str) -> str | None:
    """The language that the words are plainly in when it is not the asked one; None when in doubt.

    Function words are counted per language; another one has to hold 1.4 times as many as the asked one and
    an eighth of all words, which sentences reach and names, code and loan words do not.
    """
    if len(text_words) < MIN_WORDS_FOR_LANGUAGE:
        return None
    joined = "".join(text_words[:SCRIPT_SAMPLE])
    for script, pattern in () if joined.isascii() else _SCRIPTS:
        if len(pattern.findall(joined)) > len(joined) / 2:
            return None if asked in _SAME_SCRIPT.get(script, frozenset({script})) else script
    if asked not in STOP_WORDS:
        # Without a list only the script can speak against a language written in another one.
        return None
    own = STOP_WORDS[asked]
    # A short cut for the usual case; the Romance languages share too many words for one.
    if asked == "en" and len([word for word in text_words if word in own]) >= 0.2 * len(text_words):
        return None
    counts = Counter(text_words)
    shares = {
        language: sum(counts[word] for word in stop) / len(text_words)
        for language, stop in STOP_WORDS.items()
    }
    best = max(sorted(shares), key=shares.__getitem__)
    if best != asked and shares[best] >= 0.125 and shares[best] >= 1.4 * shares[asked]:
        return best
    return None
