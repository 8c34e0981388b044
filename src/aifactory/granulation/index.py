"""One reading of a tree that all checks and sub-scores share. Pure."""

from collections.abc import Sequence
from enum import Enum, auto
from functools import lru_cache
from typing import Any

import msgspec

from aifactory.granulation.item_texts import answer_texts, item_text
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import ANY_NODE, FieldSpec, FieldType, LevelSpec, StructureSpec, Use
from aifactory.granulation.tree import MAX_NODES, Concept, Item, Node, Objective, Tree
from aifactory.granulation.violations import Severity, Violation
from aifactory.granulation.words import content_stems, primary_language, sentences, stems_of, words

ROOT = -1
LARGEST = 1e15
# Fields that any node may carry for a later writer, whatever its type (GRANULATION §1).
HANDOVER_FIELDS = frozenset({"targetWords", "tone", "priority", "estimatedMinutes"})


class Part(Enum):
    """Where in a node a sentence stands; answers are the right answers of an item's node."""

    SUMMARY = auto()
    BODY = auto()
    ANSWER = auto()


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence of a node, cut into lower-case words once for all checks."""

    part: Part
    words: list[str]
    stems: list[str]


def _cut(part: Part, text: str, language: str) -> tuple[Sentence, ...]:
    found = [words(sentence) for sentence in sentences(text)]
    return tuple(Sentence(part=part, words=one, stems=stems_of(one, language)) for one in found)


# A tree is read anew after every edit, and most of its texts are as they were.
_SHORT = 500
_cut_short = lru_cache(maxsize=4_096)(_cut)


class Entry(msgspec.Struct, kw_only=True):
    """A node with its place; ``parent`` is an index into the entries, or ROOT."""

    node: Node
    path: str
    pointer: str
    depth: int
    parent: int
    level: LevelSpec | None
    body: list[str]
    answers: list[str]
    title_words: list[str] = []
    title_stems: list[str] = []
    sentences: list[Sentence] = []
    stems: list[str] = []

    @property
    def summary_stems(self) -> list[str]:
        """The stems of the summary."""
        return [
            stem for sentence in self.sentences if sentence.part is Part.SUMMARY for stem in sentence.stems
        ]

    def cut(self, language: str) -> None:
        """Cut title, summary and body into words and stems; ``stems`` are all of them."""
        self.title_words = words(self.node.title)
        self.title_stems = stems_of(self.title_words, language)
        self.sentences = []
        parts = [(Part.SUMMARY, self.node.summary)]
        parts += [(Part.BODY, text) for text in self.body]
        parts += [(Part.ANSWER, text) for text in self.answers]
        for part, text in parts:
            cut = _cut_short if len(text) <= _SHORT else _cut
            self.sentences += cut(part, text, language)
        self.stems = [*self.title_stems, *(stem for sentence in self.sentences for stem in sentence.stems)]


class PlacedObjective(msgspec.Struct, frozen=True, kw_only=True):
    """An objective (or outcome) and the entry that declares it."""

    objective: Objective
    space: str
    owner: int
    pointer: str


class PlacedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item, the entry that holds it, and the stems of all that it says."""

    item: Item
    owner: int
    pointer: str
    stems: frozenset[str]


class PlacedConcept(msgspec.Struct, frozen=True, kw_only=True):
    """A glossary entry."""

    concept: Concept
    owner: int
    pointer: str


class PlacedObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object that declares an id (``name``) in a space of its own: a role, a character.

    ``label`` is what it is called, empty where it has no name; ``texts`` are all its texts but the id.
    """

    space: str
    name: str
    label: str
    texts: tuple[str, ...]
    owner: int
    pointer: str


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Something an entry points at (``target``) or names (for words: the text itself)."""

    target: str
    space: str
    use: Use | None
    owner: int
    pointer: str


class TreeIndex:
    """A tree taken apart once. Values of the wrong shape are left out and listed in ``violations``."""

    def __init__(self, *, tree: Tree, spec: StructureSpec, counts: Counts | None) -> None:
        self.tree = tree
        self.spec = spec
        self.counts = counts
        self.asked_depth = max(1, min(counts.depth if counts else tree.depth, len(spec.levels)))
        self.language = primary_language(tree.language)
        self.entries: list[Entry] = []
        self.children: dict[int, list[int]] = {ROOT: []}
        self.objectives: list[PlacedObjective] = []
        self.items: list[PlacedItem] = []
        self.concepts: list[PlacedConcept] = []
        self.objects: list[PlacedObject] = []
        self.references: list[Reference] = []
        self.introduced: list[Reference] = []
        self.needed: list[Reference] = []
        self.declared: dict[str, dict[str, str]] = {}
        self.violations: list[Violation] = []
        self._content: dict[int, list[PlacedItem]] = {}
        self._read_fields(ROOT, "", spec.root_fields, tree.fields, [])
        self._read_nodes(ROOT, "", "/nodes", tree.nodes)
        for entry in self.entries:
            entry.cut(self.language)
        self.leaves = [index for index in range(len(self.entries)) if not self.children[index]]

    def violation(self, rule: str, severity: Severity, message: str, owner: int, pointer: str) -> Violation:
        """Make a violation at an entry (or at the root)."""
        entry = self.entries[owner] if owner != ROOT else None
        return Violation(
            path=entry.path if entry else "",
            node_id=entry.node.id if entry else "",
            rule=rule,
            severity=severity,
            message=message,
            pointer=pointer,
        )

    def said(self, owner: int) -> frozenset[str]:
        """The stems of all that a node says; of an item's node, its options and feedback too."""
        own = frozenset(self.entries[owner].stems)
        return own.union(*(placed.stems for placed in self.content_of(owner)))

    def content_of(self, owner: int) -> list[PlacedItem]:
        """The item that a node consists of, if it is one."""
        return self._content.get(owner, [])

    def uses(self, use: Use) -> list[Reference]:
        """The references with one meaning."""
        return [reference for reference in self.references if reference.use is use]

    def minimum(self, depth: int) -> int:
        """The fewest siblings on a level: the type's minimum, or less where fewer were asked for."""
        least = self.spec.levels[depth].min
        return min(least, self.counts.per_level[depth]) if self.counts else least

    def maximum(self, depth: int) -> int:
        """The most siblings on a level: what was asked for, else the type's maximum."""
        return self.counts.per_level[depth] if self.counts else self.spec.levels[depth].max

    def _add(self, rule: str, severity: Severity, message: str, owner: int, pointer: str) -> None:
        self.violations.append(self.violation(rule, severity, message, owner, pointer))

    def _read_nodes(self, parent: int, prefix: str, pointer: str, nodes: Sequence[Node]) -> None:
        depth = self.entries[parent].depth + 1 if parent != ROOT else 0
        level = self.spec.level(depth)
        for position, node in enumerate(nodes):
            if len(self.entries) > MAX_NODES:
                # Enough to refuse the tree; reading on would let a hostile one cost time.
                return
            owner = len(self.entries)
            entry = Entry(
                node=node,
                path=f"{prefix}{position + 1}",
                pointer=f"{pointer}/{position}",
                depth=depth,
                parent=parent,
                level=level,
                body=[],
                answers=[],
            )
            self.entries.append(entry)
            self.children[parent].append(owner)
            self.children[owner] = []
            self._check_place(owner, entry)
            if level is not None and node.kind == level.kind:
                self._declare(level.kind, node.id, owner, f"{entry.pointer}/id")
                # Two nodes with one id are told where the kinds are checked.
                self.declared.setdefault(ANY_NODE, {}).setdefault(node.id, f"{entry.pointer}/id")
                self._read_fields(owner, entry.pointer, level.fields, node.fields, entry.body)
                self._read_nodes(owner, f"{entry.path}.", f"{entry.pointer}/children", node.children)

    def _check_place(self, owner: int, entry: Entry) -> None:
        node, level = entry.node, entry.level
        if level is None:
            deepest = len(self.spec.levels)
            message = f"A {self.spec.type} has {deepest} levels; this node is on level {entry.depth + 1}"
            self._add("schema.depth", Severity.GATE, message, owner, entry.pointer)
        elif node.kind != level.kind:
            message = f"Kind is {node.kind!r}; on this level of a {self.spec.type} it is {level.kind!r}"
            self._add("schema.kind", Severity.GATE, message, owner, f"{entry.pointer}/kind")
        if node.level != entry.depth + 1:
            message = f"By its place the level is {entry.depth + 1}"
            self._add("schema.level", Severity.WARNING, message, owner, f"{entry.pointer}/level")

    def _declare(self, space: str, name: str, owner: int, pointer: str) -> None:
        known = self.declared.setdefault(space, {})
        if not name:
            self._add("ids.blank", Severity.GATE, f"A {space} has an empty id", owner, pointer)
        elif name in known:
            message = f"The {space} id {name!r} is used twice, first at {known[name]}"
            self._add("ids.unique", Severity.GATE, message, owner, pointer)
        else:
            known[name] = pointer

    def _read_fields(
        self,
        owner: int,
        base: str,
        specs: dict[str, FieldSpec],
        values: dict[str, Any],
        body: list[str],
        folder: str = "/fields",
    ) -> None:
        for name, field in specs.items():
            value = values.get(name)
            if value is None:
                if field.required:
                    message = f"The field {name!r} is missing"
                    self._add("schema.required", Severity.GATE, message, owner, f"{base}{folder}/{name}")
            else:
                self._read_value(owner, f"{base}{folder}/{name}", name, field, value, body)
        for name in sorted(values.keys() - specs.keys() - HANDOVER_FIELDS):
            message = f"The field {name!r} is not part of the type"
            self._add("schema.unknown_field", Severity.WARNING, message, owner, f"{base}{folder}/{name}")

    def _read_value(
        self, owner: int, pointer: str, name: str, field: FieldSpec, value: Any, body: list[str]
    ) -> None:
        kind = field.type
        if kind is FieldType.LIST:
            if not isinstance(value, (list, tuple)):
                self._wrong_type(owner, pointer, name, "a list")
                return
            self._check_bounds(owner, pointer, name, field, len(value), "entries")
            assert field.of is not None
            for position, inner in enumerate(value):
                self._read_value(owner, f"{pointer}/{position}", name, field.of, inner, body)
        elif kind is FieldType.OBJECT:
            if isinstance(value, dict):
                self._read_object(owner, pointer, field, value, body)
            else:
                self._wrong_type(owner, pointer, name, "an object")
        elif kind in _STRUCTS:
            self._read_struct(owner, pointer, name, field, value, body)
        elif kind in (FieldType.TEXT, FieldType.CHOICE, FieldType.REFERENCE):
            if isinstance(value, str):
                self._read_text(owner, pointer, name, field, value, body)
            else:
                self._wrong_type(owner, pointer, name, "a text")
        elif not _is_plain(kind, value):
            self._wrong_type(owner, pointer, name, f"of type {kind}")
        elif kind is not FieldType.BOOLEAN:
            self._check_bounds(owner, pointer, name, field, value, "")

    def _read_object(
        self, owner: int, pointer: str, field: FieldSpec, value: dict[str, Any], body: list[str]
    ) -> None:
        """Read an object's fields; where it defines a space, its id is declared there and is no text."""
        if not field.defines:
            self._read_fields(owner, pointer, field.fields, value, body, folder="")
            return
        name = value.get("id")
        if isinstance(name, str):
            self._declare(field.defines, name, owner, f"{pointer}/id")
            texts = tuple(one for key, one in value.items() if key != "id" and isinstance(one, str))
            label = value.get("name")
            self.objects.append(
                PlacedObject(
                    space=field.defines,
                    name=name,
                    label=label if isinstance(label, str) else "",
                    texts=texts,
                    owner=owner,
                    pointer=pointer,
                )
            )
        self._read_fields(owner, pointer, {"id": field.fields["id"]}, {"id": name}, [], folder="")
        rest = {name: own for name, own in field.fields.items() if name != "id"}
        values = {name: own for name, own in value.items() if name != "id"}
        self._read_fields(owner, pointer, rest, values, body, folder="")

    def _read_text(
        self, owner: int, pointer: str, name: str, field: FieldSpec, value: str, body: list[str]
    ) -> None:
        if field.type is FieldType.CHOICE:
            if value not in field.choices:
                message = f"{name} is {value!r}; it must be one of {', '.join(field.choices)}"
                self._add("schema.choice", Severity.GATE, message, owner, pointer)
            return
        if field.type is FieldType.TEXT:
            self._check_bounds(owner, pointer, name, field, len(value.strip()), "characters")
        space = field.defines or field.refers_to
        if space is None:
            body.append(value)
            return
        reference = Reference(target=value, space=space, use=field.use, owner=owner, pointer=pointer)
        if field.type is FieldType.REFERENCE:
            self.references.append(reference)
        elif field.defines:
            self.introduced.append(reference)
        else:
            self.needed.append(reference)

    def _read_struct(
        self, owner: int, pointer: str, name: str, field: FieldSpec, value: Any, body: list[str]
    ) -> None:
        try:
            part = msgspec.convert(value, _STRUCTS[field.type])
        except msgspec.ValidationError as error:
            self._add("schema.type", Severity.GATE, f"{name}: {error}", owner, pointer)
            return
        if isinstance(part, Objective):
            space = field.defines or "objective"
            self._declare(space, part.id, owner, f"{pointer}/id")
            self.objectives.append(PlacedObjective(objective=part, space=space, owner=owner, pointer=pointer))
            for position, target in enumerate(part.outcome_ids):
                where = f"{pointer}/outcomeIds/{position}"
                self.references.append(
                    Reference(target=target, space="outcome", use=None, owner=owner, pointer=where)
                )
        elif isinstance(part, Item):
            self._declare("item", part.id, owner, f"{pointer}/id")
            stems = frozenset(content_stems(item_text(part), self.language))
            placed = PlacedItem(item=part, owner=owner, pointer=pointer, stems=stems)
            self.items.append(placed)
            # A node whose item is required consists of it; a lesson only carries some.
            if field.required:
                self._content.setdefault(owner, []).append(placed)
                body.append(part.stem)
                self.entries[owner].answers += answer_texts(part)
            for position, target in enumerate(part.objective_ids):
                where = f"{pointer}/objectiveIds/{position}"
                self.references.append(
                    Reference(target=target, space="objective", use=Use.ASSESS, owner=owner, pointer=where)
                )
        else:
            self.concepts.append(PlacedConcept(concept=part, owner=owner, pointer=pointer))

    def _check_bounds(
        self, owner: int, pointer: str, name: str, field: FieldSpec, amount: float, unit: str
    ) -> None:
        low, high = field.min, field.max
        if (low is not None and amount < low) or (high is not None and amount > high):
            limits = f"{low:g} to {high:g}" if low is not None and high is not None else ""
            limits = limits or (f"at least {low:g}" if low is not None else f"at most {high:g}")
            message = " ".join(f"{name} has {amount:g} {unit}; allowed: {limits}".split())
            self._add("bounds.field", Severity.ERROR, message, owner, pointer)

    def _wrong_type(self, owner: int, pointer: str, name: str, wanted: str) -> None:
        self._add("schema.type", Severity.GATE, f"{name} must be {wanted}", owner, pointer)


_STRUCTS: dict[FieldType, type[Objective] | type[Concept] | type[Item]] = {
    FieldType.OBJECTIVE: Objective,
    FieldType.CONCEPT: Concept,
    FieldType.ITEM: Item,
}


def texts_of(value: Any) -> list[str]:
    """The texts of a field that is one or a list of them; another shape is told where fields are read."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return [one for one in values if isinstance(one, str)]


def number_of(value: Any) -> int | float | None:
    """A number that can be reckoned with; None for other types and for what no float can hold."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and abs(value) <= LARGEST else None


def _is_plain(kind: FieldType, value: Any) -> bool:
    if kind is FieldType.BOOLEAN:
        return isinstance(value, bool)
    number = number_of(value)
    return number is not None and (kind is not FieldType.INTEGER or isinstance(number, int))
