"""Read a structure type from JSON bytes and refuse it with every reason at once. Pure."""

import math
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib.resources import files

import msgspec

from aifactory.granulation.specs.model import (
    FIELDS_OF_RULES,
    LEVEL_RULES,
    ROOT_FIELDS_OF_RULES,
    SUB_SCORES,
    TREE_RULES,
    FieldSpec,
    FieldType,
    StructureSpec,
)

SCHEMA_VERSION = 1
BUILTIN = (
    "course",
    "quiz",
    "flashcards",
    "document",
    "learning_path",
    "knowledge_map",
    "workflow",
    "novel",
)
# Spaces that exist without a level or a `defines`: concepts are words, terms come from glossaries.
OPEN_SPACES = frozenset({"concept", "term"})
# The space of every node's id, whatever its kind.
ANY_NODE = "node"
MAX_FIELD_DEPTH = 6
# What may stand where a rule reads another type: a whole number is a number, and a text may hold a choice.
_ALSO = {FieldType.NUMBER: FieldType.INTEGER, FieldType.CHOICE: FieldType.TEXT}


class SpecError(ValueError):
    """A structure type that cannot be used; ``problems`` lists every reason with its place."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def load_spec(raw: bytes) -> StructureSpec:
    """Decode and check a spec; raises SpecError with all problems that can be named."""
    try:
        spec = msgspec.json.decode(raw, type=StructureSpec)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SpecError((str(error) or "The document is nested too deeply",)) from error
    problems = tuple(_problems(spec))
    if problems:
        raise SpecError(problems)
    return spec


@cache
def builtin_specs() -> dict[str, StructureSpec]:
    """The types that come with the package, by name."""
    folder = files("aifactory.granulation.specs")
    return {name: load_spec((folder / f"{name}.json").read_bytes()) for name in BUILTIN}


def _problems(spec: StructureSpec) -> Iterator[str]:
    if spec.schema_version != SCHEMA_VERSION:
        yield f"schemaVersion: {spec.schema_version} is not supported, only {SCHEMA_VERSION}"
    kinds = [level.kind for level in spec.levels]
    if len(set(kinds)) != len(kinds):
        yield "levels: two levels have the same kind"
    if ANY_NODE in kinds:
        yield f"levels: no kind can be {ANY_NODE!r}, which means a node of any kind"
    if spec.levels[0].min < 1:
        yield "levels[0]: min 0, but a tree needs at least one node"
    for index, level in enumerate(spec.levels):
        where = f"levels[{index}]"
        if level.min > level.max:
            yield f"{where}: min {level.min} is above max {level.max}"
        yield from _unknown(f"{where}.rules", level.rules, LEVEL_RULES)
        for rule in level.rules:
            yield from _lacking(f"{where}.rules", rule, FIELDS_OF_RULES.get(rule, {}), level.fields, "")
    yield from _unknown("rules", spec.rules, TREE_RULES)
    for rule, wanted in ROOT_FIELDS_OF_RULES.items():
        if spec.has_rule(rule):
            yield from _lacking("rules", rule, wanted, spec.root_fields, " at the root")
    yield from _number_problems(spec)
    spaces = frozenset(kinds) | OPEN_SPACES | frozenset(_defined(spec)) | {ANY_NODE}
    for where, fields in _field_groups(spec):
        for name, field in fields.items():
            yield from _field_problems(f"{where}.{name}", field, spaces, 1)
            yield from _declaring_problems(f"{where}.{name}", field, {ANY_NODE, *kinds})


def _declaring_problems(where: str, field: FieldSpec, taken: Collection[str]) -> Iterator[str]:
    """An object that declares an id has one, in a space of its own."""
    if field.type is FieldType.OBJECT and field.defines:
        name = field.fields.get("id")
        if name is None or name.type is not FieldType.TEXT or not name.required:
            yield f"{where}: an object that defines {field.defines!r} needs a required text field 'id'"
        if field.defines in taken:
            yield f"{where}: defines {field.defines!r}, which is the ids of nodes already"
    if field.of:
        yield from _declaring_problems(f"{where}.of", field.of, taken)
    for key, inner in field.fields.items():
        yield from _declaring_problems(f"{where}.{key}", inner, taken)


def _lacking(
    where: str, rule: str, wanted: dict[str, FieldType], fields: dict[str, FieldSpec], place: str
) -> Iterator[str]:
    """The fields that a rule reads and a type doesn't declare, or not with the type that it reads."""
    for path, kind in wanted.items():
        found = _field_at(fields, path)
        if found is None:
            yield f"{where}: {rule!r} needs the field {path!r}{place}"
        elif found.type not in (kind, _ALSO.get(kind)):
            yield f"{where}: {rule!r} reads {path!r}{place} as {kind}, not as {found.type}"


def _field_at(fields: dict[str, FieldSpec], path: str) -> FieldSpec | None:
    """The field at a dotted path; of a list its entries."""
    name, _, rest = path.partition(".")
    field = fields.get(name)
    if field is not None and field.of is not None:
        field = field.of
    return _field_at(field.fields, rest) if field is not None and rest else field


def _number_problems(spec: StructureSpec) -> Iterator[str]:
    yield from _unknown("weights", spec.weights, SUB_SCORES)
    if any(not 0 <= weight <= 1 for weight in spec.weights.values()):
        yield "weights: each must lie between 0 and 1"
    elif not math.isclose(sum(spec.weights.values()), 1, abs_tol=1e-6):
        yield f"weights: they add up to {sum(spec.weights.values()):g} instead of 1"
    for name, heir in spec.optional_sub_scores.items():
        if name not in spec.weights or heir not in spec.weights or name == heir:
            yield f"optionalSubScores.{name}: both names must be different sub-scores with a weight"
    for name, (low, high) in spec.readability.items():
        if not low <= high:
            yield f"readability.{name}: {low:g} is above {high:g}"
    for name, counts in spec.presets.items():
        if name not in {"1", "2", "3", "4", "5"}:
            yield f"presets.{name}: granularity levels are 1 to 5"
        if not 1 <= len(counts) <= len(spec.levels) or counts[0] < 1 or min(counts) < 0:
            yield f"presets.{name}: wants 1 to {len(spec.levels)} counts, the first at least 1, none negative"
    if spec.leaf_minutes[0] > spec.leaf_minutes[1]:
        yield "leafMinutes: the first is above the second"
    if spec.bands.review > spec.bands.accept:
        yield "bands: review is above accept"


def _unknown(where: str, names: Iterable[str], known: Collection[str]) -> Iterator[str]:
    for name in names:
        if name not in known:
            yield f"{where}: {name!r} is unknown; known are {', '.join(sorted(known))}"


def _field_groups(spec: StructureSpec) -> Iterator[tuple[str, dict[str, FieldSpec]]]:
    yield "rootFields", spec.root_fields
    for index, level in enumerate(spec.levels):
        yield f"levels[{index}].fields", level.fields


def _defined(spec: StructureSpec) -> Iterator[str]:
    def visit(field: FieldSpec) -> Iterator[str]:
        if field.defines:
            yield field.defines
        if field.of:
            yield from visit(field.of)
        for inner in field.fields.values():
            yield from visit(inner)

    for _, fields in _field_groups(spec):
        for field in fields.values():
            yield from visit(field)


def _field_problems(where: str, field: FieldSpec, spaces: frozenset[str], depth: int) -> Iterator[str]:
    if depth > MAX_FIELD_DEPTH:
        yield f"{where}: fields are nested deeper than {MAX_FIELD_DEPTH}"
        return
    if field.min is not None and field.max is not None and field.min > field.max:
        yield f"{where}: min {field.min:g} is above max {field.max:g}"
    if (field.type is FieldType.CHOICE) != bool(field.choices):
        yield f"{where}: choices belong to a choice field, and one needs them"
    if (field.type is FieldType.LIST) != (field.of is not None):
        yield f"{where}: 'of' belongs to a list field, and one needs it"
    if (field.type is FieldType.OBJECT) != bool(field.fields):
        yield f"{where}: 'fields' belong to an object field, and one needs them"
    if field.type is FieldType.REFERENCE and not field.refers_to:
        yield f"{where}: a reference needs refersTo"
    if field.refers_to and field.refers_to not in spaces:
        yield f"{where}: refersTo {field.refers_to!r} is no level's kind and nothing defines it"
    if field.of:
        yield from _field_problems(f"{where}.of", field.of, spaces, depth + 1)
    for name, inner in field.fields.items():
        yield from _field_problems(f"{where}.{name}", inner, spaces, depth + 1)
