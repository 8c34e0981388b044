"""What a scheduling decision is made of and what it says: the snapshot, the gates, the decision. Pure."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from aifactory.resources.interface import Hop, Urgency


class Gate(StrEnum):
    """What keeps a job waiting."""

    SCHEDULER_OFF = "scheduler_off"
    QUEUE_PAUSED = "queue_paused"
    CLIENT_SUSPENDED = "client_suspended"
    CLIENT_CAP = "client_cap"
    WORKER_PAUSED = "worker_paused"
    WORKER_CAP = "worker_cap"
    NO_HOP = "no_hop"
    QUOTA = "quota"
    UNITS = "units"
    REQUESTS = "requests"
    BIG_JOB = "big_job"
    SLOTS = "slots"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A queued job near the front of its lane: units of its hop's pool, ``needs`` of further ones."""

    job_id: UUID
    aged_from: datetime
    seq: int
    units: int
    needs: dict[str, int] = {}
    attempt: int = 1
    timeout_seconds: int = 120

    @property
    def place(self) -> tuple[datetime, int]:
        """What a lane is ordered by."""
        return self.aged_from, self.seq


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """A lane with its loaded heads; ``complete`` when nothing is queued behind them."""

    id: int
    hops: tuple[Hop, ...]
    further_pools: tuple[str, ...]
    local: bool
    alone: bool = False
    worker: str
    queue: str
    client_id: UUID
    urgency: Urgency
    heads: tuple[Head, ...]
    complete: bool

    def draws(self, head: Head, hop: Hop) -> dict[str, int]:
        """Return what a start takes, by pool: all of it or nothing, and a request slot of each."""
        taken = {hop.pool: head.units}
        for pool in self.further_pools:
            taken[pool] = taken.get(pool, 0) + head.needs.get(pool, 0)
        return taken


class QueueGate(msgspec.Struct, frozen=True, kw_only=True):
    """A queue's policy; ``rank`` 0 is the top."""

    queue: str
    rank: int
    policy: str
    share_percent: int
    full_age_seconds: int
    paused: bool = False


class ClientGate(msgspec.Struct, frozen=True, kw_only=True):
    """A client's tier terms, cap and running jobs."""

    client_id: UUID
    points: int
    weight: int
    max_running: int
    running: int = 0
    suspended: bool = False


class WorkerGate(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's cap and running jobs."""

    worker: str
    max_running: int | None = None
    running: int = 0
    active: bool = True


class ProviderGate(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's circuit: closed without ``opens_at``, open before it, half-open from then on.

    A half-open circuit lets one probe through in the whole fleet; ``probes`` are those that run now.
    ``here``: the deciding process can call it, as far as its own environment goes.
    """

    provider: str
    active: bool = True
    here: bool = True
    opens_at: datetime | None = None
    probes: int = 0

    def half_open(self, now: datetime) -> bool:
        """Whether only a probe may pass."""
        return self.active and self.opens_at is not None and self.opens_at <= now


class PoolGate(msgspec.Struct, frozen=True, kw_only=True):
    """A pool, levels refilled to the snapshot's time."""

    pool: str
    capacity: int
    refill_per_second: int
    level_micro: int
    requests_per_minute: int | None = None
    requests_micro: int = 0
    reserved_percent: int = 10
    dedicated_client_id: UUID | None = None
    blocked_until: datetime | None = None
    paused: bool = False
    last_urgent_at: datetime | None = None
    last_start_seq: int = 0
    start_seq: int = 0
    recent_starts: tuple[str, ...] = ()
    big_job_id: UUID | None = None
    big_job_since: datetime | None = None


class UsageGate(msgspec.Struct, frozen=True, kw_only=True):
    """A client's decayed usage of a pool, and when it was last served there."""

    usage: float = 0.0
    active: bool = False
    last_start_seq: int = 0
    running: int = 0


class QuotaGate(msgspec.Struct, frozen=True, kw_only=True):
    """A client's quota of a pool in the period that runs at the snapshot's time."""

    period: str
    units_limit: int
    units_used: int
    period_start: datetime
    period_end: datetime


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a decision depends on; ``idle``: the deciding process runs nothing now.

    ``lanes`` are all lanes, also those without a slot to start in: who is active is read from them. A
    provider without a gate is open to all; a client without one, whose row is missing, is suspended.
    """

    lanes: tuple[Lane, ...]
    pools: dict[str, PoolGate]
    queues: dict[str, QueueGate]
    clients: dict[UUID, ClientGate]
    workers: dict[str, WorkerGate]
    usage: dict[tuple[UUID, str], UsageGate]
    slots: int
    local_slots: int
    idle: bool = True
    start_seq: int = 0
    enabled: bool = True
    providers: dict[str, ProviderGate] = {}
    quotas: dict[tuple[UUID, str], tuple[QuotaGate, ...]] = {}


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """A job to start now, where, and why it was picked."""

    lane: Lane
    head: Head
    hop: Hop
    seq: int
    by: str


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """A lane's head that can't start, the gate that keeps it, and when that gate may open.

    ``pool``: the one whose units, request slots, quota or big job it is.
    """

    lane_id: int
    job_id: UUID
    gate: Gate
    opens_at: datetime | None = None
    pool: str | None = None


class UsageChange(msgspec.Struct, frozen=True, kw_only=True):
    """A client's usage of a pool after the plan, before its starts are charged."""

    client_id: UUID
    pool: str
    usage: float
    active: bool


class BigJob(msgspec.Struct, frozen=True, kw_only=True):
    """The big job that a pool remembers from now on; None: no more."""

    pool: str
    job_id: UUID | None
    since: datetime | None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to start; why the rest waits; when to look again; which lanes need deeper loading.

    ``urgent_pools``: where urgent work could start but for units, so that the reserve is not lent.
    """

    starts: tuple[Start, ...]
    waits: tuple[Wait, ...]
    next_wake: datetime | None
    dry: tuple[int, ...]
    usage: tuple[UsageChange, ...]
    big_jobs: tuple[BigJob, ...]
    urgent_pools: tuple[str, ...] = ()
