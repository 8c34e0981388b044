"""Spoiled answers put together, patched and salvaged: always a tree, within its counts."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.unit.granulation.generation.paper import Paper
from tests.unit.granulation.generation.random_answers import (
    SPOILS,
    TEXTS,
    Spoils,
    ids_in,
    opened,
    plain,
    spoiled,
)

from aifactory.granulation.generation.assembly import Asked, Assembled, assemble
from aifactory.granulation.generation.mending import Check, apply_patches, apply_rules, problems_of, salvage
from aifactory.granulation.generation.plan import Plan
from aifactory.granulation.model import steps as model_steps
from aifactory.granulation.scoring import assess
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Origin, Tree, walk
from aifactory.granulation.validation import validate
from aifactory.granulation.violations import Severity, Violation

EXAMPLES = Path(__file__).parents[4] / "examples"
DIGEST, TEXT, PASSAGES = opened((EXAMPLES / "drinking-water.md").read_bytes())
TYPES = tuple(builtin_specs())
CHECKED = settings(
    derandomize=True,
    # For each type, of the whole of a tree's answers: a sound one has some hundred places to spoil.
    max_examples=25,
    # Looking for a smaller example takes minutes here.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A sound run: its paper, its plan and its answers by part."""

    paper: Any
    plan: Plan
    answers: dict[str, list[dict[str, Any]]]
    tree: Tree


@lru_cache
def written(structure_type: str) -> Written:
    """The answers of a run that nothing spoiled."""
    plans: list[bytes] = []
    answers: dict[str, list[dict[str, Any]]] = {}

    def keep(kind: str, portion: Any, value: Any) -> Any:
        if kind in ("expand", "items"):
            answers.setdefault(f"{kind}.{portion.part}", []).append(value)
        return value

    paper = Paper(
        structure_type, {"granularityLevel": 1}, (EXAMPLES / "drinking-water.md").read_bytes(), spoil=keep
    )
    with pytest.MonkeyPatch.context() as patch:
        put = model_steps.put_together
        patch.setattr(model_steps, "put_together", lambda *a: (plans.append(a[1]), put(*a))[1])
        tree, _, _ = paper.run()
    return Written(paper=paper, plan=msgspec.json.decode(plans[0], type=Plan), answers=answers, tree=tree)


def assembled(made: Written, answers: dict[str, list[dict[str, Any]]], *, grounded: bool = True) -> Assembled:
    return assemble(
        made.plan,
        answers,
        made.paper.path.recipe,
        Asked(language="en", origin=Origin.SIMULATED),
        passages=PASSAGES if grounded else None,
        digest=DIGEST if grounded else None,
        fill=lambda part: None,
    )


def checker(made: Written) -> Check:
    recipe = made.paper.path.recipe
    return lambda tree: validate(tree, recipe.spec, recipe.counts, text=TEXT, objects=())


def references_in(value: Any) -> set[str]:
    """Everything that has the form of an id, wherever it stands."""
    return set(re.findall(r"(?<![\w])(?:n|ob|it)_[0-9a-f]{10}(?!\w)", msgspec.json.encode(value).decode()))


@pytest.mark.parametrize("structure_type", TYPES)
@CHECKED
@given(data=st.data(), spoils=SPOILS, grounded=st.booleans())
def test_spoiled_answers_become_a_closed_tree_within_its_counts(
    structure_type: str, data: st.DataObject, spoils: Spoils, grounded: bool
) -> None:
    made = written(structure_type)
    answers = {name: [spoiled(spoils, one) for one in given] for name, given in made.answers.items()}
    lost = data.draw(st.sets(st.sampled_from(sorted(answers)), max_size=2))
    answers = {name: given for name, given in answers.items() if name not in lost}
    tree = assembled(made, answers, grounded=grounded).tree
    counts = made.paper.path.recipe.counts
    assert len(tree.nodes) <= counts.per_level[0]
    for _, node in walk(tree):
        assert len(node.children) <= (counts.per_level[node.level] if node.level < counts.depth else 0)
        assert len(node.title) <= 120
        assert len(node.summary) <= 400
    found = ids_in(plain(tree))
    assert len(found) == len(set(found))
    assert references_in(plain(tree)) <= set(found)
    assert_exact(plain(tree))
    assert msgspec.json.decode(msgspec.json.encode(tree), type=Tree) == tree
    assert not {one.rule for one in checker(made)(tree)} & {"ids.closed", "graph.cycle", "ids.unique"}
    settled(made, tree)


def assert_exact(value: Any) -> None:
    """Every span, at a node, an item or a glossary's entry, quotes the source."""
    if isinstance(value, dict):
        if "quote" in value:
            assert TEXT[value["start"] : value["end"]] == value["quote"]
        for inner in value.values():
            assert_exact(inner)
    elif isinstance(value, list):
        for inner in value:
            assert_exact(inner)


def settled(made: Written, tree: Tree) -> None:
    """Rules, salvage and score take any tree that was put together."""
    check, recipe = checker(made), made.paper.path.recipe
    ruled = apply_rules(tree, check(tree), check)
    least = min(recipe.spec.levels[1].min, recipe.counts.per_level[1])
    saved = salvage(ruled.tree, ruled.violations, check, least)
    assert_only_needed_items_stay_faulty(saved.tree, saved.violations, least)
    assess(
        saved.tree, recipe.spec, text=TEXT, keyphrases=[(one.text, one.weight) for one in DIGEST.keyphrases],
        counts=recipe.counts, objects=(),
    )  # fmt: skip


def assert_only_needed_items_stay_faulty(tree: Tree, violations: Any, least: int) -> None:
    """A faulty item stays only where its part would have too few without it."""
    faulty = [
        one
        for one in violations
        if one.rule.startswith("item.") and one.severity in (Severity.GATE, Severity.ERROR)
    ]
    nodes = {node.id: node for _, node in walk(tree)}
    for one in faulty:
        assert "/fields/items/" not in one.pointer, one
        if "/fields/item" in one.pointer:
            parent = next(node for node in nodes.values() if one.node_id in {c.id for c in node.children})
            assert len(parent.children) <= least, one


# Patches.

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
JSON_TEXTS = st.one_of(
    VALUES.map(lambda value: __import__("json").dumps(value)),
    st.sampled_from([
        "", "{", "[" * 5_000, "[" * 400 + "]" * 400,
        '"\\ud800"', "1e999", "NaN", "-Infinity", "9" * 400, "9" * 5_000, "null", "[]",
        '"x"', '[{"text": 1}]', '[{"text": "A", "correct": "yes"}]', '["a", 1]', '{"id": "n_1"}', '"\\u0000"',
        '[{"text": "\\ud800", "correct": true, "rationale": ""}]', "true", "12", "1.5",
    ]),
)  # fmt: skip


def pointers_of(value: Any, at: str = "") -> list[str]:
    """The pointer of everything in a tree."""
    below: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = [(str(place), inner) for place, inner in enumerate(value)]
    return [at, *(one for name, inner in below for one in pointers_of(inner, f"{at}/{name}"))]


NOWHERE = ("/", "x", "/nodes/99/title", "/nodes/x", "/nodes/-1/title", "/nodes/\u00b2/title", "/title/x",
           "/nodes/0/fields/no/such", "/nodes/" + "9" * 5_000, "/nodes/0/summary", "//")  # fmt: skip


@lru_cache
def patches_for(structure_type: str) -> st.SearchStrategy[list[dict[str, str]]]:
    """Values for places of the sound tree, and for places that are not there."""
    paths = st.sampled_from([*pointers_of(plain(written(structure_type).tree)), *NOWHERE])
    return st.lists(
        st.fixed_dictionaries({"path": paths, "valueJson": JSON_TEXTS, "reason": TEXTS}), max_size=6
    )


@pytest.mark.parametrize("structure_type", TYPES)
@CHECKED
@given(data=st.data())
def test_any_patches_leave_a_tree_without_a_new_gate(structure_type: str, data: st.DataObject) -> None:
    made = written(structure_type)
    check = checker(made)
    patches = data.draw(patches_for(structure_type))
    before = check(made.tree)
    mended = apply_patches(made.tree, before, patches, check)
    assert msgspec.json.decode(msgspec.json.encode(mended.tree), type=Tree) == mended.tree
    assert gates(mended.violations) <= gates(before)
    assert list(mended.violations) == check(mended.tree)
    msgspec.json.encode(mended.repairs)
    problems_of(mended.tree, mended.violations)
    settled(made, mended.tree)


def gates(violations: Any) -> set[tuple[str, str]]:
    return {(one.rule, one.node_id) for one in violations if one.severity is Severity.GATE}


def test_a_patch_that_breaks_another_node_is_taken_back() -> None:
    made = written("quiz")
    check = checker(made)
    before: list[Violation] = check(made.tree)
    taken = msgspec.json.encode(made.tree.nodes[1].title).decode()
    patches = [{"path": "/nodes/0/title", "valueJson": taken, "reason": "the same as its neighbour's"}]
    mended = apply_patches(made.tree, before, patches, check)
    assert mended.tree == made.tree
    assert mended.repairs == ()


def test_no_patch_changes_an_id() -> None:
    made = written("quiz")
    patches = [{"path": "/nodes/0/id", "valueJson": '"PWNED"', "reason": "so it said"}]
    assert apply_patches(made.tree, [], patches, checker(made)).tree == made.tree
