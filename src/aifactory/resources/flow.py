"""How a flow goes on: conditions and mapped inputs, as data, never evaluated as code. Pure."""

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.errors import FieldError, Invalid, invalid
from aifactory.kernel.ids import parse_id
from aifactory.kernel.problems import escape
from aifactory.resources.interface import FlowStage, Reason, StageState

STAGES = "stages"
#: Why a stage is skipped in which nothing went wrong.
NOT_WANTED = Reason(code="not_wanted", message="Its condition did not hold.")
NOT_REACHED = Reason(code="not_reached", message="The execution ended before this stage.")
_MISSING = object()
_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


class EndedStage(msgspec.Struct, frozen=True, kw_only=True):
    """What later stages can see of a stage."""

    ordinal: int
    name: str | None
    state: StageState
    outputs: dict[str, Any] | None


def label(ordinal: int, name: str | None) -> str:
    """Return what a stage is called: its name, else its ordinal."""
    return name if name is not None else str(ordinal)


def document_of(request: Mapping[str, Any], stages: Iterable[EndedStage]) -> dict[str, Any]:
    """Return what pointers point into; a stage stands under its ordinal and under its name."""
    told: dict[str, Any] = {}
    for stage in stages:
        seen = {"state": stage.state.value, "outputs": stage.outputs or {}}
        told[str(stage.ordinal)] = seen
        if stage.name is not None:
            told[stage.name] = seen
    return {"request": dict(request), STAGES: told}


def lookup(document: Any, pointer: str) -> Any:
    """Return what a JSON Pointer (RFC 6901) points at; None when there is nothing."""
    found = _follow(document, pointer)
    return None if found is _MISSING else found


def _follow(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and _is_index(key) and int(key) < len(document):
            document = document[int(key)]
        else:
            return _MISSING
    return document


def _is_index(key: str) -> bool:
    return len(key) < 10 and key.isascii() and key.isdecimal() and (key == "0" or key[0] != "0")


def holds(condition: dict[str, Any] | None, document: Any) -> bool:
    """Tell whether a condition holds: ``{path, op, value}``, or ``{and: […]}``, ``{or: […]}``.

    A comparison with something that is not there, or of another type, does not hold; ``ne`` holds for
    whatever is there and differs.
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
            return _equal(found, wanted)
        case "ne":
            return found is not _MISSING and not _equal(found, wanted)
        case "in":
            return isinstance(wanted, list) and any(_equal(found, one) for one in wanted)
        case order:
            return _comparable(found, wanted) and _ORDERINGS[order](found, wanted)


def _equal(left: Any, right: Any) -> bool:
    """Compare as JSON does: true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


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
    return {target: value for target, value in found.items() if value not in (_MISSING, None)}


def references_in(mapped: Mapping[str, Any]) -> dict[str, UUID | None]:
    """Return the ids of stored data among mapped values, by target; None for one that is no id at all."""
    return {
        target: parse_id("data", value["dataRef"]) if isinstance(value["dataRef"], str) else None
        for target, value in mapped.items()
        if isinstance(value, dict) and "dataRef" in value
    }


def end_state(stage: FlowStage, state: StageState) -> StageState:
    """Return the state that a stage ends in: one whose failure is to be skipped counts as skipped."""
    skips = state is StageState.FAILED and stage.on_failure == "skip"
    return StageState.SKIPPED if skips else state


def is_fatal(stage: FlowStage, state: StageState) -> bool:
    """Tell whether a stage that ended so ends its execution."""
    return state is StageState.FAILED and stage.required and stage.on_failure in ("fail", "offline")


# What a request says for each stage.


def check_stage_parameters(flow: tuple[FlowStage, ...], parameters: Mapping[str, Any]) -> None:
    """Refuse parameters of unknown stages, and what can't be said for one stage alone. Raises Invalid."""
    given = parameters.get(STAGES)
    if given is None:
        return
    at = f"/parameters/{STAGES}"
    if not isinstance(given, dict):
        raise invalid(at, "wrong_type", f"{at}: an object, of a stage's name to its parameters.")
    known = {label(ordinal, stage.name) for ordinal, stage in enumerate(flow)}
    for name, own in given.items():
        place = f"{at}/{escape(name)}"
        if name not in known:
            message = f"{place}: this template has no such stage; it has {', '.join(sorted(known))}."
            raise invalid(place, "unknown_stage", message)
        if not isinstance(own, dict):
            raise invalid(place, "wrong_type", f"{place}: an object of parameters.")
        if "source" in own:
            message = f"{place}/source: the source belongs to the whole request: parameters.source."
            raise invalid(f"{place}/source", "not_for_one_stage", message)


def parameters_of(ordinal: int, stage: FlowStage, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a request asks of one stage: its own parameters over those for all.

    Objects in both are merged one level deep.
    """
    merged = {name: value for name, value in parameters.items() if name != STAGES}
    for name, value in _own(ordinal, stage, parameters).items():
        shared = merged.get(name)
        if isinstance(shared, dict) and isinstance(value, dict):
            value = {**shared, **value}
        merged[name] = value
    return merged


def _own(ordinal: int, stage: FlowStage, parameters: Mapping[str, Any]) -> dict[str, Any]:
    found = (parameters.get(STAGES) or {}).get(label(ordinal, stage.name))
    return found if isinstance(found, dict) else {}


def at_stage(refusal: Invalid, ordinal: int, stage: FlowStage, parameters: Mapping[str, Any]) -> Invalid:
    """Return a stage's refusal with its name, and pointers to where the request says what is refused."""
    own, name = _own(ordinal, stage, parameters), label(ordinal, stage.name)

    def moved(fault: FieldError) -> FieldError:
        head, _, rest = fault.pointer.removeprefix("/parameters/").partition("/")
        pointer = fault.pointer
        if pointer.startswith("/parameters/") and head in own:
            pointer = f"/parameters/{STAGES}/{name}/{head}" + (f"/{rest}" if rest else "")
        elif not pointer.startswith("/parameters"):
            pointer = f"/flow/{ordinal}{pointer}"
        return msgspec.structs.replace(fault, pointer=pointer, message=f"Stage {name}: {fault.message}")

    return Invalid(f"Stage {name}: {refusal.detail}", errors=tuple(moved(one) for one in refusal.errors))
