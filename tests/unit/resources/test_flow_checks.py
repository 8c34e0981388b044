"""What is refused of a flow when it is stored, and where."""

from typing import Any

import msgspec
import pytest

from aifactory.kernel.errors import Invalid, invalid
from aifactory.resources.flow import at_stage, check_stage_parameters, parameters_of
from aifactory.resources.flow_checks import below_stage, check_flow, check_links
from aifactory.resources.interface import FlowStage, Ports

PORTS = Ports(
    takes={"topic": "text", "source": "tree"},
    gives={"tree": "tree", "title": "text", "score": "number", "counts": "object"},
    needed=frozenset({"source"}),
)
STAGE: dict[str, Any] = {"worker": "w", "templateRef": "t"}
FIRST = {**STAGE, "name": "course"}


def flow_of(*stages: dict[str, Any]) -> tuple[FlowStage, ...]:
    return msgspec.convert(stages, tuple[FlowStage, ...])


def refused(*stages: dict[str, Any], ports: Ports | None = PORTS) -> tuple[str, str, str]:
    """Return pointer, code and message of a flow's refusal."""
    with pytest.raises(Invalid) as found:
        accepted(*stages, ports=ports)
    (fault,) = found.value.errors
    return fault.pointer, fault.code, fault.message


def accepted(*stages: dict[str, Any], ports: Ports | None = PORTS) -> None:
    flow = flow_of(*stages)
    check_flow(flow)
    check_links(flow, [ports] * len(flow))


def nested(depth: int) -> dict[str, Any]:
    condition: dict[str, Any] = {"path": "/request/x", "op": "exists"}
    for _ in range(depth - 1):
        condition = {"and": [condition]}
    return condition


def compared(**changes: Any) -> dict[str, Any]:
    return {**STAGE, "condition": {"path": "/request/x", "op": "eq", "value": 1} | changes}


@pytest.mark.parametrize(
    ("stages", "pointer", "code"),
    [
        ([], "/flow", "out_of_range"),
        ([STAGE] * 21, "/flow", "out_of_range"),
        ([{**STAGE, "worker": "Bad"}], "/flow/0/worker", "bad_name"),
        ([{**STAGE, "name": "0"}], "/flow/0/name", "bad_name"),
        ([{**STAGE, "name": "a/b"}], "/flow/0/name", "bad_name"),
        ([FIRST, FIRST], "/flow/1/name", "duplicate"),
        ([{**STAGE, "retries": -1}], "/flow/0/retries", "out_of_range"),
        ([{**STAGE, "retries": 11}], "/flow/0/retries", "out_of_range"),
        ([{**STAGE, "onFailure": "skipp"}], "/flow/0/onFailure", "invalid_value"),
        ([{**STAGE, "inputMapping": {"a b": "/request/x"}}], "/flow/0/inputMapping/a b", "bad_name"),
        ([{**STAGE, "inputMapping": {"topic": "request/x"}}], "/flow/0/inputMapping/topic", "bad_pointer"),
        ([{**STAGE, "inputMapping": {"topic": "/request/~2"}}], "/flow/0/inputMapping/topic", "bad_pointer"),
        (
            [{**STAGE, "inputMapping": {"topic": "/request/" + "x" * 300}}],
            "/flow/0/inputMapping/topic",
            "bad_pointer",
        ),
        (
            [{**STAGE, "inputMapping": {"topic": "/stages/0/outputs/title"}}],
            "/flow/0/inputMapping/topic",
            "later_stage",
        ),
        (
            [FIRST, {**STAGE, "inputMapping": {"topic": "/stages/2/outputs/title"}}, STAGE],
            "/flow/1/inputMapping/topic",
            "later_stage",
        ),
        (
            [FIRST, {**STAGE, "inputMapping": {"topic": "/stages/cours/outputs/title"}}],
            "/flow/1/inputMapping/topic",
            "unknown_stage",
        ),
        ([{**STAGE, "condition": {}}], "/flow/0/condition", "bad_condition"),
        ([{**STAGE, "condition": {"and": []}}], "/flow/0/condition/and", "bad_condition"),
        ([{**STAGE, "condition": {"or": [1]}}], "/flow/0/condition/or/0", "bad_condition"),
        (
            [{**STAGE, "condition": {"and": [nested(1)], "or": [nested(1)]}}],
            "/flow/0/condition",
            "bad_condition",
        ),
        ([{**STAGE, "condition": nested(5)}], "/flow/0/condition/and/0/and/0/and/0/and/0", "too_deep"),
        ([{**STAGE, "condition": {"and": [nested(1)] * 21}}], "/flow/0/condition/and/20", "too_many"),
        ([compared(op="equals")], "/flow/0/condition", "bad_condition"),
        ([compared(op=["eq"])], "/flow/0/condition", "bad_condition"),
        ([compared(op="gt", value=True)], "/flow/0/condition/value", "wrong_type"),
        ([compared(op="gt", value=None)], "/flow/0/condition/value", "wrong_type"),
        ([compared(op="in", value="abc")], "/flow/0/condition/value", "wrong_type"),
        ([compared(op="in", value=[])], "/flow/0/condition/value", "wrong_type"),
        ([compared(op="in", value=[[1]])], "/flow/0/condition/value", "wrong_type"),
        ([compared(op="exists", value=1)], "/flow/0/condition/value", "wrong_type"),
        ([compared(value={"a": 1})], "/flow/0/condition/value", "wrong_type"),
        (
            [{**STAGE, "condition": {"path": "/request/x", "op": "eq"}}],
            "/flow/0/condition/value",
            "wrong_type",
        ),
        ([compared(path="/stages/0/state")], "/flow/0/condition/path", "later_stage"),
        ([compared(path=5)], "/flow/0/condition/path", "bad_pointer"),
    ],
)
def test_a_flow_of_the_wrong_shape_is_refused_where_it_is_wrong(
    stages: list[dict[str, Any]], pointer: str, code: str
) -> None:
    assert refused(*stages)[:2] == (pointer, code)


@pytest.mark.parametrize(
    ("mapping", "code"),
    [
        ({"topics": "/request/x"}, "unknown_target"),
        ({"topic": "/stages/course/outputs/titel"}, "unknown_output"),
        ({"topic": "/stages/course/outputs/score"}, "wrong_kind"),
        ({"topic": "/stages/course/outputs/tree"}, "wrong_kind"),
        ({"topic": "/stages/course/outputs/title/0"}, "bad_pointer"),
        ({"topic": "/stages/course/outputs"}, "bad_pointer"),
        ({"topic": "/stages/course"}, "bad_pointer"),
        ({"topic": "/stages/course/inputs/topic"}, "bad_pointer"),
        ({"source": "/request/source"}, "wrong_kind"),
        ({"source": "/stages/course/outputs/tree/dataRef"}, "wrong_kind"),
    ],
)
def test_what_a_pointer_promises_must_be_there_and_of_its_kind(mapping: dict[str, str], code: str) -> None:
    (target,) = mapping
    found = refused(FIRST, {**STAGE, "inputMapping": mapping})
    assert found[:2] == (f"/flow/1/inputMapping/{target}", code)


@pytest.mark.parametrize(
    ("path", "op", "value", "code"),
    [
        ("/stages/course/outputs/score", "ge", "80", "wrong_type"),
        ("/stages/course/outputs/score", "eq", True, "wrong_type"),
        ("/stages/course/outputs/title", "in", ["a", 1], "wrong_type"),
        ("/stages/0/state", "eq", "succeded", "invalid_value"),
        ("/stages/0/state", "in", ["partial", None], "invalid_value"),
    ],
)
def test_a_comparison_that_can_never_hold_is_refused(path: str, op: str, value: Any, code: str) -> None:
    condition = {"and": [OTHER, {"path": path, "op": op, "value": value}]}
    pointer, found, message = refused(FIRST, {**STAGE, "condition": condition})
    assert (pointer, found) == ("/flow/1/condition/and/1/value", code)
    assert "near: succeeded" in message or "succeded" not in str(value)


@pytest.mark.parametrize(
    ("path", "op", "value"),
    [
        ("/stages/course/outputs/score", "ge", 80),
        ("/stages/course/outputs/counts/item", "gt", 3),
        ("/stages/course/outputs/title", "in", ["a", "b"]),
        ("/stages/course/outputs/score", "exists", False),
        ("/stages/0/state", "in", ["succeeded", "partial", "skipped"]),
        ("/request/level", "eq", 1),
    ],
)
def test_a_comparison_that_can_hold_is_taken(path: str, op: str, value: Any) -> None:
    accepted(FIRST, {**STAGE, "condition": {"path": path, "op": op, "value": value}})


def test_objectives_come_from_a_tree_that_has_some_and_a_source_from_any() -> None:
    quiz = {**STAGE, "inputMapping": {"objectives": "/stages/course/outputs/tree"}}
    takes = PORTS.takes | {"objectives": "objectives"}
    pointer, code, message = refused(FIRST, quiz, ports=msgspec.structs.replace(PORTS, takes=takes))
    assert (pointer, code) == ("/flow/1/inputMapping/objectives", "wrong_kind")
    assert "has no objectives" in message
    gives = PORTS.gives | {"tree": "objectives"}
    both = msgspec.structs.replace(PORTS, takes=takes, gives=gives)
    accepted(FIRST, quiz, ports=both)
    accepted(FIRST, MAPPED, ports=both)


def test_a_template_brings_no_source_of_its_own() -> None:
    stage = {**STAGE, "paramsOverride": {"source": {"dataRef": "data_1"}}}
    assert refused(stage)[:2] == ("/flow/0/paramsOverride/source", "not_for_one_stage")


def test_near_names_are_told() -> None:
    course = {**STAGE, "inputMapping": {"topic": "/stages/coarse/outputs/title"}}
    assert "near: course" in refused(FIRST, course)[2]
    assert "near: topic" in refused({**STAGE, "inputMapping": {"topics": "/request/x"}})[2]
    assert "near: title" in refused(FIRST, {**STAGE, "inputMapping": {"topic": "/stages/0/outputs/titel"}})[2]
    assert "near: skip" in refused({**STAGE, "onFailure": "skipp"})[2]


GUARD = {"path": "/stages/course/outputs/tree", "op": "exists"}
OTHER = {"path": "/request/x", "op": "exists"}
MAPPED = {**STAGE, "inputMapping": {"source": "/stages/0/outputs/tree"}}


@pytest.mark.parametrize(
    "absent",
    [
        {"required": False},
        {"condition": {"path": "/request/x", "op": "exists"}},
        {"onFailure": "skip"},
        {"onFailure": "continue_partial"},
    ],
)
def test_what_is_needed_comes_from_a_stage_that_is_there_or_is_asked_for(absent: dict[str, Any]) -> None:
    course = {**FIRST, **absent}
    assert refused(course, MAPPED)[1] == "may_be_skipped"
    assert refused(course, MAPPED, ports=None)[1] == "may_be_skipped"
    for guard in (GUARD, {"and": [OTHER, GUARD]}, {"or": [GUARD, {"and": [OTHER, GUARD]}]}):
        accepted(course, {**MAPPED, "condition": guard})
    score = {"path": "/stages/course/outputs/score", "op": "ge", "value": 60}
    accepted(course, {**MAPPED, "condition": score})
    for guard in (OTHER, {"or": [OTHER, GUARD]}, {**GUARD, "value": False}):
        assert refused(course, {**MAPPED, "condition": guard})[1] == "may_be_skipped"
    accepted(course, {**STAGE, "inputMapping": {"topic": "/stages/0/outputs/title"}})


def test_a_whole_flow_is_accepted_by_name_and_by_ordinal() -> None:
    counted = {"path": "/stages/0/outputs/counts/section", "op": "ge", "value": 4}
    state = {"path": "/stages/course/state", "op": "in", "value": ["succeeded", "partial"]}
    accepted(FIRST, MAPPED, {**STAGE, "condition": {"or": [counted, {"and": [state, nested(2)]}]}})
    accepted(FIRST, {**STAGE, "inputMapping": {"anything": "/stages/course/outputs/any/0"}}, ports=None)


def test_a_request_speaks_of_stages_that_there_are() -> None:
    flow = flow_of(FIRST, STAGE)
    check_stage_parameters(flow, {"stages": {"course": {}, "1": {"depth": 2}}})
    for given, pointer in (
        ([], "/parameters/stages"),
        ({"0": {}}, "/parameters/stages/0"),
        ({"quiz": {}}, "/parameters/stages/quiz"),
        ({"a/b": {}}, "/parameters/stages/a~1b"),
        ({"course": 3}, "/parameters/stages/course"),
        ({"course": {"source": {}}}, "/parameters/stages/course/source"),
    ):
        with pytest.raises(Invalid) as found:
            check_stage_parameters(flow, {"stages": given})
        assert found.value.errors[0].pointer == pointer


def test_a_stage_s_own_parameters_stand_over_those_for_all() -> None:
    parameters = {
        "topic": "a",
        "constraints": {"maxModules": 3, "estimatedHours": 2},
        "stages": {"course": {"topic": "b", "constraints": {"maxModules": 1}}},
    }
    course, other = flow_of(FIRST, STAGE)
    both = {"maxModules": 1, "estimatedHours": 2}
    assert parameters_of(0, course, parameters) == {"topic": "b", "constraints": both}
    assert parameters_of(1, other, parameters) == {
        "topic": "a",
        "constraints": {"maxModules": 3, "estimatedHours": 2},
    }


def test_a_refusal_names_the_stage_and_points_to_what_the_request_says() -> None:
    course = flow_of(FIRST)[0]
    parameters = {"level": "x", "stages": {"course": {"size": {"perLevel": [9]}}}}
    for pointer, moved in (
        ("/parameters/size/perLevel/0", "/parameters/stages/course/size/perLevel/0"),
        ("/parameters/size", "/parameters/stages/course/size"),
        ("/parameters/level", "/parameters/level"),
        ("/action", "/flow/0/action"),
    ):
        found = at_stage(invalid(pointer, "bad", "It is bad."), 0, course, parameters)
        assert (found.errors[0].pointer, found.errors[0].message) == (moved, "Stage course: It is bad.")
        assert found.detail.startswith("Stage course: ")


def test_what_a_worker_refuses_of_a_template_points_into_its_flow() -> None:
    found = below_stage(invalid("/parameters/depth", "bad", "It is bad."), 2)
    assert found.errors[0].pointer == "/flow/2/paramsOverride/depth"
    assert below_stage(invalid("/action", "bad", "No."), 2).errors[0].pointer == "/flow/2/action"
