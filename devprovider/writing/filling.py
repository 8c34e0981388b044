"""Fills a JSON Schema: structure, enums, sizes and bounds here, wording in the modules beside. Pure."""

import re
from typing import Any

import msgspec

from devprovider.writing import items, objectives, texts
from devprovider.writing.desk import Desk, Scope, about, is_below, parts
from devprovider.writing.lists import LISTS, count_of, ids_in_turn
from devprovider.writing.material import shorten
from devprovider.writing.schemas import enum_of, item_kinds, key_enum, main_type, plain
from devprovider.writing.strings import STRINGS, sentence

MAX_NESTING = 12
# Of objects that may be left out, one in so many is there.
RARE = 4
_MOST_WORDS = re.compile(r"\bat most (\d+) words\b")
_MINUTES = re.compile(r"\bMinutes are from (\d+) to (\d+)\b")
_LONG_MINUTES = (20, 90)
_USUAL_NUMBERS = {
    "minutes": (3, 12), "weight": (20, 20), "points": (1, 1), "weeks": (1, 4), "importance": (1, 3),
    "from": (0, 2), "to": (1, 4), "startLevel": (0, 1), "targetLevel": (2, 4), "hoursPerWeek": (2, 6),
    "words": (700, 1_900),
}  # fmt: skip


def fill(desk: Desk, schema: dict[str, Any], name: str, scope: Scope, parent: dict[str, Any]) -> Any:
    """A value for a property of that name; ``parent`` is the object so far."""
    may_be_null = not _needed(schema, desk)
    schema = plain(schema, desk.schema)
    if "const" in schema:
        return schema["const"]
    kind = main_type(schema)
    if kind == "object" and may_be_null and desk.below(RARE, scope.path, scope.place, name):
        return None
    if kind == "object" or "anyOf" in schema:
        return fill_object(desk, schema, scope)
    if kind == "array":
        return fill_list(desk, schema, name, scope, parent)
    allowed = enum_of(schema)
    if allowed:
        return _choice(desk, allowed, name, scope, parent)
    if kind == "string":
        text = STRINGS.get(name, sentence)(desk, scope, parent, name)
        asked = _MOST_WORDS.search(schema.get("description", ""))
        return _bounded(shorten(text, int(asked[1])).rstrip(".") if asked else text, schema)
    if kind in ("integer", "number"):
        return _number(desk, schema, name, scope)
    return bool(desk.below(2, scope.path, scope.place, name)) if kind == "boolean" else None


def fill_object(desk: Desk, schema: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """An object: an item, an objective, a card or a node, by the properties that it must have."""
    kinds = item_kinds(schema, desk.schema)
    if kinds:
        return _item(desk, kinds, scope)
    if "anyOf" in schema:
        schema = plain(desk.pick(schema["anyOf"], scope.path, scope.place, "variant"), desk.schema)
    properties = schema.get("properties", {})
    if len(scope.place) > MAX_NESTING:
        return dict.fromkeys(properties)
    made: dict[str, Any] = {}
    scope = _begin(desk, properties, scope, made)
    for name, part in properties.items():
        if name not in made or not _fits(made[name], part, desk):
            made[name] = fill(desk, part, name, scope, made)
    for name, part in properties.items():
        # A property that was written along with another one may be of another type here.
        if not _fits(made[name], part, desk):
            made[name] = fill(desk, part, name, scope, {})
    return {name: _bounded_within(made[name], properties[name], desk) for name in properties}


def _fits(value: Any, schema: dict[str, Any], desk: Desk) -> bool:
    """Whether a value that its name suggested may stand here: a property called "summary" may be a list."""
    schema = plain(schema, desk.schema)
    allowed = enum_of(schema)
    if allowed:
        return value in allowed
    if isinstance(value, str):
        return main_type(schema) == "string" and "anyOf" not in schema
    return not isinstance(value, list) or (main_type(schema) == "array" and _fits_inside(value, schema, desk))


def _fits_inside(value: list[Any], schema: dict[str, Any], desk: Desk) -> bool:
    return all(_fits(one, schema.get("items", {}), desk) for one in value if isinstance(one, str))


def _begin(desk: Desk, properties: dict[str, Any], scope: Scope, made: dict[str, Any]) -> Scope:
    """Write the properties that hang together; the place, with the title that was chosen."""
    if "key" in properties and scope.key:
        made["key"] = scope.key
    if "bloom" in properties and "text" in properties:
        allowed = enum_of(plain(properties["bloom"], desk.schema))
        made["bloom"] = objectives.level_for(desk, scope, allowed)
        made["text"] = _bounded(objectives.objective(desk, scope, made["bloom"]), properties["text"])
    if "front" in properties and "back" in properties:
        # The kind decides what stands on which side, wherever it comes in the schema.
        for name in properties.keys() & {"kind", "cardKind"}:
            made[name] = fill(desk, properties[name], name, scope, made)
    scope = _with_title(desk, properties, scope, made)
    if "summary" in properties:
        most = int(plain(properties["summary"], desk.schema).get("maxLength", texts.MAX_SUMMARY))
        said, used = texts.summary(desk, scope, most)
        made |= {"summary": said, "sources": desk.labels(used)}
    elif "sources" in properties and not properties.keys() & {"claim", "front", "term"}:
        made["sources"] = desk.labels(about(desk, scope))
    return scope


def _with_title(desk: Desk, properties: dict[str, Any], scope: Scope, made: dict[str, Any]) -> Scope:
    if "title" not in properties:
        return scope
    made["title"] = scope.title or texts.title(desk, scope)
    return msgspec.structs.replace(scope, title=made["title"])


def fill_list(
    desk: Desk, schema: dict[str, Any], name: str, scope: Scope, parent: dict[str, Any]
) -> list[Any]:
    """A list of the asked length: ids, words and sentences by name, else one child after the other."""
    inner = plain(schema.get("items", {}), desk.schema)
    path = f"{scope.path}[].{name}" if scope.path else name
    if name in LISTS and main_type(inner) == "string":
        named = LISTS[name](desk, schema, inner, scope, parent, path)
        return [_bounded(one, inner) for one in named if not enum_of(inner) or one in enum_of(inner)]
    keys = key_enum(inner, desk.schema)
    count = len(keys) if keys else count_of(desk, schema, name, path, scope.place)
    if main_type(inner) == "string" and enum_of(inner):
        return ids_in_turn(enum_of(inner), scope, count)
    names = keys or _fresh_keys(desk, name, scope, count)
    children = _children(desk, path, scope, names, objectives_of=_objective_enum(desk, inner))
    made: list[Any] = []
    for child in children:
        earlier = tuple(one["key"] for one in made if isinstance(one, dict) and "key" in one)
        made.append(fill(desk, inner, name, msgspec.structs.replace(child, earlier=earlier), parent))
    return made


def _fresh_keys(desk: Desk, name: str, scope: Scope, count: int) -> list[str]:
    letter = {"nodes": "m", "children": "c", "outcomes": "o", "objectives": "o"}.get(name, name[:1])
    prefix = f"{scope.key}." if scope.key else ""
    return [f"{prefix}{letter}{number}" for number in range(1, count + 1)]


def _children(desk: Desk, path: str, scope: Scope, keys: list[str], objectives_of: list[str]) -> list[Scope]:
    """The children's places: passages, titles from the outline, the objectives that each must use."""
    headings = [_heading(desk, key, scope) for key in keys]
    share = list(scope.objectives) if scope.objectives is not None else objectives_of
    return [
        Scope(
            path=path,
            place=(*scope.place, position),
            of=len(keys),
            passages=passages,
            key=key,
            title=title,
            objectives=tuple(_share(share, position, len(keys))) if share else None,
        )
        for position, (key, title, passages) in enumerate(
            zip(keys, headings, parts(desk, scope, headings), strict=True)
        )
    ]


def _heading(desk: Desk, key: str, scope: Scope) -> str:
    """The outline's title for a key, or for the key below the current node."""
    if key in desk.headings:
        return desk.headings[key].title
    below = [one for one in desk.headings.values() if scope.key and is_below(one.key, scope.key)]
    return next((one.title for one in below if one.key.endswith(f".{key}")), "")


def _share(ids: list[str], position: int, count: int) -> list[str]:
    """Every id goes to some child, every child has one."""
    own = [one for number, one in enumerate(ids) if number % count == position]
    return own or [ids[position % len(ids)]]


def _objective_enum(desk: Desk, schema: dict[str, Any], nesting: int = 0) -> list[str]:
    """The objective ids that objects of this schema, or what is inside them, may name."""
    schema = plain(schema, desk.schema)
    if nesting > MAX_NESTING:
        return []
    if main_type(schema) == "array":
        return _objective_enum(desk, schema.get("items", {}), nesting + 1)
    for variant in schema.get("anyOf", ()):
        found = _objective_enum(desk, variant, nesting + 1)
        if found:
            return found
    properties = schema.get("properties", {})
    own = plain(properties.get("objectiveIds", {}), desk.schema)
    if own:
        return enum_of(plain(own.get("items", {}), desk.schema))
    nested = (_objective_enum(desk, part, nesting + 1) for part in properties.values())
    return next((found for found in nested if found), [])


def _item(desk: Desk, kinds: dict[str, dict[str, Any]], scope: Scope) -> dict[str, Any]:
    """An item of one of the kinds that are allowed, in turn; single choice comes most often."""
    names = [name for name in kinds if items.feasible(desk, scope, name)] or list(kinds)
    turn = scope.position + desk.below(7, scope.path, scope.place[:-1], "kinds")
    order = [name for name in names if name == "single"] * 2 + names
    kind = order[turn % len(order)]
    schema = kinds[kind]
    properties = schema["properties"]
    ids: list[str] = list(scope.objectives or ())
    if not ids and "objectiveIds" in properties:
        ids = fill_list(desk, plain(properties["objectiveIds"], desk.schema), "objectiveIds", scope, {})
    made = items.item(desk, scope, kind, ids)
    for name, part in properties.items():
        if name not in made:
            made[name] = fill(desk, part, name, scope, made) if _needed(part, desk) else None
        allowed = enum_of(plain(part, desk.schema))
        if allowed and made[name] not in allowed:
            made[name] = allowed[scope.position % len(allowed)]
        if made[name] is None and _needed(part, desk):
            made[name] = fill(desk, part, name, scope, made) if main_type(part) != "string" else ""
    return {name: made[name] for name in properties}


def _needed(schema: dict[str, Any], desk: Desk) -> bool:
    """Whether null is no answer."""
    variants = [schema, *schema.get("anyOf", ())]
    return not any(one.get("type") == "null" or "null" in (one.get("type") or ()) for one in variants)


def _choice(desk: Desk, allowed: list[Any], name: str, scope: Scope, parent: dict[str, Any]) -> Any:
    if name in ("activityKind", "cardKind", "difficulty", "kind"):
        return allowed[scope.position % len(allowed)]
    if name == "bloom":
        return objectives.level_for(desk, scope, allowed)
    return desk.pick(allowed, scope.path, scope.place, name)


def _number(desk: Desk, schema: dict[str, Any], name: str, scope: Scope) -> int | float:
    low, high = _USUAL_NUMBERS.get(name, (1, 5))
    low = int(
        schema.get(
            "minimum", schema.get("exclusiveMinimum", low - 1) + 1 if "exclusiveMinimum" in schema else low
        )
    )
    high = max(low, int(schema.get("maximum", max(low, high))))
    if name == "minutes" and low < 3 <= high:
        low, high = 3, min(high, 12)
    asked = _MINUTES.search(desk.prompt.task) if name == "minutes" else None
    if asked:
        low, high = max(int(asked[1]), _LONG_MINUTES[0]), min(int(asked[2]), _LONG_MINUTES[1])
        high = max(low, high)
    return low + desk.below(high - low + 1, scope.path, scope.place, name)


def _bounded(value: Any, schema: dict[str, Any]) -> Any:
    if isinstance(value, str) and isinstance(schema.get("maxLength"), int):
        return texts.fit(value, schema["maxLength"])
    return value


def _bounded_within(value: Any, schema: dict[str, Any], desk: Desk) -> Any:
    schema = plain(schema, desk.schema)
    if isinstance(value, list) and main_type(schema) == "array":
        return [_bounded(one, plain(schema.get("items", {}), desk.schema)) for one in value]
    return _bounded(value, schema)
