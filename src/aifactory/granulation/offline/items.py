"""Assessment items out of definitions, figures and steps; what does not pass the rules is not made."""

import re
from collections.abc import Iterator, Sequence

from aifactory.granulation.offline import distractors
from aifactory.granulation.offline.articles import with_article
from aifactory.granulation.offline.digest import Definition
from aifactory.granulation.offline.drafts import STEM_WORDS, Draft, is_one_clause, placed, said
from aifactory.granulation.offline.fact_items import fact_items, truth_items
from aifactory.granulation.offline.facts import (
    CASE,
    DEED,
    DEMAND,
    PURPOSE,
    REASON,
    facts_between,
    statements_between,
)
from aifactory.granulation.offline.gaps import GAP, difficulty_of, figure_gaps, word_gaps
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.objectives import number_word
from aifactory.granulation.offline.procedures import name_of, span_of
from aifactory.granulation.offline.quotable import is_quotable
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.sequences import ordered_steps
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import shorten
from aifactory.granulation.offline.words import count_words
from aifactory.granulation.tree import Bloom, Difficulty, ItemKind, Option, Pair

__all__ = ["Draft", "drafts_of", "spare_drafts", "step_text", "subject_in"]

_ARTICLE_LENGTH = 4
_STEP_WORDS = 22
_PAIRS = (4, 5)
_NUMBER = re.compile(r"\d+")
_ORDER_WORDS = re.compile(
    r"^(?:first|then|next|finally|lastly|now|after that|second|third)(?:ly)?,? ", re.IGNORECASE
)


def drafts_of(study: Study, first: int, last: int) -> list[Draft]:
    """All items that a part of the source supports, the best kinds first and in turns."""
    facts = facts_between(study, first, last)
    statements = statements_between(study, first, last)
    asked = [list(fact_items(study, facts, kind)) for kind in (CASE, REASON, DEMAND, PURPOSE, DEED)]
    chosen = {draft.line for drafts in asked for draft in drafts}
    groups = [
        list(_order_items(study, first, last)),
        list(_match_items(study, first, last)),
        list(_term_items(study, first, last)),
        *asked,
        list(_meaning_items(study, first, last)),
        list(_figure_items(study, first, last)),
        list(_truth_items(study, first, last)),
        # What has no wrong answers to choose from can still be said of another thing.
        list(truth_items(study, [one for one in statements if one.line.index not in chosen])),
        list(_gap_items(study, first, last)),
    ]
    return [
        draft for turn in range(max(map(len, groups))) for group in groups for draft in group[turn : turn + 1]
    ]


def spare_drafts(study: Study, first: int, last: int) -> list[Draft]:
    """Items for a part that has hardly any: a gap at whatever its sentences speak of."""
    return list(_gap_items(study, first, last, spare=True))


def _term_items(study: Study, first: int, last: int) -> Iterator[Draft]:
    """Which term is meant by these words?"""
    for definition in study.defined_between(first, last):
        line = study.lines[definition.sentence]
        phrase = distractors.short_phrase(definition)
        if definition.form == "this" or not 4 <= count_words(phrase) <= STEM_WORDS - 10:
            continue
        if distractors.says_its_term(definition, phrase):
            continue
        stem = f"Which term does the source define as “{phrase}”?"
        if definition.form == "called":
            stem = f"What is the name for {phrase[0].lower() + phrase[1:]}?"
        others = distractors.terms_beside(study, definition, line)
        if len(others) >= 2:
            yield Draft(
                purpose="define",
                kind=ItemKind.SINGLE,
                asks=phrase,
                stem=stem,
                bloom=Bloom.REMEMBER,
                difficulty=Difficulty.EASY if definition.mentions > 4 else Difficulty.MEDIUM,
                feedback=said(line),
                sources=(study.reading.span(line),),
                line=line.index,
                key=definition.term,
                term=definition.term,
                options=_term_options(study, definition, others, line),
            )
        else:
            yield _short(study, definition, line, stem)


def _short(study: Study, definition: Definition, line: Line, stem: str) -> Draft:
    return Draft(
        purpose="define",
        kind=ItemKind.SHORT,
        asks=distractors.short_phrase(definition),
        stem=stem,
        bloom=Bloom.REMEMBER,
        difficulty=Difficulty.MEDIUM if definition.mentions > 4 else Difficulty.HARD,
        feedback=said(line),
        sources=(study.reading.span(line),),
        line=line.index,
        key=definition.term,
        term=definition.term,
        accepted=_forms(definition.term),
    )


def _forms(term: str) -> tuple[str, ...]:
    """A term and its other number, both of which a reader would accept."""
    if not term.replace(" ", "").isalpha():
        return (term,)
    if distractors.is_plural(term):
        return (term, term[:-1])
    return (term, f"the {term}")


def _term_options(study: Study, key: Definition, others: Sequence[str], line: Line) -> tuple[Option, ...]:
    meaning = {definition.term: definition for definition in study.definitions}
    wrong = [
        Option(text=other, rationale=f"No: the source uses “{other}” for {_meaning(meaning[other])}.")
        for other in others
    ]
    return placed([Option(text=key.term, correct=True, rationale=said(line)), *wrong], line)


def _meaning(definition: Definition) -> str:
    phrase = distractors.short_phrase(definition)
    return phrase if phrase else "something else"


def _meaning_items(study: Study, first: int, last: int) -> Iterator[Draft]:
    """What is this term?"""
    for definition in reversed(study.defined_between(first, last)):
        line = study.lines[definition.sentence]
        phrase = distractors.short_phrase(definition)
        if (
            definition.form not in ("is", "means")
            or not 4 <= count_words(phrase) <= distractors.MOST_WORDS + 2
        ):
            continue
        if distractors.says_its_term(definition, phrase):
            continue
        others = distractors.phrases_beside(study, definition, phrase)
        if len(others) < 2:
            continue
        verb = "are" if distractors.is_plural(definition.term) else "is"
        wrong = [
            Option(text=text, rationale=f"No: this is what the source says of {term}.")
            for text, term in others
        ]
        yield Draft(
            purpose="define",
            kind=ItemKind.SINGLE,
            asks=f"meaning of {with_article(study, definition.term)}",
            stem=f"According to the source, what {verb} {with_article(study, definition.term)}?",
            bloom=Bloom.UNDERSTAND,
            difficulty=Difficulty.MEDIUM,
            feedback=said(line),
            sources=(study.reading.span(line),),
            line=line.index,
            key=phrase,
            term=definition.term,
            options=placed([Option(text=phrase, correct=True, rationale=said(line)), *wrong], line),
        )


def _figure_items(study: Study, first: int, last: int) -> Iterator[Draft]:
    """Which number stands here?"""
    for line, figure in figure_gaps(study, first, last):
        before, after = line.told[: figure.start], line.told[figure.end :]
        yield Draft(
            purpose="figures",
            kind=ItemKind.NUMERIC,
            asks=f"{before}…{after}",
            stem=f"Fill in the missing number: “{before}{GAP}{after}”",
            bloom=Bloom.REMEMBER,
            difficulty=Difficulty.HARD if len(_NUMBER.findall(line.told)) > 2 else Difficulty.MEDIUM,
            feedback=said(line),
            sources=(study.reading.span(line),),
            line=line.index,
            key=line.told[figure.start : figure.end],
            value=figure.value,
            tolerance=figure.tolerance,
            unit=figure.unit,
        )


def _truth_items(study: Study, first: int, last: int) -> Iterator[Draft]:
    """Is this so? Every second statement speaks of another term."""
    for definition in study.defined_between(first, last):
        line = study.lines[definition.sentence]
        subject = subject_in(definition, line)
        if not subject or not is_quotable(line) or not is_one_clause(line.told):
            continue
        statement, answer, feedback = line.told, True, f"True. {said(line)}"
        if int(short_hash(line.told), 16) % 2 == 0:
            other = _other_subject(study, definition, line)
            if not other:
                continue
            statement, answer = other[1] + line.told[len(subject) :], False
            feedback = f"False: this is said of {definition.term}, not of {other[0]}. {said(line)}"
        yield Draft(
            purpose="define",
            kind=ItemKind.TRUE_FALSE,
            asks=statement,
            stem=statement,
            bloom=Bloom.UNDERSTAND,
            difficulty=Difficulty.EASY,
            feedback=feedback,
            sources=(study.reading.span(line),),
            line=line.index,
            term=definition.term,
            answer=answer,
        )


def subject_in(definition: Definition, line: Line) -> str:
    """The term with its article at the front of its own sentence; "" if it stands elsewhere."""
    at = line.told.lower().find(definition.term.lower())
    plain = definition.form in ("is", "means") and 0 <= at <= _ARTICLE_LENGTH
    return line.told[: at + len(definition.term)] if plain else ""


def _other_subject(study: Study, definition: Definition, line: Line) -> tuple[str, str] | None:
    """Another term, and how it stands at the front of a sentence."""
    known = {other.term: other for other in study.definitions}
    for term in distractors.terms_beside(study, definition, line):
        subject = subject_in(known[term], study.lines[known[term].sentence])
        if subject:
            return term, subject
    return None


def _match_items(study: Study, first: int, last: int) -> Iterator[Draft]:
    """Which meaning belongs to which term? Only where the part defines enough of them."""
    least, most = _PAIRS
    chosen: dict[str, Definition] = {}
    for definition in study.defined_between(first, last):
        phrase = distractors.short_phrase(definition)
        is_clear = definition.form in ("is", "means", "label") and 3 <= count_words(phrase) <= _STEP_WORDS
        if is_clear and not distractors.says_its_term(definition, phrase):
            chosen.setdefault(phrase.casefold(), definition)
    found = sorted(list(chosen.values())[:most], key=lambda definition: definition.start)
    # Other terms stay for items of their own.
    if len(found) < least or len(chosen) < most:
        return
    lines = [study.lines[definition.sentence] for definition in found]
    yield Draft(
        purpose="define",
        kind=ItemKind.MATCH,
        asks=f"the meanings of {number_word(len(found))} terms",
        stem=f"Match each of these {number_word(len(found))} terms with what the source says of it.",
        bloom=Bloom.UNDERSTAND,
        difficulty=Difficulty.MEDIUM,
        feedback=" ".join(said(line) for line in lines),
        sources=tuple(map(study.reading.span, lines)),
        line=lines[0].index,
        term=found[0].term,
        pairs=tuple(Pair(left=one.term, right=distractors.short_phrase(one)) for one in found),
        lines=tuple(line.index for line in lines),
    )


def _gap_items(study: Study, first: int, last: int, *, spare: bool = False) -> Iterator[Draft]:
    """Which word is missing? The gap is a term of the source or a phrase of this part."""
    for gap in word_gaps(study, first, last, spare=spare):
        yield Draft(
            purpose="explain",
            kind=ItemKind.CLOZE,
            asks=f"{gap.before}…{gap.after}",
            stem=f"Complete the sentence: “{gap.before}{GAP}{gap.after}”",
            bloom=Bloom.REMEMBER,
            difficulty=difficulty_of(study, gap.name),
            feedback=said(gap.line),
            sources=(study.reading.span(gap.line),),
            line=gap.line.index,
            key=gap.name,
            accepted=(gap.answer,),
        )


def _order_items(study: Study, first: int, last: int) -> Iterator[Draft]:
    """In which order are these steps done?"""
    for procedure in study.procedures_between(first, last):
        lines = ordered_steps(study, procedure)
        steps = [step_text(line) for line in lines]
        if not 3 <= len(steps) <= 8 or len(set(steps)) != len(steps):
            continue
        count, name = number_word(len(steps)), name_of(study, procedure, study.digest.title)
        yield Draft(
            purpose="steps",
            kind=ItemKind.ORDER,
            asks=f"the {count} steps {name}",
            stem=f"What is the right order of the {count} steps {name}?",
            bloom=Bloom.APPLY,
            difficulty=Difficulty.MEDIUM if len(steps) < 6 else Difficulty.HARD,
            feedback="The source gives this order: "
            + " ".join(f"({n}) {step}" for n, step in enumerate(steps, 1)),
            sources=(span_of(study, procedure),),
            line=lines[0].index,
            steps=tuple(steps),
        )


def step_text(line: Line) -> str:
    """A step without words that give its place away, cut at a clause."""
    bare = _ORDER_WORDS.sub("", line.shown)
    text = shorten(bare[:1].upper() + bare[1:], _STEP_WORDS)
    return text if text.endswith((".", "!", "?")) else text.rstrip(" ,;:") + "."
