"""How a flow goes on: conditions and mapped inputs, as data, never evaluated as code. Pure."""

import operator
from collections.abc import Callable
from typing import Any

from aifactory.resources.interface import FlowStage, StageState

_MISSING = object()
_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


def lookup(document: Any, pointer: str) -> Any:
    """Return what a JSON Pointer (RFC 6901) points at; None when there is nothing."""
    found = _follow(document, pointer)
    return None if found is _MISSING else found


def _follow(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and key.isdecimal() and int(key) < len(document):
            document = document[int(key)]
        else:
            return _MISSING
    return document


def holds(condition: dict[str, Any] | None, document: Any) -> bool:
    """Tell whether a condition holds: ``{path, op, value}``, or ``{and: […]}``, ``{or: […]}``.

    A comparison with something that is not there, or of another type, does not hold.
    """
    if condition is None:
        return True
    if "and" in condition:
        return all(holds(part, document) for part in condition["and"])
    if "or" in condition:
        return any(holds(part, document) for part in condition["or"])
    found, wanted = _follow(document, condition["path"]), condition.get("value")
    match condition["op"]:
        case "exists":
            return (found is not _MISSING) == (wanted is not False)
        case "eq":
            return bool(found == wanted)
        case "ne":
            return bool(found != wanted)
        case "in":
            return isinstance(wanted, list) and found in wanted
        case order:
            return _comparable(found, wanted) and _ORDERINGS[order](found, wanted)


def _comparable(left: Any, right: Any) -> bool:
    numbers = (int, float)
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    return (isinstance(left, numbers) and isinstance(right, numbers)) or (
        isinstance(left, str) and isinstance(right, str)
    )


def mapped_inputs(stage: FlowStage, document: Any) -> dict[str, Any]:
    """Return a stage's mapped inputs: target → what its pointer finds, left out where there is nothing."""
    found = {target: _follow(document, pointer) for target, pointer in stage.input_mapping.items()}
    return {target: value for target, value in found.items() if value is not _MISSING}


def is_fatal(stage: FlowStage, state: StageState) -> bool:
    """Tell whether a stage that ended so ends its execution."""
    return state is StageState.FAILED and stage.required and stage.on_failure in ("fail", "offline")
