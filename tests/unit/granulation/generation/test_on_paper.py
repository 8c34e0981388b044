from pathlib import Path
from typing import Any

import pytest
from tests.unit.granulation.generation.paper import Paper

from aifactory.granulation.generation.prompts import SYSTEM
from aifactory.granulation.model.calls import Portion
from aifactory.granulation.structured import AnswerFormat, check_strict
from aifactory.granulation.tree import Origin, walk
from aifactory.resources.interface import SchemaProfile

EXAMPLES = Path(__file__).parents[4] / "examples"
WATER = (EXAMPLES / "drinking-water.md").read_bytes()
TYPES = ("course", "quiz", "flashcards", "document")


@pytest.mark.parametrize("structure_type", TYPES)
@pytest.mark.parametrize("granularity", [1, 3])
def test_a_source_becomes_a_valid_tree_of_the_asked_depth_and_counts(
    structure_type: str, granularity: int
) -> None:
    paper = Paper(structure_type, {"granularityLevel": granularity}, WATER)
    tree, assessment, told = paper.run()
    counts = paper.path.recipe.counts
    assert assessment.score.gates_failed == ()
    assert assessment.score.score is not None
    assert assessment.score.score >= 75
    assert max(node.level for _, node in walk(tree)) == counts.depth
    assert len(tree.nodes) == counts.per_level[0]
    assert all(len(node.children) == counts.per_level[1] for node in tree.nodes)
    assert (told["finish"]["offline"], told["finish"]["leftOut"]) == (0, 0)
    assert told["finish"]["counts"][tree.nodes[0].kind] == len(tree.nodes)
    assert tree.origin is Origin.SIMULATED


@pytest.mark.parametrize("structure_type", TYPES)
def test_every_span_is_an_exact_quote_of_the_source(structure_type: str) -> None:
    tree, _, _ = Paper(structure_type, {"granularityLevel": 2}, WATER).run()
    text = WATER.decode()
    spans = [span for _, node in walk(tree) for span in node.sources]
    spans += [span for _, node in walk(tree) for item in node.items for span in item.sources]
    assert spans
    assert all(text[span.start : span.end] == span.quote for span in spans)
    assert all(node.sources for _, node in walk(tree) if not node.children)


@pytest.mark.parametrize("structure_type", TYPES)
def test_a_topic_alone_gives_a_valid_tree_without_spans(structure_type: str) -> None:
    tree, assessment, _ = Paper(structure_type, {"topic": "Safe water at home", "granularityLevel": 2}).run()
    assert assessment.score.gates_failed == ()
    assert tree.source is None
    assert not any(node.sources for _, node in walk(tree))


@pytest.mark.parametrize("structure_type", TYPES)
@pytest.mark.parametrize(
    ("granularity", "profiles"),
    # The largest schemas under all; and a tree of each one's own answers, in which the size tells nothing.
    [(5, tuple(SchemaProfile)), *((1, (profile,)) for profile in SchemaProfile)],
    ids=["all", *SchemaProfile],
)
def test_every_schema_is_accepted_by_each_provider_profile(
    structure_type: str,
    granularity: int,
    profiles: tuple[SchemaProfile, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.unit.granulation.generation import paper as paper_module

    sent = []
    make = paper_module.answer_format

    def keep(*given: Any, profile: SchemaProfile, **named: Any) -> AnswerFormat:
        made = make(*given, profile=profile, **named)
        sent.append((profile, made))
        return made

    monkeypatch.setattr(paper_module, "answer_format", keep)
    rates = {"titles.duplicate": 1.0, "items.two_keys": 0.5}
    parameters = {"granularityLevel": granularity, "validation": {"level": 3}}
    paper = Paper(structure_type, parameters, WATER, quality=rates, profiles=profiles)
    paper.run()
    paper.ask("judge", {"judged": b"# Brief\nType: course\n# Outline\n1 A\n"}, Portion(part=""))
    for profile in profiles:
        names = {one.name for under, one in sent if under is profile}
        assert names >= {"outline", "expansion", "judgement"}
    for profile, one in sent:
        assert check_strict(one.schema, profile) == [], one.name
        assert one.report.properties < 120
        assert one.report.depth <= 6
        assert one.report.bytes <= 8_192


def test_calls_of_one_stage_share_the_beginning_of_their_prompts() -> None:
    paper = Paper("course", {"granularityLevel": 3}, WATER)
    paper.run()
    expansions = [text for kind, text in paper.prompts if kind in ("expand", "items")]
    shared = expansions[0].partition("# Passages")[0]
    assert len(shared) > 500
    assert all(text.startswith(shared) for text in expansions)
    assert "# Brief" in SYSTEM or "brief" in SYSTEM


@pytest.mark.parametrize(
    "flaw",
    [
        "items.two_keys",
        "items.no_key",
        "items.no_rationale",
        "items.duplicate_option",
        "items.blank_option",
        "titles.duplicate",
        "objectives.vague_verb",
        "summaries.empty",
        "summaries.too_long",
        "titles.too_long",
        "sources.fake",
    ],
)
def test_a_flaw_in_a_third_of_the_answers_is_mended_or_taken_out(flaw: str) -> None:
    for structure_type in ("course", "quiz"):
        paper = Paper(structure_type, {"granularityLevel": 2}, WATER, quality={flaw: 0.35})
        tree, assessment, _ = paper.run()
        assert assessment.score.gates_failed == (), (structure_type, flaw)
        judged = ("item.", "text.", "span.mismatch")
        left = [one for one in assessment.violations if one.rule.startswith(judged)]
        errors = [one for one in left if one.severity == "error" and one.rule != "item.key_source"]
        assert len(errors) <= 1, errors
        assert max(node.level for _, node in walk(tree)) == paper.path.recipe.counts.depth


def test_a_part_without_an_answer_is_written_offline_and_says_so() -> None:
    def lose(kind: str, portion: Portion, value: object) -> object:
        return None if portion.part == "m2" else value

    for structure_type in ("course", "quiz", "flashcards", "document"):
        paper = Paper(structure_type, {"granularityLevel": 2}, WATER, spoil=lose)
        tree, assessment, told = paper.run()
        assert assessment.score.gates_failed == (), structure_type
        assert told["finish"].items() >= {"offline": 1, "leftOut": 0}.items()
        origins = [node.origin for node in tree.nodes]
        assert origins.count(Origin.OFFLINE) == 1
        assert {"offline"} == {one["by"] for one in told["repairs"] if one["rule"] == "part"}


def test_without_a_source_a_part_without_an_answer_is_left_out_while_enough_remain() -> None:
    def lose(kind: str, portion: Portion, value: object) -> object:
        return None if portion.part == "m2" else value

    paper = Paper("course", {"topic": "Safe water", "granularityLevel": 2}, spoil=lose)
    tree, assessment, told = paper.run()
    assert assessment.score.gates_failed == ()
    assert len(tree.nodes) == 3
    assert told["finish"].items() >= {"offline": 0, "leftOut": 1}.items()


def test_without_a_source_too_many_lost_parts_fail_the_tree() -> None:
    def lose(kind: str, portion: Portion, value: object) -> object:
        return None if portion.part in ("m2", "m3") else value

    paper = Paper("course", {"topic": "Safe water", "granularityLevel": 2}, spoil=lose)
    _, assessment, _ = paper.run()
    assert "levels.minimum" in assessment.score.gates_failed
