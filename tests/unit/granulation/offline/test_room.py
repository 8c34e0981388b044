"""Makers use the room that they are given: a long source fills the counts that were asked for."""

from functools import cache
from pathlib import Path

import pytest
from tests.unit.granulation.offline.sound import all_cited

from aifactory.granulation.offline.activities import tasks_of
from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.objectives import aims_of
from aifactory.granulation.offline.outline import Chunk, outline, room_for
from aifactory.granulation.offline.source import read_source
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import key_points
from aifactory.granulation.scoring import assess
from aifactory.granulation.sizes import Counts, resolve_counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import walk

DOCS = Path(__file__).parents[4] / "docs"
LONG = (
    "operating.md",
    "client.md",
    "scheduling.md",
    "money.md",
    "generation.md",
    "architecture.md",
    "users.md",
)
EXAMPLES = DOCS.parent / "examples"
LEAST_WORDS = 10_000


@cache
def long_text() -> str:
    """Ten thousand words of connected prose with headings."""
    text = "# A factory\n\n" + "\n\n".join((DOCS / name).read_text(encoding="utf-8") for name in LONG)
    assert len(text.split()) >= LEAST_WORDS
    return text


@cache
def long_study() -> Study:
    digest = read_source(long_text(), format="markdown", name="docs")
    counts = resolve_counts(builtin_specs()["course"], granularity_level=5)
    return Study(digest, long_text(), Brief(structure_type="course", topic="A factory", counts=counts))


@pytest.mark.parametrize("structure_type", ["course", "document"])
def test_the_finest_granularity_of_a_long_source_gives_most_of_the_nodes_that_it_asks_for(
    structure_type: str,
) -> None:
    counts = resolve_counts(builtin_specs()[structure_type], granularity_level=5)
    study = long_study()
    brief = Brief(structure_type=structure_type, topic="A factory", counts=counts)
    tree = generate(study.digest, long_text(), brief)
    made = sum(1 for _ in walk(tree))
    assert 0.6 * counts.nodes <= made <= counts.nodes
    scored = assess(tree, builtin_specs()[structure_type], text=long_text(), counts=counts).score
    assert scored.gates_failed == ()
    assert scored.score is not None
    assert scored.score >= 80
    assert all_cited(tree)


def test_an_outline_divides_a_long_source_further_than_its_headings_and_leaves_a_short_one_alone() -> None:
    study = long_study()
    by_headings, plan = (outline(study, most=12, inner=5, room=room) for room in (None, room_for(60)))
    assert len(plan) >= len(by_headings)
    assert sum(map(len, plan)) > 1.4 * sum(map(len, by_headings))
    lines = [at for part, *_ in plan for at in range(part.first, part.last)]
    assert lines == list(range(len(study.lines)))
    for part, *pieces in plan:
        inside = [at for piece in pieces for at in range(piece.first, piece.last)]
        assert inside == list(range(part.first, part.last))
    assert room_for(18) is None


def test_a_module_of_more_lessons_than_objectives_shares_them_among_neighbours() -> None:
    brief = Brief(structure_type="course", topic="A factory", counts=Counts(per_level=(4, 10, 1)))
    tree = generate(long_study().digest, long_text(), brief)
    large = [module for module in tree.nodes if len(module.children) > 5]
    assert large
    for module in large:
        known = [one.id for one in module.objectives]
        assert len(known) == len(set(known)) <= 5
        served = [lesson.fields["objectiveIds"] for lesson in module.children]
        assert all(served)
        assert {name for names in served for name in names} == set(known)
    assert assess(tree, builtin_specs()["course"], text=long_text()).score.gates_failed == ()


def test_a_lesson_that_is_asked_for_many_tasks_gives_each_another_sentence_and_title() -> None:
    study = long_study()
    chunk = max((piece for _, *pieces in outline(study, most=4, inner=2) for piece in pieces), key=_length)
    points = key_points(study, chunk.first, chunk.last, most=6)
    aims = aims_of(study, chunk, "Scheduling")
    few, many = (tasks_of(study, chunk, "Scheduling", aims, points, most) for most in (3, 12))
    assert (len(few), len(many)) == (3, 12)
    assert len({task.title for task in many}) == 12
    for task in many:
        assert "{" not in task.title
        assert all(study.reading.text[one.start : one.end] == one.quote for one in task.sources)


def test_a_deck_or_quiz_that_misses_its_least_has_no_nodes_and_a_reason() -> None:
    text = "Notes\n\n" + "Water boils at a temperature that falls with height. " + "Short line here. " * 30
    digest = read_source(text, format="text", name="notes")
    for structure_type in ("quiz", "flashcards"):
        counts = resolve_counts(builtin_specs()[structure_type])
        tree = generate(digest, text, Brief(structure_type=structure_type, topic="", counts=counts))
        assert tree.nodes == ()
        assert len(tree.fields["reason"]) > 40


def _length(chunk: Chunk) -> int:
    return chunk.last - chunk.first
