"""The keys of a plan that one part may refer to, by space. Pure."""

from typing import Any

from aifactory.granulation.generation.plan import Plan, PlannedPart
from aifactory.granulation.generation.recipe import Recipe
from aifactory.granulation.generation.roots import ANY_NODE, MOST_KEYS, declared_space

Keys = dict[str, tuple[str, ...]]


def keys_of_plan(plan: Plan, recipe: Recipe, part: PlannedPart) -> Keys:
    """Return the keys that a part may refer to, by space; those near it where there are too many.

    ``earlier <kind>`` are the keys for what has to come before.
    """
    at = [one.key for one in plan.parts].index(part.key)
    kinds = [level.kind for level in recipe.spec.levels]
    parts = [(index, one.key) for index, one in enumerate(plan.parts)]
    keys = {space: tuple(row["id"] for row in rows) for space, rows in declared_rows(plan, recipe).items()}
    keys[kinds[0]] = _nearest(parts, at)
    keys[f"earlier {kinds[0]}"] = _nearest(parts[:at], at)
    children = [(index, child.key) for index, one in enumerate(plan.parts) for child in one.children]
    if recipe.children_are_titled:
        keys[kinds[1]] = _nearest(children, at)
        keys[f"earlier {kinds[1]}"] = _nearest([one for one in children if one[0] <= at], at)
    both = [*parts, *children]
    keys[ANY_NODE] = _nearest(sorted(both, key=lambda one: one[0]), at)
    return keys


def _nearest(keys: list[tuple[int, str]], at: int) -> tuple[str, ...]:
    near = sorted(range(len(keys)), key=lambda place: abs(keys[place][0] - at))[:MOST_KEYS]
    return tuple(keys[place][1] for place in sorted(near))


def declared_rows(plan: Plan, recipe: Recipe) -> dict[str, list[dict[str, Any]]]:
    """Return what a plan's root declares, by space."""
    return {
        space: plan.fields.get(name, [])
        for name, field in recipe.spec.root_fields.items()
        if (space := declared_space(field)) is not None
    }


def declared_fields(plan: Plan, recipe: Recipe) -> dict[str, list[dict[str, Any]]]:
    """Return what a plan's root declares, by the name of the field."""
    fields = recipe.spec.root_fields
    return {name: rows for name, rows in plan.fields.items() if declared_space(fields[name]) is not None}
