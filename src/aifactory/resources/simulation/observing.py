"""What is seen of a simulated fleet while time passes: waits, units, money, gates. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from aifactory.resources.buckets import MICRO
from aifactory.resources.virtual.clock import Tick
from aifactory.resources.virtual.fleet import VirtualFleet
from aifactory.resources.virtual.runs import VirtualRun

SHORTEST_WAIT_SECONDS = 0.001
_GROWTH = math.log(1.01)
_ALWAYS = 0.95
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
SLICES = 240
LAST_SLICE = 10 * SLICES  #: all that comes later is in it


def jain(values: Iterable[float]) -> float | None:
    """Return Jain's index of fairness: 1 when all are equal, 1 ÷ n when one has everything."""
    found = list(values)
    squares = sum(value * value for value in found)
    return sum(found) ** 2 / (len(found) * squares) if squares else None


class Waits:
    """Seconds waited, counted in steps of one percent; all but the quantiles is exact."""

    __slots__ = ("count", "longest", "steps", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.longest = 0.0
        self.steps: Counter[int] = Counter()

    def add(self, seconds: float, step: int) -> None:
        """Count one of so many seconds, which are in this step of the histogram."""
        self.count += 1
        self.total += seconds
        if seconds > self.longest:
            self.longest = seconds
        self.steps[step] += 1

    def merge(self, other: "Waits") -> None:
        """Count what another has counted."""
        self.count += other.count
        self.total += other.total
        self.longest = max(self.longest, other.longest)
        self.steps.update(other.steps)

    def quantile(self, share: float) -> float:
        """Return what so large a share has waited at most; 0 of nothing."""
        rank, seen = share * self.count, 0
        for step in sorted(self.steps):
            seen += self.steps[step]
            if seen >= rank:
                return min(self.longest, seconds_of(step))
        return 0.0

    @property
    def mean(self) -> float:
        """Return the mean; 0 of nothing."""
        return self.total / self.count if self.count else 0.0


def step_of(seconds: float) -> int:
    """Return the step of a histogram; 0 is for whatever was not to be noticed."""
    return (
        0
        if seconds <= SHORTEST_WAIT_SECONDS
        else 1 + int(math.log(seconds / SHORTEST_WAIT_SECONDS) / _GROWTH)
    )


def seconds_of(step: int) -> float:
    """Return the middle of a step."""
    return 0.0 if step == 0 else SHORTEST_WAIT_SECONDS * math.exp((step - 0.5) * _GROWTH)


class Slice:
    """What happened in one slice of time."""

    __slots__ = (
        "asked",
        "busy",
        "depth",
        "drained",
        "levels",
        "seconds",
        "taken",
        "ticks",
        "units",
        "used",
        "waiting",
        "waits",
    )

    def __init__(self) -> None:
        self.waits: defaultdict[str, Waits] = defaultdict(Waits)  # by queue
        self.busy = 0.0  # seconds of slots that are not local
        self.used: Counter[str] = Counter()  # units by pool
        self.units: Counter[tuple[str, UUID]] = Counter()  # units started, by pool and client
        self.waiting: Counter[tuple[str, UUID]] = Counter()  # ticks in which a client waited for a pool
        # From its first tick to that of the next slice with one:
        self.seconds = 0.0
        self.asked: defaultdict[str, float] = defaultdict(float)  # seconds in which work waited for a pool
        self.taken: Counter[str] = Counter()  # units taken from a pool less those given back
        self.levels: dict[str, float] | None = None  # units in each pool at its beginning
        self.drained: dict[str, float] | None = None  # by how many units each was emptier at its end
        self.depth: Counter[str] = Counter()  # waiting jobs by queue, summed over ticks
        self.ticks = 0


class Observer:
    """Sees every tick, start and end."""

    def __init__(self, start: datetime, hours: float) -> None:
        self.start = start
        self.width = timedelta(hours=hours) / SLICES
        self._width = self.width.total_seconds()
        self._from = self._until = start
        self._here = Slice()
        self.slices: dict[int, Slice] = defaultdict(Slice)
        self.waits: defaultdict[tuple[UUID, str, str], Waits] = defaultdict(Waits)  # client, queue, pool
        self.turnaround: defaultdict[UUID, Waits] = defaultdict(Waits)  # of executions, by client
        self.starts_by: Counter[str] = Counter()
        self.gates: defaultdict[str, float] = defaultdict(float)  # lane-seconds
        self.pool_units: Counter[str] = Counter()
        self.spend: Counter[tuple[UUID, str]] = Counter()  # nano-dollars by client and pool
        self.starts = 0
        self.busy = 0.0
        self._last: Tick | None = None
        self._ticked = Slice()  # that of the last tick
        self._asked: set[str] = set()

    def slice_at(self, moment: datetime) -> Slice:
        """Return the slice of a time; mostly that of the time before."""
        if not self._from <= moment < self._until:
            number = min((moment - self.start) // self.width, LAST_SLICE)
            self._from = self.start + number * self.width
            self._until = _END_OF_TIME if number == LAST_SLICE else self._from + self.width
            self._here = self.slices[number]
        return self._here

    def see_tick(self, tick: Tick, fleet: VirtualFleet) -> float:
        """Note a tick, its starts and what waits after it; return how long its starts had waited in all."""
        self._see_gates(tick)
        here = self.slice_at(tick.now)
        here.ticks += 1
        if here.levels is None:
            here.levels = _levels_before(tick, fleet)
            before = self._ticked.levels or {}
            self._ticked.drained = {pool: level - here.levels[pool] for pool, level in before.items()}
            self._ticked = here
        waiting, further, depth = set(), set[str](), here.depth
        for lane in fleet.filled.values():
            key = lane.key
            waiting.add((key.hops[0].pool, key.client_id))
            further.update(key.further_pools)
            depth[key.queue] += len(lane)
        here.waiting.update(waiting)
        self._asked = further.union(pool for pool, _ in waiting)
        return sum([self._see_start(run) for run in tick.runs])

    def _see_gates(self, tick: Tick) -> None:
        """Count how long the gates of the last tick kept lanes, and pools were asked for units."""
        if self._last is not None:
            seconds = (tick.now - self._last.now).total_seconds()
            for gate, lanes in Counter([wait.gate for wait in self._last.decision.waits]).items():
                self.gates[gate] += seconds * lanes
            self._ticked.seconds += seconds
            for pool in self._asked:
                self._ticked.asked[pool] += seconds
        self._last = tick

    def _see_start(self, run: VirtualRun) -> float:
        """Note a start; return how many seconds its job had waited."""
        key, work, pool, begins = run.lane.key, run.work, run.hop.pool, run.started_at
        seconds = (begins - work.ready_at).total_seconds()
        into = (begins - self.start).total_seconds()
        number = min(int(into // self._width), LAST_SLICE)
        here = self.slices[number]
        self.starts += 1
        self.starts_by[run.by] += 1
        step = step_of(seconds)
        self.waits[key.client_id, key.queue, pool].add(seconds, step)
        here.waits[key.queue].add(seconds, step)
        here.units[pool, key.client_id] += (run.units if work.used is None else work.used) or 1
        taken = self._ticked.taken
        taken[pool] += run.units
        if needs := work.head.needs:
            taken.update(needs)
        if not key.local:
            self.busy += work.seconds
            if number == LAST_SLICE or into + work.seconds <= (number + 1) * self._width:
                here.busy += work.seconds
            else:
                self._spread(work.seconds, into, number)
        return seconds

    def _spread(self, seconds: float, into: float, number: int) -> None:
        """Share a run that is longer than what is left of its slice out to the slices that it is in."""
        while seconds > 0:
            part = seconds
            if number < LAST_SLICE:
                part = min(seconds, (number + 1) * self._width - into)
            self.slices[number].busy += part
            seconds, into, number = seconds - part, into + part, number + 1

    def see_end(self, run: VirtualRun, now: datetime, cost_nano: int) -> None:
        """Note an end and what it cost its client."""
        units = run.units if run.work.used is None else run.work.used
        self._ticked.taken[run.hop.pool] -= run.units - units
        self.pool_units[run.hop.pool] += units
        self.slice_at(now).used[run.hop.pool] += units
        self.spend[run.lane.key.client_id, run.hop.pool] += cost_nano

    def see_finished(self, client_id: UUID, seconds: float) -> None:
        """Note how long an execution took from its submission."""
        self.turnaround[client_id].add(seconds, step_of(seconds))

    def under_load(self, pool: str, refill_per_second: float) -> float | None:
        """Return units taken ÷ units that there were, over the slices in which work always waited for a pool.

        Both are of the same spans, from a tick to a tick, so no more is taken than there was. None: there was
        no such slice.
        """
        taken = there = 0.0
        for here in self.slices.values():
            if here.drained is not None and 0 < _ALWAYS * here.seconds <= here.asked[pool]:
                taken += here.taken[pool]
                there += refill_per_second * here.seconds + max(0.0, here.drained[pool])
        return taken / there if there else None

    # Fairness.

    def fairness(self, pool: str, weights: dict[UUID, int]) -> list[tuple[int, float]]:
        """Return Jain's index of units ÷ weight of a pool by slice, over clients that waited all the time."""
        found = []
        for number, here in sorted(self.slices.items()):
            waited = [
                client
                for (name, client), ticks in here.waiting.items()
                if name == pool and ticks >= _ALWAYS * here.ticks and here.ticks > 1
            ]
            index = jain(here.units[pool, client] / weights[client] for client in waited)
            if len(waited) > 1 and index is not None:
                found.append((number, index))
        return found


def _levels_before(tick: Tick, fleet: VirtualFleet) -> dict[str, float]:
    """Return the units in each pool as they were before the starts of a tick."""
    taken: Counter[str] = Counter()
    for run in tick.runs:
        taken[run.hop.pool] += run.units
        taken.update(run.work.head.needs)
    return {name: pool.at(tick.now).level_micro / MICRO + taken[name] for name, pool in fleet.pools.items()}
