"""Frames of courses, quizzes, decks and learning paths: objectives, tasks and open questions with "
"their marks."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from aifactory.granulation.offline.brief import Brief
from aifactory.granulation.offline.frames.lenses import Facet
from aifactory.granulation.offline.frames.topic import is_demanding, parts_of, wording_of
from aifactory.granulation.offline.handover import in_hours
from aifactory.granulation.offline.identity import shares, short_hash
from aifactory.granulation.offline.telling import placed
from aifactory.granulation.offline.titles import fit_title
from aifactory.granulation.tree import Bloom, Criterion, Difficulty, Item, ItemKind, Node, Objective

Made = tuple[tuple[Node, ...], dict[str, Any]]

# As many objectives as a module may have, and skills as a milestone.
_MOST_LESSONS = 5
_LEAST_OBJECTIVES = 2
_HOURS_PER_WEEK = 2
# Of the time that a milestone's weeks give, this part is planned.
_FILLED = 0.9
_LEAST_WEEKS = 0.2
_RISE = 3
_ADVANCED = 2
_ANY_MINUTES = (3, 600)
_HARD = frozenset({Bloom.EVALUATE, Bloom.CREATE})


class _Task(msgspec.Struct, frozen=True, kw_only=True):
    """Something to do with a facet; ``minutes`` are those of a lesson."""

    kind: str
    title: str
    summary: str
    instructions: str
    deliverable: str
    minutes: int


def make_course(brief: Brief, per_level: tuple[int, ...]) -> Made:
    """Modules by lenses, a lesson for each facet, tasks that need no text."""
    lessons = min(_MOST_LESSONS, per_level[1]) if len(per_level) > 1 else 0
    parts = parts_of(brief, per_level[0], max(_LEAST_OBJECTIVES, lessons))
    outcomes = [_objective("oc_", part.title, part.aim, part.bloom) for part in parts]
    weights = shares([len(part.facets) for part in parts])
    nodes: list[Node] = []
    for at, (part, outcome, weight) in enumerate(zip(parts, outcomes, weights, strict=True), 1):
        goals = [
            _objective("ob_", part.title, facet.aim, facet.bloom, outcome.id)
            for facet in part.facets[:_MOST_LESSONS]
        ]
        children = [
            _lesson(f"{at}.{number}", facet, goals[number - 1 :] if number == lessons else [goal], per_level)
            for number, (facet, goal) in enumerate(zip(part.facets[:lessons], goals, strict=False), 1)
        ]
        fields = {
            "objectives": msgspec.to_builtins(goals),
            "requires": [nodes[-1].id] if nodes else [],
            "assessment": {
                "kind": "assignment",
                "weight": weight,
                "objectiveIds": [goal.id for goal in goals],
            },
        }
        minutes = sum(child.minutes or 0 for child in children) or None
        nodes.append(_node(str(at), "module", part.title, part.about, fields, children, minutes))
    return tuple(nodes), {"outcomes": msgspec.to_builtins(outcomes)}


def _lesson(path: str, facet: Facet, goals: Sequence[Objective], per_level: tuple[int, ...]) -> Node:
    ids = [goal.id for goal in goals]
    tasks = _tasks(facet)[: per_level[2]] if len(per_level) > 2 else []
    children = [
        _node(
            f"{path}.{at}",
            "activity",
            task.title,
            task.summary,
            {
                "activityKind": task.kind,
                "instructions": task.instructions,
                "objectiveIds": ids,
                "deliverable": task.deliverable,
            },
            minutes=task.minutes,
        )
        for at, task in enumerate(tasks, 1)
    ]
    fields = {
        "objectiveIds": ids,
        "keyPoints": [*facet.rules, f"A good answer shows two things: {_marks(facet)}."],
        "items": msgspec.to_builtins([_essay(path, facet, ids[0])]),
    }
    minutes = sum(task.minutes for task in tasks) or 10
    return _node(path, "lesson", facet.title, facet.about, fields, children, minutes)


def make_quiz(brief: Brief, per_level: tuple[int, ...]) -> Made:
    """Open questions by lenses, each with what a good answer shows."""
    most = per_level[1] if len(per_level) > 1 else 3
    goals: list[Objective] = []
    cells: Counter[tuple[str, str, str]] = Counter()
    nodes = []
    parts = parts_of(brief, per_level[0], most)
    for at, (part, weight) in enumerate(zip(parts, shares([len(p.facets) for p in parts]), strict=True), 1):
        own = [_objective("ob_", part.title, facet.aim, facet.bloom) for facet in part.facets]
        children = []
        for number, (facet, goal) in enumerate(zip(part.facets, own, strict=True), 1):
            item = _essay(f"{at}.{number}", facet, goal.id)
            cells[goal.id, item.bloom, item.difficulty] += 1
            fields = {"item": msgspec.to_builtins(item)}
            children.append(_node(f"{at}.{number}", "item", facet.title, "", fields, minutes=5))
        goals += own
        fields = {"objectiveIds": [goal.id for goal in own], "weight": weight}
        below = children if len(per_level) > 1 else []
        nodes.append(_node(str(at), "section", part.title, part.about, fields, below))
    blueprint = [
        {"objectiveId": goal, "bloom": bloom, "difficulty": difficulty, "count": count}
        for (goal, bloom, difficulty), count in cells.items()
    ]
    return tuple(nodes), {"objectives": msgspec.to_builtins(goals), "blueprint": blueprint}


def make_deck(brief: Brief, per_level: tuple[int, ...]) -> Made:
    """Cards whose backs say what is to be filled in."""
    most = per_level[1] if len(per_level) > 1 else 5
    nodes = []
    for at, part in enumerate(parts_of(brief, per_level[0], most), 1):
        children = [
            _node(
                f"{at}.{number}",
                "card",
                facet.title,
                "",
                {"front": facet.ask, "back": f"Fill in: {_low(facet.about)}", "cardKind": "basic"},
            )
            for number, facet in enumerate(part.facets, 1)
        ]
        below = children if len(per_level) > 1 else []
        nodes.append(_node(str(at), "group", part.title, part.about, {}, below))
    return tuple(nodes), {}


def make_path(brief: Brief, per_level: tuple[int, ...]) -> Made:
    """Milestones by lenses, a skill for each facet, shown by what its task leaves behind."""
    skills = min(_MOST_LESSONS, per_level[1]) if len(per_level) > 1 else 0
    parts = parts_of(brief, per_level[0], max(1, skills))
    start = _ADVANCED if is_demanding(brief.level) else 0
    levels = [start + at * (_RISE - 1) // max(1, len(parts) - 1) for at in range(len(parts))]
    nodes: list[Node] = []
    for at, (part, level) in enumerate(zip(parts, levels, strict=True), 1):
        children = [
            _skill(f"{at}.{number}", facet, level, per_level)
            for number, facet in enumerate(part.facets[:skills], 1)
        ]
        fields = {"outcome": part.aim, "requires": [nodes[-1].id] if nodes else []}
        minutes = sum(child.minutes or 0 for child in children) or None
        nodes.append(_node(str(at), "milestone", part.title, part.about, fields, children, minutes))
    if brief.estimated_hours is not None:
        nodes = list(in_hours(nodes, brief.estimated_hours, _ANY_MINUTES))
    return tuple(map(_with_weeks, nodes)), {
        "goal": wording_of(brief).put(
            "Explain {t} to others, and use that knowledge in a setting of your own."
        ),
        "startLevel": start,
        "targetLevel": max(levels) + 1,
        "hoursPerWeek": _HOURS_PER_WEEK,
    }


def _with_weeks(node: Node) -> Node:
    weeks = (node.minutes or 0) / 60 / _HOURS_PER_WEEK / _FILLED
    weeks = max(_LEAST_WEEKS, min(52.0, round(weeks, 1)))
    return msgspec.structs.replace(node, fields={**node.fields, "weeks": weeks})


def _skill(path: str, facet: Facet, level: int, per_level: tuple[int, ...]) -> Node:
    tasks = _tasks(facet)[: per_level[2]] if len(per_level) > 2 else []
    children = [
        _node(
            f"{path}.{at}",
            "activity",
            task.title,
            facet.do if task.kind == "practice" else task.summary,
            {"activityKind": task.kind, "deliverable": task.deliverable},
            minutes=5 * task.minutes,
        )
        for at, task in enumerate(tasks, 1)
    ]
    fields = {"from": level, "to": level + 1, "evidence": facet.made, "requires": []}
    minutes = sum(child.minutes or 0 for child in children) or 60
    return _node(path, "skill", facet.title, facet.about, fields, children, minutes)


def _tasks(facet: Facet) -> list[_Task]:
    """What can be done with a facet: work on it, talk about it; a third task would tell the same again."""
    about = _low(facet.title)
    return [
        _Task(
            kind="practice",
            title=f"Work out {about}",
            summary=f"You leave behind: {_low(facet.made)}.",
            instructions=facet.do,
            deliverable=facet.made,
            minutes=10,
        ),
        _Task(
            kind="discuss",
            title=f"Discuss {about}",
            summary=facet.ask,
            instructions=f"{facet.ask} Answer alone in writing, then compare with a partner. Where "
            f"you differ, look "
            "for a text that settles it.",
            deliverable="Two written answers, and the text that settled the difference",
            minutes=8,
        ),
    ]


def _essay(path: str, facet: Facet, objective: str) -> Item:
    easy = facet.bloom in (Bloom.REMEMBER, Bloom.UNDERSTAND)
    rubric = tuple(Criterion(criterion=mark, points=2) for mark in facet.marks)
    return Item(
        id="i_" + short_hash(path, facet.ask),
        kind=ItemKind.ESSAY,
        stem=facet.ask,
        objective_ids=(objective,),
        bloom=facet.bloom,
        difficulty=Difficulty.EASY
        if easy
        else Difficulty.HARD
        if facet.bloom in _HARD
        else Difficulty.MEDIUM,
        points=sum(one.points for one in rubric),
        feedback=f"A good answer shows two things: {_marks(facet)}.",
        rubric=rubric,
    )


def _objective(prefix: str, place: str, text: str, bloom: Bloom, outcome: str = "") -> Objective:
    outcomes = (outcome,) if outcome else ()
    return Objective(id=prefix + short_hash(place, text), text=text, bloom=bloom, outcome_ids=outcomes)


def _node(
    path: str,
    kind: str,
    title: str,
    summary: str,
    fields: dict[str, Any],
    children: Sequence[Node] = (),
    minutes: int | None = None,
) -> Node:
    rest = {"summary": summary, "fields": fields, "children": tuple(children), "minutes": minutes}
    return placed(path, kind, fit_title(title), **rest)


def _marks(facet: Facet) -> str:
    return " and ".join(_low(mark) for mark in facet.marks)


def _low(text: str) -> str:
    """A text that starts a sentence, inside one."""
    return text[:1].lower() + text[1:]
