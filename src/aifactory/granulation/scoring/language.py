"""Item quality, readability and grounding: what the words are worth. Pure."""

import re
from statistics import median

from aifactory.granulation.index import Part, TreeIndex
from aifactory.granulation.item_set_rules import key_skew
from aifactory.granulation.readability import (
    Reading,
    automated_readability_index,
    count_words,
    flesch_kincaid_grade,
)
from aifactory.granulation.rules_cards import cards_of
from aifactory.granulation.rules_learning import difficulty_gap
from aifactory.granulation.scoring.evidence import Material
from aifactory.granulation.words import is_word_list

ERROR_COST, WARNING_COST, WORST = 3, 1, 6
# Grades outside the band at which readability is worth nothing.
GRADES_TO_ZERO = 4
# Key points and captions below this length are no sentences and would make any text look simple.
FRAGMENT_WORDS = 8
# The grade of fewer words says little.
WORDS_FOR_A_GRADE = 8
_AUDIENCES = {
    "child": r"child(?:ren)?|kids?|pupils?|primary|elementary",
    "student": r"students?|undergraduates?|college|universit(?:y|ies)|graduates?|learners?",
    "professional": (
        r"professionals?|engineers?|developers?|experts?|practitioners?|operators?|managers?|analysts?|staff|"
        r"employees?|administrators?|programmers?|teams?|scientists?|researchers?|nurses?|doctors?|lawyers?"
    ),
    "general": r"beginners?|general|public|adults?|everyone|anyone|newcomers?|hobbyists?",
}


def item_quality(material: Material) -> tuple[float, str]:
    """1 − mean(3·errors + warnings) / 6, clipped, over items and cards.

    Skew and difficulty mix count for the share of the items that they touch.
    """
    items, cards = material.index.items, cards_of(material.index)
    total = len(items) + len(cards)
    if not total:
        return 0.0, "no items"
    counted = [
        *material.weights_below([placed.pointer for placed in items], "item.").values(),
        *material.weights_below([card.pointer for card in cards], "card.").values(),
    ]
    errors = sum(pair[0] for pair in counted)
    warnings = float(sum(pair[1] for pair in counted))
    warnings += sum(surplus for _, _, surplus in key_skew(items))
    if material.by_rule["item.difficulty_mix"]:
        warnings += difficulty_gap(material.index) * len(items)
    mean = (ERROR_COST * errors + WARNING_COST * warnings) / total
    kinds = " and ".join(
        f"{count} {name}" for count, name in ((len(items), "items"), (len(cards), "cards")) if count
    )
    detail = f"{errors} errors and {warnings:g} warnings in {kinds}"
    return max(0.0, 1 - mean / WORST), detail


def readability(material: Material) -> tuple[float, str]:
    """1 inside the audience's band of school grades, falling to 0 four grades outside.

    A node's grade is the mean of Flesch–Kincaid and ARI (outside English ARI alone, which counts letters);
    the tree's is the median node's, so that one odd sentence moves nothing.
    """
    index = material.index
    prose = _prose(index)
    long_enough = [cut for cut in prose if sum(map(len, cut)) >= WORDS_FOR_A_GRADE]
    readings = [count_words(cut) for cut in long_enough or [[one for cut in prose for one in cut]]]
    grades = [_grade(reading, index.language) for reading in readings if reading.words]
    if not grades:
        return 0.0, "no text"
    grade = median(grades)
    name, (low, high) = _band(material)
    outside = max(low - grade, grade - high, 0.0)
    detail = f"grade {grade:.1f}, wanted {low:g}–{high:g} ({name})"
    return max(0.0, 1 - outside / GRADES_TO_ZERO), detail


def _prose(index: TreeIndex) -> list[list[list[str]]]:
    """Each node's sentences as words: no fragments, no lists, none that stood before."""
    seen: set[str] = set()
    prose: list[list[list[str]]] = []
    for entry in index.entries:
        kept: list[list[str]] = []
        for sentence in entry.sentences:
            is_told = sentence.part is Part.SUMMARY
            is_prose = sentence.part is Part.BODY and len(sentence.words) >= FRAGMENT_WORDS
            key = " ".join(sentence.words)
            if (is_told or is_prose) and key not in seen and not is_word_list(sentence.words, index.language):
                seen.add(key)
                kept.append(sentence.words)
        prose.append(kept)
    return prose


def _grade(reading: Reading, language: str) -> float:
    grade = automated_readability_index(reading)
    return (grade + flesch_kincaid_grade(reading)) / 2 if language == "en" else grade


def _band(material: Material) -> tuple[str, tuple[float, float]]:
    """The band of the audience; several named ones are joined, none gives the one for unstated audiences."""
    bands = material.index.spec.readability
    audience = f"{material.index.tree.target_audience} {material.index.tree.level}".lower()
    named = [
        name
        for name, pattern in _AUDIENCES.items()
        if name in bands and re.search(rf"\b(?:{pattern})\b", audience)
    ]
    if not named:
        return "unstated audience", bands.get("unstated", (5.0, 10.0))
    return " and ".join(named), (min(bands[name][0] for name in named), max(bands[name][1] for name in named))


def grounding(material: Material) -> tuple[float, str]:
    """Share of leaves with a verified span (exact, and about what the leaf says) × share of sound spans.

    A false citation anywhere takes its share away, so that it costs even where it is not on a leaf.
    """
    index = material.index
    leaves = index.leaves
    if not leaves or material.text is None:
        return 0.0, "no leaves" if not leaves else "no source text"
    false = {one.pointer for one in material.violations if one.rule in ("span.mismatch", "span.unsupported")}
    verified = sum(any(pointer not in false for pointer in _span_pointers(index, owner)) for owner in leaves)
    total = sum(len(entry.node.sources) for entry in index.entries)
    total += sum(len(placed.item.sources) for placed in index.items)
    total += sum(len(placed.concept.sources) for placed in index.concepts)
    detail = (
        f"{verified} of {len(leaves)} leaves have a verified span, {len(false)} of {total} spans are false"
    )
    return verified / len(leaves) * (1 - len(false) / max(1, total)), detail


def _span_pointers(index: TreeIndex, owner: int) -> list[str]:
    """Where a leaf's spans stand, its item's included; none for a leaf that says nothing."""
    entry = index.entries[owner]
    if not index.said(owner):
        return []
    pointers = [f"{entry.pointer}/sources/{place}" for place in range(len(entry.node.sources))]
    for placed in index.content_of(owner):
        pointers += [f"{placed.pointer}/sources/{place}" for place in range(len(placed.item.sources))]
    return pointers
