"""What a text itself says about its words: usual casing, articles, and whether they act as nouns."""

import re
from collections import Counter

from aifactory.granulation.offline.grammar import IMPERATIVES, OTHER_VERBS
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.wordlists import word_set
from aifactory.granulation.offline.words import is_stop, stem

_TOKEN = re.compile(r"[^\W\d_]+(?:['’\-‑][^\W\d_]+)*|[^\s\w]|\d[\d.,]*")
_DETERMINERS = word_set("""
    the a an this these those its their his her our your my each every any some no
    """)
_BEFORE_VERB = word_set("""
    to can could may might must shall should will would cannot not they we you it he she who which that do
    does did i please never always has have had been
    """)
_PREPOSITIONS = word_set("""
    of in on by with from into for between through during under over without
    """)
# A determiner or pronoun after a word makes it a verb; a finite verb makes it a subject.
_AFTER_VERB = word_set("""
    the a an this these those its their his her our your it them him us you me each every
    """)
_AFTER_SUBJECT = word_set("is are was were has have can may must should will would does do")
_OPENING = frozenset("\"'“‘(*")


class Lexicon:
    """Counts over one text, by lower-case word, and what follows from them."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.casing: dict[str, dict[str, int]] = {}
        self.as_noun: Counter[str] = Counter()
        self.as_verb: Counter[str] = Counter()
        self._usual: dict[str, str] = {}
        self._nouns: dict[str, bool] = {}
        self._sure: dict[str, bool] = {}

    def usual(self, word: str) -> str:
        """A word as it is written in the middle of a sentence; lower case if only seen in front."""
        if word not in self._usual:
            self._usual[word] = self._find_usual(word)
        return self._usual[word]

    def _find_usual(self, word: str) -> str:
        forms = self.casing.get(word.lower())
        if forms:
            return max(sorted(forms), key=lambda form: forms[form])
        return word.lower() if word[1:].islower() and self.language == "en" else word

    def is_proper(self, word: str) -> bool:
        """Whether a word is written with a capital in the middle of sentences."""
        return word.lower() in self.casing and not self.usual(word)[:1].islower()

    def is_noun(self, word: str) -> bool:
        """Whether a word can head a phrase, by its neighbours in this text and its ending."""
        low = word.lower()
        if low not in self._nouns:
            self._nouns[low] = self._can_head(low)
        return self._nouns[low]

    def _can_head(self, low: str) -> bool:
        if low in NOT_NOUNS or _NOT_NOUN_ENDING.search(low):
            return False
        if low.endswith(("ing", "ed")) and len(low) > 5:
            return self.as_noun[low] > 0
        nouns, verbs = self.as_noun[low], self.as_verb[low]
        return nouns >= verbs if nouns or verbs else True

    def is_verb(self, word: str) -> bool:
        """Whether a word at the front of a phrase is rather its verb."""
        low = word.lower()
        nouns, verbs = self.as_noun[low], self.as_verb[low]
        return verbs > nouns or (not nouns and stem(low) in _VERB_STEMS and not low.endswith(("ing", "ed")))

    def is_sure_noun(self, word: str) -> bool:
        """Whether a word may stand as a phrase by itself: seen as a noun, or built like one."""
        if word not in self._sure:
            self._sure[word] = self._find_sure(word)
        return self._sure[word]

    def _find_sure(self, word: str) -> bool:
        low = word.lower()
        known = self.as_noun[low] or self.is_proper(word) or _NOUN_ENDING.search(low) or self.language != "en"
        return bool(known) and self.is_noun(word)


_NOUN_ENDING = re.compile(r"(?:tion|ment|ness|ity|ism|ance|ence|ship|hood|logy|sis|graphy)s?$")
_VERB_STEMS = frozenset(stem(verb) for verb in IMPERATIVES | OTHER_VERBS)
_NOT_NOUN_ENDING = re.compile(r"(?:[^aeiou]ly|ously|ally|ously|ous|ful|less|able|ible|ish|wise)$")
NOT_NOUNS = word_set("""
    minus plus tenth twentieth figure figures little
    good better best bad worse worst great greater greatest small smaller smallest large larger largest
    big bigger biggest high higher highest low lower lowest long longer longest short shorter shortest old
    older oldest new newer newest young hot hotter cold colder warm warmer cool cooler wet dry hard harder
    soft softer strong stronger weak weaker fast faster slow slower quick quicker early earlier late later
    easy easier deep deeper wide wider narrow heavy heavier light lighter clean cleaner clear clearer dark
    darker full empty open closed free main major minor common rare general special particular certain
    different similar same equal whole entire complete real true false right wrong important necessary
    possible impossible available able ready safe dangerous simple complex single double average typical
    normal usual actual current recent previous next final initial original additional extra further total
    overall various numerous enough total total entire begin begins began become is are be keep keeps let
    lets makes made give gives gave take takes took come comes came go goes went see sees saw know knows
    knew think thinks thought find finds found tell tells told ask asks leave leaves left bring brings
    brought hold holds held turn turns turned happen happens happened allow allows allowed help helps
    helped follow follows followed require requires required include includes included contain contains
    contained remain remains remained appear appears appeared occur occurs occurred reach reaches reached
    add adds added grow grows grew rise rises rose fall falls fell lose loses lost pay pays paid write
    writes wrote show shows shown mean means meant called known named based due given taken seen done left
    using used today tomorrow yesterday always never often sometimes usually here there away together
    apart ago later soon little lot lots kind kinds sort sorts thing things way ways time times example
    examples case cases number numbers amount amounts part parts bit piece pieces rest end ends side sides
    top bottom front back middle beginning half quarter third fact facts reason reasons result results
    difference differences use uses people person everything something anything nothing someone anyone
    everyone one ones first second fourth fifth hour hours minute minutes day days week weeks month months
    year years degree degrees percent per cent metre metres meter meters kilometre kilometres kilometer
    kilometers centimetre centimetres gram grams kilogram kilograms litre litres liter liters milligram
    milligrams tonne tonnes dozen pair couple million billion thousand order question questions answer
    answers word words name names note notes point points idea ideas problem problems matter matters place
    places moment start starts itself themselves work works working look looks looking
    """)


def build_lexicon(lines: tuple[Line, ...], language: str = "en") -> Lexicon:
    """Count casing, neighbours and articles over the lines of a text."""
    lexicon = Lexicon(language)
    for line in lines:
        before = ""
        tokens = _TOKEN.findall(line.shown)
        for token, following in zip(tokens, [*tokens[1:], "."], strict=False):
            if token[0].isalpha():
                _count(lexicon, before, token, following.lower())
            before = "" if token in _OPENING else token
    return lexicon


def _count(lexicon: Lexicon, before: str, token: str, after: str) -> None:
    low, previous = token.lower(), before.lower()
    if before and before not in ".!?:":
        forms = lexicon.casing.setdefault(low, {})
        forms[token] = forms.get(token, 0) + 1
    if previous in _BEFORE_VERB or (after in _AFTER_VERB and previous not in _DETERMINERS):
        lexicon.as_verb[low] += 1
        return
    in_front = previous in _DETERMINERS or previous in _PREPOSITIONS
    ends_phrase = in_front and (not after[0].isalpha() or is_stop(after, lexicon.language))
    if ends_phrase or (after in _AFTER_SUBJECT and not is_stop(low, lexicon.language)):
        lexicon.as_noun[low] += 1
