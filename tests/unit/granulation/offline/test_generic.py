import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from tests.unit.granulation.offline.samples import DOCUMENTS, brief, digest_of, example, hashes, make
from tests.unit.granulation.offline.sound import all_cited, score_of

from aifactory.granulation.offline.generate import generate
from aifactory.granulation.offline.handover import tone_for
from aifactory.granulation.specs import StructureSpec, builtin_specs, load_spec
from aifactory.granulation.tree import Tree, leaves, walk

CHECKLIST: dict[str, Any] = {
    "type": "checklist",
    "title": "Checklist",
    "weights": {"coverage": 0.5, "form": 0.5},
    "levels": [
        {
            "kind": "group",
            "title": "Group",
            "min": 1,
            "max": 9,
            "fields": {"owner": {"type": "text", "required": True}},
        },
        {
            "kind": "point",
            "title": "Point",
            "min": 1,
            "max": 20,
            "fields": {"after": {"type": "list", "of": {"type": "reference", "refersTo": "point"}}},
        },
    ],
}
TEXT = {"type": "text", "required": True, "min": 10, "max": 300}
GUIDE: dict[str, Any] = {
    "type": "guide",
    "title": "Guide",
    "weights": {"coverage": 0.5, "form": 0.5},
    "rules": ["order", "redundancy", "glossary"],
    "rootFields": {
        "editors": {
            "type": "list",
            "required": True,
            "min": 2,
            "of": {
                "type": "object",
                "defines": "editor",
                "fields": {
                    "id": {"type": "text", "required": True},
                    "name": {"type": "text", "required": True},
                },
            },
        },
        "links": {
            "type": "list",
            "required": True,
            "min": 1,
            "of": {
                "type": "object",
                "fields": {"to": {"type": "reference", "required": True, "refersTo": "node"}},
            },
        },
        "aims": {
            "type": "list",
            "required": True,
            "min": 2,
            "max": 3,
            "of": {"type": "objective", "defines": "objective"},
        },
        "glossary": {"type": "list", "of": {"type": "concept", "defines": "term"}},
    },
    "levels": [
        {
            "kind": "chapter",
            "title": "Chapter",
            "min": 2,
            "max": 6,
            "summary": "required",
            "fields": {
                "editor": {"type": "reference", "required": True, "refersTo": "editor"},
                "tone": {"type": "choice", "required": True, "choices": ["plain", "formal"]},
                "introduces": {"type": "list", "of": {"type": "text", "defines": "concept"}},
            },
        },
        {
            "kind": "topic",
            "title": "Topic",
            "min": 2,
            "max": 5,
            "summary": "expected",
            "fields": {
                "aimIds": {
                    "type": "list",
                    "required": True,
                    "min": 1,
                    "of": {"type": "reference", "refersTo": "objective", "use": "teach"},
                },
                "needs": {"type": "list", "of": {"type": "text", "refersTo": "concept"}},
                "rank": {"type": "integer", "required": True, "min": 1, "max": 3},
                "done": {"type": "boolean", "required": True},
            },
        },
        {
            "kind": "fact",
            "title": "Fact",
            "min": 1,
            "max": 4,
            "fields": {"statement": TEXT, "reason": TEXT | {"required": False}},
        },
    ],
}


def spec_of(plain: dict[str, Any]) -> StructureSpec:
    return load_spec(msgspec.json.encode(plain))


def made(spec: StructureSpec, name: str, *per_level: int) -> Tree:
    return generate(digest_of(name), example(name), brief(spec.type, *per_level), spec)


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize(("plain", "shape"), [(CHECKLIST, (4, 6)), (CHECKLIST, (5,)), (GUIDE, (4, 3, 3))])
def test_a_type_that_is_only_data_is_made_whole(
    name: str, plain: dict[str, Any], shape: tuple[int, ...]
) -> None:
    spec = spec_of(plain)
    tree = made(spec, name, *shape)
    score_of(tree, example(name), shape, spec)
    assert all_cited(tree)
    assert max(node.level for _, node in walk(tree)) == len(shape)


def test_a_required_field_that_no_source_can_fill_leaves_no_nodes_and_a_reason() -> None:
    plain = msgspec.json.decode(msgspec.json.encode(CHECKLIST))
    plain["levels"][1]["fields"]["rival"] = {"type": "reference", "required": True, "refersTo": "point"}
    tree = made(spec_of(plain), "tides.txt", 3, 4)
    assert tree.nodes == ()
    assert "'rival' (reference) for each point" in tree.fields["reason"]


def test_too_few_parts_leave_no_nodes_and_a_reason() -> None:
    plain = msgspec.json.decode(msgspec.json.encode(CHECKLIST))
    plain["levels"][0] |= {"min": 40, "max": 60}
    tree = made(spec_of(plain), "tides.txt", 50, 4)
    assert tree.nodes == ()
    assert "of the 40 nodes of the level “Group”" in tree.fields["reason"]


def test_an_unknown_type_needs_its_spec() -> None:
    with pytest.raises(ValueError, match="'checklist' is not made offline without its spec"):
        generate(digest_of("tides.txt"), example("tides.txt"), brief("checklist", 3))


@pytest.mark.parametrize("structure_type", ["course", "quiz", "flashcards", "document"])
def test_every_node_of_every_type_carries_targets_that_add_up(structure_type: str) -> None:
    shape = (4, 3, 2)[: len(builtin_specs()[structure_type].levels)]
    _, tree = make("sourdough.md", structure_type, *shape, target_audience="students")
    for _, node in walk(tree):
        assert node.fields["tone"] == "clear and encouraging, terms explained"
        assert 1 <= node.fields["priority"] <= 3
        if node.children:
            assert node.fields["targetWords"] == sum(one.fields["targetWords"] for one in node.children)
    assert {node.fields["priority"] for node in tree.nodes} == {1, 2, 3} or len(tree.nodes) < 3
    assert tone_for("") == "plain and friendly" != tone_for("young children")


def test_hours_stretch_the_minutes_as_far_as_leaves_allow() -> None:
    totals = []
    for hours in (1.0, 2.0, 100.0):
        _, tree = make("sourdough.md", "course", 4, 3, 2, estimated_hours=hours)
        minutes = [node.minutes or 0 for _, node in leaves(tree)]
        assert all(3 <= one <= 12 for one in minutes)
        assert sum(node.minutes or 0 for node in tree.nodes) == sum(minutes)
        totals.append(sum(minutes))
    assert totals == sorted(set(totals))
    assert totals[-1] == 12 * len(minutes)


SHAPES = (
    ("course", 6, 3, 2),
    ("quiz", 6, 8),
    ("flashcards", 4, 10),
    ("document", 5, 2, 3),
    ("learning_path", 4, 3, 2),
    ("knowledge_map", 5, 4, 2),
    ("workflow", 4, 4, 2),
    ("novel", 3, 3, 2),
)


def test_the_same_bytes_come_out_whatever_the_hash_seed_and_the_locale() -> None:
    """What sets and sorting could change: another process makes the same trees.

    This process has a seed of its own, and made some of them for other tests, after other texts.
    """
    code = (
        "from tests.unit.granulation.offline.samples import hashes\n"
        "from tests.unit.granulation.offline.test_generic import SHAPES\n"
        "print(*hashes(SHAPES))"
    )
    made_there = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "7", "LC_ALL": "C", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made_there.stdout.split() == hashes(SHAPES)
