"""What a play has shown, in figures; and two plays side by side. Pure."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec

from aifactory.kernel.money import NANO_PER_USD
from aifactory.resources.simulation.ground import Ground, client_ids
from aifactory.resources.simulation.leftover import Left
from aifactory.resources.simulation.observing import SLICES, Observer, Waits, jain
from aifactory.resources.simulation.playing import Played
from aifactory.resources.simulation.words import Unit

_NONE = (None, None)


class WaitFigures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Seconds that so many starts, or executions, took to come; quantiles to one percent."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    longest: float


class ClientFigures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One client; ``turnaround_p95``: of its executions, in seconds."""

    tier: str
    waits: WaitFigures
    turnaround_p95: float
    spent_usd: Decimal
    budget_left_usd: Decimal | None
    refused: int


class PoolFigures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One pool; utilisation is units used ÷ units refilled, which a pool that began full may exceed.

    ``under_load``: units taken ÷ units refilled or stored, where work waited all the time.
    ``fairness``: Jain's index of units ÷ weight over clients that waited all the time, mean and worst of the
    slices of time in which there were two or more.
    """

    waits: WaitFigures
    units: int
    utilisation: float | None
    under_load: float | None
    fairness: float | None
    worst_fairness: float | None
    spent_usd: Decimal


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A play in figures; ``left``: what still waits, and why.

    ``gate_lane_seconds``: how long each gate kept the heads of lanes waiting.
    """

    executions: int
    jobs: int
    refused: int
    given_up: int
    unfinished: int
    left: list[Left]
    started_at: datetime
    ended_at: datetime
    waits: WaitFigures
    queues: dict[str, WaitFigures]
    tiers: dict[str, WaitFigures]
    pools: dict[str, PoolFigures]
    clients: dict[str, ClientFigures]
    turnaround: WaitFigures
    spent_usd: Decimal
    slot_utilisation: float | None
    starts_by: dict[str, int]
    gate_lane_seconds: dict[str, float]
    ticks: int
    window_ms_median: float
    window_ms_widest: float


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A figure before and after; None: there is no such figure in that play."""

    before: float | None
    after: float | None
    unit: Unit


class Comparison(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Two plays of the same work; ``rows``: what people compare, by name."""

    before: Report
    after: Report
    rows: dict[str, Compared]


def report_of(played: Played) -> Report:
    """Return a play in figures."""
    seen, ground = played.observer, played.ground
    names: dict[UUID, str] = {client_id: name for name, client_id in client_ids(ground).items()}
    tier_of = {name: spec.tier for spec in ground.clients for name in spec.names}
    windows = played.windows or [timedelta()]
    return Report(
        executions=played.executions,
        jobs=played.jobs,
        refused=played.refused,
        given_up=played.given_up,
        unfinished=played.unfinished,
        left=played.left,
        started_at=ground.run.start,
        ended_at=played.ended_at,
        waits=figures(seen.waits.values()),
        queues=_by(seen, lambda key: key[1]),
        tiers=_by(seen, lambda key: tier_of[names[key[0]]]),
        pools={name: _pool(played, name) for name in ground.pools},
        clients={name: _client(played, client_id, tier_of[name]) for client_id, name in names.items()},
        turnaround=figures(seen.turnaround.values()),
        spent_usd=_usd(sum(seen.spend.values())),
        slot_utilisation=_share(_busy(played), ground.run.slots * _seconds(played)),
        starts_by=dict(seen.starts_by.most_common()),
        gate_lane_seconds=dict(sorted(seen.gates.items(), key=lambda one: -one[1])),
        ticks=played.ticks,
        window_ms_median=windows[len(windows) // 2] / timedelta(milliseconds=1),
        window_ms_widest=windows[-1] / timedelta(milliseconds=1),
    )


def figures(waits: Iterable[Waits]) -> WaitFigures:
    """Return the figures of several waits together."""
    together = Waits()
    for one in waits:
        together.merge(one)
    return WaitFigures(
        count=together.count,
        mean=together.mean,
        p50=together.quantile(0.5),
        p95=together.quantile(0.95),
        p99=together.quantile(0.99),
        longest=together.longest,
    )


def _by(seen: Observer, name_of: Callable[[tuple[UUID, str, str]], str]) -> dict[str, WaitFigures]:
    groups: dict[str, list[Waits]] = {}
    for key, waits in seen.waits.items():
        groups.setdefault(name_of(key), []).append(waits)
    return {name: figures(groups[name]) for name in sorted(groups)}


def _pool(played: Played, name: str) -> PoolFigures:
    seen, spec = played.observer, played.ground.pools[name]
    indexes = [index for _, index in seen.fairness(name, weights_of(played.ground))]
    return PoolFigures(
        waits=figures(waits for key, waits in seen.waits.items() if key[2] == name),
        units=seen.pool_units[name],
        utilisation=_share(seen.pool_units[name], spec.refill_per_second * _seconds(played)),
        under_load=seen.under_load(name, spec.refill_per_second),
        fairness=sum(indexes) / len(indexes) if indexes else None,
        worst_fairness=min(indexes, default=None),
        spent_usd=_usd(sum(nano for (_, pool), nano in seen.spend.items() if pool == name)),
    )


def _client(played: Played, client_id: UUID, tier: str) -> ClientFigures:
    seen, budget = played.observer, played.budgets[client_id]
    left = None if budget.limit_nano is None else budget.limit_nano - budget.spent_nano - budget.held_nano
    return ClientFigures(
        tier=tier,
        waits=figures(waits for key, waits in seen.waits.items() if key[0] == client_id),
        turnaround_p95=seen.turnaround[client_id].quantile(0.95),
        spent_usd=_usd(budget.total_nano),
        budget_left_usd=None if left is None else _usd(left),
        refused=budget.refused,
    )


def weights_of(ground: Ground) -> dict[UUID, int]:
    """Return the weight of each client."""
    ids = client_ids(ground)
    return {
        ids[name]: ground.tier(spec.tier).weight if spec.weight is None else spec.weight
        for spec in ground.clients
        for name in spec.names
    }


def _seconds(played: Played) -> float:
    return (played.ended_at - played.ground.run.start).total_seconds()


def _busy(played: Played) -> float:
    """Return how many seconds slots were busy: where the run stops at its end, so does a job in it."""
    seen = played.observer
    if played.ground.run.drain:
        return seen.busy
    return sum(here.busy for number, here in seen.slices.items() if number < SLICES)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _usd(nano: int) -> Decimal:
    return Decimal(nano) / NANO_PER_USD


# Two side by side.


def compare(before: Report, after: Report) -> Comparison:
    """Return two reports with the rows that tell them apart."""
    first, second = rows_of(before), rows_of(after)
    rows = {
        name: Compared(before=first.get(name, _NONE)[0], after=second.get(name, _NONE)[0], unit=unit)
        for name, (_, unit) in {**first, **second}.items()
    }
    return Comparison(before=before, after=after, rows=rows)


def rows_of(report: Report) -> dict[str, tuple[float | None, Unit]]:
    """Return the main figures of a play by name, each with its unit."""
    rows: dict[str, tuple[float | None, Unit]] = {
        "wait, mean": (report.waits.mean, "s"),
        "wait, p95": (report.waits.p95, "s"),
        "execution, p95": (report.turnaround.p95, "s"),
        "refused": (float(report.refused), ""),
        "unfinished": (float(report.unfinished), ""),
        "spent": (float(report.spent_usd), "$"),
        "slots busy": (_percent(report.slot_utilisation), "%"),
    }
    groups: dict[str, Mapping[str, WaitFigures]] = {"queue": report.queues, "tier": report.tiers}
    for kind, group in groups.items():
        rows |= {f"{kind} {name}: wait, p95": (found.p95, "s") for name, found in group.items()}
    for name, pool in report.pools.items():
        if pool.waits.count:
            rows[f"pool {name}: wait, p95"] = pool.waits.p95, "s"
        rows[f"pool {name}: units used"] = _percent(pool.utilisation), "%"
        rows[f"pool {name}: fairness"] = pool.fairness, "index"
    spread = jain(one.waits.mean for one in report.clients.values() if one.waits.count)
    rows["waits even among clients (Jain)"] = spread, "index"
    return {name: row for name, row in rows.items() if row[0] is not None}


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
