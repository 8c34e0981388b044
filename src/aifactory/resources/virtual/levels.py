"""What a fleet in memory keeps count of: pools, clients' usage of them, quotas. Pure.

The arithmetic of a start is ``effects``; that of an end is here, as the statements of ``queries.queue`` and
``queries.quotas`` have it.
"""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from aifactory.kernel.ids import ClientId
from aifactory.resources import buckets
from aifactory.resources.effects import PoolAfter, QuotasTaken, UsageAfter
from aifactory.resources.gates import PoolGate, QuotaGate, UsageGate
from aifactory.resources.quotas import Quota, QuotaPeriod, rolled
from aifactory.resources.scores import decayed

_SECOND, _MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)


class VirtualPool:
    """A pool and when it was last refilled."""

    __slots__ = ("as_of", "gate", "level_micro", "requests_micro")

    def __init__(self, gate: PoolGate, now: datetime) -> None:
        self.gate = gate
        self.level_micro = gate.level_micro
        self.requests_micro = gate.requests_micro
        self.as_of = now

    def refill(self, now: datetime) -> None:
        """Bring the levels to now."""
        gate = self.gate
        self.level_micro = buckets.refilled(
            self.level_micro,
            capacity=gate.capacity,
            refill_per_second=gate.refill_per_second,
            since=self.as_of,
            now=now,
        )
        self._refill_requests(now)
        self.as_of = max(self.as_of, now)

    def _refill_requests(self, now: datetime) -> None:
        per_minute = self.gate.requests_per_minute
        if per_minute is not None:
            self.requests_micro = buckets.refilled_requests(
                self.requests_micro, per_minute=per_minute, since=self.as_of, now=now
            )

    def at(self, now: datetime) -> PoolGate:
        """Return the pool refilled to now."""
        self.refill(now)
        gate = self.gate
        if (gate.level_micro, gate.requests_micro) != (self.level_micro, self.requests_micro):
            self.gate = gate = msgspec.structs.replace(
                gate, level_micro=self.level_micro, requests_micro=self.requests_micro
            )
        return gate

    def take(self, after: PoolAfter) -> None:
        """Be as a tick leaves the pool."""
        self.level_micro, self.requests_micro = after.level_micro, after.requests_micro
        self.gate = msgspec.structs.replace(
            self.gate,
            level_micro=after.level_micro,
            requests_micro=after.requests_micro,
            start_seq=after.start_seq,
            last_start_seq=after.last_start_seq,
            recent_starts=after.recent_starts,
            last_urgent_at=after.last_urgent_at,
            big_job_id=after.big_job_id,
            big_job_since=after.big_job_since,
        )

    def give_back(self, units: int, now: datetime) -> None:
        """Give back what an estimate was too high by, or take what it was too low by.

        Refilled and given back in one sum; no level falls further below zero than the pool is deep.
        """
        gate = self.gate
        deepest = gate.capacity * buckets.MICRO
        level = self.level_micro + units * buckets.MICRO
        if now > self.as_of:
            level += gate.refill_per_second * ((now - self.as_of) // _MICROSECOND)
            self._refill_requests(now)
            self.as_of = now
        self.level_micro = max(-deepest, min(deepest, level))


class Fading:
    """What is left at a time of a usage of 1 as of earlier ones; ticks write many at once, so few differ."""

    __slots__ = ("_now", "_parts")

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._parts: dict[datetime, float] = {}

    def since(self, as_of: datetime) -> float:
        """Return the part that is left."""
        part = self._parts.get(as_of)
        if part is None:
            part = self._parts[as_of] = decayed(1.0, (self._now - as_of) / _SECOND)
        return part


class VirtualUsage:
    """A client's usage of a pool, as of a time."""

    __slots__ = ("active", "as_of", "last_start_seq", "running", "usage")

    def __init__(self, now: datetime, gate: UsageGate | None = None) -> None:
        known = gate or UsageGate()
        self.usage = known.usage
        self.active = known.active
        self.last_start_seq = known.last_start_seq
        self.running = known.running
        self.as_of = now

    def at(self, fading: "Fading") -> UsageGate:
        """Return it decayed to the time of a tick."""
        return UsageGate(
            usage=self.usage * fading.since(self.as_of),
            active=self.active,
            last_start_seq=self.last_start_seq,
            running=self.running,
        )

    def take(self, after: UsageAfter, now: datetime) -> None:
        """Be as a tick leaves it."""
        self.usage, self.as_of = after.usage, now
        self.active, self.last_start_seq = after.active, after.last_start_seq

    def correct(self, change: int) -> None:
        """Correct it by the difference between estimate and truth; it is not decayed for that."""
        self.usage = max(0.0, self.usage + change)


class VirtualQuotas:
    """Clients' quotas of pools, each with the time zone that says when its periods end."""

    def __init__(self) -> None:
        self._quotas: dict[tuple[UUID, str], list[tuple[Quota, str]]] = {}

    def __bool__(self) -> bool:
        return bool(self._quotas)

    def add(self, quota: Quota, time_zone: str) -> None:
        """Have one more quota."""
        self._quotas.setdefault((quota.client_id, quota.pool), []).append((quota, time_zone))

    def at(self, now: datetime) -> dict[tuple[UUID, str], tuple[QuotaGate, ...]]:
        """Return all quotas in the periods that run now."""
        gates = {}
        for key, quotas in self._quotas.items():
            quotas[:] = [(rolled(quota, zone, now), zone) for quota, zone in quotas]
            gates[key] = tuple(_gate(quota) for quota, _ in quotas)
        return gates

    def take(self, taken: QuotasTaken) -> None:
        """Count the starts of a tick."""
        for key, (_, units) in taken.items():
            self._quotas[key][:] = [
                (msgspec.structs.replace(quota, units_used=quota.units_used + units), zone)
                for quota, zone in self._quotas[key]
            ]

    def correct(self, client_id: UUID, pool: str, started_at: datetime, change: int) -> None:
        """Correct a quota by the difference between estimate and truth, if the start's period still runs."""
        quotas = self._quotas.get((client_id, pool))
        if quotas is None or not change:
            return
        quotas[:] = [
            (msgspec.structs.replace(quota, units_used=max(0, quota.units_used + change)), zone)
            if quota.period_start <= started_at < quota.period_end
            else (quota, zone)
            for quota, zone in quotas
        ]


def _gate(quota: Quota) -> QuotaGate:
    return QuotaGate(
        period=quota.period,
        units_limit=quota.units_limit,
        units_used=quota.units_used,
        period_start=quota.period_start,
        period_end=quota.period_end,
    )


def quota_of(client_id: UUID, pool: str, gate: QuotaGate) -> Quota:
    """Return the quota behind a gate."""
    return Quota(
        client_id=ClientId(client_id),
        pool=pool,
        period=QuotaPeriod(gate.period),
        units_limit=gate.units_limit,
        units_used=gate.units_used,
        period_start=gate.period_start,
        period_end=gate.period_end,
    )
