"""Item quality, readability and grounding: what the words are worth. Pure."""

import re

from aifactory.granulation.index import Part
from aifactory.granulation.item_set_rules import key_skew
from aifactory.granulation.readability import automated_readability_index, count_words, flesch_kincaid_grade
from aifactory.granulation.rules_learning import difficulty_gap
from aifactory.granulation.rules_source import Evidence
from aifactory.granulation.scoring.evidence import Material

ERROR_COST, WARNING_COST, WORST = 3, 1, 6
# Grades outside the band at which readability is worth nothing.
GRADES_TO_ZERO = 4
# Key points and captions below this length are no sentences and would make any text look simple.
FRAGMENT_WORDS = 8
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
    """1 − mean(3·errors + warnings) / 6, clipped; skew and difficulty mix count for the share they touch."""
    items = material.index.items
    if not items:
        return 0.0, "no items"
    counted = material.weights_below([placed.pointer for placed in items], "item.").values()
    errors = sum(pair[0] for pair in counted)
    warnings = float(sum(pair[1] for pair in counted))
    warnings += sum(surplus for _, _, surplus in key_skew(items))
    if material.by_rule["item.difficulty_mix"]:
        warnings += difficulty_gap(material.index) * len(items)
    mean = (ERROR_COST * errors + WARNING_COST * warnings) / len(items)
    detail = f"{errors} errors and {warnings:g} warnings in {len(items)} items"
    return max(0.0, 1 - mean / WORST), detail


def readability(material: Material) -> tuple[float, str]:
    """1 inside the audience's band of school grades, falling to 0 four grades outside.

    The grade is the mean of Flesch–Kincaid and ARI; outside English ARI alone, which counts letters. Each
    sentence counts once, so that a simple one repeated everywhere changes nothing.
    """
    index = material.index
    prose: dict[str, list[str]] = {}
    for entry in index.entries:
        for sentence in entry.sentences:
            is_prose = sentence.part is Part.BODY and len(sentence.words) >= FRAGMENT_WORDS
            if is_prose or sentence.part is Part.SUMMARY:
                prose.setdefault(" ".join(sentence.words), sentence.words)
    reading = count_words(list(prose.values()))
    if not reading.words:
        return 0.0, "no text"
    grade = automated_readability_index(reading)
    if index.language == "en":
        grade = (grade + flesch_kincaid_grade(reading)) / 2
    name, (low, high) = _band(material)
    outside = max(low - grade, grade - high, 0.0)
    detail = f"grade {grade:.1f}, wanted {low:g}–{high:g} ({name})"
    return max(0.0, 1 - outside / GRADES_TO_ZERO), detail


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
    leaves = material.index.leaves
    if not leaves or material.text is None:
        return 0.0, "no leaves" if not leaves else "no source text"
    evidence = Evidence(material.index, material.text)
    verified = sum(evidence.verified(owner) for owner in leaves)
    false = material.by_rule["span.mismatch"] + material.by_rule["span.unsupported"]
    total = evidence.spans
    detail = f"{verified} of {len(leaves)} leaves have a verified span, {false} of {total} spans are false"
    return verified / len(leaves) * (1 - false / max(1, total)), detail
