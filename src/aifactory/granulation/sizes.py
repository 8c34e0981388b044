"""How large a tree may become: granularity, size, constraints and depth, in that order. Pure."""

from collections.abc import Sequence

import msgspec

from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.tree import MAX_NODES

DEFAULT_GRANULARITY = 3


class SizeError(ValueError):
    """A size that cannot be made; the message names the setting and its bounds."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Upper limits for a generator: children per parent on each level, outermost first, and the depth."""

    per_level: tuple[int, ...]

    @property
    def depth(self) -> int:
        """The number of levels."""
        return len(self.per_level)

    @property
    def nodes(self) -> int:
        """The most nodes a tree within these counts can have."""
        total, width = 0, 1
        for count in self.per_level:
            width *= count
            total += width
        return total


def resolve_counts(
    spec: StructureSpec,
    *,
    granularity_level: int | None = None,
    size: Sequence[int] | None = None,
    max_modules: int | None = None,
    depth: int | None = None,
) -> Counts:
    """The counts of a request: granularity gives, ``size`` replaces, ``max_modules`` caps, ``depth`` cuts.

    A 0 ends the tree there unless ``depth`` asks for the level; then the level's minimum is made. ``depth``
    beyond the type's levels means all of them. Raises SizeError, also above MAX_NODES.
    """
    preset = _preset(spec, DEFAULT_GRANULARITY if granularity_level is None else granularity_level)
    asked = preset if size is None else _checked_size(spec, size)
    if depth is not None and depth < 1:
        raise SizeError(f"depth: {depth} is below 1")
    counts: list[int] = []
    for index, level in enumerate(spec.levels[:depth]):
        count = asked[index] if index < len(asked) else 0
        if count == 0 and depth is None:
            break
        counts.append(count or (preset[index] if index < len(preset) else 0) or max(1, level.min))
    if max_modules is not None:
        if max_modules < 1:
            raise SizeError(f"constraints.maxModules: {max_modules} is below 1")
        counts[0] = min(counts[0], max_modules)
    resolved = Counts(per_level=tuple(counts))
    if resolved.nodes > MAX_NODES:
        shape = " × ".join(map(str, counts))
        raise SizeError(
            f"size: {shape} makes {resolved.nodes:,} nodes; a tree has at most {MAX_NODES:,}. "
            "Lower the counts or the depth."
        )
    return resolved


def _preset(spec: StructureSpec, granularity_level: int) -> tuple[int, ...]:
    if not 1 <= granularity_level <= 5:
        raise SizeError(f"granularityLevel: {granularity_level} is not between 1 and 5")
    preset = spec.presets.get(str(granularity_level))
    # A type without presets of its own gets the levels' minima, so data alone is enough for a new type.
    return preset if preset is not None else tuple(max(1, level.min) for level in spec.levels)


def _checked_size(spec: StructureSpec, size: Sequence[int]) -> tuple[int, ...]:
    if not 1 <= len(size) <= 3:
        raise SizeError("size.perLevel: wants one to three counts")
    for index, count in enumerate(size):
        least = 1 if index == 0 else 0
        if not least <= count <= MAX_NODES:
            raise SizeError(f"size.perLevel[{index}]: {count} is not between {least} and {MAX_NODES:,}")
    return tuple(size[: len(spec.levels)])
