"""Small trees by hand, and large or varied ones by seed, for the tests of granulation."""

import hashlib
import itertools
import random
from typing import Any

import msgspec
from tests.unit.granulation.bread import MODULES, Lesson, Module

from aifactory.granulation.sizes import Counts
from aifactory.granulation.tree import Node, NodeState, Origin, SourceInfo, Tree

SOURCE = "\n\n".join(
    f"# {module.title}\n\n{module.summary}\n\n"
    + "\n\n".join(
        f"## {lesson.title}\n\n{lesson.passage}\n\n{lesson.practice} {lesson.reason}"
        for lesson in module.lessons
    )
    for module in MODULES
)
KEYPHRASES: tuple[tuple[str, float], ...] = tuple(
    (lesson.term, 1.0) for module in MODULES for lesson in module.lessons
) + tuple((phrase, 0.5) for module in MODULES for phrase in (module.title,))


def span(quote: str) -> dict[str, Any]:
    """A span of the source text, as plain JSON."""
    start = SOURCE.index(quote)
    return {"start": start, "end": start + len(quote), "quote": quote}


def source_info() -> SourceInfo:
    return SourceInfo(
        name="bread.md",
        characters=len(SOURCE),
        words=len(SOURCE.split()),
        sha256=hashlib.sha256(SOURCE.encode()).hexdigest(),
    )


def single_item(
    lesson: Lesson, name: str, objective: str, *, key_at: int, bloom: str = "understand"
) -> dict[str, Any]:
    """The lesson's question; its right option is the first of the data, except where a number says it."""
    right = "Four" if "Four" in lesson.options else lesson.options[0]
    wrong = [option for option in lesson.options if option != right]
    texts = list(lesson.options) if right == "Four" else [*wrong[:key_at], right, *wrong[key_at:]]
    return {
        "id": name,
        "kind": "single",
        "stem": lesson.question,
        "objectiveIds": [objective],
        "bloom": bloom,
        "difficulty": "medium",
        "feedback": lesson.reason,
        "options": [
            {"text": text, "correct": text == right, "rationale": lesson.reason if text == right else ""}
            for text in texts
        ],
        "sources": [span(lesson.passage if right.lower() in lesson.passage.lower() else lesson.reason)],
    }


def node(kind: str, level: int, ordinal: int, title: str, **rest: Any) -> Node:
    return msgspec.convert(
        {
            "id": rest.pop("id"),
            "kind": kind,
            "level": level,
            "ordinal": ordinal,
            "title": title,
            "origin": Origin.LLM,
            "state": NodeState.OK,
            **rest,
        },
        Node,
    )


def _activities(lesson: Lesson, name: str, objective: str, count: int) -> list[Node]:
    first = {
        "activityKind": "practice",
        "instructions": lesson.practice,
        "objectiveIds": [objective],
        "deliverable": "Your notes on what you saw",
    }
    second = {
        "activityKind": "read",
        "instructions": f"Read the passage about {lesson.term} and name the one fact that surprised you.",
        "objectiveIds": [objective],
    }
    made = [("practice", f"Try it: {lesson.title.lower()}", first, lesson.practice)]
    made.append(("read", f"Read about {lesson.term}", second, lesson.passage))
    return [
        node(
            "activity",
            3,
            place,
            title,
            id=f"{name}_{kind}",
            summary=f"{kind.capitalize()} {lesson.term}: {lesson.points[place - 1]}.",
            minutes=10 if kind == "practice" else 5,
            sources=[span(quote)],
            fields=fields,
        )
        for place, (kind, title, fields, quote) in enumerate(made[:count], 1)
    ]


def _lesson(
    lesson: Lesson, place: int, name: str, objectives: list[str], activities: int, bloom: str
) -> Node:
    objective = objectives[(place - 1) % len(objectives)]
    fields: dict[str, Any] = {
        "objectiveIds": [objective],
        "keyPoints": list(lesson.points),
        "introduces": [lesson.term],
        "needs": list(lesson.needs),
    }
    if bloom:
        fields["items"] = [single_item(lesson, f"{name}_q", objectives[0], key_at=place % 3, bloom=bloom)]
    return node(
        "lesson",
        2,
        place,
        lesson.title,
        id=name,
        summary=lesson.passage,
        minutes=20,
        sources=[span(lesson.passage)],
        fields=fields,
        children=_activities(lesson, name, objective, activities),
    )


def _module(module: Module, place: int, lessons: int, activities: int, items: bool) -> Node:
    names = [f"o{place}{letter}" for letter in "ab"]
    name = f"m{place}"
    bloom = module.objectives[0][0] if items else ""
    children = [
        _lesson(lesson, number, f"{name}_l{number}", names, activities, bloom)
        for number, lesson in enumerate(module.lessons[:lessons], 1)
    ]
    return node(
        "module",
        1,
        place,
        module.title,
        id=name,
        summary=module.summary,
        minutes=60,
        fields={
            "objectives": [
                {"id": identity, "text": text, "bloom": bloom, "outcomeIds": [f"out{place}"]}
                for identity, (bloom, text) in zip(names, module.objectives, strict=True)
            ],
            "requires": [f"m{place - 1}"] if place > 1 else [],
            "assessment": {"kind": "quiz", "weight": 25, "objectiveIds": names},
        },
        children=children,
    )


OUTCOMES = (
    ("understand", "Explain in five sentences what holds a loaf together, using the terms of the course"),
    ("apply", "Prepare a lively culture within three days, using flour, water and one clean jar"),
    ("apply", "Demonstrate two ways to form a loaf that keeps its height, using a bench and a scraper"),
    ("evaluate", "Judge at least three baked loaves by colour, height and sound, given a short checklist"),
)


def course_tree(
    *, modules: int = 4, lessons: int = 3, activities: int = 2, items: bool = True, sourced: bool = True
) -> Tree:
    """A sound course about bread: every rule holds and every sub-score is high."""
    chosen = MODULES[:modules]
    kept = {lesson.term for module in chosen for lesson in module.lessons[:lessons]}
    trimmed = [
        module._replace(
            lessons=tuple(
                lesson._replace(needs=tuple(term for term in lesson.needs if term in kept))
                for lesson in module.lessons[:lessons]
            )
        )
        for module in chosen
    ]
    nodes = [_module(module, place, lessons, activities, items) for place, module in enumerate(trimmed, 1)]
    return Tree(
        structure_type="course",
        title="Bread from flour, water and time",
        summary="A course on why dough holds together, how cultures lift it, how hands form it and what heat "
        "does.",
        language="en",
        origin=Origin.LLM,
        depth=3 if activities else 2,
        target_audience="adult beginners",
        source=source_info() if sourced else None,
        fields={
            "outcomes": [
                {"id": f"out{place}", "text": text, "bloom": bloom}
                for place, (bloom, text) in enumerate(OUTCOMES[: len(chosen)], 1)
            ],
            "glossary": [
                {
                    "term": lesson.term,
                    "definition": lesson.passage.split(". ")[0] + ".",
                    "sources": [span(lesson.passage)],
                }
                for module in trimmed
                for lesson in module.lessons
            ],
        },
        nodes=tuple(nodes),
    )


def course_counts(tree: Tree) -> Counts:
    """The counts that a course was asked for: what its first branch has."""
    counts, nodes = [], tree.nodes
    while nodes:
        counts.append(len(nodes))
        nodes = nodes[0].children
    return Counts(per_level=tuple(counts))


def quiz_tree(*, sections: int = 4, items: int = 3) -> Tree:
    """A sound quiz about bread: one objective and section per module, one item per lesson."""
    objectives, nodes, blueprint = [], [], []
    number = 0
    for place, module in enumerate(MODULES[:sections], 1):
        name = f"o{place}"
        bloom, text = module.objectives[0]
        objectives.append({"id": name, "text": text, "bloom": bloom})
        children = []
        for ordinal, lesson in enumerate(module.lessons[:items], 1):
            number += 1
            made = single_item(lesson, f"q{number}", name, key_at=number % 3, bloom=bloom)
            children.append(
                node(
                    "item",
                    2,
                    ordinal,
                    f"About {lesson.term}",
                    id=f"i{number}",
                    fields={"item": made},
                    sources=made["sources"],
                )
            )
        blueprint.append(
            {"objectiveId": name, "bloom": bloom, "difficulty": "medium", "count": len(children)}
        )
        nodes.append(
            node(
                "section",
                1,
                place,
                module.title,
                id=f"s{place}",
                summary=module.summary,
                sources=[span(module.summary)],
                fields={"objectiveIds": [name], "weight": 25},
                children=children,
            )
        )
    return Tree(
        structure_type="quiz",
        title="Bread: what you know",
        summary="A quiz on flour, cultures, hands and heat, with one section for each part of the work.",
        language="en",
        origin=Origin.LLM,
        depth=2,
        target_audience="adult beginners",
        source=source_info(),
        fields={"objectives": objectives, "blueprint": blueprint},
        nodes=tuple(nodes),
    )


def varied_course(seed: int) -> Tree:
    """A sound course of another size, by seed; with or without items."""
    chance = random.Random(seed)
    return course_tree(
        modules=chance.choice((3, 4)),
        lessons=chance.choice((2, 3)),
        activities=chance.choice((1, 2)),
        items=chance.random() < 0.7,
    )


def large_course(nodes: int) -> Tree:
    """A course of about so many nodes with texts of random words, to measure time with."""
    chance = random.Random(nodes)
    vocabulary = [
        "".join(chance.choices("bcdfglmnprst", k=1))
        + chance.choice("aeiou")
        + "".join(chance.choices("abcdefgilmnoprstu", k=chance.randint(2, 7)))
        for _ in range(3000)
    ]
    # Zipf's law: the n-th word is 1/n as frequent as the first, as in any natural text.
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(vocabulary) + 1)))
    common = ["the", "of", "a", "to", "and", "is", "in", "with", "for", "that"]

    def text(count: int) -> str:
        found = [
            chance.choice(common) if chance.random() < 0.4 else rare
            for rare in chance.choices(vocabulary, cum_weights=weights, k=count)
        ]
        return " ".join(found).capitalize() + "."

    def objective(name: str) -> dict[str, Any]:
        return {
            "id": name,
            "text": f"Explain two uses of {text(8)[:-1]}, using the section",
            "bloom": "understand",
            "outcomeIds": ["out1"],
        }

    per_module = 1 + 6 * (1 + 4)
    modules = []
    for place in range(1, nodes // per_module + 1):
        name = f"m{place}"
        lessons = []
        for number in range(1, 7):
            key = f"{name}_l{number}"
            item = {
                "id": f"{key}_q",
                "kind": "single",
                "stem": f"What is {text(8)[:-1]}?",
                "objectiveIds": [f"{name}_o"],
                "bloom": "understand",
                "difficulty": "easy",
                "options": [
                    {"text": text(4), "correct": spot == number % 3, "rationale": "Because."}
                    for spot in range(3)
                ],
            }
            activities = [
                node(
                    "activity",
                    3,
                    spot,
                    text(4),
                    id=f"{key}_a{spot}",
                    minutes=8,
                    summary=text(30),
                    fields={
                        "activityKind": "practice",
                        "instructions": text(30),
                        "objectiveIds": [f"{name}_o"],
                    },
                )
                for spot in range(1, 5)
            ]
            lessons.append(
                node(
                    "lesson",
                    2,
                    number,
                    text(4),
                    id=key,
                    summary=text(45),
                    minutes=32,
                    children=activities,
                    fields={
                        "objectiveIds": [f"{name}_o"],
                        "keyPoints": [text(8) for _ in range(4)],
                        "introduces": [f"term {key}"],
                        "needs": [f"term {name}_l{number - 1}"] if number > 1 else [],
                        "items": [item],
                    },
                )
            )
        modules.append(
            node(
                "module",
                1,
                place,
                text(4),
                id=name,
                summary=text(45),
                children=lessons,
                fields={
                    "objectives": [objective(f"{name}_o"), objective(f"{name}_p")],
                    "requires": [],
                    "assessment": {"kind": "quiz", "objectiveIds": [f"{name}_o", f"{name}_p"]},
                },
            )
        )
    return Tree(
        structure_type="course",
        title="A large course",
        summary=text(20),
        language="en",
        origin=Origin.LLM,
        depth=3,
        fields={"outcomes": [objective("out1") | {"outcomeIds": []}] * 1, "glossary": []},
        nodes=tuple(modules),
    )
