"""The outline gate and the sharing out of a source, on any answer of the outline's type."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.granulation.generation.random_answers import LABELS, answers_of, opened

from aifactory.granulation.generation import answers
from aifactory.granulation.generation.bounds import tokens_at_most
from aifactory.granulation.generation.plan import outline_faults, plan_of
from aifactory.granulation.generation.prompts import inert
from aifactory.granulation.generation.recipe import Recipe, recipe_of
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import builtin_specs
from devprovider.tokens import count_tokens

EXAMPLES = Path(__file__).parents[4] / "examples"
DIGEST, TEXT, PASSAGES = opened((EXAMPLES / "drinking-water.md").read_bytes())
TYPES = ("course", "quiz", "flashcards", "document")
CHECKED = settings(derandomize=True, max_examples=60,
                   suppress_health_check=list(HealthCheck))  # fmt: skip


@cache
def recipe_for(structure_type: str) -> Recipe:
    return recipe_of(
        builtin_specs()[structure_type],
        Counts(per_level=(4, 3, 1)[: 3 if structure_type in ("course", "document") else 2]),
    )


@cache
def outlines(structure_type: str, grounded: bool, most: int) -> st.SearchStrategy[Any]:
    """Any answer, its strategy built once."""
    return answers_of(answers.outline_type(recipe_for(structure_type), grounded=grounded), most=most)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("grounded", [True, False])
@pytest.mark.parametrize("structure_type", TYPES)
@settings(CHECKED, max_examples=20)
@given(data=st.data())
def test_any_outline_is_refused_or_planned_within_its_limits(
    structure_type: str, grounded: bool, data: st.DataObject
) -> None:
    recipe = recipe_for(structure_type)
    drawn = data.draw(outlines(structure_type, grounded, 6))
    if outline_faults(drawn, recipe) is not None:
        drawn = data.draw(sound_outline(structure_type, drawn, grounded))
        assert outline_faults(drawn, recipe) is None
    plan = plan_of(drawn, recipe, PASSAGES if grounded else None)
    assert 1 <= len(plan.parts) <= recipe.parts
    keys = [part.key for part in plan.parts]
    assert len(keys) == len(set(keys))
    known = {one.key for one in plan.objectives}
    for at, part in enumerate(plan.parts):
        assert set(part.requires) <= set(keys[:at])
        assert len(part.requires) == len(set(part.requires))
        assert len(part.children) <= recipe.children
        assert 3 <= len(part.title) <= 120
        assert len(part.summary) <= 400
        assert set(part.refers_to) <= {one.key for one in plan.objectives} | known
        assert len({child.key for child in part.children}) == len(part.children)
        assert all(0 <= index < len(DIGEST.sentences) for index in (*part.cited, *part.lines))
    assert len(plan.objectives) <= 40
    assert plan_of(drawn, recipe, PASSAGES if grounded else None) == plan


@st.composite
def sound_outline(draw: Any, structure_type: str, drawn: dict[str, Any], grounded: bool) -> dict[str, Any]:
    """The same answer with enough of everything, and duplicates and cycles kept."""
    recipe = recipe_for(structure_type)
    whole = draw(outlines(structure_type, grounded, 3).filter(lambda one: bool(one["nodes"])))
    node = whole["nodes"][0]
    nodes = [{**node, "key": key} for key in (*answers.part_keys(recipe), "m1", "m2")]
    if recipe.part_needs:
        for one in nodes:
            one[recipe.part_needs] = list(answers.part_keys(recipe)) * 2
    objective = {"key": "o1", "text": "Name two pumps.", "bloom": "apply", "outcomeIds": ["o1", "o1"]}
    for one in nodes:
        if recipe.children_are_titled:
            one["children"] = [{"title": "Same title"}] * (recipe.children + 3)
        if recipe.part_objectives:
            one[recipe.part_objectives] = [objective] * 9
    if recipe.root_objectives:
        whole = {**whole, recipe.root_objectives: [*drawn.get(recipe.root_objectives, []), objective]}
    return {**whole, "nodes": nodes}


CITED = st.lists(st.lists(st.integers(0, len(DIGEST.sentences) - 1), max_size=6), min_size=1, max_size=6)


@CHECKED
@given(cited=CITED)
def test_every_usable_sentence_is_owned_in_order_once_anything_is_cited(cited: list[list[int]]) -> None:
    shares = PASSAGES.shares(cited)
    assert len(shares) == len(cited)
    owned = {index for share in shares for index in share}
    assert owned <= set(PASSAGES.usable)
    if any(cited) or len(cited) <= len(PASSAGES.usable):
        assert owned == set(PASSAGES.usable)
    for share in shares:
        assert list(share) == sorted(set(share))
        assert share


@CHECKED
@given(labels=st.lists(LABELS, max_size=12))
def test_only_labels_that_exist_are_known(labels: list[str]) -> None:
    found = PASSAGES.known(labels)
    assert len(found) == len(set(found))
    for index in found:
        span = PASSAGES.span(index)
        assert TEXT[span.start : span.end] == span.quote
        assert f"s{index}" in {one.strip().strip("[]") for one in labels}


@CHECKED
@given(
    indexes=st.lists(st.sampled_from(PASSAGES.usable), unique=True, max_size=40).map(sorted),
    room=st.integers(0, 4_000),
)
def test_passages_never_exceed_their_room(indexes: list[int], room: int) -> None:
    chosen = PASSAGES.within(indexes, room)
    assert sum(len(label) + len(line) + 4 for label, line in chosen) <= room
    places = [int(label[1:]) for label, _ in chosen]
    assert places == sorted(set(places))
    assert set(places) <= set(indexes)
    if sum(len(PASSAGES.line(index)) + 8 for index in indexes) <= room:
        assert places == indexes
    spent = sum(len(label) + len(line) + 4 for label, line in PASSAGES.overview(room))
    assert spent <= room


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        Path(__file__).read_text(),
        '{"nodes": [{"key": "m1", "children": [], "requires": ["m2"], "minutes": 12}]}' * 20,
        "Чистая вода нужна каждому дому. " * 20,
        "清潔な水は全ての家に必要です。" * 20,
        "الماء النظيف ضروري لكل بيت. " * 20,
        "🚰💧🏞️" * 50,
        "a\u0301" * 50,
        "",
    ],
    ids=["english", "code", "json", "russian", "japanese", "arabic", "pictures", "accents", "nothing"],
)
def test_the_bound_on_tokens_is_never_below_the_count(text: str) -> None:
    assert tokens_at_most(text) >= count_tokens(text)


PIECES = [
    "<", "/", "source", ">", "＜", "&lt;", "&#60;", "&amp;", "lt;", "\u200b", "\u200d", " ", "\n", "#",
    "[s1]", "[", "s1", "]", "<|", "[INST]", "</s>", "\u2028", "\U000e0041", "ſource", "x",
]  # fmt: skip


@settings(CHECKED, max_examples=500)
@given(st.text(max_size=80) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_inert_text_is_one_line_without_a_tag_and_stays_as_it_is(text: str) -> None:
    shown = inert(text)
    assert inert(shown) == shown
    assert len(shown.splitlines()) <= 1
    assert not shown.startswith("#")
    assert "</source" not in shown.lower()
    assert "<source" not in shown.lower()
    assert "<|" not in shown
    assert "[s1]" not in shown
