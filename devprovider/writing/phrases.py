"""Noun-like phrases of passages, found by stop words and the words around them. Pure."""

import re
from collections import Counter

import msgspec

_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")


def _set(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


STOP = _set(
    "a about above after again all almost also although always an and any another are as at away be "
    "because become becomes been before behind being below between both but by called can cannot come "
    "comes could did do does doing done down during each either else enough even ever every everyone "
    "everything few first for from further get gets give gives go goes gone had happen happens hardly has "
    "have having he hence her here him his how however if impossible in instead into is it its itself "
    "just keep keeps kept known last later least less let lets like little made make makes many may mean "
    "means might more most much must near need needed needs neither never next no nobody none nor not "
    "nothing now of off often on once one only onto or other others our out over own per quite rather "
    "really same second see seen several she should since so some something sometimes soon still such "
    "take taken takes than that the their them themselves then there therefore these they thing things "
    "third this those though three through throughout thus to together too toward towards two under "
    "unless until up upon us use used uses using usually very was way ways we well were what when where "
    "whereas whether which while who whole whom whose why will with within without would yet you your "
    "easier fast able added away better big depends different end ends four five six seven eight nine ten "
    "good held help helps high important kind kinds large leave leaves left long longer lot low new old "
    "part parts place places put puts right round said say says show shows shown small smaller larger "
    "sort start starts stay stays tell tells turn turns want wants work works year years day days hour "
    "hours minute minutes false true correct incorrect wrong answer option question understand knowledge "
    "aber alle als auch auf aus bei das dass dem den der des die durch ein eine einem einen einer eines "
    "für hat ist mit nach nicht noch oder sich sie sind und von vor war was wenn werden wie wird zu zum "
    "zur au aux avec ce ces cette dans de des du elle en est et il ils la le les leur mais ne ou par pas "
    "pour qu que qui sa se ses son sont sur un une al con cuando del el ella en entre es esta este hay "
    "las lo los más muy para pero por que según ser sin su sus una uno y"
)
_DETERMINERS = _set(
    "the a an its their it them this that these those some each no more most his her our your as"
)
_BEFORE_VERB = _set(
    "to can will must may should could would cannot might they we you it not which that who and"
)
_ODD_ENDINGS = ("ly", "ing", "ed", "ous", "ive", "able", "ible", "ful")
LONGEST = 3


class Phrase(msgspec.Struct, frozen=True, kw_only=True):
    """A phrase as it is said inside a sentence, and where it stands in its passage."""

    text: str
    passage: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """How many words it has."""
        return self.text.count(" ") + 1


def find_phrases(texts: list[str]) -> list[list[Phrase]]:
    """The phrases of each text, best first: two words before one, often named before once."""
    names = _names(texts)
    found = [_of_text(text, number, names) for number, text in enumerate(texts)]
    spread = Counter(phrase.text for phrases in found for phrase in phrases)
    for phrases in found:
        phrases.sort(
            key=lambda one: (-(2 * (one.size == 2) + min(3, spread[one.text])), -len(one.text), one.start)
        )
    return found


def stems(text: str) -> frozenset[str]:
    """The first letters of the words that carry meaning: enough to compare what two texts are about."""
    return frozenset(word[:5].lower() for word in _WORD.findall(text) if word.lower() not in STOP)


def _names(texts: list[str]) -> frozenset[str]:
    """Words with a capital inside a sentence; a first word may have one for its place only."""
    names: set[str] = set()
    for text in texts:
        names.update(match[0] for match in re.finditer(r"(?<=[\w,] )[A-Z][\w-]*", text))
    return frozenset(names)


def _of_text(text: str, number: int, names: frozenset[str]) -> list[Phrase]:
    found: dict[str, Phrase] = {}
    run: list[re.Match[str]] = []
    before, end = "", 0
    matches = [*_WORD.finditer(text)]
    for position, match in enumerate(matches):
        word = match[0].lower()
        following = matches[position + 1][0].lower() if position + 1 < len(matches) else ""
        is_joined = text[end : match.start()] == " "
        if run and not is_joined:
            _keep(run, text, number, names, found)
            run = []
        content = word not in STOP and not any(character.isdigit() for character in word) and len(word) > 2
        # "removes the clay", "to store": not nouns.
        verb = following in _DETERMINERS or (not run and before in _BEFORE_VERB)
        if content and not verb:
            run.append(match)
        else:
            _keep(run, text, number, names, found)
            run = []
        before, end = word, match.end()
    _keep(run, text, number, names, found)
    return list(found.values())


def _keep(
    run: list[re.Match[str]], text: str, number: int, names: frozenset[str], found: dict[str, Phrase]
) -> None:
    run = run[-LONGEST:] if len(run) <= LONGEST else run[-2:]
    while run and run[-1][0].lower().endswith(_ODD_ENDINGS):
        run = run[:-1]
    while run and run[0][0].lower().endswith(("ing", "ly")):
        run = run[1:]
    if len(run) > 1 and _is_plural(run[0][0]):
        # Two nouns in a row have the plural at the end: the first of two plurals is a verb, the rest no noun.
        run = run[1:] if _is_plural(run[-1][0]) else run[:1]
    if not run or (len(run) == 1 and len(run[0][0]) < 4):
        return
    start, end = run[0].start(), run[-1].end()
    said = text[start:end]
    first = run[0][0]
    if start == 0 and first not in names and first.istitle():
        said = said[0].lower() + said[1:]
    found.setdefault(said.lower(), Phrase(text=said, passage=number, start=start, end=end))


def _is_plural(word: str) -> bool:
    return word.endswith("s") and not word.endswith(("ss", "us", "is", "ics", "ous"))
