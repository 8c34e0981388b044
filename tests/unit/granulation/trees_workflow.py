"""A sound workflow by hand, for the tests of granulation: how an article gets into a magazine."""

from typing import Any, NamedTuple

from tests.unit.granulation.trees import node

from aifactory.granulation.tree import Node, Origin, Tree


class Step(NamedTuple):
    id: str
    title: str
    summary: str
    role: str
    inputs: list[str]
    outputs: list[str]
    minutes: int
    tasks: list[str]
    more: dict[str, Any] | None = None


ROLES = [
    {"id": "editor", "name": "Editor", "duty": "Decides what is printed"},
    {"id": "author", "name": "Author", "duty": "Writes and corrects the article"},
    {"id": "checker", "name": "Fact checker", "duty": "Confirms every figure and quotation"},
    {"id": "layout", "name": "Layout designer"},
]


def _decision(question: str, onward: str, back: str) -> dict[str, Any]:
    branches = [{"label": "Yes", "to": onward}, {"label": "No", "to": back, "rework": True}]
    return {"decision": {"question": question, "branches": branches}}


PHASES: list[tuple[str, str, str, str, str, list[Step]]] = [
    (
        "Commission",
        "The magazine finds a subject for the next issue and agrees with somebody who can write about it.",
        "The issue has a free page",
        "Subject, length and date are agreed in writing",
        "editor",
        [
            Step(
                "choose",
                "Choose a subject",
                "Readers' letters show which question is open, and one of them becomes the subject.",
                "editor",
                ["readers' letters"],
                ["subject"],
                60,
                ["Read the letters of the last month", "Write the question down in one line"],
            ),
            Step(
                "agree",
                "Agree with an author",
                "Length, fee and date are settled with a person who knows the field well.",
                "editor",
                ["subject"],
                ["agreement"],
                45,
                ["Call two people who know the field", "Send the terms and wait for a signature"],
                {"requires": ["choose"]},
            ),
        ],
    ),
    (
        "Writing",
        "The author turns research into a text that a reader without training can follow.",
        "The agreement is signed",
        "Nothing in the text is unproved",
        "checker",
        [
            Step(
                "draft",
                "Write the draft",
                "The author visits two places, takes notes and writes a first version from them.",
                "author",
                ["agreement"],
                ["draft", "list of sources"],
                900,
                ["Interview at least two witnesses", "Note where each number comes from"],
                {"requires": ["agree"]},
            ),
            Step(
                "check",
                "Check the facts",
                "Every figure and quotation is compared with its origin before anybody polishes the style.",
                "checker",
                ["draft", "list of sources"],
                ["report on errors"],
                180,
                ["Compare each number with its origin", "Ring the people who are quoted"],
                {"requires": ["draft"], **_decision("Does every statement hold?", "edit", "draft")},
            ),
            Step(
                "edit",
                "Polish the language",
                "Long sentences are split, jargon is replaced, and the opening gets a hook.",
                "editor",
                ["draft", "report on errors"],
                ["final text"],
                120,
                ["Read the piece aloud", "Cut a tenth of the words"],
            ),
        ],
    ),
    (
        "Printing",
        "Pages are set, seen once more by whoever answers for them, and sent to the press.",
        "A final text and pictures are there",
        "The proof is signed on every page",
        "editor",
        [
            Step(
                "set",
                "Set the pages",
                "Columns, pictures and captions are put on the grid of the issue.",
                "layout",
                ["final text"],
                ["proof"],
                240,
                ["Place the pictures first", "Leave room for the byline"],
                {"requires": ["edit"]},
            ),
            Step(
                "sign",
                "Sign the proof",
                "Fresh eyes look for widows, wrong captions and missing credits on paper.",
                "author",
                ["proof"],
                ["signed proof"],
                90,
                ["Mark corrections in red"],
                {"requires": ["set"], **_decision("Is the proof free of faults?", "send", "set")},
            ),
            Step(
                "send",
                "Send it to the press",
                "The printer receives the files and confirms when the machine will start.",
                "layout",
                ["signed proof"],
                ["printed issue"],
                30,
                [],
            ),
        ],
    ),
]


def _step(step: Step, place: int) -> Node:
    tasks = [
        node("task", 3, n, text, id=f"{step.id}{n}", fields={"instruction": f"{text}."})
        for n, text in enumerate(step.tasks, 1)
    ]
    fields = {"role": step.role, "inputs": step.inputs, "outputs": step.outputs, **(step.more or {})}
    return node(
        "step",
        2,
        place,
        step.title,
        id=step.id,
        summary=step.summary,
        minutes=step.minutes,
        fields=fields,
        children=tasks,
    )


def workflow_tree() -> Tree:
    """Three phases with eight steps, two of them decisions that may send the work back."""
    return Tree(
        structure_type="workflow",
        title="From a question to a printed article",
        summary="How a magazine commissions, checks and prints an article.",
        language="en",
        origin=Origin.HUMAN,
        depth=3,
        fields={"roles": ROLES},
        nodes=tuple(
            node(
                "phase",
                1,
                place,
                title,
                id=f"p{place}",
                summary=summary,
                fields={"entry": entry, "gate": {"criteria": [criterion], "approver": approver}},
                children=[_step(step, n) for n, step in enumerate(steps, 1)],
            )
            for place, (title, summary, entry, criterion, approver, steps) in enumerate(PHASES, 1)
        ),
    )
