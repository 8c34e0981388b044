"""Coverage without a source: what a tree is held to when nobody gave keyphrases."""

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import pytest
from tests.unit.granulation.generation.paper import Paper
from tests.unit.granulation.trees import course_tree, quiz_tree

from aifactory.granulation.objective_rules import subject_of
from aifactory.granulation.scoring import Score, score
from aifactory.granulation.specs import StructureSpec, builtin_specs
from aifactory.granulation.tree import Tree, walk

Plain = dict[str, Any]
SPECS = builtin_specs()
TERMS = [{"term": "Common tools", "definition": "x"}, {"term": "Nothing here", "definition": "x"}]


@cache
def on_paper(structure_type: str) -> Tree:
    return Paper(structure_type, {"topic": "Safe water at home", "granularityLevel": 2}).run()[0]


def changed(tree: Tree, change: Callable[[Plain], Any]) -> Tree:
    plain = msgspec.json.decode(msgspec.json.encode(tree))
    change(plain)
    return msgspec.convert(plain, Tree)


def scored(tree: Tree, spec: StructureSpec | None = None) -> Score:
    return score(tree, spec or SPECS[tree.structure_type])


def explained(tree: Tree, glossary: list[Plain]) -> Tree:
    """With a glossary of these and of all that the nodes introduce: an incomplete one costs form."""
    named = {term for _, node in walk(tree) for term in node.fields.get("introduces", ())}
    entries = [*glossary, *({"term": term, "definition": "x"} for term in sorted(named))]
    return changed(tree, lambda plain: plain.setdefault("fields", {}).update(glossary=entries))


def exact(tree: Tree) -> float:
    return scored(tree).exact or 0.0


def test_a_document_with_nothing_to_cover_is_scored_by_the_rest() -> None:
    result = scored(on_paper("document"))
    parts = result.sub_scores
    assert "coverage" not in parts
    assert "nothing to cover" in result.checks_skipped["coverage"]
    assert sum(part.weight for part in parts.values()) == pytest.approx(1, abs=1e-5)
    assert parts["readability"].weight == pytest.approx(0.18 / 0.70, abs=1e-6)
    assert (result.exact or 0) > 75


@pytest.mark.parametrize("structure_type", SPECS)
def test_an_empty_tree_scores_nothing_without_keyphrases_too(structure_type: str) -> None:
    empty = msgspec.structs.replace(on_paper(structure_type), nodes=())
    assert scored(empty).score == 0


@pytest.mark.parametrize("structure_type", SPECS)
@pytest.mark.parametrize("glossary", [[], TERMS[:1], TERMS, TERMS[1:]], ids=["none", "met", "half", "unmet"])
@pytest.mark.parametrize(
    "dropped", [("outcomes", "objectives"), ("glossary",), ("outcomes", "objectives", "glossary")]
)
@pytest.mark.parametrize("emptied", [True, False])
def test_dropping_promises_never_pays(
    structure_type: str, glossary: list[Plain], dropped: tuple[str, ...], emptied: bool
) -> None:
    def drop(plain: Plain) -> None:
        for name in dropped:
            if name in plain.get("fields", {}):
                plain["fields"][name] = []
                if not emptied:
                    del plain["fields"][name]

    before = explained(on_paper(structure_type), glossary)
    assert exact(changed(before, drop)) <= exact(before) + 1e-9


@pytest.mark.parametrize("tree", [course_tree(), quiz_tree()], ids=["course", "quiz"])
def test_a_type_that_asks_for_outcomes_keeps_coverage_when_there_are_none(tree: Tree) -> None:
    def drop(plain: Plain) -> None:
        for name in ("outcomes", "objectives"):
            if name in plain.get("fields", {}):
                plain["fields"][name] = []
        plain["fields"]["glossary"] = TERMS[:1]

    part = scored(changed(tree, drop)).sub_scores["coverage"]
    assert (part.value, part.weight > 0, part.detail) == (0, True, "nothing to cover")


def test_promises_that_no_type_asks_for_count_where_they_help() -> None:
    title = on_paper("document").nodes[0].title
    kept = changed(
        on_paper("document"),
        lambda plain: plain.setdefault("fields", {}).update(glossary=[{"term": title, "definition": "x"}]),
    )
    assert scored(kept).sub_scores["coverage"].value == 1
    assert "coverage" not in scored(kept).checks_skipped


@pytest.mark.parametrize("structure_type", ["course", "quiz"])
def test_an_objective_is_met_by_what_it_is_about_not_by_its_sentence(structure_type: str) -> None:
    assert scored(on_paper(structure_type)).sub_scores["coverage"].value >= 0.5


def test_an_objective_about_something_else_is_not_met() -> None:
    def stray(plain: Plain) -> None:
        for one in plain["fields"]["outcomes"]:
            one["text"] = "Explain why volcanic islands sink over geological ages, using a worked example."

    assert scored(changed(on_paper("course"), stray)).sub_scores["coverage"].value == 0


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        (
            "Explain the role of the common tools using a worked example, correctly.",
            "the role of the common tools",
        ),
        ("You will be able to locate wells, given a map.", "wells"),
        ("Given a map, locate the deepest wells.", "the deepest wells"),
        ("Distinguish clean from polluted water in at least four cases.", "clean from polluted water"),
        ("Describe in two sentences what yeast makes from sugar", "what yeast makes from sugar"),
        ("Describe.", "Describe."),
    ],
)
def test_the_subject_of_an_objective_is_without_verb_condition_and_degree(text: str, subject: str) -> None:
    assert subject_of(text, "en") == subject


def test_outside_english_an_objective_is_taken_whole() -> None:
    assert subject_of("Erklären, wie Hefe Teig hebt", "de") == "Erklären, wie Hefe Teig hebt"
