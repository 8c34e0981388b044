"""How large a tree may become: granularity, size, constraints and depth, in that order. Pure."""

import msgspec

DEFAULT_GRANULARITY = 3

# Course counts per level, by granularityLevel 1–5; a third count of 0 means two levels.
COURSE_PRESETS: dict[int, tuple[int, int, int]] = {
    1: (3, 2, 0),
    2: (4, 3, 1),
    3: (6, 3, 2),
    4: (8, 4, 2),
    5: (12, 5, 3),
}
# A quiz has two levels: sections and items per section.
QUIZ_PRESETS: dict[int, tuple[int, int, int]] = {
    1: (2, 3, 0),
    2: (3, 4, 0),
    3: (4, 5, 0),
    4: (6, 6, 0),
    5: (8, 10, 0),
}


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
