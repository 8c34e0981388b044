"""Assessment items out of definitions, figures and steps; what does not pass the rules is not made."""

import re
from collections.abc import Iterator, Sequence

import msgspec

from aifactory.granulation.offline import distractors
from aifactory.granulation.offline.articles import with_article
from aifactory.granulation.offline.digest import Definition
from aifactory.granulation.offline.gaps import GAP, figure_gaps, word_gaps
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.objectives import number_word
from aifactory.granulation.offline.procedures import name_of, span_of, steps_of
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import shorten
from aifactory.granulation.offline.words import count_words
from aifactory.granulation.tree import Bloom, Difficulty, Item, ItemKind, Option, Span

_STEM_WORDS = 45
_ARTICLE_LENGTH = 4
_STEP_WORDS = 22
_ORDER_WORDS = re.compile(
    r"^(?:first|then|next|finally|lastly|now|after that|second|third)(?:ly)?,? ", re.IGNORECASE
)


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An item before it has an objective: what it tests; ``asks`` says it in short, without the answer."""

    purpose: str
    kind: ItemKind
    asks: str
    stem: str
    bloom: Bloom
    difficulty: Difficulty
    feedback: str
    sources: tuple[Span, ...]
    line: int
    key: str = ""
    term: str = ""
    options: tuple[Option, ...] = ()
    answer: bool | None = None
    accepted: tuple[str, ...] = ()
    value: float | None = None
    tolerance: float | None = None
    unit: str | None = None
    steps: tuple[str, ...] = ()

    def as_item(self, objective: str, bloom: Bloom, place: str) -> Item:
        """The finished item for an objective; ``place`` makes its id unique in the tree."""
        return Item(
            id="i_" + short_hash(place, self.kind, self.stem, str(self.line)),
            kind=self.kind,
            stem=self.stem,
            objective_ids=(objective,),
            bloom=bloom,
            difficulty=self.difficulty,
            feedback=self.feedback,
            options=self.options,
            answer=self.answer,
            accepted=self.accepted,
            value=self.value,
            tolerance=self.tolerance,
            unit=self.unit,
            steps=self.steps,
            sources=self.sources,
        )


def drafts_of(study: Study, first: int, last: int) -> list[Draft]:
    """All items that a part of the source supports, the best kinds first and in turns."""
    groups = [
        list(_order_items(study, first, last)),
        list(_term_items(study, first, last)),
        list(_meaning_items(study, first, last)),
        list(_figure_items(study, first, last)),
        list(_truth_items(study, first, last)),
        list(_gap_items(study, first, last)),
    ]
    return [
        draft for turn in range(max(map(len, groups))) for group in groups for draft in group[turn : turn + 1]
    ]


def _said(line: Line) -> str:
    return f"The source says: “{line.told}”"


def _term_items(study: Study, first: int, last: int) -> Iterator[Draft]:
    """Which term is meant by these words?"""
    for definition in study.defined_between(first, last):
        line = study.lines[definition.sentence]
        phrase = distractors.short_phrase(definition)
        if definition.form == "this" or not 4 <= count_words(phrase) <= _STEM_WORDS - 10:
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
                feedback=_said(line),
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
        difficulty=Difficulty.HARD,
        feedback=_said(line),
        sources=(study.reading.span(line),),
        line=line.index,
        key=definition.term,
        term=definition.term,
        accepted=_forms(definition.term),
    )


def _forms(term: str) -> tuple[str, ...]:
    """A term and its other number, both of which a reader would accept."""
    if distractors.is_plural(term):
        return (term, term[:-1])
    return (term, f"the {term}")


def _term_options(study: Study, key: Definition, others: Sequence[str], line: Line) -> tuple[Option, ...]:
    meaning = {definition.term: definition for definition in study.definitions}
    wrong = [
        Option(text=other, rationale=f"No: the source uses “{other}” for {_meaning(meaning[other])}.")
        for other in others
    ]
    return _placed([Option(text=key.term, correct=True, rationale=_said(line)), *wrong], line)


def _meaning(definition: Definition) -> str:
    phrase = distractors.short_phrase(definition)
    return phrase if phrase else "something else"


def _placed(options: list[Option], line: Line) -> tuple[Option, ...]:
    """Options with the key in a place that follows from the passage, the others by their text."""
    key, *wrong = options
    wrong.sort(key=lambda option: short_hash(option.text, key.text))
    at = int(short_hash(str(line.start), key.text), 16) % len(options)
    return (*wrong[:at], key, *wrong[at:])


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
            feedback=_said(line),
            sources=(study.reading.span(line),),
            line=line.index,
            key=phrase,
            term=definition.term,
            options=_placed([Option(text=phrase, correct=True, rationale=_said(line)), *wrong], line),
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
            difficulty=Difficulty.HARD,
            feedback=_said(line),
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
        if not subject or not line.usable or not _one_clause(line.told):
            continue
        statement, answer, feedback = line.told, True, f"True. {_said(line)}"
        if int(short_hash(line.told), 16) % 2 == 0:
            other = _other_subject(study, definition, line)
            if not other:
                continue
            statement, answer = other[1] + line.told[len(subject) :], False
            feedback = f"False: this is said of {definition.term}, not of {other[0]}. {_said(line)}"
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


def _one_clause(sentence: str) -> bool:
    return count_words(sentence) <= 25 and not re.search(r"[,;:—–(]|\band\b|\bbut\b|\bor\b|\bnot\b", sentence)


def _gap_items(study: Study, first: int, last: int) -> Iterator[Draft]:
    """Which word is missing? The gap is a term of the source or a phrase of this part."""
    terms = frozenset(definition.term for definition in study.definitions)
    for gap in word_gaps(study, first, last):
        yield Draft(
            purpose="explain",
            kind=ItemKind.CLOZE,
            asks=f"{gap.before}…{gap.after}",
            stem=f"Complete the sentence: “{gap.before}{GAP}{gap.after}”",
            bloom=Bloom.REMEMBER,
            difficulty=Difficulty.MEDIUM if gap.name in terms else Difficulty.HARD,
            feedback=_said(gap.line),
            sources=(study.reading.span(gap.line),),
            line=gap.line.index,
            key=gap.name,
            accepted=(gap.answer,),
        )


def _order_items(study: Study, first: int, last: int) -> Iterator[Draft]:
    """In which order are these steps done?"""
    for procedure in study.procedures_between(first, last):
        lines = steps_of(study, procedure)
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
