"""Conditions, pointers and mapped inputs of flows."""

from typing import Any
from uuid import UUID

import pytest

from aifactory.kernel.ids import text_id
from aifactory.resources.flow import (
    EndedStage,
    document_of,
    end_state,
    holds,
    is_fatal,
    lookup,
    mapped_inputs,
    references_in,
)
from aifactory.resources.interface import FlowStage, StageState

DOCUMENT = {
    "request": {"topic": "tides", "depth": 2, "a/b": {"~": 1}, "yes": True},
    "stages": [{"state": "succeeded", "outputs": {"score": 81.5, "tags": ["x"]}}],
}


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/request/topic", "tides"),
        ("/stages/0/outputs/score", 81.5),
        ("/request/a~1b/~0", 1),
        ("/stages/1/outputs", None),
        ("/stages/x", None),
        ("/stages/00/outputs", None),
        ("/stages/٠/outputs", None),
        ("/stages/0/outputs/tags/" + "9" * 5000, None),
        ("/request/topic/deeper", None),
        ("", DOCUMENT),
    ],
)
def test_a_pointer_finds_its_value_or_nothing(pointer: str, found: Any) -> None:
    assert lookup(DOCUMENT, pointer) == found


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (None, True),
        ({"path": "/request/topic", "op": "eq", "value": "tides"}, True),
        ({"path": "/request/topic", "op": "ne", "value": "tides"}, False),
        ({"path": "/stages/0/outputs/score", "op": "ge", "value": 80}, True),
        ({"path": "/stages/0/outputs/score", "op": "lt", "value": 80}, False),
        ({"path": "/stages/0/outputs/score", "op": "gt", "value": "80"}, False),
        ({"path": "/request/missing", "op": "le", "value": 1}, False),
        ({"path": "/request/missing", "op": "ne", "value": 1}, False),
        ({"path": "/request/missing", "op": "eq", "value": None}, False),
        ({"path": "/request/yes", "op": "eq", "value": 1}, False),
        ({"path": "/request/yes", "op": "ne", "value": 1}, True),
        ({"path": "/request/yes", "op": "in", "value": [1, 2]}, False),
        ({"path": "/request/yes", "op": "eq", "value": True}, True),
        ({"path": "/request/missing", "op": "exists"}, False),
        ({"path": "/request/missing", "op": "exists", "value": False}, True),
        ({"path": "/request/depth", "op": "in", "value": [1, 2]}, True),
        ({"path": "/request/depth", "op": "in", "value": 2}, False),
        (
            {"and": [{"path": "/request/depth", "op": "eq", "value": 2}, {"path": "/x", "op": "exists"}]},
            False,
        ),
        ({"or": [{"path": "/request/depth", "op": "eq", "value": 2}, {"path": "/x", "op": "exists"}]}, True),
    ],
)
def test_a_condition_holds_by_its_value_and_never_by_accident(condition: Any, expected: bool) -> None:
    assert holds(condition, DOCUMENT) is expected


def test_mapped_inputs_leave_out_what_is_not_there() -> None:
    stage = FlowStage(
        worker="w",
        template_ref="t",
        input_mapping={
            "score": "/stages/0/outputs/score",
            "none": "/stages/9/outputs",
            "null": "/request/no",
        },
    )
    document = {**DOCUMENT, "request": {"no": None}}
    assert mapped_inputs(stage, document) == {"score": 81.5}


def test_a_stage_is_seen_by_its_ordinal_and_its_name() -> None:
    course = EndedStage(ordinal=0, name="course", state=StageState.SUCCEEDED, outputs={"n": 1})
    waiting = EndedStage(ordinal=1, name=None, state=StageState.WAITING, outputs=None)
    document = document_of({"topic": "tides"}, [course, waiting])
    assert lookup(document, "/stages/0/outputs/n") == lookup(document, "/stages/course/outputs/n") == 1
    assert lookup(document, "/stages/course/state") == "succeeded"
    assert lookup(document, "/stages/1/outputs") == {}


def test_only_what_looks_like_a_reference_is_one() -> None:
    wanted = UUID(int=7)
    mapped = {
        "mine": {"dataRef": text_id("data", wanted)},
        "other": {"dataRef": "tree_x"},
        "odd": {"dataRef": 7},
        "text": text_id("data", wanted),
        "more": ["dataRef"],
    }
    assert references_in(mapped) == {"mine": wanted, "other": None, "odd": None}


@pytest.mark.parametrize(
    ("required", "on_failure", "fatal"),
    [(True, "fail", True), (True, "skip", False), (True, "continue_partial", False), (False, "fail", False)],
)
def test_only_a_required_failure_ends_the_execution(required: bool, on_failure: str, fatal: bool) -> None:
    stage = FlowStage(worker="w", template_ref="t", required=required, on_failure=on_failure)
    assert is_fatal(stage, StageState.FAILED) is fatal
    assert not is_fatal(stage, StageState.SUCCEEDED)


def test_a_failure_to_be_skipped_counts_as_skipped() -> None:
    stage = FlowStage(worker="w", template_ref="t", on_failure="skip")
    assert end_state(stage, StageState.FAILED) is StageState.SKIPPED
    assert end_state(stage, StageState.PARTIAL) is StageState.PARTIAL
