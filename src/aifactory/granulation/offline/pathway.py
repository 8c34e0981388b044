"""A learning path out of a source: milestones by what builds on what, skills with evidence, activities."""

import re
from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import Any

import msgspec

from aifactory.granulation.offline.activities import SHORTEST, Task, minutes_for, tasks_of
from aifactory.granulation.offline.glossary import Terms
from aifactory.granulation.offline.handover import in_hours
from aifactory.granulation.offline.objectives import Aim, aims_of, listed, outcome_of, subject_of
from aifactory.granulation.offline.outline import Chunk, outline
from aifactory.granulation.offline.prerequisites import in_order, what_builds
from aifactory.granulation.offline.study import Study
from aifactory.granulation.offline.summary import Point, clipped, key_points
from aifactory.granulation.offline.telling import Teller, id_of, placed
from aifactory.granulation.offline.titles import Titles, fit_title, same_title
from aifactory.granulation.tree import Bloom, Node

# What somebody can do who has reached a level of skill; expert, 5, is more than one text makes of anybody.
_REACHED = {
    Bloom.REMEMBER: 1,
    Bloom.UNDERSTAND: 2,
    Bloom.APPLY: 3,
    Bloom.ANALYZE: 4,
    Bloom.EVALUATE: 4,
    Bloom.CREATE: 4,
}
_BEGINS = {"beginner": 0, "elementary": 1, "intermediate": 2, "advanced": 3, "expert": 3}
_MOST_POINTS = 6
_MINUTES = (SHORTEST, 600)
_MOST_REQUIRED = 2
_LEAST_HOURS = 0.5
_MOST_HOURS = 80.0
_ABOUT_TEXT = re.compile(
    r"\bthis (?:document|guide|manual|page|book)\b|^(?:additional|further|other) \w+$"
    r"|^(?:overview|introduction|preamble|appendix|abstract|summary|notes?|references?|see also)\b",
    re.IGNORECASE,
)
_DELIVERABLES = {
    "read": "One note for each of the main terms of the passage",
    "discuss": "Two arguments that came up, one for and one against",
    "reflect": "Three or four sentences of your own",
}


class Skill(msgspec.Struct, frozen=True, kw_only=True):
    """A skill while its milestone is made."""

    path: str
    title: str
    chunk: Chunk
    aims: tuple[Aim, ...]
    id: str


class PathMaker:
    """Makes the nodes of one learning path; knows which terms have been met so far."""

    def __init__(self, study: Study, per_level: tuple[int, ...], opening: Sequence[Point]) -> None:
        self._study = study
        self._per_level = per_level
        self._titles = Titles(study)
        self._teller = Teller(study, opening)
        self._terms = Terms(study)
        self._start = _BEGINS.get(study.brief.level.casefold(), 0)
        self._milestone_of: dict[str, str] = {}
        self._quoted: list[frozenset[int]] = []
        self._practised: Counter[str] = Counter()

    def make(self) -> tuple[tuple[Node, ...], dict[str, Any]]:
        """The milestones, and the fields of the root."""
        inner = self._per_level[1] if len(self._per_level) > 1 else 2
        plan = outline(self._study, most=self._per_level[0], inner=inner, inner_least=min(2, inner))
        nodes: list[Node] = []
        for part, *pieces in in_order(plan, what_builds(self._study, [parts[0] for parts in plan])):
            taken = [node.title for node in nodes]
            title = self._titles.of(part, taken, self._study.digest.title)
            nodes.append(self._milestone(str(len(nodes) + 1), title, part, pieces or [part]))
        return self._in_weeks(nodes) if nodes else ((), {})

    def _milestone(self, path: str, title: str, part: Chunk, pieces: Sequence[Chunk]) -> Node:
        study = self._study
        summary = self._teller.summary(part)
        node_id = id_of(path, title)
        skills = self._skills(path, title, pieces)
        purposes = [aim.purpose for skill in skills for aim in skill.aims]
        needed: list[str] = []
        children = []
        for skill in skills:
            node, required = self._skill(skill)
            children.append(node)
            needed += [self._milestone_of[name] for name in required]
            self._milestone_of[skill.id] = node_id
        earlier = [name for name in dict.fromkeys(needed) if name != node_id]
        best = study.book.best(part.first, part.last, limit=3, boost=study.focus)
        return placed(
            path,
            "milestone",
            title,
            summary=self._teller.text(summary, part),
            minutes=sum(child.minutes or 0 for child in children),
            tags=tuple(phrase.text for phrase in best),
            sources=self._teller.spans(summary, part),
            fields={
                "outcome": outcome_of(study, part, title, int(path) - 1, purposes).text,
                "requires": earlier[:_MOST_REQUIRED],
            },
            children=tuple(children) if len(self._per_level) > 1 else (),
        )

    def _skills(self, path: str, above: str, pieces: Sequence[Chunk]) -> list[Skill]:
        skills: list[Skill] = []
        for piece in pieces:
            title = self._titles.of(piece, [skill.title for skill in skills], above)
            place = f"{path}.{len(skills) + 1}"
            aims = tuple(aims_of(self._study, piece, title))
            skills.append(Skill(path=place, title=title, chunk=piece, aims=aims, id=id_of(place, title)))
        return skills

    def _skill(self, skill: Skill) -> tuple[Node, list[str]]:
        """A skill's node, and the skills whose terms it uses."""
        study, chunk = self._study, skill.chunk
        summary = self._teller.summary(chunk, 1)
        needs = [term for term, _ in self._terms.needs(chunk.first, chunk.last)]
        required = list(dict.fromkeys(self._terms.owners[term] for term in needs))[:_MOST_REQUIRED]
        self._terms.introduce(chunk.first, chunk.last, skill.id)
        activities = self._activities(skill, summary)
        reached = max(_REACHED[aim.bloom] for aim in skill.aims)
        words = study.reading.words_between(chunk.first, chunk.last)
        node = placed(
            skill.path,
            "skill",
            skill.title,
            summary=self._teller.text(summary, chunk),
            minutes=sum(one.minutes or 0 for one in activities) or minutes_for(words, 1),
            sources=self._teller.spans(summary, chunk),
            fields={
                "from": max(self._start, 1 if required else 0),
                "to": max(reached, self._start + 1, 2 if required else 1),
                "evidence": self._evidence(skill),
                "requires": required,
            },
            children=tuple(activities),
        )
        return node, required

    def _evidence(self, skill: Skill) -> str:
        """Something that can be looked at, by what the highest aim asks."""
        aim = max(skill.aims, key=lambda one: _REACHED[one.bloom])
        terms = listed([f"“{term}”" for term in aim.terms[:3]]) if aim.terms else ""
        name = subject_of(self._study, skill.chunk, skill.title).removeprefix("what the source says about ")
        if aim.purpose == "steps":
            return (
                f"A record of all steps carried out in order, each with what showed that it worked: {name}."
            )
        if aim.purpose == "formula":
            return f"Two worked cases for {terms}, with figures, units and every step of the calculation."
        if aim.purpose == "contrast":
            return f"A table that compares {terms} in at least three lines, with an example of each."
        if terms:
            return f"Half a page on {name}, written without the text, that uses {terms} as the source does."
        return f"Half a page on {name}, written without the text, with three facts that the source gives."

    def _activities(self, skill: Skill, summary: Sequence[Point]) -> list[Node]:
        if len(self._per_level) < 3:
            return []
        study, chunk = self._study, skill.chunk
        avoid = frozenset(point.line.index for point in summary)
        points = key_points(study, chunk.first, chunk.last, most=_MOST_POINTS, avoid=avoid)
        nodes: list[Node] = []
        most, used = self._per_level[2], self._practised
        for task in tasks_of(study, chunk, skill.title, skill.aims, points, most, used):
            title = fit_title(task.title)
            if not any(same_title(title, node.title) for node in nodes) and self._is_new(task, bool(nodes)):
                nodes.append(self._activity(f"{skill.path}.{len(nodes) + 1}", title, task, chunk))
        return nodes

    def _is_new(self, task: Task, is_spare: bool) -> bool:
        """Whether a task quotes something else than the earlier ones, or can't be spared."""
        quoted = frozenset(span.start for span in task.sources)
        is_new = not is_spare or not any(quoted & other for other in self._quoted)
        if is_new:
            self._quoted.append(quoted)
        return is_new

    def _activity(self, path: str, title: str, task: Task, chunk: Chunk) -> Node:
        section = self._study.reading.sections[self._study.lines[chunk.first].section].title
        name = self._study.digest.title
        # How a term is to be told, title and deliverable say; the rest would be the same of every term.
        is_plain = task.kind == "read" or task.purpose == "define"
        fields = {
            "activityKind": task.kind,
            "deliverable": task.deliverable or _DELIVERABLES.get(task.kind, "A page of notes"),
            "resource": f"“{section}” in {name}" if section and section != name else name,
        }
        return placed(
            path,
            "activity",
            title,
            summary=clipped(task.summary if is_plain else task.instructions),
            minutes=task.minutes,
            sources=task.sources,
            fields={name: value[:400] for name, value in fields.items()},
        )

    def _in_weeks(self, nodes: list[Node]) -> tuple[tuple[Node, ...], dict[str, Any]]:
        """Spread the milestones over weeks, one for a milestone of middling length."""
        hours_in_all = self._study.brief.estimated_hours
        if hours_in_all is not None:
            nodes = list(in_hours(nodes, hours_in_all, _MINUTES))
        minutes = sorted(node.minutes or 0 for node in nodes)
        middle = minutes[len(minutes) // 2]
        hours = min(_MOST_HOURS, max(_LEAST_HOURS, ceil(middle / 30) / 2))
        made = []
        for node in nodes:
            weeks = min(52.0, max(0.2, ceil((node.minutes or 0) / 60 / hours * 10) / 10))
            made.append(msgspec.structs.replace(node, fields={**node.fields, "weeks": weeks}))
        skills = [skill for node in made for skill in node.children]
        # "About this document" and "Additional notes" are no places to start from or to get to.
        ways = [node.title for node in made if not _ABOUT_TEXT.search(node.title)] or [made[0].title]
        goal = f"Get from “{ways[0]}” to “{ways[-1]}”, and show at each step what you can do."
        if len(ways) == 1:
            goal = f"Understand “{ways[0]}”, and show at each step what you can do."
        return tuple(made), {
            "goal": goal[:400],
            "startLevel": min((skill.fields["from"] for skill in skills), default=self._start),
            "targetLevel": max((skill.fields["to"] for skill in skills), default=self._start + 1),
            "hoursPerWeek": hours,
            "glossary": msgspec.to_builtins(self._terms.glossary()),
        }
