"""Figures of a run: medians and ranges, what is aimed at, and whether it was reached. Pure."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

OURS = "ours"


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The median of some measurements, with the least and the most of them."""

    median: float
    least: float
    most: float
    measured: int


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What our median should be: at least, or at most, a value, or so many times a peer's median."""

    bound: Literal["at least", "at most"]
    value: float
    peer: str | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, for each system that has it; ``note`` says what a reader must know to compare them.

    ``asked``: it is one of those that a run is there for, and so in the first table, as each with a goal is.
    ``limit``: what it is compared with elsewhere, which no rounding may make it equal to.
    """

    what: str
    unit: str
    systems: Mapping[str, Spread]
    goals: tuple[Goal, ...] = ()
    note: str = ""
    asked: bool = False
    limit: float | None = None

    @property
    def limits(self) -> list[float]:
        """Return the numbers that its figures are compared with."""
        aims = (aimed_at(self, goal) for goal in self.goals)
        return [one for one in (*aims, self.limit) if one is not None]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one measure brought; ``notes`` are about all of its rows."""

    measure: str
    seconds: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of some values, at least one."""
    return Spread(median=statistics.median(values), least=min(values), most=max(values), measured=len(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the least value that so many percent of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


def verdict(row: Row, goal: Goal) -> str:
    """Return ``reached`` or ``not``; ``unknown`` where ours or the peer was not measured."""
    ours, aim = row.systems.get(OURS), aimed_at(row, goal)
    if ours is None or aim is None:
        return "unknown"
    is_reached = ours.median >= aim if goal.bound == "at least" else ours.median <= aim
    return "reached" if is_reached else "not"


def aimed_at(row: Row, goal: Goal) -> float | None:
    """Return the number that a goal comes to in this run; None: the peer was not measured."""
    if goal.peer is None:
        return goal.value
    peer = row.systems.get(goal.peer)
    return None if peer is None else goal.value * peer.median


def ratio(row: Row, peer: str | None, aim: float | None) -> float | None:
    """Return our median as a multiple of the peer's; of the target where no peer is meant. None: unknown."""
    ours = row.systems.get(OURS)
    other = row.systems[peer].median if peer and peer in row.systems else aim if peer is None else None
    return ours.median / other if ours is not None and other else None


def in_words(goal: Goal, unit: str) -> str:
    """Return a goal in words: ``≥ 1 × PgQueuer`` or ``≤ 10 ms``."""
    sign = "≥" if goal.bound == "at least" else "≤"
    return f"{sign} {goal.value:g} {unit if goal.peer is None else f'× {goal.peer}'}"


def number(value: float, limits: Sequence[float] = ()) -> str:
    """Return a number with three digits that count, thousands marked: ``1,230``, ``0.0123``.

    Beside a limit it has as many as it takes to tell on which side it is: ``10.04`` and not ``10.0``.
    """
    for digits in (3, 4, 5, 6):
        told = _rounded(value, digits)
        if all(limit == value or told != _rounded(limit, digits) for limit in limits):
            break
    return told


def _rounded(value: float, digits: int) -> str:
    if not value:
        return "0"
    rounded = round(value, digits - 1 - math.floor(math.log10(abs(value))))
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def in_figures(one: Spread, limits: Sequence[float] = ()) -> str:
    """Return a spread as ``median (least–most)``, or the only value."""
    told = [number(value, limits) for value in (one.median, one.least, one.most)]
    if one.measured == 1 or one.least == one.most:
        return told[0]
    return "{} ({}–{})".format(*told)
