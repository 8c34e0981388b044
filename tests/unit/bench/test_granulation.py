"""The bench of granulation: its measures are right on cases that can be counted by hand."""

import pytest
from bench.granulation.figures import Figure, Measure
from bench.granulation.headings import soft_recall, without
from bench.granulation.report import BEGIN, END, Result, as_markdown, placed
from bench.granulation.segments import pk

from aifactory.granulation.offline.source import read_source


def test_pk_is_nothing_for_the_true_borders_and_counts_windows_that_differ() -> None:
    assert pk([4, 8], [4, 8], 12) == 0
    # Each border is missed by the two windows that reach over it.
    assert pk([], [4, 8], 12) == 4 / 10


def test_soft_recall_is_all_for_the_same_titles_and_nothing_for_strangers() -> None:
    one, other = frozenset({"flour", "water"}), frozenset({"oven"})
    assert soft_recall([one, other], [other, one]) == pytest.approx(1)
    assert soft_recall([one], [other]) == pytest.approx(0)
    assert 0 < soft_recall([one, other], [frozenset({"flour", "salt"})]) < 0.5
    assert soft_recall([], [one]) == soft_recall([one], []) == 0


def test_headings_are_taken_out_with_their_marks_and_the_text_stays() -> None:
    said = "A loaf rises because gas is held by the net of gluten in the dough. " * 12
    text = f"# Flour\n\n{said}\n\nWater\n=====\n\n{said}\n\n## Salt\n\n{said}"
    bare = without(text, read_source(text, format="markdown", name="x.md").sections)
    assert bare.split() == (said * 3).split()


def test_a_report_names_its_misses_first_and_replaces_the_last_one() -> None:
    figures = (
        Figure(what="time", value=12, unit="ms", aim=10),
        Figure(what="recall", value=90, unit="%", aim=90, least=True),
        Figure(what="documents", value=3, unit=""),
    )
    measure = Measure(name="m", title="Title", settings={"texts": "three"}, figures=figures)
    result = Result(at="now", quick=True, machine={}, seconds={"m": 1.0}, measures=(measure,))
    text = as_markdown(result)
    assert "1 of 2 targets met. Missed:" in text
    assert text.index("| time | 12 ms | ≤ 10 ms |") < text.index("### Title")
    assert "a quick run" in text
    once = placed(f"# A\n\n{BEGIN}\nold\n{END}\nend\n", text)
    assert placed(once, text) == once
    assert "old" not in once
    with pytest.raises(ValueError, match="marks"):
        placed("# A", text)
