"""Figures of a play in words, alike in the terminal and on the page. Pure."""

from typing import Literal

Unit = Literal["s", "%", "$", "index", ""]
SAME_WITHIN = 0.02  #: the pace of ticks may move a wait by so much


def span(seconds: float) -> str:
    """Return a span: ``340 ms``, ``12.5 s``, ``3.4 min``, ``2.3 h``."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def percent(share: float | None) -> str:
    """Return a share of one; nothing of nothing."""
    return "" if share is None else f"{100 * share:.0f} %"


def figure(value: float | None, unit: Unit) -> str:
    """Return a value with its unit; a dash for none."""
    if value is None:
        return "–"
    if unit == "s":
        return span(value)
    if unit == "%":
        return f"{value:.0f} %"
    if unit == "$":
        return f"${value:,.2f}"
    return f"{value:.3f}" if unit == "index" else f"{value:,.0f}"


def became(before: float | None, after: float | None) -> str:
    """Return what became of a value: ``same``, ``-40 %``, ``new``, ``gone``; of 0 no percentage is told."""
    if before is None or after is None:
        return "new" if before is None else "gone"
    if is_same(before, after):
        return "same"
    return f"{100 * (after - before) / before:+.0f} %" if before else "from 0"


def is_same(before: float, after: float) -> bool:
    """Whether two figures differ by no more than a play can tell."""
    return abs(after - before) <= max(SAME_WITHIN * max(abs(before), abs(after)), 0.005)
