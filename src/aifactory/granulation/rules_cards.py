"""Flaws of flashcards, alone and beside each other, after Wozniak's rules of formulating knowledge. Pure."""

import re
from collections.abc import Iterator, Sequence

import msgspec

from aifactory.granulation.index import TreeIndex
from aifactory.granulation.similarity import similar_pairs, tfidf_vectors
from aifactory.granulation.violations import Severity, Violation
from aifactory.granulation.words import content_stems, normalized, sentences, stems_of, words

BASIC, REVERSED, CLOZE = "basic", "reversed", "cloze"
FRONT_WORDS, BACK_WORDS = 40, 60
TERM_WORDS = 8
CLOZE_WORDS = 6
# A gap among fewer words can be filled with almost anything.
CONTEXT_WORDS = 4
BACK_SENTENCES = 2
LIST_ENTRIES = 9
SIMILAR_FRONTS = 0.6
# Below this many stems a shared one already makes a high cosine.
MIN_STEMS = 4

# Rule id, severity, message, field it lies in.
Flaw = tuple[str, Severity, str, str]

GAP = re.compile(r"_{3,}")
_LIST_MARK = re.compile(r"(?:^|\s)(?:\(\d{1,2}\)|\d{1,2}[.)]|[-•*])\s")
_TASK = re.compile(
    r"^(?:name|list|define|explain|state|give|describe|compare|outline|recall|identify|calculate|complete)\b",
    re.IGNORECASE,
)
_TWO_QUESTIONS = re.compile(r"\?.*\?|,? and (?:what|why|how|when|where|who|which)\b.*\?", re.DOTALL)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A card with the entry that it is, and the passages that it cites."""

    owner: int
    pointer: str
    kind: str
    front: str
    back: str
    quotes: tuple[str, ...]


def cards_of(index: TreeIndex) -> list[Card]:
    """The nodes of levels that the rule ``card`` is on for, in tree order."""
    return [
        Card(
            owner=owner,
            pointer=entry.pointer,
            kind=_text(entry.node.fields.get("cardKind")),
            front=_text(entry.node.fields.get("front")).strip(),
            back=_text(entry.node.fields.get("back")).strip(),
            quotes=tuple(span.quote for span in entry.node.sources),
        )
        for owner, entry in enumerate(index.entries)
        if entry.level is not None and "card" in entry.level.rules
    ]


def _text(value: object) -> str:
    # A value of another type is a gate of its own.
    return value if isinstance(value, str) else ""


def check_cards(index: TreeIndex) -> Iterator[Violation]:
    """Every flaw of every card, alone and beside the others."""
    cards = cards_of(index)
    for card in cards:
        for rule, severity, message, field in check_card(card, index.language):
            yield index.violation(rule, severity, message, card.owner, f"{card.pointer}/fields/{field}")
    yield from _same_fronts(index, cards)


def check_card(card: Card, language: str) -> list[Flaw]:
    """All flaws that show in the card alone; the front's form is checked only in English."""
    missing = [
        (f"card.{side}_blank", Severity.ERROR, f"The {side} is empty", side)
        for side, text in (("front", card.front), ("back", card.back))
        if not text.strip()
    ]
    if missing:
        return missing
    flaws = [*_gap_flaws(card, language), *_give_away(card), *_size_flaws(card)]
    if language == "en" and card.kind != CLOZE:
        flaws += _form_flaws(card)
    return flaws


def _gap_flaws(card: Card, language: str) -> Iterator[Flaw]:
    gaps = len(GAP.findall(card.front))
    if card.kind != CLOZE:
        if gaps:
            yield "card.gap", Severity.ERROR, "Only a cloze card has a gap", "front"
        return
    if gaps != 1:
        yield "card.gap", Severity.ERROR, f"{gaps} gaps; a cloze card has one, written ____", "front"
    if len(words(card.back)) > CLOZE_WORDS:
        message = f"{len(words(card.back))} words are missing; a gap holds at most {CLOZE_WORDS}"
        yield "card.cloze_long", Severity.WARNING, message, "back"
    if len(words(GAP.sub(" ", card.front))) < CONTEXT_WORDS:
        yield "card.cloze_context", Severity.WARNING, "Too few words stand beside the gap", "front"
    answer = frozenset(stems_of(words(card.back), language))
    cited = frozenset(stems_of(words("\n".join(card.quotes)), language))
    if card.quotes and not answer <= cited:
        message = "The sentence that the card cites does not hold the missing words"
        yield "card.cloze_answer", Severity.ERROR, message, "back"


def _give_away(card: Card) -> Iterator[Flaw]:
    front, back = normalized(GAP.sub(" ", card.front)), normalized(card.back)
    if back and f" {back} " in f" {front} ":
        yield "card.give_away", Severity.ERROR, "The front holds the back", "front"
    elif card.kind == REVERSED and front and f" {front} " in f" {back} ":
        message = "The back holds the front, which a reversed card asks for"
        yield "card.give_away", Severity.ERROR, message, "back"


def _size_flaws(card: Card) -> Iterator[Flaw]:
    for side, text, most in (("front", card.front, FRONT_WORDS), ("back", card.back, BACK_WORDS)):
        count = len(words(text))
        if count > most:
            message = f"The {side} has {count} words; {most} are enough"
            yield f"card.{side}_long", Severity.WARNING, message, side
    if _TWO_QUESTIONS.search(card.front):
        yield "card.one_fact", Severity.WARNING, "The front asks for two things", "front"
    entries = len(_LIST_MARK.findall(card.back))
    if entries > LIST_ENTRIES:
        message = f"A list of {entries} is too long to recall at once"
        yield "card.one_fact", Severity.WARNING, message, "back"
    elif entries < 2 and len(sentences(card.back)) > BACK_SENTENCES:
        message = f"{len(sentences(card.back))} sentences; a card holds one fact"
        yield "card.one_fact", Severity.WARNING, message, "back"


def _form_flaws(card: Card) -> Iterator[Flaw]:
    is_term = len(words(card.front)) <= TERM_WORDS and not card.front.endswith((".", "?", "!"))
    if card.kind == REVERSED and not is_term:
        message = f"The front of a reversed card is a term of at most {TERM_WORDS} words"
        yield "card.front_form", Severity.WARNING, message, "front"
    elif not (is_term or card.front.endswith(("?", ":", "…")) or _TASK.match(card.front)):
        message = "The front is neither a question nor a term nor a gap to fill"
        yield "card.front_form", Severity.WARNING, message, "front"


def _same_fronts(index: TreeIndex, cards: Sequence[Card]) -> Iterator[Violation]:
    """Cards whose front stood before, and those whose front nearly did."""
    first: dict[str, Card] = {}
    same: set[int] = set()
    for place, card in enumerate(cards):
        # The words around a gap say where it is: two gaps in one sentence are two fronts.
        key = normalized(GAP.sub(" gap ", card.front))
        if key and first.setdefault(key, card) is not card:
            same.add(place)
            message = f"The card {index.entries[first[key].owner].path} has the same front"
            yield _at_front(index, card, "card.same_front", Severity.ERROR, message)
    stems = [content_stems(GAP.sub(" ", card.front), index.language) for card in cards]
    vectors = tfidf_vectors([one if len(one) >= MIN_STEMS else [] for one in stems])
    for left, right, value in similar_pairs(vectors, SIMILAR_FRONTS):
        if value > SIMILAR_FRONTS and right not in same:
            same.add(right)
            message = f"Asks nearly the same as {index.entries[cards[left].owner].path} (cosine {value:.2f})"
            yield _at_front(index, cards[right], "card.similar", Severity.WARNING, message)


def _at_front(index: TreeIndex, card: Card, rule: str, severity: Severity, message: str) -> Violation:
    return index.violation(rule, severity, message, card.owner, f"{card.pointer}/fields/front")
