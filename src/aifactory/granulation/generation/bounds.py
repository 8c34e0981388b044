"""How many tokens a call may read and write, from the request alone. Pure.

Without a provider's tokenizer the length of a text only bounds its tokens: English has more than four
characters a token, code and JSON more than three, other scripts about one.
"""

import math

from aifactory.granulation.generation.recipe import (
    ITEMS_A_CHILD,
    KEY_POINTS,
    Recipe,
    asks_summary,
    expanded_fields,
    is_item_level,
    title_field,
)
from aifactory.granulation.generation.roots import gathered_fields, outlined_fields, rows_a_part, rows_asked
from aifactory.granulation.specs import FieldSpec, FieldType, LevelSpec

ASCII_A_TOKEN = 3
ITEM_TOKENS = 150
OBJECTIVE_TOKENS = 36
SUMMARY_TOKENS = 48
TITLE_TOKENS = 14
SOURCES_TOKENS = 14
# A limit is a fuse: it has to be wide enough that an honest answer never meets it.
LIMIT_OVER_EXPECTED = 1.8
LIMIT_BASE = 300
# Of texts that are names or labels a list has two, of sentences more.
_SHORT, _LONG = 160, 400
_FIELD_TOKENS = {
    FieldType.TEXT: 28,
    FieldType.CHOICE: 8,
    FieldType.REFERENCE: 6,
    FieldType.INTEGER: 5,
    FieldType.NUMBER: 5,
    FieldType.BOOLEAN: 5,
    FieldType.OBJECTIVE: OBJECTIVE_TOKENS,
    FieldType.CONCEPT: 40,
    FieldType.ITEM: ITEM_TOKENS,
}


def tokens_at_most(text: str) -> int:
    """Bound the tokens of a text: three ASCII characters, or one other, for each."""
    ascii_count = sum(1 for character in text if character < "\x80")
    return math.ceil(ascii_count / ASCII_A_TOKEN) + len(text) - ascii_count


def characters_in(tokens: int) -> int:
    """Return how many ASCII characters a bound in tokens leaves room for."""
    return tokens * ASCII_A_TOKEN


def outline_output(recipe: Recipe) -> int:
    """Return the tokens that an outline is expected to have."""
    part = 10 + TITLE_TOKENS + SUMMARY_TOKENS + SOURCES_TOKENS + 8 * bool(recipe.part_needs)
    part += recipe.objectives_a_part * (OBJECTIVE_TOKENS + 6)
    if recipe.children_are_titled:
        part += recipe.children * TITLE_TOKENS
    root = sum(_rows(field, rows_asked(field, recipe)) for field in outlined_fields(recipe).values())
    return 100 + root + recipe.root_objective_count * OBJECTIVE_TOKENS + recipe.parts * part


def _rows(field: FieldSpec, rows: int) -> int:
    """A list of objects has so many; any other value is as long as it would be elsewhere."""
    of = field.of
    return 4 + rows * _field(of) if of is not None and of.type is FieldType.OBJECT else _field(field)


def expansion_output(recipe: Recipe, children: int) -> int:
    """Return the tokens that the expansion of a part with so many children is expected to have."""
    own = sum(_field(field) for field in expanded_fields(recipe.spec.levels[0], recipe, 0).values())
    own += sum(_rows(field, rows_a_part(field, recipe)) for field in gathered_fields(recipe).values())
    if recipe.children_are_items:
        return 30 + own + children * ITEM_TOKENS
    return 30 + own + children * _node(recipe, 1)


def items_output(children: int) -> int:
    """Return the tokens that the items of so many children are expected to have."""
    return 20 + children * (10 + ITEMS_A_CHILD * ITEM_TOKENS)


def output_limit(expected: int, model_limit: int) -> int:
    """Return the fuse for an answer of an expected length."""
    return min(model_limit, math.ceil(expected * LIMIT_OVER_EXPECTED) + LIMIT_BASE)


def _node(recipe: Recipe, depth: int) -> int:
    level = recipe.spec.levels[depth]
    own = sum(_field(field) for field in expanded_fields(level, recipe, depth).values())
    deepest = depth + 1 == recipe.counts.depth
    own += (
        SUMMARY_TOKENS * asks_summary(level, deepest=deepest)
        + SOURCES_TOKENS
        + 5 * ("leafMinutes" in level.rules)
    )
    own += TITLE_TOKENS * _asks_title(level, recipe, depth) + 8
    if depth + 1 < recipe.counts.depth:
        own += recipe.counts.per_level[depth + 1] * _node(recipe, depth + 1)
    return own


def _asks_title(level: LevelSpec, recipe: Recipe, depth: int) -> bool:
    titled = depth == 1 and recipe.children_are_titled
    return not titled and not title_field(level) and not is_item_level(level)


def _field(field: FieldSpec) -> int:
    if field.type is FieldType.LIST:
        assert field.of is not None
        return 4 + list_length(field) * _field(field.of)
    if field.type is FieldType.OBJECT:
        return 4 + sum(_field(inner) for inner in field.fields.values())
    return _FIELD_TOKENS[field.type]


def lists_labels(field: FieldSpec) -> bool:
    """Whether a list holds short texts that a node may do without."""
    is_short = field.of is not None and field.of.defines is None and (field.of.max or _LONG) <= _SHORT
    return is_short and not field.required


def list_length(field: FieldSpec) -> int:
    """Return how many entries a list of an expansion is asked for."""
    assert field.of is not None
    is_prose = field.of.type is FieldType.TEXT and field.of.defines is None
    wanted = KEY_POINTS if is_prose and (field.of.max or _LONG) > _SHORT else 2
    low, high = int(field.min or 0), int(field.max or wanted)
    return max(low, min(wanted, high))
