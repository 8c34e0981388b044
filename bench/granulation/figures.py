"""A figure with its target, and what one measure says: its settings, figures, lists. Pure."""

from collections.abc import Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value; ``aim`` is the most that is wanted, or the fewest where ``least`` is set."""

    what: str
    value: float
    unit: str
    aim: float | None = None
    least: bool = False

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or nothing where there is no target."""
        if self.aim is None:
            return ""
        good = self.value >= self.aim if self.least else self.value <= self.aim
        return "met" if good else "**missed**"


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """What one measure found; ``settings`` say how, ``lists`` name what was read, ``rows`` are a table."""

    name: str
    title: str
    settings: dict[str, str]
    figures: tuple[Figure, ...]
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lists: dict[str, tuple[str, ...]] = {}


def number(value: float) -> str:
    """A value as tables show it: whole from 100 on, three digits below."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def figure_rows(measure: Measure) -> list[tuple[str, str, str, str]]:
    """Figures as rows: what, measured, target, verdict."""
    return [
        (
            one.what,
            f"{number(one.value)} {one.unit}".strip(),
            "–" if one.aim is None else f"{'≥' if one.least else '≤'} {number(one.aim)} {one.unit}".strip(),
            one.verdict or "–",
        )
        for one in measure.figures
    ]
