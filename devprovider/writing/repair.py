"""Patches: for each problem of a repair call a corrected value of the same type. Pure."""

import re
from typing import Any

import msgspec

from devprovider.writing import item_repair, objectives, texts
from devprovider.writing.desk import Desk, Scope
from devprovider.writing.material import first_clause, shorten
from devprovider.writing.prompt import Problem

MINUTES = 6


def corrected(desk: Desk, problem: Problem, position: int) -> Any:
    """The new value, of the old one's type; a missing one is written by the name of its property."""
    scope = _scope(desk, problem, position)
    value = problem.value
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return _number(problem)
    if isinstance(value, list):
        return _list(desk, problem, scope, value)
    if isinstance(value, dict):
        return _object(desk, problem, scope, value)
    return _text(desk, problem, scope, value if isinstance(value, str) else "")


def _scope(desk: Desk, problem: Problem, position: int) -> Scope:
    """Passages that the broken value speaks of come first; then a stretch of the problem's own."""
    everything = tuple(range(len(desk.material.passages)))
    start = desk.below(len(everything), "repair", position, problem.path)
    return Scope(path="patches", place=(position,), passages=everything[start:] + everything[:start])


def _name(path: str) -> str:
    return next((part for part in reversed(re.split(r"[/.\[\]]+", path)) if part and not part.isdigit()), "")


def _number(problem: Problem) -> int | float:
    """Between the bounds that the message names, else near the usual ones."""
    band = re.search(r"(\d+(?:\.\d+)?)\s*(?:to|–|-|and)\s*(\d+(?:\.\d+)?)\D*$", problem.message)
    whole = isinstance(problem.value, int)
    if band:
        middle = (float(band[1]) + float(band[2])) / 2
        return int(middle) if whole else middle
    name = _name(problem.path)
    usual = {"minutes": MINUTES, "tolerance": 0, "weight": 20}.get(name, 1)
    return usual if whole else float(usual)


def _text(desk: Desk, problem: Problem, scope: Scope, old: str) -> str:
    name, rule = _name(problem.path), problem.rule
    if name == "title" or "title" in rule:
        taken = re.findall(r"Titles already taken: (.+)", desk.prompt.words_all)
        desk.titles.update(title.strip().lower() for line in taken for title in line.split(";"))
        desk.titles.add(old.lower())
        return texts.title(desk, scope)
    if rule.startswith("objective") or (name == "text" and "bloom" in problem.known):
        return _objective(desk, problem, scope, old)
    if name == "bloom":
        return _level_named(problem) or "understand"
    if name in ("summary", "description"):
        return texts.summary(desk, scope, _most(problem, texts.MAX_SUMMARY))[0]
    if name == "stem":
        return item_repair.stem(desk, scope, rule, old)
    if name == "rationale":
        return desk.proof(scope.passages[0])
    if "options" in problem.path:
        return item_repair.option_text(desk, scope, old)
    if name == "instructions":
        return texts.instructions(desk, scope, "practice")
    said = shorten(first_clause(texts.sentence(desk, scope, "repair")[0]), 24)
    return texts.fit(said, _most(problem, 2_000))


def _most(problem: Problem, usual: int) -> int:
    match = re.search(r"(?:at most|more than|maximum(?: of)?|up to|length <=)\s*(\d+)", problem.message)
    return min(usual, int(match[1])) if match else usual


def _level_named(problem: Problem) -> str:
    """The level that a message holds the objective to: "… of remember, not of apply"."""
    match = re.search(r"not of (\w+)", problem.message)
    known = str(problem.known.get("bloom", ""))
    return match[1] if match and match[1] in objectives.LEVELS else known


def _objective(desk: Desk, problem: Problem, scope: Scope, old: str) -> str:
    """A new objective; without a stated level a verb that many levels share."""
    level = _level_named(problem)
    made = objectives.objective(desk, scope, level or "understand", variant=len(problem.path))
    if level:
        return made
    return "Select " + made.split(" ", 1)[1] if made.startswith("Select") else _neutral(desk, scope)


def _neutral(desk: Desk, scope: Scope) -> str:
    # "Select" stands on four levels of the taxonomy.
    return f"Select two facts about the {desk.term(scope, scope.position)} using one statement of the source."


def _list(desk: Desk, problem: Problem, scope: Scope, old: list[Any]) -> list[Any]:
    named = set(re.findall(r"'([^']+)'", problem.message))
    kept = [one for one in old if not (isinstance(one, str) and one in named)]
    if _name(problem.path) == "options" or any(isinstance(one, dict) and "correct" in one for one in old):
        one_key = "one_key" in problem.rule or "one must be" in problem.message
        return item_repair.options(desk, scope, [dict(one) for one in old], one_key=one_key)
    name = _name(problem.path)
    if name == "sources":
        return desk.labels(scope.passages[:1])
    if name == "rubric":
        return item_repair.RUBRIC
    if name in ("steps", "pairs", "accepted") and "incomplete" in problem.rule:
        return item_repair.completed(desk, scope, name, kept)
    if kept or name in ("requires", "needs"):
        return list(dict.fromkeys(kept)) if all(isinstance(one, str) for one in kept) else kept
    return _list_from(desk, problem, scope, name)


def _list_from(desk: Desk, problem: Problem, scope: Scope, name: str) -> list[Any]:
    """A list that came empty: ids that the prompt allows, terms or statements."""
    allowed = problem.known.get("allowed") or re.findall(r"'([^']+)'", problem.message)
    if name.endswith("Ids"):
        return list(allowed[:1]) or re.findall(r"\b(?:m\d+\.)?o\d+\b", desk.prompt.words_all)[:1]
    if name in ("accepted", "introduces", "tags"):
        return [desk.term(scope)]
    return [shorten(desk.text(number), 20) for number in scope.passages[:4]]


def _object(desk: Desk, problem: Problem, scope: Scope, old: dict[str, Any]) -> dict[str, Any]:
    """The object with those of its parts that the rule is about made anew."""
    made = dict(old)
    if "stem" in made:
        return item_repair.whole(desk, scope, problem.rule, made)
    for name in ("title", "summary", "text"):
        if name in made and (name in problem.rule or not made[name] or (name == "text" and "bloom" in made)):
            inner = Problem(
                path=f"{problem.path}/{name}",
                rule=problem.rule,
                message=problem.message,
                value=made[name],
                known=problem.known | {"bloom": made.get("bloom", "")},
            )
            made[name] = _text(desk, inner, scope, str(made[name] or ""))
    return made


def patch(desk: Desk, problem: Problem, position: int, *, useless: bool) -> dict[str, Any]:
    """A patch; a useless one gives the old value again."""
    value = problem.value if useless else corrected(desk, problem, position)
    reason = f"Written anew because of {problem.rule or 'the problem'}."
    return {"path": problem.path, "valueJson": msgspec.json.encode(value).decode(), "reason": reason}
