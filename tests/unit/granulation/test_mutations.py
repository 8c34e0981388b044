"""The score notices what is made worse: 16 operators at three strengths (GRANULATION §7, first suite)."""

from collections.abc import Iterator

import pytest
from tests.unit.granulation.mutations import OPERATORS, mutate
from tests.unit.granulation.trees import KEYPHRASES, SOURCE, course_counts, quiz_tree, varied_course

from aifactory.granulation.scoring import Score, score
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Tree

SEEDS = range(4)
# The sub-score that each operator must lower, whatever else falls; None: a gate or several.
LOWERS = {
    "drop_module": "coverage",
    "duplicate_leaf": "nonRedundancy",
    "paraphrase_leaf": "nonRedundancy",
    "swap_order": "order",
    "add_cycle": "graph.cycle",
    "orphan_objective": "alignment",
    "vague_verb": "form",
    "wrong_key": "itemQuality",
    "two_keys": "item.one_key",
    "longest_key": "itemQuality",
    "all_above": "itemQuality",
    "off_topic_leaf": "coverage",
    "empty_summary": "form",
    "skew_sizes": "balance",
    "raise_reading_level": "readability",
    "fake_citation": "grounding",
}


def bases() -> Iterator[Tree]:
    yield from (varied_course(seed) for seed in SEEDS)
    yield from (quiz_tree(sections=sections) for sections in (3, 4))


BASES = tuple(bases())


def scored(tree: Tree, asked_like: Tree) -> Score:
    spec = builtin_specs()[tree.structure_type]
    return score(tree, spec, text=SOURCE, keyphrases=KEYPHRASES, counts=course_counts(asked_like))


SOUND = tuple(scored(base, base) for base in BASES)


def number(result: Score) -> float:
    return -1.0 if result.exact is None else result.exact


def test_every_operator_is_tried():
    assert set(LOWERS) == set(OPERATORS)
    assert len(OPERATORS) == 16


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_the_score_falls_and_falls_further_with_strength(name):
    tried = 0
    for base, sound in zip(BASES, SOUND, strict=True):
        before = number(sound)
        for strength in (1, 2, 3):
            worse = mutate(base, OPERATORS[name], strength, seed=11)
            if worse is None:
                continue
            tried += 1
            result = scored(worse, base)
            assert number(result) < number(sound) - 1e-6, (base.title, strength)
            # A sub-score that is at nought already cannot fall further; the others may move a little.
            assert number(result) <= before + 0.2, (base.title, strength)
            before = number(result)
    assert tried >= 6


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_the_sub_score_or_gate_that_is_meant_notices(name):
    for base, sound in zip(BASES, SOUND, strict=True):
        worse = mutate(base, OPERATORS[name], 1, seed=5)
        if worse is None:
            continue
        result = scored(worse, base)
        if "." in LOWERS[name]:
            assert LOWERS[name] in result.gates_failed
        elif not result.gates_failed:
            part = LOWERS[name]
            assert result.sub_scores[part].value < sound.sub_scores[part].value
