"""A recorded workload: what really came, in lines of JSON without names or content. Pure.

The first line has the ground and the routes, each other one an execution. Times are seconds since the start.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from math import inf
from statistics import median
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aifactory.kernel.ids import ClientId
from aifactory.resources.interface import Hop, Urgency, Usage
from aifactory.resources.pricing import Price
from aifactory.resources.simulation.ground import QUEUES, Ground, client_ids, price_of_pool
from aifactory.resources.simulation.reading import BadWorkload
from aifactory.resources.simulation.tasks import Attempt, Call, Opening, Step, Task

FORM = "aifactory-workload-1"
_LONGEST_TURNAROUND_SECONDS = 5.0
_NO_TIME = datetime.min.replace(tzinfo=UTC)  # a sum needs none
_FEWEST = 20  # starts in a pool that a median is taken of
Seconds = Annotated[float, Meta(ge=-(10**9), le=10**9)]
Span = Annotated[float, Meta(ge=0, le=10**9)]
Index = Annotated[int, Meta(ge=0)]


class RecordedRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A route as jobs name it, by its place in the list."""

    hops: Annotated[tuple[Hop, ...], Meta(min_length=1)]
    further_pools: tuple[str, ...] = ()
    local: bool = False


class RecordedAttempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attempt: ``began`` is when its call began; usage and price are input, cached, output."""

    began: Seconds
    seconds: Span | None
    hop: Index
    retry_seconds: Span | None = None
    usage: tuple[int, int, int] | None = None
    price: tuple[int, int, int] | None = None


class RecordedJob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job; ``parents`` are the jobs, by place, whose ends opened it; none: it opened at ``opened``."""

    kind: str
    worker: str
    route: Index
    input_bound: Index
    output_limit: Index
    needs: dict[str, int] = {}
    opened: Seconds
    parents: list[Index] = []
    attempts: list[RecordedAttempt] = []


class RecordedExecution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An execution; ``ended``: when it was cancelled or ran out of time."""

    client: str
    urgency: Urgency
    queue: str
    arrives: Seconds
    ages_from: Seconds
    hold_nano: Index
    ended: Seconds | None = None
    jobs: list[RecordedJob]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: the ground as tables, which changes can be made to, and the routes."""

    form: str
    ground: dict[str, Any]
    routes: list[RecordedRoute]


def tasks_recorded(ground: Ground, lines: tuple[bytes, ...]) -> Iterator[Task]:
    """Return recorded executions, in the order in which they came. The lines begin with the header.

    They are read twice, since together they may be larger than memory: first all of them are checked.
    Raises BadWorkload, which names the line.
    """
    header = msgspec.json.decode(lines[0], type=Header)
    ids = client_ids(ground)
    typical = _typical_seconds(_checked(ground, header.routes, ids, lines))
    for _, one in _executions(lines):
        yield _Opened(ground, header.routes, one, typical).task(ids[one.client])


def _executions(lines: tuple[bytes, ...]) -> Iterator[tuple[int, RecordedExecution]]:
    """Give the executions below the header, each with the number of its line."""
    decoder = msgspec.json.Decoder(RecordedExecution)
    for number, line in enumerate(lines[1:], start=2):
        try:
            yield number, decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadWorkload(f"line {number}: {error}.") from error


def _checked(
    ground: Ground, routes: list[RecordedRoute], ids: Mapping[str, ClientId], lines: tuple[bytes, ...]
) -> Iterator[RecordedExecution]:
    """Give the executions. Raises BadWorkload for one that names what the record has not."""
    for number, one in _executions(lines):
        if fault := _fault(ground, routes, ids, one):
            raise BadWorkload(f"line {number}: {fault}")
        yield one


def _fault(
    ground: Ground, routes: list[RecordedRoute], ids: Mapping[str, ClientId], one: RecordedExecution
) -> str | None:
    """Return what an execution names that the record has not."""
    if one.client not in ids:
        return f"{one.client!r} is no client of the first line."
    if one.queue not in QUEUES | ground.queues:
        return f"{one.queue!r} is no queue."
    for place, job in enumerate(one.jobs):
        if job.route >= len(routes):
            return f"jobs.{place}: There is no route {job.route} in the first line."
        if any(parent >= place for parent in job.parents):
            return f"jobs.{place}: Its parents must come before it."
    return None


def _typical_seconds(executions: Iterable[RecordedExecution]) -> float:
    """Return how long an attempt takes on average, for those whose end was not seen."""
    attempts, total = 0, 0.0
    for one in executions:
        for attempt in (attempt for job in one.jobs for attempt in job.attempts):
            if attempt.seconds is not None:
                attempts, total = attempts + 1, total + attempt.seconds
    return total / attempts if attempts else 1.0


class _Opened:
    """An execution's jobs, tied to what opens them."""

    def __init__(
        self, ground: Ground, routes: list[RecordedRoute], one: RecordedExecution, typical: float
    ) -> None:
        self.start, self.one, self.typical = ground.run.start, one, typical
        self.prices = {name: price_of_pool(spec, self.start) for name, spec in ground.pools.items()}
        self.routes = routes
        self.calls = [self._call(job) for job in one.jobs]

    def task(self, client_id: ClientId) -> Task:
        """Return the execution to be played."""
        one, later = self.one, list[tuple[timedelta, list[Call]]]()
        openings: dict[tuple[int, ...], list[Call]] = {}
        first: list[Call] = []
        for call, job in zip(self.calls, one.jobs, strict=True):
            if job.parents:
                openings.setdefault(tuple(job.parents), []).append(call)
            elif job.opened > max(one.arrives, one.ages_from):
                later.append((timedelta(seconds=job.opened), [call]))
            else:
                first.append(call)
        for parents, calls in openings.items():
            opening = Opening(waits_for=len(parents), calls=calls)
            for parent in parents:
                self.calls[parent].opens += (opening,)
        return Task(
            client_id=client_id,
            urgency=one.urgency,
            queue=one.queue,
            arrives_at=self._at(one.arrives),
            ages_from=self._at(one.ages_from),
            hold_nano=one.hold_nano,
            first=first,
            calls=len(self.calls),
            ends_at=None if one.ended is None else self._at(one.ended),
            later=[(self.start + after, calls) for after, calls in later],
        )

    def _at(self, seconds: float) -> datetime:
        return self.start + timedelta(seconds=seconds)

    def _call(self, job: RecordedJob) -> Call:
        route = self.routes[job.route]
        step = Step(
            kind=job.kind,
            hops=route.hops,
            further_pools=route.further_pools,
            needs=job.needs,
            local=route.local,
            worker=job.worker,
            input_bound=job.input_bound,
            output_limit=job.output_limit,
        )
        attempts = tuple(self._attempt(one, route) for one in job.attempts)
        return Call(step=step, attempts=attempts or (Attempt(seconds=self.typical, usage=None),))

    def _attempt(self, one: RecordedAttempt, route: RecordedRoute) -> Attempt:
        return Attempt(
            seconds=self.typical if one.seconds is None else one.seconds,
            usage=None if one.usage is None else _usage(one.usage),
            retry_seconds=one.retry_seconds,
            price=None if one.price is None else _price(one.price, self.start),
            hop=route.hops[one.hop] if one.hop < len(route.hops) else None,
        )


def _usage(figures: tuple[int, int, int]) -> Usage:
    units, cached, output = figures
    return Usage(input_units=units, cached_input_units=cached, output_units=output)


def _price(figures: tuple[int, int, int], at: datetime) -> Price:
    units, cached, output = figures
    return Price(
        input_nano_per_million=units,
        cached_nano_per_million=cached,
        output_nano_per_million=output,
        source="recorded",
        at=at,
    )


# What a record says of the real run.


def waits_of(executions: Iterable[RecordedExecution]) -> list[float]:
    """Return how long each attempt really waited, in seconds, from when it could have begun."""
    waits = []
    for one in executions:
        for job in one.jobs:
            ready = max(job.opened, one.ages_from)
            for attempt in job.attempts:
                waits.append(max(0.0, attempt.began - ready))
                if attempt.seconds is not None:
                    ready = attempt.began + attempt.seconds + (attempt.retry_seconds or 0.0)
    return waits


def spend_of(executions: Iterable[RecordedExecution]) -> int:
    """Return what the attempts really cost, in nano-dollars, by their own usage and price."""
    total = 0
    for one in executions:
        for attempt in (attempt for job in one.jobs for attempt in job.attempts):
            if attempt.usage is not None and attempt.price is not None:
                total += _price(attempt.price, _NO_TIME).cost_of(_usage(attempt.usage))
    return total


def turnaround_of(executions: Iterable[RecordedExecution], routes: list[RecordedRoute], slots: int) -> float:
    """Return how many seconds a start came after its job and a slot for it were there: the median.

    Each start takes the slot that has been free for longest. Taken from the pool where that is shortest: in
    others starts may have waited for units. Local work has slots of its own, and is left out.
    """
    begins: list[tuple[float, float, float, str]] = []
    for one in executions:
        for job in one.jobs:
            attempt, route = next(iter(job.attempts), None), routes[job.route]
            if attempt is not None and attempt.seconds is not None and not route.local:
                ready = max(job.opened, one.ages_from)
                begins.append((attempt.began, attempt.began + attempt.seconds, ready, route.hops[0].pool))
    free = [-inf] * max(1, slots)
    late: dict[str, list[float]] = {}
    for begun, ends, ready, pool in sorted(begins):
        late.setdefault(pool, []).append(begun - max(ready, heapq.heapreplace(free, ends)))
    medians = [median(found) for found in late.values() if len(found) >= _FEWEST]
    return min(_LONGEST_TURNAROUND_SECONDS, max(0.0, min(medians, default=0.0)))


def most_at_once(executions: Iterable[RecordedExecution], routes: list[RecordedRoute], *, local: bool) -> int:
    """Return how many attempts ran at once at most, local ones or others."""
    changes: list[tuple[float, int]] = []
    for one in executions:
        for job in one.jobs:
            for attempt in job.attempts if routes[job.route].local is local else ():
                changes += [(attempt.began, 1), (attempt.began + (attempt.seconds or 0.0), -1)]
    running = most = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most
