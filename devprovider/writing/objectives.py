"""Objectives by frames: one verb of the stated level, a concept, a condition with a degree. Pure."""

import re

from devprovider.writing.desk import Desk, Scope
from devprovider.writing.material import shorten

LEVELS = ("remember", "understand", "apply", "analyze", "evaluate", "create")
FRAMES: dict[str, tuple[str, ...]] = {
    "remember": (
        "List {n} facts about the {p}",
        "State the main facts about the {p}",
        "Recall what defines the {p}",
    ),
    "understand": (
        "Explain the role of the {p}",
        "Describe the link from the {p} to the {q}",
        "Summarize what the passage says about the {p}",
    ),
    "apply": (
        "Demonstrate the use of the {p} on a new case",
        "Apply the rules about the {p} to a new case",
        "Solve a small task about the {p}",
    ),
    "analyze": (
        "Examine the effect of the {p} on the {q}",
        "Distinguish the {p} from the {q}",
        "Analyze the part that the {p} plays for the {q}",
    ),
    "evaluate": (
        "Assess the value of the {p} for the {q}",
        "Justify a choice about the {p}",
        "Judge the importance of the {p} for the {q}",
    ),
    "create": (
        "Design a short plan for the {p}",
        "Compose a checklist about the {p}",
        "Devise a test for the {p}",
    ),
}
CONDITIONS = (
    "using at least {n} statements of the source",
    "given one short passage, correctly",
    "without notes, within {m} sentences",
    "using a worked example, correctly",
    "given the source, within {m} minutes",
    "with at least {n} reasons",
)
_SAFE_WORDS = 4


def objective(desk: Desk, scope: Scope, bloom: str, variant: int = 0) -> str:
    """An objective of that level about the place's concepts, 8 to 25 words."""
    turn = scope.position + variant
    first, second = _plain(desk.term(scope, 2 * turn)), _plain(desk.term(scope, 2 * turn + 1))
    if not desk.english:
        return shorten(f"{first} – {second}: {desk.text(scope.passages[turn % len(scope.passages)])}", 22)
    frames = FRAMES.get(bloom, FRAMES["understand"])
    second = second if second.lower() != first.lower() else "whole subject"
    frame = frames[(turn + desk.below(len(frames), scope.place, "frame")) % len(frames)]
    condition = CONDITIONS[(turn + desk.below(len(CONDITIONS), scope.place, "condition")) % len(CONDITIONS)]
    number = ("two", "three", "four")[desk.below(3, scope.place, turn, "number")]
    body = f"{frame} {condition}".format(p=first, q=second, n=number, m="five")
    return f"{body}."


def level_for(desk: Desk, scope: Scope, allowed: list[str]) -> str:
    """A level in turn, middle ones first; the schema's own values when it names others."""
    wished = ("understand", "apply", "analyze", "remember", "evaluate", "apply")
    start = scope.place[-2] if len(scope.place) > 1 else 0
    level = wished[(scope.position + start) % len(wished)]
    return level if not allowed or level in allowed else allowed[scope.position % len(allowed)]


def level_of(desk: Desk, objective_id: str) -> str:
    """The level that the prompt gives an objective, by name on its line; "" when it says none."""
    if objective_id not in desk.levels:
        line = re.search(rf"(?<![\w.]){re.escape(objective_id)}(?![\w])[^\n]*", desk.prompt.words_all)
        found = re.search(r"\b(" + "|".join(LEVELS) + r")\b", line[0].lower()) if line else None
        desk.levels[objective_id] = found[1] if found else ""
    return desk.levels[objective_id]


def _plain(term: str) -> str:
    return " ".join(term.split()[:_SAFE_WORDS])
