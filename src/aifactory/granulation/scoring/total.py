"""From a tree to its score: gates first, then weighted sub-scores. Pure."""

import math
from collections.abc import Callable, Sequence

import msgspec

from aifactory.granulation.index import TreeIndex
from aifactory.granulation.rules_cards import cards_of
from aifactory.granulation.scoring.coverage import coverage, is_voluntary
from aifactory.granulation.scoring.evidence import Keyphrase, Material
from aifactory.granulation.scoring.language import grounding, item_quality, readability
from aifactory.granulation.scoring.model import Assessment, Band, Score, ScoreState, SubScore
from aifactory.granulation.scoring.structure import alignment, balance, form, non_redundancy, order
from aifactory.granulation.sizes import Counts
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.tree import Origin, Tree
from aifactory.granulation.validation import MandatoryObject, inspect
from aifactory.granulation.violations import Report, Severity

GROUNDING_WEIGHT = 0.15
# Topic-only offline output is filled-in frames, however tidy: honest label, capped number.
TEMPLATE_GRADE = 60.0

_SUB_SCORES: dict[str, Callable[[Material], tuple[float, str]]] = {
    "coverage": coverage,
    "alignment": alignment,
    "order": order,
    "nonRedundancy": non_redundancy,
    "balance": balance,
    "form": form,
    "itemQuality": item_quality,
    "readability": readability,
}


def score(
    tree: Tree,
    spec: StructureSpec,
    *,
    text: str | None = None,
    keyphrases: Sequence[Keyphrase] = (),
    counts: Counts | None = None,
    objects: Sequence[MandatoryObject] = (),
) -> Score:
    """The quality of a tree. ``text`` is its source; ``keyphrases`` are what it should be about, weighted.

    Mandatory objects are checked and reported; they move no sub-score.
    """
    return assess(tree, spec, text=text, keyphrases=keyphrases, counts=counts, objects=objects).score


def assess(
    tree: Tree,
    spec: StructureSpec,
    *,
    text: str | None = None,
    keyphrases: Sequence[Keyphrase] = (),
    counts: Counts | None = None,
    objects: Sequence[MandatoryObject] = (),
) -> Assessment:
    """The score and the violations in one pass."""
    index = TreeIndex(tree=tree, spec=spec, counts=counts)
    report = inspect(index, text=text, objects=objects)
    material = Material(index=index, violations=report.violations, text=text, keyphrases=keyphrases)
    sub_scores = _sub_scores(material)
    gates = tuple(dict.fromkeys(one.rule for one in report.violations if one.severity is Severity.GATE))
    exact = 100 * math.fsum(part.value * part.weight for part in sub_scores.values())
    is_template = tree.origin is Origin.OFFLINE and tree.source is None and text is None
    if is_template:
        exact = min(exact, TEMPLATE_GRADE)
    # A tree without nodes fails a gate too, but its number is known.
    known = not gates or not tree.nodes
    result = Score(
        state=ScoreState.INVALID if gates else ScoreState.VALID,
        score=round(exact, 1) if known else None,
        exact=exact if known else None,
        band=_band(spec, None if gates else round(exact, 1)),
        sub_scores=sub_scores,
        gates_failed=gates,
        checks_run=(*report.checks_run, *sub_scores),
        checks_skipped=_skipped(report, material, sub_scores),
        template_grade=is_template,
    )
    return Assessment(score=result, violations=report.violations)


def _sub_scores(material: Material) -> dict[str, SubScore]:
    weights = dict(material.index.spec.weights)
    for name, heir in material.index.spec.optional_sub_scores.items():
        if name == "itemQuality" and not (material.index.items or cards_of(material.index)):
            weights[heir] += weights.pop(name)
    scale = 1 - GROUNDING_WEIGHT if material.text is not None else 1.0
    parts = {name: (_SUB_SCORES[name], weights[name] * scale) for name in _SUB_SCORES if name in weights}
    if material.text is not None:
        parts["grounding"] = (grounding, GROUNDING_WEIGHT)
    measured: dict[str, SubScore] = {}
    for name, (measure, weight) in parts.items():
        # A tree without nodes holds nothing, so every part of it is worth nothing.
        value, detail = measure(material) if material.index.entries else (0.0, "no nodes")
        measured[name] = SubScore(value=round(value, 6), weight=round(weight, 6), detail=detail)
    return _without_coverage(measured) if is_voluntary(material) else measured


def _without_coverage(measured: dict[str, SubScore]) -> dict[str, SubScore]:
    """Leave coverage out where it pulls the rest down.

    Nobody asked for these promises: a tree that made none must not lose, nor one gain by dropping them.
    """
    rest = {name: part for name, part in measured.items() if name != "coverage"}
    share = math.fsum(part.weight for part in rest.values())
    if "coverage" not in measured or not share:
        return measured
    mean = math.fsum(part.value * part.weight for part in rest.values()) / share
    if measured["coverage"].value and measured["coverage"].value >= mean:
        return measured
    return {
        name: msgspec.structs.replace(part, weight=round(part.weight / share, 6))
        for name, part in rest.items()
    }


def _band(spec: StructureSpec, shown: float | None) -> Band:
    if shown is None or shown < spec.bands.review:
        return Band.REJECT
    return Band.ACCEPT if shown >= spec.bands.accept else Band.REVIEW


def _skipped(report: Report, material: Material, sub_scores: dict[str, SubScore]) -> dict[str, str]:
    skipped = dict(report.checks_skipped)
    if not material.keyphrases:
        skipped["keyphrases"] = "none were given: coverage is of the tree's own outcomes and terms"
    if "coverage" in material.index.spec.weights and "coverage" not in sub_scores:
        skipped["keyphrases"] = "none were given"
        skipped["coverage"] = (
            f"{coverage(material)[1]}: the type asks for no outcomes, so what a tree promises counts only "
            "where it helps; the other parts share the weight"
        )
    if material.text is None:
        skipped["grounding"] = "no source text was given"
    if material.index.language != "en":
        skipped["fleschKincaid"] = "syllables are counted in English only; the grade is ARI's"
    return skipped
