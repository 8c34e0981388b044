"""A tree of any structure type out of a source: its levels from the outline, its fields by what they are.

Fields that nothing in a source can fill are left out; where one of them is required there is no tree, and
a reason.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from aifactory.granulation.offline.fields import Fields, Place, Unfilled, sound_drafts
from aifactory.granulation.offline.outline import Chunk, outline
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, shorten
from aifactory.granulation.offline.telling import Teller, is_alike, placed
from aifactory.granulation.offline.titles import Titles, fit_title, numbered, same_title
from aifactory.granulation.specs import FieldType, LevelSpec, Presence, StructureSpec
from aifactory.granulation.tree import Node

TOO_FEW = (
    "The source has enough for {made} of the {least} nodes of the level “{kind}” that a {type} wants in each "
    "place. Send a longer text, or ask for less."
)
_TITLE_WORDS = 9


class GenericMaker:
    """Makes the nodes of one tree of a type that has no maker of its own."""

    def __init__(
        self, study: Study, per_level: tuple[int, ...], opening: Sequence[Point], spec: StructureSpec
    ) -> None:
        self._study = study
        self._per_level = per_level
        self._spec = spec
        self._titles = Titles(study)
        self._teller = Teller(study, opening)

    def make(self) -> tuple[tuple[Node, ...], dict[str, Any]]:
        """The nodes of the first level, and the fields of the root; else nothing and a ``reason``."""
        made = self._level(0, "", Chunk(self._study.digest.title, 0, len(self._study.lines)), "")
        if len(made) < self._least(0):
            return (), {"reason": _too_few(self._spec, 0, len(made), self._least(0))}
        fields = Fields(self._study, self._spec, self._teller, [place for one in made for place in _all(one)])
        try:
            root = fields.of_root()
            nodes = tuple(self._node(one, fields) for one in made)
            root |= fields.of_root(again=True)
        except Unfilled as error:
            return (), {"reason": str(error)}
        return nodes, root

    def _least(self, depth: int) -> int:
        return min(self._spec.levels[depth].min, self._per_level[depth])

    def _level(self, depth: int, above: str, chunk: Chunk, title: str) -> list[Place]:
        """The nodes of a level below one, still without their fields."""
        is_last = depth + 1 == len(self._per_level)
        places: list[Place] = []
        if is_last and depth:
            for line in self._leaves(chunk, self._per_level[depth]):
                places.append(self._leaf(depth, f"{above}{len(places) + 1}", line, places))
            return places
        for piece in self._pieces(depth, chunk):
            path = f"{above}{len(places) + 1}"
            name = self._titles.of(piece, [one.title for one in places], title or self._study.digest.title)
            below = [] if is_last else self._level(depth + 1, f"{path}.", piece, name)
            if is_last or len(below) >= self._least(depth + 1):
                kind = self._spec.levels[depth].kind
                places.append(Place(path=path, kind=kind, title=name, chunk=piece, below=tuple(below)))
        return places

    def _pieces(self, depth: int, chunk: Chunk) -> list[Chunk]:
        """The parts of the source, or the pieces of one of them."""
        most = self._per_level[depth]
        if depth == 0:
            inner = self._per_level[1] if len(self._per_level) > 2 else 1
            plan = outline(self._study, most=most, inner=inner, inner_least=min(2, inner))
            self._inner = {part: tuple(pieces) or (part,) for part, *pieces in plan}
            return [part for part, *_ in plan]
        return list(self._inner[chunk])[:most]

    def _leaves(self, chunk: Chunk, most: int) -> list[Line]:
        """The lines of a passage that say most, in its order."""
        ranked = self._teller.ranked(chunk)
        if is_item_level(self._spec.levels[len(self._per_level) - 1]):
            alone = ((line, Chunk("", line.index, line.index + 1)) for line in ranked)
            ranked = [line for line, passage in alone if sound_drafts(self._study, passage)]
        chosen: list[Line] = []
        for line in ranked:
            if len(chosen) < most and not is_alike(line, chosen):
                chosen.append(line)
        return sorted(chosen, key=lambda line: line.index)

    def _leaf(self, depth: int, path: str, line: Line, taken: Sequence[Place]) -> Place:
        point = self._teller.tell(line)
        words = point.text.rstrip(".!").split()
        title = fit_title(" ".join(words[:_TITLE_WORDS]) + ("…" if len(words) > _TITLE_WORDS else ""))
        # What a question asks for must not stand above it.
        if is_item_level(self._spec.levels[depth]):
            title = f"Question {len(taken) + 1}"
        elif len(title) < 3 or any(same_title(title, one.title) for one in taken):
            title = numbered(title or "Part", [one.title for one in taken])
        kind = self._spec.levels[depth].kind
        chunk = Chunk("", line.index, line.index + 1)
        return Place(path=path, kind=kind, title=title, chunk=chunk, point=point)

    def _node(self, place: Place, fields: Fields) -> Node:
        level = next(one for one in self._spec.levels if one.kind == place.kind)
        points = [place.point] if place.point else []
        if not points and level.summary is not Presence.OPTIONAL:
            points = self._teller.summary(place.chunk)
        values = fields.of_node(place, level)
        children = tuple(self._node(one, fields) for one in place.below)
        return placed(
            place.path,
            place.kind,
            place.title,
            summary=self._summary(level, points, place),
            minutes=self._minutes(level, place, children),
            sources=self._teller.spans(points, place.chunk),
            fields=values,
            children=children,
        )

    def _summary(self, level: LevelSpec, points: Sequence[Point], place: Place) -> str:
        if level.summary is Presence.OPTIONAL:
            return ""
        return shorten(place.point.line.shown, 40) if place.point else self._teller.text(points, place.chunk)

    def _minutes(self, level: LevelSpec, place: Place, children: Sequence[Node]) -> int | None:
        if children:
            return sum(child.minutes or 0 for child in children) or None
        if "leafMinutes" not in level.rules:
            return None
        low, high = self._spec.leaf_minutes
        words = self._study.reading.words_between(place.chunk.first, place.chunk.last)
        return max(low, min(high, 1 + words // 100))


def lacking(spec: StructureSpec, per_level: Sequence[int], nodes: Sequence[Node], depth: int = 0) -> str:
    """Why nodes are fewer than a type wants on a level; "" if they are not."""
    if depth == len(per_level):
        return ""
    least = min(spec.levels[depth].min, per_level[depth])
    if len(nodes) < least:
        return _too_few(spec, depth, len(nodes), least)
    return next((lack for one in nodes if (lack := lacking(spec, per_level, one.children, depth + 1))), "")


def _too_few(spec: StructureSpec, depth: int, made: int, least: int) -> str:
    kind = spec.levels[depth].title
    return TOO_FEW.format(made=made, kind=kind, type=spec.type, least=least)


def is_item_level(level: LevelSpec) -> bool:
    """Whether a node of this level is an item."""
    return any(field.type is FieldType.ITEM and field.required for field in level.fields.values())


def _all(place: Place) -> Iterator[Place]:
    yield place
    for one in place.below:
        yield from _all(one)
