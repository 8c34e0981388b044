"""Titles, summaries, instructions and other prose by frames. Pure."""

from devprovider.writing.desk import Desk, Scope
from devprovider.writing.material import first_clause, shorten

TITLE_FRAMES = (
    "{P} and the {q}",
    "{P} in relation to the {q}",
    "From {p} to {q}",
    "A closer look at {p} and {q}",
    "Inside the {p} with {q}",
    "{P}, {q} and {r}",
)
ACTIVITIES = {
    "read": "Read the passage about the {p} and mark two facts that it states.",
    "watch": "Watch a short demonstration of the {p} and note two things that agree with the passage.",
    "practice": "Work through one example about the {p} and check each step against the passage.",
    "discuss": "Discuss with a partner what the passage says about the {p} and agree on one open point.",
    "project": "Prepare a one-page note about the {p} with two facts from the passage.",
    "reflect": "Write three sentences about where you have met the {p} and compare them with the passage.",
}
DELIVERABLES = ("A list of two facts", "A worked example", "A one-page note", "Three written sentences")
REASONS = (
    "The order follows the source and each part has its own passages.",
    "Every part rests on passages that no other part uses.",
    "The parts go from the basic terms to their use.",
)
MAX_SUMMARY = 400
_ENOUGH_TITLE_WORDS = 3


def title(desk: Desk, scope: Scope) -> str:
    """A title of 3 to 8 words that no other node of the prompt or the answer has."""
    everything = desk.terms(scope)
    fresh = [term for term in everything if term.lower() not in desk.title_terms]
    terms = fresh if len(fresh) >= 2 else everything
    start = desk.below(len(TITLE_FRAMES), scope.path, scope.place, "title")
    for attempt in range(len(terms) + len(TITLE_FRAMES)):
        picked = [terms[(attempt + step) % len(terms)] for step in range(3)]
        frame = TITLE_FRAMES[(start + attempt) % len(TITLE_FRAMES)] if desk.english else "{P} – {q}"
        if len({one.lower() for one in picked}) < 2:
            picked[1], frame = "context", "{P} in its wider {q}" if desk.english else "{P} ({r})"
        made = _titled(frame, picked)
        if made.lower() not in desk.titles and _ENOUGH_TITLE_WORDS <= len(made.split()) <= 8:
            break
    else:
        made = f"{_titled('{P}: Part', picked)} {1 + len(desk.titles)}"
    desk.titles.add(made.lower())
    desk.title_terms.update(one.lower() for one in picked[:2])
    return made


def _titled(frame: str, picked: list[str]) -> str:
    first, second, third = picked
    return frame.format(P=first[0].upper() + first[1:], p=first, q=second, r=third)


def summary(desk: Desk, scope: Scope, most: int = MAX_SUMMARY) -> tuple[str, list[int]]:
    """One or two passages of the place in their own words, and which they were."""
    first = desk.take_passage(scope, f"summary{len(scope.place)}")
    others = [number for number in scope.passages if number != first]
    used = [first, *others[:1]] if others else [first]
    said = " ".join(shorten(desk.text(number), 28) for number in used)
    if len(said) > most:
        used, said = used[:1], shorten(desk.text(first), 28)
    return fit(said, most), used


def fit(text: str, most: int) -> str:
    """The text within so many characters, cut between words."""
    if len(text) <= most:
        return text
    cut = text[: max(1, most - 1)]
    return (cut[: cut.rfind(" ")] if " " in cut else cut).rstrip(" ,;:.") + "."


def sentence(desk: Desk, scope: Scope, purpose: str) -> tuple[str, int]:
    """A passage not yet used for this purpose, and its number."""
    number = desk.take_passage(scope, purpose)
    return desk.text(number), number


def instructions(desk: Desk, scope: Scope, kind: str) -> str:
    """What a learner does in an activity of that kind."""
    term = desk.term(scope, scope.position)
    own = scope.passages[scope.position % len(scope.passages)]
    quoted = shorten(first_clause(desk.text(own)), 16)
    if not desk.english:
        return quoted
    return ACTIVITIES.get(kind, ACTIVITIES["practice"]).format(p=term) + f' Start from this: "{quoted}"'


def prose(desk: Desk, scope: Scope) -> str:
    """A plain answer for a request without a schema."""
    said = [sentence(desk, scope, "prose")[0] for _ in range(min(4, len(desk.material.passages)))]
    return " ".join(said)
