"""What models are asked of a tree's root, and the keys by which its parts refer to one another. Pure.

The outline settles what points at no node: a goal, a cast, roles. What joins nodes, such as the edges of a
map, is gathered from the parts, each of which knows the keys of the whole outline.
"""

import math

from aifactory.granulation.generation.recipe import Recipe
from aifactory.granulation.specs import FieldSpec, FieldType, StructureSpec, Use

# What follows from the nodes is never asked for.
_DERIVED = ("blueprint", "glossary")
_NUMBERS = (FieldType.INTEGER, FieldType.NUMBER)
ANY_NODE = "node"
# Longer enums cost more of a prompt than far references are worth.
MOST_KEYS = 60
# Objects beside one for each part: a story needs more people than acts.
_MORE_THAN_PARTS = 2
_ROWS_A_NODE = 0.6


def outlined_fields(recipe: Recipe) -> dict[str, FieldSpec]:
    """Return the root's fields that the outline settles."""
    spaces = frozenset(object_keys(recipe))
    return {name: field for name, field in _asked(recipe).items() if can_be_asked(field, spaces)}


def gathered_fields(recipe: Recipe) -> dict[str, FieldSpec]:
    """Return the root's lists whose entries join nodes: each part's answer brings some."""
    taken = {"children", "items", *recipe.spec.levels[0].fields}
    spaces = spaces_with_keys(recipe)
    return {
        name: field
        for name, field in _asked(recipe).items()
        if field.of is not None
        and name not in taken
        and _points_at(field) & _node_spaces(recipe.spec)
        and can_be_asked(field, spaces)
    }


def _asked(recipe: Recipe) -> dict[str, FieldSpec]:
    derived = {recipe.root_objectives, *_DERIVED}
    return {
        name: field
        for name, field in recipe.spec.root_fields.items()
        if name not in derived and (field.required or field.type not in _NUMBERS)
    }


def can_be_asked(field: FieldSpec, spaces: frozenset[str], *, items: bool = False) -> bool:
    """Whether a model can be asked for a field: all that it has to point at has keys, in these spaces."""
    if field.type is FieldType.REFERENCE:
        # What has to come earlier can't be demanded: nothing comes before the first node.
        return field.refers_to in spaces and not (field.required and field.use is Use.ORDER)
    if field.type is FieldType.ITEM:
        return items
    if field.of is not None:
        is_late = field.required and field.of.use is Use.ORDER
        return not is_late and can_be_asked(field.of, spaces, items=items)
    return all(can_be_asked(one, spaces, items=items) for one in field.fields.values() if one.required)


def object_keys(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Return the keys, by space, of what the root is to declare: its roles, its cast."""
    keys: dict[str, tuple[str, ...]] = {}
    for field in _asked(recipe).values():
        space = declared_space(field)
        if space is not None:
            keys[space] = tuple(f"{space}{at}" for at in range(1, rows_asked(field, recipe) + 1))
    return keys


def declared_space(field: FieldSpec) -> str | None:
    """Return the space that the objects of a list are declared in, if that is what the list holds."""
    holds_objects = field.of is not None and field.of.type is FieldType.OBJECT
    return field.of.defines if field.of is not None and holds_objects else None


def rows_asked(field: FieldSpec, recipe: Recipe) -> int:
    """Return how many entries the outline is asked for in a root list of objects."""
    low, high = int(field.min or 1), int(field.max or MOST_KEYS)
    return max(low, min(recipe.parts + _MORE_THAN_PARTS, high, MOST_KEYS))


def rows_a_part(field: FieldSpec, recipe: Recipe) -> int:
    """Return how many entries of a gathered list one part is asked for."""
    nodes = recipe.counts.nodes / recipe.parts
    most = int(field.max or nodes * recipe.parts) // recipe.parts
    return max(1, min(math.ceil(_ROWS_A_NODE * nodes), most))


def spaces_with_keys(recipe: Recipe) -> frozenset[str]:
    """Return the spaces that a part's fields may point into."""
    kinds = {ANY_NODE, recipe.spec.levels[0].kind}
    if recipe.children_are_titled:
        kinds.add(recipe.spec.levels[1].kind)
    if recipe.root_objectives or recipe.part_objectives:
        kinds.add("objective")
    return frozenset(kinds | object_keys(recipe).keys())


def _node_spaces(spec: StructureSpec) -> frozenset[str]:
    return frozenset((ANY_NODE, *(level.kind for level in spec.levels)))


def _points_at(field: FieldSpec) -> frozenset[str]:
    own = frozenset((field.refers_to,)) if field.refers_to else frozenset[str]()
    inner = (field.of,) if field.of is not None else tuple(field.fields.values())
    return own.union(*map(_points_at, inner))
