"""What is seen of a simulated fleet while time passes: waits, units, money, gates. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from aifactory.resources.virtual.clock import Tick
from aifactory.resources.virtual.runs import VirtualRun

SHORTEST_WAIT_SECONDS = 0.001
_GROWTH = math.log(1.01)
_ALWAYS = 0.95
SLICES = 240


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

    __slots__ = ("asked", "busy", "depth", "ticks", "units", "used", "waiting", "waits")

    def __init__(self) -> None:
        self.waits: defaultdict[str, Waits] = defaultdict(Waits)  # by queue
        self.busy = 0.0  # seconds of slots that are not local
        self.used: Counter[str] = Counter()  # units by pool
        self.units: Counter[tuple[str, UUID]] = Counter()  # units started, by pool and client
        self.waiting: Counter[tuple[str, UUID]] = Counter()  # ticks in which a client waited for a pool
        self.asked: defaultdict[str, float] = defaultdict(float)  # seconds in which work waited for a pool
        self.depth: Counter[str] = Counter()  # waiting jobs by queue, summed over ticks
        self.ticks = 0


class Observer:
    """Sees every tick, start and end."""

    def __init__(self, start: datetime, hours: float) -> None:
        self.start = start
        self.width = timedelta(hours=hours) / SLICES
        self.slices: dict[int, Slice] = defaultdict(Slice)
        self.waits: defaultdict[tuple[UUID, str, str], Waits] = defaultdict(Waits)  # client, queue, pool
        self.turnaround: defaultdict[UUID, Waits] = defaultdict(Waits)  # of executions, by client
        self.starts_by: Counter[str] = Counter()
        self.gates: defaultdict[str, float] = defaultdict(float)  # lane-seconds
        self.pool_units: Counter[str] = Counter()
        self.pool_asked: defaultdict[str, float] = defaultdict(
            float
        )  # seconds in which work waited for a pool
        self.spend: Counter[tuple[UUID, str]] = Counter()  # nano-dollars by client and pool
        self.starts = 0
        self.busy = 0.0
        self._last: Tick | None = None
        self._asked: set[str] = set()

    def slice_at(self, moment: datetime) -> Slice:
        """Return the slice of a time."""
        return self.slices[(moment - self.start) // self.width]

    def see_tick(self, tick: Tick, waiting: Iterable[tuple[str, UUID, str, int]]) -> None:
        """Note a tick, and what waits after it: pool, client, queue, jobs of each lane."""
        here = self.slice_at(tick.now)
        here.ticks += 1
        self._see_gates(tick)
        pools = set()
        for pool, client_id, queue, jobs in waiting:
            here.waiting[pool, client_id] += 1
            here.depth[queue] += jobs
            pools.add(pool)
        self._asked = pools
        for run in tick.runs:
            self._see_start(run)

    def _see_gates(self, tick: Tick) -> None:
        """Count how long the gates of the last tick kept lanes, and pools were asked for units."""
        if self._last is not None:
            seconds = min((tick.now - self._last.now).total_seconds(), self.width.total_seconds())
            for wait in self._last.decision.waits:
                self.gates[wait.gate] += seconds
            here = self.slice_at(self._last.now)
            for pool in self._asked:
                self.pool_asked[pool] += seconds
                here.asked[pool] += seconds
        self._last = tick

    def _see_start(self, run: VirtualRun) -> None:
        key, work, pool = run.lane.key, run.work, run.hop.pool
        seconds = (run.started_at - work.ready_at).total_seconds()
        here = self.slices[(run.started_at - self.start) // self.width]
        self.starts += 1
        self.starts_by[run.by] += 1
        step = step_of(seconds)
        self.waits[key.client_id, key.queue, pool].add(seconds, step)
        here.waits[key.queue].add(seconds, step)
        here.units[pool, key.client_id] += max(1, run.units if work.used is None else work.used)
        if not key.local:
            self._see_busy(run.started_at, work.seconds)

    def _see_busy(self, begins: datetime, seconds: float) -> None:
        self.busy += seconds
        width = self.width.total_seconds()
        into = (begins - self.start).total_seconds()
        number = int(into // width)
        while seconds > 0:
            part = min(seconds, (number + 1) * width - into)
            self.slices[number].busy += part
            seconds, into, number = seconds - part, into + part, number + 1

    def see_end(self, run: VirtualRun, now: datetime, cost_nano: int) -> None:
        """Note an end and what it cost its client."""
        units = run.units if run.work.used is None else run.work.used
        self.pool_units[run.hop.pool] += units
        self.slice_at(now).used[run.hop.pool] += units
        self.spend[run.lane.key.client_id, run.hop.pool] += cost_nano

    def see_finished(self, client_id: UUID, seconds: float) -> None:
        """Note how long an execution took from its submission."""
        self.turnaround[client_id].add(seconds, step_of(seconds))

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
