"""The frame of a workflow: what any piece of work goes through, from the order to what is learnt of it."""

from typing import Any

import msgspec

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.frames.phases import DOER, OWNER, PHASES, REVIEWER, Step
from aifactory.granulation.offline.frames.topic import names_in, wording_of
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.objectives import listed
from aifactory.granulation.offline.telling import placed
from aifactory.granulation.offline.titles import fit_title
from aifactory.granulation.tree import Node

Made = tuple[tuple[Node, ...], dict[str, Any]]

_DUTIES = {
    OWNER: "Decides what is wanted, and answers for it.",
    DOER: "Carries out the work and reports what gets in its way.",
    REVIEWER: "Checks the result against what was agreed, and was not part of making it.",
}
_MINUTES = 30


def make_workflow(brief: Brief, per_level: tuple[int, ...]) -> Made:
    """Phases of any work, with what the brief names as something to provide."""
    kept = sorted(PHASES, key=lambda phase: phase.rank)[: max(2, per_level[0])]
    steps = max(2, per_level[1]) if len(per_level) > 1 else 0
    tasks = per_level[2] if len(per_level) > 2 else 0
    put = wording_of(brief).put
    names = names_in(brief)
    made: list[Node] = []
    before: list[str] = [put("Request for {t}")[:150]]
    for at, phase in enumerate((phase for phase in PHASES if phase in kept), 1):
        named = [_named(listed(names))] if names and phase.title.startswith("Prepare") else []
        chosen = [*named, *phase.steps][:steps]
        children = []
        for number, step in enumerate(chosen, 1):
            children.append(_step(f"{at}.{number}", step, before[-1], tasks, brief))
            before.append(put(step.output))
        fields = {
            "entry": phase.entry,
            "gate": {"criteria": [phase.criteria], "approver": _role(phase.approver)},
        }
        title = fit_title(put(phase.title))
        made.append(
            placed(str(at), "phase", title, summary=phase.about, fields=fields, children=tuple(children))
        )
    used = [name for name in _DUTIES if any(_role(name) in _roles_of(phase) for phase in made)]
    roles = [{"id": _role(name), "name": name, "duty": _DUTIES[name]} for name in used]
    return tuple(_with_decision(made)), {"roles": roles}


def _step(path: str, step: Step, before: str, tasks: int, brief: Brief) -> Node:
    put = wording_of(brief).put
    children = tuple(
        placed(
            f"{path}.{number}",
            "task",
            fit_title(put(task).rstrip(".")),
            fields={"instruction": put(task)},
        )
        for number, task in enumerate(step.tasks[:tasks], 1)
    )
    fields = {"role": _role(step.role), "inputs": [before], "outputs": [put(step.output)], "requires": []}
    title, summary = fit_title(put(step.title)), f"The step ends with this: {put(step.output)}."
    return placed(path, "step", title, summary=summary, minutes=_MINUTES, fields=fields, children=children)


def _named(name: str) -> Step:
    """A step that provides what the brief names."""
    return Step(
        f"Provide {name}"[:150],
        OWNER,
        f"Ready for use: {name}"[:150],
        (
            f"Find out who is responsible for {name}."[:900],
            f"Fix the day by which {name} has to be there."[:900],
        ),
    )


def _with_decision(phases: list[Node]) -> list[Node]:
    """Let the check lead on or back, where there is a step on either side of it."""
    steps = [child for phase in phases for child in phase.children]
    at = next((at for at, phase in enumerate(phases) if phase.title == "Check the result"), None)
    if at is None or not phases[at].children:
        return phases
    last = phases[at].children[-1]
    place = next(number for number, step in enumerate(steps) if step.id == last.id)
    back = phases[at - 1].children[-1:] if at else ()
    if place + 1 == len(steps) or not back:
        return phases
    branches = [
        {"label": "Yes", "to": steps[place + 1].id},
        {"label": "No, more work", "to": back[0].id, "rework": True},
    ]
    decision = {"question": "Is the result good enough to be used?", "branches": branches}
    changed = msgspec.structs.replace(last, fields={**last.fields, "decision": decision})
    children = (*phases[at].children[:-1], changed)
    return [*phases[:at], msgspec.structs.replace(phases[at], children=children), *phases[at + 1 :]]


def _roles_of(phase: Node) -> set[str]:
    return {phase.fields["gate"]["approver"], *(step.fields["role"] for step in phase.children)}


def _role(name: str) -> str:
    return "r_" + short_hash(name)
