"""A described workload: streams of executions, drawn once from a seed, whatever the fleet then does. Pure.

Each stream draws from a generator of its own, in the order of its arrivals, and draws everything about an
execution when it arrives. So the same work meets every change that is tried on it.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aifactory.kernel.ids import ClientId
from aifactory.resources.interface import Hop, Urgency, Usage
from aifactory.resources.simulation.ground import (
    Count,
    Ground,
    Percent,
    Some,
    client_ids,
    names_of,
    price_of_pool,
    providers_of,
)
from aifactory.resources.simulation.tasks import Attempt, Call, Opening, Step, Task
from aifactory.resources.terms import QUEUE_OF

Amount = Annotated[float, Meta(ge=0, le=10**9)]
_Draw = Callable[[random.Random], float]
_P95 = 1.6448536269514722  # of the standard normal distribution
_Rate = Annotated[float, Meta(ge=0.001, le=10**7)]
_MOST_LOG = math.log(10**9)  # no draw is larger than an ``Amount``


class Spread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number that varies: log-normal by mean and cv, or by median and p95; or evenly from min to max."""

    mean: Amount | None = None
    cv: Annotated[float, Meta(ge=0, le=20)] | None = None
    median: Amount | None = None
    p95: Amount | None = None
    min: Amount | None = None
    max: Amount | None = None


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Jobs of one kind that run side by side; the next phase opens when all have ended."""

    kind: str = "work"
    hops: Annotated[list[str], Meta(min_length=1)]
    further_pools: dict[str, Count] = {}
    jobs: Amount | Spread = 1
    input: Count = 1_000
    output_limit: Count = 1_000
    output: Amount | Spread | None = None
    cached_percent: Percent = 0
    seconds: Amount | Spread = 4.0
    failure_percent: Percent = 0
    retries: Annotated[int, Meta(ge=0, le=20)] = 2
    local: bool = False
    worker: str = "work"


class Arrivals(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When executions of each client come: one of these, from ``after_hours`` on, for ``hours``."""

    backlog: Some | None = None
    every_seconds: Annotated[float, Meta(ge=0.001, le=10**9)] | None = None
    poisson_per_hour: _Rate | None = None
    poisson_per_day: _Rate | None = None
    by_hour: Annotated[list[Amount], Meta(min_length=24, max_length=24)] | None = None
    after_hours: Annotated[float, Meta(ge=0, le=24 * 366)] = 0.0
    hours: Annotated[float, Meta(gt=0, le=24 * 366)] | None = None


class Stream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Executions of one kind from some clients; ``due_hours``: deferred, due so long after they come."""

    clients: str = "*"
    urgency: Urgency = Urgency.NORMAL
    arrivals: Arrivals
    due_hours: Annotated[float, Meta(gt=0, le=24 * 366)] | None = None
    phases: Annotated[list[Phase], Meta(min_length=1)]


def starts_of(ground: Ground, stream: Stream) -> float:
    """Return about how many starts a stream comes to: executions × jobs × tries, by their means."""
    jobs = sum(
        max(1.0, mean_of(phase.jobs)) * (1 + phase.retries * phase.failure_percent / 100)
        for phase in stream.phases
    )
    return len(names_of(ground, stream.clients)) * _arrivals_of(ground, stream.arrivals) * jobs


def _arrivals_of(ground: Ground, arrivals: Arrivals) -> float:
    """Return about how many executions of one client come; by the hours of the day, at most so many."""
    hours = max(0.0, ground.run.hours - arrivals.after_hours)
    hours = hours if arrivals.hours is None else min(hours, arrivals.hours)
    if arrivals.backlog is not None:
        return arrivals.backlog
    if arrivals.every_seconds is not None:
        return hours * 3600 / arrivals.every_seconds
    if arrivals.by_hour is not None:
        busiest = max(arrivals.by_hour) / (sum(arrivals.by_hour) / 24)
        hours = min(hours * busiest, 24 * math.ceil(hours / 24))
    return hours * _per_hour(arrivals)


def tasks_of(ground: Ground, streams: list[Stream], seed: int) -> Iterator[Task]:
    """Return the executions of all streams and clients, in the order in which they come."""
    sources = []
    for number, stream in enumerate(streams):
        steps = [_step(ground, phase) for phase in stream.phases]
        plans = [(phase, step, _drawer(phase)) for phase, step in zip(stream.phases, steps, strict=True)]
        for name in names_of(ground, stream.clients):
            rng = random.Random(f"{seed}/{number}/{name}")
            sources.append(_of_client(ground, stream, plans, client_ids(ground)[name], rng))
    return heapq.merge(*sources, key=lambda task: task.arrives_at)


def _of_client(
    ground: Ground, stream: Stream, plans: list[Any], client_id: ClientId, rng: random.Random
) -> Iterator[Task]:
    due = timedelta(hours=stream.due_hours) if stream.due_hours else timedelta()
    queue = "deferred" if stream.due_hours else QUEUE_OF[stream.urgency]
    for arrives_at in _times(ground, stream.arrivals, rng):
        phases = [draw(rng) for _, _, draw in plans]
        worst = sum(len(calls) * step.worst_nano for calls, (_, step, _) in zip(phases, plans, strict=True))
        later: list[Call] = []
        for drawn, (_, step, _) in zip(reversed(phases), reversed(plans), strict=True):
            opens = (Opening(waits_for=len(drawn), calls=later),) if later else ()
            later = [Call(step=step, attempts=attempts, opens=opens) for attempts in drawn]
        yield Task(
            client_id=client_id,
            urgency=stream.urgency,
            queue=queue,
            arrives_at=arrives_at,
            ages_from=arrives_at + due,
            hold_nano=worst,
            first=later,
            calls=sum(map(len, phases)),
        )


def _times(ground: Ground, arrivals: Arrivals, rng: random.Random) -> Iterator[datetime]:
    now = ground.run.start + timedelta(hours=arrivals.after_hours)
    until = ground.run.start + timedelta(hours=ground.run.hours)
    if arrivals.hours is not None:
        until = min(until, now + timedelta(hours=arrivals.hours))
    if arrivals.backlog is not None:
        yield from (now for _ in range(arrivals.backlog))
    elif arrivals.every_seconds is not None:
        now += timedelta(seconds=rng.uniform(0, arrivals.every_seconds))
        while now < until:
            yield now
            now += timedelta(seconds=arrivals.every_seconds)
    else:
        yield from _poisson(arrivals, now, until, rng)


def _poisson(arrivals: Arrivals, now: datetime, until: datetime, rng: random.Random) -> Iterator[datetime]:
    """Yield the moments of a Poisson process; its rate follows the hours of the day if they are given."""
    per_hour = _per_hour(arrivals)
    weights = arrivals.by_hour or [1.0] * 24
    mean = sum(weights) / 24
    busiest = max(weights) / mean
    while per_hour and (now := now + timedelta(hours=rng.expovariate(per_hour * busiest))) < until:
        if rng.random() * busiest * mean <= weights[now.hour]:
            yield now


def _per_hour(arrivals: Arrivals) -> float:
    return arrivals.poisson_per_hour or (arrivals.poisson_per_day or 0) / 24


def _step(ground: Ground, phase: Phase) -> Step:
    providers = providers_of(ground)
    prices = [price_of_pool(ground.pools[pool], ground.run.start) for pool in phase.hops]
    return Step(
        kind=phase.kind,
        hops=tuple(Hop(provider=providers[pool], model=pool, pool=pool) for pool in phase.hops),
        further_pools=tuple(phase.further_pools),
        needs=phase.further_pools,
        local=phase.local,
        worker=phase.worker,
        input_bound=phase.input,
        output_limit=phase.output_limit,
        worst_nano=max(price.worst(phase.input, phase.output_limit) for price in prices),
    )


def _drawer(phase: Phase) -> Callable[[random.Random], list[tuple[Attempt, ...]]]:
    """Return what draws all jobs of a phase with their attempts."""
    jobs, seconds = _draw(phase.jobs), _draw(phase.seconds)
    output = _draw(phase.output_limit if phase.output is None else phase.output)
    cached = phase.input * phase.cached_percent // 100
    failure = phase.failure_percent / 100

    def attempt(rng: random.Random, retry_seconds: float | None) -> Attempt:
        used = Usage(
            input_units=phase.input,
            cached_input_units=cached,
            output_units=min(phase.output_limit, round(output(rng))),
        )
        return Attempt(seconds=seconds(rng), usage=used, retry_seconds=retry_seconds)

    def attempts(rng: random.Random) -> tuple[Attempt, ...]:
        if not failure:
            return (attempt(rng, None),)
        failed = 0
        while failed < phase.retries and rng.random() < failure:
            failed += 1
        tries = [attempt(rng, min(60.0, 2.0**n) * rng.uniform(0.5, 1.0)) for n in range(failed)]
        return (*tries, attempt(rng, None))

    return lambda rng: [attempts(rng) for _ in range(max(1, round(jobs(rng))))]


def mean_of(given: float | Spread) -> float:
    """Return the mean of a number that varies."""
    if not isinstance(given, Spread):
        return float(given)
    if given.min is not None and given.max is not None:
        return (given.min + given.max) / 2
    if given.mean is not None:
        return given.mean
    mu, sigma = _of_median(given)
    return math.exp(min(_MOST_LOG, mu + sigma * sigma / 2))


def _draw(given: float | Spread) -> _Draw:
    if not isinstance(given, Spread):
        fixed = float(given)
        return lambda _: fixed
    if given.min is not None and given.max is not None:
        low, high = given.min, given.max
        return lambda rng: rng.uniform(low, high)
    if given.mean is not None:
        sigma = math.sqrt(math.log1p((given.cv or 0.0) ** 2))
        mu = math.log(given.mean) - sigma * sigma / 2 if given.mean else -math.inf
    else:
        mu, sigma = _of_median(given)
    return lambda rng: math.exp(min(_MOST_LOG, mu + sigma * rng.gauss(0.0, 1.0)))


def _of_median(given: Spread) -> tuple[float, float]:
    """Return mean and deviation of the logarithm."""
    median, p95 = given.median or 1.0, given.p95 or 1.0
    return math.log(median), math.log(p95 / median) / _P95
