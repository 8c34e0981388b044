"""Ways to make a tree worse, each at a strength of 1 to 3, for testing that the score notices."""

import random
from collections.abc import Callable

import msgspec
from tests.unit.granulation.mutate_items import (
    all_above,
    card_gives_away,
    longest_key,
    orphan_objective,
    two_keys,
    vague_verb,
    wrong_key,
)
from tests.unit.granulation.mutate_nodes import (
    drop_module,
    duplicate_leaf,
    empty_summary,
    fake_citation,
    off_topic_leaf,
    paraphrase_leaf,
    raise_reading_level,
    skew_sizes,
)
from tests.unit.granulation.mutate_own import (
    add_cycle,
    cut_edge,
    falling_skill,
    hollow_evidence,
    hollow_heading,
    open_thread,
    swap_order,
    unreachable_step,
)
from tests.unit.granulation.plain_trees import Plain

from aifactory.granulation.scoring import Score
from aifactory.granulation.tree import Tree

# Returns False where the operator does not apply to the tree.
Operator = Callable[[Plain, int, random.Random], bool]

# With the sub-scores of which each must lower one, or the gate that it must fail.
_NAMED: tuple[tuple[Operator, str], ...] = (
    (drop_module, "coverage"),
    (duplicate_leaf, "nonRedundancy"),
    (paraphrase_leaf, "nonRedundancy"),
    (swap_order, "order"),
    (add_cycle, "graph.cycle"),
    (orphan_objective, "alignment"),
    (vague_verb, "form"),
    (wrong_key, "itemQuality"),
    (two_keys, "item.one_key"),
    (longest_key, "itemQuality"),
    (all_above, "itemQuality"),
    (off_topic_leaf, "coverage grounding"),
    (empty_summary, "form"),
    (skew_sizes, "balance"),
    (raise_reading_level, "readability"),
    (fake_citation, "grounding"),
    # These are of one type each.
    (card_gives_away, "itemQuality"),
    (hollow_heading, "alignment"),
    (hollow_evidence, "alignment"),
    (falling_skill, "form"),
    (cut_edge, "alignment"),
    (unreachable_step, "order"),
    (open_thread, "alignment order"),
)
OPERATORS: dict[str, Operator] = {operator.__name__: operator for operator, _ in _NAMED}
NAMED: dict[str, tuple[str, ...]] = {operator.__name__: tuple(parts.split()) for operator, parts in _NAMED}


def mutate(tree: Tree, operator: Operator, strength: int, seed: int) -> Tree | None:
    """The tree made worse, or None where the operator does not apply."""
    plain = msgspec.json.decode(msgspec.json.encode(tree))
    if not operator(plain, strength, random.Random(seed)):
        return None
    return msgspec.convert(plain, Tree)


def is_measured(name: str, sound: Score) -> bool:
    """Whether the score of a sound tree has a sub-score that an operator is named for; gates all have."""
    return any("." in part or part in sound.sub_scores for part in NAMED[name])
