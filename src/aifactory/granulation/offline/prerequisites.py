"""What builds on what in a source: which of its passages use the terms that others define."""

from collections.abc import Sequence
from typing import TypeVar

from aifactory.granulation.offline.outline import Chunk
from aifactory.granulation.offline.study import Study

Part = TypeVar("Part")
# A passage builds on another if it uses its terms in this many more lines than the other way round; on a
# later one only in this many more, because its author thought it could be read before.
_MORE = 2
_MORE_AGAINST = 5


def what_builds(study: Study, chunks: Sequence[Chunk]) -> list[dict[int, int]]:
    """For each passage the ones it builds on, with how many more lines of it use their terms."""
    uses: dict[tuple[int, int], int] = {}
    for at, chunk in enumerate(chunks):
        for definition in study.defined_between(chunk.first, chunk.last):
            for other, reader in enumerate(chunks):
                count = study.mentions.between(definition.term, reader.first, reader.last)
                if count and other != at:
                    uses[other, at] = uses.get((other, at), 0) + count
    builds: list[dict[int, int]] = [{} for _ in chunks]
    for (user, at), count in sorted(uses.items()):
        more = count - uses.get((at, user), 0)
        if more >= (_MORE if at < user else _MORE_AGAINST):
            builds[user][at] = more
    return builds


def in_order(parts: Sequence[Part], builds: Sequence[dict[int, int]]) -> list[Part]:
    """The source's order, but nothing before what it builds on; in a circle the weakest link gives way."""
    waiting = list(range(len(parts)))
    order: list[Part] = []
    while waiting:
        left = frozenset(waiting)

        def missing(at: int, left: frozenset[int] = left) -> int:
            return sum(more for other, more in builds[at].items() if other in left)

        first = min(waiting, key=lambda at: (missing(at), at))
        waiting.remove(first)
        order.append(parts[first])
    return order
