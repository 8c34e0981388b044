from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from aifactory.granulation.offline.segmentation import cut, snap


def _topics(sizes: list[int], seed: int) -> list[list[str]]:
    """Sentences of ten words: most from the topic's own vocabulary, the rest shared."""
    dice = Random(seed)
    common = [f"common{word}" for word in range(60)]
    units = []
    for topic, size in enumerate(sizes):
        own = [f"topic{topic}word{word}" for word in range(25)]
        units += [
            [dice.choice(own if dice.random() < 0.4 else common) for _ in range(10)] for _ in range(size)
        ]
    return units


def pk(found: list[int], true: list[int], total: int) -> float:
    """Beeferman's Pk: how often a window is judged to lie in one segment when it does not, or the reverse."""
    window = max(1, round(total / (len(true) + 1) / 2))

    def segment(cuts: list[int], at: int) -> int:
        return sum(at >= cut for cut in cuts)

    wrong = [
        (segment(found, at) == segment(found, at + window))
        != (segment(true, at) == segment(true, at + window))
        for at in range(total - window)
    ]
    return sum(wrong) / len(wrong)


def test_the_cut_finds_where_the_vocabulary_changes() -> None:
    errors = []
    for seed in range(10):
        sizes = [Random(seed * 100 + part).randint(6, 12) for part in range(8)]
        true = [sum(sizes[: part + 1]) for part in range(7)]
        errors.append(pk(cut(_topics(sizes, seed), prior=0.7), true, sum(sizes)))
    assert sum(errors) / len(errors) < 0.12


def test_bounds_on_the_number_and_size_of_segments_are_kept() -> None:
    units = _topics([10, 10, 10, 10], 1)
    assert len(cut(units, least=6, most=6)) == 5
    assert len(cut(units, most=2)) <= 1
    bounds = [0, *cut(units, least=8, most=8, fewest=4), 40]
    assert min(high - low for low, high in pairwise(bounds)) >= 4


@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=4), max_size=30),
    st.integers(1, 5),
    st.integers(1, 4),
)
def test_any_cut_is_sorted_and_leaves_no_scrap(units: list[list[str]], most: int, fewest: int) -> None:
    cuts = cut(units, most=most, fewest=fewest)
    assert cuts == sorted(set(cuts))
    assert len(cuts) < most
    if cuts:
        assert min(high - low for low, high in pairwise([0, *cuts, len(units)])) >= fewest


def test_cuts_move_to_a_paragraph_break_beside_them() -> None:
    assert snap([4, 9], frozenset({5, 9}), [1] * 14) == [5, 9]
    assert snap([4], frozenset({7}), [1] * 14) == [4]
