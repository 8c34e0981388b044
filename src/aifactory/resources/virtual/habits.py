"""How a pool's latest runs were, those that still go on among them. Pure."""

import math
import statistics
from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec

_POINTS = 40
_NOTHING = 1e-9


class Habit(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool's latest runs were: mean seconds, their variation (σ ÷ mean), used ÷ estimate.

    ``spread``: lengths that are equally likely, in order, of the same mean; none: all runs are alike.
    """

    seconds: float = 5.0
    variation: float = 1.0
    used: float | None = None
    spread: tuple[float, ...] = ()

    def length(self, share: float) -> float:
        """Return the seconds of a run than which that share of runs, from 0 to 1, is shorter."""
        return self.spread[int(share * len(self.spread))] if self.spread else self.seconds

    def left(self, elapsed: float, share: float) -> float:
        """Return what is left of a run, if it is longer than that share of those that take so long at all.

        A quarter of a run at least where none was so long.
        """
        begins = bisect_right(self.spread, elapsed)
        longer = self.spread[begins:]
        if longer:
            return longer[int(share * len(longer))] - elapsed
        return max(self.seconds - elapsed, self.seconds / 4)


class Ran(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run of so many seconds, up to now if it has not ``ended``; what it used of its estimate, if known."""

    pool: str
    seconds: float
    ended: bool = True
    used: int | None = None
    estimate: int = 0


def habits(runs: Iterable[Ran]) -> dict[str, Habit]:
    """Return the habits of each pool in which something ran, and of all together under the name ''.

    Where none has ended yet, they are those of all pools or, if none has there either, what is usual; but no
    shorter than what goes on is by now.
    """
    of_pool: dict[str, list[Ran]] = {"": []}
    for run in runs:
        of_pool[""].append(run)
        of_pool.setdefault(run.pool, []).append(run)
    ended = {pool: any(one.ended for one in ran) for pool, ran in of_pool.items()}
    usual = _habit(of_pool[""]) if ended[""] else Habit()
    return {
        pool: _habit(ran) if ended[pool] else _at_least(usual, [one.seconds for one in ran])
        for pool, ran in of_pool.items()
        if ran
    }


def _at_least(habit: Habit, going_on: Sequence[float]) -> Habit:
    """Return a habit of runs as long as these are by now and, as they go on, as long again on average."""
    seconds = max(going_on) + statistics.fmean(going_on)
    return habit if habit.seconds >= seconds else Habit(seconds=seconds)


def _habit(runs: Sequence[Ran]) -> Habit:
    ended = [run.seconds for run in runs if run.ended]
    measured = [(run.used, run.estimate) for run in runs if run.used is not None]
    estimated = sum(estimate for _, estimate in measured)
    likely = likely_seconds([(run.seconds, run.ended) for run in runs])
    return Habit(
        seconds=sum(seconds * weight for seconds, weight in likely),
        variation=statistics.pstdev(ended) / statistics.fmean(ended),
        used=sum(used for used, _ in measured) / estimated if estimated else None,
        spread=_spread(likely),
    )


def likely_seconds(runs: Sequence[tuple[float, bool]]) -> list[tuple[float, float]]:
    """Return how long runs take, in order, each with how likely that is, where some go on.

    Of those alone that ended first it would be too short: this is after Kaplan and Meier.
    """
    goes_on = 1.0
    likely: list[tuple[float, float]] = []
    in_order = sorted(runs, key=lambda run: (run[0], not run[1]))  # what has ended by then went on less long
    for number, (seconds, ended) in enumerate(in_order):
        if ended:
            weight = goes_on / (len(runs) - number)
            likely.append((seconds, weight))
            goes_on -= weight
    if goes_on > _NOTHING:
        longest = max(seconds for seconds, _ in runs)
        further = statistics.fmean(seconds for seconds, _ in runs)
        likely.append((longest + min(further, _further(likely, longest, goes_on)), goes_on))
    return likely


def _further(likely: Sequence[tuple[float, float]], longest: float, goes_on: float) -> float:
    """Return how much longer the rest go on, if they end as fast as the latter half of the ended ones did.

    Runs that are all alike end soon after the first of them has; of a burst of such, it would be foretold
    much too late that all others take as long again.
    """
    middle = len(likely) // 2
    before = goes_on + math.fsum(weight for _, weight in likely[middle:])
    if not likely or longest <= likely[middle][0]:
        return math.inf
    return (longest - likely[middle][0]) / math.log(before / goes_on)


def _spread(likely: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Return forty lengths that are equally likely: the mean of each fortieth of the runs."""
    points: list[float] = []
    room, total = 1 / _POINTS, 0.0
    for seconds, weight in likely:
        while weight >= room and len(points) < _POINTS - 1:
            points.append((total + seconds * room) * _POINTS)
            weight, room, total = weight - room, 1 / _POINTS, 0.0
        total, room = total + seconds * weight, room - weight
    points.append(total / max(1e-12, 1 / _POINTS - room))
    return tuple(points)
