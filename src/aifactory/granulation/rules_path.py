"""Rules of a learning path: skills that rise to the target, work that fits into the weeks. Pure."""

from collections.abc import Iterator

import msgspec

from aifactory.granulation.index import ROOT, TreeIndex, number_of
from aifactory.granulation.violations import Severity, Violation
from aifactory.granulation.words import content_stems

# Minutes of a milestone's activities in relation to the time that its weeks give.
LEAST_FILLED, MOST_FILLED = 0.5, 1.1


def skills_of(index: TreeIndex) -> list[int]:
    """The nodes of levels that the rule ``skillRise`` is on for, in tree order."""
    return [
        owner
        for owner, entry in enumerate(index.entries)
        if entry.level is not None
        and "skillRise" in entry.level.rules
        and entry.node.kind == entry.level.kind
    ]


def check_skills(index: TreeIndex) -> Iterator[Violation]:
    """Each skill rises, and the last of them reach what the whole path is for."""
    skills = skills_of(index)
    highest: float | None = None
    for owner in skills:
        entry = index.entries[owner]
        start, end = number_of(entry.node.fields.get("from")), number_of(entry.node.fields.get("to"))
        if end is not None:
            highest = end if highest is None else max(highest, end)
        if start is not None and end is not None and end <= start:
            message = f"The skill goes from {start:g} to {end:g}, so nothing is gained"
            yield index.violation(
                "skill.no_rise", Severity.ERROR, message, owner, f"{entry.pointer}/fields/to"
            )
    start, target = (number_of(index.tree.fields.get(name)) for name in ("startLevel", "targetLevel"))
    if skills and start is not None and target is not None and target <= start:
        message = f"The path goes from {start:g} to {target:g}, so nothing is gained"
        yield index.violation("skill.no_rise", Severity.ERROR, message, ROOT, "/fields/targetLevel")
    elif target is not None and highest is not None and highest < target:
        message = f"The path is for level {target:g}; no skill goes beyond {highest:g}"
        yield index.violation("skill.short", Severity.WARNING, message, ROOT, "/fields/targetLevel")


class Aims(msgspec.Struct, frozen=True, kw_only=True):
    """Skills whose evidence is about them or their activities, and skills that an activity works on."""

    skills: int
    shown: tuple[int, ...]
    worked_on: tuple[int, ...]


def read_aims(index: TreeIndex) -> Aims:
    """Which skills can be shown and are worked on: the words of one are taken up by the other."""
    shown, worked_on = [], []
    skills = skills_of(index)
    for owner in skills:
        entry = index.entries[owner]
        evidence = entry.node.fields.get("evidence")
        proof = frozenset(content_stems(evidence, index.language) if isinstance(evidence, str) else ())
        subject = frozenset([*entry.title_stems, *entry.summary_stems])
        done = [index.said(child) for child in index.children[owner]]
        if proof & subject.union(*done):
            shown.append(owner)
        if any(said & (proof | subject) for said in done):
            worked_on.append(owner)
    return Aims(skills=len(skills), shown=tuple(shown), worked_on=tuple(worked_on))


def check_workload(index: TreeIndex) -> Iterator[Violation]:
    """The minutes of what is done fit into the weeks that are given for it."""
    hours = number_of(index.tree.fields.get("hoursPerWeek"))
    for owner, entry in enumerate(index.entries):
        weeks = number_of(entry.node.fields.get("weeks"))
        if entry.level is None or "workload" not in entry.level.rules or not weeks or not hours:
            continue
        minutes, room = _minutes(index, owner), weeks * hours * 60
        if minutes and not LEAST_FILLED <= minutes / room <= MOST_FILLED:
            rule = "workload.over" if minutes > room else "workload.under"
            message = f"{minutes:g} minutes of work for {weeks:g} weeks of {hours:g} hours, {room:g} minutes"
            pointer = f"{entry.pointer}/fields/weeks"
            yield index.violation(rule, Severity.WARNING, message, owner, pointer)


def _minutes(index: TreeIndex, owner: int) -> int:
    """The minutes of all below a node, or its own where they have none."""
    below = sum(_minutes(index, child) for child in index.children[owner])
    return below or max(0, int(number_of(index.entries[owner].node.minutes) or 0))
