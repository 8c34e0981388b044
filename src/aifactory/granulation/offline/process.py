"""A workflow out of a source that tells how something is done: phases, steps, tasks, decisions, roles."""

import re
from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import Any

import msgspec

from aifactory.granulation.offline.activities import WORDS_PER_MINUTE
from aifactory.granulation.offline.commands import (
    Command,
    actor_in,
    actors_of,
    commands_of,
    minutes_in,
    output_of,
    question_of,
    title_of_command,
)
from aifactory.granulation.offline.identity import short_hash
from aifactory.granulation.offline.outline import Chunk, outline
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, clipped, shorten
from aifactory.granulation.offline.telling import Teller, id_of, is_alike, placed
from aifactory.granulation.offline.titles import Titles, fit_title, numbered, same_title
from aifactory.granulation.tree import Node

NO_PROCEDURE = (
    "The source tells too few steps for a workflow: it needs at least {least} sentences that say what to do, "
    "as numbered steps or as commands. Send a text that tells how something is done, or choose a document "
    "or a map."
)
_LEAST_PHASES = 2
_LEAST_STEPS = 2
_MOST_ROLES = 8
_MOST_CRITERIA = 3
_OWNER = "Owner"
_TASK_MINUTES = 5
_NEAR = 40
_CRITERION = re.compile(
    r"\b(?:must|should|at least|at most|no more than|not more than|until|ready when|done when|make sure"
    r"|check that)\b",
    re.IGNORECASE,
)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step while its phase is made: its own command, those that are its tasks, and what it leaves."""

    command: Command
    tasks: tuple[Command, ...]
    path: str
    title: str
    output: str

    @property
    def id(self) -> str:
        """The id of its node."""
        return id_of(self.path, self.title)


class ProcessMaker:
    """Makes the nodes of one workflow."""

    def __init__(self, study: Study, per_level: tuple[int, ...], opening: Sequence[Point]) -> None:
        self._study = study
        self._per_level = per_level
        self._titles = Titles(study)
        self._teller = Teller(study, opening)
        self._roles: dict[str, dict[str, str]] = {}

    def make(self) -> tuple[tuple[Node, ...], dict[str, Any]]:
        """The phases, and the fields of the root; no phases and a ``reason`` where there is no procedure."""
        most = self._per_level[1] if len(self._per_level) > 1 else 8
        phases = self._phases(_distinct(commands_of(self._study)), min(_LEAST_STEPS, most))
        if len(phases) < min(_LEAST_PHASES, self._per_level[0]):
            return (), {"reason": NO_PROCEDURE.format(least=_LEAST_PHASES * _LEAST_STEPS)}
        self._name_roles()
        titles: list[str] = []
        planned: list[list[Step]] = []
        for part, commands in phases:
            title = self._titles.of(part, titles, self._study.digest.title)
            titles.append(title)
            planned.append(self._steps(str(len(titles)), commands, most))
        nodes = []
        for at, ((part, _), title) in enumerate(zip(phases, titles, strict=True)):
            nodes.append(self._phase(at, title, part, titles, planned))
        used = {one.fields["role"] for node in nodes for one in node.children}
        used |= {node.fields["gate"]["approver"] for node in nodes}
        return tuple(nodes), {"roles": [role for role in self._roles.values() if role["id"] in used]}

    def _phases(self, commands: Sequence[Command], least: int) -> list[tuple[Chunk, list[Command]]]:
        """The source's parts that tell what to do; where that is one alone, its commands in two or more."""
        study, most = self._study, self._per_level[0]
        plan = [
            part for part, *_ in outline(study, most=max(most, _LEAST_PHASES) * 2, inner=1, inner_least=1)
        ]
        phases: list[tuple[Chunk, list[Command]]] = []
        for part in plan:
            inside = [one for one in commands if part.first <= one.line.index < part.last]
            if len(inside) >= least:
                phases.append((part, inside))
        if len(phases) > most:
            best = sorted(range(len(phases)), key=lambda at: (-_weight(phases[at][1]), at))[:most]
            phases = [phases[at] for at in sorted(best)]
        if len(phases) < min(_LEAST_PHASES, most) and len(commands) >= _LEAST_PHASES * least:
            return _divided(commands, least)
        return phases

    def _steps(self, path: str, commands: Sequence[Command], most: int) -> list[Step]:
        """Commands as steps; where there are more than fit, those that follow one become its tasks."""
        room = 1 + (self._per_level[2] if len(self._per_level) > 2 else 0)
        if len(commands) > most * room:
            ranked = sorted(range(len(commands)), key=lambda at: (-_weight([commands[at]]), at))[
                : most * room
            ]
            commands = [commands[at] for at in sorted(ranked)]
        count = min(most, len(commands))
        bounds = [round(at * len(commands) / count) for at in range(count + 1)]
        steps: list[Step] = []
        for first, last in pairwise(bounds):
            command = commands[first]
            title = fit_title(title_of_command(command))
            if len(title) < 3 or any(same_title(title, step.title) for step in steps):
                title = numbered(title or "Step", [step.title for step in steps])
            place = f"{path}.{len(steps) + 1}"
            output = self._output(command, steps)
            tasks = tuple(commands[first + 1 : last])
            steps.append(Step(command=command, tasks=tasks, path=place, title=title, output=output))
        return steps

    def _output(self, command: Command, steps: Sequence[Step]) -> str:
        output = output_of(self._study, command)[:150]
        taken = [step.output for step in steps]
        return output if output not in taken else numbered(output, taken)[:160]

    def _name_roles(self) -> None:
        """Who the text says has to do something; an owner where it names nobody."""
        for actor, line in actors_of(self._study, self._study.lines)[:_MOST_ROLES]:
            name = actor[:1].upper() + actor[1:]
            duty = shorten(line.told, 40)[:300]
            self._roles[actor] = {"id": "r_" + short_hash(actor), "name": name, "duty": duty}
        if not self._roles:
            duty = "Carries out the steps and signs off each phase: the source names nobody else."
            self._roles[""] = {"id": "r_" + short_hash(_OWNER), "name": _OWNER, "duty": duty}

    def _role(self, step: Step) -> str:
        """Who carries out a step: whom its commands name, else who does most."""
        for command in (step.command, *step.tasks):
            if (actor := actor_in(command.line)) in self._roles:
                return self._roles[actor]["id"]
        return next(iter(self._roles.values()))["id"]

    def _phase(
        self, at: int, title: str, part: Chunk, titles: Sequence[str], planned: Sequence[Sequence[Step]]
    ) -> Node:
        steps = planned[at]
        summary = self._teller.summary(part)
        before = planned[at - 1][-1] if at else None
        # The last step may lead on into the next phase.
        ahead = [*steps, *(planned[at + 1][:1] if at + 1 < len(planned) else ())]
        children = [self._step(number, ahead, before) for number in range(len(steps))]
        entry = (
            f"“{titles[at - 1]}” is signed off" if before else f"Everything is at hand for: {steps[0].title}"
        )
        return placed(
            str(at + 1),
            "phase",
            title,
            summary=self._teller.text(summary, part),
            minutes=sum(child.minutes or 0 for child in children),
            sources=self._teller.spans(summary, part),
            fields={
                "entry": f"{entry}."
                if before is None
                else f"{entry}: {before.output[:1].lower()}{before.output[1:]}.",
                "gate": {"criteria": self._criteria(part, steps), "approver": self._approver(steps)},
            },
            children=tuple(children) if len(self._per_level) > 1 else (),
        )

    def _criteria(self, part: Chunk, steps: Sequence[Step]) -> list[str]:
        """Sentences that say what must be so, and what the last step leaves."""
        told = {command.line.index for step in steps for command in (step.command, *step.tasks)}
        lines = (
            line
            for line in self._teller.ranked(part)
            if line.index not in told and _CRITERION.search(line.told) and line.words <= 30
        )
        found = [
            self._teller.tell(line).text for line, _ in zip(lines, range(_MOST_CRITERIA - 1), strict=False)
        ]
        return [*(text[:300] for text in found), f"{steps[-1].output}."]

    def _approver(self, steps: Sequence[Step]) -> str:
        """Whoever has fewest of the steps in hand: nobody signs off only what is their own."""
        inside = [self._role(step) for step in steps]
        ids = [role["id"] for role in self._roles.values()]
        return min(ids, key=lambda one: (inside.count(one), ids.index(one)))

    def _step(self, number: int, steps: Sequence[Step], before: Step | None) -> Node:
        step = steps[number]
        earlier = steps[number - 1] if number else before
        point = self._teller.tell(step.command.line)
        fields: dict[str, Any] = {"role": self._role(step), "outputs": [step.output]}
        if earlier is not None:
            fields["inputs"] = [earlier.output]
        # A step follows the one before it anyway, but for the ends of phases and where two ways meet.
        if earlier is not None and (not number or (number > 1 and self._decision(number - 2, steps))):
            fields["requires"] = [earlier.id]
        if decision := self._decision(number, steps):
            fields["decision"] = decision
        tasks: list[Node] = []
        for command in step.tasks:
            tasks.append(self._task(f"{step.path}.{len(tasks) + 1}", command, tasks))
        own = minutes_in(step.command.line) or _TASK_MINUTES + ceil(
            step.command.line.words / WORDS_PER_MINUTE
        )
        return placed(
            step.path,
            "step",
            step.title,
            summary=clipped(point.text),
            minutes=own + sum(minutes_in(one.line) or _TASK_MINUTES for one in step.tasks),
            sources=self._teller.spans([point]),
            fields=fields,
            children=tuple(tasks) if len(self._per_level) > 2 else (),
        )

    def _decision(self, number: int, steps: Sequence[Step]) -> dict[str, Any] | None:
        """What a step has to find out: whether to go back over it, or whether the next one is needed."""
        step, test = steps[number], steps[number].command.test
        following = steps[number + 1] if number + 1 < len(steps) else None
        if following is not None and test and step.command.again:
            branches = [_branch("Yes", following.id), _branch("No, go on with it", step.id, rework=True)]
            return {"question": question_of(test)[:300], "branches": branches}
        after = steps[number + 2] if number + 2 < len(steps) else None
        if following is None or after is None or not following.command.test or following.command.again:
            return None
        yes, no = ("No", "Yes") if following.command.negative else ("Yes", "No")
        branches = [_branch(yes, following.id), _branch(no, after.id)]
        return {"question": question_of(following.command.test)[:300], "branches": branches}

    def _task(self, path: str, command: Command, taken: Sequence[Node]) -> Node:
        point = self._teller.tell(command.line)
        title = fit_title(title_of_command(command))
        if any(same_title(title, one.title) for one in taken):
            title = numbered(title, [one.title for one in taken])
        return placed(
            path,
            "task",
            title if len(title) > 2 else f"Task {path}",
            minutes=minutes_in(command.line) or _TASK_MINUTES,
            sources=self._teller.spans([point]),
            fields={"instruction": command.text[:1_000]},
        )


def _branch(label: str, target: str, *, rework: bool = False) -> dict[str, Any]:
    return {"label": label, "to": target} | ({"rework": True} if rework else {})


def _distinct(commands: Sequence[Command]) -> list[Command]:
    """Commands without those that say once more what one not far before them says."""
    kept: list[Command] = []
    for command in commands:
        if not is_alike(command.line, [one.line for one in kept[-_NEAR:]]):
            kept.append(command)
    return kept


def _weight(commands: Sequence[Command]) -> int:
    """What commands are worth keeping for: steps of a list first, then those that open with their verb."""
    return sum(4 * (one.order >= 0) + 2 * bool(one.verb) + 1 for one in commands)


def _divided(commands: Sequence[Command], least: int) -> list[tuple[Chunk, list[Command]]]:
    """Commands in two runs, cut where a list or a section ends if that leaves enough on both sides."""
    middle = len(commands) / 2
    cuts = range(least, len(commands) - least + 1)

    def cost(at: int) -> tuple[bool, bool, float]:
        one, two = commands[at - 1], commands[at]
        return one.line.section == two.line.section, one.order == two.order, abs(at - middle)

    at = min(cuts, key=cost)
    runs = (list(commands[:at]), list(commands[at:]))
    return [(Chunk("", run[0].line.index, run[-1].line.index + 1), run) for run in runs]
