"""Assessment items out of what a source says outright: what follows, why, what for, what must be."""

from collections.abc import Iterator, Sequence

from aifactory.granulation.offline import distractors
from aifactory.granulation.offline.clauses import capped, is_many
from aifactory.granulation.offline.drafts import STEM_WORDS, Draft, placed, said
from aifactory.granulation.offline.facts import CASE, DEED, DEMAND, PURPOSE, REASON, Fact, statements_of
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.titles import in_sentence
from aifactory.granulation.offline.words import count_words
from aifactory.granulation.tree import Bloom, Difficulty, ItemKind, Option
from aifactory.granulation.words import content_stems

_WRONG = 3
_STATEMENT_WORDS = 26
# Facts around a fact that the subject of a false statement is looked for among.
_NEAR = 40


def fact_items(study: Study, facts: Sequence[Fact], kind: str) -> Iterator[Draft]:
    """What follows, why, what for, what must be? The wrong answers are right for other questions."""
    for fact in facts:
        if fact.kind != kind or count_words(fact.question) > STEM_WORDS:
            continue
        others = distractors.answers_beside(study, fact)
        if len(others) < 2 or _tells(fact, others):
            continue
        wrong = [
            Option(text=other.answer, rationale=f"No: this answers another question, “{other.question}”")
            for other in others[:_WRONG]
        ]
        key = Option(text=fact.answer, correct=True, rationale=said(fact.line))
        yield Draft(
            purpose="cases" if kind == CASE else "explain",
            kind=ItemKind.SINGLE,
            asks=fact.question,
            stem=_reason_stem(fact) if kind == REASON else fact.question,
            bloom=Bloom.UNDERSTAND,
            difficulty=Difficulty.HARD
            if len(others) == _WRONG and fact.frame == others[-1].frame
            else Difficulty.MEDIUM,
            feedback=said(fact.line),
            sources=(study.reading.span(fact.line),),
            line=fact.line.index,
            key=fact.answer,
            options=placed([key, *wrong], fact.line),
        )


def _reason_stem(fact: Fact) -> str:
    asked = "reason" if fact.answer.startswith("Because") else "purpose"
    return f"Which {asked} does the source give for this: “{fact.subject}”?"


def _tells(fact: Fact, others: Sequence[Fact]) -> bool:
    """Whether only the right answer repeats a word of the question."""
    wrong = frozenset(one for other in others for one in content_stems(other.answer, "en"))
    return bool(distractors.echoes(fact) - wrong)


def truth_items(study: Study, facts: Sequence[Fact]) -> Iterator[Draft]:
    """Is this so? Every second statement joins a subject or a case to what another one does."""
    for fact in facts:
        if fact.kind == REASON:
            continue
        statement, is_true, why = _statement(study, fact, fact), True, "True."
        if int(short_hash(fact.line.told), 16) % 2 == 0:
            other = _stand_in(study, fact)
            if other is None:
                continue
            statement, is_true = _statement(study, fact, other), False
            why = f"False: {_what_holds(fact, other)}."
        if not statement or count_words(statement) > _STATEMENT_WORDS:
            continue
        yield Draft(
            purpose="cases" if fact.kind == CASE else "explain",
            kind=ItemKind.TRUE_FALSE,
            asks=statement,
            stem=statement,
            bloom=Bloom.UNDERSTAND,
            difficulty=Difficulty.MEDIUM,
            feedback=f"{why} {said(fact.line)}",
            sources=(study.reading.span(fact.line),),
            line=fact.line.index,
            answer=is_true,
        )


def _statement(study: Study, fact: Fact, other: Fact) -> str:
    """What a fact says with the subject of another one, or what another case leads to in its case."""
    if fact.kind == CASE:
        return f"{capped(fact.subject)}, {in_sentence(other.answer, study.lexicon)}"
    told = fact.line.told
    if not told.lower().startswith(fact.subject.lower()):
        return ""
    return capped(other.subject) + told[len(fact.subject) :]


def _what_holds(fact: Fact, other: Fact) -> str:
    if fact.kind == CASE:
        return f"this follows {other.subject}"
    return f"the source says this of {fact.subject}, not of {other.subject}"


def _stand_in(study: Study, fact: Fact) -> Fact | None:
    """The nearest fact that makes a false statement of another one; None if it might be true as well."""
    kinds = (CASE,) if fact.kind == CASE else (DEED, DEMAND, PURPOSE)
    facts = [one for one in statements_of(study) if one.kind in kinds and one.line != fact.line]
    facts.sort(key=lambda one: (abs(one.line.index - fact.line.index), one.line.index))
    own, told = _stems(fact.subject), _stems(fact.line.told)
    topic = _stems(study.digest.title)
    for one in facts[:_NEAR]:
        if fact.kind == CASE:
            apart = one.frame == fact.frame and not 2 * len(_stems(one.answer) & told) > len(
                _stems(one.answer)
            )
        else:
            theirs = _stems(one.subject)
            apart = is_many(one.subject) == is_many(fact.subject) and not (theirs & told or theirs <= topic)
        if apart and not _stems(one.subject) <= own:
            return one
    return None


def _stems(said: str) -> frozenset[str]:
    return frozenset(content_stems(said, "en"))
