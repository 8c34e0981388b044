"""A closed gate in words: what a start needs there, what there is, and when it may open. Pure.

A client is told its own figures and those that all may read, like a pool's level; the operator, who sees all
clients' work, those of others too.
"""

import math
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from aifactory.resources.admission import Admission, HopClosed
from aifactory.resources.buckets import MICRO
from aifactory.resources.gates import Gate, Head, Lane, QuotaGate, Snapshot, Wait
from aifactory.resources.interface import Hop
from aifactory.resources.pool_plan import PoolPlan

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


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A wait that is to be told, in the state of the gates in which it was found.

    ``big``: the lane of the pool's big job, where one keeps it. ``zone``: the client's, for its quotas.
    ``operator``: it is told to whoever may read of other clients' work.
    """

    admission: Admission
    lane: Lane
    head: Head
    hop: Hop
    wait: Wait
    fleet: Fleet | None = None
    big: tuple[Lane, Head, Hop] | None = None
    zone: str = "UTC"
    operator: bool = False

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


def no_hop(admission: Admission, lane: Lane, opens_at: datetime | None, *, operator: bool = False) -> Closed:
    """Return what keeps a lane none of whose hops is open: one clause for each."""
    unnamed = set() if operator else others_pools(admission.snapshot, lane)
    obstacles = admission.hop_obstacles(lane)
    clauses = [
        "one of its pools is not open to it" if one.name in unnamed else _hop_words(one, admission.now)
        for one in obstacles
    ]
    return Closed(
        gate=Gate.NO_HOP,
        detail=f"None of its models can be called: {'; '.join(dict.fromkeys(clauses))}.",
        pool=next((hop.pool for hop in lane.hops if hop.pool not in unnamed), None),
        opens_at=opens_at,
    )


def closed(asked: Asked) -> Closed:
    """Return a closed gate with its figures and its words."""
    words, figures = _TOLD[asked.wait.gate], _FIGURES.get(asked.wait.gate)
    told = figures is not None and (asked.operator or asked.wait.gate not in _OF_ALL)
    needed, available = figures(asked) if figures and told else (None, None)
    return Closed(
        gate=asked.wait.gate,
        detail=words(asked),
        pool=asked.wait.pool,
        needed=needed,
        available=None if available is None else max(0, available),
        opens_at=asked.wait.opens_at,
    )


# Figures: what is needed, what there is.


def _units_free(pool: PoolPlan, lane: Lane) -> int:
    return (pool.level_micro - pool.floor_micro(lane.urgency)) // MICRO


def _quotas(asked: Asked) -> list[tuple[QuotaGate, int]]:
    """Return the client's quotas of the pool, each with the units that are left of it."""
    key = asked.lane.client_id, asked.pool.gate.pool
    taken = asked.admission.quota_taken.get(key, 0)
    quotas = asked.admission.snapshot.quotas.get(key, ())
    return [(quota, quota.units_limit - quota.units_used - taken) for quota in quotas]


def _client_left(asked: Asked) -> int:
    client = asked.lane.client_id
    return asked.admission.clients[client].max_running - asked.admission.client_running[client]


def _worker_left(asked: Asked) -> int:
    worker = asked.lane.worker
    most = asked.admission.snapshot.workers[worker].max_running or 0
    return most - asked.admission.worker_running[worker]


_FIGURES: dict[Gate, Callable[[Asked], tuple[int, int]]] = {
    Gate.CLIENT_CAP: lambda asked: (1, _client_left(asked)),
    Gate.WORKER_CAP: lambda asked: (1, _worker_left(asked)),
    Gate.SLOTS: lambda asked: (1, asked.admission.slots[asked.lane.local]),
    Gate.QUOTA: lambda asked: (asked.needed, min(left for _, left in _quotas(asked))),
    Gate.UNITS: lambda asked: (asked.needed, _units_free(asked.pool, asked.lane)),
    Gate.REQUESTS: lambda asked: (1, asked.pool.requests_micro // MICRO),
}

_ROUGH = (5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400)
_OF_ALL = frozenset({Gate.WORKER_CAP, Gate.SLOTS})
"""The gates whose figures are all clients' running jobs, or the fleet."""

# Words.


def _no_hop_words(asked: Asked) -> str:
    """A lane whose provider can't be called here, or whose probe has just left."""
    opens, _ = asked.admission.choose_hop(asked.lane)
    if opens is None or opens == asked.hop:
        return no_hop(asked.admission, asked.lane, None, operator=asked.operator).detail
    return f"{asked.hop.provider} is being tried by one call; it takes {opens.provider} in the next round."


def _hop_words(one: HopClosed, now: datetime) -> str:
    seconds = 0.0 if one.opens_at is None else (one.opens_at - now).total_seconds()
    return {
        "gone": f"the pool {one.name} is gone",
        "paused": f"the pool {one.name} is paused",
        "dedicated": f"the pool {one.name} is another client's",
        "blocked": f"the pool {one.name} is blocked by its provider for {spoken(seconds)}",
        "no_key": f"no process has the key of {one.name}",
        "off": f"{one.name} is switched off",
        "tried": f"{one.name} is being tried by one call",
        "failing": f"{one.name} fails, next try in {spoken(seconds)}",
    }[one.why]


def _cap_words(asked: Asked) -> str:
    client = asked.lane.client_id
    taken = asked.admission.client_running[client]
    run = _jobs_run(taken, " of this client", asked.admission.clients[client].running)
    return f"{run}, and no more may at once."


def _worker_cap_words(asked: Asked) -> str:
    worker = asked.lane.worker
    if not asked.operator:
        return f"As many jobs of the worker {worker} run as may at once."
    taken = asked.admission.worker_running[worker]
    run = _jobs_run(taken, f" of the worker {worker}", asked.admission.snapshot.workers[worker].running)
    return f"{run}, and no more may at once."


def _jobs_run(taken: int, of: str, running: int) -> str:
    """Tell of places taken by jobs that run, or that the plan starts first."""
    jobs, run, start = ("job", "runs", "starts") if taken == 1 else ("jobs", "run", "start")
    return f"{taken:,} {jobs}{of} {run}" + ("" if taken == running else f" or {start} before it")


def _slots_words(asked: Asked) -> str:
    fleet, local = asked.fleet, asked.lane.local
    if fleet is not None and fleet.processes == 0:
        return "No process runs."
    if asked.lane.alone and asked.admission.slots[local] > 0:
        return "It has crashed twice and runs alone: it waits until a process does nothing else."
    of = " for local work" if local else ""
    if fleet is None:
        return f"All slots{of} are busy, or no process runs."
    snapshot = asked.admission.snapshot
    free = (snapshot.local_slots if local else snapshot.slots) > 0
    if not asked.operator:
        return f"All slots{of} are busy{' or go to jobs before it' if free else ''}."
    most = fleet.local_slots if local else fleet.slots
    of += " of 1 process" if fleet.processes == 1 else f" of {fleet.processes} processes"
    if most == 1:
        return f"The only slot{of} {'goes to a job before it' if free else 'is busy'}."
    return f"All {most:,} slots{of} are busy{' or go to jobs before it' if free else ''}."


def _quota_words(asked: Asked) -> str:
    """Tell the exceeded quota that ends last: it is the one that is waited for."""
    exceeded = [(quota, left) for quota, left in _quotas(asked) if left < asked.needed]
    quota, left = max(exceeded, key=lambda each: each[0].period_end)
    has = f"This client's {quota.period}'s quota of {asked.pool.gate.pool} has {max(0, left):,}"
    most = min(quota.units_limit for quota, _ in exceeded)
    if most < asked.needed:
        return f"{has} of the {asked.needed:,} units needed, and never has more than {most:,}."
    ends = quota.period_end.astimezone(ZoneInfo(asked.zone))
    anew = f"it starts anew on {ends:%Y-%m-%d at %H:%M} {asked.zone}"
    return f"{has} of the {asked.needed:,} units needed; {anew}."


def _units_words(asked: Asked) -> str:
    pool, urgency = asked.pool, asked.lane.urgency
    kept = max(0, min(pool.level_micro, pool.floor_micro(urgency))) // MICRO
    reserve = f" ({kept:,} more are kept for urgent work)" if kept else ""
    free = max(0, _units_free(pool, asked.lane))
    has = f"The {pool.gate.pool} pool has {free:,} of the {asked.needed:,} units needed{reserve}"
    if (at := pool.units_at(asked.needed, urgency)) is not None:
        return f"{has}; enough in {spoken((at - pool.now).total_seconds())}."
    refilled = (
        "it never holds so many: ask the operator" if pool.gate.refill_per_second else "nothing refills it"
    )
    return f"{has}; {refilled}."


def _request_words(asked: Asked) -> str:
    gate, at = asked.pool.gate, asked.pool.request_at() or asked.pool.now
    wait = spoken((at - asked.pool.now).total_seconds())
    had = f"The {gate.pool} pool has had its {gate.requests_per_minute:,} requests of this minute"
    return f"{had}; the next in {wait}."


def _big_job_words(asked: Asked) -> str:
    pool = asked.pool
    if asked.big is None:
        return f"The {pool.gate.pool} pool gathers units for a larger job."
    lane, head, hop = asked.big
    units = lane.draws(head, hop)[pool.gate.pool]
    at = pool.units_at(units, lane.urgency)
    seconds = None if at is None else (at - pool.now).total_seconds()
    if not asked.operator and lane.client_id != asked.lane.client_id:
        saves = f"The {pool.gate.pool} pool saves up for a larger request that goes first"
        return f"{saves}." if seconds is None else f"{saves}; enough in about {_roughly(seconds)}."
    waited = spoken((pool.now - head.aged_from).total_seconds())
    gathers = f"The {pool.gate.pool} pool gathers {units:,} units for a larger job that has waited {waited}"
    has = f"{gathers}, and has {max(0, _units_free(pool, lane)):,}"
    return f"{has}." if seconds is None else f"{has}; enough in {spoken(seconds)}."


def _roughly(seconds: float) -> str:
    """Return a span so coarse that no other client's units follow from it and the pool's refill."""
    return spoken(next((each for each in _ROUGH if each >= seconds), seconds))


_TOLD: dict[Gate, Callable[[Asked], str]] = {
    Gate.SCHEDULER_OFF: lambda asked: scheduler_off().detail,
    Gate.NO_HOP: _no_hop_words,
    Gate.QUEUE_PAUSED: lambda asked: f"The operator has paused the queue {asked.lane.queue}.",
    Gate.CLIENT_SUSPENDED: lambda asked: "The operator has suspended this client.",
    Gate.CLIENT_CAP: _cap_words,
    Gate.WORKER_PAUSED: lambda asked: f"The worker {asked.lane.worker} is not active.",
    Gate.WORKER_CAP: _worker_cap_words,
    Gate.SLOTS: _slots_words,
    Gate.QUOTA: _quota_words,
    Gate.UNITS: _units_words,
    Gate.REQUESTS: _request_words,
    Gate.BIG_JOB: _big_job_words,
}


def spoken(seconds: float) -> str:
    """Return a span in words, rounded up: 0.4 s, 12 s, 2 min 5 s, 3 h 10 min, 4 d 2 h."""
    tenths = math.ceil(max(0.0, seconds) * 10 - 1e-6)
    if tenths < 600:
        return f"{tenths // 10} s" if tenths % 10 == 0 else f"{tenths / 10:.1f} s"
    whole = math.ceil(seconds - 1e-7)
    for size, unit, smaller_size, smaller in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            large, rest = divmod(math.ceil(whole / smaller_size), size // smaller_size)
            return f"{large} {unit}" if rest == 0 else f"{large} {unit} {rest} {smaller}"
    return f"{whole} s"
