"""A path that rises, with weeks that hold its work. Pure."""

from typing import Any

from aifactory.granulation.generation.nodes import every, refielded
from aifactory.granulation.rules_path import LEAST_FILLED, MOST_FILLED
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.tree import Node

HIGHEST = 5
# Weeks are set so that work fills this share of them.
_FILLED = 0.8


def raised(
    nodes: list[Node], fields: dict[str, Any], spec: StructureSpec
) -> tuple[list[Node], int, dict[str, Any]]:
    """Let each skill, and the whole path, rise by a level at least; promise no more than the skills reach."""
    kinds = {level.kind for level in spec.levels if "skillRise" in level.rules}
    changed: dict[str, dict[str, Any]] = {}
    highest = 0
    for node in every(nodes):
        if node.kind in kinds and {"from", "to"} <= node.fields.keys():
            start, end = _rising(node.fields["from"], node.fields["to"])
            if (start, end) != (node.fields["from"], node.fields["to"]):
                changed[node.id] = {**node.fields, "from": start, "to": end}
            highest = max(highest, end)
    if {"startLevel", "targetLevel"} <= fields.keys():
        most = highest or HIGHEST
        start = min(fields["startLevel"], most - 1)
        target = max(start + 1, min(fields["targetLevel"], most))
        fields = {**fields, "startLevel": start, "targetLevel": target}
    return refielded(nodes, changed), len(changed), fields


def _rising(start: int, end: int) -> tuple[int, int]:
    """Two levels of which the second is higher: raised, or the first lowered where there is no higher one."""
    if end > start:
        return start, end
    return (start, start + 1) if start < HIGHEST else (HIGHEST - 1, HIGHEST)


def with_time(
    nodes: list[Node], fields: dict[str, Any], spec: StructureSpec
) -> tuple[list[Node], int, dict[str, Any]]:
    """Give a node as many weeks as the minutes below it need, where its own are too few or too many."""
    levels = {level.kind: level for level in spec.levels if "workload" in level.rules}
    hours = fields.get("hoursPerWeek")
    changed: dict[str, dict[str, Any]] = {}
    for node in every(nodes):
        weeks = node.fields.get("weeks")
        if node.kind not in levels or not hours or not weeks or not node.minutes:
            continue
        if LEAST_FILLED <= node.minutes / (weeks * hours * 60) <= MOST_FILLED:
            continue
        field = levels[node.kind].fields["weeks"]
        needed = round(node.minutes / (hours * 60 * _FILLED), 1)
        bounded = max(field.min or 0.1, min(field.max or needed, needed))
        if bounded != weeks:
            changed[node.id] = {**node.fields, "weeks": bounded}
    return refielded(nodes, changed), len(changed), fields
