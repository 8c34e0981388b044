"""What the starts of a tick change in pools, usage and quotas; live, and in a fleet in memory. Pure.

A tick plans more than it may get: only ``started``, the starts whose jobs were still queued, are charged.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from aifactory.resources import buckets
from aifactory.resources.gates import Decision, QuotaGate, Snapshot, Start, UsageGate
from aifactory.resources.pool_plan import RECENT_STARTS

NO_USAGE = UsageGate()

QuotasTaken = Mapping[tuple[UUID, str], tuple[tuple[QuotaGate, ...], int]]
"""Units taken by client and pool, with the quotas that they count on."""


class PoolAfter(msgspec.Struct, frozen=True, kw_only=True):
    """A pool after a tick; ``recent_starts`` are the queues of its last starts, oldest first."""

    pool: str
    level_micro: int
    requests_micro: int
    start_seq: int
    last_start_seq: int
    recent_starts: tuple[str, ...]
    last_urgent_at: datetime | None
    big_job_id: UUID | None
    big_job_since: datetime | None


class UsageAfter(msgspec.Struct, frozen=True, kw_only=True):
    """A client's usage of a pool after a tick, decayed to its time."""

    client_id: UUID
    pool: str
    usage: float
    active: bool
    last_start_seq: int


class _Draw(msgspec.Struct, kw_only=True):
    """What starts take from a pool; ``own``: those whose hop draws on it."""

    units: int = 0
    requests: int = 0
    own: list[Start] = []


def _draws(started: Sequence[Start]) -> dict[str, _Draw]:
    draws: dict[str, _Draw] = {}
    for start in started:
        for pool, units in start.lane.draws(start.head, start.hop).items():
            draw = draws.setdefault(pool, _Draw())
            draw.units += units
            draw.requests += 1
        draws[start.hop.pool].own.append(start)
    return draws


def pool_changes(
    decision: Decision, snapshot: Snapshot, started: Sequence[Start], now: datetime
) -> list[PoolAfter]:
    """Return every pool that a tick changes, by name."""
    big = {change.pool: change for change in decision.big_jobs}
    draws = _draws(started)
    changes = []
    for pool in sorted({*draws, *big, *decision.urgent_pools}):
        gate, draw, remembered = snapshot.pools[pool], draws.get(pool, _Draw()), big.get(pool)
        recent = (*gate.recent_starts, *(start.lane.queue for start in draw.own))[-RECENT_STARTS:]
        requests_micro = draw.requests * buckets.MICRO if gate.requests_per_minute else 0
        changes.append(
            PoolAfter(
                pool=pool,
                level_micro=gate.level_micro - draw.units * buckets.MICRO,
                requests_micro=gate.requests_micro - requests_micro,
                start_seq=gate.start_seq + len(draw.own),
                last_start_seq=draw.own[-1].seq if draw.own else gate.last_start_seq,
                recent_starts=recent,
                last_urgent_at=now if pool in decision.urgent_pools else gate.last_urgent_at,
                big_job_id=remembered.job_id if remembered else gate.big_job_id,
                big_job_since=remembered.since if remembered else gate.big_job_since,
            )
        )
    return changes


def usage_changes(decision: Decision, snapshot: Snapshot, started: Sequence[Start]) -> list[UsageAfter]:
    """Return every client's usage of a pool that a tick changes, by client and pool.

    A start counts with its estimate, at least 1.
    """
    rows: dict[tuple[UUID, str], tuple[float, bool, int]] = {
        (change.client_id, change.pool): (
            change.usage,
            change.active,
            snapshot.usage.get((change.client_id, change.pool), NO_USAGE).last_start_seq,
        )
        for change in decision.usage
    }
    for start in started:
        key = (start.lane.client_id, start.hop.pool)
        usage, active, _ = rows.get(key) or (snapshot.usage[key].usage, True, 0)
        rows[key] = (usage + max(1, start.head.units), active, start.seq)
    return [
        UsageAfter(client_id=client_id, pool=pool, usage=usage, active=active, last_start_seq=seq)
        for (client_id, pool), (usage, active, seq) in sorted(rows.items())
    ]


def quota_changes(snapshot: Snapshot, started: Sequence[Start]) -> QuotasTaken:
    """Return what starts take of their clients' quotas."""
    taken: dict[tuple[UUID, str], int] = {}
    for start in started if snapshot.quotas else ():
        for pool, units in start.lane.draws(start.head, start.hop).items():
            key = start.lane.client_id, pool
            if key in snapshot.quotas:
                taken[key] = taken.get(key, 0) + units
    return {key: (snapshot.quotas[key], units) for key, units in taken.items()}
