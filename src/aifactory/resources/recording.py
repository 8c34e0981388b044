"""Recording: what ran in a span of time, written as a workload to be played; without names or content."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Database
from aifactory.resources.interface import ExecutionState, Hop, Usage
from aifactory.resources.pricing import Price
from aifactory.resources.queries import recording as queries
from aifactory.resources.simulation.recorded import (
    FORM,
    Header,
    RecordedAttempt,
    RecordedExecution,
    RecordedJob,
    RecordedRoute,
    most_at_once,
    turnaround_of,
)

_GIVEN_UP = (ExecutionState.CANCELLED, ExecutionState.EXPIRED)


async def record(database: Database, since: datetime, until: datetime) -> list[bytes]:
    """Return the lines of a recorded workload: what was submitted in a span of time, and the ground of now.

    Prices are those of each call. While no process runs, there were as many slots as were used. Budgets have
    no limit, for what they refused was not recorded.
    """
    async with database.begin() as tx:
        controls = await queries.read_controls(tx)
    names = {row["client_id"]: f"client-{n}" for n, row in enumerate(controls["clients"], 1)}
    routes = {row["id"]: n for n, row in enumerate(controls["routes"])}
    writer = _Writer(since, names, routes, controls["routes"])
    executions: list[RecordedExecution] = []
    after, before = queries.ids_around(since, until)
    while True:
        async with database.begin() as tx:
            batch = await queries.read_batch(tx, after, before)
        if not batch:
            break
        after = batch[-1][0]["id"]
        executions += [
            writer.execution(*one) for one in batch if since <= one[0]["created_at"] < until and one[1]
        ]
    executions.sort(key=lambda one: one.arrives)
    listed = [_route(row) for row in controls["routes"]]
    (fleet,) = controls["slots"]
    slots, local_slots = (
        fleet[name] or most_at_once(executions, listed, local=name == "local_slots")
        for name in ("slots", "local_slots")
    )
    run = {
        "start": since,
        "hours": max(1e-6, (until - since).total_seconds() / 3600),
        "slots": slots,
        "local_slots": local_slots,
        "turnaround_ms": round(1000 * turnaround_of(executions, listed, slots), 3),
    }
    ground = {"run": run, **_ground(controls, names)}
    header = Header(form=FORM, ground=ground, routes=listed)
    return [msgspec.json.encode(line) for line in (header, *executions)]


def _ground(controls: dict[str, list[Any]], names: dict[UUID, str]) -> dict[str, Any]:
    pools = {row["pool"]: dict(row) for row in controls["pools"]}
    for pool in pools.values():
        del pool["pool"]
        pool["dedicated_client"] = names.get(pool.pop("dedicated_client_id"))
    return {
        "pools": pools,
        "queues": {row["queue"]: _without(row, "queue") for row in controls["queues"]},
        "tiers": {row["tier"]: _without(row, "tier") for row in controls["tiers"]},
        "clients": [
            {"name": names[row["client_id"]], **_without(row, "client_id")} for row in controls["clients"]
        ],
        "workers": {row["worker"]: row["max_running"] for row in controls["workers"]},
        "quotas": [
            {
                "clients": names[row["client_id"]],
                "pool": row["pool"],
                "period": row["period"],
                "units": row["units_limit"],
            }
            for row in controls["quotas"]
            if row["client_id"] in names
        ],
    }


def _without(row: Any, name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _route(row: Any) -> RecordedRoute:
    hops = msgspec.convert(row["hops"], tuple[Hop, ...])
    return RecordedRoute(hops=hops, further_pools=tuple(row["further_pools"]), local=row["local"])


class _Writer:
    """Turns rows into what is recorded of them."""

    def __init__(
        self, since: datetime, names: dict[UUID, str], routes: dict[int, int], route_rows: list[Any]
    ) -> None:
        self.since = since
        self.names = names
        self.routes = routes
        self.hops = {row["id"]: _route(row).hops for row in route_rows}

    def execution(self, row: Any, jobs: list[Any], attempts: dict[UUID, list[Any]]) -> RecordedExecution:
        """Return an execution with its jobs, oldest first."""
        given_up = ExecutionState(row["state"]) in _GIVEN_UP
        return RecordedExecution(
            client=self.names[row["client_id"]],
            urgency=row["urgency"],
            queue=row["queue"],
            arrives=self._seconds(row["created_at"]),
            ages_from=self._seconds(row["aged_from"]),
            hold_nano=row["held_nano"],
            ended=self._seconds(row["finished_at"]) if given_up else None,
            jobs=[
                self._job(job, parents, attempts.get(job["id"], []))
                for job, parents in zip(jobs, parents_of(jobs), strict=True)
            ],
        )

    def _seconds(self, moment: datetime) -> float:
        return round((moment - self.since).total_seconds(), 6)

    def _job(self, job: Any, parents: list[int], attempts: list[Any]) -> RecordedJob:
        return RecordedJob(
            kind=job["kind"],
            worker=job["worker"],
            route=self.routes[job["route_id"]],
            input_bound=job["input_bound"],
            output_limit=job["output_limit"],
            needs=job["needs"] or {},
            opened=self._seconds(job["created_at"]),
            parents=parents,
            attempts=list(self._attempts(attempts, self.hops[job["route_id"]])),
        )

    def _attempts(self, rows: list[Any], hops: tuple[Hop, ...]) -> Iterator[RecordedAttempt]:
        for number, row in enumerate(rows, start=1):
            hop = Hop(provider=row["provider"], model=row["model"], pool=row["pool"])
            usage, price = msgspec.convert((row["usage"], row["price"]), tuple[Usage | None, Price | None])
            ended = row["finished_at"]
            yield RecordedAttempt(
                began=self._seconds(row["started_at"]),
                seconds=None if ended is None else max(0.0, (ended - row["started_at"]).total_seconds()),
                hop=hops.index(hop) if hop in hops else len(hops),
                retry_seconds=None if number == len(rows) else _pause(row["attempt"]),
                usage=None if usage is None else _figures(usage),
                price=None if price is None else _figures(price),
            )


def _figures(of: Usage | Price) -> tuple[int, int, int]:
    """Return input, cached input, output: units, or nano-dollars for a million."""
    if isinstance(of, Usage):
        return of.input_units, of.cached_input_units, of.output_units
    return of.input_nano_per_million, of.cached_nano_per_million, of.output_nano_per_million


def _pause(attempt: int) -> float:
    """Return how long a job rests after an attempt, on average: that is not stored."""
    return 0.75 * min(60.0, 2.0 ** (attempt - 1))


def parents_of(jobs: list[Any]) -> list[list[int]]:
    """Return for each job, oldest first, the places of those whose ends opened it.

    What a settle opens is as old as the ends that it settled. If by then all that was there before had ended,
    it waited for all of it; else for the job that ended at that moment; else for none that is known.
    """
    found: list[list[int]] = []
    first = jobs[0]["created_at"] if jobs else None
    for job in jobs:
        opened = job["created_at"]
        before = [n for n, other in enumerate(jobs) if other["created_at"] < opened]
        ended = [n for n in before if (end := jobs[n]["finished_at"]) is not None and end <= opened]
        just = [n for n in ended if jobs[n]["finished_at"] == opened]
        if opened == first or not just:
            found.append([])
        else:
            found.append(ended if len(ended) == len(before) else just[:1])
    return found
