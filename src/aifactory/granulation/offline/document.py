"""A document out of a source: its own structure condensed, its key sentences as points, in its order."""

import re
from collections.abc import Sequence
from math import ceil
from typing import Any

import msgspec

from aifactory.granulation.offline.glossary import Terms
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.outline import Chunk, outline, room_for
from aifactory.granulation.offline.quotable import is_quotable, is_reference
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, rank_lines, summarise, summary_text
from aifactory.granulation.offline.titles import Titles, fit_title, numbered, same_title
from aifactory.granulation.offline.words import stem, words_of
from aifactory.granulation.rules_claims import check_claim
from aifactory.granulation.tree import Node, NodeState, Span

_TITLE_WORDS = 9
_LEAST_WORDS = 5
_ALIKE = 0.7
# A subsection says less than its passage does.
_SHARE = 0.6
_LEANS = re.compile(
    r"\b(?:this|these|those|such|them|therefore|another|former|latter)\b|^(?:\S+ ){0,4}(?:it|they)\b",
    re.IGNORECASE,
)


class DocumentMaker:
    """Makes the nodes of one document; no sentence is told twice in it where there is another one."""

    def __init__(self, study: Study, per_level: tuple[int, ...], opening: Sequence[Point]) -> None:
        self._study = study
        self._per_level = per_level
        self._titles = Titles(study)
        self._terms = Terms(study)
        self._told = {point.line.index for point in opening}
        self._claimed: list[frozenset[str]] = []

    def make(self) -> tuple[tuple[Node, ...], dict[str, Any]]:
        """The sections, and the fields of the root."""
        inner = self._per_level[1] if len(self._per_level) > 1 else 1
        most = self._per_level[0]
        room = room_for(most * inner)
        plan = outline(self._study, most=most, inner=inner, inner_least=min(2, inner), room=room)
        taken: list[str] = []
        nodes: list[Node] = []
        for part, *pieces in plan:
            title = self._titles.of(part, taken, self._study.digest.title)
            section = self._section(len(nodes) + 1, title, part, pieces or [part])
            if section.children or len(self._per_level) < 2:
                taken.append(title)
                nodes.append(section)
        return tuple(nodes), {"glossary": msgspec.to_builtins(self._terms.glossary())}

    def _section(self, position: int, title: str, part: Chunk, pieces: Sequence[Chunk]) -> Node:
        titled = self._titled(title, pieces) if len(self._per_level) > 1 else []
        # What a subsection is named after is told there, and not above it.
        kept = frozenset(line for name, piece in titled for line in self._defining(name, piece))
        summary = self._summary(part, 2, kept)
        children: list[Node] = []
        for name, piece in titled:
            child = self._subsection(f"{position}.{len(children) + 1}", name, piece, children)
            if child is not None:
                children.append(child)
        return Node(
            id="n_" + short_hash(str(position), title),
            kind="section",
            level=1,
            ordinal=position,
            title=title,
            summary=summary_text(self._study, summary, part.first, part.last),
            sources=self._spans(summary, part),
            state=NodeState.OK,
            children=tuple(children),
        )

    def _titled(self, above: str, pieces: Sequence[Chunk]) -> list[tuple[str, Chunk]]:
        """The pieces of a section, each with its title."""
        titled: list[tuple[str, Chunk]] = []
        for piece in pieces:
            # A section that is not divided has one subsection, which says more closely what it is about.
            own = piece if len(pieces) > 1 else msgspec.structs.replace(piece, title="", merged=False)
            titled.append((self._titles.of(own, [above, *(name for name, _ in titled)], above), own))
        return titled

    def _defining(self, title: str, piece: Chunk) -> list[int]:
        """The lines of a piece that define what its title names."""
        defined = self._study.defined_between(piece.first, piece.last)
        return [one.sentence for one in defined if same_title(one.term, title)]

    def _subsection(self, path: str, title: str, piece: Chunk, taken: Sequence[Node]) -> Node | None:
        """A subsection; None where it should have points and the passage makes none."""
        is_outline = len(self._per_level) < 3
        summary = self._summary(piece, 1) if is_outline else []
        lines = [] if is_outline else self._points(piece, title)
        if not lines and not is_outline:
            return None
        node_id = "n_" + short_hash(path, title)
        needs = [term for term, _ in self._terms.needs(piece.first, piece.last)]
        children: list[Node] = []
        for line in lines:
            children.append(self._point(f"{path}.{len(children) + 1}", line, children))
        return Node(
            id=node_id,
            kind="subsection",
            level=2,
            ordinal=len(taken) + 1,
            title=title,
            summary=summary_text(self._study, summary, piece.first, piece.last) if is_outline else "",
            sources=self._spans(summary, piece) if is_outline else (),
            state=NodeState.OK,
            fields={
                "introduces": self._terms.introduce(piece.first, piece.last, node_id),
                "needs": needs,
            },
            children=tuple(children),
        )

    def _point(self, path: str, line: Line, taken: Sequence[Node]) -> Node:
        words = line.told.rstrip(".!").split()
        short = " ".join(words[:_TITLE_WORDS]).rstrip(",;:…") + ("…" if len(words) > _TITLE_WORDS else "")
        title = fit_title(short)
        if any(same_title(title, node.title) for node in taken):
            title = numbered(title, [node.title for node in taken])
        return Node(
            id="n_" + short_hash(path, title),
            kind="point",
            level=3,
            ordinal=len(taken) + 1,
            title=title,
            sources=(self._study.reading.span(line),),
            state=NodeState.OK,
            fields={"claim": line.told},
        )

    def _summary(self, part: Chunk, most: int, kept: frozenset[int] = frozenset()) -> list[Point]:
        """What a part says, in sentences that are neither told nor ``kept`` for later where it has such."""
        told = frozenset(self._told)
        found = summarise(self._study, part.first, part.last, most=most, avoid=told | kept)
        found = found or summarise(self._study, part.first, part.last, most=most, avoid=told)
        found = found or summarise(self._study, part.first, part.last, most=1)
        self._told.update(point.line.index for point in found)
        return found

    def _points(self, piece: Chunk, title: str) -> list[Line]:
        """The lines that make the best claims, in text order; those told already only where all are."""
        most = min(self._per_level[2], max(1, ceil(_SHARE * (piece.last - piece.first))))
        fresh, told = self._candidates(piece, title)
        chosen: list[Line] = []
        for line in fresh:
            if len(chosen) < most and self._is_new(line):
                chosen.append(line)
                self._claimed.append(frozenset(line.stems))
        chosen = chosen or told[:1]
        self._told.update(line.index for line in chosen)
        return sorted(chosen, key=lambda line: line.start)

    def _is_new(self, line: Line) -> bool:
        stems = frozenset(line.stems)
        return not any(_alike(stems, other) for other in self._claimed)

    def _candidates(self, piece: Chunk, title: str) -> tuple[list[Line], list[Line]]:
        """Lines that are claims, best first, and those of them that were told before.

        One that speaks of what the title says leads; those that lean on another line come last.
        """
        ranked = [line for _, line in rank_lines(self._study, piece.first, piece.last)]
        known = frozenset(line.index for line in ranked)
        rest = [
            line
            for line in self._study.lines[piece.first : piece.last]
            if line.index not in known and line.kind != "l" and line.words >= _LEAST_WORDS
        ]
        claims = [line for line in ranked if not any(check_claim(line.told)) and not is_reference(line.told)]
        claims = [line for line in claims if is_quotable(line)] or claims
        named = frozenset(map(stem, words_of(title)))
        claims.sort(key=lambda line: bool(_LEANS.search(line.told)))
        lead = next((line for line in claims if self._is_fresh(line) and named & set(line.stems)), None)
        claims.sort(key=lambda line: line is not lead)
        # A sentence that makes no sense alone is better than nothing, and only then; a reference is not.
        claims = claims or [
            line for line in rest if not any(check_claim(line.told)) and not is_reference(line.told)
        ]
        return (
            [line for line in claims if self._is_fresh(line)],
            [line for line in claims if not self._is_fresh(line)],
        )

    def _is_fresh(self, line: Line) -> bool:
        return line.index not in self._told

    def _spans(self, points: Sequence[Point], part: Chunk) -> tuple[Span, ...]:
        lines = [point.line for point in points] or [self._study.lines[part.first]]
        return tuple(map(self._study.reading.span, lines))


def _alike(one: frozenset[str], two: frozenset[str]) -> bool:
    return len(one & two) > _ALIKE * max(1, min(len(one), len(two)))
