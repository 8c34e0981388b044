"""A sound learning path by hand, from the text on bread, for the tests of granulation."""

from tests.unit.granulation.bread import MODULES, Lesson, Module
from tests.unit.granulation.trees import node, source_info, span

from aifactory.granulation.tree import Node, Origin, Tree


def _activities(lesson: Lesson, name: str) -> list[Node]:
    made = [
        ("read", f"Study {lesson.term}", "Three sentences in your own words", lesson.passage, 10),
        ("practice", f"Do it: {lesson.title.lower()}", "A dated entry in the log", lesson.practice, 20),
    ]
    return [
        node(
            "activity",
            3,
            place,
            title,
            id=f"{name}a{place}",
            summary=lesson.practice if kind == "practice" else f"{lesson.points[1]}; find out why it is so.",
            minutes=minutes,
            sources=[span(quote)],
            fields={"activityKind": kind, "deliverable": deliverable},
        )
        for place, (kind, title, deliverable, quote, minutes) in enumerate(made, 1)
    ]


def _skill(lesson: Lesson, place: int, name: str, known: dict[str, str], reached: int) -> Node:
    fields = {
        "from": reached,
        "to": reached + 1,
        "evidence": f"Shows on a loaf of one's own what {lesson.term} does and says why",
        "requires": [known[term] for term in lesson.needs if term in known],
    }
    summary, sources = f"{lesson.passage.split('. ')[0]}.", [span(lesson.passage)]
    return node(
        "skill",
        2,
        place,
        lesson.title,
        id=f"{name}s{place}",
        summary=summary,
        sources=sources,
        fields=fields,
        children=_activities(lesson, f"{name}s{place}"),
    )


def _milestone(module: Module, place: int, known: dict[str, str]) -> Node:
    name, skills = f"m{place}", []
    for number, lesson in enumerate(module.lessons, 1):
        skills.append(_skill(lesson, number, name, known, place - 1))
        known[lesson.term] = skills[-1].id
    fields = {
        "outcome": f"Handles {module.title.lower()} without a recipe at hand",
        "weeks": 1.0,
        "requires": [f"m{place - 1}"] if place > 1 else [],
    }
    return node(
        "milestone", 1, place, module.title, id=name, summary=module.summary, fields=fields, children=skills
    )


def path_tree() -> Tree:
    """Four milestones of three skills, each with two activities."""
    known: dict[str, str] = {}
    return Tree(
        structure_type="learning_path",
        title="From flour to loaf",
        summary="Four weeks from the first dough to a loaf with a crisp crust.",
        language="en",
        origin=Origin.LLM,
        depth=3,
        source=source_info(),
        fields={
            "goal": "Bake a good loaf without a recipe",
            "startLevel": 0,
            "targetLevel": 4,
            "hoursPerWeek": 2,
        },
        nodes=tuple(_milestone(module, place, known) for place, module in enumerate(MODULES, 1)),
    )
