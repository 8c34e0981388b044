"""What single texts of an answer say, by the name of their property. Pure."""

import re
from collections.abc import Callable
from typing import Any

from devprovider.writing import items, texts
from devprovider.writing.desk import Desk, Scope, about
from devprovider.writing.material import first_clause, shorten

FRAMES = {
    "name": "{P}",
    "role": "Keeper of the {p}",
    "duty": "Answers for the {p} and checks the {q}.",
    "want": "To have the {p} settled before the {q}.",
    "need": "To trust what the {p} shows.",
    "arc": "From the {p} to the {q}.",
    "note": "Where the {p} is kept.",
    "setup": "Something about the {p} is missing.",
    "payoff": "The missing {p} turns up beside the {q}.",
    "goal": "To find out what the {p} has to do with the {q}.",
    "conflict": "The {q} stands in the way of the {p}.",
    "entry": "The {p} is at hand.",
    "criteria": "The {p} has been checked twice.",
    "outputs": "Checked {p}",
    "question": "Is the {p} as planned?",
    "label": "The {p} is as planned",
    "tool": "List of the {p}",
}


Say = Callable[[Desk, Scope, dict[str, Any], str], str]


def sentence(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    """What a property of that name says: a frame where there is one, else a passage."""
    frame = FRAMES.get(name) if desk.english else None
    if frame is None:
        return texts.sentence(desk, scope, name)[0]
    first = desk.term(scope, scope.position)
    return frame.format(P=first[0].upper() + first[1:], p=first, q=desk.term(scope, scope.position + 1))


def _claim(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    text, number = texts.sentence(desk, scope, "claim")
    parent["sources"] = desk.labels([number])
    return shorten(text, 40)


def _card(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    """Front and back are made together, from a passage that no other card has; a cloze card has a gap."""
    kind = parent.get("cardKind", parent.get("kind"))
    if kind == "cloze":
        text, keys, number = items.gapped(desk, scope, 1)
        sides = {"front": text, "back": keys[0]}
    elif kind == "reversed":
        text, keys, number = items.gapped(desk, scope, 1)
        meaning = re.sub(
            rf"^(?:(?:an?|the)\s+)?{items.GAP}\s+(?:is|are|means)\s+", "", text, flags=re.IGNORECASE
        )
        sides = {"front": keys[0], "back": meaning.replace(items.GAP, "this")}
    else:
        number = desk.take_passage(scope, "items")
        phrases = [one.text for one in desk.material.phrases[number]] or desk.terms(scope)
        term = next((one for one in phrases if one.lower() not in desk.terms_used), phrases[0])
        desk.terms_used.add(term.lower())
        front = f"What does the source say about the {term}?" if desk.english else f"{term}?"
        sides = {"front": front, "back": shorten(desk.text(number), 40)}
    parent |= sides
    parent["sources"] = desk.labels([number])
    return sides[name]


def _term(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    """A term not yet explained, introduced ones first, with its definition."""
    candidates = [
        *desk.introduced_elsewhere(),
        *desk.terms(scope),
        *desk.material.terms(tuple(range(len(desk.material.passages)))),
    ]
    term = next((one for one in candidates if one.lower() not in desk.explained), candidates[0])
    desk.explained.add(term.lower())
    number = next(
        (n for n, one in enumerate(desk.material.passages) if term.lower() in one.text.lower()),
        scope.passages[0],
    )
    made: dict[str, Any] = {
        "term": term,
        "definition": shorten(desk.text(number), 35),
        "sources": desk.labels([number]),
    }
    parent.update(made)
    return str(made[name])


def _instructions(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    return texts.instructions(
        desk, scope, str(parent.get("activityKind") or parent.get("kind") or "practice")
    )


def _deliverable(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    return texts.DELIVERABLES[scope.position % len(texts.DELIVERABLES)]


def _definition(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    """What the source says about a node with a title, or about a term that is not explained yet."""
    if not scope.title:
        return _term(desk, scope, parent, name)
    return shorten(desk.text(about(desk, scope)[0]), 35)


def _evidence(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    subject = scope.title or desk.term(scope)
    return f"A worked example of {subject}, checked against the source" if desk.english else subject


def _reason(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    return str(desk.pick(texts.REASONS, scope.path, scope.place, name))


def _title(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    return scope.title or texts.title(desk, scope)


def _key(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    return scope.key or f"k{scope.position + 1}"


def _summary(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    return texts.summary(desk, scope)[0]


def _point(desk: Desk, scope: Scope, parent: dict[str, Any], name: str) -> str:
    return shorten(first_clause(sentence(desk, scope, parent, name)), 24)


STRINGS: dict[str, Say] = {
    "title": _title, "key": _key, "id": _key, "summary": _summary, "description": _summary,
    "rationale": _reason, "reason": _reason, "front": _card, "back": _card, "claim": _claim, "term": _term,
    "definition": _definition, "evidence": _evidence, "instructions": _instructions,
    "deliverable": _deliverable, "criterion": _point,
}  # fmt: skip
