"""A fleet in memory: lanes, pools, usage, quotas and runs, decided on by the policy itself. Pure.

It makes the snapshot that a tick would load, takes the decision as a tick would write it, and ends runs as
settle does. Who lets time pass is ``clock``.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self, TypeVar
from uuid import UUID

import msgspec

from aifactory.resources import effects
from aifactory.resources.gates import (
    ClientGate,
    Decision,
    PoolGate,
    ProviderGate,
    QueueGate,
    Snapshot,
    Start,
    UsageGate,
    WorkerGate,
)
from aifactory.resources.policy import Plan
from aifactory.resources.virtual.lanes import LaneKey, VirtualLane, Work
from aifactory.resources.virtual.levels import Fading, VirtualPool, VirtualQuotas, VirtualUsage, quota_of
from aifactory.resources.virtual.runs import Lent, VirtualRun

_Gate = TypeVar("_Gate", ClientGate, WorkerGate, UsageGate)
_NOTHING_LENT = Lent((), timedelta())


class Controls(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator sets; running jobs in these gates count no run of the fleet's own."""

    queues: Mapping[str, QueueGate]
    pools: Sequence[PoolGate]
    clients: Sequence[ClientGate]
    workers: Sequence[WorkerGate]
    providers: Sequence[ProviderGate] = ()
    slots: int
    local_slots: int
    enabled: bool = True


class VirtualFleet:
    """One virtual process with all the slots of a fleet."""

    def __init__(self, controls: Controls, now: datetime) -> None:
        self.slots = {False: controls.slots, True: controls.local_slots}
        self.enabled = controls.enabled
        self.start_seq = 0
        self.queues = dict(controls.queues)
        self.pools = {gate.pool: VirtualPool(gate, now) for gate in controls.pools}
        self.clients = {gate.client_id: gate for gate in controls.clients}
        self.workers = {gate.worker: gate for gate in controls.workers}
        self.providers = {gate.provider: gate for gate in controls.providers}
        self.usage: dict[tuple[UUID, str], VirtualUsage] = {}
        self.quotas = VirtualQuotas()
        self.lanes: dict[LaneKey, VirtualLane] = {}
        self.filled: dict[int, VirtualLane] = {}
        self.runs: dict[int, VirtualRun] = {}
        self.running = {False: 0, True: 0}
        self.running_alone = 0
        self._running_of: defaultdict[UUID, int] = defaultdict(int)
        self._running_at: defaultdict[str, int] = defaultdict(int)

    @classmethod
    def of(cls, snapshot: Snapshot, now: datetime) -> Self:
        """Return a fleet at the gates of a snapshot, without jobs and runs: ``add`` and ``run`` them."""
        controls = Controls(
            queues=snapshot.queues,
            pools=tuple(snapshot.pools.values()),
            clients=[_idle(gate) for gate in snapshot.clients.values()],
            workers=[_idle(gate) for gate in snapshot.workers.values()],
            providers=tuple(snapshot.providers.values()),
            slots=snapshot.slots,
            local_slots=snapshot.local_slots,
            enabled=snapshot.enabled,
        )
        fleet = cls(controls, now)
        fleet.start_seq = snapshot.start_seq
        fleet.usage = {key: VirtualUsage(now, _idle(gate)) for key, gate in snapshot.usage.items()}
        for (client_id, pool), gates in snapshot.quotas.items():
            for gate in gates:
                fleet.quotas.add(quota_of(client_id, pool, gate), "UTC")
        return fleet

    # Filling.

    def lane(self, key: LaneKey, lane_id: int | None = None) -> VirtualLane:
        """Return a lane, opened if need be, under an id that ties between lanes are broken by."""
        found = self.lanes.get(key)
        if found is None:
            found = self.lanes[key] = VirtualLane(len(self.lanes) + 1 if lane_id is None else lane_id, key)
        return found

    def add(self, lane: VirtualLane, work: Work) -> None:
        """Queue a job."""
        lane.add(work)
        self.filled[lane.id] = lane

    def run(self, run: VirtualRun) -> None:
        """Have a run that has started, and count it at every gate but units and quota, which it has taken."""
        key = run.lane.key
        self.runs[run.seq] = run
        self._count(run, 1)
        self.start_seq = max(self.start_seq, run.seq)
        self._usage(key.client_id, run.hop.pool, run.planned_at).running += 1

    def remove(self, lanes: Iterable[VirtualLane], unwanted: Callable[[Work], bool]) -> list[Work]:
        """Take queued jobs out, wherever they stand in these lanes, and return them."""
        removed = []
        for lane in lanes:
            removed += lane.remove(unwanted)
            if not len(lane):
                self.filled.pop(lane.id, None)
        return removed

    # Looking.

    def waiting_kinds(self) -> set[bool]:
        """Return whether local work waits, and other work."""
        return {lane.key.local for lane in self.filled.values()}

    def free_slots(self, *, local: bool) -> int:
        """Return how many more jobs may start; none beside a job that runs alone."""
        return 0 if self.running_alone else max(0, self.slots[local] - self.running[local])

    def ending(self, until: datetime) -> list[VirtualRun]:
        """Return the runs that end by a time, in that order."""
        return sorted(
            (run for run in self.runs.values() if run.ends_at <= until),
            key=lambda run: (run.ends_at, run.seq),
        )

    def snapshot(self, now: datetime, lent: Lent | None = None) -> Snapshot:
        """Return what a tick would load; ``lent``: slots and caps of runs that are about to end, too."""
        lent = lent or _NOTHING_LENT
        self._count_runs(lent)
        fading = Fading(now)
        order = sorted(self.filled)
        return Snapshot(
            lanes=tuple([self.filled[lane_id].loaded() for lane_id in order]),
            pools={name: pool.at(now) for name, pool in self.pools.items()},
            queues=self.queues,
            clients=dict(self.clients),
            workers=dict(self.workers),
            usage={key: usage.at(fading) for key, usage in self.usage.items()},
            slots=self.free_slots(local=False) + lent.slots[False],
            local_slots=self.free_slots(local=True) + lent.slots[True],
            idle=not self.runs,
            start_seq=self.start_seq,
            enabled=self.enabled,
            providers=self.providers,
            quotas=self.quotas.at(now) if self.quotas else {},
        )

    def plan(self, now: datetime, lent: Lent | None = None) -> tuple[Snapshot, Decision]:
        """Decide as a tick does: lanes that run dry while slots are left are loaded deeper."""
        snapshot = self.snapshot(now, lent)
        plan = Plan(snapshot, now)
        while dry := plan.advance():
            for lane_id in dry:
                self.filled[lane_id].depth *= 4
            plan.deepen(dry, [self.filled[lane_id].loaded() for lane_id in dry])
        return snapshot, plan.decide()

    # Deciding and ending.

    def apply(
        self, snapshot: Snapshot, decision: Decision, now: datetime, lent: Lent | None = None
    ) -> list[VirtualRun]:
        """Start what was decided, each when its slot is free, and change what a tick changes."""
        for after in effects.pool_changes(decision, snapshot, decision.starts, now):
            self.pools[after.pool].take(after)
        for usage in effects.usage_changes(decision, snapshot, decision.starts):
            self._usage(usage.client_id, usage.pool, now).take(usage, now)
        if self.quotas:
            self.quotas.take(effects.quota_changes(snapshot, decision.starts))
        runs = [self._start(start, now, lent) for start in decision.starts]
        if runs:
            self.start_seq = runs[-1].seq
        return runs

    def _start(self, start: Start, now: datetime, lent: Lent | None) -> VirtualRun:
        lane = self.filled[start.lane.id]
        work = lane.take(start.head)
        if not len(lane):
            del self.filled[lane.id]
        begins = self._begin(lane.key, now, lent) if lent else now
        run = VirtualRun(
            work=work,
            lane=lane,
            hop=start.hop,
            units=start.head.units,
            seq=start.seq,
            by=start.by,
            planned_at=now,
            started_at=begins,
            ends_at=begins + timedelta(seconds=work.seconds),
        )
        self.runs[run.seq] = run
        self._count(run, 1)
        self.usage[lane.key.client_id, start.hop.pool].running += 1
        return run

    def _begin(self, key: LaneKey, now: datetime, lent: Lent) -> datetime:
        most, most_here = self.clients[key.client_id].max_running, self.workers[key.worker].max_running
        return lent.begin(
            key,
            now,
            slot=self.running[key.local] < self.slots[key.local],
            client=self._running_of.get(key.client_id, 0) < most,
            worker=most_here is None or self._running_at.get(key.worker, 0) < most_here,
        )

    def end(self, run: VirtualRun, now: datetime) -> None:
        """End a run: its slot and caps are free, and what its estimate was too high by comes back."""
        del self.runs[run.seq]
        self._count(run, -1)
        client_id, pool = run.lane.key.client_id, run.hop.pool
        usage = self.usage[client_id, pool]
        usage.running -= 1
        used = run.work.used
        if used is None:
            return
        if used != run.units:
            self.pools[pool].give_back(run.units - used, now)
            usage.correct(max(1, used) - max(1, run.units))
            if self.quotas:
                self.quotas.correct(client_id, pool, run.planned_at, used - run.units)

    def _count(self, run: VirtualRun, change: int) -> None:
        key = run.lane.key
        self.running[key.local] += change
        if key.alone:
            self.running_alone += change
        self._running_of[key.client_id] += change
        self._running_at[key.worker] += change

    def _count_runs(self, lent: Lent) -> None:
        """Bring the gates of clients and workers up to their running jobs, but for those about to end."""
        for name, count in self._running_of.items():
            client, running = self.clients.get(name), count - lent.by_client[name]
            if client is not None and client.running != running:
                self.clients[name] = ClientGate(
                    client_id=client.client_id,
                    points=client.points,
                    weight=client.weight,
                    max_running=client.max_running,
                    running=running,
                    suspended=client.suspended,
                )
        for name_, count in self._running_at.items():
            worker, running = self.workers.get(name_), count - lent.by_worker[name_]
            if worker is not None and worker.running != running:
                self.workers[name_] = msgspec.structs.replace(worker, running=running)

    def _usage(self, client_id: UUID, pool: str, now: datetime) -> VirtualUsage:
        found = self.usage.get((client_id, pool))
        if found is None:
            found = self.usage[client_id, pool] = VirtualUsage(now)
        return found


def _idle(gate: _Gate) -> _Gate:
    return msgspec.structs.replace(gate, running=0)
