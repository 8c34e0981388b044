"""What a stage takes from earlier trees: objectives, a text to read, texts in place of parameters."""

import functools
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from aifactory.granulation import given, steps, taking
from aifactory.granulation.generation.given import all_served, as_planned, places_of, with_objectives
from aifactory.granulation.generation.plan import PlannedPart
from aifactory.granulation.objective_rules import BLOOM_ORDER
from aifactory.granulation.offline.brief import Brief, GivenObjective
from aifactory.granulation.offline.digest import Digest, Sentence
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Bloom, Tree, walk
from aifactory.kernel.errors import Invalid
from aifactory.kernel.ids import DataId
from aifactory.resources.interface import ResolvedStage, StageInputs, Tier

WATER = (Path(__file__).parents[3] / "examples" / "drinking-water.md").read_bytes()


@functools.cache
def digest_of(source: bytes) -> bytes:
    read = steps.read(source, "markdown", "a.md", None)
    assert isinstance(read, steps.Made)
    return read.artifacts["digest"]


@functools.cache
def made(kind: str, *counts: int, objectives: tuple[GivenObjective, ...] = ()) -> Tree:
    brief = Brief(structure_type=kind, topic="", counts=Counts(per_level=counts), objectives=objectives)
    written = steps.write(WATER, digest_of(WATER), brief)
    assert isinstance(written, steps.Made)
    return msgspec.json.decode(written.artifacts["tree"], type=Tree)


def test_the_objectives_of_a_course_come_with_the_passages_that_treat_them() -> None:
    course = made("course", 4, 3, 1)
    taken = taking.objectives_of(course)
    own = [one for _, node in walk(course) for one in node.objectives]
    assert [one.id for one in taken] == [one.id for one in own]
    assert all(0 <= one.start < one.end <= len(WATER.decode()) for one in taken)
    assert {one.source for one in taken} == {course.source.sha256 if course.source else None}


def test_an_offline_quiz_tests_given_objectives_on_the_same_and_on_another_source() -> None:
    objectives = tuple(taking.objectives_of(made("course", 4, 3, 1)))
    told = {one.id: one for one in objectives}
    for source in (objectives[0].source, "another"):
        moved = tuple(msgspec.structs.replace(one, source=source) for one in objectives)
        quiz = made("quiz", 3, 4, objectives=moved)
        assert {one["id"]: one["text"] for one in quiz.fields["objectives"]}.items() <= {
            name: one.text for name, one in told.items()
        }.items()
        items = [item for _, node in walk(quiz) for item in node.items]
        assert len(items) == 12
        for item in items:
            (name,) = item.objective_ids
            assert BLOOM_ORDER[item.bloom] - BLOOM_ORDER[told[name].bloom] in (0, 1)


def test_an_item_tests_the_objective_of_the_lesson_that_it_is_made_of() -> None:
    objectives = tuple(taking.objectives_of(made("course", 4, 3, 1)))
    places = {one.id: one for one in objectives}
    quiz = made("quiz", 3, 4, objectives=objectives)
    spans = [
        (places[item.objective_ids[0]], node.sources[0]) for _, node in walk(quiz) for item in node.items
    ]
    inside = [one.start <= span.start and span.end <= one.end for one, span in spans]
    assert sum(inside) >= 0.7 * len(inside)


def test_objectives_of_something_else_are_not_pretended_to_be_tested() -> None:
    odd = GivenObjective(id="ob_1", text="Conjugate zyxwv qponm lkjih correctly.", bloom=Bloom.REMEMBER)
    brief = Brief(structure_type="quiz", topic="", counts=Counts(per_level=(2, 3)), objectives=(odd,))
    refused = steps.write(WATER, digest_of(WATER), brief)
    assert isinstance(refused, steps.Refused)
    assert refused.code == "objectives_not_in_source"


def test_a_tree_without_objectives_gives_none() -> None:
    tree = msgspec.json.encode(made("flashcards", 2, 5))
    refused = taking.take(None, tree, 100)
    assert isinstance(refused, steps.Refused)
    assert refused.code == "no_objectives"


@pytest.mark.parametrize("most", [60, 400, 40_000])
def test_a_tree_as_a_source_has_whole_nodes_within_its_words(most: int) -> None:
    course = made("course", 4, 3, 1)
    taken = taking.take(msgspec.json.encode(course), None, most)
    assert isinstance(taken, steps.Made)
    text = taken.artifacts["source"].decode()
    assert taken.words_read == len(text.split()) <= most
    assert text.startswith(f"# {course.title}\n")
    shown = [node.title for _, node in walk(course) if f"# {node.title}\n" in text]
    assert (len(shown) == len(list(walk(course)))) == (most == 40_000)
    if most == 40_000:
        assert course.nodes[0].children[0].fields["keyPoints"][0] in text
        assert "objectiveIds" not in text


def resolved(*targets: str) -> ResolvedStage:
    return ResolvedStage(
        template="t",
        template_version=1,
        minimum_tier=Tier.BASIC,
        parameters={"topic": "old", "level": "easy"},
        settings={"given": sorted(targets), "maxInputTokens": 500},
    )


def test_what_is_mapped_stands_in_for_parameters_and_for_the_source() -> None:
    spec = builtin_specs()["quiz"]
    data = DataId(UUID(int=5))
    mapped = {"topic": "new", "source": {"dataRef": "data_x", "name": "A course"}}
    inputs = StageInputs(source=DataId(UUID(int=1)), source_words=9, mapped=mapped, data={"source": data})
    stage, changed = given.with_given(resolved("topic", "source"), inputs, spec)
    assert stage.parameters["topic"] == "new"
    assert stage.parameters["level"] == "easy"
    assert stage.parameters["source"] == {"dataRef": "data_x", "format": "markdown", "name": "A course"}
    assert (changed.source, changed.source_words) == (None, 500)
    for value in (7, "", "x" * 201, ["a"]):
        with pytest.raises(Invalid):
            given.with_given(resolved("topic"), StageInputs(mapped={"topic": value}), spec)


def test_only_a_type_with_objectives_at_its_root_takes_them() -> None:
    takes = {name: given.takes_objectives(spec) for name, spec in builtin_specs().items()}
    assert {name for name, does in takes.items() if does} == {"quiz"}


EMPTY = Digest(
    name="",
    format="text",
    title="",
    title_is_heading=False,
    language="en",
    characters=0,
    words=0,
    sha256="",
    sections=(),
    sentences=(),
    procedures=(),
)


def objective(at: int, text: str = "Explain it.") -> GivenObjective:
    return GivenObjective(id=f"ob_{at}", text=f"{text} {at}", bloom=Bloom.UNDERSTAND)


def test_objectives_for_an_outline_are_chosen_from_all_over_a_course() -> None:
    chosen = as_planned([objective(at) for at in range(30)], 10)
    assert [one.id for one in chosen] == [f"ob_{at}" for at in range(0, 30, 3)]
    assert [one.key for one in chosen] == [f"o{at}" for at in range(1, 11)]
    assert len(as_planned([objective(0)], 10)) == 1


def test_every_given_objective_is_served_by_the_nearest_part() -> None:
    planned = as_planned(
        [objective(0, "Explain ebb"), objective(1, "Explain flood"), objective(2, "Count")], 9
    )
    parts = [
        PlannedPart(key="m1", title="The flood", summary="", refers_to=("o3",)),
        PlannedPart(key="m2", title="The ebb", summary=""),
    ]
    served = all_served(parts, planned)
    assert [part.refers_to for part in served] == [("o3", "o2"), ("o1",)]


def test_an_objective_is_served_by_the_part_whose_passages_treat_it() -> None:
    sentences = tuple(Sentence(10 * at, 10 * at + 9, block=0, section=0, kind="s") for at in range(4))
    digest = msgspec.structs.replace(EMPTY, sentences=sentences, sha256="s")
    own, other = objective(0, "Explain the flood"), objective(1, "Explain the flood")
    own = msgspec.structs.replace(own, start=20, end=39, source="s")
    other = msgspec.structs.replace(other, start=20, end=39, source="another")
    planned = as_planned([own, other], 2)
    places = places_of(planned, [own, other], digest)
    assert places == {"o1": {2, 3}}
    parts = [
        PlannedPart(key="m1", title="The flood", summary="", lines=(0, 1)),
        PlannedPart(key="m2", title="The ebb", summary="", lines=(2, 3)),
    ]
    assert [part.refers_to for part in all_served(parts, planned, places)] == [("o2",), ("o1",)]


def test_a_repair_does_not_reword_a_given_objective() -> None:
    objectives = tuple(taking.objectives_of(made("course", 4, 3, 1)))
    quiz = made("quiz", 3, 4, objectives=objectives)
    reworded = [{**one, "text": "Understand it."} for one in quiz.fields["objectives"]]
    changed = msgspec.structs.replace(quiz, fields={**quiz.fields, "objectives": reworded})
    assert with_objectives(changed, objectives).fields["objectives"] == quiz.fields["objectives"]
    assert with_objectives(changed, ()) == changed
