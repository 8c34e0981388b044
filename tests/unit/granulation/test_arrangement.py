"""What stands in its place is told from what was shuffled: by the source's order, by nesting, by words."""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import pytest
from tests.unit.granulation.offline.samples import DOCUMENTS, digest_of, make
from tests.unit.granulation.trees import course_tree

from aifactory.granulation.index import TreeIndex
from aifactory.granulation.scoring import Score, assess
from aifactory.granulation.scoring.arrangement import Arrangement, above_chance
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Node, Origin, Span, Tree, walk
from aifactory.granulation.validation import validate

Plain = dict[str, Any]
SPEC = builtin_specs()["document"]
TOPICS = {
    "Flour": ("Flour of wheat", "Flour of rye", "How flour is milled", "Storing flour"),
    "Yeast": ("Yeast from a packet", "Yeast in the air", "How yeast rises", "Feeding yeast"),
    "Ovens": ("Ovens with steam", "Ovens of stone", "How ovens heat", "Cleaning ovens"),
}


def outline(*places: tuple[int, ...]) -> Tree:
    """Sections of subsections that cite the source at these places; no place, no citation."""
    sections = tuple(zip(TOPICS.items(), places or ((),) * 3, strict=True))
    return Tree(
        structure_type="document",
        title="Bread",
        summary="What bread is made of.",
        language="en",
        origin=Origin.HUMAN,
        depth=2,
        nodes=tuple(
            node(
                heading,
                f"All about {heading.lower()}.",
                1,
                (),
                tuple(
                    node(title, f"{title} matters to bread.", 2, starts[place : place + 1])
                    for place, title in enumerate(titles[: len(starts) or None])
                ),
            )
            for (heading, titles), starts in sections
        ),
    )


def node(title: str, summary: str, level: int, starts: tuple[int, ...], below: tuple[Node, ...] = ()) -> Node:
    spans = tuple(Span(start=start, end=start + 5, quote="bread") for start in starts)
    kind = SPEC.levels[level - 1].kind
    return Node(
        id=title,
        kind=kind,
        level=level,
        ordinal=1,
        title=title,
        summary=summary,
        sources=spans,
        children=below,
    )


def arranged(tree: Tree, *untrusted: str) -> Arrangement:
    spec = builtin_specs()[tree.structure_type]
    return Arrangement(TreeIndex(tree=tree, spec=spec, counts=None), frozenset(untrusted))


def test_what_chance_gives_is_worth_nothing():
    assert [above_chance(kept, 8) for kept in (8, 6, 4, 0)] == [1, 0.5, 0, 0]


def test_sections_that_follow_the_source_and_hold_together_are_in_place():
    found = arranged(outline((0, 10, 20), (30, 40), (50, 60)))
    assert (found.follows, found.nests, found.place, found.note) == (1, 1, 1, "")


def test_sections_in_another_order_still_nest():
    found = arranged(outline((60, 50), (40, 30), (20, 10, 0)))
    assert (found.follows, found.nests, found.place) == (0, 1, 0)
    assert found.note == ", 0% in place"


def test_children_dealt_round_robin_do_not_nest_though_each_section_follows_the_source():
    found = arranged(outline((0, 30, 60), (10, 40, 70), (20, 50, 80)))
    assert (found.follows, found.nests, found.place) == (1, 0, 0)


def test_one_child_under_a_foreign_heading_costs_some_and_is_named():
    tree = outline((0, 10, 60), (30, 40), (20, 70, 80))
    assert 0 < arranged(tree).nests < 1
    paths = [one.path for one in validate(tree, SPEC) if one.rule == "source_order.scattered"]
    assert paths == ["1.3", "3.1"]


def test_a_false_citation_says_nothing_about_where_its_node_belongs():
    tree = outline((0, 10, 60), (30, 40), (50, 70))
    assert arranged(tree).nests < 1
    assert arranged(tree, "/nodes/0/children/2/sources/0").nests == 1


def test_without_citations_the_words_tell_what_belongs_together():
    tree = outline()
    assert arranged(tree).nests == 1
    assert arranged(dealt(tree, 1)).nests < 0.5


def test_too_few_children_are_no_evidence_of_anything():
    tree = outline()
    few = [msgspec.structs.replace(one, children=one.children[:1]) for one in tree.nodes]
    assert arranged(msgspec.structs.replace(tree, nodes=tuple(few))).place == 1


def test_types_that_owe_their_source_no_order_stand_as_they_stand():
    tree = course_tree()
    assert arranged(msgspec.structs.replace(tree, nodes=tree.nodes[::-1])).place == 1


def plain_of(tree: Tree) -> Plain:
    return msgspec.json.decode(msgspec.json.encode(tree))


def reordered(tree: Tree, seed: int) -> Tree:
    """The sections, and what each holds, in another order."""
    plain, dice = plain_of(tree), random.Random(seed)
    dice.shuffle(plain["nodes"])
    for section in plain["nodes"]:
        dice.shuffle(section["children"])
    return msgspec.convert(plain, Tree)


def dealt(tree: Tree, seed: int) -> Tree:
    """The children of all sections dealt out to them; each section holds as many as before."""
    plain = plain_of(tree)
    deck = [child for section in plain["nodes"] for child in section["children"]]
    random.Random(seed).shuffle(deck)
    for section in plain["nodes"]:
        section["children"] = [deck.pop() for _ in section["children"]]
    return msgspec.convert(plain, Tree)


def without_citations(tree: Tree) -> Tree:
    plain = plain_of(tree)

    def visit(nodes: list[Plain]) -> None:
        for one in nodes:
            one.pop("sources", None)
            visit(one.get("children", []))

    visit(plain["nodes"])
    return msgspec.convert(plain, Tree)


@cache
def scored(name: str, shuffle: Callable[[Tree, int], Tree] | None, *, with_source: bool) -> Score:
    text, tree = make(name, "document", 5, 2, 3)
    tree = shuffle(tree, 7) if shuffle else tree
    if not with_source:
        return assess(tree, SPEC).score
    phrases = [(one.text, one.weight) for one in digest_of(name).keyphrases]
    return assess(tree, SPEC, text=text, keyphrases=phrases).score


@pytest.mark.parametrize("with_source", [True, False])
@pytest.mark.parametrize("shuffle", [reordered, dealt])
def test_every_shuffled_document_scores_below_every_sound_one(shuffle, with_source):
    sound = [scored(name, None, with_source=with_source) for name in DOCUMENTS]
    worse = [scored(name, shuffle, with_source=with_source) for name in DOCUMENTS]
    assert min(one.exact or 0 for one in sound) > max(one.exact or 0 for one in worse)
    assert {one.state for one in (*sound, *worse)} == {"valid"}


def test_dealing_out_what_cites_nothing_is_noticed_by_its_words():
    for name in DOCUMENTS:
        tree = without_citations(make(name, "document", 5, 2, 3)[1])
        values = [assess(one, SPEC).score.sub_scores["alignment"].value for one in (tree, dealt(tree, 7))]
        assert values[0] > values[1]
    assert sum(1 for _ in walk(tree)) > 20
