"""How the concepts of a map are related, by the sentences of its source that name two of them."""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import msgspec

from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study

# A map with more edges than this for each node is read by nobody; with fewer than the least it is a list.
_PER_NODE = 1.2
_LEAST_PER_NODE = 0.6
_MORE = 2
_MOST_NAMED_IN_A_LINE = 5
_LEAST_RELATED = 2
_CONTRAST = re.compile(
    r"\b(?:whereas|unlike|in contrast|by contrast|compared (?:with|to)|differs? from|different from"
    r"|rather than|instead of|on the other hand|as opposed to|versus)\b",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(
    r"\b(?:for example|for instance|such as|including|examples? (?:is|are|of))\b", re.IGNORECASE
)
_APPLIED = re.compile(r"\b(?:(?:is|are) (?:used|applied|needed) (?:to|for|in|by)|applies to|apply to)\b")


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A node of a map: its name, its passage (lines), and the node above it, "" at the top."""

    id: str
    name: str
    stems: tuple[str, ...]
    first: int
    last: int
    above: str


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An edge and the line that shows it; a link that only holds the map together may have none."""

    source: str
    target: str
    kind: str
    weight: float
    line: Line | None = None

    @property
    def edge(self) -> dict[str, Any]:
        """The edge as the tree has it."""
        return {"from": self.source, "to": self.target, "edgeKind": self.kind, "weight": self.weight}


class Links:
    """Finds the edges of one map: those that a sentence shows, then what holds the map together."""

    def __init__(self, study: Study, named: Sequence[Named]) -> None:
        self._study = study
        self._named = list(named)
        self._at = {one.id: at for at, one in enumerate(named)}
        self._lines = [self._mentions(one) for one in named]
        together = self._together()
        self._shared = {pair: lines for pair, lines in together.items() if not self._is_above(*pair)}
        # A node that stands below another one is told from it all the same where a sentence does so.
        self._opposed = {pair: lines for pair, lines in together.items() if pair not in self._shared}

    def found(self) -> list[Link]:
        """Edges between different branches and levels, at most one for a pair, and no circle of needs."""
        shown = [link for pair in sorted(self._shared) if (link := self._shown(*pair)) is not None]
        shown += [link for pair in sorted(self._opposed) if (link := self._contrast(*pair)) is not None]
        shown.sort(
            key=lambda one: (-_FIRMNESS[one.kind], -one.weight, self._at[one.source], self._at[one.target])
        )
        kept = self._acyclic(shown)[: int(_PER_NODE * len(self._named))]
        kept += self._fewer(kept)
        kept += self._joining(kept)
        return sorted(kept, key=lambda one: (self._at[one.source], self._at[one.target]))

    def _fewer(self, kept: Sequence[Link]) -> list[Link]:
        """Pairs that one line names, where they lead a node out of its branch or edges are too few."""
        left = int(_LEAST_PER_NODE * len(self._named)) - len(kept)
        joined = {(one.source, one.target) for one in kept} | {(one.target, one.source) for one in kept}
        leaving = {end for one in kept for end in (one.source, one.target)}
        added = []
        for one, two in sorted(self._shared, key=lambda pair: (-len(self._shared[pair]), pair)):
            ends = (self._named[one].id, self._named[two].id)
            if ends in joined or (left <= 0 and leaving.issuperset(ends)):
                continue
            line = self._study.lines[self._shared[one, two][0]]
            added.append(self._link(one, two, "related", 0.3, line))
            leaving.update(ends)
            left -= 1
        return added

    def _mentions(self, one: Named) -> list[int]:
        found = self._study.mentions.of(one.name)
        return found if one.stems else []

    def _together(self) -> dict[tuple[int, int], list[int]]:
        """The lines that name two nodes of which neither's name holds the other's."""
        in_line: dict[int, list[int]] = {}
        for at, lines in enumerate(self._lines):
            for index in lines:
                in_line.setdefault(index, []).append(at)
        shared: dict[tuple[int, int], list[int]] = {}
        for index, those in sorted(in_line.items()):
            for one, two in combinations(those[:_MOST_NAMED_IN_A_LINE], 2):
                if not self._is_nested(one, two):
                    shared.setdefault((one, two), []).append(index)
        return shared

    def _is_above(self, one: int, two: int) -> bool:
        first, second = self._named[one], self._named[two]
        return first.above == second.id or second.above == first.id

    def _is_nested(self, one: int, two: int) -> bool:
        first, second = set(self._named[one].stems), set(self._named[two].stems)
        return first <= second or second <= first

    def _contrast(self, one: int, two: int) -> Link | None:
        """What sets a node against the one above it."""
        for line in (self._study.lines[index] for index in self._opposed[one, two]):
            if (pair := self._across(line, one, two, _CONTRAST)) is not None:
                return self._link(*pair, "contrasts", 0.9, line)
        return None

    def _shown(self, one: int, two: int) -> Link | None:
        """What the lines that name two nodes say of them, the firmest first."""
        lines = [self._study.lines[index] for index in self._shared[one, two]]
        for kind, cue in (("contrasts", _CONTRAST), ("example_of", _EXAMPLE), ("applies_to", _APPLIED)):
            for line in lines:
                if (pair := self._across(line, one, two, cue)) is not None:
                    # "Grains such as rye": what is named last is the example.
                    first, second = pair[::-1] if kind == "example_of" else pair
                    return self._link(first, second, kind, 0.9, line)
        if (needed := self._needed(one, two)) is not None:
            return self._link(*needed, "prerequisite", self._weight(lines), lines[0])
        if len(lines) >= _LEAST_RELATED:
            return self._link(one, two, "related", self._weight(lines), lines[0])
        return None

    def _across(self, line: Line, one: int, two: int, cue: re.Pattern[str]) -> tuple[int, int] | None:
        """The pair in the order in which a line names them, if a cue stands between them or in front."""
        low = line.shown.lower()
        places = [(low.find(self._named[at].name.lower()), at) for at in (one, two)]
        (left, first), (right, second) = sorted(places)
        if left < 0:
            return None
        if cue.search(line.shown, left, right) or (cue is _CONTRAST and cue.match(line.shown)):
            return first, second
        return None

    def _needed(self, one: int, two: int) -> tuple[int, int] | None:
        """Which of a pair is to be known first: named more where the other is at home, and met earlier."""
        there = [self._count(a, b) - self._count(b, a) for a, b in ((one, two), (two, one))]
        for (first, then), more in zip(((one, two), (two, one)), there, strict=True):
            met = min(self._lines[first], default=0) < min(self._lines[then], default=0)
            if more >= _MORE and met:
                return first, then
        return None

    def _count(self, name: int, home: int) -> int:
        """In how many lines of a node's passage another one is named."""
        passage = self._named[home]
        return sum(passage.first <= index < passage.last for index in self._lines[name])

    def _weight(self, lines: Sequence[Line]) -> float:
        return round(min(0.85, 0.25 + 0.1 * len(lines)), 2)

    def _link(self, source: int, target: int, kind: str, weight: float, line: Line | None) -> Link:
        ids = (self._named[source].id, self._named[target].id)
        return Link(source=ids[0], target=ids[1], kind=kind, weight=weight, line=line)

    def _acyclic(self, links: Sequence[Link]) -> list[Link]:
        """Links, firmest first, without the ones that would close a circle of prerequisites."""
        after: dict[str, set[str]] = {}
        kept = []
        for link in links:
            if link.kind == "prerequisite":
                if link.source in _reached(after, link.target):
                    continue
                after.setdefault(link.source, set()).add(link.target)
            kept.append(link)
        return kept

    def _joining(self, links: Sequence[Link]) -> Iterator[Link]:
        """Links of a map's branches that no sentence ties to the others, to the one they share most with."""
        top = [at for at, one in enumerate(self._named) if not one.above]
        branch = {one.id: one.id for one in self._named}
        for one in self._named:
            branch[one.id] = branch[one.above] if one.above else one.id
        group = {self._named[at].id: self._named[at].id for at in top}
        for link in links:
            _join(group, branch[link.source], branch[link.target])
        for at in top[1:]:
            own = self._named[at].id
            others = [other for other in top if group[self._named[other].id] != group[own]]
            if others:
                best = min(others, key=lambda other: (-self._likeness(at, other), abs(at - other)))
                _join(group, own, self._named[best].id)
                yield self._link(min(at, best), max(at, best), "related", 0.2, None)

    def _likeness(self, one: int, two: int) -> int:
        words = [
            {
                stem
                for line in self._study.lines[self._named[at].first : self._named[at].last]
                for stem in line.stems
            }
            for at in (one, two)
        ]
        return len(words[0] & words[1])


_FIRMNESS = {"contrasts": 4, "example_of": 3, "applies_to": 2, "prerequisite": 2, "related": 1}


def _reached(after: dict[str, set[str]], start: str) -> set[str]:
    """All that comes after a node, itself included."""
    seen = {start}
    stack = [start]
    while stack:
        for following in sorted(after.get(stack.pop(), ())):
            if following not in seen:
                seen.add(following)
                stack.append(following)
    return seen


def _join(group: dict[str, str], one: str, two: str) -> None:
    old, new = group[one], group[two]
    for name, where in group.items():
        if where == old:
            group[name] = new
