"""What makers say of a passage: its sentences with their spans, each told once where there is another."""

from collections.abc import Iterable, Sequence
from typing import Any

from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.outline import Chunk
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, clipped, rank_lines, shorten, summarise, summary_text
from aifactory.granulation.tree import Node, NodeState, Span

_POINT_WORDS = 30
_MOST_SPANS = 3
# Lines that share more than this part of the shorter one's words say the same.
_ALIKE = 0.6
# A passage longer than this is ranked by its opening: what it is about is said there.
_MOST_RANKED = 400


class Teller:
    """Knows which lines of a source a tree has told; ``told`` are their indexes."""

    def __init__(self, study: Study, opening: Sequence[Point] = ()) -> None:
        self._study = study
        self.told = {point.line.index for point in opening}

    def summary(self, chunk: Chunk, most: int = 2) -> list[Point]:
        """The best sentences of a passage that were not told before; told ones if it has no others."""
        last = min(chunk.last, chunk.first + _MOST_RANKED)
        found = summarise(self._study, chunk.first, last, most=most, avoid=frozenset(self.told))
        found = found or summarise(self._study, chunk.first, last, most=most)
        self.told.update(point.line.index for point in found)
        return found

    def ranked(self, chunk: Chunk) -> list[Line]:
        """The quotable lines of a passage that were not told before, best first."""
        last = min(chunk.last, chunk.first + _MOST_RANKED)
        return [line for _, line in rank_lines(self._study, chunk.first, last) if line.index not in self.told]

    def tell(self, line: Line) -> Point:
        """A line as a point, told from now on."""
        self.told.add(line.index)
        return Point(clipped(shorten(line.told, _POINT_WORDS)), line)

    def about(self, name: Sequence[str], lines: Iterable[Line]) -> Line | None:
        """The first of some lines that holds all the stems of a name and was not told before."""
        wanted = set(name)
        fresh = (line for line in lines if line.index not in self.told)
        return next((line for line in fresh if wanted <= set(line.stems)), None)

    def text(self, points: Sequence[Point], chunk: Chunk) -> str:
        """Points as running text; without any, the first sentence of the passage."""
        return summary_text(self._study, points, chunk.first, chunk.last)

    def spans(self, points: Sequence[Point], chunk: Chunk | None = None) -> tuple[Span, ...]:
        """Where points stand; without any, the first line of the passage."""
        reading = self._study.reading
        chosen = {point.line.index: point for point in points}
        if not chosen and chunk is not None:
            return (reading.span(self._study.lines[chunk.first]),)
        return tuple(reading.span_of(one.line, one.text) for one in list(chosen.values())[:_MOST_SPANS])


def placed(path: str, kind: str, title: str, **rest: Any) -> Node:
    """A finished node at a path such as ``2.1``: its level, ordinal and id follow from that and its title."""
    return Node(
        id=id_of(path, title),
        kind=kind,
        level=path.count(".") + 1,
        ordinal=int(path.rpartition(".")[2]),
        title=title,
        state=NodeState.OK,
        **rest,
    )


def id_of(path: str, title: str) -> str:
    """The id that ``placed`` gives."""
    return "n_" + short_hash(path, title)


def is_alike(line: Line, others: Sequence[Line]) -> bool:
    """Whether a line says nearly what another one says."""
    own = set(line.stems)
    return any(
        len(own & set(other.stems)) > _ALIKE * max(1, min(len(own), len(set(other.stems))))
        for other in others
    )
