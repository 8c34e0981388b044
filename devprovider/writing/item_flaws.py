"""Flaws of assessment items, made on purpose; each says whether the item could have it. Pure."""

from collections.abc import Callable
from typing import Any

Item = dict[str, Any]
_PADDING = (
    "This question belongs to a part of the text in which many small points are made one after the other "
    "and in which a reader may easily lose the thread, so that it pays to go back to the beginning of "
    "that part and to follow the points in the order in which they were made before an answer is given "
    "here in this place. "
)


def _options(item: Item) -> list[Item]:
    options = item.get("options")
    return options if isinstance(options, list) and len(options) >= 3 else []


def _keys(item: Item) -> list[Item]:
    return [option for option in _options(item) if option.get("correct")]


def _wrong(item: Item) -> list[Item]:
    return [option for option in _options(item) if not option.get("correct")]


def _two_keys(item: Item) -> bool:
    if item.get("kind") != "single" or len(_keys(item)) != 1:
        return False
    _wrong(item)[0] |= {"correct": True}
    return True


def _no_key(item: Item) -> bool:
    for option in _keys(item):
        option["correct"] = False
    return bool(_options(item))


def _wrong_key(item: Item) -> bool:
    """The mark moves to a distractor: right in form, false by the source."""
    if item.get("kind") == "true_false" and isinstance(item.get("answer"), bool):
        item["answer"] = not item["answer"]
        return True
    if len(_keys(item)) != 1 or not _wrong(item):
        return False
    key, other = _keys(item)[0], _wrong(item)[0]
    key["correct"], other["correct"] = False, True
    return True


def _longest_key(item: Item) -> bool:
    if len(_keys(item)) != 1:
        return False
    _keys(item)[0]["text"] += " as the source describes it in this place in some more detail"
    return True


def _all_of_the_above(item: Item) -> bool:
    return _set_last_wrong(item, "All of the above")


def _set_last_wrong(item: Item, text: str) -> bool:
    if not _wrong(item):
        return False
    _wrong(item)[-1]["text"] = text
    return True


def _absolute_words(item: Item) -> bool:
    return bool(_wrong(item)) and _set_last_wrong(item, f"always {_wrong(item)[-1]['text']}")


def _duplicate_option(item: Item) -> bool:
    return bool(_wrong(item)) and _set_last_wrong(item, _another(item))


def _option_article(item: Item) -> bool:
    return bool(_wrong(item)) and _set_last_wrong(item, f"the {_another(item)}")


def _another(item: Item) -> str:
    """The text of an option other than the last wrong one."""
    last = _wrong(item)[-1]
    return str(next(option["text"] for option in [*_wrong(item), *_keys(item)] if option is not last))


def _blank_option(item: Item) -> bool:
    return _set_last_wrong(item, "")


def _option_count(item: Item) -> bool:
    if not _keys(item) or not _wrong(item):
        return False
    item["options"] = [_keys(item)[0], _wrong(item)[0]]
    return True


def _no_rationale(item: Item) -> bool:
    for option in _keys(item):
        option["rationale"] = ""
    return bool(_keys(item))


def _key_first(item: Item) -> bool:
    if not _keys(item):
        return False
    item["options"].sort(key=lambda option: not option["correct"])
    return True


def _negative_stem(item: Item) -> bool:
    return _restem(item, "Which term is not the one that stands in another place than the gap: {rest}?")


def _double_negative(item: Item) -> bool:
    return _restem(item, "Which term is not unlikely to stand in the gap: {rest}?")


def _restem(item: Item, frame: str) -> bool:
    if not _options(item):
        return False
    rest = str(item["stem"]).partition('"')[2].rpartition('"')[0].strip("?. ") or str(item["stem"]).strip(
        "?. "
    )
    # Underscores would pass for a mark of emphasis.
    item["stem"] = frame.format(rest=f'"{rest}"').replace("____", "[gap]")
    return True


def _stem_form(item: Item) -> bool:
    if not _options(item):
        return False
    item["stem"] = str(item["stem"]).rstrip('"?. ').replace('"', "") + "."
    return True


def _stem_too_long(item: Item) -> bool:
    item["stem"] = _PADDING + str(item["stem"])
    return True


def _lead_in(item: Item) -> bool:
    stem = str(item["stem"])
    item["stem"] = f"As you know, {stem[:1].lower()}{stem[1:]}"
    return True


def _two_clauses(item: Item) -> bool:
    if item.get("kind") != "true_false":
        return False
    item["stem"] = (
        str(item["stem"]).rstrip(". ") + " because the water is always warm in this part of the world."
    )
    return True


def _no_objective(item: Item) -> bool:
    item["objectiveIds"] = []
    return True


def _incomplete(item: Item) -> bool:
    """Takes away what the kind cannot be marked without."""
    for name, kept in (("accepted", 0), ("pairs", 1), ("steps", 1), ("rubric", 1)):
        if item.get(name):
            item[name] = item[name][:kept]
            return True
    return False


def _no_gap(item: Item) -> bool:
    if item.get("kind") != "cloze" or not item.get("accepted"):
        return False
    item["stem"] = str(item["stem"]).replace("____", str(item["accepted"][0]))
    return True


ITEM_FLAWS: dict[str, Callable[[Item], bool]] = {
    "items.two_keys": _two_keys,
    "items.no_key": _no_key,
    "items.wrong_key": _wrong_key,
    "items.longest_key": _longest_key,
    "items.all_of_the_above": _all_of_the_above,
    "items.absolute_words": _absolute_words,
    "items.duplicate_option": _duplicate_option,
    "items.option_article": _option_article,
    "items.blank_option": _blank_option,
    "items.option_count": _option_count,
    "items.no_rationale": _no_rationale,
    "items.key_first": _key_first,
    "items.negative_stem": _negative_stem,
    "items.double_negative": _double_negative,
    "items.stem_form": _stem_form,
    "items.stem_too_long": _stem_too_long,
    "items.lead_in": _lead_in,
    "items.two_clauses": _two_clauses,
    "items.no_objective": _no_objective,
    "items.incomplete": _incomplete,
    "items.no_gap": _no_gap,
}
