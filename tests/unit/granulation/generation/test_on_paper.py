from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.granulation.generation.paper import Paper

from aifactory.granulation.generation.plan import Plan, PlannedChild, PlannedPart
from aifactory.granulation.generation.plan_keys import keys_of_plan
from aifactory.granulation.generation.prompts import SYSTEM
from aifactory.granulation.index import HANDOVER_FIELDS
from aifactory.granulation.model.calls import Portion
from aifactory.granulation.specs import builtin_specs, load_spec
from aifactory.granulation.structured import AnswerFormat, check_strict
from aifactory.granulation.tree import Origin, walk
from aifactory.resources.interface import SchemaProfile

EXAMPLES = Path(__file__).parents[4] / "examples"
WATER = (EXAMPLES / "drinking-water.md").read_bytes()
TYPES = tuple(builtin_specs())
# Items, nullable objects, rows of the root: what profiles write each in their own way.
OWN_ANSWERS = ("course", "quiz", "flashcards", "workflow", "knowledge_map")


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
    assert all(node.fields.keys() >= HANDOVER_FIELDS for _, node in walk(tree))
    assert not any(one.rule.startswith("handover.") for one in assessment.violations)


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


@pytest.mark.parametrize(
    ("structure_type", "granularity", "profiles"),
    # The largest schemas under all; and a tree of each one's own answers, in which the size tells nothing.
    [
        *((name, 5, tuple(SchemaProfile)) for name in TYPES),
        *((name, 1, (profile,)) for name in OWN_ANSWERS for profile in SchemaProfile),
    ],
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

    for structure_type in TYPES:
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


PLAYBOOK = {
    "type": "playbook",
    "title": "Playbook",
    "levels": [
        {
            "kind": "play",
            "title": "Play",
            "min": 2,
            "max": 6,
            "fields": {
                "lead": {"type": "reference", "required": True, "refersTo": "owner"},
                "opening": {"type": "reference", "required": True, "refersTo": "move"},
            },
        },
        {
            "kind": "move",
            "title": "Move",
            "min": 2,
            "max": 6,
            "summary": "required",
            "fields": {
                "by": {
                    "type": "list", "required": True, "min": 1,
                    "of": {"type": "reference", "refersTo": "owner"},
                },
                "after": {"type": "list", "of": {"type": "reference", "refersTo": "move", "use": "order"}},
                "signal": {"type": "text", "required": True, "min": 3, "max": 120},
            },
        },
    ],
    "rootFields": {
        "aim": {"type": "text", "required": True, "min": 5, "max": 300},
        "owners": {
            "type": "list", "required": True, "min": 2, "max": 6,
            "of": {
                "type": "object", "defines": "owner",
                "fields": {
                    "id": {"type": "text", "required": True},
                    "name": {"type": "text", "required": True, "max": 60},
                },
            },
        },
        "rivals": {
            "type": "list", "max": 20,
            "of": {
                "type": "object",
                "fields": {
                    "one": {"type": "reference", "required": True, "refersTo": "move"},
                    "other": {"type": "reference", "required": True, "refersTo": "play"},
                },
            },
        },
    },
    "rules": ["order", "redundancy", "coherence"],
    "presets": {"3": [3, 3]},
    "weights": {"coverage": 0.3, "order": 0.2, "nonRedundancy": 0.2, "form": 0.2, "readability": 0.1},
}  # fmt: skip


@pytest.mark.parametrize("source", [WATER, None], ids=["source", "topic"])
def test_a_users_own_type_is_written_with_what_its_root_declares_and_what_its_nodes_point_at(
    source: bytes | None,
) -> None:
    spec = load_spec(msgspec.json.encode(PLAYBOOK))
    paper = Paper(spec, {"topic": "Safe water at home"}, source, profiles=tuple(SchemaProfile))
    tree, assessment, _ = paper.run()
    assert assessment.score.gates_failed == ()
    assert tree.fields["aim"]
    owners = {row["id"] for row in tree.fields["owners"]}
    moves = {move.id: play.id for play in tree.nodes for move in play.children}
    assert len(moves) == 9
    assert {play.fields["lead"] for play in tree.nodes} <= owners
    assert {play.fields["opening"] for play in tree.nodes} <= moves.keys()
    assert all(set(move.fields["by"]) <= owners for play in tree.nodes for move in play.children)
    assert any("after" in move.fields for play in tree.nodes for move in play.children)
    assert tree.fields["rivals"]


def test_a_part_knows_the_keys_of_others_and_only_earlier_ones_where_order_is_meant() -> None:
    recipe = Paper(load_spec(msgspec.json.encode(PLAYBOOK)), {"topic": "Safe water"}).path.recipe
    parts = tuple(
        PlannedPart(
            key=f"m{at}",
            title=f"Play {at}",
            summary="",
            children=tuple(PlannedChild(key=f"m{at}c{own}", title="A move") for own in range(1, 31)),
        )
        for at in range(1, 4)
    )
    plan = Plan(title="T", summary="", objectives=(), parts=parts, fields={"owners": [{"id": "owner1"}]})
    keys = keys_of_plan(plan, recipe, parts[1])
    assert keys["owner"] == ("owner1",)
    assert (keys["play"], keys["earlier play"]) == (("m1", "m2", "m3"), ("m1",))
    assert len(keys["move"]) == len(keys["node"]) == 60
    assert {child.key for child in parts[1].children} < set(keys["move"])
    assert not {key for key in keys["earlier move"] if key.startswith("m3")}
