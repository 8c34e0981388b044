import time
from collections import Counter

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.granulation.offline.samples import DOCUMENTS, brief, example, make

from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.source import SourceError, read_source
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Bloom, ItemKind, Origin, Span, Tree, leaves, walk
from aifactory.granulation.validation import Severity, validate

SHAPES = [
    ("course", (6, 3, 2)),
    ("course", (3, 2)),
    ("course", (12, 5, 3)),
    ("quiz", (4, 5)),
    ("quiz", (8, 10)),
]


@pytest.mark.parametrize(("structure_type", "per_level"), SHAPES)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_make_trees_without_a_gate_and_with_hardly_a_flaw(
    name: str, structure_type: str, per_level: tuple[int, ...]
) -> None:
    text, tree = make(name, structure_type, *per_level)
    broken = validate(tree, builtin_specs()[structure_type], Counts(per_level=per_level), text=text)
    assert [one for one in broken if one.severity is Severity.GATE] == []
    nodes = sum(1 for _ in walk(tree))
    assert len(broken) <= 0.05 * nodes, broken
    assert [one for one in broken if one.rule.startswith("item.") and one.severity is Severity.ERROR] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_span_is_in_the_source_and_every_leaf_has_one(name: str) -> None:
    for structure_type, per_level in SHAPES:
        text, tree = make(name, structure_type, *per_level)
        assert all(text[span.start : span.end] == span.quote for span in _spans(tree))
        assert all(node.sources for _, node in leaves(tree))


def _spans(tree: Tree) -> list[Span]:
    spans = [span for _, node in walk(tree) for span in node.sources]
    spans += [span for _, node in walk(tree) for item in node.items for span in item.sources]
    return spans + [
        msgspec.convert(span, Span)
        for concept in tree.fields.get("glossary", [])
        for span in concept["sources"]
    ]


def test_presets_are_upper_limits() -> None:
    for preset in builtin_specs()["course"].presets.values():
        counts = tuple(count for count in preset if count)
        _, tree = make("drinking-water.md", "course", *counts)
        widths = [len(tree.nodes)]
        level = tree.nodes
        while any(node.children for node in level):
            widths.append(max(len(node.children) for node in level))
            level = tuple(child for node in level for child in node.children)
        assert len(widths) == len(counts)
        assert all(width <= limit for width, limit in zip(widths, counts, strict=True))


def test_a_course_keeps_the_headings_of_its_source_in_order() -> None:
    _, tree = make("drinking-water.md", "course", 6, 3, 2)
    assert tree.title == "How drinking water is treated"
    assert [node.title for node in tree.nodes] == [
        "From the source to the works",
        "Coagulation and flocculation",
        "Sedimentation",
        "Filtration",
        "Disinfection",
        "Checking the water and keeping it safe",
    ]
    assert tree.nodes[1].children[-1].title == "Finding the right dose with a jar test"
    assert tree.origin is Origin.OFFLINE


def test_a_text_without_headings_gets_modules_named_after_what_it_defines() -> None:
    _, tree = make("tides.txt", "course", 6, 3, 2)
    titles = " ".join(node.title for _, node in walk(tree))
    assert len(tree.nodes) >= 3
    assert "Spring Tide" in titles
    assert "Tidal Barrage" in titles


def test_two_levels_leave_out_activities_and_one_level_leaves_out_lessons() -> None:
    _, two = make("sourdough.md", "course", 4, 3)
    assert {node.kind for _, node in walk(two)} == {"module", "lesson"}
    _, one = make("sourdough.md", "course", 4)
    assert {node.kind for _, node in walk(one)} == {"module"}


def test_objectives_have_unique_ids_and_are_practised_and_assessed() -> None:
    _, tree = make("balance-sheet.md", "course", 6, 3, 2)
    objectives = [objective for node in tree.nodes for objective in node.objectives]
    ids = [objective.id for objective in objectives]
    assert len(set(ids)) == len(ids)
    assert len({objective.text for objective in objectives}) == len(ids)
    practised = {
        name for _, node in walk(tree) if node.kind == "activity" for name in node.fields["objectiveIds"]
    }
    assert practised == set(ids)
    for node in tree.nodes:
        assert 2 <= len(node.objectives) <= 5
        assert node.fields["assessment"]["objectiveIds"] == [objective.id for objective in node.objectives]
    assert sum(node.fields["assessment"]["weight"] for node in tree.nodes) == 100


def test_objectives_read_like_a_teacher_wrote_them() -> None:
    _, tree = make("balance-sheet.md", "course", 6, 3, 2)
    texts = [objective.text for node in tree.nodes for objective in node.objectives]
    assert "Define the terms asset and liability in one sentence each, without notes." in texts
    assert (
        "Calculate the current ratio correctly from given figures, using the formula in the lesson." in texts
    )
    assert any(text.startswith("Perform the eight steps of reading a report step by step") for text in texts)


def test_needs_are_introduced_in_an_earlier_lesson() -> None:
    for name in DOCUMENTS:
        _, tree = make(name, "course", 6, 3, 2)
        known: set[str] = set()
        glossary = {concept["term"] for concept in tree.fields["glossary"]}
        for _, node in walk(tree):
            if node.kind == "lesson":
                assert set(node.fields["needs"]) <= known
                known.update(node.fields["introduces"])
        assert known == glossary


def test_requirements_point_to_earlier_modules() -> None:
    _, tree = make("sourdough.md", "course", 8, 4, 2)
    earlier: set[str] = set()
    for node in tree.nodes:
        assert set(node.fields["requires"]) <= earlier
        earlier.add(node.id)
    assert any(node.fields["requires"] for node in tree.nodes)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_single_items_have_three_to_five_options_with_reasons(name: str) -> None:
    _, tree = make(name, "quiz", 6, 8)
    items = [item for _, node in walk(tree) for item in node.items]
    assert len({item.id for item in items}) == len(items) > 10
    for item in items:
        assert item.feedback
        if item.kind is ItemKind.SINGLE:
            assert 3 <= len(item.options) <= 5
            assert all(option.rationale for option in item.options)
            assert sum(option.correct for option in item.options) == 1


def test_a_distractor_never_stands_in_the_sentence_of_the_key() -> None:
    text, tree = make("drinking-water.md", "quiz", 6, 8)
    for item in (item for _, node in walk(tree) for item in node.items):
        if item.kind is ItemKind.SINGLE and item.bloom is Bloom.REMEMBER:
            quote = " ".join(text[span.start : span.end] for span in item.sources).lower()
            assert not any(option.text.lower() in quote for option in item.options if not option.correct)


def test_key_positions_are_spread() -> None:
    places: Counter[int] = Counter()
    for name in DOCUMENTS:
        _, tree = make(name, "quiz", 6, 8)
        for item in (item for _, node in walk(tree) for item in node.items):
            if len(item.options) == 4:
                places[next(at for at, option in enumerate(item.options) if option.correct)] += 1
    assert max(places.values()) - min(places[place] for place in range(4)) <= len(DOCUMENTS)


def test_numeric_items_take_a_number_with_its_unit_and_order_items_the_steps() -> None:
    _, tree = make("sourdough.md", "quiz", 8, 10)
    items = [item for _, node in walk(tree) for item in node.items]
    numeric = [item for item in items if item.kind is ItemKind.NUMERIC]
    assert numeric
    assert all(item.unit and item.value is not None and "____" in item.stem for item in numeric)
    order = [item for item in items if item.kind is ItemKind.ORDER]
    first_steps = {item.stem: item.steps[0] for item in order}
    assert any(
        "building a starter" in stem and step.startswith("Mix 50 grams") for stem, step in first_steps.items()
    )


def test_the_blueprint_counts_the_items_that_were_made() -> None:
    _, tree = make("tides.txt", "quiz", 4, 5)
    made: Counter[tuple[str, str, str]] = Counter()
    for item in (item for _, node in walk(tree) for item in node.items):
        made[item.objective_ids[0], item.bloom, item.difficulty] += 1
    planned = {
        (row["objectiveId"], row["bloom"], row["difficulty"]): row["count"]
        for row in tree.fields["blueprint"]
    }
    assert planned == dict(made)
    assert sum(node.fields["weight"] for node in tree.nodes) == 100


def test_a_title_in_the_brief_wins_and_focus_areas_reach_the_tree() -> None:
    _, tree = make("tides.txt", "course", 4, 2, 1, title="Tides for sailors", focus_areas=("storm surge",))
    assert tree.title == "Tides for sailors"
    points = " ".join(
        point for _, node in walk(tree) if node.kind == "lesson" for point in node.fields["keyPoints"]
    )
    assert "surge" in points


def test_a_small_source_makes_a_small_tree_and_invents_nothing() -> None:
    text = " ".join(example("tides.txt").split("\n\n")[:2])
    digest = read_source(text, format="text", name="small.txt")
    tree = generate(digest, text, brief("course", 12, 5, 3))
    assert 1 <= len(tree.nodes) <= 3
    for _, node in walk(tree):
        for point in node.fields.get("keyPoints", []):
            assert point.rstrip(".…")[1:] in text


def test_another_text_or_type_is_refused() -> None:
    text = example("tides.txt")
    digest = read_source(text, format="text", name="tides.txt")
    with pytest.raises(ValueError, match="characters"):
        generate(digest, text + "more", brief("course", 3, 2))
    with pytest.raises(ValueError, match="ballad"):
        generate(digest, text, brief("ballad", 3, 3, 2))


def test_ten_thousand_words_take_little_time() -> None:
    text = "\n\n".join(example(name).replace("# ", f"# {part} ") for part, name in enumerate(DOCUMENTS))
    text += "\n\n" + example("drinking-water.md").replace("# ", "# Again ")
    started = time.process_time()
    digest = read_source(text, format="markdown", name="all.md")
    generate(digest, text, brief("course", 8, 4, 2))
    generate(digest, text, brief("quiz", 8, 10))
    assert digest.words > 10_000
    # The target is 1.5 s on an idle core; a loaded machine gets twice that.
    assert time.process_time() - started < 3.0


_SCRAPS = st.sampled_from(
    [
        "# ",
        "\n",
        "\n\n",
        "1. ",
        "- ",
        "```\n",
        "| a | b |\n|--|--|\n",
        "> ",
        "**",
        "[x](",
        "![x](y.png) ",
        "<b>",
        "____",
        "\r\n",
        ": ",
        "    ",
    ]
)
_PROSE = st.sampled_from(example("sourdough.md").split(". "))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.one_of(st.text(max_size=60), _SCRAPS, _PROSE.map(lambda s: s + ". ")), max_size=60),
    st.booleans(),
)
def test_any_text_gives_a_tree_or_a_clear_refusal(parts: list[str], markdown: bool) -> None:
    text = "".join(parts)
    try:
        digest = read_source(text, format="markdown" if markdown else "text", name="x.md")
    except SourceError:
        return
    for structure_type, per_level in (("course", (4, 3, 2)), ("quiz", (4, 5))):
        tree = generate(digest, text, brief(structure_type, *per_level))
        assert msgspec.json.decode(msgspec.json.encode(tree), type=Tree) == tree
        assert all(text[span.start : span.end] == span.quote for span in _spans(tree))
        ids = [node.id for _, node in walk(tree)]
        assert len(set(ids)) == len(ids)
        assert all(3 <= len(node.title) <= 120 and len(node.summary) <= 400 for _, node in walk(tree))
