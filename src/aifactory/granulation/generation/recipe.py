"""How a structure type is divided among model calls, read from its spec: outline, expansions, items. Pure.

The outline fixes what everything else refers to: objectives, the nodes of the first level and, where the
second level is not the smallest, the titles of the second. So every first-level node (a *part*) can then be
written by itself, in parallel with the others, and still fit.
"""

import msgspec

from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import FieldSpec, FieldType, LevelSpec, Presence, StructureSpec

# A node's title follows from this field, where it has one, so it is not asked for.
TITLE_FIELDS = ("item", "front", "claim")
OBJECTIVES_A_PART = 3
KEY_POINTS = 4
ITEMS_A_CHILD = 1


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A spec within counts, with the names of the fields that play a part in generation."""

    spec: StructureSpec
    counts: Counts
    root_objectives: str | None
    part_objectives: str | None
    part_needs: str | None
    part_objective_refs: str | None
    item_list: str | None
    children_are_items: bool
    children_are_titled: bool

    @property
    def parts(self) -> int:
        """How many first-level nodes are asked for."""
        return self.counts.per_level[0]

    @property
    def children(self) -> int:
        """How many second-level nodes a part is asked for."""
        return self.counts.per_level[1] if self.counts.depth > 1 else 0

    @property
    def grandchildren(self) -> int:
        """How many third-level nodes a child is asked for."""
        return self.counts.per_level[2] if self.counts.depth > 2 else 0

    @property
    def has_insides(self) -> bool:
        """Whether a part holds anything that the outline has not fixed."""
        return self.children > 0 or bool(expanded_fields(self.spec.levels[0], self, 0))

    @property
    def objectives_a_part(self) -> int:
        """How many objectives each part is asked for; 0 where parts have none of their own."""
        if self.part_objectives is None:
            return 0
        bounds = self.spec.levels[0].fields[self.part_objectives]
        return _within(OBJECTIVES_A_PART, bounds)

    @property
    def root_objective_count(self) -> int:
        """How many outcomes or objectives the whole is asked for."""
        if self.root_objectives is None:
            return 0
        wanted = self.parts if self.part_objectives else 2 * self.parts
        return _within(wanted, self.spec.root_fields[self.root_objectives])

    def with_counts(self, *per_level: int) -> "Recipe":
        """Return the same recipe for other counts."""
        return recipe_of(self.spec, Counts(per_level=per_level))


def recipe_of(spec: StructureSpec, counts: Counts) -> Recipe:
    """Read from a spec how its trees are divided among calls."""
    first = spec.levels[0]
    second = spec.levels[1] if counts.depth > 1 else None
    return Recipe(
        spec=spec,
        counts=counts,
        root_objectives=_list_of(spec.root_fields, FieldType.OBJECTIVE),
        part_objectives=_list_of(first.fields, FieldType.OBJECTIVE),
        part_needs=_references(first.fields, first.kind),
        part_objective_refs=_references(first.fields, "objective"),
        item_list=_list_of(second.fields, FieldType.ITEM) if second else None,
        children_are_items=second is not None and is_item_level(second),
        children_are_titled=second is not None
        and not title_field(second)
        and (len(spec.levels) > 2 or _is_pointed_at(spec, second.kind)),
    )


def _is_pointed_at(spec: StructureSpec, kind: str) -> bool:
    """Whether a field points at nodes of a kind: then the outline has to name them."""

    def points(field: FieldSpec) -> bool:
        inner = (field.of,) if field.of is not None else tuple(field.fields.values())
        return field.refers_to == kind or any(map(points, inner))

    every = [spec.root_fields, *(level.fields for level in spec.levels)]
    return any(points(field) for fields in every for field in fields.values())


def is_item_level(level: LevelSpec) -> bool:
    """Whether a node of this level is an item and nothing else."""
    return any(field.type is FieldType.ITEM for field in level.fields.values())


def title_field(level: LevelSpec) -> str | None:
    """Return the field that a level's titles follow from."""
    return next((name for name in TITLE_FIELDS if name in level.fields), None)


def asks_summary(level: LevelSpec, *, deepest: bool) -> bool:
    """Whether a model is asked for a summary on this level; the deepest nodes need one to say anything."""
    if is_item_level(level):
        return False
    return level.summary is not Presence.OPTIONAL or (deepest and title_field(level) is None)


def expanded_fields(level: LevelSpec, recipe: Recipe, depth: int) -> dict[str, FieldSpec]:
    """Return the fields of a level that an expansion asks for.

    Left out: what the outline has fixed, items (they have calls of their own), and optional numbers, which
    follow from the rest.
    """
    fixed = {recipe.part_objectives, recipe.part_needs, recipe.part_objective_refs} if depth == 0 else set()
    return {
        name: field
        for name, field in level.fields.items()
        if name not in fixed
        and field.type is not FieldType.ITEM
        and not _holds_items(field)
        and (field.required or field.type not in (FieldType.INTEGER, FieldType.NUMBER))
    }


def _holds_items(field: FieldSpec) -> bool:
    return field.of is not None and field.of.type is FieldType.ITEM


def _list_of(fields: dict[str, FieldSpec], kind: FieldType) -> str | None:
    """Return the name of the field that lists values of a kind."""
    named = (name for name, field in fields.items() if field.of is not None and field.of.type is kind)
    return next(named, None)


def _references(fields: dict[str, FieldSpec], space: str) -> str | None:
    """Return the name of the field that lists references into a space."""
    for name, field in fields.items():
        if field.of is not None and field.of.type is FieldType.REFERENCE and field.of.refers_to == space:
            return name
    return None


def _within(wanted: int, bounds: FieldSpec) -> int:
    low, high = int(bounds.min or 1), int(bounds.max or wanted)
    return max(low, min(wanted, high))
