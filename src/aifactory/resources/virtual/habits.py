"""How a pool's latest runs were, those that still go on among them. Pure."""

import statistics
from collections.abc import Iterable, Sequence

import msgspec


class Habit(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool's latest runs were: mean seconds, their variation (σ ÷ mean), used ÷ estimate."""

    seconds: float = 5.0
    variation: float = 1.0
    used: float | None = None


class Ran(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run of so many seconds, up to now if it has not ``ended``; what it used of its estimate, if known."""

    pool: str
    seconds: float
    ended: bool = True
    used: int | None = None
    estimate: int = 0


def habits(runs: Iterable[Ran]) -> dict[str, Habit]:
    """Return the habits of each pool of which a run has ended, and of all together under the name ''."""
    of_pool: dict[str, list[Ran]] = {"": []}
    for run in runs:
        of_pool[""].append(run)
        of_pool.setdefault(run.pool, []).append(run)
    return {pool: _habit(ran) for pool, ran in of_pool.items() if any(one.ended for one in ran)}


def _habit(runs: Sequence[Ran]) -> Habit:
    ended = [run.seconds for run in runs if run.ended]
    measured = [(run.used, run.estimate) for run in runs if run.used is not None]
    estimated = sum(estimate for _, estimate in measured)
    return Habit(
        seconds=mean_seconds([(run.seconds, run.ended) for run in runs]),
        variation=statistics.pstdev(ended) / statistics.fmean(ended),
        used=sum(used for used, _ in measured) / estimated if estimated else None,
    )


def mean_seconds(runs: Sequence[tuple[float, bool]]) -> float:
    """Return the mean of runs of which some go on: of those alone that ended first it would be too short.

    After Kaplan and Meier; what is beyond the longest is taken to go on as long again as they are on average.
    """
    goes_on, mean, before = 1.0, 0.0, 0.0
    for number, (seconds, ended) in enumerate(sorted(runs)):
        mean += goes_on * (seconds - before)
        before = seconds
        if ended:
            goes_on *= 1 - 1 / (len(runs) - number)
    return mean + goes_on * statistics.fmean(seconds for seconds, _ in runs)
