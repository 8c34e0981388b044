"""Whether there is room for work now: every gate that would keep it, by the live rules. Pure.

The scheduler asks for the first closed gate only. Here each gate that is found closed is taken for open and
the question asked again, until nothing is in the way. Nobody else is taken to wait, so this is no promise.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from aifactory.resources.admission import Admission
from aifactory.resources.buckets import MICRO
from aifactory.resources.gates import Gate, Head, Lane, Snapshot, Wait, WorkerGate
from aifactory.resources.interface import Hop

_MOST_GATES = 50
_K = TypeVar("_K")

_WORDS = {
    Gate.SCHEDULER_OFF: "The operator has stopped the scheduler.",
    Gate.QUEUE_PAUSED: "The operator has paused the queue {queue}.",
    Gate.CLIENT_SUSPENDED: "The operator has suspended this client.",
    Gate.CLIENT_CAP: "As many jobs of this client run as may.",
    Gate.WORKER_PAUSED: "The worker {worker} is not active.",
    Gate.WORKER_CAP: "As many jobs run on the worker {worker} as may.",
    Gate.NO_HOP: "None of its models can be called now: a pool is paused, or a provider is not reachable.",
    Gate.UNITS: "Pool {pool} has too few units free.",
    Gate.REQUESTS: "Pool {pool} has had its requests for this minute.",
    Gate.QUOTA: "The quota of pool {pool} for this period does not allow it.",
    Gate.SLOTS: "All processes are busy, or none runs.",
}


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """A closed gate: what a start needs there, what there is, and when it may open, if anybody can say."""

    gate: Gate
    detail: str
    pool: str | None = None
    needed: int | None = None
    available: int | None = None
    opens_at: datetime | None = None


def closed_gates(
    snapshot: Snapshot, lane: Lane, head: Head, now: datetime, *, urgent: Collection[str] = ()
) -> list[Closed]:
    """Return every gate that keeps a head now; none: it could start. ``urgent``: pools with urgent work."""
    return list(_closed_gates(snapshot, lane, head, now, urgent))


def _closed_gates(
    snapshot: Snapshot, lane: Lane, head: Head, now: datetime, urgent: Collection[str]
) -> Iterator[Closed]:
    if not snapshot.enabled:
        yield _told(Gate.SCHEDULER_OFF, lane)
    hop, opens_at = Admission(snapshot, now).choose_hop(lane)
    if hop is None:
        hop = lane.hops[0]
        yield _told(Gate.NO_HOP, lane, pool=hop.pool, opens_at=opens_at)
        snapshot = _reachable(snapshot, lane)
    for _ in range(_MOST_GATES):
        admission = Admission(snapshot, now)
        for name in urgent:
            if name in admission.pools:
                admission.pools[name].urgent_waits = True
        wait = admission.blocked(lane, head, hop)
        if wait is None:
            return
        yield _explained(admission, lane, head, hop, wait)
        snapshot = _opened(snapshot, lane, head, hop, wait)


def _explained(admission: Admission, lane: Lane, head: Head, hop: Hop, wait: Wait) -> Closed:
    """Say what a start needs at a closed gate and what there is."""
    needed: int | None = 1
    available: int | None = None
    snapshot, pool = admission.snapshot, wait.pool
    if wait.gate is Gate.CLIENT_CAP:
        client = admission.clients[lane.client_id]
        available = client.max_running - client.running
    elif wait.gate is Gate.WORKER_CAP:
        worker = snapshot.workers[lane.worker]
        available = (worker.max_running or 0) - worker.running
    elif wait.gate is Gate.SLOTS:
        available = admission.slots[lane.local]
    elif wait.gate is Gate.REQUESTS and pool is not None:
        available = admission.pools[pool].requests_micro // MICRO
    elif wait.gate in (Gate.UNITS, Gate.QUOTA) and pool is not None:
        needed = lane.draws(head, hop)[pool]
        quotas = snapshot.quotas.get((lane.client_id, pool), ())
        plan = admission.pools[pool]
        available = (
            (plan.level_micro - plan.floor_micro(lane.urgency)) // MICRO
            if wait.gate is Gate.UNITS
            else min(quota.units_limit - quota.units_used for quota in quotas)
        )
    else:
        needed = None
    return _told(
        wait.gate,
        lane,
        pool=pool,
        needed=needed,
        available=None if available is None else max(0, available),
        opens_at=wait.opens_at,
    )


def _told(gate: Gate, lane: Lane, *, pool: str | None = None, **figures: Any) -> Closed:
    words = _WORDS.get(gate, "This gate is closed.")
    return Closed(
        gate=gate,
        detail=words.format(queue=lane.queue, worker=lane.worker, pool=pool),
        pool=pool,
        **figures,
    )


# A snapshot in which one gate is open.


def _opened(snapshot: Snapshot, lane: Lane, head: Head, hop: Hop, wait: Wait) -> Snapshot:
    change = msgspec.structs.replace
    pools, clients, queues = snapshot.pools, snapshot.clients, snapshot.queues
    if wait.gate is Gate.QUEUE_PAUSED:
        return change(snapshot, queues=_with(queues, lane.queue, paused=False))
    if wait.gate is Gate.CLIENT_SUSPENDED:
        return change(snapshot, clients=_with(clients, lane.client_id, suspended=False))
    if wait.gate is Gate.CLIENT_CAP:
        return change(snapshot, clients=_with(clients, lane.client_id, running=0, max_running=1))
    if wait.gate in (Gate.WORKER_PAUSED, Gate.WORKER_CAP):
        return change(snapshot, workers={lane.worker: WorkerGate(worker=lane.worker)})
    if wait.gate is Gate.SLOTS:
        return change(snapshot, slots=1, local_slots=1, idle=True)
    if wait.gate is Gate.QUOTA and wait.pool is not None:
        kept = {key: value for key, value in snapshot.quotas.items() if key != (lane.client_id, wait.pool)}
        return change(snapshot, quotas=kept)
    if wait.gate is Gate.UNITS and wait.pool is not None:
        units = lane.draws(head, hop)[wait.pool]
        full = _with(pools, wait.pool, capacity=units, level_micro=units * MICRO, reserved_percent=0)
        return change(snapshot, pools=full)
    if wait.gate is Gate.REQUESTS and wait.pool is not None:
        return change(snapshot, pools=_with(pools, wait.pool, requests_per_minute=None))
    return _reachable(snapshot, lane)


def _reachable(snapshot: Snapshot, lane: Lane) -> Snapshot:
    """Return a snapshot in which every pool of a lane is open to it and every provider answers."""
    pools = snapshot.pools
    for name in {hop.pool for hop in lane.hops} | set(lane.further_pools):
        if name in pools:
            pools = _with(pools, name, paused=False, blocked_until=None, dedicated_client_id=None)
    return msgspec.structs.replace(snapshot, pools=pools, providers={})


def _with(gates: Mapping[_K, Any], key: _K, **changes: Any) -> dict[_K, Any]:
    return {**gates, key: msgspec.structs.replace(gates[key], **changes)}
