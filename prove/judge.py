"""Judges what a fleet did by the facts: every unit, slot and nano-dollar, to the last one. Pure."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from uuid import UUID

import msgspec

from prove.facts import BudgetFact, Facts, PoolFact, QuotaFact, RunFact

MICRO = 1_000_000


class Judge:
    """Rebuilds pools, running rows and budgets fact by fact; what does not fit is broken.

    ``cap_of`` and ``limit_of`` give the most that was in force of late: a client's jobs at once, a budget's
    nano-dollars. ``signals``: answers may have lowered a level further than they used.
    """

    def __init__(
        self,
        *,
        cap_of: Callable[[UUID], int | None],
        limit_of: Callable[[UUID], int | None],
        signals: bool = False,
    ) -> None:
        self.cap_of = cap_of
        self.limit_of = limit_of
        self.signals = signals
        self.broken: list[str] = []
        self.starts = 0
        self.highest: dict[UUID, int] = defaultdict(int)
        self._pools: dict[str, PoolFact] = {}
        self._budgets: dict[UUID, BudgetFact] = {}
        self._quotas: dict[tuple[UUID, str, str], QuotaFact] = {}
        self._open: dict[UUID, UUID] = {}  # of each running job, its run's token
        self._settled: set[UUID] = set()
        self._running: dict[UUID, int] = defaultdict(int)

    def hear(self, facts: Facts) -> None:
        """Judge what happened since the last time."""
        self._hear_runs(sorted(facts.runs, key=lambda fact: (fact.at, fact.began and bool(fact.at), fact.id)))
        self._hear_pools(facts)
        self._hear_quotas(facts)
        for fact in facts.budgets:
            self._hear_budget(fact)

    def _break(self, promise: str, text: str) -> None:
        self.broken.append(f"{promise}: {text}")

    # Running rows.

    def _hear_runs(self, runs: list[RunFact]) -> None:
        """Follow who runs what; caps by the commits' order, or by where a round ended."""
        dated = any(fact.at for fact in runs)
        starters: set[UUID] = set()
        for fact in runs:
            if fact.began:
                self._begin(fact)
                starters.add(fact.client_id)
            else:
                self._end(fact)
            if dated and fact.began:
                self._check_caps({fact.client_id})
        if not dated:
            self._check_caps(starters)

    def _begin(self, fact: RunFact) -> None:
        self.starts += 1
        if fact.job_id in self._open:
            self._break("once", f"job {fact.job_id} runs twice at once")
        if fact.job_id in self._settled:
            self._break("once", f"job {fact.job_id} runs again after it had succeeded")
        self._open[fact.job_id] = fact.token
        self._running[fact.client_id] += 1
        self.highest[fact.client_id] = max(self.highest[fact.client_id], self._running[fact.client_id])

    def _end(self, fact: RunFact) -> None:
        begun = self._open.pop(fact.job_id, None)
        if begun != fact.token:
            self._break("once", f"a run of job {fact.job_id} ended that had not begun")
        self._running[fact.client_id] -= 1
        if fact.succeeded:
            self._settled.add(fact.job_id)

    def adopt(self, running: dict[UUID, tuple[UUID, UUID]], settled: set[UUID]) -> None:
        """Go on where an earlier judge left off: what runs (job: token and client), what has succeeded."""
        for job_id, (token, client_id) in running.items():
            self._open[job_id] = token
            self._running[client_id] += 1
        self._settled |= settled

    def _check_caps(self, clients: set[UUID]) -> None:
        for client_id in clients:
            cap, running = self.cap_of(client_id), self._running[client_id]
            if cap is not None and running > cap:
                self._break("cap", f"client {client_id} runs {running}, its cap is {cap}")

    # Pools.

    def _hear_pools(self, facts: Facts) -> None:
        draws: dict[tuple[int, str], _Draw] = defaultdict(_Draw)
        for run in facts.runs:
            for pool, units in {run.pool: run.units, **run.needs}.items():
                draws[run.xid, pool].add(run, units, own=pool == run.pool)
        for fact in facts.pools:
            self._hear_pool(fact, draws.pop((fact.xid, fact.pool), _Draw()))
        for (xid, pool), draw in draws.items():
            if draw.taken or draw.returned:
                self._break("units", f"pool {pool}: transaction {xid} neither charged it nor gave it back")

    def _hear_pool(self, fact: PoolFact, draw: "_Draw") -> None:
        """Compare one change of a pool with the runs that its transaction began and ended."""
        before = self._pools.get(fact.pool)
        old = (fact.old_level, fact.old_requests, fact.old_as_of)
        if before is not None and (before.level, before.requests, before.as_of) != old:
            self._break("chain", f"pool {fact.pool}: its change {fact.id} does not follow {before.id}")
        self._pools[fact.pool] = fact
        full, gained = fact.old_capacity * MICRO, fact.old_refill * max(0, fact.as_of - fact.old_as_of)
        expected = _changed(fact.old_level + gained, full, draw.taken, draw.returned)
        if fact.edited:
            expected = min(expected, fact.capacity * MICRO)
        if fact.level != expected and not (fact.level < expected and (self.signals or fact.edited)):
            self._break("units", f"pool {fact.pool} has {fact.level}, {expected} is right ({draw})")
        if draw.taken and fact.level < 0:
            self._break("units", f"a start took pool {fact.pool} down to {fact.level}")
        if fact.per_minute is not None and not fact.edited:
            self._check_requests(fact, draw, fact.per_minute)

    def _check_requests(self, fact: PoolFact, draw: "_Draw", per_minute: int) -> None:
        """Request slots come at whole micro-units, counted off from the beginning of time."""
        gained = max(0, per_minute * fact.as_of // 60 - per_minute * fact.old_as_of // 60)
        expected = _changed(
            fact.old_requests + gained, per_minute * MICRO, draw.slots_taken, draw.slots_returned
        )
        if fact.requests != expected and not (fact.requests < expected and self.signals):
            self._break("requests", f"pool {fact.pool} has {fact.requests}, {expected} is right ({draw})")
        if draw.slots_taken and fact.requests < 0:
            self._break("requests", f"a start took the slots of pool {fact.pool} down to {fact.requests}")

    # Quotas.

    def _hear_quotas(self, facts: Facts) -> None:
        """Compare what each transaction counted on a quota with the runs that it began and ended."""
        runs: dict[tuple[int, UUID], list[RunFact]] = defaultdict(list)
        for run in facts.runs:
            runs[run.xid, run.client_id].append(run)
        changes: dict[tuple[int, UUID, str, str], list[QuotaFact]] = defaultdict(list)
        for fact in facts.quotas:
            changes[fact.xid, fact.client_id, fact.pool, fact.period].append(fact)
            key = fact.client_id, fact.pool, fact.period
            before = self._quotas.get(key)
            if before is not None and (before.used, before.period_start) != (fact.old_used, fact.old_start):
                self._break("chain", f"quota {key}: its change {fact.id} does not follow {before.id}")
            self._quotas[key] = fact
        for (xid, client_id), own in runs.items():
            for key in [key for key in self._quotas if key[0] == client_id]:
                self._check_quota(changes.pop((xid, *key), []), own, self._quotas[key])
        for xid, client_id, pool, _ in changes:
            self._break("quota", f"{pool} of {client_id}: transaction {xid} changed it without a run")

    def _check_quota(self, steps: list[QuotaFact], runs: list[RunFact], quota: QuotaFact) -> None:
        last = steps[-1] if steps else quota
        counted = sum(
            fact.used - (fact.old_used if fact.old_start == fact.period_start else 0) for fact in steps
        )
        expected = sum(
            _counted(run, last.pool)
            for run in runs
            if run.began or last.period_start <= run.started_at < last.period_end
        )
        if counted != expected:
            self._break("quota", f"{last.pool} of {last.client_id}: {counted} counted, {expected} is right")
        if steps and expected > 0 and any(run.began for run in runs) and last.used > last.units_limit:
            self._break("quota", f"{last.pool} of {last.client_id}: {last.used} used of {last.units_limit}")

    # Budgets.

    def _hear_budget(self, fact: BudgetFact) -> None:
        before = self._budgets.get(fact.budget_id)
        if before is not None and (before.held, before.spent) != (fact.old_held, fact.old_spent):
            self._break("chain", f"budget {fact.budget_id}: its change {fact.id} does not follow {before.id}")
        self._budgets[fact.budget_id] = fact
        limit, committed = self.limit_of(fact.budget_id), fact.held + fact.spent
        if limit is not None and limit < committed > fact.old_held + fact.old_spent:
            self._break("budget", f"budget {fact.budget_id} has {committed} held and spent of {limit}")


class _Draw(msgspec.Struct, kw_only=True):
    """What one transaction takes from a pool and gives back: units and request slots."""

    taken: int = 0
    returned: int = 0
    slots_taken: int = 0
    slots_returned: int = 0

    def add(self, run: RunFact, units: int, *, own: bool) -> None:
        """Count a run: its start takes; its end gives back all if it never began, else what it left."""
        if run.began:
            self.taken += units
            self.slots_taken += 1
        elif not run.known:
            self.returned += units
            self.slots_returned += 1
        elif own and run.used is not None:
            self.returned += units - run.used


def _counted(run: RunFact, pool: str) -> int:
    """Return what a run's start counts on a quota, or by how much its end corrects that."""
    own = run.units if run.pool == pool else 0
    if run.began:
        return own + run.needs.get(pool, 0)
    if not run.known:
        return -own - run.needs.get(pool, 0)
    return run.used - run.units if own and run.used is not None else 0


def _changed(refilled: int, full: int, taken: int, returned: int) -> int:
    """Return a level after a tick, which fills up first and then takes, or after a settle."""
    if taken:
        return min(full, refilled) + (returned - taken) * MICRO
    return max(-full, min(full, refilled + returned * MICRO))


def by_promise(broken: list[str]) -> Mapping[str, int]:
    """Count what is broken by the promise that it breaks."""
    counts: dict[str, int] = defaultdict(int)
    for text in broken:
        counts[text.split(":")[0]] += 1
    return counts
