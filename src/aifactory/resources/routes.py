"""HTTP of the Resource Manager: executions, costs, queues, the scheduler."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from aifactory.kernel import audit
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.http import (
    MAX_SOURCE_BODY,
    JsonResponse,
)
from aifactory.kernel.ids import ExecutionId, RequestId, parse_id, text_id
from aifactory.kernel.money import usd
from aifactory.kernel.principal import OPERATOR_READERS, OPERATORS, READERS, WRITERS, Principal
from aifactory.resources import schemas
from aifactory.resources.engine import Engine
from aifactory.resources.interface import (
    ExecutionNotFound,
    ExecutionView,
    NewRequest,
    RequestBook,
    Resources,
)
from aifactory.resources.interface.http import client_of, execute_at_once
from aifactory.resources.pool_schemas import pool_state_of
from aifactory.resources.queries import tick as tick_queries
from aifactory.resources.queries import views

AnyRequest = Request[Any, Any, Any]


# Executions.


@post(
    "/api/execute",
    roles=WRITERS,
    status_code=202,
    tags=["Execution"],
    request_max_body_size=MAX_SOURCE_BODY,
    creates=True,
    waits=True,
    refusals=[402, 404, 429],
    also={200: ("With Prefer: wait, the ended execution.", schemas.Execution)},
)
async def execute(
    request: AnyRequest,
    data: JSONBody[schemas.ExecuteInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    book: NamedDependency[RequestBook],
    principal: NamedDependency[Principal],
) -> Response[schemas.Execution]:
    """Execute a named template at once; the request is stored too."""

    async def read(tx: Tx) -> NewRequest:
        return NewRequest(
            client_id=await client_of(tx, resources, data.client_id, principal),
            key_id=principal.key_id,
            template=data.template,
            parameters=data.parameters,
            urgency=data.urgency,
            accuracy=data.accuracy,
            run_after=data.run_after,
            deadline=data.deadline,
            metadata=data.metadata,
        )

    return await execute_at_once(request, read, db=db, resources=resources, book=book, caller=principal)


async def execution_by_any_id(tx: Tx, resources: Resources, text: str, caller: Principal) -> ExecutionView:
    """Return an execution by its id, or the latest one of a request. Raises ExecutionNotFound."""
    execution_id = parse_id("exec", text)
    request_id = parse_id("req", text)
    if request_id is not None:
        execution_id = await views.execution_of_request(tx, RequestId(request_id))
    if execution_id is not None:
        found = await resources.find_execution(
            tx, client_id=caller.visible_client(), execution_id=ExecutionId(execution_id)
        )
        if found is not None:
            return found
    raise ExecutionNotFound("There is no execution with this id.")


@get("/api/execution/{execution_id:str}", roles=READERS, tags=["Execution"])
async def get_execution(
    execution_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[schemas.Execution]:
    """Show an execution (or a request's latest): state, stages, progress, cost so far."""
    async with db.begin() as tx:
        found = await execution_by_any_id(tx, resources, execution_id, principal)
    headers = {"X-Cost-Usd": f"{usd(found.spent_nano):f}"} if found.state.final else {}
    return JsonResponse(schemas.execution_of(found), headers=headers)


@post("/api/execution/{execution_id:str}/cancel", roles=WRITERS, status_code=200, tags=["Execution"])
async def cancel_execution(
    execution_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> schemas.Execution:
    """End an execution now: what waits is dropped, what runs is aborted, the rest of the hold is released.

    An execution that has ended is answered unchanged.
    """
    async with db.begin() as tx:
        found = await execution_by_any_id(tx, resources, execution_id, principal)
        ended = await resources.cancel(tx, found.id)
    return schemas.execution_of(ended)


@get("/api/cost/{execution_id:str}", roles=READERS, tags=["Cost"])
async def get_cost(
    execution_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> schemas.Cost:
    """Show what an execution was estimated to cost, holds, and really cost, call by call."""
    async with db.begin() as tx:
        found = await execution_by_any_id(tx, resources, execution_id, principal)
        held = await views.outstanding_hold(tx, found.id)
        calls = await views.calls_of(tx, found.id)
    return schemas.Cost(
        execution_id=text_id("exec", found.id),
        state=found.state,
        estimated_cost_usd=usd(found.estimated_nano),
        held_in_all_usd=usd(found.held_nano),
        held_now_usd=usd(held),
        cost_usd=usd(found.spent_nano),
        calls=[schemas.call_of(row) for row in calls],
    )


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
    db: NamedDependency[Database], engine: NamedDependency[Engine], principal: NamedDependency[Principal]
) -> schemas.SchedulerState:
    """Switch scheduling on for the whole fleet."""
    return await _switch(db, engine, principal, enabled=True)


@post("/admin/scheduler/stop", roles=OPERATORS, status_code=200, tags=["Scheduler"])
async def stop_scheduler(
    db: NamedDependency[Database], engine: NamedDependency[Engine], principal: NamedDependency[Principal]
) -> schemas.SchedulerState:
    """Stop claiming in the whole fleet, restarts included; what runs goes on to its end."""
    return await _switch(db, engine, principal, enabled=False)


async def _switch(
    db: Database, engine: Engine, caller: Principal, *, enabled: bool
) -> schemas.SchedulerState:
    async with db.begin() as tx:
        before = await _scheduler_state(tx)
        await tick_queries.set_enabled(tx, enabled=enabled, by=caller.label)
        await audit.record(
            tx,
            actor=caller.label,
            action="scheduler.start" if enabled else "scheduler.stop",
            object_kind="scheduler",
            object_id="fleet",
            before={"enabled": before.enabled},
            after={"enabled": enabled},
        )
        tx.after_commit(engine.wake)
        return await _scheduler_state(tx)


async def _scheduler_state(tx: Tx) -> schemas.SchedulerState:
    control, processes = await views.scheduler_state(tx)
    return schemas.SchedulerState(
        enabled=control["enabled"],
        last_tick_at=control["last_tick_at"],
        changed_at=control["changed_at"],
        changed_by=control["changed_by"],
        processes=[
            schemas.Process(
                id=str(row["id"]),
                host=row["host"],
                pid=row["pid"],
                alive=row["alive"],
                running=row["running"],
                slots=row["slots"],
                local_slots=row["local_slots"],
                started_at=row["started_at"],
                renewed_at=row["renewed_at"],
            )
            for row in processes
        ],
    )


@post("/admin/scheduler/process", roles=OPERATORS, status_code=200, tags=["Scheduler"])
async def process_round(engine: NamedDependency[Engine]) -> schemas.Round:
    """Do one scheduling round in this process now."""
    tick = await engine.tick()
    return schemas.Round(started=len(tick.claimed), promoted=tick.promoted, refused=tick.refused)


ROUTES = [
    execute,
    get_execution,
    cancel_execution,
    get_cost,
    get_queue_status,
    get_status,
    get_scheduler,
    start_scheduler,
    stop_scheduler,
    process_round,
]
