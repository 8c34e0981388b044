"""What the route of an execution's position in the queue gives."""

from datetime import datetime

from aifactory.resources.schemas import View


class Priority(View, frozen=True, kw_only=True):
    """The published score, 0 to 100, and the four parts that it is the sum of.

    ``usagePerWeight``: the client's usage of the pool ÷ its weight, by which ``fair`` queues go first.
    """

    score: float
    tier: float
    urgency: float
    waiting: float
    fairness: float
    usage_per_weight: float


class BlockingGate(View, frozen=True, kw_only=True):
    """What keeps a job: a gate of the scheduler, or ``turn``, ``not_due``, ``held``, ``following``,
    ``at_provider``, ``starting`` or ``running``.

    ``needed`` and ``available``: units of the pool, or jobs, null where nothing is counted or, for a client,
    the jobs of all clients are. ``opensAt`` null: nobody can say. ``ofJobAhead``: it keeps the first job of
    its lane, which this one is behind.
    """

    gate: str
    detail: str
    pool: str | None
    needed: int | None
    available: int | None
    opens_at: datetime | None
    opens_in_ms: int | None
    of_job_ahead: bool


class Ahead(View, frozen=True, kw_only=True):
    """How many jobs start first: of its own lane; in its whole pool, if that is known.

    ``atLeast``: there are more than were counted; both are at least that.
    """

    in_lane: int
    in_pool: int | None
    at_least: bool


class JobCounts(View, frozen=True, kw_only=True):
    """The unfinished jobs of the execution that are known by now; ``atLeast``: it may have more."""

    ready: int = 0
    scheduled: int = 0
    following: int = 0
    running: int = 0
    at_provider: int = 0
    at_least: bool = False


class Step(View, frozen=True, kw_only=True):
    """Queued jobs of one kind in one lane: the jobs ahead of the first and of the last, when they start.

    ``aheadAtLeast``: there are more ahead of the last than were counted.
    """

    kind: str
    jobs: int
    first_ahead: int
    last_ahead: int
    ahead_at_least: bool
    estimated_start: datetime | None
    latest_start: datetime | None
    gate: str | None


class Position(View, frozen=True, kw_only=True):
    """Where an execution's next job stands, why it waits, and when it starts.

    ``jobId`` is the job that is told: the one of them that starts first; null if nothing is left to start.
    ``state``: the execution's, or the job's if a job was asked for. ``position``: its place among the starts
    of its pool, 1 is the next, 0 has begun; null: nobody can say, or it is in no queue.
    ``positionExact`` false: continued at the present pace. ``positionAtLeast``: it is no better than that, as
    more wait before it than were counted, and nobody can say when it starts. ``stepsNotShown``: ``steps`` has
    the oldest 20; so many more there are. ``estimatedStart`` lies between ``earliestStart``
    and ``latestStart``; ``basis`` says how it was found: ``simulated`` by the scheduler's own rules,
    ``extrapolated`` from that, ``guard_bound`` (at the latest), ``due``.
    """

    id: str
    request_id: str
    job_id: str | None
    state: str
    waits: bool
    queue: str
    policy: str | None
    worker: str | None
    pool: str | None
    provider: str | None
    model: str | None
    position: int | None
    position_exact: bool
    position_at_least: bool
    ahead: Ahead | None
    priority: Priority | None
    gate: BlockingGate | None
    also_closed: list[BlockingGate]
    estimated_start: datetime | None
    earliest_start: datetime | None
    latest_start: datetime | None
    basis: str | None
    jobs: JobCounts
    steps: list[Step]
    steps_not_shown: int
    as_of: datetime
