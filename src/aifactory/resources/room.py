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
from aifactory.resources.gate_words import (
    ANYBODY,
    Case,
    Closed,
    Listener,
    closed,
    no_hop,
    others_pools,
    scheduler_off,
)
from aifactory.resources.gates import Gate, Head, Lane, Snapshot, Wait, WorkerGate
from aifactory.resources.interface import Hop

_MOST_GATES = 50
_K = TypeVar("_K")


def closed_gates(
    snapshot: Snapshot,
    lane: Lane,
    head: Head,
    now: datetime,
    *,
    urgent: Collection[str] = (),
    to: Listener = ANYBODY,
) -> Iterator[Closed]:
    """Yield every gate that keeps a head now; none: it could start.

    ``urgent``: pools with urgent work. Nobody but the operator is told of a pool that is dedicated to
    another client.
    """
    if not snapshot.enabled:
        yield scheduler_off()
    untold = set() if to.operator else others_pools(snapshot, lane)
    admission = Admission(snapshot, now)
    hop, opens_at = admission.choose_hop(lane)
    if hop is None:
        hop = lane.hops[0]
        yield no_hop(admission, lane, opens_at, to)
        if not {hop.pool, *lane.further_pools} <= snapshot.pools.keys():  # one is gone: nothing to ask it
            return
        snapshot = _reachable(snapshot, lane)
    for _ in range(_MOST_GATES):
        admission = _admission(snapshot, now, urgent)
        wait = admission.blocked(lane, head, hop)
        if wait is None:
            return
        if wait.pool not in untold:
            yield closed(Case(admission=admission, lane=lane, head=head, hop=hop, wait=wait, to=to))
        snapshot = _opened(snapshot, lane, head, hop, wait)


def _admission(snapshot: Snapshot, now: datetime, urgent: Collection[str]) -> Admission:
    admission = Admission(snapshot, now)
    for name in admission.pools.keys() & set(urgent):
        admission.pools[name].urgent_waits = True
    return admission


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
