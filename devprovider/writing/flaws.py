"""Flaws on purpose: one per rule of items, objectives and nodes, each made at a set rate. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from devprovider import draw
from devprovider.writing.item_flaws import ITEM_FLAWS

Thing = dict[str, Any]
Break = Callable[[Thing, list[Any]], bool]
_OTHER_LEVEL = {
    "remember": "Design", "understand": "Compose", "apply": "List", "analyze": "Recall", "evaluate": "Name",
    "create": "Define",
}  # fmt: skip
_REST = "at least three important facts about this subject"


def _vague_verb(thing: Thing, siblings: list[Any]) -> bool:
    return _rebuilt(thing, f"Understand {_after_verb(thing)}")


def _two_verbs(thing: Thing, siblings: list[Any]) -> bool:
    verb = str(thing["text"]).split(" ", 1)[0]
    second = "compare" if verb != "Compare" else "describe"
    return _rebuilt(thing, f"{verb} and {second} {_after_verb(thing)}")


def _too_short(thing: Thing, siblings: list[Any]) -> bool:
    return _rebuilt(thing, " ".join(str(thing["text"]).split()[:5]))


def _too_long(thing: Thing, siblings: list[Any]) -> bool:
    more = " as it stands in the passages that were read before this part and in those that come after it"
    return _rebuilt(thing, str(thing["text"]).rstrip(".") + more + " by the end of the course.")


def _no_condition(thing: Thing, siblings: list[Any]) -> bool:
    return _rebuilt(thing, f"{str(thing['text']).split(' ', 1)[0]} {_REST} exactly.")


def _no_degree(thing: Thing, siblings: list[Any]) -> bool:
    return _rebuilt(
        thing, f"{str(thing['text']).split(' ', 1)[0]} the important facts about this subject using notes."
    )


def _wrong_bloom(thing: Thing, siblings: list[Any]) -> bool:
    verb = _OTHER_LEVEL.get(str(thing.get("bloom")))
    return bool(verb) and _rebuilt(thing, f"{verb} {_after_verb(thing)}")


def _after_verb(thing: Thing) -> str:
    return str(thing["text"]).split(" ", 1)[-1]


def _rebuilt(thing: Thing, text: str) -> bool:
    thing["text"] = text
    return True


def _duplicate_title(thing: Thing, siblings: list[Any]) -> bool:
    """The title of the sibling before; a first child keeps its own."""
    before = next(
        (one for one in siblings if one is not thing and isinstance(one, dict) and one.get("title")), None
    )
    if before is None or siblings[0] is thing:
        return False
    thing["title"] = before["title"]
    return True


def _long_title(thing: Thing, siblings: list[Any]) -> bool:
    thing["title"] = (
        f"{thing['title']} and Everything Else That Could Be Said about This Part of the Subject" * 2
    )
    return True


def _empty_summary(thing: Thing, siblings: list[Any]) -> bool:
    thing["summary"] = ""
    return True


def _long_summary(thing: Thing, siblings: list[Any]) -> bool:
    thing["summary"] = (str(thing["summary"]) + " ") * (1 + 450 // max(1, len(str(thing["summary"]))))
    return True


def _repeated_summary(thing: Thing, siblings: list[Any]) -> bool:
    if not siblings or siblings[0] is thing or not isinstance(siblings[0], dict):
        return False
    thing["summary"] = siblings[0].get("summary", "")
    return True


def _fake_sources(thing: Thing, siblings: list[Any]) -> bool:
    thing["sources"] = [f"s{9001 + position}" for position in range(max(1, len(thing["sources"])))]
    return True


def _no_sources(thing: Thing, siblings: list[Any]) -> bool:
    thing["sources"] = []
    return True


def _late_requires(thing: Thing, siblings: list[Any]) -> bool:
    """Requires a node that comes later."""
    keys = [one.get("key") for one in siblings if isinstance(one, dict)]
    later = keys[keys.index(thing.get("key")) + 1 :] if thing.get("key") in keys else []
    if not later:
        return False
    thing["requires"] = [later[-1]]
    return True


def _odd_minutes(thing: Thing, siblings: list[Any]) -> bool:
    thing["minutes"] = 95
    return True


# Name, the property that a thing must have (items and objectives are told by two), and how it is broken.
_NODE_FLAWS: dict[str, tuple[str, Break]] = {
    "objectives.vague_verb": ("text", _vague_verb),
    "objectives.two_verbs": ("text", _two_verbs),
    "objectives.too_short": ("text", _too_short),
    "objectives.too_long": ("text", _too_long),
    "objectives.no_condition": ("text", _no_condition),
    "objectives.no_degree": ("text", _no_degree),
    "objectives.wrong_bloom": ("text", _wrong_bloom),
    "titles.duplicate": ("title", _duplicate_title),
    "titles.too_long": ("title", _long_title),
    "summaries.empty": ("summary", _empty_summary),
    "summaries.too_long": ("summary", _long_summary),
    "summaries.repeated": ("summary", _repeated_summary),
    "sources.fake": ("sources", _fake_sources),
    "sources.none": ("sources", _no_sources),
    "requires.later": ("requires", _late_requires),
    "minutes.out_of_range": ("minutes", _odd_minutes),
}
COUNTS_SHORT, REPAIRS_USELESS = "counts.short", "repairs.useless"
FLAWS: dict[str, str] = (
    {name: needed for name, (needed, _) in _NODE_FLAWS.items()}
    | dict.fromkeys(ITEM_FLAWS, "stem")
    | {COUNTS_SHORT: "", REPAIRS_USELESS: ""}
)
_COUNTED = frozenset({"nodes", "children", "items", "cards", "objectives", "outcomes", "keyPoints"})


def spoil(answer: Any, rates: Mapping[str, float], seed: str) -> list[str]:
    """Break what the rates and the seed say, in place; the names of the flaws made, with their places."""
    made: list[str] = []
    wanted = {name: rate for name, rate in rates.items() if rate > 0}
    if not wanted:
        return made
    for place, thing, siblings in list(_things(answer, "", [])):
        for name, rate in wanted.items():
            if draw.share(seed, name, place) < rate and _break(name, thing, siblings):
                made.append(f"{name} {place}")
    if COUNTS_SHORT in wanted:
        made += [f"{COUNTS_SHORT} {place}" for place in _shorten(answer, "", wanted[COUNTS_SHORT], seed)]
    return made


def _break(name: str, thing: Thing, siblings: list[Any]) -> bool:
    if name in ITEM_FLAWS:
        return "stem" in thing and ITEM_FLAWS[name](thing)
    if name not in _NODE_FLAWS:
        return False
    needed, change = _NODE_FLAWS[name]
    if needed not in thing or (needed == "text" and "bloom" not in thing):
        return False
    return change(thing, siblings)


def _things(value: Any, place: str, siblings: list[Any]) -> Iterator[tuple[str, Thing, list[Any]]]:
    if isinstance(value, dict):
        yield place, value, siblings
        for name, part in value.items():
            yield from _things(part, f"{place}/{name}", [])
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _things(part, f"{place}/{position}", value)


def _shorten(value: Any, place: str, rate: float, seed: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            is_short = name in _COUNTED and isinstance(part, list) and len(part) > 1
            if is_short and draw.share(seed, COUNTS_SHORT, place, name) < rate:
                del part[-1 - len(part) // 4 :]
                yield f"{place}/{name}"
            yield from _shorten(part, f"{place}/{name}", rate, seed)
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _shorten(part, f"{place}/{position}", rate, seed)
