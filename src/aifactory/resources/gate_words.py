"""A closed gate in words: what a start needs there, what there is, and when it may open. Pure.

A client is told its own figures and those that all may read, like a pool's level; the operator, who sees all
clients' work, those of others too. Every span and level is as of the moment at which it is told.
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from aifactory.resources.admission import Admission, HopClosed
from aifactory.resources.buckets import MICRO, refilled
from aifactory.resources.gates import Gate, Head, Lane, QuotaGate, Snapshot, Wait
from aifactory.resources.interface import Hop
from aifactory.resources.pool_plan import PoolPlan
from aifactory.resources.spans import not_before, spoken, told_at, told_roughly

LANE_WIDE = frozenset(Gate) - {Gate.QUOTA, Gate.UNITS, Gate.REQUESTS, Gate.BIG_JOB}
"""The gates that are closed for every job of a lane alike."""
CAPS = frozenset({Gate.CLIENT_CAP, Gate.WORKER_CAP})
UNTIMED = frozenset(Gate) - CAPS - {Gate.SLOTS, Gate.REQUESTS, Gate.BIG_JOB}
"""The gates that nobody can time where they don't say themselves when they open."""


class Obstacle(StrEnum):
    """What keeps work from starting that is no gate of the scheduler."""

    TURN = "turn"
    NOT_DUE = "not_due"
    HELD = "held"
    FOLLOWING = "following"
    AT_PROVIDER = "at_provider"
    STARTING = "starting"
    RUNNING = "running"


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps a job: what a start needs there, what there is, and when it may open, if anybody can say.

    ``of_job_ahead``: it keeps the first job of the lane, which the told one is behind.
    """

    gate: Gate | Obstacle
    detail: str
    pool: str | None = None
    needed: int | None = None
    available: int | None = None
    opens_at: datetime | None = None
    of_job_ahead: bool = False


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The processes that may start something, and the slots that they have, free or not."""

    processes: int
    slots: int
    local_slots: int


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told, and when: ``now`` is what spans are counted from; None: when the gates were looked at.

    ``zone``: the client's, for its quotas. ``operator``: whoever may read of other clients' work.
    """

    now: datetime | None = None
    fleet: Fleet | None = None
    zone: str = "UTC"
    operator: bool = False


ANYBODY = Listener()


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A wait that is to be told, in the state of the gates in which it was found.

    ``big``: the lane of the pool's big job, where one keeps it.
    """

    admission: Admission
    lane: Lane
    head: Head
    hop: Hop
    wait: Wait
    to: Listener
    big: tuple[Lane, Head, Hop] | None = None

    @property
    def now(self) -> datetime:
        """Return the moment at which it is told."""
        return self.to.now or self.admission.now

    @property
    def pool(self) -> PoolPlan:
        """Return the pool that it waits for."""
        return self.admission.pools[self.wait.pool or self.hop.pool]

    @property
    def needed(self) -> int:
        """Return the units that a start takes from that pool."""
        return self.lane.draws(self.head, self.hop)[self.pool.gate.pool]


def scheduler_off() -> Closed:
    """Return what keeps everything while the scheduler is stopped."""
    return Closed(gate=Gate.SCHEDULER_OFF, detail="The operator has stopped the scheduler.")


def others_pools(snapshot: Snapshot, lane: Lane) -> set[str]:
    """Return the pools that are dedicated to other clients than the lane's."""
    owners = {name: gate.dedicated_client_id for name, gate in snapshot.pools.items()}
    return {name for name, owner in owners.items() if owner not in (None, lane.client_id)}


def no_hop(admission: Admission, lane: Lane, opens_at: datetime | None, to: Listener = ANYBODY) -> Closed:
    """Return what keeps a lane none of whose hops is open: one clause for each."""
    now = to.now or admission.now
    unnamed = set() if to.operator else others_pools(admission.snapshot, lane)
    clauses = [
        "one of its pools is not open to it" if one.name in unnamed else _hop_words(one, now)
        for one in admission.hop_obstacles(lane)
    ]
    return Closed(
        gate=Gate.NO_HOP,
        detail=f"None of its models can be called: {'; '.join(dict.fromkeys(clauses))}.",
        pool=next((hop.pool for hop in lane.hops if hop.pool not in unnamed), None),
        opens_at=not_before(now, opens_at),
    )


def closed(case: Case) -> Closed:
    """Return a closed gate with its figures and its words."""
    words, figures = _TOLD[case.wait.gate], _FIGURES.get(case.wait.gate)
    told = figures is not None and (case.to.operator or case.wait.gate not in _OF_ALL)
    needed, available = figures(case) if figures and told else (None, None)
    return Closed(
        gate=case.wait.gate,
        detail=words(case),
        pool=case.wait.pool,
        needed=needed,
        available=None if available is None else max(0, available),
        opens_at=not_before(case.now, case.wait.opens_at),
    )


# Figures: what is needed, what there is.


def _level_micro(pool: PoolPlan, now: datetime) -> int:
    """Return a pool's level at the moment at which it is told, if nothing has been taken since."""
    gate = pool.gate
    return refilled(
        pool.level_micro,
        capacity=gate.capacity,
        refill_per_second=gate.refill_per_second,
        since=pool.now,
        now=now,
    )


def _units_free(case: Case, lane: Lane, needed: int) -> int:
    """Return what there is of the units that a lane's job needs: all of them, or too few."""
    floor = case.pool.floor_micro(lane.urgency)
    return max(0, min(needed, (_level_micro(case.pool, case.now) - floor) // MICRO))


def _quotas(case: Case) -> list[tuple[QuotaGate, int]]:
    """Return the client's quotas of the pool, each with the units that are left of it."""
    key = case.lane.client_id, case.pool.gate.pool
    taken = case.admission.quota_taken.get(key, 0)
    quotas = case.admission.snapshot.quotas.get(key, ())
    return [(quota, quota.units_limit - quota.units_used - taken) for quota in quotas]


def _client_left(case: Case) -> int:
    client = case.lane.client_id
    return case.admission.clients[client].max_running - case.admission.client_running[client]


def _worker_left(case: Case) -> int:
    worker = case.lane.worker
    most = case.admission.snapshot.workers[worker].max_running or 0
    return most - case.admission.worker_running[worker]


_FIGURES: dict[Gate, Callable[[Case], tuple[int, int]]] = {
    Gate.CLIENT_CAP: lambda case: (1, _client_left(case)),
    Gate.WORKER_CAP: lambda case: (1, _worker_left(case)),
    Gate.SLOTS: lambda case: (1, case.admission.slots[case.lane.local]),
    Gate.QUOTA: lambda case: (case.needed, min(left for _, left in _quotas(case))),
    Gate.UNITS: lambda case: (case.needed, _units_free(case, case.lane, case.needed)),
    Gate.REQUESTS: lambda case: (1, case.pool.requests_micro // MICRO),
}

_OF_ALL = frozenset({Gate.WORKER_CAP, Gate.SLOTS})
"""The gates whose figures are all clients' running jobs, or the fleet."""

# Words.


def _no_hop_words(case: Case) -> str:
    """A lane whose provider can't be called here, or whose probe has just left."""
    opens, _ = case.admission.choose_hop(case.lane)
    if opens is None or opens == case.hop:
        return no_hop(case.admission, case.lane, None, case.to).detail
    return f"{case.hop.provider} is being tried by one call; it takes {opens.provider} in the next round."


def _hop_words(one: HopClosed, now: datetime) -> str:
    blocked_for = spoken(0.0 if one.opens_at is None else (one.opens_at - now).total_seconds())
    return {
        "gone": f"the pool {one.name} is gone",
        "paused": f"the pool {one.name} is paused",
        "dedicated": f"the pool {one.name} is another client's",
        "blocked": f"the pool {one.name} is blocked by its provider for {blocked_for}",
        "no_key": f"no process has the key of {one.name}",
        "off": f"{one.name} is switched off",
        "tried": f"{one.name} is being tried by one call",
        "failing": f"{one.name} fails, next try {told_at(one.opens_at or now, now)}",
    }[one.why]


def _cap_words(case: Case) -> str:
    client = case.lane.client_id
    taken = case.admission.client_running[client]
    run = _jobs_run(taken, " of this client", case.admission.clients[client].running)
    return f"{run}, and no more may at once."


def _worker_cap_words(case: Case) -> str:
    worker = case.lane.worker
    if not case.to.operator:
        return f"As many jobs of the worker {worker} run as may at once."
    taken = case.admission.worker_running[worker]
    run = _jobs_run(taken, f" of the worker {worker}", case.admission.snapshot.workers[worker].running)
    return f"{run}, and no more may at once."


def _jobs_run(taken: int, of: str, running: int) -> str:
    """Tell of places taken by jobs that run, or that the plan starts first."""
    jobs, run, start = ("job", "runs", "starts") if taken == 1 else ("jobs", "run", "start")
    return f"{taken:,} {jobs}{of} {run}" + ("" if taken == running else f" or {start} before it")


def _slots_words(case: Case) -> str:
    fleet, local = case.to.fleet, case.lane.local
    if fleet is not None and fleet.processes == 0:
        return "No process runs."
    if case.lane.alone and case.admission.slots[local] > 0:
        return "It has crashed twice and runs alone: it waits until a process does nothing else."
    of = " for local work" if local else ""
    if fleet is None:
        return f"All slots{of} are busy, or no process runs."
    snapshot = case.admission.snapshot
    free = (snapshot.local_slots if local else snapshot.slots) > 0
    if not case.to.operator:
        return f"All slots{of} are busy{' or go to jobs before it' if free else ''}."
    most = fleet.local_slots if local else fleet.slots
    of += " of 1 process" if fleet.processes == 1 else f" of {fleet.processes} processes"
    if most == 1:
        return f"The only slot{of} {'goes to a job before it' if free else 'is busy'}."
    return f"All {most:,} slots{of} are busy{' or go to jobs before it' if free else ''}."


def _quota_words(case: Case) -> str:
    """Tell the exceeded quota that ends last: it is the one that is waited for."""
    exceeded = [(quota, left) for quota, left in _quotas(case) if left < case.needed]
    quota, left = max(exceeded, key=lambda each: each[0].period_end)
    has = f"This client's {quota.period}'s quota of {case.pool.gate.pool} has {max(0, left):,}"
    most = min(quota.units_limit for quota, _ in exceeded)
    if most < case.needed:
        return f"{has} of the {case.needed:,} units needed, and never has more than {most:,}."
    ends = quota.period_end.astimezone(ZoneInfo(case.to.zone))
    anew = f"it starts anew on {ends:%Y-%m-%d at %H:%M} {case.to.zone}"
    return f"{has} of the {case.needed:,} units needed; {anew}."


def _units_words(case: Case) -> str:
    pool, urgency = case.pool, case.lane.urgency
    kept = max(0, min(_level_micro(pool, case.now), pool.floor_micro(urgency))) // MICRO
    reserve = f" ({kept:,} more are kept for urgent work)" if kept else ""
    free = _units_free(case, case.lane, case.needed)
    has = f"The {pool.gate.pool} pool has {free:,} of the {case.needed:,} units needed{reserve}"
    if (at := pool.units_at(case.needed, urgency)) is not None:
        return f"{has}; enough {told_at(at, case.now)}."
    never = (
        "it never holds so many: ask the operator" if pool.gate.refill_per_second else "nothing refills it"
    )
    return f"{has}; {never}."


def _request_words(case: Case) -> str:
    gate, at = case.pool.gate, case.pool.request_at() or case.now
    had = f"The {gate.pool} pool has had its {gate.requests_per_minute:,} requests of this minute"
    return f"{had}; the next {told_at(at, case.now)}."


def _big_job_words(case: Case) -> str:
    pool = case.pool
    if case.big is None:
        return f"The {pool.gate.pool} pool gathers units for a larger job."
    lane, head, hop = case.big
    units = lane.draws(head, hop)[pool.gate.pool]
    at = pool.units_at(units, lane.urgency)
    if not case.to.operator and lane.client_id != case.lane.client_id:
        saves = f"The {pool.gate.pool} pool saves up for a larger request that goes first"
        return f"{saves}." if at is None else f"{saves}; enough {told_roughly(at, case.now)}."
    waited = spoken((case.now - head.aged_from).total_seconds())
    gathers = f"The {pool.gate.pool} pool gathers {units:,} units for a larger job that has waited {waited}"
    has = f"{gathers}, and has {_units_free(case, lane, units):,}"
    return f"{has}." if at is None else f"{has}; enough {told_at(at, case.now)}."


_TOLD: dict[Gate, Callable[[Case], str]] = {
    Gate.SCHEDULER_OFF: lambda case: scheduler_off().detail,
    Gate.NO_HOP: _no_hop_words,
    Gate.QUEUE_PAUSED: lambda case: f"The operator has paused the queue {case.lane.queue}.",
    Gate.CLIENT_SUSPENDED: lambda case: "The operator has suspended this client.",
    Gate.CLIENT_CAP: _cap_words,
    Gate.WORKER_PAUSED: lambda case: f"The worker {case.lane.worker} is not active.",
    Gate.WORKER_CAP: _worker_cap_words,
    Gate.SLOTS: _slots_words,
    Gate.QUOTA: _quota_words,
    Gate.UNITS: _units_words,
    Gate.REQUESTS: _request_words,
    Gate.BIG_JOB: _big_job_words,
}
