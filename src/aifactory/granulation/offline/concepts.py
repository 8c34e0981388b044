"""Terms a text defines, by the ways definitions are written."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from aifactory.granulation.offline.digest import Definition
from aifactory.granulation.offline.grammar import FORMULA, IMPERATIVES
from aifactory.granulation.offline.language import UNKNOWN
from aifactory.granulation.offline.lexicon import NOT_NOUNS, Lexicon
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.wordlists import word_set
from aifactory.granulation.offline.words import count_words, is_stop, stem, words_of

_LIMIT = 80
_WORD = r"[^\W\d_][\w’'\-]*"
_TERM = rf"{_WORD}(?: {_WORD}){{0,3}}"
_ALIAS = (
    r"(?:\s*\([^()]{2,40}\)|,? (?:also|often|sometimes) (?:called|known as) [^,]{3,40},|, or [^,]{3,30},)?"
)
_HEDGE = r"(?:simply |usually |essentially |basically |generally |just )?"
_IS = re.compile(
    rf"^(?P<article>An? |The )?(?P<term>{_TERM}){_ALIAS} (?:is|are) {_HEDGE}"
    r"(?P<phrase>(?:an? |the |any |one of |what |how |where )?\S.*)$"
)
_MEANS = re.compile(
    rf"^(?:The (?:term|word|phrase) |An? |The )?[“\"']?(?P<term>{_TERM})[”\"']?{_ALIAS} "
    r"(?:refers to|means(?! that)|denotes|is defined as|are defined as|is the name (?:given to|for)"
    r"|stands for)"
    r" (?P<phrase>\S.*)$"
)
_CALLED = re.compile(
    r"^(?P<phrase>.{8,200}?),? (?:is|are) (?:also |often |usually |sometimes |commonly |then )?"
    rf"(?:called|known as|termed|referred to as|named) (?:an? "
    rf"|the )?[“\"']?(?P<term>{_WORD}(?: {_WORD}){{0,2}})[”\"']?"
    r"(?=$|[.,;:)]| (?:and|or|because|which|that|after|in|for|since|when|so|but|to|by|as|if)\b)"
)
_LABEL = re.compile(rf"^(?P<term>{_TERM})(?:\s*\([^()]{{2,40}}\))?(?::| [–—-]) (?P<phrase>\S.*)$")
_OTHER_SUBJECTS = {
    "es": (r"(?:El |La |Los |Las |Un |Una )?", r"(?:es|son)", r"(?:un|una|el|la|los|las) "),
    "fr": (r"(?:Le |La |Les |L['’]|Un |Une )?", r"(?:est|sont)", r"(?:un|une|le|la|les|des|l['’]) ?"),
    "de": (r"(?:Der |Die |Das |Eine? )?", r"(?:ist|sind)", r"(?:ein|eine|der|die|das) "),
    "cs": (r"", r"(?:je|jsou)", r""),
}
_OTHER_IS = {
    language: re.compile(rf"^{article}(?P<term>{_TERM}) {copula} (?P<phrase>{opening}\S.*)$")
    for language, (article, copula, opening) in _OTHER_SUBJECTS.items()
}
_GENUS_CUE = re.compile(
    r"\b(?:that|which|who|of|used|whose|where|when|for|in which|between|from|by|with|made|formed|caused|to"
    r"|without)\b"
)
_EVALUATIVE = re.compile(
    r"^(?:one of|(?:an?|the)? ?(?:very |more |most |quite |so |too |much |far )?(?:good|bad|better|best"
    r"|worst|common"
    r"|great|useful|important|key|same|only|main|most|simple"
    r"|(?:first|second|third|last|next) (?:thing|step|one|time|day|place|of)|simplest|sign|results?|reason"
    r"|matter|question|mistake|problem|way|little|bit|few|lot|long|longer|large|larger|big|bigger|small"
    r"|smaller|half"
    r"|quarter|fact|case|different|difficult|typical|sensible|exception|different|answer|example|classic"
    r"|usual|easy"
    r"|easiest|hard|hardest|other|right|wrong|fair|safe|safest|bulk|majority|subject|story|point|time"
    r"|start))\b"
)
_BAD_TERM = re.compile(
    r"^(?:it|this|that|these|those|there|they|he|she|we|you|i|one|what|which|who|how|why|when|where|here"
    r"|another|each"
    r"|every|most|many|some|all|both|such|other|others|if|as|in|on|at|for|to|by|with|from|after|before"
    r"|while|because"
    r"|although|once|since|until|not|only|also|so|and|or|but|then|now|first|second|third|next|last|main"
    r"|result|answer"
    r"|reason|rest|point|problem|difference|aim|goal|purpose|key|trick|example|question|whole|same|latter"
    r"|former"
    r"|more|less|fewer|much|few|several|its|their|his|her|our|my|your|no|any|nothing|everything|something"
    r"|anything)\b",
    re.IGNORECASE,
)
_BARE_GENUS = re.compile(
    r"^(?:[\w-]+ ){0,2}(?P<genus>[\w-]+)(?: (?:or|and) [\w-]+)? (?:that|which|of|from|used|made|held"
    r"|formed|whose|in which)\b"
)
_FURTHER = re.compile(
    r"; | — | – |, (?:and|but|so|because|although|while|whereas|yet|since) |: |, (?:it|they|this|these"
    r"|for example|such as) "
)
_BAD_LAST = word_set("""
    it so which who that and or the a of to in is are was were you they we not only also can will this
    these
    """)


def find_definitions(
    lines: Sequence[Line], lexicon: Lexicon, language: str, strong: frozenset[tuple[str, ...]]
) -> tuple[Definition, ...]:
    """Glossary candidates in text order; ``strong`` are stems of headings and emphasised words."""
    positions = _positions(lines)
    found: dict[tuple[str, ...], Definition] = {}
    for line in lines:
        if line.words > 60 or line.kind in ("l", "n"):
            continue
        for form, article, term, phrase in _matches(line, language):
            key = term_key(term, language)
            if not key or not _is_term(term, _core(phrase), form, article, lexicon, language):
                continue
            mentions = len(lines_with(key, positions, lines))
            if mentions < 2 and article == "The " and key not in strong and len(key) < 2:
                continue
            name = _in_sentence(term, lexicon)
            start = lines[line.index - 1].start if form == "this" else line.start
            if key not in found:
                found[key] = Definition(
                    term=name,
                    phrase=_core(phrase),
                    start=start,
                    end=line.end,
                    sentence=line.index,
                    mentions=mentions,
                    form=form,
                )
    ranked = sorted(found.values(), key=lambda definition: (-definition.mentions, definition.start))[:_LIMIT]
    return tuple(sorted(ranked, key=lambda definition: definition.start))


def _core(phrase: str) -> str:
    """The defining words without a further statement hung on to them."""
    cut = _FURTHER.search(phrase)
    return phrase[: cut.start()] if cut and count_words(phrase[: cut.start()]) >= 3 else phrase


def _matches(line: Line, language: str) -> Iterator[tuple[str, str, str, str]]:
    shown = line.shown
    bare = shown.rstrip(".!")
    if line.kind == "b" and (label := _LABEL.match(bare)):
        yield "label", "", label["term"], label["phrase"]
    if language in _OTHER_IS:
        if other := _OTHER_IS[language].match(bare):
            yield "is", "", other["term"], other["phrase"]
        return
    if means := _MEANS.match(bare):
        yield "means", "", means["term"], means["phrase"]
    elif called := _CALLED.match(bare):
        subject = called["phrase"]
        if not _BAD_TERM.match(subject) or subject.lower().startswith(("what ", "when ", "how ")):
            weak = count_words(subject) < 5 or subject.startswith("The ")
            if not weak or line.opens_block:
                yield "called", "", called["term"], subject
            else:
                yield "this", "", called["term"], ""
        elif re.match(r"^(?:This|These|That|Such) ", subject) and not line.opens_block:
            yield "this", "", called["term"], ""
    elif found := _IS.match(bare):
        yield "is", found["article"] or "", found["term"], found["phrase"]


def _is_term(term: str, phrase: str, form: str, article: str, lexicon: Lexicon, language: str) -> bool:
    words = words_of(term)
    if _is_no_definition(words, phrase, form, article):
        return False
    if not words or _BAD_TERM.match(term) or len(term) < 3 or words[-1].lower() in _BAD_LAST:
        return False
    if is_stop(words[0], language) or is_stop(words[-1], language):
        return False
    head = words[-1].lower()
    if head in NOT_NOUNS or head.endswith("ly") or any(word.lower() in _CLAUSE_WORDS for word in words):
        return False
    # After "a" or "an" even an adjective is a name: a payable, a derivative.
    named = lexicon.is_noun(words[-1]) or article in ("A ", "An ")
    is_english = language in ("en", UNKNOWN)
    if is_english and not named and form == "is":
        return False
    if form == "this":
        return True
    return not is_english or _is_genus(term, phrase, form, lexicon)


def _is_no_definition(words: Sequence[str], phrase: str, form: str, article: str) -> bool:
    """An entry of a log ("npm: update to 10 (#2970)"), or what one value, not the thing of that name, is."""
    if form == "label" and (_LOGGED.search(phrase) or _DONE.match(phrase)):
        return True
    opens_on_sign = not phrase[:1].isalnum() and phrase[:1] not in "“\"'(" if phrase else False
    is_one = len(words) == 1 and words[0].lower() in PLACEHOLDERS
    is_bare = is_one and (article == "The " or form == "label")
    is_deed = (bool(words) and words[0].lower().endswith("ly")) or bool(_PERSON.match(phrase))
    return opens_on_sign or is_bare or is_deed or bool(_TYPED.search(phrase))


# What such a name stands for differs from place to place.
PLACEHOLDERS = word_set("""
    value values argument arguments option options parameter parameters function functions method methods
    property
    properties object objects default defaults type types name names field fields file files key keys item
    items
    list element elements string number array callback event events error errors code output input result data
    process program system information requirement class module package version note description format
    following syntax command commands flag flags entry
    behavior behaviour example setting settings information section page document documentation feature
    features
    author source sources link website
    """)
_LOGGED = re.compile(
    r"https?://|\(#?\d+\)|#\d+|\b(?=[a-f]*\d)[0-9a-f]{7,40}\b|\bv?\d+\.\d+(?:\.\d+)*|\bv\d+\b"
    r"|\bfrom \S+ to \S+$"
)
_DONE = re.compile(
    r"^(?:add|bump|fix|update|upgrade|remove|rename|revert|refactor|support|allow|use|make|drop|move"
    r"|improve|avoid|"
    r"change|clean|correct|deprecate|disable|enable|ensure|handle|ignore|implement|introduce|migrate|prevent|"
    r"replace|restore|set|skip|switch|currently)(?:s|ed|d|es)?\b",
    re.IGNORECASE,
)
_PERSON = re.compile(r"^(?:you|we|they|it|he|she|i|nothing|everything)\b", re.IGNORECASE)
_TYPED = re.compile(r"^(?:an?|the)? ?(?:array|object|string|number|boolean|list) of \W|[{}<>|\[\]]")


_CLAUSE_WORDS = word_set("""
    is are was were be been has have had do does did can could will would should may might must not that
    which who when where while if because before after than then there it they we you he she makes means
    takes gives says
    """)


def _is_genus(term: str, phrase: str, form: str, lexicon: Lexicon) -> bool:
    if not 3 <= count_words(phrase) <= 40:
        return False
    first = phrase.split()[0].lower()
    if form == "label":
        return first not in IMPERATIVES and (
            first in ("a", "an", "the", "any", "how", "what") or first.endswith("s")
        )
    if form == "called":
        return True
    if FORMULA.search(phrase) and not _EVALUATIVE.match(phrase):
        return True
    if _EVALUATIVE.match(phrase) or not _GENUS_CUE.search(phrase):
        return False
    if first in ("a", "an", "the", "any", "one", "what", "how", "where") or form == "means":
        return True
    # "Flocs are clumps of…", "groundwater is water held in…": a bare noun, not a participle or an adjective.
    bare = _BARE_GENUS.match(phrase)
    if not bare or first.endswith(("ed", "ly", "ing")) or is_stop(first, "en"):
        return False
    return lexicon.is_noun(first) and lexicon.is_noun(bare["genus"]) and not lexicon.is_verb(first)


def _in_sentence(term: str, lexicon: Lexicon) -> str:
    words = term.split()
    first = words[0]
    if first.lower() in lexicon.casing or not (first.isupper() and len(first) > 1):
        seen = lexicon.casing.get(first.lower())
        # "AssertionErrors" is written so everywhere.
        keeps = lexicon.language == "de" or any(map(str.isupper, first[1:]))
        lowered = first if keeps else first[0].lower() + first[1:]
        words[0] = lexicon.usual(first) if seen else lowered
    return " ".join(words)


@lru_cache(maxsize=8_192)
def term_key(term: str, language: str) -> tuple[str, ...]:
    """The stems that a mention of a term must have in a row."""
    return tuple(stem(word) for word in words_of(term) if not is_stop(word, language))


def _positions(lines: Sequence[Line]) -> dict[str, list[int]]:
    positions: dict[str, list[int]] = {}
    for line in lines:
        for word in dict.fromkeys(line.stems):
            positions.setdefault(word, []).append(line.index)
    return positions


def lines_with(key: tuple[str, ...], positions: dict[str, list[int]], lines: Sequence[Line]) -> list[int]:
    """Indexes of the lines that mention a term."""
    rarest = min((positions.get(word, []) for word in key), key=len, default=[])
    return [index for index in rarest if mentions(lines[index].stems, key)]


def mentions(stems: Sequence[str], key: tuple[str, ...]) -> bool:
    """Whether stems hold a term's stems in a row."""
    size = len(key)
    if size == 1:
        return key[0] in stems
    return any(tuple(stems[at : at + size]) == key for at in range(len(stems) - size + 1))


class Mentions:
    """Where each term is mentioned, looked up once per term."""

    def __init__(self, lines: Sequence[Line], language: str) -> None:
        self._lines = lines
        self._language = language
        self._positions = _positions(lines)
        self._known: dict[tuple[str, ...], list[int]] = {}

    def of(self, term: str) -> list[int]:
        """Indexes of the lines that mention a term, in order."""
        key = term_key(term, self._language)
        if key not in self._known:
            self._known[key] = lines_with(key, self._positions, self._lines) if key else []
        return self._known[key]

    def between(self, term: str, first: int, last: int) -> int:
        """How many lines from first up to, without, last mention a term."""
        return sum(first <= index < last for index in self.of(term))
