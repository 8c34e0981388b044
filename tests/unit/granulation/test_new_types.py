"""Path, map, workflow and plot beside each other: sound ones, empty ones, large ones."""

import json
import time
from typing import Any

import msgspec
import pytest
from tests.unit.granulation.changes import Plain, changed, findings, scored
from tests.unit.granulation.trees import KEYPHRASES, SOURCE
from tests.unit.granulation.trees_map import map_tree
from tests.unit.granulation.trees_novel import novel_tree
from tests.unit.granulation.trees_path import path_tree
from tests.unit.granulation.trees_workflow import workflow_tree

from aifactory.granulation import index, item_rules, words
from aifactory.granulation.scoring.model import Band, ScoreState
from aifactory.granulation.scoring.total import assess
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import builtin_specs
from aifactory.granulation.tree import Tree, walk

SPECS = builtin_specs()
SOUND = {tree.structure_type: tree for tree in (path_tree(), map_tree(), workflow_tree(), novel_tree())}
DEPTHS = {"learning_path": 2, "knowledge_map": 2, "workflow": 2}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_tree_breaks_no_rule_and_is_accepted(name):
    tree = SOUND[name]
    assert findings(tree) == []
    given: Any = {"text": SOURCE, "keyphrases": KEYPHRASES} if tree.source else {}
    result = assess(tree, SPECS[name], **given).score
    assert result.band is Band.ACCEPT
    assert result.exact is not None
    assert result.exact >= 90
    assert set(result.sub_scores) - {"grounding"} == set(SPECS[name].weights) - set(result.checks_skipped)


@pytest.mark.parametrize("name", DEPTHS)
def test_the_two_upper_levels_are_sound_by_themselves(name):
    def cut(plain: Plain) -> None:
        plain["depth"] = 2
        inner = {child["id"] for part in plain["nodes"] for child in part["children"]}
        for part in plain["nodes"]:
            for child in part["children"]:
                child.pop("children", None)
        known = inner | {part["id"] for part in plain["nodes"]}
        if name == "knowledge_map":
            plain["fields"]["edges"] = [
                one for one in plain["fields"]["edges"] if {one["from"], one["to"]} <= known
            ]

    counts = Counts(per_level=(4, 5))
    assert {severity for _, severity, _ in findings(SOUND[name], cut, counts)} <= {"warning"}
    assert scored(SOUND[name], cut, counts).sub_scores["alignment"].value == 1


@pytest.mark.parametrize("name", SPECS)
def test_an_empty_tree_of_any_type_scores_nothing(name):
    root = SOUND[name].fields if name in SOUND else {}
    bare = Tree(structure_type=name, title="", summary="", language="en", origin="human", depth=1)
    for tree in (bare, msgspec.structs.replace(bare, title="All of it", summary="All.", fields=root)):
        result = assess(tree, SPECS[name]).score
        assert (result.state, result.exact, result.band) == (ScoreState.INVALID, 0, Band.REJECT)
        assert {part.value for part in result.sub_scores.values()} == {0}


def renamed(plain: Plain, tag: str) -> Plain:
    """The tree's JSON with another id for everything that has one; choices keep their words."""
    names = set(ids_of(plain))
    return swap(plain, lambda text: f"{tag}{text}" if text in names else text)


def ids_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["id"]] if isinstance(value.get("id"), str) else []
        return own + [name for inner in value.values() for name in ids_of(inner)]
    return [name for inner in value for name in ids_of(inner)] if isinstance(value, list) else []


def swap(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {key: swap(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [swap(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


@pytest.mark.parametrize("name", SOUND)
def test_other_ids_key_order_and_ordinals_change_nothing(name):
    plain = msgspec.json.decode(msgspec.json.encode(SOUND[name]))
    turned = json.loads(json.dumps(renamed(plain, "zz_"), sort_keys=True))
    for node in turned["nodes"]:
        node["ordinal"] += 40
    assert scored(msgspec.convert(turned, Tree)).exact == scored(SOUND[name]).exact


def large(tree: Tree, nodes: int) -> Tree:
    """A tree many times, each copy with ids and words of its own, so that no text is cut only once."""

    def change(plain: Plain) -> None:
        size = sum(1 for _ in walk(tree))
        copies = [renamed(plain, f"x{n}_") for n in range(round(nodes / size))]
        for n, copy in enumerate(copies):
            for node in copy["nodes"]:
                respell(node, f"word{n}")
        plain["nodes"] = [node for copy in copies for node in copy["nodes"]]
        for name, value in plain["fields"].items():
            if isinstance(value, list):
                plain["fields"][name] = [entry for copy in copies for entry in copy["fields"][name]]

    return changed(tree, change)


def respell(node: Plain, word: str) -> None:
    for name in ("title", "summary"):
        if node.get(name):
            node[name] = f"{node[name]} {word}"
    for child in node.get("children", ()):
        respell(child, word)


@pytest.mark.parametrize("name", SOUND)
def test_a_thousand_nodes_of_any_type_are_scored_in_a_blink(name):
    tree = large(SOUND[name], 1000)
    text = SOURCE if tree.source else None
    assert sum(1 for _ in walk(tree)) >= 950
    taken = []
    for _ in range(2):
        for kept in (words._words_of_short, words._stems_of_short, index._cut_short, item_rules._flaws_of):
            kept.cache_clear()
        start = time.process_time()
        assess(tree, SPECS[name], text=text, keyphrases=KEYPHRASES)
        taken.append(time.process_time() - start)
    # The goal is 250 ms on an idle core; a busy test machine gets four times as long.
    assert min(taken) < 1.0


def test_numbers_too_large_to_reckon_with_are_refused_and_not_reckoned_with():
    def change(plain: Plain) -> None:
        plain["fields"].update(hoursPerWeek=10**400, targetWords=10**5000)
        for part in plain["nodes"]:
            part["fields"].update(weeks=10**400, estimatedMinutes=10**5000)
            for skill in part["children"]:
                skill["fields"].update({"to": 10**400})
                skill["children"][0]["minutes"] = 10**5000

    found = {rule for rule, _, _ in findings(path_tree(), change)}
    assert {"schema.type", "handover.type", "load.minutes"} <= found
    assert scored(path_tree(), change).state is ScoreState.INVALID

    def longer(plain: Plain) -> None:
        plain["fields"]["targetWords"] = 10**5000
        plain["nodes"][0]["children"][0]["children"][0]["fields"]["words"] = 10**5000

    assert {rule for rule, _, _ in findings(novel_tree(), longer)} == {"schema.type", "story.words"}
