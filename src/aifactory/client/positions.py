"""Where a request stands in its queue, why it waits, when it starts."""

from datetime import datetime

from aifactory.client.calls import checked_id, get
from aifactory.client.exchange import Plan, Session, fetch
from aifactory.client.models import View


class Priority(View, frozen=True, kw_only=True):
    """The score, 0 to 100, and the four parts that it is the sum of."""

    score: float
    tier: float
    urgency: float
    waiting: float
    fairness: float


class Gate(View, frozen=True, kw_only=True):
    """What keeps it; ``detail`` says it in words. ``opens_at`` None: nobody can say."""

    gate: str
    detail: str
    pool: str | None = None
    needed: int | None = None
    available: int | None = None
    opens_at: datetime | None = None
    opens_in_ms: int | None = None
    of_job_ahead: bool = False


class Position(View, frozen=True, kw_only=True):
    """``position`` 1 is the next to start, 0 has begun; None: nobody can say, or it is in no queue.

    ``position_at_least``: more wait before it than were counted.
    """

    id: str
    request_id: str
    job_id: str | None = None
    state: str
    waits: bool = False
    queue: str = ""
    pool: str | None = None
    provider: str | None = None
    model: str | None = None
    position: int | None = None
    position_exact: bool = True
    position_at_least: bool = False
    priority: Priority | None = None
    gate: Gate | None = None
    also_closed: tuple[Gate, ...] = ()
    estimated_start: datetime | None = None
    earliest_start: datetime | None = None
    latest_start: datetime | None = None
    basis: str | None = None


def position(session: Session, wanted: str) -> Plan[Position]:
    """Say where a request, an execution or a job stands, why it waits, and when it starts."""
    return fetch(session, get(f"/api/queue/position/{checked_id(wanted)}"), Position)
