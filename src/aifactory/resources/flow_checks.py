"""What can be wrong with a flow before it runs: shapes, and what its stages give each other. Pure."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aifactory.kernel.errors import Invalid, invalid
from aifactory.kernel.problems import escape
from aifactory.resources.flow import label
from aifactory.resources.interface import FlowStage, Ports, StageState

MAX_STAGES = 20
MAX_RETRIES = 10
MAX_TARGETS = 20
MAX_CONDITION_DEPTH = 4
MAX_COMPARISONS = 20
MAX_VALUES = 100
ON_FAILURE = ("fail", "skip", "continue_partial", "offline")
OPERATORS = ("eq", "ne", "gt", "ge", "lt", "le", "exists", "in")

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_TARGET = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_POINTER = re.compile(r"/(?:request|stages/(?P<stage>[^/~]{1,32}))(?P<rest>(?:/(?:[^~/]|~[01])*)*)")
_LONGEST_POINTER = 300
_LONGEST_TEXT = 1_000
_LARGEST = 2**53
_TREES = ("tree", "objectives")
# Kinds that a value can be deeper than.
_DEEP = ("object", "list", *_TREES)
# What a later stage can see an earlier one in.
_ENDED = (StageState.SUCCEEDED, StageState.PARTIAL, StageState.FAILED, StageState.SKIPPED)


def check_flow(flow: Sequence[FlowStage]) -> None:
    """Check what can be checked without the workers. Raises Invalid with a pointer below ``/flow``."""
    if not 1 <= len(flow) <= MAX_STAGES:
        raise invalid("/flow", "out_of_range", f"A flow has 1 to {MAX_STAGES} stages.")
    names: set[str] = set()
    for index, stage in enumerate(flow):
        at = f"/flow/{index}"
        _check_names(at, stage, names)
        if not 0 <= stage.retries <= MAX_RETRIES:
            raise invalid(f"{at}/retries", "out_of_range", f"{at}/retries: 0 to {MAX_RETRIES}.")
        if stage.on_failure not in ON_FAILURE:
            message = f"{at}/onFailure: one of {', '.join(ON_FAILURE)}{_near(stage.on_failure, ON_FAILURE)}."
            raise invalid(f"{at}/onFailure", "invalid_value", message)
        if "source" in stage.params_override:
            message = f"{at}/paramsOverride/source: a source is the request's, or comes by inputMapping."
            raise invalid(f"{at}/paramsOverride/source", "not_for_one_stage", message)
        _check_mapping(f"{at}/inputMapping", stage.input_mapping, index, flow)
        if stage.condition is not None:
            left = [MAX_COMPARISONS]
            _check_condition(f"{at}/condition", stage.condition, index, flow, 1, left)


def _check_names(at: str, stage: FlowStage, taken: set[str]) -> None:
    fields = {"worker": stage.worker, "templateRef": stage.template_ref, "action": stage.action}
    for field, name in fields.items():
        if not _NAME.fullmatch(name):
            message = f"{at}/{field}: a-z, 0-9, _ . - only, at most 64, starting with a letter."
            raise invalid(f"{at}/{field}", "bad_name", message)
    if stage.name is None:
        return
    if not _STAGE_NAME.fullmatch(stage.name):
        message = f"{at}/name: a-z, 0-9, _ - only, at most 32, starting with a letter."
        raise invalid(f"{at}/name", "bad_name", message)
    if stage.name in taken:
        raise invalid(f"{at}/name", "duplicate", f"{at}/name: an earlier stage is called {stage.name} too.")
    taken.add(stage.name)


def _check_mapping(at: str, mapping: Mapping[str, Any], stage: int, flow: Sequence[FlowStage]) -> None:
    if len(mapping) > MAX_TARGETS:
        raise invalid(at, "too_many_keys", f"{at}: at most {MAX_TARGETS} targets.")
    for target, pointer in mapping.items():
        place = f"{at}/{escape(target)}"
        if not _TARGET.fullmatch(target):
            raise invalid(place, "bad_name", f"{place}: letters, digits and _ only, at most 64.")
        _check_pointer(place, pointer, stage, flow)


def _check_pointer(at: str, pointer: Any, stage: int, flow: Sequence[FlowStage]) -> None:
    """Check that a pointer leads into the request or into an earlier stage."""
    short = isinstance(pointer, str) and len(pointer) <= _LONGEST_POINTER
    match = _POINTER.fullmatch(pointer) if short else None
    if match is None:
        message = f"{at}: a JSON Pointer into /request or an earlier /stages/N, N an ordinal or a name."
        raise invalid(at, "bad_pointer", message)
    if match["stage"] is None:
        return
    found = _ordinal(match["stage"], flow)
    if found is None:
        names = [label(ordinal, one.name) for ordinal, one in enumerate(flow[:stage])]
        message = f"{at}: there is no stage {match['stage']!r}{_near(match['stage'], names)}."
        raise invalid(at, "unknown_stage", message)
    if found >= stage:
        message = f"{at}: stage {match['stage']} has not run by then; only earlier stages can be pointed to."
        raise invalid(at, "later_stage", message)


def _ordinal(name: str, flow: Sequence[FlowStage]) -> int | None:
    for ordinal, stage in enumerate(flow):
        if name in (str(ordinal), stage.name):
            return ordinal
    return None


def _check_condition(
    at: str, condition: Any, stage: int, flow: Sequence[FlowStage], depth: int, left: list[int]
) -> None:
    if not isinstance(condition, dict):
        raise invalid(at, "bad_condition", f"{at}: {{path, op, value}}, or and/or with a list of them.")
    if depth > MAX_CONDITION_DEPTH:
        raise invalid(at, "too_deep", f"{at}: at most {MAX_CONDITION_DEPTH} levels of conditions.")
    keys = set(condition)
    if keys in ({"and"}, {"or"}):
        key = keys.pop()
        inner = condition[key]
        if not isinstance(inner, list) or not inner:
            raise invalid(f"{at}/{key}", "bad_condition", f"{at}/{key}: a list of conditions.")
        for index, part in enumerate(inner):
            _check_condition(f"{at}/{key}/{index}", part, stage, flow, depth + 1, left)
        return
    left[0] -= 1
    if left[0] < 0:
        raise invalid(at, "too_many", f"{at}: at most {MAX_COMPARISONS} comparisons in a condition.")
    op = condition.get("op")
    if not {"path", "op"} <= keys <= {"path", "op", "value"} or op not in OPERATORS:
        hint = _near(op, OPERATORS) if isinstance(op, str) else ""
        raise invalid(at, "bad_condition", f"{at}: path, op (one of {', '.join(OPERATORS)}) and value{hint}.")
    _check_pointer(f"{at}/path", condition["path"], stage, flow)
    _check_value(f"{at}/value", op, condition)


def _check_value(at: str, op: str, condition: Mapping[str, Any]) -> None:
    """Check that a value can be compared by its operator at all."""
    value = condition.get("value")
    if op == "exists":
        fits, wanted = value is None or isinstance(value, bool), "true, false or left out"
    elif op == "in":
        fits = isinstance(value, list) and 1 <= len(value) <= MAX_VALUES and all(map(_is_scalar, value))
        wanted = f"a list of 1 to {MAX_VALUES} texts, numbers, booleans or null"
    elif op in ("eq", "ne"):
        fits, wanted = "value" in condition and _is_scalar(value), "a text, a number, a boolean or null"
    else:
        fits = _is_scalar(value) and (isinstance(value, str) or _is_number(value))
        wanted = "a number or a text"
    if not fits:
        raise invalid(at, "wrong_type", f"{at}: {op} compares with {wanted}.")


def _is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    if isinstance(value, bool) or value is None:
        return True
    return isinstance(value, int | float) and -_LARGEST <= value <= _LARGEST


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; near: {', '.join(found)}" if found else ""


# What stages give each other.


def check_links(flow: Sequence[FlowStage], ports: Sequence[Ports | None]) -> None:
    """Check that what pointers promise can be there. ``ports`` are the stages'. Raises Invalid.

    An input that its stage can't do without may come from a stage that can be left out only if the stage's
    own condition asks whether it is there.
    """
    for index, stage in enumerate(flow):
        at = f"/flow/{index}"
        for target, pointer in stage.input_mapping.items():
            place = f"{at}/inputMapping/{escape(target)}"
            _check_target(place, target, ports[index])
            _check_source(place, pointer, flow, ports, _wanted_kind(target, ports[index]))
            _check_presence(place, target, pointer, index, flow, ports)
        for place, compared in _comparisons(f"{at}/condition", stage.condition):
            _check_source(f"{place}/path", compared["path"], flow, ports, None)
            _check_compared(f"{place}/value", compared, flow, ports)


def _check_target(at: str, target: str, own: Ports | None) -> None:
    if own is not None and target not in own.takes:
        known = ", ".join(sorted(own.takes)) or "nothing"
        raise invalid(at, "unknown_target", f"{at}: this stage takes {known}{_near(target, own.takes)}.")


def _wanted_kind(target: str, own: Ports | None) -> str | None:
    return None if own is None else own.takes[target]


def _check_source(
    at: str, pointer: str, flow: Sequence[FlowStage], ports: Sequence[Ports | None], wanted: str | None
) -> None:
    """Check that a pointer leads to an output that its stage has, of the kind that is wanted."""
    match = _POINTER.fullmatch(pointer)
    assert match is not None, "check_flow comes first"
    if match["stage"] is None:
        if wanted in _TREES:
            raise invalid(at, "wrong_kind", f"{at}: this takes the tree of an earlier stage, {_TREE_HINT}.")
        return
    ordinal = _ordinal(match["stage"], flow)
    assert ordinal is not None, "check_flow comes first"
    head, *rest = match["rest"].split("/")[1:] or [""]
    if head == "state" and not rest and wanted in (None, "text"):
        return
    if head != "outputs" or not rest:
        message = f"{at}: a stage has its state, and outputs as in /stages/{match['stage']}/outputs/title."
        raise invalid(at, "bad_pointer", message)
    name, *deeper = (part.replace("~1", "/").replace("~0", "~") for part in rest)
    theirs = ports[ordinal]
    if theirs is None:
        return
    if name not in theirs.gives:
        known = ", ".join(sorted(theirs.gives)) or "nothing"
        message = f"{at}: stage {match['stage']} leaves {known}{_near(name, theirs.gives)}."
        raise invalid(at, "unknown_output", message)
    kind = theirs.gives[name]
    if deeper and kind not in _DEEP:
        raise invalid(at, "bad_pointer", f"{at}: {name} is a {kind}; nothing is below it.")
    if not deeper and wanted == "objectives" and kind == "tree":
        message = f"{at}: stage {match['stage']} makes a tree that has no objectives."
        raise invalid(at, "wrong_kind", message)
    if not deeper and wanted is not None and kind != wanted and not (wanted == "tree" and kind in _TREES):
        raise invalid(at, "wrong_kind", f"{at}: {name} is a {_said(kind)}, and a {_said(wanted)} is wanted.")
    if deeper and wanted in _TREES:
        raise invalid(at, "wrong_kind", f"{at}: this takes the tree of an earlier stage, {_TREE_HINT}.")


_TREE_HINT = "as in /stages/0/outputs/tree"


def _said(kind: str) -> str:
    return "tree" if kind in _TREES else kind


def _check_compared(
    at: str, compared: Mapping[str, Any], flow: Sequence[FlowStage], ports: Sequence[Ports | None]
) -> None:
    """Refuse a comparison with a value that can never be there: it would silently never hold."""
    match = _POINTER.fullmatch(compared["path"])
    if compared["op"] == "exists" or match is None or match["stage"] is None:
        return
    values = compared["value"] if compared["op"] == "in" else [compared["value"]]
    if match["rest"] == "/state":
        wrong = [value for value in values if value not in list(_ENDED)]
        if wrong:
            hint = _near(wrong[0], _ENDED) if isinstance(wrong[0], str) else ""
            raise invalid(at, "invalid_value", f"{at}: a stage ends as one of {', '.join(_ENDED)}{hint}.")
        return
    theirs = ports[_ordinal(match["stage"], flow) or 0]
    name = match["rest"].removeprefix("/outputs/")
    kind = theirs.gives.get(name) if theirs is not None else None
    if kind == "number" and not all(_is_number(one) for one in values):
        raise invalid(at, "wrong_type", f"{at}: {name} is a number; compare it with one.")
    if kind == "text" and not all(isinstance(one, str) for one in values):
        raise invalid(at, "wrong_type", f"{at}: {name} is a text; compare it with one.")


def _check_presence(
    at: str,
    target: str,
    pointer: str,
    index: int,
    flow: Sequence[FlowStage],
    ports: Sequence[Ports | None],
) -> None:
    own = ports[index]
    if own is not None and target not in own.needed:
        return
    match = _POINTER.fullmatch(pointer)
    name = match["stage"] if match is not None else None
    ordinal = None if name is None else _ordinal(name, flow)
    if ordinal is None or not can_be_absent(flow[ordinal]):
        return
    if any(_same_stage(path, ordinal, flow) for path in _guards(flow[index].condition)):
        return
    raise invalid(
        at,
        "may_be_skipped",
        f"{at}: stage {name} can be skipped or fail, and then there is nothing here. Make it required with "
        f'onFailure fail and no condition, or give this stage the condition {{"path": "{pointer}", '
        '"op": "exists"}.',
    )


def can_be_absent(stage: FlowStage) -> bool:
    """Tell whether an execution can go on without a stage's outputs."""
    return (
        not stage.required or stage.condition is not None or stage.on_failure in ("skip", "continue_partial")
    )


def _guards(condition: dict[str, Any] | None) -> Iterable[str]:
    """Yield the paths that must lead to something for a condition to hold."""
    if condition is None:
        return
    if "and" in condition:
        for part in condition["and"]:
            yield from _guards(part)
    elif "or" in condition:
        alternatives = [set(_guards(part)) for part in condition["or"]]
        yield from set.intersection(*alternatives)
    elif condition["op"] != "exists" or condition.get("value") is not False:
        yield condition["path"]


def _same_stage(path: str, ordinal: int, flow: Sequence[FlowStage]) -> bool:
    match = _POINTER.fullmatch(path)
    if match is None or match["stage"] is None or not match["rest"].startswith("/outputs/"):
        return False
    return _ordinal(match["stage"], flow) == ordinal


def _comparisons(at: str, condition: dict[str, Any] | None) -> Iterable[tuple[str, dict[str, Any]]]:
    if condition is None:
        return
    for key in ("and", "or"):
        if key in condition:
            for index, part in enumerate(condition[key]):
                yield from _comparisons(f"{at}/{key}/{index}", part)
            return
    yield at, condition


def below_stage(refusal: Invalid, index: int) -> Invalid:
    """Return what a worker refuses of a stage of a template, with pointers into the flow."""
    at = f"/flow/{index}"
    faults = []
    for fault in refusal.errors:
        inside = fault.pointer.removeprefix("/parameters")
        pointer = f"{at}/paramsOverride{inside}" if inside != fault.pointer else f"{at}{fault.pointer}"
        faults.append((pointer, fault))
    shown = "; ".join(f"{pointer}: {fault.message}" for pointer, fault in faults) or refusal.detail
    errors = tuple(
        type(fault)(pointer=pointer, code=fault.code, message=fault.message) for pointer, fault in faults
    )
    return Invalid(f"The flow can't run: {shown}", errors=errors)
