"""What the routes of availability give: pools as a client may use them, its caps and quotas, closed gates."""

from datetime import datetime
from decimal import Decimal

from aifactory.resources.interface import Tier
from aifactory.resources.schemas import PoolState, View


class AvailablePool(PoolState, frozen=True, kw_only=True):
    """A pool that the caller may use.

    ``spendable`` is what work that is not urgent may take now. ``requestsLeft`` null: requests are not
    limited. ``ownRunning``: how many of the client's jobs run on it.
    """

    spendable: int
    requests_per_minute: int | None
    requests_left: int | None
    dedicated: bool
    own_running: int


class QuotaState(View, frozen=True, kw_only=True):
    """A quota of a client: units of a pool per day or month."""

    pool: str
    period: str
    limit: int
    used: int
    left: int
    resets_at: datetime


class OwnLimits(View, frozen=True, kw_only=True):
    """What a client has running, and how much it may."""

    client_id: str
    running: int
    max_running: int
    suspended: bool
    quotas: list[QuotaState]


class Availability(View, frozen=True, kw_only=True):
    """What is free now; ``client`` is null for an operator who names none."""

    pools: list[AvailablePool]
    client: OwnLimits | None


class BlockedBy(View, frozen=True, kw_only=True):
    """A closed gate, or ``tier``, ``budget`` or ``not_due``.

    ``needed`` and ``available``: units of the pool, or jobs, null where nothing is counted or, for a client,
    the jobs of all clients are. ``opensAt`` null: nobody can say. ``steps``: which kinds of jobs it keeps;
    ``first``: the very first of them too.
    """

    gate: str
    detail: str
    pool: str | None
    needed: int | None
    available: int | None
    opens_at: datetime | None
    steps: list[str]
    first: bool


class ResourceCheck(View, frozen=True, kw_only=True):
    """Whether a request could be taken (``fits``) and its first step start now, and what is in the way.

    As if nobody else waited: no promise, and nothing is held.
    """

    can_start_now: bool
    fits: bool
    required_tier: Tier | None
    estimated_cost_usd: Decimal
    worst_cost_usd: Decimal
    blocked_by: list[BlockedBy]
