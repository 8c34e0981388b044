"""Alignment, order, redundancy, balance and form: what the tree's build is worth. Pure."""

import math
from collections.abc import Sequence

from aifactory.granulation.index import ROOT, TreeIndex, number_of
from aifactory.granulation.rules_claims import read_headings, read_source_order
from aifactory.granulation.rules_edges import read_edges
from aifactory.granulation.rules_learning import (
    Needs,
    bloom_gap,
    blueprint_fit,
    own_objectives,
    practice_use,
)
from aifactory.granulation.scoring.closures import orders, own_closure
from aifactory.granulation.scoring.evidence import Material
from aifactory.granulation.specs import Use
from aifactory.granulation.violations import Severity

FORM_RULES = (
    *("text.", "bounds.", "load.", "language.node", "glossary.missing", "objective.", "claim."),
    *("edges.", "flow.", "story.", "skill.", "workload.", "handover.", "ids.unused"),
)
WARNING_COST, MOST_WARNING_COST = 0.25, 0.5
OUTCOME_SHARE, BLUEPRINT_SHARE = 0.1, 0.5


def alignment(material: Material) -> tuple[float, str]:
    """½ objectives practised + ½ assessed − stray assessments (Biggs 1996), closed over outcomes and plan.

    A tenth of the value depends on the outcomes that are served, or half of it on the share of the blueprint
    that was made, where the type has one of them. An item on the wrong Bloom level counts as half stray. A
    type without objectives may have headings instead: what they announce is taken up, and by every leaf. Or
    it is closed in another way: skills, edges, steps or threads.
    """
    index = material.index
    closed = own_closure(index) if not own_objectives(index) else None
    if closed is not None:
        return closed
    if "headings" in index.spec.rules and not own_objectives(index):
        return _headings(index)
    objectives = {placed.objective.id: placed.objective for placed in own_objectives(index)}
    if not objectives or not index.entries:
        return 0.0, "no objectives"
    use = practice_use(index)
    assessed = {one.target for one in index.uses(Use.ASSESS)} & objectives.keys()
    practised = {one.target for one in index.uses(use)} & objectives.keys() if use else assessed
    stray = 0.0
    for placed in index.items:
        gap = bloom_gap(
            placed.item.bloom, [objectives[one] for one in placed.item.objective_ids if one in objectives]
        )
        stray += 1.0 if gap is None else 0.5 * (not 0 <= gap <= 1)
    stray_share = stray / len(index.items) if index.items else 0.0
    value = (len(practised) + len(assessed)) / (2 * len(objectives)) - stray_share
    closure, share, words = _closure(index)
    detail = (
        f"{len(practised)} of {len(objectives)} objectives practised, {len(assessed)} assessed, "
        f"{stray_share:.0%} stray{words}"
    )
    return max(0.0, value) * (1 - share + share * closure), detail


def _headings(index: TreeIndex) -> tuple[float, str]:
    """½ headings that a leaf takes up + ½ leaves that take up a heading; of leaves alone where all are."""
    found = read_headings(index)
    served, serving = found.headings - len(found.hollow), found.leaves - len(found.stray)
    detail = f"{serving} of {found.leaves} leaves take up a heading above them"
    if not found.headings:
        return serving / found.leaves, detail
    value = (served / found.headings + serving / found.leaves) / 2
    return value, f"{served} of {found.headings} headings taken up, {detail}"


def _closure(index: TreeIndex) -> tuple[float, float, str]:
    """How closed the outcomes or the plan are, the share of the value that rests on it, and words for it."""
    if "blueprint" in index.spec.rules:
        fit = blueprint_fit(index)
        return fit, BLUEPRINT_SHARE, f", {fit:.0%} of the blueprint made"
    outcomes = {placed.objective.id for placed in index.objectives if placed.space == "outcome"}
    if not outcomes:
        return 1.0, 0.0, ""
    served = {name for placed in own_objectives(index) for name in placed.objective.outcome_ids} & outcomes
    return len(served) / len(outcomes), OUTCOME_SHARE, f", {len(served)} of {len(outcomes)} outcomes served"


def order(material: Material) -> tuple[float, str]:
    """Share of needs and requirements that an earlier node meets; concepts with no needs are in order.

    Where a type follows its source, a neighbour that cites what stands later counts like a need that is met.
    """
    needs = Needs(material.index)
    met = len(needs.kept)
    total = met + len(needs.late) + len(needs.unknown)
    detail = f"{met} of {total} needs met earlier" if total else ""
    if "sourceOrder" in material.index.spec.rules:
        found = read_source_order(material.index)
        if found.pairs:
            met, total = met + found.pairs - len(found.late), total + found.pairs
            follow = f"{found.pairs - len(found.late)} of {found.pairs} neighbours in the source's order"
            detail = f"{detail}, {follow}" if detail else follow
    for kept, of, words in orders(material.index):
        met, total, detail = met + kept, total + of, f"{detail}, {words}" if detail else words
    if total:
        return met / total, detail
    if material.index.introduced:
        return 1.0, "concepts are introduced and none is needed elsewhere"
    return 0.0, "nothing says what builds on what"


def non_redundancy(material: Material) -> tuple[float, str]:
    """1 − 4 × share of nodes too close to an earlier one of their level.

    The share is of the pairs (node, closest earlier node): among all pairs one copied node out of
    hundreds would vanish.
    """
    comparable = [entry for entry in material.index.entries if entry.stems]
    if not comparable:
        return 0.0, "no text"
    repeating = material.owners_of(
        "redundancy.repeat", "text.sibling_title", "claim.repeated", "card.same_front"
    )
    share = len(repeating) / len(comparable)
    return 1 - min(1.0, 4 * share), f"{len(repeating)} of {len(comparable)} nodes repeat an earlier one"


def balance(material: Material) -> tuple[float, str]:
    """1 − mean coefficient of variation of children per parent and minutes, × depth reached / asked."""
    index = material.index
    if not index.entries:
        return 0.0, "no nodes"
    spreads: list[float] = []
    for depth in range(index.asked_depth - 1):
        parents = [owner for owner, entry in enumerate(index.entries) if entry.depth == depth]
        if index.minimum(depth + 1) == 0:  # what a parent may do without, it may do without
            parents = [owner for owner in parents if index.children[owner]]
        spreads.append(variation([len(index.children[owner]) for owner in parents]))
    spreads.append(_minutes_variation(index))
    mean = math.fsum(spreads) / len(spreads)
    depths = _depths(index)
    reached = sum(depths) / len(depths) / index.asked_depth
    return max(0.0, 1 - mean) * reached, f"mean variation {mean:.2f}, {reached:.0%} of the depth reached"


def _depths(index: TreeIndex) -> list[int]:
    """The levels that each leaf stands for; one that may do without children, those of its whole branch."""
    branches: list[int] = []
    deepest: dict[int, int] = {}
    for owner, entry in enumerate(index.entries):
        branches.append(owner if entry.parent == ROOT else branches[entry.parent])
        deepest[branches[owner]] = max(deepest.get(branches[owner], 0), entry.depth + 1)
    depths = []
    for owner in index.leaves:
        depth = index.entries[owner].depth + 1
        if depth < index.asked_depth and index.minimum(depth) == 0:
            depth = deepest[branches[owner]]
        depths.append(min(depth, index.asked_depth))
    return depths


def variation(amounts: Sequence[float]) -> float:
    """The coefficient of variation: standard deviation over mean, 0 for fewer than two amounts."""
    if len(amounts) < 2:
        return 0.0
    mean = math.fsum(amounts) / len(amounts)
    if mean <= 0:
        return 1.0
    return math.sqrt(math.fsum((amount - mean) ** 2 for amount in amounts) / len(amounts)) / mean


def _minutes_variation(index: TreeIndex) -> float:
    """Variation of the minutes of the outermost nodes; where minutes are due and missing, 1."""
    totals = [_minutes(index, owner) for owner in index.children[ROOT]]
    if any(totals):
        return variation(totals)
    timed = any("leafMinutes" in level.rules for level in index.spec.levels[: index.asked_depth])
    return 1.0 if timed else 0.0


def _minutes(index: TreeIndex, owner: int) -> int:
    below = sum(_minutes(index, child) for child in index.children[owner])
    return below or max(0, int(number_of(index.entries[owner].node.minutes) or 0))


def form(material: Material) -> tuple[float, str]:
    """Mean over levels and objectives of the share that passes its form rules; a warning costs a quarter."""
    index = material.index
    if not index.entries:
        return 0.0, "no nodes"
    groups: dict[str, list[str]] = {}
    for entry in index.entries:
        groups.setdefault(entry.level.title if entry.level else "other", []).append(entry.pointer)
    groups["Objective"] = [placed.pointer for placed in index.objectives]
    for placed in index.objects:
        groups.setdefault(placed.space.capitalize(), []).append(placed.pointer)
    if index.spec.has_rule("edges"):
        groups["Edge"] = [edge.pointer for edge in read_edges(index)]
    pointers = [pointer for group in groups.values() for pointer in group]
    costs = _costs(material, pointers)
    shares = {
        name: math.fsum(1 - costs[pointer] for pointer in group) / len(group)
        for name, group in groups.items()
        if group
    }
    value = math.fsum(shares.values()) / len(shares) - costs[""] / len(pointers)
    return max(0.0, value), ", ".join(f"{name} {share:.2f}" for name, share in shares.items())


def _costs(material: Material, pointers: Sequence[str]) -> dict[str, float]:
    """What the broken form rules cost each place: 1 for an error, up to a half for warnings."""
    costs = dict.fromkeys((*pointers, ""), 0.0)
    for violation in material.violations:
        if not violation.rule.startswith(FORM_RULES):
            continue
        pointer = violation.pointer
        while pointer and pointer not in costs:
            pointer = pointer.rpartition("/")[0]
        if violation.severity is not Severity.WARNING:
            costs[pointer] = 1.0
        elif costs[pointer] < MOST_WARNING_COST:
            costs[pointer] += WARNING_COST
    return costs
