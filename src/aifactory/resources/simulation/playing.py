"""Playing a workload: executions come, jobs run, what follows opens, money is held and paid. Pure."""

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import msgspec

from aifactory.kernel.money import NANO_PER_USD
from aifactory.resources.gates import Head, ProviderGate, WorkerGate
from aifactory.resources.interface import Hop
from aifactory.resources.pricing import Price
from aifactory.resources.simulation.ground import (
    Ground,
    client_ids,
    fleet_of,
    price_of_pool,
    quick_id,
)
from aifactory.resources.simulation.leftover import Left, left_over
from aifactory.resources.simulation.observing import Observer
from aifactory.resources.simulation.tasks import Attempt, Call, Step, Task
from aifactory.resources.virtual.clock import Clock, Tick
from aifactory.resources.virtual.lanes import LaneKey, VirtualLane, Work
from aifactory.resources.virtual.money import VirtualBudget
from aifactory.resources.virtual.runs import VirtualRun

FINEST_WINDOW = timedelta(milliseconds=10)
_WINDOW_OF_WAIT, _WINDOW_OF_RUN, _WINDOW_OF_FILL = 0.02, 0.5, 0.25
_RECENT = 0.02


class _Job(msgspec.Struct, kw_only=True, gc=False):
    """A job under way."""

    call: Call
    task: "_Under"
    attempt: int = 0


class _Under(msgspec.Struct, kw_only=True):
    """An execution under way."""

    task: Task
    lanes: dict[int, VirtualLane]
    open_jobs: int
    held_nano: int
    ended: bool = False


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """What a play has shown; ``windows``: the paces at which it was played."""

    ground: Ground
    observer: Observer
    budgets: dict[UUID, VirtualBudget]
    executions: int
    jobs: int
    refused: int
    given_up: int
    unfinished: int
    left: list[Left]
    ended_at: datetime
    ticks: int
    windows: list[timedelta]


class Player:
    """Plays tasks on a ground. ``window`` None: as wide as hardly matters (``docs/simulator.md``)."""

    def __init__(self, ground: Ground, tasks: Iterator[Task], *, window: timedelta | None = None) -> None:
        self.ground = ground
        self.fleet = fleet_of(ground)
        self.observer = Observer(ground.run.start, ground.run.hours)
        self.clock = Clock(
            self.fleet,
            ground.run.start,
            on_end=self._end,
            turnaround=timedelta(milliseconds=ground.run.turnaround_ms),
        )
        self.clock.feed((task.arrives_at, partial(self._submit, task)) for task in tasks)
        self.prices = {name: price_of_pool(spec, ground.run.start) for name, spec in ground.pools.items()}
        self.budgets = _budgets(ground)
        self.executions = self.jobs = self.refused = self.given_up = self.unfinished = 0
        self._window = window
        self._windows: deque[timedelta] = deque(maxlen=100_000)
        self._recent_wait = self._recent_run = 0.0
        self._seq = 0
        self._plan_outages()
        fills = [
            spec.capacity / spec.refill_per_second for spec in ground.pools.values() if spec.refill_per_second
        ]
        self._widest = _WINDOW_OF_FILL * min(fills, default=1.0)

    def play(self) -> Played:
        """Play to the end: of the time, or of the work where the run is to drain."""
        run = self.ground.run
        until = None if run.drain else run.start + timedelta(hours=run.hours)
        while tick := self.clock.step(until):
            self._see(tick)
        ended_at = self.clock.now if until is None else until
        return Played(
            ground=self.ground,
            observer=self.observer,
            budgets=self.budgets,
            executions=self.executions,
            jobs=self.jobs,
            refused=self.refused,
            given_up=self.given_up,
            unfinished=self.unfinished,
            left=left_over(self.ground, self.fleet, ended_at),
            ended_at=ended_at,
            ticks=self.clock.ticks,
            windows=sorted(self._windows),
        )

    # Ticks.

    def _see(self, tick: Tick) -> None:
        waited = self.observer.see_tick(tick, self.fleet)
        if count := len(tick.runs):
            ran = sum([run.work.seconds for run in tick.runs]) / count
            part = 1.0 - (1.0 - _RECENT) ** count
            self._recent_wait += part * (waited / count - self._recent_wait)
            self._recent_run += part * (ran - self._recent_run)
        self.clock.window = self._next_window()
        self._windows.append(self.clock.window)

    def _next_window(self) -> timedelta:
        """Return how far apart ticks may be: a small part of the waits, of the runs, of a pool's filling."""
        if self._window is not None:
            return self._window
        seconds = min(_WINDOW_OF_WAIT * self._recent_wait, _WINDOW_OF_RUN * self._recent_run, self._widest)
        return max(FINEST_WINDOW, timedelta(seconds=seconds))

    def _plan_outages(self) -> None:
        for outage in self.ground.outages:
            down = ProviderGate(provider=outage.provider, opens_at=outage.until)
            up = ProviderGate(provider=outage.provider)
            self.clock.at(outage.since, partial(self._set_provider, down))
            self.clock.at(outage.until, partial(self._set_provider, up))

    def _set_provider(self, gate: ProviderGate, _: datetime) -> None:
        self.fleet.providers[gate.provider] = gate

    # Work.

    def _submit(self, task: Task, now: datetime) -> None:
        """Hold the worst case of an execution, or refuse it; open its first jobs, now or when it is due."""
        self.executions += 1
        if not self.budgets[task.client_id].hold(task.hold_nano, now):
            self.refused += 1
            return
        self.unfinished += 1
        self.jobs += task.calls
        under = _Under(task=task, lanes={}, open_jobs=task.calls, held_nano=task.hold_nano)
        if task.ages_from > now:
            self.clock.at(task.ages_from, partial(self._open, under, task.first))
        else:
            self._open(under, task.first, now)
        for moment, calls in task.later:
            self.clock.at(moment, partial(self._open, under, calls))
        if task.ends_at is not None:
            self.clock.at(task.ends_at, partial(self._give_up, under))

    def _open(self, under: _Under, calls: list[Call], now: datetime) -> None:
        for call in calls:
            if not under.ended:
                self._queue(_Job(call=call, task=under), now)

    def _queue(self, job: _Job, now: datetime) -> None:
        if job.task.ended:
            return  # a retry of work that was given up while it rested
        call, task = job.call, job.task.task
        step, attempt = call.step, call.attempts[job.attempt]
        lane = job.task.lanes.get(id(step)) or self._lane(job.task, step)
        self._seq += 1
        head = Head(
            job_id=quick_id(self._seq),
            aged_from=task.ages_from,
            seq=self._seq,
            units=step.units,
            needs=step.needs,
            attempt=job.attempt + 1,
        )
        usage = attempt.usage
        used = None if usage is None else usage.input_units + usage.output_units
        self.fleet.add(lane, Work(head=head, seconds=attempt.seconds, used=used, ready_at=now, owner=job))

    def _lane(self, under: _Under, step: Step) -> VirtualLane:
        """Return the lane of an execution's jobs of one kind; found once, for that takes its time."""
        task = under.task
        key = LaneKey(
            step.hops, step.worker, task.queue, task.client_id, task.urgency, step.further_pools, step.local
        )
        if step.worker not in self.fleet.workers:
            self.fleet.workers[step.worker] = WorkerGate(worker=step.worker)
        lane = under.lanes[id(step)] = self.fleet.lane(key)
        return lane

    def _end(self, run: VirtualRun, now: datetime) -> None:
        """Pay an attempt; queue the next, or finish the job and open what follows it."""
        job = run.work.owner
        assert isinstance(job, _Job)
        under, attempt = job.task, job.call.attempts[job.attempt]
        cost = self._cost(attempt, run.hop)
        self.observer.see_end(run, now, cost)
        under.held_nano -= (held := min(cost, under.held_nano))
        self.budgets[under.task.client_id].pay(cost, held=held)
        if attempt.retry_seconds is not None and not under.ended:
            job.attempt += 1
            self.clock.at(now + timedelta(seconds=attempt.retry_seconds), partial(self._queue, job))
            return
        for opening in job.call.opens:
            opening.waits_for -= 1
            if opening.waits_for == 0:
                self._open(under, opening.calls, now)
        under.open_jobs -= 1
        if under.open_jobs == 0 and not under.ended:
            self._close(under)
            self.observer.see_finished(under.task.client_id, (now - under.task.arrives_at).total_seconds())

    def _cost(self, attempt: Attempt, hop: Hop) -> int:
        if attempt.usage is None:
            return 0
        price: Price = attempt.price if attempt.price and attempt.hop == hop else self.prices[hop.pool]
        return price.cost_of(attempt.usage)

    def _close(self, under: _Under) -> None:
        """End an execution and give back what is still held."""
        under.ended = True
        self.unfinished -= 1
        self.budgets[under.task.client_id].pay(0, held=under.held_nano)
        under.held_nano = 0

    def _give_up(self, under: _Under, _: datetime) -> None:
        """End an execution that was cancelled or ran out of time: what waits goes, what runs is paid.

        It has no turnaround: nobody waited for its end.
        """
        if under.ended:
            return
        for lane in under.lanes.values():
            self.fleet.remove([lane], lambda work: work.owner.task is under)  # type: ignore[attr-defined]
        self.given_up += 1
        self._close(under)


def _budgets(ground: Ground) -> dict[UUID, VirtualBudget]:
    ids, budgets = client_ids(ground), {}
    for spec in ground.clients:
        tier = ground.tier(spec.tier)
        usd = tier.monthly_budget_usd if spec.budget_usd is None else spec.budget_usd
        limit = None if usd is None else int(usd * NANO_PER_USD)
        for name in spec.names:
            budgets[ids[name]] = VirtualBudget(limit_nano=limit, time_zone=spec.time_zone)
    return budgets  # type: ignore[return-value]
