"""How far an execution is and how long it will still take, from its jobs counted by kind. Pure."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

from aifactory.resources.interface import Step


def percent_done(steps: Sequence[Step], *, is_final: bool) -> int:
    """Return how much of what was foreseen at submission is over, 0 to 100; 100 only at the end.

    It never falls: jobs that nobody foresaw (repairs, second tries) do not count, and what turns out not to
    be needed counts as done.
    """
    if is_final:
        return 100
    planned = sum(step.planned for step in steps)
    left = sum(step.unopened + step.places_open for step in steps)
    return min(99, 100 * (planned - left) // planned) if planned else 0


def remaining_seconds(steps: Sequence[Step]) -> float | None:
    """Return how long the rest will take at the speed so far; None before there is a speed.

    Speed is measured where jobs have succeeded: seconds a token of their output limits for model calls,
    seconds a job for local steps. Phases follow each other; within one, as many jobs run side by side as do
    now, or all of them where it has not begun. Waiting in the queue and jobs not foreseen are left out, and
    so is what was foreseen only in case that models fail.
    """
    speeds = {local: _speed([step for step in steps if step.local is local]) for local in (True, False)}
    written_by_models = {step.stage for step in steps if step.kind == "outline"}
    total = 0.0
    for _, group in groupby(sorted(steps, key=_phase), key=_phase):
        left = [(step, _left(step, written_by_models)) for step in group]
        left = [(step, count) for step, count in left if count]
        if any(speeds[step.local] is None for step, _ in left):
            return None
        total += _seconds_of(left, {local: speed or 0.0 for local, speed in speeds.items()})
    return total


def _phase(step: Step) -> tuple[int, str]:
    return step.stage, step.phase


def _speed(steps: Sequence[Step]) -> float | None:
    size = sum(step.succeeded_size for step in steps)
    return sum(step.succeeded_seconds for step in steps) / size if size else None


def _left(step: Step, written_by_models: Collection[int]) -> int:
    only_in_case = step.stage in written_by_models and step.kind in ("mend", "write")
    return step.open + (0 if only_in_case else step.unopened)


def _seconds_of(left: Sequence[tuple[Step, int]], speeds: Mapping[bool, float]) -> float:
    """Return how long the jobs of one phase will take, as many of them as are left of each kind."""
    jobs = sum(count for _, count in left)
    if not jobs:
        return 0.0
    average = sum(count * step.size * speeds[step.local] for step, count in left) / jobs
    running = sum(step.running for step, _ in left)
    begun = sum(step.running_seconds for step, _ in left) / running if running else 0.0
    return math.ceil(jobs / (running or jobs)) * average - min(max(begun, 0.0), average)
