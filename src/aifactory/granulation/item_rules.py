"""Flaws of one assessment item, after Haladyna, Downing & Rodriguez 2002 and Tarrant et al. 2006. Pure."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from aifactory.granulation.item_texts import CHOICE_KINDS, without_article
from aifactory.granulation.item_wording import is_about_options, wording_flaws
from aifactory.granulation.tree import Item, ItemKind, Option
from aifactory.granulation.violations import Severity
from aifactory.granulation.words import bigram_similarity, normalized, overlap, stems_of, words

OPTION_COUNT = (3, 5)
LONGEST_KEY_RATIO = 1.5
# A short key that is a few letters longer than its rivals gives nothing away.
LONGEST_KEY_MIN_CHARACTERS = 15
SIMILARITY_BAND = (0.1, 0.9)
BLANK = "____"

# Rule id, severity, message, pointer below the item.
Flaw = tuple[str, Severity, str, str]

_NUMBER = re.compile(r"[-+−]?\d+(?:[.,]\d+)*")
_RANGE = re.compile(
    r"^\D*?(?P<low>\d+(?:\.\d+)?)\s*(?:[-–—]|to|and)\s*(?P<high>\d+(?:\.\d+)?)\D*$|"
    r"^(?P<under>less than|under|below|fewer than|at most|up to|<|≤)\s*(?P<top>\d+(?:\.\d+)?)\D*$|"
    r"^(?P<over>more than|over|above|at least|greater than|>|≥)\s*(?P<bottom>\d+(?:\.\d+)?)\D*$",
    re.IGNORECASE,
)


def check_item(item: Item, language: str) -> list[Flaw]:
    """All flaws that show in the item alone; rules of wording are made only for English."""
    return list(_flaws_of(item, language))


# A tree is checked anew after every edit, and most of its items are as they were.
@lru_cache(maxsize=2_048)
def _flaws_of(item: Item, language: str) -> tuple[Flaw, ...]:
    flaws = list(_parts(item))
    if not item.objective_ids:
        flaws.append(("item.no_objective", Severity.ERROR, "The item tests no objective", "/objectiveIds"))
    if item.points < 1:
        flaws.append(("item.points", Severity.ERROR, "The item is worth less than one point", "/points"))
    if item.kind in CHOICE_KINDS and item.options:
        flaws += _option_flaws(item)
        flaws += _key_flaws(item, language)
        flaws += _number_flaws(item.options)
    if language == "en":
        flaws += wording_flaws(item)
    return tuple(flaws)


def _parts(item: Item) -> Iterator[Flaw]:
    """Each kind has what it needs to be answered and marked."""
    if not item.stem.strip():
        yield ("item.stem_missing", Severity.ERROR, "The stem is empty", "/stem")
    keys = sum(option.correct for option in item.options)
    if item.kind is ItemKind.SINGLE and keys != 1:
        yield ("item.one_key", Severity.GATE, f"{keys} options are marked correct; one must be", "/options")
    elif item.kind is ItemKind.MULTI and not keys:
        yield ("item.no_key", Severity.ERROR, "No option is marked correct", "/options")
    for problem, pointer in _missing(item):
        yield ("item.incomplete", Severity.ERROR, problem, pointer)


def _missing(item: Item) -> Iterator[tuple[str, str]]:
    kind = item.kind
    if kind is ItemKind.TRUE_FALSE and item.answer is None:
        yield "It is not said whether the statement is true", "/answer"
    if kind in (ItemKind.SHORT, ItemKind.CLOZE) and not any(one.strip() for one in item.accepted):
        yield "No accepted answer is given", "/accepted"
    if kind is ItemKind.CLOZE and len(re.findall(r"_{3,}", item.stem)) != 1:
        yield f"A cloze stem has one {BLANK}", "/stem"
    if kind is ItemKind.NUMERIC and item.value is None:
        yield "No value is given", "/value"
    if kind is ItemKind.NUMERIC and item.tolerance is not None and item.tolerance < 0:
        yield "The tolerance is negative", "/tolerance"
    if kind is ItemKind.MATCH:
        if len(item.pairs) < 2:
            yield "A match item needs two pairs", "/pairs"
        if len({normalized(pair.left) for pair in item.pairs}) < len(item.pairs):
            yield "Two pairs have the same left side", "/pairs"
    if kind is ItemKind.ORDER and (len(item.steps) < 3 or len(set(item.steps)) < len(item.steps)):
        yield "An order item needs three different steps", "/steps"
    if kind is ItemKind.ESSAY and not 2 <= len(item.rubric) <= 5:
        yield "An essay's rubric has two to five criteria", "/rubric"


def _option_flaws(item: Item) -> Iterator[Flaw]:
    low, high = OPTION_COUNT
    if not low <= len(item.options) <= high:
        message = f"{len(item.options)} options; {low} to {high} are wanted"
        yield ("item.option_count", Severity.ERROR, message, "/options")
    seen: dict[str, int] = {}
    bare: dict[str, int] = {}
    for position, option in enumerate(item.options):
        where = f"/options/{position}"
        if not option.text.strip():
            yield ("item.blank_option", Severity.ERROR, "The option is empty", where)
            continue
        # Options of signs only, such as "<" and ">", differ though they have no words.
        text, stripped = normalized(option.text) or option.text.strip(), without_article(option.text)
        if text in seen:
            message = f"The same as option {seen[text] + 1}"
            yield ("item.duplicate_option", Severity.ERROR, message, where)
        elif stripped in bare:
            message = f"Differs from option {bare[stripped] + 1} only by an article"
            yield ("item.option_article", Severity.ERROR, message, where)
        seen.setdefault(text, position)
        bare.setdefault(stripped, position)
        if option.correct and not option.rationale.strip():
            yield (
                "item.rationale",
                Severity.ERROR,
                "It is not said why the key is right",
                f"{where}/rationale",
            )


def _key_flaws(item: Item, language: str) -> Iterator[Flaw]:
    keys = [option for option in item.options if option.correct]
    others = [option for option in item.options if not option.correct]
    if item.kind is ItemKind.MULTI and not others:
        yield ("item.all_keys", Severity.WARNING, "Every option is correct", "/options")
    if len(keys) != 1 or not others:
        return
    key, length = keys[0], len(keys[0].text.strip())
    mean = sum(len(option.text.strip()) for option in others) / len(others)
    longest = max(len(option.text.strip()) for option in others)
    is_long = length > longest and length > LONGEST_KEY_RATIO * mean and length >= LONGEST_KEY_MIN_CHARACTERS
    if is_long:
        message = (
            f"The key is the longest option, {length / mean if mean else length:.1f} times the others' mean"
        )
        yield ("item.longest_key", Severity.WARNING, message, "/options")
    low, high = SIMILARITY_BAND
    # What makes a key long also sets it apart: one cause is one flaw.
    low = 0.0 if is_long else low
    for position, option in enumerate(item.options):
        if option.correct or not (option.text.strip() and length) or is_about_options(option.text):
            continue
        alike = option_similarity(key.text, option.text, language)
        if not low <= alike <= high:
            side = "nothing in common with" if alike < low else "nearly the same as"
            yield (
                "item.distractor_similarity",
                Severity.WARNING,
                f"The distractor is {side} the key" if alike > high else f"The distractor has {side} the key",
                f"/options/{position}",
            )


def option_similarity(key: str, distractor: str, language: str) -> float:
    """How alike two options are, 0 to 1: the mean of spelling, shared words, length and shape.

    Spelling alone would call every pair of names implausible ("Paris", "London"); length and shape say
    whether both could stand in the same place.
    """
    left, right = key.strip(), distractor.strip()
    if _NUMBER.fullmatch(left) and _NUMBER.fullmatch(right):
        return 0.5
    left_words, right_words = words(left), words(right)
    if left_words == right_words and left_words:
        return 1.0
    spelling = bigram_similarity(left.lower(), right.lower())
    shared = spelling
    if spelling <= 0.9 and not len(left_words) == len(right_words) == 1:
        shared = overlap(stems_of(left_words, language), stems_of(right_words, language))
    shorter, longer = sorted((len(left), len(right)))
    length = shorter / longer if longer else 0.0
    shape = float(_shape(left, len(left_words)) == _shape(right, len(right_words)))
    # Two options that share their words are near duplicates whatever their shape; a bare length match is not.
    return max(0.7 * spelling + 0.3 * shared, 0.25 * (spelling + shared + length + shape))


def _shape(text: str, count: int) -> tuple[bool, bool, int]:
    return text[:1].isupper(), bool(_NUMBER.search(text)), min(3, count // 3)


def _number_flaws(options: tuple[Option, ...]) -> Iterator[Flaw]:
    ranges = [_parse_range(option.text.strip()) for option in options]
    known = [one for one in ranges if one is not None]
    if len(known) >= 2 and len(known) == len(options):
        ordered = sorted(known)
        if any(left[1] >= right[0] for left, right in pairwise(ordered)):
            yield ("item.overlapping_ranges", Severity.WARNING, "The ranges overlap", "/options")
        return
    values = [_single_number(option.text) for option in options]
    numbers = [value for value in values if value is not None]
    if len(numbers) == len(options) >= 3 and numbers not in (sorted(numbers), sorted(numbers, reverse=True)):
        yield ("item.unsorted_numbers", Severity.WARNING, "The numbers are not in order", "/options")


def _parse_range(text: str) -> tuple[float, float] | None:
    match = _RANGE.match(text.replace(",", ""))
    if not match:
        return None
    if match["low"]:
        low, high = float(match["low"]), float(match["high"])
        return (low, high) if low < high else None
    if match["under"]:
        edge = float(match["top"])
        inclusive = match["under"].lower() in ("at most", "up to", "≤")
        return (float("-inf"), edge if inclusive else edge - 1e-9)
    edge = float(match["bottom"])
    inclusive = match["over"].lower() in ("at least", "≥")
    return (edge if inclusive else edge + 1e-9, float("inf"))


def _single_number(text: str) -> float | None:
    """The value of an option that is one number with at most two words of unit."""
    found = _NUMBER.findall(text)
    if (
        len(found) != 1
        or len(words(_NUMBER.sub(" ", text))) > 2
        or not _NUMBER.match(text.strip().lstrip("$€£"))
    ):
        return None
    try:
        return float(found[0].replace("−", "-").replace(",", ""))
    except ValueError:
        return None
