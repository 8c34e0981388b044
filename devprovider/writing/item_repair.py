"""Corrected stems, options and whole items. Pure."""

import re
from typing import Any

from devprovider.writing import items
from devprovider.writing.desk import Desk, Scope
from devprovider.writing.material import SPARE_TERMS, first_clause, form_of, shorten

RUBRIC = [
    {"criterion": "Rests each claim on a statement of the source", "points": 2},
    {"criterion": "Says it in the learner's own words", "points": 2},
]
_LEAD = re.compile(r"^(?:As you know|It is well known that|Of course|Obviously|Clearly)\W+", re.IGNORECASE)
_TELLING = re.compile(r"\b(?:above|always|never|all|none|only|every)\b")
_NEGATION = re.compile(r"\b(?:not|except|never|cannot|neither|nor|unlikely)\b", re.IGNORECASE)


def stem(desk: Desk, scope: Scope, rule: str, old: str) -> str:
    """The old stem without its flaw, or a new one where there is nothing to keep."""
    if "two_clauses" in rule:
        return first_clause(old)
    if "lead_in" in rule:
        rest = _LEAD.sub("", old).strip()
        return rest[:1].upper() + rest[1:]
    if "negative" in rule:
        # One negative, stressed; a second one is dropped.
        once = iter(["NOT"])
        return (
            re.sub(r"\s+", " ", _NEGATION.sub(lambda _: next(once, ""), old))
            if "double" not in rule
            else (re.sub(r"\s+", " ", _NEGATION.sub("", old)))
        )
    if "long_stem" in rule:
        return _last_question(old)
    if "stem_form" in rule:
        return old.rstrip(" .!") + "?"
    if items.GAP not in old and "incomplete" in rule:
        return f"{shorten(old, 20).rstrip('.')} ({items.GAP})."
    return (
        f"What does the source say about the {desk.term(scope)}?"
        if not old.strip()
        else old.rstrip(" .!?") + "?"
    )


def _last_question(old: str) -> str:
    parts = [one.strip() for one in re.split(r"(?<=[.!?])\s+", old) if one.strip()]
    last = parts[-1] if parts else old
    return last if len(last.split()) <= 50 else shorten(last, 45).rstrip(".") + "?"


def option_text(desk: Desk, scope: Scope, old: str) -> str:
    """Another phrase of the old one's form."""
    wanted = old.lower().split()
    size = min(3, max(1, len(wanted))) if len(wanted) <= 3 else 2
    everything = [*desk.terms(scope), *SPARE_TERMS]
    fitting = [one for one in everything if one.count(" ") + 1 == size and one.lower() not in desk.terms_used]
    # Of the old one's form first, so that no option stands out.
    fitting.sort(key=lambda one: (form_of(one) != form_of(old), abs(len(one) - len(old))))
    chosen = next(
        (one for one in fitting if one.lower() != old.lower()), f"{SPARE_TERMS[0]} {scope.position + 1}"
    )
    desk.terms_used.add(chosen.lower())
    return chosen


def options(desk: Desk, scope: Scope, old: list[dict[str, Any]], *, one_key: bool) -> list[dict[str, Any]]:
    """Three to five different options, one of them right (or at least one, of several), each with its "
    "reason."""
    made = old[:5]
    keys = [option for option in made if option.get("correct")]
    if not keys and made:
        made[0]["correct"] = True
    for option in keys[1:] if one_key else ():
        option["correct"] = False
    pattern = made[0] if made else {"text": "", "correct": True, "rationale": ""}
    while len(made) < 3:
        made.append(pattern | {"text": "", "correct": not made})
    _distinct(desk, scope, made)
    for option in made:
        if not str(option.get("rationale") or "").strip():
            option["rationale"] = desk.proof(scope.passages[0])
    return made


def _distinct(desk: Desk, scope: Scope, made: list[dict[str, Any]]) -> None:
    """Empty, repeated and telling options become other phrases of the key's form; a long key is cut."""
    key = next(str(option["text"]) for option in made if option.get("correct"))
    wrong = [len(str(option["text"])) for option in made if not option.get("correct") and option["text"]]
    most = sum(wrong) / len(wrong) if wrong else 20
    pattern = key if len(key) < 1.5 * most else "two words"
    seen = {_bare(key)}
    desk.terms_used |= seen | {_bare(str(option["text"])) for option in made}
    for option in made:
        bare = _bare(str(option["text"]))
        if option.get("correct") and option["text"] == key:
            option["text"] = key if pattern == key else _cut(key, most)
        elif not bare or bare in seen or _TELLING.search(bare):
            option["text"] = option_text(desk, scope, pattern)
        seen.add(_bare(str(option["text"])))


def _bare(text: str) -> str:
    return re.sub(r"^(?:a|an|the)\s+", "", text.lower().strip())


def _cut(text: str, most: float) -> str:
    """The first words, as long as the other options are."""
    kept = text.split()
    while len(kept) > 1 and len(" ".join(kept)) > 1.3 * most:
        kept.pop()
    return " ".join(kept)


def whole(desk: Desk, scope: Scope, rule: str, old: dict[str, Any]) -> dict[str, Any]:
    """An item with every part that its kind needs, written anew from other passages."""
    kind = str(old.get("kind", "single"))
    if kind not in items.KINDS:
        return old
    fresh = items.item(desk, scope, kind, list(old.get("objectiveIds") or ()))
    kept = {name: old[name] for name in ("id", "bloom", "difficulty", "points") if old.get(name)}
    return {name: (fresh | kept).get(name, value) for name, value in old.items()}


def completed(desk: Desk, scope: Scope, name: str, kept: list[Any]) -> list[Any]:
    """A list that an item can't do without, filled up: accepted answers, pairs, or steps."""
    if name == "accepted":
        return [one for one in kept if str(one).strip()] or [desk.term(scope)]
    if name == "pairs":
        return items.item(desk, scope, "match", [])["pairs"] if len(kept) < 2 else kept
    steps = list(dict.fromkeys(map(str, kept)))
    for number in scope.passages:
        if len(steps) >= 3:
            break
        said = shorten(first_clause(desk.text(number)), 16)
        steps += [said] if said not in steps else []
    return steps
