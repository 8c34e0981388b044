import msgspec
import pytest

from aifactory.granulation.sizes import Counts, SizeError, resolve_counts
from aifactory.granulation.specs import builtin_specs

COURSE, QUIZ = builtin_specs()["course"], builtin_specs()["quiz"]


@pytest.mark.parametrize(
    ("level", "expected", "nodes"),
    [
        (None, (6, 3, 2), 60),
        (1, (3, 2), 9),
        (2, (4, 3, 1), 28),
        (3, (6, 3, 2), 60),
        (4, (8, 4, 2), 104),
        (5, (12, 5, 3), 252),
    ],
)
def test_granularity_gives_the_counts_of_a_course(level, expected, nodes):
    counts = resolve_counts(COURSE, granularity_level=level)
    assert (counts.per_level, counts.nodes) == (expected, nodes)


def test_a_quiz_has_two_levels_whatever_depth_is_asked():
    assert resolve_counts(QUIZ, granularity_level=5, depth=3).per_level == (8, 10)


def test_presets_keep_their_old_names():
    assert COURSE.presets["1"] == (3, 2, 0)
    assert QUIZ.presets["5"] == (8, 10)


def test_a_preset_of_nought_is_filled_with_the_level_minimum_when_depth_asks_for_it():
    assert resolve_counts(COURSE, granularity_level=1, depth=3).per_level == (3, 2, 1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size": [5, 4, 3]}, (5, 4, 3)),
        ({"size": [5, 4]}, (5, 4)),
        ({"size": [5, 4, 0]}, (5, 4)),
        ({"size": [5, 4], "depth": 3}, (5, 4, 2)),
        ({"size": [5, 4, 3], "depth": 1}, (5,)),
        ({"size": [9, 2, 2], "max_modules": 4}, (4, 2, 2)),
        ({"granularity_level": 5, "max_modules": 2}, (2, 5, 3)),
        ({"granularity_level": 5, "max_modules": 99}, (12, 5, 3)),
        ({"granularity_level": 5, "depth": 2}, (12, 5)),
        ({"granularity_level": 5, "depth": 9}, (12, 5, 3)),
        ({"size": [30, 6, 5]}, (30, 6, 5)),
    ],
)
def test_size_replaces_then_constraints_cap_then_depth_cuts(settings, expected):
    assert resolve_counts(COURSE, **settings).per_level == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"granularity_level": 0}, "granularityLevel: 0"),
        ({"granularity_level": 6}, "granularityLevel: 6"),
        ({"size": []}, "size.perLevel"),
        ({"size": [1, 2, 3, 4]}, "size.perLevel"),
        ({"size": [0, 2]}, "size.perLevel[0]"),
        ({"size": [3, -1]}, "size.perLevel[1]"),
        ({"size": [3, 10**9]}, "size.perLevel[1]"),
        ({"max_modules": 0}, "constraints.maxModules"),
        ({"depth": 0}, "depth: 0"),
        ({"size": [20, 10, 10]}, "20 × 10 × 10 makes 2,220 nodes; a tree has at most 1,500"),
    ],
)
def test_a_size_that_cannot_be_made_is_named(settings, words):
    with pytest.raises(SizeError) as refusal:
        resolve_counts(COURSE, **settings)
    assert words in str(refusal.value)


def test_a_cap_that_brings_the_tree_below_the_limit_is_applied_first():
    assert resolve_counts(COURSE, size=[20, 10, 10], max_modules=10).nodes == 1110


def test_a_type_without_presets_gets_its_minima():
    bare = msgspec.structs.replace(COURSE, presets={})
    assert resolve_counts(bare) == Counts(per_level=(3, 2, 1))
