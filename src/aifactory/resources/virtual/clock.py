"""Virtual time over a fleet in memory: what comes and ends, and a tick after what may start something. Pure.

A tick costs the same however little it may start, so ticks can be further apart than events: at a pace of
``window`` a tick plans for the slots that are free and for those whose runs end before the next one.
"""

import heapq
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count

import msgspec

from aifactory.resources.gates import Decision
from aifactory.resources.virtual.fleet import VirtualFleet
from aifactory.resources.virtual.runs import Lent, VirtualRun

Action = Callable[[datetime], None]
SHORTEST_PACE = timedelta(milliseconds=1)
POLL, LONGEST_POLL = timedelta(seconds=1), timedelta(seconds=60)
STUCK_AFTER = timedelta(hours=1)  #: longer than time alone takes to open a gate that tells no time
_NO_TIME = timedelta()


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """What a tick decided, when, and the runs that it started; a lent slot's run begins after ``now``."""

    now: datetime
    decision: Decision
    runs: tuple[VirtualRun, ...]


class Clock:
    """Passes time over a fleet. ``on_end`` is told of each run that has ended, and queues what follows it.

    ``turnaround`` is how long after an event the tick comes that sees it, at the soonest.
    """

    def __init__(
        self,
        fleet: VirtualFleet,
        now: datetime,
        *,
        on_end: Callable[[VirtualRun, datetime], None],
        turnaround: timedelta = _NO_TIME,
    ) -> None:
        self.fleet = fleet
        self.now = now
        self.window = _NO_TIME
        self.turnaround = turnaround
        self.ticks = 0
        self._on_end = on_end
        self._events: list[tuple[datetime, int, Action]] = []
        self._ends: list[tuple[datetime, int]] = [(run.ends_at, run.seq) for run in fleet.runs.values()]
        heapq.heapify(self._ends)
        self._arrivals: Iterator[tuple[datetime, Action]] = iter(())
        self._arrival: tuple[datetime, Action] | None = None
        self._numbers = count()
        self._tick_at: datetime | None = now
        self._not_before = now
        self._poll = POLL
        self._stirred_at = now

    def at(self, moment: datetime, action: Action) -> None:
        """Have something happen at a time."""
        heapq.heappush(self._events, (moment, next(self._numbers), action))

    def feed(self, arrivals: Iterator[tuple[datetime, Action]]) -> None:
        """Have these happen, which come in the order of their times and are asked for one by one."""
        self._arrivals = arrivals
        self._arrival = next(arrivals, None)

    def step(self, until: datetime | None = None) -> Tick | None:
        """Pass time up to the next tick that may start something, and decide; None: no more by ``until``."""
        while True:
            moment = self._next_event()
            if self._tick_at is not None and (moment is None or self._tick_at < moment):
                moment = self._tick_at
                if until is not None and moment > until:
                    return None
                self.now, self._tick_at = moment, None
                if tick := self._tick():
                    return tick
            elif moment is None or (until is not None and moment > until):
                return None
            else:
                self._pass(moment)

    def _next_event(self) -> datetime | None:
        moment = self._ends[0][0] if self._ends else None
        if self._events and (moment is None or self._events[0][0] < moment):
            moment = self._events[0][0]
        if self._arrival is not None and (moment is None or self._arrival[0] < moment):
            moment = self._arrival[0]
        return moment

    def _pass(self, moment: datetime) -> None:
        """Let everything of one moment happen: ends first, then what was put off, then arrivals."""
        self.now = moment
        ends, runs = self._ends, self.fleet.runs
        while ends and ends[0][0] <= moment:
            run = runs.get(heapq.heappop(ends)[1])
            if run is not None:
                self.fleet.end(run, moment)
                self._on_end(run, moment)
        while self._events and self._events[0][0] <= moment:
            heapq.heappop(self._events)[2](moment)
        while self._arrival is not None and self._arrival[0] <= moment:
            self._arrival[1](moment)
            self._arrival = next(self._arrivals, None)
        self._poll, self._stirred_at = POLL, moment
        self._want(moment + self.turnaround)

    def _want(self, moment: datetime) -> None:
        """Have a tick at a time, or as soon after it as the pace allows."""
        if moment < self._not_before:
            moment = self._not_before
        if self._tick_at is None or moment < self._tick_at:
            self._tick_at = moment

    def _tick(self) -> Tick | None:
        now, fleet = self.now, self.fleet
        if not fleet.filled:
            return None
        lent = Lent(() if fleet.running_alone else fleet.ending(now + self.window), self.turnaround)
        if not any(fleet.free_slots(local=local) or lent.slots[local] for local in fleet.waiting_kinds()):
            return None
        snapshot, decision = fleet.plan(now, lent)
        runs = fleet.apply(snapshot, decision, now, lent)
        for run in runs:
            heapq.heappush(self._ends, (run.ends_at, run.seq))
        self.ticks += 1
        self._not_before = now + max(self.window, SHORTEST_PACE)
        if runs:
            self._poll, self._stirred_at = POLL, now
        if fleet.filled:
            self._look_again(decision.next_wake)
        return Tick(now=now, decision=decision, runs=tuple(runs))

    def _look_again(self, next_wake: datetime | None) -> None:
        """Have the next tick when a gate opens, and some before that, at ever longer intervals."""
        polls_at = self.now + self._poll
        self._poll = min(LONGEST_POLL, 2 * self._poll)
        if next_wake is not None:
            self._want(min(polls_at, next_wake))
        elif self.now - self._stirred_at < STUCK_AFTER:
            self._want(polls_at)
