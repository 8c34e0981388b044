"""The fields of a node of any type, filled from a source: by type, by name, and by what they refer to."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from aifactory.granulation.item_rules import check_item
from aifactory.granulation.offline.activities import minutes_for
from aifactory.granulation.offline.commands import actor_in, read_command
from aifactory.granulation.offline.glossary import Terms
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.items import Draft, drafts_of
from aifactory.granulation.offline.objectives import aims_of
from aifactory.granulation.offline.outline import Chunk
from aifactory.granulation.offline.reading import Line
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point
from aifactory.granulation.offline.telling import Teller, id_of
from aifactory.granulation.specs import FieldSpec, FieldType, LevelSpec, StructureSpec, Use

_ANYWHERE = "node"
_MOST_LISTED = 3
_MOST_NAMES = 12
_MOST_JOINED = 40
_MISSING = object()
_BY_NAME: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (re.compile(name, re.IGNORECASE), re.compile(cue, re.IGNORECASE))
    for name, cue in (
        (r"example|instance|case", r"\b(?:for example|for instance|such as)\b"),
        (r"reason|why|rationale|because", r"\b(?:because|so that|therefore|as a result)\b"),
        (r"definition|meaning", r"\b(?:is|are) (?:an?|the)\b|\bmeans\b|\brefers to\b"),
        (
            r"criteri|condition|check|rule|require",
            r"\b(?:must|should|at least|at most|no more than|until|only if)\b",
        ),
        (r"risk|warning|caution|pitfall|danger", r"\b(?:never|avoid|not|danger|risk|careful|too)\b"),
        (r"figure|number|amount|value|measure", r"\d"),
    )
)
_TITLES = re.compile(r"^(?:title|name|label|term|heading|headline|topic|subject)$", re.IGNORECASE)
_ACTIONS = re.compile(r"instruction|action|task|step|todo|howTo", re.IGNORECASE)
_PEOPLE = re.compile(r"owner|author|responsible|assignee|approver|actor|speaker|who", re.IGNORECASE)
_ASKING = re.compile(r"question|prompt|^front$", re.IGNORECASE)
_SPAN_OF_TIME = re.compile(r"minute|duration|time", re.IGNORECASE)
_NOBODY = "Owner"


class Unfilled(ValueError):
    """A required field that nothing in a source can fill; the message is for the user."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A node before its fields are filled; ``point`` is the line that a leaf consists of."""

    path: str
    kind: str
    title: str
    chunk: Chunk
    point: Point | None = None
    below: tuple["Place", ...] = ()

    @property
    def id(self) -> str:
        """The id of its node."""
        return id_of(self.path, self.title)


class Fields:
    """Fills fields; knows all nodes of the tree, and the ids and terms that fields have declared so far."""

    def __init__(self, study: Study, spec: StructureSpec, teller: Teller, places: Sequence[Place]) -> None:
        self._study = study
        self._spec = spec
        self._teller = teller
        self._places = list(places)
        self._terms = Terms(study)
        self._declared: dict[str, list[str]] = {}
        self._root = Place(
            path="0", kind="", title=study.digest.title, chunk=Chunk(study.digest.title, 0, len(study.lines))
        )
        self._missing: dict[str, FieldSpec] = dict(spec.root_fields)
        self._said: set[tuple[str, str]] = set()
        self._owner: dict[str, str] = {}
        self._fresh: list[str] = []

    def of_root(self, *, again: bool = False) -> dict[str, Any]:
        """The fields of the root that can be filled now; ``again``, after the nodes, the rest of them.

        Raises Unfilled where a required one can't be filled then either.
        """
        values: dict[str, Any] = {}
        for name, field in list(self._missing.items()):
            is_glossary = field.of is not None and field.of.type is FieldType.CONCEPT
            if is_glossary and not again:
                continue
            value = self._value(name, field, self._root, 0)
            if value is _MISSING and field.required and again:
                raise self._unfilled(name, field, "the root")
            if value is not _MISSING:
                values[name] = value
                del self._missing[name]
        return values

    def of_node(self, place: Place, level: LevelSpec) -> dict[str, Any]:
        """The fields of a node. Raises Unfilled."""
        values: dict[str, Any] = {}
        for name, field in level.fields.items():
            value = self._value(name, field, place, 0)
            if value is not _MISSING:
                values[name] = value
            elif field.required:
                raise self._unfilled(name, field, f"each {level.title.lower()}")
        return values

    def _unfilled(self, name: str, field: FieldSpec, where: str) -> Unfilled:
        kind = field.of.type if field.of is not None else field.type
        return Unfilled(
            f"The type {self._spec.type} requires {name!r} ({kind}) for {where}, which can't be taken from "
            "this source without a model. Use a mode with a model, or make the field optional."
        )

    def _value(self, name: str, field: FieldSpec, place: Place, at: int) -> Any:
        """A field's value, the ``at``-th where it is an entry of a list; _MISSING if there is none."""
        match field.type:
            case FieldType.TEXT:
                return self._text(name, field, place, at)
            case FieldType.LIST:
                return self._list(name, field, place)
            case FieldType.OBJECT:
                return self._object(field, place, at)
            case FieldType.REFERENCE:
                return self._reference(field, place, at)
            case FieldType.CHOICE:
                return self._choice(field, place) if field.required else _MISSING
            case FieldType.BOOLEAN:
                return False if field.required else _MISSING
            case FieldType.INTEGER | FieldType.NUMBER:
                return self._number(name, field, place) if field.required else _MISSING
        return self._struct(field, place, at)

    def _text(self, name: str, field: FieldSpec, place: Place, at: int) -> Any:
        if field.defines or field.refers_to:
            return self._term(field, place, at)
        low, high = int(field.min or 1), int(field.max or 10_000)
        fitting = []
        for text in self._wordings(name, field, place):
            if low <= len(text.strip()) <= high:
                if (place.path, text) not in self._said:
                    self._said.add((place.path, text))
                    return text
                fitting.append(text)
        if not field.required or at:
            return _MISSING
        # Two fields that say the same are better than none.
        return fitting[0] if fitting else self._stretched(place, low, high)

    def _stretched(self, place: Place, low: int, high: int) -> Any:
        """As many sentences as a long text needs, cut where it ends; _MISSING if there are too few."""
        text = ""
        for line in self._lines(place)[:_MOST_JOINED]:
            text = f"{text} {line.told}".strip()
            if len(text) >= low:
                break
        if len(text) > high:
            text = text[: high - 1].rsplit(" ", 1)[0][: high - 1] + "…"
        return text if len(text) >= low else _MISSING

    def _wordings(self, name: str, field: FieldSpec, place: Place) -> Iterator[str]:
        """Texts that could stand under a name, best first; optional ones only where the source has them."""
        lines = self._lines(place)
        if _TITLES.search(name):
            best = self._study.book.best(place.chunk.first, place.chunk.last, limit=_MOST_NAMES)
            yield from (place.title, *(phrase.text[:1].upper() + phrase.text[1:] for phrase in best))
        if _PEOPLE.search(name):
            yield from (actor[:1].upper() + actor[1:] for line in lines if (actor := actor_in(line)))
            if field.required:
                yield _NOBODY
        if _ACTIONS.search(name):
            yield from (one.text for line in lines if (one := read_command(line)) is not None)
        if _ASKING.search(name):
            yield f"What does the source say about “{place.title.rstrip('…')}”?"
        for wanted, cue in _BY_NAME:
            if wanted.search(name):
                yield from (line.told for line in lines if cue.search(line.told))
        if field.required:
            if place.point:
                yield place.point.text
            fresh = [line for line in lines if line.index not in self._teller.told]
            yield from (self._teller.tell(line).text for line in fresh)
            yield from (line.told for line in lines)
            yield place.title

    def _lines(self, place: Place) -> list[Line]:
        """Lines that can be quoted for a node: those of its passage; of a leaf its own."""
        inside = self._study.lines[place.chunk.first : place.chunk.last]
        return [line for line in inside if line.usable] or [line for line in inside if line.kind != "l"]

    def _term(self, field: FieldSpec, place: Place, at: int) -> Any:
        """A term that is introduced here, or one of earlier that is used here."""
        first, last = place.chunk.first, place.chunk.last
        if field.defines:
            fresh = self._terms.introduce(first, last, place.id) if at == 0 else []
            self._fresh = fresh if at == 0 else self._fresh
            return self._fresh[at] if at < len(self._fresh) else _MISSING
        needs = [term for term, _ in self._terms.needs(first, last) if self._terms.owners[term] != place.id]
        return needs[at] if at < len(needs) else _MISSING

    def _list(self, name: str, field: FieldSpec, place: Place) -> Any:
        assert field.of is not None
        least = int(field.min or (1 if field.required else 0))
        most = int(field.max or max(least, 300))
        if field.of.type is FieldType.CONCEPT:
            found = [msgspec.to_builtins(one) for one in self._terms.glossary()][:most]
            return found if len(found) >= least and (found or field.required) else _MISSING
        is_term = bool(field.of.type is FieldType.TEXT and (field.of.defines or field.of.refers_to))
        wanted = min(most, max(least, _MOST_LISTED if field.required else (4 if is_term else 1)))
        entry = (
            field.of
            if is_term or field.of.required
            else msgspec.structs.replace(field.of, required=field.required)
        )
        values: list[Any] = []
        for at in range(wanted):
            value = self._value(name, entry, place, at)
            if value is _MISSING:
                break
            if value not in values:
                values.append(value)
        return values if len(values) >= least and (values or field.required) else _MISSING

    def _object(self, field: FieldSpec, place: Place, at: int) -> Any:
        values: dict[str, Any] = {}
        for name, inner in field.fields.items():
            if field.defines and name == "id":
                values[name] = "o_" + short_hash(place.path, field.defines, str(at))
                continue
            value = self._value(name, inner, place, at)
            if value is not _MISSING:
                values[name] = value
            elif inner.required:
                return _MISSING
        if field.defines and "id" in values:
            self._declare(field.defines, values["id"])
        return values if values and (field.required or field.defines or _is_told(field, values)) else _MISSING

    def _reference(self, field: FieldSpec, place: Place, at: int) -> Any:
        """An id of the space: what stands above, then what stands before, then what is declared, in turns."""
        space = field.refers_to or ""
        candidates = self._ids(space, place)
        if field.use is Use.ORDER:
            candidates = candidates[:1]
        elif not field.required:
            candidates = [] if space not in self._declared else candidates[:1]
        return candidates[at] if at < len(candidates) else _MISSING

    def _ids(self, space: str, place: Place) -> list[str]:
        declared = self._declared.get(space, [])
        if declared:
            own = [one for one in declared if f"{place.path}.".startswith(self._owner.get(one, "-"))]
            # Of what the root declares, each part serves another one first.
            turn = (int(place.path.partition(".")[0]) - 1) % len(declared)
            return own or [*declared[turn:], *declared[:turn]]
        before: list[str] = []
        after: list[str] = []
        for other in self._places:
            if other.path == place.path:
                before, after = after, []
            elif space in (_ANYWHERE, other.kind):
                after.append(other.id)
        if place is self._root:
            return after
        # What stands nearest in front: within the same parent if there is something.
        return [*reversed(before)]

    def _choice(self, field: FieldSpec, place: Place) -> str:
        """The first choice that the passage names, else the first."""
        said = " ".join(line.shown.lower() for line in self._lines(place)[:40])
        return next(
            (one for one in field.choices if re.search(rf"\b{re.escape(one.lower())}\b", said)),
            field.choices[0],
        )

    def _number(self, name: str, field: FieldSpec, place: Place) -> int | float:
        value: float = int(place.path.rpartition(".")[2]) if field.max is None else 1
        if _SPAN_OF_TIME.search(name):
            value = minutes_for(self._study.reading.words_between(place.chunk.first, place.chunk.last))
        low = field.min if field.min is not None else value
        high = field.max if field.max is not None else max(low, value)
        value = max(low, min(high, value))
        return int(value) if field.type is FieldType.INTEGER or value == int(value) else value

    def _declare(self, space: str, name: str, owner: str = "") -> None:
        self._declared.setdefault(space, []).append(name)
        if owner:
            self._owner[name] = owner

    def _struct(self, field: FieldSpec, place: Place, at: int) -> Any:
        if field.type is FieldType.OBJECTIVE:
            return self._objective(field, place, at)
        if field.type is FieldType.ITEM:
            return self._item(place, at)
        found = self._terms.glossary()
        return msgspec.to_builtins(found[at]) if at < len(found) else _MISSING

    def _objective(self, field: FieldSpec, place: Place, at: int) -> Any:
        if place is self._root:
            tops = [one for one in self._places if "." not in one.path]
            aims = [aims_of(self._study, one.chunk, one.title)[0] for one in tops[: at + 1]]
        else:
            aims = aims_of(self._study, place.chunk, place.title)
        if at >= len(aims):
            return _MISSING
        name = "ob_" + short_hash(place.path, aims[at].text)
        self._declare(field.defines or "objective", name, "" if place is self._root else f"{place.path}.")
        return {"id": name, "text": aims[at].text, "bloom": str(aims[at].bloom)}

    def _item(self, place: Place, at: int) -> Any:
        """An item that no rule objects to, for an objective of the tree if it has some."""
        sound = sound_drafts(self._study, place.chunk)
        if at >= len(sound):
            return _MISSING
        objectives = self._ids("objective", place) if "objective" in self._declared else []
        item = sound[at].as_item((objectives or [""])[0], sound[at].bloom, place.path)
        plain: dict[str, Any] = msgspec.to_builtins(item)
        return plain if objectives else plain | {"objectiveIds": []}


def sound_drafts(study: Study, chunk: Chunk) -> list[Draft]:
    """The items that a passage supports and no rule objects to."""
    drafts = drafts_of(study, chunk.first, chunk.last)
    return [one for one in drafts if not check_item(one.as_item("o", one.bloom, ""), study.language)]


def _is_told(field: FieldSpec, values: dict[str, Any]) -> bool:
    """Whether an optional object holds more than what it had to."""
    return any(name in values and not inner.required for name, inner in field.fields.items())
