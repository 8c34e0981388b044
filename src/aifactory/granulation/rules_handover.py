"""Rules of what a node carries for a later writer: target words, tone, priority, minutes. Pure."""

from collections.abc import Iterator
from typing import Any

from aifactory.granulation.index import HANDOVER_FIELDS, ROOT, TreeIndex, number_of
from aifactory.granulation.violations import Severity, Violation

# Bounds of a number's value or a text's characters, both ends allowed; priority 1 is to be written first.
BOUNDS = {
    "targetWords": (1, 2_000_000),
    "tone": (2, 120),
    "priority": (1, 5),
    "estimatedMinutes": (1, 100_000),
}


def check_handover(index: TreeIndex) -> Iterator[Violation]:
    """Hand-over targets have the type and the size that a later writer can rely on."""
    yield from _check(index, ROOT, "", index.tree.fields, frozenset(index.spec.root_fields))
    for owner, entry in enumerate(index.entries):
        own = frozenset(entry.level.fields) if entry.level else frozenset[str]()
        yield from _check(index, owner, entry.pointer, entry.node.fields, own)


def _check(
    index: TreeIndex, owner: int, base: str, values: dict[str, Any], own: frozenset[str]
) -> Iterator[Violation]:
    # What a type declares by the same name is its own, and checked as a field.
    for name in sorted((HANDOVER_FIELDS & values.keys()) - own):
        value, pointer = values[name], f"{base}/fields/{name}"
        size = _size(name, value)
        if value is None:
            continue
        low, high = BOUNDS[name]
        if size is None:
            wanted = "a text" if name == "tone" else "a whole number"
            message = f"{name} must be {wanted}"
            yield index.violation("handover.type", Severity.WARNING, message, owner, pointer)
        elif not low <= size <= high:
            unit = " characters" if name == "tone" else ""
            message = f"{name} has {size:,}{unit}; allowed: {low:,} to {high:,}"
            yield index.violation("handover.bounds", Severity.WARNING, message, owner, pointer)


def _size(name: str, value: Any) -> int | None:
    """The number, or the characters of a tone; None for another type or too large a number."""
    if name == "tone":
        return len(value.strip()) if isinstance(value, str) else None
    return value if isinstance(number_of(value), int) else None
