"""Which of the objectives that another tree brings an item tests: by what it asks, and where that is told."""

from collections import Counter
from collections.abc import Sequence

from aifactory.granulation.offline.brief import GivenObjective
from aifactory.granulation.offline.items import Draft
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.words import stems_of
from aifactory.granulation.tree import Bloom, Objective

_RANKS = {bloom: rank for rank, bloom in enumerate(Bloom)}
# Being told in the objective's own lesson weighs as much as this many rare words in common.
_OF_SAME_PLACE = 2.0
_OF_SAME_LEVEL = 1.0
# Characters over which being near loses half of its weight.
_NEAR = 1_500


class GivenObjectives:
    """The objectives of an earlier tree over a source, which may be that tree's own."""

    def __init__(self, given: Sequence[GivenObjective], study: Study) -> None:
        self._given = list(given)
        self._study = study
        self._stems = [frozenset(stems_of(one.text, study.language)) for one in given]
        # A word that every objective has ("explain", "lesson") tells nothing.
        self._in = Counter(stem for stems in self._stems for stem in stems)
        self._found: dict[tuple[int, str, str], Objective | None] = {}

    def tested_by(self, draft: Draft) -> Objective | None:
        """The objective that an item tests best; None where there is none that it could be for."""
        key = (draft.line, draft.kind, draft.purpose)
        if key not in self._found:
            self._found[key] = self._best(draft)
        return self._found[key]

    def _best(self, draft: Draft) -> Objective | None:
        said = frozenset(
            stems_of(f"{draft.stem} {draft.key} {draft.term} {draft.feedback}", self._study.language)
        )
        scored = [
            (evidence + _fit(one.bloom, draft.bloom), -at)
            for at, (one, stems) in enumerate(zip(self._given, self._stems, strict=True))
            if _is_reached(one.bloom, draft.bloom)
            and (evidence := self._nearness(one, draft) + self._shared(said & stems)) > 0
        ]
        if not scored:
            return None
        _, at = max(scored)
        best = self._given[-at]
        return Objective(id=best.id, text=best.text, bloom=best.bloom)

    def _shared(self, stems: frozenset[str]) -> float:
        few = max(1, len(self._given) // 4)
        return sum(1.0 if self._in[stem] <= few else 0.0 for stem in stems)

    def _nearness(self, one: GivenObjective, draft: Draft) -> float:
        """How near an item's passage is to where the objective is treated, if in the same source."""
        if one.start < 0 or one.source != self._study.digest.sha256:
            return 0.0
        line = self._study.lines[draft.line]
        away = max(one.start - line.start, line.end - one.end, 0)
        return _OF_SAME_PLACE if away == 0 else _OF_SAME_PLACE / 2 / (1 + away / _NEAR)


def _is_reached(objective: Bloom, item: Bloom) -> bool:
    """Whether an item can stand for an objective: of its level, above it, or just below understanding."""
    above = _RANKS[objective] - _RANKS[item]
    return above in (-1, 0) or (above == 1 and objective is Bloom.UNDERSTAND)


def _fit(objective: Bloom, item: Bloom) -> float:
    return _OF_SAME_LEVEL if objective is item else 0.0
