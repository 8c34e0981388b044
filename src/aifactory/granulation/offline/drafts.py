"""An item before it has a place: what it asks, what is right, and where the source says so."""

import re

import msgspec

from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.words import count_words
from aifactory.granulation.tree import Bloom, Difficulty, Item, ItemKind, Option, Pair, Span

STEM_WORDS = 45


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
    pairs: tuple[Pair, ...] = ()
    lines: tuple[int, ...] = ()

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
            pairs=self.pairs,
            sources=self.sources,
        )


def said(line: Line) -> str:
    """The sentence that an item was made of, as its feedback quotes it."""
    return f"The source says: “{line.told}”"


def placed(options: list[Option], line: Line) -> tuple[Option, ...]:
    """Options with the key in a place that follows from the passage, the others by their text."""
    key, *wrong = options
    wrong.sort(key=lambda option: short_hash(option.text, key.text))
    at = int(short_hash(str(line.start), key.text), 16) % len(options)
    return (*wrong[:at], key, *wrong[at:])


def is_one_clause(sentence: str) -> bool:
    """Whether a statement makes one claim, which is true or false as a whole."""
    return count_words(sentence) <= 25 and not re.search(r"[,;:—–(]|\band\b|\bbut\b|\bor\b|\bnot\b", sentence)
