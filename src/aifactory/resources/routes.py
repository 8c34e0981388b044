"""HTTP of the Resource Manager: executions, costs, queues, the scheduler."""

from typing import Any

from litestar import Request, get, post
from litestar.di import NamedDependency

from aifactory.kernel import audit
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.principal import OPERATOR_READERS, OPERATORS, READERS, Principal
from aifactory.resources import schemas
from aifactory.resources.engine import Engine
from aifactory.resources.pool_schemas import pool_state_of
from aifactory.resources.queries import tick as tick_queries
from aifactory.resources.queries import upkeep, views

AnyRequest = Request[Any, Any, Any]


# Queues and pools.


@get("/api/queue/status", roles=READERS, tags=["Queue"])
async def get_queue_status(
    db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> schemas.QueueStatus:
    """Show the five queues: a client sees its own jobs, the operator everyone's."""
    async with db.begin() as tx:
        rows = await views.queue_depths(tx, principal.visible_client())
    return schemas.QueueStatus(queues=[schemas.queue_depth_of(row, tx.now) for row in rows])


@get("/status", roles=READERS, tags=["Health"])
async def get_status(db: NamedDependency[Database], principal: NamedDependency[Principal]) -> schemas.Status:
    """Show pools and queues at a glance."""
    async with db.begin() as tx:
        rows = await views.queue_depths(tx, principal.visible_client())
        pools = await tick_queries.read_pools(tx)
    return schemas.Status(
        queues=[schemas.queue_depth_of(row, tx.now) for row in rows],
        pools=[
            pool_state_of(gate, unit)
            for gate, unit in pools
            if gate.dedicated_client_id in (None, principal.client_id) or principal.client_id is None
        ],
    )


# The scheduler.


@get("/admin/scheduler", roles=OPERATOR_READERS, tags=["Scheduler"])
async def get_scheduler(db: NamedDependency[Database]) -> schemas.SchedulerState:
    """Show whether scheduling is on, and every process of the fleet."""
    async with db.begin() as tx:
        return await _scheduler_state(tx)


@post("/admin/scheduler/start", roles=OPERATORS, status_code=200, tags=["Scheduler"])
async def start_scheduler(
    db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> schemas.SchedulerState:
    """Switch scheduling on for the whole fleet."""
    return await _switch(db, principal, enabled=True)


@post("/admin/scheduler/stop", roles=OPERATORS, status_code=200, tags=["Scheduler"])
async def stop_scheduler(
    db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> schemas.SchedulerState:
    """Stop claiming in the whole fleet, restarts included; what runs goes on to its end."""
    return await _switch(db, principal, enabled=False)


async def _switch(db: Database, caller: Principal, *, enabled: bool) -> schemas.SchedulerState:
    async with db.begin() as tx:
        before = await _scheduler_state(tx)
        await tick_queries.set_enabled(tx, enabled=enabled, by=caller.label)
        await audit.record_change(
            tx,
            actor=caller.label,
            action="scheduler.start" if enabled else "scheduler.stop",
            object_kind="scheduler",
            object_id="fleet",
            before={"enabled": before.enabled},
            after={"enabled": enabled},
        )
        tx.announce("work")  # whichever process starts work
        return await _scheduler_state(tx)


async def _scheduler_state(tx: Tx) -> schemas.SchedulerState:
    control, processes = await views.scheduler_state(tx)
    return schemas.SchedulerState(
        enabled=control["enabled"],
        last_tick_at=views.last_tick_at(control, processes),
        resumed_at=control["resumed_at"],
        changed_at=control["changed_at"],
        changed_by=control["changed_by"],
        orphans=await upkeep.count_orphans(tx),
        lost_runs=await upkeep.count_lost_runs(tx),
        processes=[schemas.process_of(row, tx.now) for row in processes],
    )


@post("/admin/scheduler/process", roles=OPERATORS, status_code=200, tags=["Scheduler"])
async def process_round(engine: NamedDependency[Engine]) -> schemas.Round:
    """Do one scheduling round in this process now."""
    tick = await engine.tick()
    return schemas.Round(started=len(tick.claimed), promoted=tick.promoted, refused=tick.refused)


ROUTES = [
    get_queue_status,
    get_status,
    get_scheduler,
    start_scheduler,
    stop_scheduler,
    process_round,
]
