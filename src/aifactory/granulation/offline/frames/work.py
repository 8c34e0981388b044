"""The frame of a workflow: what any piece of work goes through, from the order to what is learnt of it."""

from typing import Any

import msgspec

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.frames.topic import names_in, wording_of
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.objectives import listed
from aifactory.granulation.offline.telling import placed
from aifactory.granulation.offline.titles import fit_title
from aifactory.granulation.tree import Node

Made = tuple[tuple[Node, ...], dict[str, Any]]

OWNER, DOER, REVIEWER = "Owner", "Performer", "Reviewer"
_DUTIES = {
    OWNER: "Decides what is wanted, and answers for it.",
    DOER: "Carries out the work and reports what gets in its way.",
    REVIEWER: "Checks the result against what was agreed, and was not part of making it.",
}
_MINUTES = 30


class Step(msgspec.Struct, frozen=True):
    """A step: its title, who does it, what it leaves behind, two tasks."""

    title: str
    role: str
    output: str
    tasks: tuple[str, str]


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A phase with what has to be there before it and what ends it; ``rank`` 0 is the last to be left out."""

    title: str
    about: str
    entry: str
    criteria: str
    approver: str
    rank: int
    steps: tuple[Step, ...]


_STEPS = {
    "agree": (
        Step(
            "Write down the aim",
            OWNER,
            "Aim in one sentence",
            (
                "State in one sentence who shall have what by when.",
                "Name one thing that is expressly not part of it.",
            ),
        ),
        Step(
            "Ask those concerned",
            DOER,
            "Wishes and worries by group",
            ("List everybody whom {t} will touch.", "Ask one person of each group for a wish and a worry."),
        ),
        Step(
            "Set the limits",
            OWNER,
            "Deadline, budget and limits",
            ("Fix a date and a sum that must not be exceeded.", "Record which rules or laws apply."),
        ),
        Step(
            "Confirm the order",
            REVIEWER,
            "Signed order",
            ("Read the aim back to the owner.", "File the order where everybody can find it."),
        ),
    ),
    "prepare": (
        Step(
            "Collect what is known",
            DOER,
            "Notes on earlier attempts",
            ("Look for two earlier cases of {t}.", "Note what delayed each of them."),
        ),
        Step(
            "List the tasks",
            DOER,
            "Task list with estimates",
            (
                "Break the job into tasks of half a day or less.",
                "Estimate each task, then double the doubtful ones.",
            ),
        ),
        Step(
            "Provide tools and people",
            OWNER,
            "Tools and people on call",
            ("Reserve the people by name.", "Order now whatever takes long to arrive."),
        ),
        Step(
            "Fix how success is measured",
            REVIEWER,
            "Test list with thresholds",
            ("Choose three measurements.", "Write the value beside each from which it counts as passed."),
        ),
    ),
    "carry": (
        Step(
            "Start with a trial run",
            DOER,
            "Trial run with remarks",
            ("Go through one small case from end to end.", "Write down every place where you had to guess."),
        ),
        Step(
            "Mend the instructions",
            DOER,
            "Corrected instructions",
            ("Replace each guess by a rule.", "Delete steps that changed nothing."),
        ),
        Step(
            "Carry out the full job",
            DOER,
            "Finished piece of work",
            ("Follow the corrected instructions in order.", "Log interruptions with the time they took."),
        ),
        Step(
            "Report the progress",
            DOER,
            "Short progress report",
            ("Tell the owner once a week what is done.", "Raise delays on the day they show."),
        ),
    ),
    "check": (
        Step(
            "Measure against the test list",
            REVIEWER,
            "Measured values",
            ("Take every measurement twice.", "Mark values that miss their threshold."),
        ),
        Step(
            "Let somebody else try it",
            REVIEWER,
            "Observations of a first user",
            ("Choose a person who has not seen it before.", "Watch in silence and take notes."),
        ),
        Step(
            "Repair what failed",
            DOER,
            "Repaired version",
            ("Take the costliest fault first.", "Test again whatever you touched."),
        ),
        Step(
            "Decide on release",
            OWNER,
            "Decision with reasons",
            ("Weigh open faults against a delay.", "Sign the decision and date it."),
        ),
    ),
    "hand": (
        Step(
            "Explain the result",
            DOER,
            "Hand-over talk",
            ("Show the daily use in ten minutes.", "Have the listeners repeat it."),
        ),
        Step(
            "Pass on the papers",
            DOER,
            "Folder of papers",
            ("Put instructions, log and contacts into one place.", "Remove drafts that contradict them."),
        ),
        Step(
            "Name who looks after it",
            OWNER,
            "Name of a caretaker",
            ("Agree on hours and a substitute.", "Publish both where users look first."),
        ),
        Step(
            "Close the order",
            OWNER,
            "Closed order",
            ("Settle open bills.", "Release the people by name."),
        ),
    ),
    "learn": (
        Step(
            "Collect surprises",
            REVIEWER,
            "List of surprises",
            ("Ask all involved for one surprise each.", "Group them by what could have warned you."),
        ),
        Step(
            "Compare plan and effort",
            DOER,
            "Comparison of hours",
            ("Put estimated and spent hours side by side.", "Explain the largest gap."),
        ),
        Step(
            "Improve the next round",
            OWNER,
            "Three changes with dates",
            ("Choose three changes that cost little.", "Give each a name and a date."),
        ),
        Step(
            "Share the lessons",
            REVIEWER,
            "One page of lessons",
            ("Write one page without blame.", "Send it to whoever will do {t} next."),
        ),
    ),
}
PHASES = (
    Phase(
        title="Agree on {t}",
        about="What is wanted is written down, with limits, before anybody starts.",
        entry="Somebody has asked for it",
        criteria="Aim and limits are signed",
        approver=OWNER,
        rank=0,
        steps=_STEPS["agree"],
    ),
    Phase(
        title="Prepare the work",
        about="Experience, people, tools and measurements are brought together.",
        entry="The order is signed",
        criteria="Every task has a name beside it",
        approver=OWNER,
        rank=2,
        steps=_STEPS["prepare"],
    ),
    Phase(
        title="Carry out {t}",
        about="A small case comes first, then the whole job by corrected instructions.",
        entry="People and tools are at hand",
        criteria="The log has no open interruption",
        approver=OWNER,
        rank=1,
        steps=_STEPS["carry"],
    ),
    Phase(
        title="Check the result",
        about="Somebody who did not make it measures and tries it.",
        entry="The work is reported as finished",
        criteria="Each threshold is met or waived in writing",
        approver=REVIEWER,
        rank=3,
        steps=_STEPS["check"],
    ),
    Phase(
        title="Hand it over",
        about="Those who will live with it get it, with papers and a caretaker.",
        entry="The release is decided",
        criteria="The new users have shown that they can do it alone",
        approver=OWNER,
        rank=4,
        steps=_STEPS["hand"],
    ),
    Phase(
        title="Learn from it",
        about="What came otherwise than planned is turned into changes for the next round.",
        entry="The result has been in use for a month",
        criteria="Three changes have a date",
        approver=OWNER,
        rank=5,
        steps=_STEPS["learn"],
    ),
)


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
