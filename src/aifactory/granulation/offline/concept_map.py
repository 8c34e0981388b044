"""A knowledge map out of a source: what it is about, what belongs to that, and how these are related."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from aifactory.granulation.offline.concepts import term_key
from aifactory.granulation.offline.digest import Definition
from aifactory.granulation.offline.map_edges import Links, Named
from aifactory.granulation.offline.outline import Chunk, outline
from aifactory.granulation.offline.phrases import is_telling
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, clipped
from aifactory.granulation.offline.telling import Teller, id_of, is_alike, placed
from aifactory.granulation.offline.titles import Titles, fit_title, same_title
from aifactory.granulation.offline.words import stems_of
from aifactory.granulation.tree import Node, Span

_LEAST_BELOW = 2
_SUPPORT = 0.4
_CANDIDATES = 24
_MOST_ALIASES = 4
_ALIAS = re.compile(
    r"(?:\balso (?:called|known as)|\bsometimes called|\bor simply|\bshort for|\babbreviated(?: as| to)?)"
    r" (?:an? |the )?[“\"']?(?P<name>[^\W\d_][\w’'\- ]{1,40}?)[”\"']?(?=[,.;:)]| and | is | are |$)"
)
_SHORT_FORM = re.compile(r"\((?P<name>[A-Z][A-Z0-9-]{1,7})s?\)")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A name that a passage says something about, and where it does."""

    name: str
    stems: tuple[str, ...]
    line: Line


class MapMaker:
    """Makes the nodes of one knowledge map; no concept stands in it twice."""

    def __init__(self, study: Study, per_level: tuple[int, ...], opening: Sequence[Point]) -> None:
        self._study = study
        self._per_level = per_level
        self._titles = Titles(study)
        self._teller = Teller(study)
        self._used: set[tuple[str, ...]] = set()
        self._named: list[Named] = []

    def make(self) -> tuple[tuple[Node, ...], dict[str, Any]]:
        """The concepts, and the fields of the root: their edges."""
        inner = self._per_level[1] if len(self._per_level) > 1 else 1
        plan = [
            part for part, *_ in outline(self._study, most=self._per_level[0], inner=inner, inner_least=1)
        ]
        titles: list[str] = []
        for part in plan:
            titles.append(self._titles.of(part, titles, self._study.digest.title))
        self._used = {key for title in titles if (key := self._key(title))}
        importance = self._importance(plan)
        nodes: list[Node] = []
        for part, title, rank in zip(plan, titles, importance, strict=True):
            node = self._concept(str(len(nodes) + 1), title, part, rank)
            if node is not None:
                nodes.append(node)
        links = Links(self._study, self._named).found()
        cited = self._cited(tuple(nodes), {link.source: link.line for link in links if link.line is not None})
        return cited, {"edges": [link.edge for link in links]}

    def _key(self, name: str) -> tuple[str, ...]:
        return term_key(name, self._study.language)

    def _importance(self, plan: Sequence[Chunk]) -> list[int]:
        """1 for the passages that hold most of the source's keyphrases, 3 for those with least."""
        weights = []
        for part in plan:
            counted = (
                phrase.weight * self._study.mentions.between(phrase.text, part.first, part.last)
                for phrase in self._study.digest.keyphrases
            )
            weights.append(sum(counted))
        order = sorted(range(len(plan)), key=lambda at: (-weights[at], at))
        third = max(1, -(-len(plan) // 3))
        return [1 + order.index(at) // third for at in range(len(plan))]

    def _concept(self, path: str, title: str, part: Chunk, importance: int) -> Node | None:
        """A concept with what belongs to it; None where the passage names too little."""
        depth = len(self._per_level)
        told = set(self._teller.told)
        key = self._key(title)
        lines = self._study.lines[part.first : part.last]
        defined = next(
            (d for d in self._study.defined_between(part.first, part.last) if self._key(d.term) == key), None
        )
        found = self._below(part, key, {defined.sentence} if defined else set())
        definition = self._definition(part, defined, found)
        if definition is None:
            return None
        if depth > 1 and len(found) < min(_LEAST_BELOW, self._per_level[1]):
            self._teller.told = told
            return None
        node_id = id_of(path, title)
        self._named.append(
            Named(id=node_id, name=title, stems=key, first=part.first, last=part.last, above="")
        )
        children = self._subconcepts(path, node_id, part, found) if depth > 1 else ()
        aliases = list(self._aliases(title, key, lines))[:_MOST_ALIASES]
        return placed(
            path,
            "concept",
            title,
            tags=tuple(one.name for one in found[:3]) if depth < 2 else (),
            sources=self._teller.spans([definition], part),
            fields={"definition": clipped(definition.text), "importance": importance}
            | ({"aliases": aliases} if aliases else {}),
            children=children,
        )

    def _definition(self, part: Chunk, defined: Definition | None, found: Sequence[Found]) -> Point | None:
        """The sentence that defines a concept, else the best one that nothing below it needs."""
        if defined is not None:
            return self._teller.tell(self._study.lines[defined.sentence])
        kept = {one.line.index for one in found[: self._per_level[1]]} if len(self._per_level) > 1 else set()
        kept -= self._teller.told
        self._teller.told |= kept
        points = self._teller.summary(part, 1)
        self._teller.told -= kept - {point.line.index for point in points}
        return points[0] if points else None

    def _below(self, part: Chunk, above: tuple[str, ...], taken: set[int]) -> list[Found]:
        """Names that the passage defines or often uses, and says something about in a line not ``taken``."""
        ranked = self._teller.ranked(part)
        found: list[Found] = []
        candidates = list(self._candidates(part))
        # "Value" and "calling" only where nothing better is left.
        candidates.sort(key=lambda pair: pair[1] is None and not is_telling(pair[0], self._study.lexicon))
        for name, line in candidates:
            key = self._key(name)
            if not key or key in self._used or key == above or len(name) < 3:
                continue
            if any(set(key) <= set(other.stems) or set(other.stems) <= set(key) for other in found):
                continue
            said = line if line is not None and line.index not in taken and line.usable else None
            said = said or self._teller.about(key, (one for one in ranked if one.index not in taken))
            if (
                said is not None
                and said.index not in self._teller.told
                and not is_alike(said, [one.line for one in found])
            ):
                taken.add(said.index)
                found.append(Found(name=fit_title(name), stems=key, line=said))
        return found

    def _candidates(self, part: Chunk) -> Iterator[tuple[str, Line | None]]:
        study = self._study
        for definition in study.defined_between(part.first, part.last):
            yield definition.term, study.lines[definition.sentence]
        for phrase in study.book.best(part.first, part.last, limit=_CANDIDATES, boost=study.focus):
            yield phrase.text, None

    def _subconcepts(self, path: str, above: str, part: Chunk, found: list[Found]) -> tuple[Node, ...]:
        room = self._per_level[2] if len(self._per_level) > 2 else 0
        chosen, rest = found[: self._per_level[1]], found[self._per_level[1] :]
        self._used.update(one.stems for one in chosen)
        points = [self._teller.tell(one.line) for one in chosen]
        below = self._details(chosen, rest, room)
        nodes = []
        for at, (one, point) in enumerate(zip(chosen, points, strict=True), 1):
            place = f"{path}.{at}"
            node = self._leaf(place, "subconcept", one, point, above, part)
            details = [
                self._leaf(
                    f"{place}.{number}", "detail", detail, self._teller.tell(detail.line), node.id, part
                )
                for number, detail in enumerate(below[at - 1], 1)
            ]
            nodes.append(msgspec.structs.replace(node, children=tuple(details)))
        return tuple(nodes)

    def _details(self, chosen: Sequence[Found], rest: Sequence[Found], room: int) -> list[list[Found]]:
        """What is left of a passage's names, each below the concept that its line names or is nearest to."""
        below: list[list[Found]] = [[] for _ in chosen]
        for one in rest if room else ():
            free = [at for at in range(len(chosen)) if len(below[at]) < room]
            if not free or one.stems in self._used:
                continue
            at = min(
                free,
                key=lambda at: (
                    not set(chosen[at].stems) <= set(one.line.stems),
                    len(below[at]),
                    abs(chosen[at].line.index - one.line.index),
                ),
            )
            self._used.add(one.stems)
            below[at].append(one)
        return below

    def _leaf(self, path: str, kind: str, one: Found, point: Point, above: str, part: Chunk) -> Node:
        title = one.name[:1].upper() + one.name[1:]
        node_id = id_of(path, title)
        self._named.append(
            Named(id=node_id, name=one.name, stems=one.stems, first=part.first, last=part.last, above=above)
        )
        return placed(
            path,
            kind,
            title,
            sources=self._teller.spans([point]),
            fields={"definition": clipped(point.text)},
        )

    def _aliases(self, title: str, key: tuple[str, ...], lines: Sequence[Line]) -> Iterator[str]:
        """Other names that the lines give where they name the concept."""
        for line in lines:
            if not key or not set(key) <= set(line.stems):
                continue
            for pattern in (_ALIAS, _SHORT_FORM):
                for match in pattern.finditer(line.shown):
                    near = self._key(line.shown[max(0, match.start() - len(title) - 8) : match.start()])
                    if set(key) <= set(near) and not same_title(match["name"], title):
                        yield match["name"].strip()

    def _supports(self, line: Line, node: Node) -> bool:
        """Whether a line speaks of what a node says, and not only of what it names."""
        said = set(stems_of(f"{node.title} {node.fields['definition']}", self._study.language))
        return len(said & set(line.stems)) >= _SUPPORT * max(1, min(len(said), len(set(line.stems))))

    def _cited(self, nodes: tuple[Node, ...], lines: dict[str, Line]) -> tuple[Node, ...]:
        """Nodes with the sentence of an edge that leaves them among their sources."""
        cited = []
        for node in nodes:
            sources = list(node.sources)
            if node.id in lines and self._supports(lines[node.id], node):
                sources.append(self._study.reading.span(lines[node.id]))
            once: dict[int, Span] = {}
            for span in sources:
                once.setdefault(span.start, span)
            children = self._cited(node.children, lines)
            cited.append(msgspec.structs.replace(node, sources=tuple(once.values()), children=children))
        return tuple(cited)
