"""The shape of a score. Pure."""

from enum import StrEnum

import msgspec

from aifactory.granulation.violations import Violation


class ScoreState(StrEnum):
    """Whether the gates held; an invalid tree has no number."""

    VALID = "valid"
    INVALID = "invalid"


class Band(StrEnum):
    """What a score means for acceptance."""

    ACCEPT = "accept"
    REVIEW = "review"
    REJECT = "reject"


class SubScore(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One part of a score: ``value`` 0–1, its share of the whole, and what it was made of in words."""

    value: float
    weight: float
    detail: str


class Score(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A tree's quality, 0–100. ``exact`` is the number before rounding: compare by it, show ``score``.

    ``score`` is None for an invalid tree, except that a tree without nodes scores 0. ``template_grade``
    says that the number was capped because an offline tree was made from a topic alone.
    """

    state: ScoreState
    score: float | None
    exact: float | None
    band: Band
    sub_scores: dict[str, SubScore]
    gates_failed: tuple[str, ...]
    checks_run: tuple[str, ...]
    checks_skipped: dict[str, str]
    template_grade: bool = False


class Assessment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A score with every violation that it rests on."""

    score: Score
    violations: tuple[Violation, ...]
