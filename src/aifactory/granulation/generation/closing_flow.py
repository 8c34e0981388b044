"""The steps of a flow so joined that each can be reached, and a way leads on from each. Pure."""

from collections.abc import Sequence
from typing import Any

from aifactory.granulation.tree import Node

_MOST_REQUIRED = 12


def flowing(steps: Sequence[Node], *, have_inputs: bool) -> dict[str, dict[str, Any]]:
    """Return the fields, by id, of the steps that a flow needs changed; what they require comes earlier.

    A branch that leads back is rework, one that leads on is not. A decision leads on at least to the next
    step; the last step decides nothing. A step without inputs takes up what the step before it puts out.
    """
    places = {step.id: at for at, step in enumerate(steps)}
    fields = [dict(step.fields) for step in steps]
    for at, own in enumerate(fields):
        if "decision" in own:
            own["decision"] = _decided(own["decision"], at, places)
            if own["decision"] is None or at == len(steps) - 1:
                del own["decision"]
    ahead = {place for own in fields for place in _ahead(own, places)}
    for at in range(1, len(steps)):
        before, own = fields[at - 1], fields[at]
        is_lost = at not in ahead and not own.get("requires")
        if "decision" in before and (is_lost or not _ahead(before, places)):
            required = [one for one in own.get("requires", ()) if one != steps[at - 1].id]
            own["requires"] = [*required, steps[at - 1].id][-_MOST_REQUIRED:]
    if have_inputs:
        _take_up(fields, places)
    return {step.id: own for step, own in zip(steps, fields, strict=True) if own != step.fields}


def _decided(decision: dict[str, Any], at: int, places: dict[str, int]) -> dict[str, Any] | None:
    """A decision whose branches say whether they lead back; None where there are not two ways."""
    ways: dict[int, dict[str, Any]] = {}
    for branch in decision.get("branches", ()):
        place = places.get(branch.get("to", ""), at)
        ahead = {name: value for name, value in branch.items() if name != "rework"}
        ways.setdefault(place, ahead if place > at else {**ahead, "rework": True})
    ways.pop(at, None)
    return {**decision, "branches": list(ways.values())} if len(ways) > 1 else None


def _ahead(fields: dict[str, Any], places: dict[str, int]) -> list[int]:
    branches = fields.get("decision", {}).get("branches", ())
    return [places[branch["to"]] for branch in branches if not branch.get("rework")]


def _take_up(fields: list[dict[str, Any]], places: dict[str, int]) -> None:
    for at, own in enumerate(fields[1:], 1):
        before = [places[one] for one in own.get("requires", ()) if one in places] or [at - 1]
        outputs = fields[before[-1]].get("outputs", ())
        if not own.get("inputs") and outputs:
            own["inputs"] = [outputs[0]]
