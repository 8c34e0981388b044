"""Whether what a tree holds stands where it belongs: in the source's order, among its own kind. Pure.

A dealt deck also has neighbours in order and cards beside their like, by chance. What chance gives is worth
nothing here, so that a shuffled tree comes out near 0 whatever its shape.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from aifactory.granulation.index import ROOT, TreeIndex
from aifactory.granulation.rules_claims import (
    Cited,
    SourceOrder,
    homes_by_place,
    read_citations,
    read_source_order,
)
from aifactory.granulation.similarity import ROUNDING, Vector, tfidf_vectors

# Beyond this the rank of a node's own branch among the others says no more: words recur everywhere.
ENOUGH_RANK = 0.75
CHANCE_RANK = 0.5
# Fewer children than this, or fewer branches, and chance explains any rank.
MIN_CHILDREN, MIN_BRANCHES = 4, 2


class Arrangement:
    """How a tree follows its source and how its children nest; ``untrusted`` are pointers of false spans.

    Types without the rule ``sourceOrder`` owe their source no order, and ones without ``headings`` promise
    nothing about what stands under them: both then stand as they stand, which is 1.
    """

    def __init__(self, index: TreeIndex, untrusted: frozenset[str] = frozenset()) -> None:
        self._index = index
        self._rules = frozenset(index.spec.rules) & {"headings", "sourceOrder"}
        self._cited = read_citations(index, untrusted) if self._rules else None

    @cached_property
    def source_order(self) -> SourceOrder | None:
        """Which neighbours follow the source; None where the type, or no two neighbours, cite it."""
        if self._cited is None or "sourceOrder" not in self._rules:
            return None
        found = read_source_order(self._index, self._cited)
        return found if found.pairs else None

    @cached_property
    def follows(self) -> float:
        """Neighbours in the source's order: all of them 1, half of them, as by chance, 0."""
        found = self.source_order
        return above_chance(found.pairs - len(found.late), found.pairs) if found else 1.0

    @cached_property
    def nests(self) -> float:
        """Children beside their own in the source, else in their words; 0 when dealt out by chance."""
        if self._cited is None:
            return 1.0
        found = _nests_by_place(self._index, self._cited)
        if found is None and "headings" in self._rules:
            found = _nests_by_words(self._index)
        return 1.0 if found is None else found

    @property
    def place(self) -> float:
        """Nesting × order."""
        return self.nests * self.follows

    @property
    def note(self) -> str:
        """Words for a detail where something is out of place, else nothing."""
        return "" if self.place > 1 - 1e-9 else f", {self.place:.0%} in place"


def above_chance(kept: int, of: int) -> float:
    """The share that is kept, with an even chance of keeping each taken off: half is 0."""
    return max(0.0, 2 * kept / of - 1)


def _nests_by_place(index: TreeIndex, cited: Cited) -> float | None:
    """How rarely the source, read on, leaves a parent's children for another's; None where nothing tells.

    The turns from one parent to another are counted per level, as Wald & Wolfowitz 1940 count runs: as few
    as there are parents is 1, as many as a random order has on average is 0.
    """
    spare = expected = 0.0
    for level in homes_by_place(index, cited):
        parents = [home for _, home in level]
        sizes = Counter(parents)
        least = len(sizes) - 1
        if least < 1:
            continue
        turns = sum(before != after for before, after in pairwise(parents))
        by_chance = len(parents) - 1 - sum(size * (size - 1) for size in sizes.values()) / len(parents)
        spare += turns - least
        expected += by_chance - least
    return min(1.0, max(0.0, 1 - spare / expected)) if expected > 0 else None


def _nests_by_words(index: TreeIndex) -> float | None:
    """How near the children are to their own branch in words, among all branches; None where too few tell.

    Of each child: the share of other branches that its words are further from than from its own, itself
    left out. By chance that is a half.
    """
    branches = index.children[ROOT]
    children = [(child, place) for place, branch in enumerate(branches) for child in index.children[branch]]
    if len(branches) < MIN_BRANCHES or len(children) < MIN_CHILDREN:
        return None
    heads = [[*index.entries[one].title_stems, *index.entries[one].summary_stems] for one in branches]
    vectors = tfidf_vectors([*heads, *(_stems_below(index, child) for child, _ in children)])
    homes = [*range(len(branches)), *(place for _, place in children)]
    ranks = _ranks(vectors, homes, len(branches))
    if len(ranks) < MIN_CHILDREN:
        return None
    mean = math.fsum(ranks) / len(ranks)
    return min(1.0, max(0.0, (mean - CHANCE_RANK) / (ENOUGH_RANK - CHANCE_RANK)))


def _stems_below(index: TreeIndex, owner: int) -> list[str]:
    stems = list(index.entries[owner].stems)
    for child in index.children[owner]:
        stems += _stems_below(index, child)
    return stems


def _ranks(vectors: Sequence[Vector], homes: Sequence[int], branches: int) -> list[float]:
    """For each vector behind the heads of ``branches``, the share of foreign branches it is further from.

    ``homes`` are the branches that the vectors belong to. Texts without a word tell nothing.
    """
    weights: dict[str, dict[int, float]] = {}
    for vector, home in zip(vectors, homes, strict=True):
        for word, weight in vector.items():
            of = weights.setdefault(word, {})
            of[home] = of.get(home, 0.0) + weight
    squares = [
        math.fsum(of[branch] ** 2 for of in weights.values() if branch in of) for branch in range(branches)
    ]
    ranks = []
    for vector, home in zip(vectors[branches:], homes[branches:], strict=True):
        if not vector:
            continue
        products = [0.0] * branches
        for word, weight in vector.items():
            for branch, other in weights[word].items():
                products[branch] += weight * other
        # Its own branch is measured without it.
        rest = squares[home] - 2 * products[home] + 1
        own = (products[home] - 1) / math.sqrt(rest) if rest > ROUNDING else 0.0
        others = [
            product / math.sqrt(squares[branch]) if squares[branch] else 0.0
            for branch, product in enumerate(products)
            if branch != home
        ]
        nearer = sum((own > one + ROUNDING) + 0.5 * (abs(own - one) <= ROUNDING) for one in others)
        ranks.append(nearer / len(others))
    return ranks
