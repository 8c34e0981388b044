"""Decks and documents as JSON and Markdown: nothing lost unsaid, and good to read."""

from typing import Any

import msgspec
import pytest
from tests.unit.granulation.offline.samples import make

from aifactory.granulation.exports import EXPORTS
from aifactory.granulation.exports.as_json import read
from aifactory.granulation.tree import Tree, walk

TREES = {
    "flashcards": make("drinking-water.md", "flashcards", 4, 10)[1],
    "document": make("drinking-water.md", "document", 5, 2, 3)[1],
}


def markdown(tree: Tree) -> str:
    return EXPORTS["markdown"].write(tree).decode()


def lost(tree: Tree) -> set[str]:
    return {loss.field for loss in EXPORTS["markdown"].losses(tree)}


def changed(name: str, **first_leaf: Any) -> Tree:
    plain = msgspec.json.decode(msgspec.json.encode(TREES[name]))
    leaf = plain["nodes"][0]["children"][0]
    leaf = leaf["children"][0] if "children" in leaf else leaf
    fields = first_leaf.pop("fields", {})
    leaf.update(first_leaf)
    leaf["fields"].update(fields)
    return msgspec.convert(plain, Tree)


@pytest.mark.parametrize("name", TREES)
def test_json_loses_nothing(name: str) -> None:
    assert read(EXPORTS["json"].write(TREES[name])) == TREES[name]
    assert EXPORTS["json"].losses(TREES[name]) == []


def test_a_deck_is_a_table_of_fronts_and_backs_for_each_group() -> None:
    text = markdown(TREES["flashcards"])
    assert text.count("| Front | Back |\n| --- | --- |\n") == len(TREES["flashcards"].nodes)
    assert "| Turbidity ⇄ | A measure of how cloudy water is. \\[" in text
    assert (
        "A clear lake may have \\_\\_\\_\\_ NTU, while a river in flood can exceed 500 NTU. | 2 \\[" in text
    )
    assert "*⇄ marks a card that can be asked from either side.*" in text
    for _, node in walk(TREES["flashcards"]):
        assert node.kind == "group" or f"### {node.title}" not in text


def test_every_cell_stays_in_its_column() -> None:
    tree = changed(
        "flashcards",
        fields={"front": "What does `a | b` mean?\nSay it.", "back": "a or b|c", "cardKind": "basic"},
    )
    row = next(line for line in markdown(tree).splitlines() if "Say it" in line)
    assert row.startswith("| What does \\`a \\| b\\` mean? Say it. | a or b\\|c \\[")


def test_a_third_column_shows_the_objectives_that_cards_serve() -> None:
    tree = changed("flashcards", fields={"objectiveIds": ["ob_1"]})
    objective = {"id": "ob_1", "text": "Define the terms of treatment.", "bloom": "remember"}
    tree = msgspec.structs.replace(tree, fields={"objectives": [objective]})
    assert "| Front | Back | Objectives |" in markdown(tree)
    assert "| Define the terms of treatment |" in markdown(tree)


def test_what_a_card_s_row_leaves_out_is_declared() -> None:
    assert {"card.title"} <= lost(TREES["flashcards"])
    assert "card.summary" not in lost(TREES["flashcards"])
    full = changed("flashcards", summary="Of water.", tags=["water"], minutes=1)
    assert {"card.summary", "card.tags", "card.minutes"} <= lost(full)
    assert not any(field.startswith("card.") for field in lost(TREES["document"]))


def test_a_card_with_further_fields_is_shown_whole() -> None:
    tree = changed("flashcards", fields={"mood": "friendly"})
    text = markdown(tree)
    assert "**Mood:** friendly" in text
    assert f"**Front:** {tree.nodes[0].children[0].fields['front']}" in text


def test_a_document_is_headings_with_claims_that_cite_their_passages() -> None:
    text = markdown(TREES["document"])
    assert "## 3 Sedimentation\n" in text
    assert "### 3.2 Sludge\n" in text
    claim = "Sludge is the wet mud that collects on the floor of the basin."
    assert f"\n- {claim} \\[" in text
    assert "#### " not in text
    # The passage of a verbatim claim is named by its opening, not told again.
    assert text.count(claim) == 1
    assert "“Sludge is the wet mud that …” (" in text


def test_a_claim_with_a_title_of_its_own_shows_it_and_everything_else_it_has() -> None:
    tree = changed(
        "document",
        title="Where water comes from",
        summary="Rock is slow.",
        tags=["rock"],
        fields={"claim": "Rock filters water for decades."},
    )
    text = markdown(tree)
    line = next(line for line in text.splitlines() if "Where water comes from" in line)
    assert line.startswith("- **Where water comes from.** Rock filters water for decades. \\[")
    assert line.endswith("Rock is slow. *(rock)*")


def test_the_contents_list_sections_and_subsections_but_no_claims_or_cards() -> None:
    for name, tree in TREES.items():
        contents = markdown(tree).split("## Contents")[1].split("\n## ")[0]
        listed = sum(line.startswith("  - ") for line in contents.splitlines())
        assert listed == (sum(len(node.children) for node in tree.nodes) if name == "document" else 0)
