"""A tree that somebody brings: what can't be read is refused with its place, the rest is judged."""

from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from tests.factories import made_tree

from aifactory.granulation import checking
from aifactory.granulation.checking import Examination, Examined, Faults, examine
from aifactory.granulation.rules_source import MandatoryObject
from aifactory.kernel.errors import Invalid
from aifactory.kernel.problems import Busy

SOURCE = (Path(__file__).parents[3] / "examples" / "tides.txt").read_bytes()


def whole() -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made_tree()[0]))
    return tree


def faults(tree: Any, **asked: Any) -> list[tuple[str, str]]:
    found = examine(Examination(tree=msgspec.json.encode(tree), **asked))
    assert isinstance(found, Faults)
    return [(one.pointer, one.code) for one in found.errors]


def examined(tree: Any, **asked: Any) -> Examined:
    found = examine(Examination(tree=msgspec.json.encode(tree), **asked))
    assert isinstance(found, Examined)
    return found


def test_a_tree_is_scored_as_where_it_was_made() -> None:
    tree, assessment = made_tree()
    parameters = {"size": {"perLevel": [2, 3]}}
    found = examined(whole(), source=SOURCE, source_format="text", parameters=parameters)
    assert found.assessment == assessment
    assert (found.structure_type, found.title, found.nodes) == ("quiz", tree.title, 8)


def test_without_a_source_the_checks_against_it_are_skipped_with_the_reason() -> None:
    skipped = examined(whole()).assessment.score.checks_skipped
    assert skipped["spans"] == "no source text was given"
    assert "grounding" in skipped


def test_a_broken_gate_leaves_no_number() -> None:
    tree = whole()
    tree["nodes"][1]["id"] = tree["nodes"][0]["id"]
    score = examined(tree).assessment.score
    assert score.score is None
    assert "ids.unique" in score.gates_failed


def test_mandatory_objects_are_those_given_else_those_of_the_parameters() -> None:
    def missing(**asked: Any) -> list[str]:
        found = examined(whole(), **asked).assessment.violations
        return [one.message for one in found if one.rule == "object.missing"]

    given = (MandatoryObject(name="zeppelin"),)
    parameters = {"objects": [{"name": "bagpipe"}], "size": {"perLevel": [2, 3]}}
    assert "bagpipe" in missing(parameters=parameters)[0]
    (only,) = missing(parameters=parameters, objects=given)
    assert "zeppelin" in only


def test_the_validation_of_the_parameters_is_told_only_when_it_is_there() -> None:
    found = examined(whole(), parameters={"validation": {"threshold": 90}})
    assert (found.threshold, found.level) == (90, 1)
    assert examined(whole(), parameters={}).threshold is None


def deep(levels: int) -> dict[str, Any]:
    node: dict[str, Any] = {"id": "n", "kind": "item", "level": 9, "ordinal": 1, "title": "T"}
    for _ in range(levels - 1):
        node = {**node, "children": [node]}
    return {**whole(), "nodes": [node]}


def test_hostile_trees_are_refused_with_a_pointer() -> None:
    node = whole()["nodes"][0]
    assert faults(None) == [("/tree", "wrong_type")]
    assert faults({}) == [("/tree/structureType", "missing_field")]
    assert faults({**whole(), "title": 5}) == [("/tree/title", "wrong_type")]
    assert faults({**whole(), "nodes": [{**node, "level": "1"}]}) == [("/tree/nodes/0/level", "wrong_type")]
    assert faults({**whole(), "origin": "ghost"}) == [("/tree/origin", "invalid_value")]
    assert faults({**whole(), "structureType": "opera"}) == [("/tree/structureType", "unknown_type")]
    assert faults(whole(), structure_type="course") == [("/structureType", "wrong_type")]
    assert faults({**whole(), "title": "a\x00b"}) == [("/tree/title", "control_character")]
    huge = {**whole(), "nodes": [{**node, "minutes": 2**63}]}
    assert faults(huge) == [("/tree/nodes/0/minutes", "out_of_range")]
    many = {**whole(), "nodes": [{**node, "children": []}] * 1501}
    assert faults(many) == [("/tree/nodes", "too_many_nodes")]
    parts = {**whole(), "fields": {"x": [{}] * 50_001}}
    assert faults(parts) == [("/tree", "too_many_parts")]
    assert faults(deep(11))[0][1] == "too_deep"
    nested: Any = 1
    for _ in range(60):
        nested = [nested]
    assert faults({**whole(), "fields": {"x": nested}})[0][1] == "too_deep"


def test_a_tree_with_a_level_too_many_is_judged_not_refused() -> None:
    tree = whole()
    item = tree["nodes"][0]["children"][0]
    item["children"] = [{**item, "id": "deeper", "level": 3}]
    assert "schema.depth" in examined(tree).assessment.score.gates_failed


@pytest.mark.parametrize("raw", [b"", b"{", b"[" * 100_000, b'{"title": "\xff"}'], ids=len)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    found = examine(Examination(tree=raw))
    assert isinstance(found, Faults)
    assert found.errors[0].pointer == "/tree"


def test_parameters_and_sources_are_refused_in_their_own_place() -> None:
    assert faults(whole(), parameters={"depth": 9}) == [("/parameters/depth", "out_of_range")]
    assert faults(whole(), parameters={"source": {}}) == [("/parameters/source", "misplaced")]
    assert faults(whole(), source=b"\xff\xfe\x00")[0][0] == "/source"


@pytest.mark.anyio
async def test_a_check_that_takes_too_long_is_ended_and_one_more_can_follow() -> None:
    limiter = anyio.CapacityLimiter(1)
    wanted = Examination(tree=msgspec.json.encode(whole()))
    with pytest.raises(Invalid, match="could not be checked"):
        await checking.assess_tree(wanted, limiter, seconds=0)
    assert limiter.borrowed_tokens == 0
    assert (await checking.assess_tree(wanted, limiter)).nodes == 8


@pytest.mark.anyio
async def test_a_check_is_refused_when_all_workers_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "WAIT_SECONDS", 0)
    limiter = anyio.CapacityLimiter(1)
    async with limiter:
        with pytest.raises(Busy):
            await checking.assess_tree(Examination(tree=b"{}"), limiter)
    assert limiter.borrowed_tokens == 0
