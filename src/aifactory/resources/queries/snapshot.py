"""What a decision is made from: lane heads and the gates of queues, clients, workers, providers, usage."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from aifactory.kernel.db import Tx
from aifactory.resources.gates import (
    ClientGate,
    Head,
    Lane,
    PoolGate,
    ProviderGate,
    QueueGate,
    Snapshot,
    UsageGate,
    WorkerGate,
)
from aifactory.resources.interface import Route, Urgency
from aifactory.resources.providers import has_key
from aifactory.resources.queries import control, quotas
from aifactory.resources.queries.tick import Control
from aifactory.resources.scores import decayed


async def load_lanes(tx: Tx, *, depth: int = 0, depths: Mapping[int, int] | None = None) -> list[Lane]:
    """Load the first ``depth`` jobs of every lane, or those of some lanes as deep as ``depths`` says."""
    rows = await tx.raw.fetch(
        """
        SELECT l.id, l.route_id, l.worker, l.queue, l.client_id, l.urgency,
               h.job_id, h.aged_from, h.seq, h.units, h.needs, h.attempt, h.timeout_seconds
        FROM lanes l LEFT JOIN unnest($2::bigint[], $3::int[]) AS d (id, depth) USING (id)
        CROSS JOIN LATERAL (
            SELECT job_id, aged_from, seq, units, needs, attempt, timeout_seconds FROM resource_queue q
            WHERE q.lane_id = l.id ORDER BY aged_from, seq LIMIT coalesce(d.depth, $1)) h
        WHERE $2 IS NULL OR d.id IS NOT NULL
        ORDER BY l.id, h.aged_from, h.seq
        """,
        depth,
        None if depths is None else list(depths),
        None if depths is None else list(depths.values()),
    )
    grouped: dict[int, list[Any]] = {}
    for row in rows:
        grouped.setdefault(row["id"], []).append(row)
    routes = await control.routes(tx, {group[0]["route_id"] for group in grouped.values()})
    return [
        _lane(group, routes[group[0]["route_id"]], (depths or {}).get(lane_id, depth))
        for lane_id, group in grouped.items()
    ]


def _lane(group: list[Any], route: Route, depth: int) -> Lane:
    first = group[0]
    heads = tuple(
        Head(
            job_id=row["job_id"],
            aged_from=row["aged_from"],
            seq=row["seq"],
            units=row["units"],
            needs=row["needs"] or {},
            attempt=row["attempt"],
            timeout_seconds=row["timeout_seconds"],
        )
        for row in group
    )
    return Lane(
        id=first["id"],
        hops=route.hops,
        further_pools=route.further_pools,
        local=route.local,
        alone=route.alone,
        worker=first["worker"],
        queue=first["queue"],
        client_id=first["client_id"],
        urgency=Urgency(first["urgency"]),
        heads=heads,
        complete=len(heads) < depth,
    )


async def load_snapshot(
    tx: Tx,
    *,
    lanes: list[Lane],
    pools: dict[str, PoolGate],
    control: Control,
    slots: int,
    local_slots: int,
    idle: bool,
    environ: Mapping[str, str],
) -> Snapshot:
    """Load the gates of the loaded lanes, for a process with this environment."""
    running = await tx.raw.fetch(
        "SELECT client_id, worker, pool, count(*) AS jobs FROM running_jobs GROUP BY client_id, worker, pool"
    )
    clients = {lane.client_id for lane in lanes} | {row["client_id"] for row in running}
    set_up = await _load_set_up(tx)
    return Snapshot(
        lanes=tuple(lanes),
        pools=pools,
        queues=set_up.queues,
        clients=await _client_gates(tx, clients, running),
        workers=_worker_gates(set_up, running),
        usage=await _usage_gates(tx, clients, running),
        slots=slots,
        local_slots=local_slots,
        idle=idle,
        start_seq=control.start_seq,
        enabled=control.enabled,
        providers=_provider_gates(set_up, environ),
        quotas=await quotas.load_gates(tx, clients) if control.has_quotas else {},
    )


class _Provider(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    api_key_variable: str | None
    active: bool
    opens_at: datetime | None
    probes: int


class _Worker(msgspec.Struct, frozen=True, kw_only=True):
    worker: str
    max_running: int | None
    active: bool


class _SetUp(msgspec.Struct, frozen=True, kw_only=True):
    """What operators set up, few rows of each."""

    queues: dict[str, QueueGate]
    workers: tuple[_Worker, ...]
    providers: tuple[_Provider, ...]


async def _load_set_up(tx: Tx) -> _SetUp:
    """Load queues, workers and providers in one round trip.

    Calls that began before a circuit was to be half-open are no probes, however long they still run.
    """
    row = await tx.raw.fetchrow(
        """
        SELECT (SELECT json_object_agg(queue, q) FROM (
                SELECT queue, rank, policy, share_percent, full_age_seconds, paused FROM queues) q) AS queues,
            (SELECT coalesce(json_agg(w), '[]') FROM (
                SELECT worker, max_running, active AND circuit <> 'open' AS active
                FROM worker_registry) w) AS workers,
            (SELECT coalesce(json_agg(p), '[]') FROM (
                SELECT provider, api_key_variable,
                    active AND (circuit <> 'open' OR circuit_until IS NOT NULL) AS active,
                    CASE WHEN circuit = 'open' THEN circuit_until END AS opens_at,
                    CASE WHEN circuit = 'open' THEN (SELECT count(*) FROM running_jobs r WHERE
                        r.provider = o.provider AND r.started_at >= o.circuit_until) ELSE 0 END AS probes
                FROM providers o) p) AS providers
        """
    )
    return msgspec.convert(dict(row or {}), _SetUp)


async def _client_gates(tx: Tx, clients: set[UUID], running: list[Any]) -> dict[UUID, ClientGate]:
    counts: dict[UUID, int] = {}
    for row in running:
        counts[row["client_id"]] = counts.get(row["client_id"], 0) + row["jobs"]
    rows = await tx.raw.fetch(
        """
        SELECT c.client_id, t.points, t.weight, c.suspended,
               coalesce(c.max_running, t.max_running) AS max_running
        FROM client_resource_limits c JOIN tiers t USING (tier) WHERE c.client_id = ANY($1)
        """,
        list(clients),
    )
    return {
        row["client_id"]: ClientGate(**dict(row), running=counts.get(row["client_id"], 0)) for row in rows
    }


def _worker_gates(set_up: _SetUp, running: list[Any]) -> dict[str, WorkerGate]:
    counts: dict[str, int] = {}
    for row in running:
        counts[row["worker"]] = counts.get(row["worker"], 0) + row["jobs"]
    return {
        one.worker: WorkerGate(
            worker=one.worker,
            max_running=one.max_running,
            active=one.active,
            running=counts.get(one.worker, 0),
        )
        for one in set_up.workers
    }


async def _usage_gates(tx: Tx, clients: set[UUID], running: list[Any]) -> dict[tuple[UUID, str], UsageGate]:
    counts: dict[tuple[UUID, str], int] = {}
    for row in running:
        key = (row["client_id"], row["pool"])
        counts[key] = counts.get(key, 0) + row["jobs"]
    rows = await tx.raw.fetch(
        """
        SELECT client_id, pool, usage, as_of, active, last_start_seq FROM client_pool_usage
        WHERE active OR client_id = ANY($1)
        """,
        list(clients),
    )
    gates = {
        (row["client_id"], row["pool"]): UsageGate(
            usage=decayed(row["usage"], (tx.now - row["as_of"]) / timedelta(seconds=1)),
            active=row["active"],
            last_start_seq=row["last_start_seq"],
            running=counts.get((row["client_id"], row["pool"]), 0),
        )
        for row in rows
    }
    for key, count in counts.items():
        gates.setdefault(key, UsageGate(running=count))
    return gates


def _provider_gates(set_up: _SetUp, environ: Mapping[str, str]) -> dict[str, ProviderGate]:
    """``key_present`` is for those that submit and give up work: here a process's own environment decides."""
    return {
        one.provider: ProviderGate(
            provider=one.provider,
            active=one.active,
            here=has_key(one.api_key_variable, environ),
            opens_at=one.opens_at,
            probes=one.probes,
        )
        for one in set_up.providers
    }
