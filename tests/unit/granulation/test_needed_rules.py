"""Each rule costs something where it is broken, and costs nothing any more when it is switched off."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec
import pytest
from tests.unit.granulation import (
    test_card_and_claim_rules,
    test_edges,
    test_flow,
    test_item_rules,
    test_path,
    test_story,
    test_validation,
)
from tests.unit.granulation.trees import KEYPHRASES, SOURCE, course_counts, course_tree, quiz_tree
from tests.unit.granulation.trees_map import map_tree
from tests.unit.granulation.trees_novel import novel_tree
from tests.unit.granulation.trees_path import path_tree
from tests.unit.granulation.trees_workflow import workflow_tree

from aifactory.granulation.offline.source import read_source
from aifactory.granulation.scoring import Score, score, total
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Tree
from aifactory.granulation.validation import inspect
from aifactory.granulation.violations import Report, Violation

Plain = dict[str, Any]
Change = Callable[[Plain], Any]
# What a sub-score reckons from the tree itself: the rule only tells where.
RECKONED = (
    *(
        "alignment.",
        "blueprint.",
        "headings.",
        "order.",
        "source_order.",
        "claim.no_evidence",
        "flow.input_late",
    ),
    *("item.key_skew", "item.difficulty_mix", "story.thread", "bounds.depth"),
)
# The reader is told and may be right: nothing is taken off for a word too many or a number written wrongly.
TOLD_ONLY = frozenset({"glossary.unused", "schema.unknown_field", "schema.level"})


class Case(msgspec.Struct, frozen=True):
    """A tree with one thing changed, and the rule that this breaks."""

    rule: str
    base: str
    change: Change


def _put(item: Plain) -> Change:
    """A flawed question in the place of the first of a quiz; its id and objective stay as they are."""

    def change(plain: Plain) -> None:
        first = test_item_rules.items(plain)[0]
        kept = {"id": first["id"], "bloom": first["bloom"], "difficulty": first["difficulty"]}
        first.clear()
        first.update(item | kept)
        if first["objectiveIds"]:
            first["objectiveIds"] = ["o1"]

    return change


def _cases() -> Iterator[Case]:
    for rule, _, change in test_validation.COURSE_CASES:
        if rule != "schema.type_name":
            yield Case(rule, "course", change)
    for rule, _, change in (*test_validation.QUIZ_CASES, *test_item_rules.SET_CASES):
        yield Case(rule, "quiz", change)
    for rule, _, item in test_item_rules.SINGLE_CASES:
        yield Case(rule, "quiz", _put(item))
    for rule, _, base, change, _ in test_card_and_claim_rules.TREE_CASES:
        yield Case(rule, base, change)
    newer = {
        "knowledge_map": test_edges,
        "workflow": test_flow,
        "novel": test_story,
        "learning_path": test_path,
    }
    for base, module in newer.items():
        for rule, _, change, _ in module.CASES:
            yield Case(rule, base, change)


# One case for each rule: of several, the first.
CASES = list({case.rule: case for case in reversed(list(_cases()))}.values())


class Sound(msgspec.Struct, frozen=True):
    """A tree that breaks no rule, and what its score looks at."""

    tree: Tree
    text: str | None = None
    phrases: tuple[tuple[str, float], ...] = ()
    counts: Counts | None = None

    def scored(self, tree: Tree) -> Score:
        spec = builtin_specs()[self.tree.structure_type]
        return score(tree, spec, text=self.text, keyphrases=self.phrases, counts=self.counts)


@cache
def sound(name: str) -> Sound:
    if name in ("course", "quiz"):
        tree = course_tree() if name == "course" else quiz_tree()
        return Sound(tree, SOURCE, KEYPHRASES, course_counts(tree))
    if name in ("flashcards", "document"):
        text = test_card_and_claim_rules.example(test_card_and_claim_rules.SOURCE)
        digest = read_source(text, format="text", name="tides.txt")
        phrases = tuple((one.text, one.weight) for one in digest.keyphrases)
        counts = Counts(per_level=test_card_and_claim_rules.SIZES[name])
        return Sound(test_card_and_claim_rules.base(name), text, phrases, counts)
    if name in ("workflow", "novel"):
        return Sound(workflow_tree() if name == "workflow" else novel_tree())
    return Sound(map_tree() if name == "knowledge_map" else path_tree(), SOURCE, KEYPHRASES)


@cache
def number_of_sound(name: str) -> float:
    return number(sound(name).scored(sound(name).tree))


def number(result: Score) -> float:
    """The number of a valid tree; an invalid one is below all valid ones."""
    return -1.0 if result.exact is None or result.gates_failed else result.exact


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_each_rule_is_needed(case, monkeypatch):
    base = sound(case.base)
    plain = msgspec.json.decode(msgspec.json.encode(base.tree))
    case.change(plain)
    worse = msgspec.convert(plain, Tree)
    seen: list[Report] = []

    def watched(index: Any, **rest: Any) -> Report:
        seen.append(inspect(index, **rest))
        return seen[-1]

    def costs(*violations: Violation) -> float:
        report = msgspec.structs.replace(seen[0], violations=violations)
        monkeypatch.setattr(total, "inspect", lambda index, **rest: report)
        return number(base.scored(worse))

    monkeypatch.setattr(total, "inspect", watched)
    as_it_is = number(base.scored(worse))
    broken = [one for one in seen[0].violations if one.rule == case.rule]
    assert broken
    # Alone: what else a case breaks may cost as much already.
    with_it, without = costs(*broken), costs()
    if case.rule.startswith(RECKONED):
        assert as_it_is < number_of_sound(case.base)
    elif case.rule in TOLD_ONLY:
        assert with_it == without
    else:
        assert with_it < without
