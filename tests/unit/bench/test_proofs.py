"""The measures of the score count right on cases that can be counted by hand."""

import pytest
from bench.granulation.documents import Document
from bench.granulation.separation import auc, dealt_out, outline_of, reordered, tree_of

SAID = "The {} of a loaf depends on flour and water, and a baker sees it on the second day."
WORDS = ("crumb", "crust", "colour", "weight", "height", "smell", "taste", "salt", "sound")


def test_auc_is_the_share_of_pairs_in_which_the_good_one_is_higher() -> None:
    assert auc([2, 3], [1, 1]) == 1
    assert auc([2, 2], [2, 2]) == 0.5
    assert auc([1, 3], [2, 4]) == pytest.approx(1 / 4)


def test_shuffled_outlines_keep_their_headings_and_what_is_dealt_out_its_numbers() -> None:
    parts = [
        f"## Part {part}\n\n"
        + "\n\n".join(f"### On {word}\n\n{SAID.format(word)}" for word in WORDS[3 * part : 3 * part + 3])
        for part in range(3)
    ]
    text = "# Loaves\n\n" + "\n\n".join(parts)
    outline = outline_of(Document(kind="test", path="loaves.md", text=text, format="markdown"))
    assert outline is not None
    first = outline.headings[0].inside
    assert [one.title for one in first] == [f"On {word}" for word in WORDS[:3]]
    for shuffle in (reordered, dealt_out):
        other = shuffle(outline, 1)
        assert [len(part.inside) for part in other.headings] == [3, 3, 3]
        titles = sorted(one.title for part in other.headings for one in part.inside)
        assert titles == sorted(f"On {word}" for word in WORDS)
        assert other != outline
    assert [len(node.children) for node in tree_of(outline).nodes] == [3, 3, 3]
