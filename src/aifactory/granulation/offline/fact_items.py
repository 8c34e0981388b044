"""Assessment items out of what a source says outright: what follows, why, what for, what must be."""

from collections.abc import Iterator, Sequence

from aifactory.granulation.offline import distractors
from aifactory.granulation.offline.drafts import STEM_WORDS, Draft, placed, said
from aifactory.granulation.offline.facts import CASE, REASON, Fact
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.words import count_words
from aifactory.granulation.tree import Bloom, Difficulty, ItemKind, Option
from aifactory.granulation.words import content_stems

_WRONG = 3


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
