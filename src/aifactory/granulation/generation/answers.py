"""The types of models' answers, made from a spec at run time: closed, fixed in depth, references as enums.

Lengths stand in the prompt, not in the types: an answer with a title too long is mended, not thrown away.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from aifactory.granulation.generation.recipe import (
    Recipe,
    asks_summary,
    expanded_fields,
    title_field,
)
from aifactory.granulation.generation.roots import gathered_fields, object_keys, outlined_fields
from aifactory.granulation.specs import FieldSpec, FieldType, Use
from aifactory.granulation.tree import Bloom, Difficulty

HINTS = {
    "objective": "one measurable verb first, then what, then a condition ('using the text'); 8-25 words",
    "stem": "a whole question, or a sentence with one ____ for cloze",
    "front": "a question or a term; for cloze a whole sentence with one ____",
    "back": "the answer alone; for cloze the word that is missing",
    "claim": "one whole sentence that states one thing",
    "sources": "labels of the passages that this rests on, such as s12",
    "rationale": "why this option is right or wrong",
    "introduces": "terms that are explained here for the first time",
    "needs": "terms explained earlier that are used here",
    "instructions": "what the learner does, step by step, to the learner",
    "evidence": "what shows the skill: something made or done that can be checked, in the words of the skill",
    "outputs": "a thing that the step leaves behind, 2-6 words",
    "inputs": "an output of an earlier step, in the same words",
    "valueJson": "the new value as JSON text, of the same type as the old one",
}

Keys = dict[str, tuple[str, ...]]
_Fields = list[tuple[str, Any]]


# A text of at most so many characters is told so; for longer ones the system text is enough.
_SHORT = 160
_CHARACTERS_A_WORD = 8


def _text(hint: str = "", most: float | None = None) -> Any:
    if hint in HINTS:
        return Annotated[str, Meta(description=HINTS[hint])]
    if most is None or most > _SHORT:
        return str
    return Annotated[str, Meta(description=f"at most {max(1, int(most) // _CHARACTERS_A_WORD)} words")]


def _struct(name: str, fields: _Fields, **options: Any) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, fields, forbid_unknown_fields=True, **options)


def _enum(values: Sequence[str]) -> Any:
    return Literal[tuple(values)]


def _many(kind: Any) -> Any:
    return list[kind]


_BLOOM = _enum([level.value for level in Bloom])
_DIFFICULTY = _enum([level.value for level in Difficulty])


def _objective_type(name: str, keys: Sequence[str] = (), above: Sequence[str] = ()) -> type[msgspec.Struct]:
    """``keys`` name the objectives where others refer to them; ``above`` are outcomes that they serve."""
    fields: _Fields = [("key", _enum(keys))] if keys else []
    fields += [("text", _text("objective")), ("bloom", _BLOOM)]
    if above:
        fields.append(("outcomeIds", _many(_enum(above))))
    return _struct(name, fields)


def root_keys(recipe: Recipe) -> tuple[str, ...]:
    """Return the keys of the root's outcomes or objectives."""
    return tuple(f"o{position}" for position in range(1, recipe.root_objective_count + 1))


def part_keys(recipe: Recipe) -> tuple[str, ...]:
    """Return the keys of the first-level nodes."""
    return tuple(f"m{position}" for position in range(1, recipe.parts + 1))


def outline_type(recipe: Recipe, *, grounded: bool, given: Sequence[str] = ()) -> type[msgspec.Struct]:
    """The outline of a whole tree; ``grounded``: there are passages to cite.

    ``given`` are the keys of objectives that stand already; then none are asked for.
    """
    parts, roots = part_keys(recipe), tuple(given) or root_keys(recipe)
    node: _Fields = [("key", _enum(parts)), ("title", str), ("summary", str)]
    if recipe.part_objectives:
        node.append((recipe.part_objectives, _many(_objective_type("PartObjective", above=roots))))
    if recipe.part_objective_refs and not recipe.part_objectives and roots:
        node.append((recipe.part_objective_refs, _many(_enum(roots))))
    if recipe.part_needs:
        node.append((recipe.part_needs, _many(_enum(parts))))
    if recipe.children_are_titled:
        node.append(("children", _many(_struct("PlannedChild", [("title", str)]))))
    if grounded:
        node.append(("sources", _many(_text("sources"))))
    fields: _Fields = [("rationale", str), ("title", str), ("summary", str)]
    if recipe.root_objectives and not given:
        fields.append((recipe.root_objectives, _many(_objective_type("RootObjective", roots))))
    fields += _field_types(outlined_fields(recipe), object_keys(recipe))
    return _struct("Outline", [*fields, ("nodes", _many(_struct("PlannedNode", node)))])


def expansion_type(
    recipe: Recipe, *, children: Sequence[str], keys: Keys, grounded: bool, whole: bool
) -> type[msgspec.Struct]:
    """The inside of one part, or of some of its children.

    ``children`` are the keys of titled children; ``keys`` the allowed references by space; ``whole``: the
    part's own fields are wanted too, and what the part adds to the root.
    """
    own = expanded_fields(recipe.spec.levels[0], recipe, 0) | gathered_fields(recipe)
    fields: _Fields = _field_types(own, keys) if whole else []
    if recipe.children_are_items:
        fields.append(("items", _many(item_type(keys, grounded=grounded))))
    elif recipe.children:
        fields.append(("children", _many(_node_type(recipe, 1, children, keys, grounded=grounded))))
    return _struct("Expansion", fields)


def _node_type(
    recipe: Recipe, depth: int, titled: Sequence[str], keys: Keys, *, grounded: bool
) -> type[msgspec.Struct]:
    level = recipe.spec.levels[depth]
    fields: _Fields = [("key", _enum(titled))] if titled else []
    if not titled and not title_field(level):
        fields.append(("title", str))
    if asks_summary(level, deepest=depth + 1 == recipe.counts.depth):
        fields.append(("summary", str))
    if "leafMinutes" in level.rules:
        fields.append(("minutes", int))
    fields += _field_types(expanded_fields(level, recipe, depth), keys)
    if grounded:
        fields.append(("sources", _many(_text("sources"))))
    if depth + 1 < recipe.counts.depth:
        fields.append(("children", _many(_node_type(recipe, depth + 1, (), keys, grounded=grounded))))
    return _struct(level.kind.capitalize(), fields)


def items_of_children_type(keys: Keys, *, children: Sequence[str], grounded: bool) -> type[msgspec.Struct]:
    """Items for each child of a part."""
    child: _Fields = [("key", _enum(children)), ("items", _many(item_type(keys, grounded=grounded)))]
    return _struct("Items", [("children", _many(_struct("ItemsOfChild", child)))])


def item_type(keys: Keys, *, grounded: bool) -> Any:
    """The union of the item kinds that models are asked for; ``match`` and ``essay`` come from people."""
    option = _struct("Option", [("text", str), ("correct", bool), ("rationale", _text("rationale"))])
    shapes: dict[str, _Fields] = {
        "single": [("options", _many(option))],
        "multi": [("options", _many(option))],
        "true_false": [("answer", bool)],
        "short": [("accepted", _many(str))],
        "cloze": [("accepted", _many(str))],
        "numeric": [("value", float), ("tolerance", float), ("unit", str)],
        "order": [("steps", _many(str))],
    }
    common: _Fields = [
        ("stem", _text("stem")),
        ("objectiveIds", _many(_enum(keys["objective"]))),
        ("bloom", _BLOOM),
        ("difficulty", _DIFFICULTY),
        ("feedback", str),
    ]
    if grounded:
        common.append(("sources", _many(_text("sources"))))
    union: Any = None
    for kind, own in shapes.items():
        name = f"{kind.title().replace('_', '')}Item"
        one = _struct(name, [*common, *own], tag_field="kind", tag=kind)
        union = one if union is None else union | one
    return union


def _field_types(fields: dict[str, FieldSpec], keys: Keys) -> _Fields:
    typed: _Fields = []
    for name, field in fields.items():
        kind = _field_type(name, field, keys)
        if kind is None:
            continue
        typed.append((name, kind | None if _may_be_null(field) else kind))
    return typed


def _may_be_null(field: FieldSpec) -> bool:
    """Whether an answer may say nothing: a list can be empty, and an object that points nowhere is wanted."""
    if field.required:
        return False
    if field.type is FieldType.OBJECT:
        return any(_points(one) for one in field.fields.values())
    return field.type in (FieldType.TEXT, FieldType.CHOICE, FieldType.REFERENCE)


def _points(field: FieldSpec) -> bool:
    inner = (field.of,) if field.of is not None else tuple(field.fields.values())
    is_own = field.type is FieldType.REFERENCE and field.refers_to != "objective"
    return is_own or any(map(_points, inner))


def _allowed(field: FieldSpec, keys: Keys) -> tuple[str, ...]:
    """The keys that a reference may name: what comes before has to be earlier."""
    space = field.refers_to or ""
    earlier = keys.get(f"earlier {space}") if field.use is Use.ORDER else None
    return keys.get(space, ()) if earlier is None else earlier


def _field_type(name: str, field: FieldSpec, keys: Keys) -> Any:
    """Return the type of a field, or None for a reference into a space without members."""
    match field.type:
        case FieldType.TEXT | FieldType.CONCEPT:
            if field.type is FieldType.CONCEPT:
                return _struct("Term", [("term", str), ("definition", str)])
            return _text(name, field.max)
        case FieldType.INTEGER:
            return int
        case FieldType.NUMBER:
            return float
        case FieldType.BOOLEAN:
            return bool
        case FieldType.CHOICE:
            return _enum(field.choices)
        case FieldType.OBJECTIVE:
            return _objective_type(f"{name.capitalize()}Objective")
        case FieldType.REFERENCE:
            allowed = _allowed(field, keys)
            return _enum(allowed) if allowed else None
        case FieldType.LIST:
            assert field.of is not None
            inner = _field_type(name, field.of, keys)
            return None if inner is None else _many(inner)
        case FieldType.OBJECT:
            wanted = {
                key: own
                for key, own in field.fields.items()
                if own.required or own.type not in (FieldType.INTEGER, FieldType.NUMBER)
            }
            typed = _field_types(wanted, keys)
            if field.defines in keys:
                # What the root declares is named by the keys that the parts will refer to.
                typed = [("key", _enum(keys[field.defines])), *(one for one in typed if one[0] != "id")]
            return _struct(name.capitalize(), typed)
        case _:
            return None


def patches_type(paths: Sequence[str]) -> type[msgspec.Struct]:
    """New values for the places that a check found wrong."""
    patch = _struct("Patch", [("path", _enum(paths)), ("valueJson", _text("valueJson")), ("reason", str)])
    return _struct("Patches", [("patches", _many(patch))])


def judgement_type(criteria: Sequence[str]) -> type[msgspec.Struct]:
    """A judge's verdict with a grade of 1 to 5 and a reason for each criterion."""
    grade = _struct("Grade", [("key", _enum(criteria)), ("grade", Literal[1, 2, 3, 4, 5]), ("reason", str)])
    return _struct(
        "Judgement",
        [("steps", _many(str)), ("grades", _many(grade)), ("verdict", _enum(["accept", "review", "reject"]))],
    )
