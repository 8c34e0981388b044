"""Lists of ids, labels, terms and sentences by the name of their property. Pure."""

from collections.abc import Callable
from typing import Any

from devprovider.writing.desk import Desk, Scope
from devprovider.writing.material import first_clause, shorten
from devprovider.writing.schemas import enum_of
from devprovider.writing.texts import REASONS

USUAL = {
    "nodes": 4, "outcomes": 4, "objectives": 2, "children": 3, "keyPoints": 3, "items": 3, "options": 3,
    "introduces": 1, "needs": 1, "reasons": 2, "steps": 3, "glossary": 6, "cards": 8, "tags": 2, "sources": 2,
    "requires": 1, "pairs": 3,
}  # fmt: skip
Maker = Callable[[Desk, dict[str, Any], dict[str, Any], Scope, dict[str, Any], str], list[Any]]


def count_of(desk: Desk, schema: dict[str, Any], name: str, path: str, place: tuple[int, ...]) -> int:
    """How many: what the sizes say for this very list or for all of its path, else the least, else the "
    "usual."""
    exact = path
    for position in place:
        exact = exact.replace("[]", f"[{position}]", 1)
    sizes = desk.prompt.sizes
    count = sizes.get(exact, sizes.get(path))
    if count is None:
        least, most = schema.get("minItems"), schema.get("maxItems")
        count = max(int(least or 0), USUAL.get(name, 3)) if least is None else int(least)
        count = min(count, int(most)) if most is not None else count
    return int(count)


def ids_in_turn(allowed: list[Any], scope: Scope, count: int) -> list[Any]:
    """Values of an enum, each once, beginning at the place's own position."""
    start = scope.turn * count
    return [allowed[(start + step) % len(allowed)] for step in range(min(count, len(allowed)))]


def _objective_ids(
    desk: Desk, schema: dict[str, Any], inner: dict[str, Any], scope: Scope, parent: dict[str, Any], path: str
) -> list[Any]:
    allowed = enum_of(inner)
    own = [one for one in (scope.objectives or allowed) if not allowed or one in allowed]
    if not own:
        known = [one["key"] for one in parent.get("objectives", ()) if isinstance(one, dict) and "key" in one]
        own = known or allowed
    most = schema.get("maxItems")
    return own[: int(most)] if most is not None else own


def _outcome_ids(
    desk: Desk, schema: dict[str, Any], inner: dict[str, Any], scope: Scope, parent: dict[str, Any], path: str
) -> list[Any]:
    return ids_in_turn(enum_of(inner), scope, 1)


def _requires(
    desk: Desk, schema: dict[str, Any], inner: dict[str, Any], scope: Scope, parent: dict[str, Any], path: str
) -> list[Any]:
    """The node before, every second time; nothing that comes later."""
    allowed = enum_of(inner)
    earlier = [key for key in scope.earlier if not allowed or key in allowed]
    least = int(schema.get("minItems") or 0)
    wanted = max(least, int(bool(desk.below(2, scope.path, scope.place, "requires"))))
    return earlier[-wanted:] if wanted else []


def _sources(
    desk: Desk, schema: dict[str, Any], inner: dict[str, Any], scope: Scope, parent: dict[str, Any], path: str
) -> list[Any]:
    count = count_of(desk, schema, "sources", path, scope.place)
    allowed = enum_of(inner)
    labels = desk.labels(scope.passages[:count])
    return [one for one in labels if not allowed or one in allowed] or allowed[:count]


def _key_points(
    desk: Desk, schema: dict[str, Any], inner: dict[str, Any], scope: Scope, parent: dict[str, Any], path: str
) -> list[Any]:
    """Sentences of the place's own passages; cut at a clause when a passage has to serve twice."""
    count = count_of(desk, schema, "keyPoints", path, scope.place)
    points: list[str] = []
    for _ in range(3 * count):
        number = desk.take_passage(scope, "keyPoints")
        text = shorten(desk.text(number), 30)
        points += [one for one in (text, first_clause(text)) if one not in points][:1]
        if len(points) == count:
            return points
    return points + [f"{desk.term(scope, n).capitalize()} ({n})." for n in range(count - len(points))]


def _introduces(
    desk: Desk, schema: dict[str, Any], inner: dict[str, Any], scope: Scope, parent: dict[str, Any], path: str
) -> list[Any]:
    count = count_of(desk, schema, "introduces", path, scope.place)
    known = {term.lower() for term in desk.introduced_elsewhere()}
    allowed = enum_of(inner)
    fresh = [term for term in (allowed or desk.terms(scope)) if term.lower() not in known][:count]
    desk.introduced += [(scope.place, term) for term in fresh]
    return fresh


def _needs(
    desk: Desk, schema: dict[str, Any], inner: dict[str, Any], scope: Scope, parent: dict[str, Any], path: str
) -> list[Any]:
    """Terms that an earlier place introduced."""
    before = desk.introduced_elsewhere(scope.place)
    allowed = enum_of(inner)
    usable = [term for term in before if not allowed or term in allowed]
    count = count_of(desk, schema, "needs", path, scope.place)
    return usable[-count:] if count else []


def _reasons(
    desk: Desk, schema: dict[str, Any], inner: dict[str, Any], scope: Scope, parent: dict[str, Any], path: str
) -> list[Any]:
    count = count_of(desk, schema, "reasons", path, scope.place)
    start = desk.below(len(REASONS), scope.path, scope.place, "reasons")
    return [REASONS[(start + step) % len(REASONS)] for step in range(count)]


def _terms(
    desk: Desk, schema: dict[str, Any], inner: dict[str, Any], scope: Scope, parent: dict[str, Any], path: str
) -> list[Any]:
    count = count_of(desk, schema, "tags", path, scope.place)
    return enum_of(inner)[:count] or desk.terms(scope)[:count]


def _threads(
    desk: Desk, schema: dict[str, Any], inner: dict[str, Any], scope: Scope, parent: dict[str, Any], path: str
) -> list[Any]:
    """What a scene opens or closes: mostly nothing."""
    allowed = enum_of(inner)
    return allowed[:0] if desk.below(3, path, scope.place) else ids_in_turn(allowed, scope, 1)


def _inputs(
    desk: Desk, schema: dict[str, Any], inner: dict[str, Any], scope: Scope, parent: dict[str, Any], path: str
) -> list[Any]:
    """What a first step begins with; what the others take up is what those before them put out."""
    return [] if scope.position else desk.terms(scope)[:1]


LISTS: dict[str, Maker] = {
    "inputs": _inputs,
    "opens": _threads,
    "closes": _threads,
    "objectiveIds": _objective_ids,
    "outcomeIds": _outcome_ids,
    "requires": _requires,
    "sources": _sources,
    "keyPoints": _key_points,
    "introduces": _introduces,
    "needs": _needs,
    "reasons": _reasons,
    "tags": _terms,
    "aliases": _terms,
}
