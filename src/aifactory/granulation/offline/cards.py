"""Flashcards out of definitions, steps, reasons, figures and key sentences; unsound ones are not made."""

import re
from collections.abc import Iterator
from itertools import takewhile

import msgspec

from aifactory.granulation.offline import distractors
from aifactory.granulation.offline.articles import with_article
from aifactory.granulation.offline.concepts import term_key
from aifactory.granulation.offline.digest import Definition
from aifactory.granulation.offline.facts import CASE, DEED, DEMAND, PURPOSE, REASON, facts_between
from aifactory.granulation.offline.gaps import GAP, figure_gaps, word_gaps
from aifactory.granulation.offline.grammar import IMPERATIVES
from aifactory.granulation.offline.items import step_text
from aifactory.granulation.offline.objectives import number_word
from aifactory.granulation.offline.procedures import name_of, span_of, steps_of
from aifactory.granulation.offline.quotable import is_reference
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import rank_lines, shorten
from aifactory.granulation.offline.words import count_words, stem, stems_of, words_of
from aifactory.granulation.rules_cards import BASIC, CLOZE, REVERSED, Card, check_card
from aifactory.granulation.tree import Span

_MEANING_WORDS = (3, 40)
_STEPS = (3, 7)
_BACK_WORDS = 60
_LEAD_WORDS = 20
_ENTRY_WORDS = 9
_TOLD, _TOLD_WORDS = "What does the source say about ", 34
_POINTS_BACK = re.compile(r"\b(?:this|these|those|such|former|latter|above|below)\b", re.IGNORECASE)
# Words that may mean something in the sentence before: a card shows only one.
_LEANS = re.compile(
    r"\b(?:this|these|those|such|them|its|their|his|her|former|latter|therefore|however|instead)\b"
    r"|^(?:\S+ ){0,4}(?:it|they|one|ones)\b",
    re.IGNORECASE,
)
_OPENS = re.compile(r"(?:an?|a\(n\)|the)?\s*", re.IGNORECASE)
_SUPPOSED = re.compile(r"^(?:if|with|without|suppose|say|imagine|assume|take)\b", re.IGNORECASE)
_SECOND_PART = re.compile(r"\d\s*[^\W\d_]+ and $")


class CardDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A card before it has a place: ``line`` is the sentence that it asks for."""

    kind: str
    front: str
    back: str
    sources: tuple[Span, ...]
    line: int
    stems: frozenset[str]

    def is_sound(self, language: str) -> bool:
        """Whether no rule finds a flaw in the card alone."""
        card = Card(
            owner=0,
            pointer="",
            kind=self.kind,
            front=self.front,
            back=self.back,
            quotes=tuple(span.quote for span in self.sources),
        )
        return not check_card(card, language)


def cards_between(study: Study, first: int, last: int) -> list[CardDraft]:
    """All sound cards that a part of the source supports: two terms, then another one, those in turns."""
    terms = list(_term_cards(study, first, last))
    others = _in_turns(
        list(_step_cards(study, first, last)),
        *(list(_fact_cards(study, first, last, kind)) for kind in (REASON, CASE, DEMAND, PURPOSE, DEED)),
        list(_list_cards(study, first, last)),
        list(_figure_cards(study, first, last)),
        list(_gap_cards(study, first, last)),
    )
    return [draft for draft in _in_turns(terms[::2], terms[1::2], others) if draft.is_sound(study.language)]


def spare_cards(study: Study, first: int, last: int) -> list[CardDraft]:
    """Plainer cards for a part that makes too few: its sentences by what they speak of, then any gap."""
    spare = [*_told_cards(study, first, last), *_gap_cards(study, first, last, spare=True)]
    return [draft for draft in spare if draft.is_sound(study.language)]


def _in_turns(*groups: list[CardDraft]) -> list[CardDraft]:
    longest = max(map(len, groups))
    return [draft for turn in range(longest) for group in groups for draft in group[turn : turn + 1]]


def _draft(study: Study, kind: str, front: str, back: str, line: Line, span: Span | None = None) -> CardDraft:
    return CardDraft(
        kind=kind,
        front=front,
        back=back,
        sources=(span or study.reading.span(line),),
        line=line.index,
        stems=frozenset(stems_of(front.removeprefix(_TOLD).replace(GAP, " "), study.language)),
    )


def _term_cards(study: Study, first: int, last: int) -> Iterator[CardDraft]:
    """A term and its meaning, asked from either side unless the meaning says the term."""
    for definition in study.defined_between(first, last):
        meaning = meaning_of(definition)
        line = study.lines[definition.sentence]
        if not meaning:
            continue
        own = set(term_key(definition.term, study.language))
        if own <= set(map(stem, words_of(meaning))):
            verb = "are" if distractors.is_plural(definition.term) else "is"
            question = f"What {verb} {with_article(study, definition.term)}?"
            front = question if study.language == "en" else _capital(definition.term)
            yield _draft(study, BASIC, front, meaning, line)
        else:
            yield _draft(study, REVERSED, _capital(definition.term), meaning, line)


def meaning_of(definition: Definition) -> str:
    """What a term means, as a phrase that stands on a card of its own; "" if the source gives none."""
    phrase = shorten(definition.phrase, _MEANING_WORDS[1]).rstrip(". ")
    low, high = _MEANING_WORDS
    if definition.form == "this" or not low <= count_words(phrase) <= high or _POINTS_BACK.search(phrase):
        return ""
    return f"{_capital(phrase)}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _step_cards(study: Study, first: int, last: int) -> Iterator[CardDraft]:
    """Which steps, in order? Asked in English only, and not where they are too many to recall."""
    for procedure in study.procedures_between(first, last) if study.language == "en" else ():
        lines = steps_of(study, procedure)
        steps = [step_text(line) for line in lines]
        name = name_of(study, procedure, study.digest.title)
        back = " ".join(f"({number}) {step}" for number, step in enumerate(steps, 1))
        low, high = _STEPS
        if low <= len(steps) <= high and count_words(back) <= _BACK_WORDS and len(set(steps)) == len(steps):
            front = f"What are the {number_word(len(steps))} steps {name}?"
            yield _draft(study, BASIC, front, back, lines[0], span_of(study, procedure))


def _fact_cards(study: Study, first: int, last: int, kind: str) -> Iterator[CardDraft]:
    """A question that one sentence of the source answers outright."""
    for fact in facts_between(study, first, last):
        if fact.kind == kind and not leans(fact.question) and not study.definition_at(fact.line):
            yield _draft(study, BASIC, fact.question, fact.answer, fact.line)


def _list_cards(study: Study, first: int, last: int) -> Iterator[CardDraft]:
    """What a short list has under the line that leads into it; asked as that line puts it."""
    at = first
    while at < last:
        lead = study.lines[at]
        at += 1
        if (
            lead.kind != "l"
            or not 4 <= lead.words <= _LEAD_WORDS
            or leans(lead.told)
            or is_reference(lead.told)
        ):
            continue
        entries = list(takewhile(lambda line: line.kind == "b", study.lines[at:last]))
        names = [line.shown.rstrip(" .;,") for line in entries]
        low, high = _STEPS
        if any("::" in name for name in names):
            continue
        if low <= len(names) <= high and max(line.words for line in entries) <= _ENTRY_WORDS:
            back = " ".join(f"({number}) {name}." for number, name in enumerate(names, 1))
            start, end = lead.start, entries[-1].end
            span = Span(start=start, end=end, quote=study.reading.text[start:end])
            yield _draft(study, BASIC, f"{lead.told.rstrip(': ')}:", back, lead, span)


def _told_cards(study: Study, first: int, last: int) -> Iterator[CardDraft]:
    """What is said of a name that only one sentence of the part speaks of."""
    asked: set[str] = set()
    for _, line in rank_lines(study, first, last):
        if is_reference(line.told) or study.definition_at(line) or study.language != "en":
            continue
        back = shorten(line.told, _TOLD_WORDS)
        for phrase in study.book.best(line.index, line.index + 1, limit=3):
            if phrase.text not in asked and count_words(back) <= _TOLD_WORDS:
                asked.add(phrase.text)
                name = with_article(study, phrase.text)
                yield _draft(study, BASIC, f"{_TOLD}{name}?", back, line)
                break


def _figure_cards(study: Study, first: int, last: int) -> Iterator[CardDraft]:
    """Which number stands here? Not in a worked example, and not the minutes of so many hours."""
    for line, figure in figure_gaps(study, first, last):
        before, after = line.told[: figure.start], line.told[figure.end :]
        unclear = leans(line.told) or _SUPPOSED.match(line.told) or _SECOND_PART.search(before)
        if not unclear and not study.definition_at(line):
            answer = line.told[figure.start : figure.end]
            yield _draft(study, CLOZE, f"{before}{GAP}{after}", answer, line)


def _gap_cards(study: Study, first: int, last: int, *, spare: bool = False) -> Iterator[CardDraft]:
    """Which word is missing? A term of the source, or inside a statement what the whole source is about."""
    terms = frozenset(definition.term for definition in study.definitions)
    topics = frozenset(phrase.text for phrase in study.digest.keyphrases)
    for gap in word_gaps(study, first, last, spare=spare):
        inside = (spare or gap.name in topics) and not _OPENS.fullmatch(gap.before)
        told = gap.line.told
        is_command = told.split()[0].lower() in IMPERATIVES
        is_example = _SUPPOSED.match(told) and any(map(str.isdigit, told))
        if (gap.name in terms or inside) and not (is_command or is_example or leans(told)):
            yield _draft(study, CLOZE, f"{gap.before}{GAP}{gap.after}", gap.answer, gap.line)


def leans(told: str) -> bool:
    """Whether a sentence may speak of something that only the one before it names."""
    return bool(_LEANS.search(told))
