"""Rules of teaching: alignment, order, load, glossary, blueprint, after Biggs 1996 and Mayer 2009. Pure."""

from collections import Counter
from collections.abc import Iterator

from aifactory.granulation.index import ROOT, PlacedObjective, Reference, TreeIndex, number_of
from aifactory.granulation.objective_rules import BLOOM_ORDER, check_objective
from aifactory.granulation.specs import FieldSpec, Use
from aifactory.granulation.tree import Objective
from aifactory.granulation.violations import Severity, Violation
from aifactory.granulation.words import content_stems, normalized

BLUEPRINT_TOLERANCE = 0.10


def check_objectives(index: TreeIndex) -> Iterator[Violation]:
    """Objectives and outcomes are measurable, single, complete and of the level that they claim."""
    for placed in index.objectives:
        for rule, severity, message in check_objective(
            placed.objective.text, placed.objective.bloom, index.language
        ):
            yield index.violation(rule, severity, message, placed.owner, f"{placed.pointer}/text")


def practice_use(index: TreeIndex) -> Use | None:
    """Which references count as practice: activities, or lessons where the depth has no activities."""
    uses = {use for level in index.spec.levels[: index.asked_depth] for use in _uses(level.fields)}
    return next((use for use in (Use.PRACTISE, Use.TEACH) if use in uses), None)


def _uses(fields: dict[str, FieldSpec]) -> set[Use]:
    found: set[Use] = set()
    for field in fields.values():
        found |= ({field.use} if field.use else set()) | _uses(field.fields)
        if field.of:
            found |= _uses({"of": field.of})
    return found


def own_objectives(index: TreeIndex) -> list[PlacedObjective]:
    """The objectives that are taught and assessed; outcomes are reached through them."""
    return [placed for placed in index.objectives if placed.space == "objective"]


def check_alignment(index: TreeIndex) -> Iterator[Violation]:
    """Every objective is practised and assessed; every outcome is served by an objective."""
    use = practice_use(index)
    practised = {reference.target for reference in index.uses(use)} if use else None
    assessed = {reference.target for reference in index.uses(Use.ASSESS)}
    for placed in own_objectives(index):
        name = placed.objective.id
        if practised is not None and name not in practised:
            message = f"Nothing practises the objective {name!r}"
            yield index.violation(
                "alignment.unpractised", Severity.ERROR, message, placed.owner, placed.pointer
            )
        if name not in assessed:
            message = f"Nothing assesses the objective {name!r}"
            yield index.violation(
                "alignment.unassessed", Severity.ERROR, message, placed.owner, placed.pointer
            )
    served = {name for placed in own_objectives(index) for name in placed.objective.outcome_ids}
    for placed in index.objectives:
        if placed.space == "outcome" and placed.objective.id not in served:
            message = f"No objective leads to the outcome {placed.objective.id!r}"
            yield index.violation(
                "alignment.outcome_unserved", Severity.ERROR, message, placed.owner, placed.pointer
            )
    yield from _check_item_levels(index)


def _check_item_levels(index: TreeIndex) -> Iterator[Violation]:
    by_id = {placed.objective.id: placed.objective for placed in own_objectives(index)}
    for placed in index.items:
        gap = bloom_gap(
            placed.item.bloom, [by_id[name] for name in placed.item.objective_ids if name in by_id]
        )
        if gap is None or 0 <= gap <= 1:
            continue
        rule = "alignment.bloom_low" if gap < 0 else "alignment.bloom_high"
        side = "below" if gap < 0 else "more than one above"
        message = f"The item asks for {placed.item.bloom}, {side} its objective's level"
        yield index.violation(rule, Severity.WARNING, message, placed.owner, f"{placed.pointer}/bloom")


def bloom_gap(bloom: str, objectives: list[Objective]) -> int | None:
    """How far an item's level lies above the nearest of its objectives; None without objectives."""
    ranks = {str(level): rank for level, rank in BLOOM_ORDER.items()}
    gaps = [ranks[bloom] - BLOOM_ORDER[objective.bloom] for objective in objectives]
    return min(gaps, key=lambda gap: (not 0 <= gap <= 1, abs(gap), gap)) if gaps else None


def term_key(term: str, language: str) -> str:
    """What two spellings of a term share: its stems in order."""
    return " ".join(content_stems(term, language)) or normalized(term)


class Needs:
    """What each entry needs from earlier ones: kept, late (introduced afterwards) or never introduced."""

    def __init__(self, index: TreeIndex) -> None:
        self.kept: list[Reference] = []
        self.late: list[Reference] = []
        self.unknown: list[Reference] = []
        first: dict[str, int] = {}
        for reference in index.introduced:
            key = term_key(reference.target, index.language)
            first[key] = min(first.get(key, reference.owner), reference.owner)
        for reference in index.needed:
            source = first.get(term_key(reference.target, index.language))
            # A need that its own node introduces says nothing about order.
            if source != reference.owner:
                self._sort(reference, source)
        owners = {entry.node.id: owner for owner, entry in enumerate(index.entries)}
        for reference in index.uses(Use.ORDER):
            if reference.target in owners:
                self._sort(reference, owners[reference.target])

    def _sort(self, reference: Reference, source: int | None) -> None:
        if source is None:
            self.unknown.append(reference)
        elif source < reference.owner:
            self.kept.append(reference)
        else:
            self.late.append(reference)


def check_order(index: TreeIndex) -> Iterator[Violation]:
    """What a node needs or requires comes before it."""
    needs = Needs(index)
    for reference in needs.late:
        message = f"{reference.target!r} comes only later"
        yield index.violation("order.late", Severity.ERROR, message, reference.owner, reference.pointer)
    for reference in needs.unknown:
        message = f"{reference.target!r} is needed and nowhere introduced"
        yield index.violation("order.unknown", Severity.ERROR, message, reference.owner, reference.pointer)


def check_load(index: TreeIndex) -> Iterator[Violation]:
    """Mayer's limits: few new concepts per lesson, minutes within bounds, few of them for a leaf."""
    introduced = Counter(reference.owner for reference in index.introduced)
    low, high = index.spec.leaf_minutes
    for owner, entry in enumerate(index.entries):
        rules = entry.level.rules if entry.level else ()
        if "conceptLoad" in rules and introduced[owner] > index.spec.concept_load:
            message = f"{introduced[owner]} new concepts; {index.spec.concept_load} are enough at once"
            pointer = f"{entry.pointer}/fields"
            yield index.violation("load.concepts", Severity.WARNING, message, owner, pointer)
        if "leafMinutes" in rules:
            minutes = number_of(entry.node.minutes)
            if minutes is None or not low <= minutes <= high:
                known = f"{minutes:g}" if minutes is not None else "No"
                message = f"{known} minutes; each {entry.node.kind} takes {low} to {high}"
                pointer = f"{entry.pointer}/minutes"
                yield index.violation("load.minutes", Severity.WARNING, message, owner, pointer)


def check_glossary(index: TreeIndex) -> Iterator[Violation]:
    """Introduced concepts are explained in the glossary; glossary terms occur in the tree."""
    language = index.language
    terms = {term_key(placed.concept.term, language): placed for placed in index.concepts}
    for reference in index.introduced:
        if terms and term_key(reference.target, language) not in terms:
            message = f"{reference.target!r} is introduced and not in the glossary"
            yield index.violation(
                "glossary.missing", Severity.WARNING, message, reference.owner, reference.pointer
            )
    vocabulary = {stem for entry in index.entries for stem in entry.stems}
    vocabulary.update(
        stem for reference in index.introduced for stem in content_stems(reference.target, language)
    )
    vocabulary.update(stem for placed in index.items for stem in content_stems(placed.item.stem, language))
    for key, placed in sorted(terms.items()):
        if not vocabulary.issuperset(key.split()):
            message = f"The glossary explains {placed.concept.term!r}, which no node mentions"
            yield index.violation("glossary.unused", Severity.WARNING, message, placed.owner, placed.pointer)


Cell = tuple[str, str, str]


def blueprint_cells(index: TreeIndex) -> Counter[Cell]:
    """Planned items per objective, Bloom level and difficulty; rows of the wrong shape are left out."""
    cells: Counter[Cell] = Counter()
    rows = index.tree.fields.get("blueprint")
    for row in rows if isinstance(rows, (list, tuple)) else ():
        if isinstance(row, dict) and isinstance(row.get("count"), int):
            cell = (str(row.get("objectiveId")), str(row.get("bloom")), str(row.get("difficulty")))
            cells[cell] += max(0, row["count"])
    return cells


def blueprint_fit(index: TreeIndex) -> float:
    """Share of the planned items that were made, 0 without a plan."""
    planned = blueprint_cells(index)
    left = Counter(planned)
    made = 0
    for placed in index.items:
        for name in placed.item.objective_ids:
            cell = (name, str(placed.item.bloom), str(placed.item.difficulty))
            if left[cell] > 0:
                left[cell] -= 1
                made += 1
                break
    return made / planned.total() if planned.total() else 0.0


def difficulty_gap(index: TreeIndex) -> float:
    """The largest distance between the planned and the made share of a difficulty, 0 to 1."""
    planned: Counter[str] = Counter()
    for (_, _, difficulty), count in blueprint_cells(index).items():
        planned[difficulty] += count
    made = Counter(str(placed.item.difficulty) for placed in index.items)
    if not planned.total() or not made.total():
        return 0.0
    names = sorted(planned.keys() | made.keys())
    return max(abs(planned[name] / planned.total() - made[name] / made.total()) for name in names)


def check_blueprint(index: TreeIndex) -> Iterator[Violation]:
    """The items are those that the blueprint plans, and as hard."""
    gap = difficulty_gap(index)
    if gap > BLUEPRINT_TOLERANCE:
        message = f"The difficulty mix is {100 * gap:.0f} points off the blueprint"
        yield index.violation("item.difficulty_mix", Severity.WARNING, message, ROOT, "/fields/blueprint")
    fit = blueprint_fit(index)
    if fit < 1:
        message = f"{100 * fit:.0f} % of the planned items were made"
        yield index.violation("blueprint.unmet", Severity.WARNING, message, ROOT, "/fields/blueprint")
