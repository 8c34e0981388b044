"""Every gate of a plan, and what the plan has already taken through it. Pure.

A start takes units, request slots, caps, quota and its slot together or not at all; what was taken counts at
once for the next one. Within a plan nothing is given back, so a gate that closed stays closed.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from aifactory.resources.gates import ClientGate, Gate, Head, Lane, Snapshot, Wait
from aifactory.resources.interface import Hop, Urgency
from aifactory.resources.pool_plan import PoolPlan


class HopClosed(msgspec.Struct, frozen=True, kw_only=True):
    """Why a hop is closed, and when that may change, if anybody can say; ``name``: a pool or a provider.

    ``why``: a pool is gone, paused, dedicated or blocked; a provider has no_key, is off, tried or failing.
    """

    name: str
    why: str
    opens_at: datetime | None = None


class Admission:
    """The gates at work. Which hop a lane takes is asked once; the rest before each start."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self.snapshot = snapshot
        self.now = now
        self.pools = {name: PoolPlan(gate, now) for name, gate in snapshot.pools.items()}
        self.clients = dict(snapshot.clients)
        for lane in snapshot.lanes:
            if lane.client_id not in self.clients:
                self.clients[lane.client_id] = _missing(lane.client_id)
        self.client_running = {key: gate.running for key, gate in self.clients.items()}
        self.worker_running = {key: gate.running for key, gate in snapshot.workers.items()}
        self.probes = {key: gate.probes for key, gate in snapshot.providers.items()}
        self.slots = {True: snapshot.local_slots, False: snapshot.slots}
        self.all_here = all(gate.here for gate in snapshot.providers.values())
        self.quota_taken: dict[tuple[UUID, str], int] = {}
        self.started = 0

    # The hop: chosen for the whole lane by circuit, pause and block, never for lack of units.

    def choose_hop(self, lane: Lane) -> tuple[Hop | None, datetime | None]:
        """Return the first hop that is open, or when the first closed one may be.

        A lane that this process can't call at all stays in its pool, where it counts as waiting: another
        process starts it (``lane_gate`` keeps this one from it).
        """
        further: list[datetime] = []
        for pool in lane.further_pools:
            if (at := self._pool_opens(lane, pool)) is None:
                return None, None
            further.append(at)
        opens: list[datetime] = []
        hops = lane.hops if self.all_here else tuple(filter(self.is_here, lane.hops)) or lane.hops
        for hop in hops:
            own, provider = self._pool_opens(lane, hop.pool), self._provider_opens(hop)
            if own is None or provider is None:
                continue
            at = max(own, provider, *further)
            if at <= self.now:
                return hop, None
            opens.append(at)
        return None, min(opens, default=None)

    def is_here(self, hop: Hop) -> bool:
        """Whether this process can call a hop's provider."""
        gate = self.snapshot.providers.get(hop.provider)
        return gate is None or gate.here

    def _provider_opens(self, hop: Hop) -> datetime | None:
        """Return from when a provider may be called: now or later, or None when nobody can say."""
        gate = self.snapshot.providers.get(hop.provider)
        if gate is None:
            return self.now
        if not gate.active or self._probe_is_out(hop):
            return None
        return gate.opens_at if gate.opens_at and gate.opens_at > self.now else self.now

    def _probe_is_out(self, hop: Hop) -> bool:
        """Whether a half-open provider is being tried: its answer decides, nobody else may start there."""
        gate = self.snapshot.providers.get(hop.provider)
        return gate is not None and gate.half_open(self.now) and self.probes[hop.provider] > 0

    def _pool_opens(self, lane: Lane, pool: str) -> datetime | None:
        """Return from when a pool is open to a lane: now or later, or None when nobody can say."""
        there = self.pools.get(pool)
        if there is None or there.closed_to(lane.client_id):
            return None
        at = there.gate.blocked_until
        return at if at and at > self.now else self.now

    def hop_obstacles(self, lane: Lane) -> list[HopClosed]:
        """Return what closes each hop of a lane that has none, further pools first; see ``choose_hop``."""
        further = [closed for pool in lane.further_pools if (closed := self._pool_closed(lane, pool))]
        own = [self._pool_closed(lane, hop.pool) or self._provider_closed(hop) for hop in lane.hops]
        return list(dict.fromkeys([*further, *filter(None, own)]))

    def _pool_closed(self, lane: Lane, pool: str) -> HopClosed | None:
        there = self.pools.get(pool)
        if there is None:
            return HopClosed(name=pool, why="gone")
        if why := there.closed_to(lane.client_id):
            return HopClosed(name=pool, why=why)
        at = there.gate.blocked_until
        return HopClosed(name=pool, why="blocked", opens_at=at) if at and at > self.now else None

    def _provider_closed(self, hop: Hop) -> HopClosed | None:
        gate = self.snapshot.providers.get(hop.provider)
        if gate is None:
            return None
        if not gate.here:
            return HopClosed(name=hop.provider, why="no_key")
        if not gate.active:
            return HopClosed(name=hop.provider, why="off")
        if self._probe_is_out(hop):
            return HopClosed(name=hop.provider, why="tried")
        at = gate.opens_at
        return HopClosed(name=hop.provider, why="failing", opens_at=at) if at and at > self.now else None

    # The gates of a head.

    def blocked(self, lane: Lane, head: Head, hop: Hop) -> Wait | None:
        """Return the first closed gate of a lane's head, whole-lane gates first."""
        provider = self.snapshot.providers.get(hop.provider)
        if provider is not None and not provider.here:
            return _wait(lane, head, Gate.NO_HOP)
        if provider is not None and provider.opens_at is not None and self._probe_is_out(hop):
            return _wait(lane, head, *self._behind_probe(lane))
        if gate := self.lane_gate(lane):
            return _wait(lane, head, gate)
        if self.slots[lane.local] <= 0 or (lane.alone and not (self.snapshot.idle and not self.started)):
            return _wait(lane, head, Gate.SLOTS)
        draws = lane.draws(head, hop)
        return self.over_quota(lane, head, draws) or self._lacks_units(lane, head, draws)

    def _behind_probe(self, lane: Lane) -> tuple[Gate, datetime | None]:
        """A lane whose probe has just left has another hop at once, in the next plan, or waits for one."""
        hop, opens_at = self.choose_hop(lane)
        return Gate.NO_HOP, self.now if hop else opens_at

    def has_slots(self) -> bool:
        """Whether anything more can be started at all."""
        return any(left > 0 for left in self.slots.values())

    def may_start(self, lane: Lane) -> bool:
        """Whether a lane has a slot and no gate is closed to all of it, whatever its next head needs."""
        return self.slots[lane.local] > 0 and self.lane_gate(lane) is None

    def lane_gate(self, lane: Lane) -> Gate | None:
        """Return the first gate that is closed for the whole lane, in every process."""
        client = self.clients[lane.client_id]
        worker = self.snapshot.workers.get(lane.worker)
        if self.snapshot.queues[lane.queue].paused:
            return Gate.QUEUE_PAUSED
        if client.suspended:
            return Gate.CLIENT_SUSPENDED
        if self.client_running[lane.client_id] >= client.max_running:
            return Gate.CLIENT_CAP
        if worker is None or not worker.active:
            return Gate.WORKER_PAUSED
        if worker.max_running is not None and self.worker_running[lane.worker] >= worker.max_running:
            return Gate.WORKER_CAP
        return None

    def over_quota(self, lane: Lane, head: Head, draws: dict[str, int]) -> Wait | None:
        """Return the wait for a quota that a start would exceed; what takes nothing exceeds none.

        It opens when the last of the exceeded periods ends; never for more units than a whole period has.
        """
        if not self.snapshot.quotas:
            return None
        for pool, units in draws.items():
            used = self.quota_taken.get((lane.client_id, pool), 0) + units
            exceeded = [
                quota
                for quota in self.snapshot.quotas.get((lane.client_id, pool), ())
                if units and quota.units_used + used > quota.units_limit
            ]
            if exceeded:
                soon = all(units <= quota.units_limit for quota in exceeded)
                ends = max(quota.period_end for quota in exceeded)
                return _wait(lane, head, Gate.QUOTA, ends if soon else None, pool)
        return None

    def _lacks_units(self, lane: Lane, head: Head, draws: dict[str, int]) -> Wait | None:
        for name, units in draws.items():
            if self.pools[name].lacks(units, lane.urgency):
                opens_at = self.pools[name].units_at(units, lane.urgency)
                return _wait(lane, head, Gate.UNITS, opens_at, name)
        for name in draws:
            if (at := self.pools[name].request_at()) is not None:
                return _wait(lane, head, Gate.REQUESTS, at, name)
        return None

    # What a head is to its pools.

    def can_ever_start(self, lane: Lane, head: Head, hop: Hop) -> bool:
        """Whether only units are in the way, and every pool would have them if all others waited."""
        draws = lane.draws(head, hop)
        return (
            self.lane_gate(lane) is None
            and self.over_quota(lane, head, draws) is None
            and all(self.pools[name].can_hold(units, lane.urgency) for name, units in draws.items())
        )

    def note_urgent(self, lane: Lane, head: Head, hop: Hop) -> None:
        """Keep the reserve of every pool that an urgent head waits for, unless it could not start anyway."""
        if lane.urgency is Urgency.URGENT and self.can_ever_start(lane, head, hop):
            for name in (hop.pool, *lane.further_pools):
                self.pools[name].urgent_waits = True

    # Taking.

    def take(self, lane: Lane, head: Head, hop: Hop) -> None:
        """Charge every gate with a start."""
        for name, units in lane.draws(head, hop).items():
            self.pools[name].take(units)
            if self.snapshot.quotas:
                key = lane.client_id, name
                self.quota_taken[key] = self.quota_taken.get(key, 0) + units
        self.started += 1
        self.slots[lane.local] -= 1
        if lane.alone:
            self.slots = {True: 0, False: 0}
        self.probes[hop.provider] = self.probes.get(hop.provider, 0) + 1
        self.client_running[lane.client_id] += 1
        self.worker_running[lane.worker] = self.worker_running.get(lane.worker, 0) + 1


def _missing(client_id: UUID) -> ClientGate:
    """A client without a row can't be charged and starts nothing; its lanes stand in nobody's way."""
    return ClientGate(client_id=client_id, points=0, weight=1, max_running=0, suspended=True)


def _wait(
    lane: Lane, head: Head, gate: Gate, opens_at: datetime | None = None, pool: str | None = None
) -> Wait:
    return Wait(lane_id=lane.id, job_id=head.job_id, gate=gate, opens_at=opens_at, pool=pool)
