"""HTTP of executions: start, look at, cancel and retry them; what they cost."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.http import MAX_SOURCE_BODY, JsonResponse
from aifactory.kernel.ids import RequestId, parse_id
from aifactory.kernel.money import usd
from aifactory.kernel.principal import EXECUTORS, MONEY_READERS, WORK_READERS, WRITERS, Principal
from aifactory.resources import schemas
from aifactory.resources.cost_schemas import Cost, cost_of
from aifactory.resources.execution_inputs import check_choice, new_request, pointers_of
from aifactory.resources.interface import (
    AlreadyStarted,
    ExecutionState,
    ExecutionView,
    NewExecution,
    NewRequest,
    RequestBook,
    Resources,
    Submissions,
)
from aifactory.resources.interface.http import execute_at_once, execution_by_any_id, submit_at_once
from aifactory.resources.queries import views
from aifactory.resources.submitted_schemas import SubmittedExecution

AnyRequest = Request[Any, Any, Any]

EXECUTE = "execute"  #: the scope with which a worker may start work


# Starting.


@post(
    "/api/execute",
    roles=EXECUTORS,
    worker_scope=EXECUTE,
    status_code=202,
    tags=["Execution"],
    request_max_body_size=MAX_SOURCE_BODY,
    creates=True,
    waits=True,
    refusals=[402, 404, 429],
    also={
        200: (
            "A price (dryRun) or, with Prefer: wait, the ended execution.",
            schemas.ExecutionQuote,
            schemas.Execution,
        )
    },
)
async def execute(
    request: AnyRequest,
    data: JSONBody[schemas.ExecuteInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    book: NamedDependency[RequestBook],
    submissions: NamedDependency[Submissions],
    principal: NamedDependency[Principal],
    dry_run: Annotated[bool, QueryParameter(name="dryRun")] = False,
) -> Response[SubmittedExecution]:
    """Execute a named template, an inline ``workerFlow`` or a single ``action`` at once.

    The request is stored too. Flows are for admins and for workers with the scope ``execute``, who name the
    client: ``clientId``. ``dryRun=true`` checks and prices it and stores nothing (200).
    """
    return await execute_input(
        request,
        data,
        db=db,
        resources=resources,
        book=book,
        submissions=submissions,
        caller=principal,
        dry_run=dry_run,
    )


async def execute_input(
    request: AnyRequest,
    data: schemas.ExecuteInput,
    *,
    db: Database,
    resources: Resources,
    book: RequestBook,
    submissions: Submissions,
    caller: Principal,
    dry_run: bool = False,
) -> Response[Any]:
    """Do what ``POST /api/execute`` does."""
    check_choice(data, caller)

    async def read(tx: Tx) -> NewRequest:
        return await new_request(tx, resources, book, data, caller)

    with pointers_of(data):
        if not dry_run:
            return await execute_at_once(
                request,
                read,
                db=db,
                resources=resources,
                book=book,
                submissions=submissions,
                caller=caller,
            )
        async with db.begin() as tx:
            new = (await book.check_request(tx, await read(tx))).new
            quote = await resources.quote(tx, new)
        return JsonResponse(schemas.quote_of(new, quote), status_code=200)


@post(
    "/api/execution/{execution_id:str}/retry",
    roles=WRITERS,
    status_code=202,
    tags=["Execution"],
    creates=True,
    waits=True,
    refusals=[402, 409, 410, 429],
    also={200: ("With Prefer: wait, the ended execution.", schemas.Execution)},
)
async def retry_execution(
    request: AnyRequest,
    execution_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    book: NamedDependency[RequestBook],
    principal: NamedDependency[Principal],
) -> Response[SubmittedExecution]:
    """Execute a request again, as it was, whose latest execution ended without success; else 409."""

    async def prepare(tx: Tx) -> NewExecution:
        found = await execution_by_any_id(tx, resources, execution_id, principal)
        return await book.retry_request(
            tx,
            request_id=found.request_id,
            client_id=principal.visible_client(),
            key_id=principal.key_id,
        )

    return await submit_at_once(request, prepare, db=db, resources=resources, caller=principal)


@post(
    "/api/queue/enqueue",
    roles=WRITERS,
    status_code=202,
    tags=["Queue"],
    request_max_body_size=MAX_SOURCE_BODY,
    creates=True,
    waits=True,
    refusals=[402, 404, 409, 410, 429],
    also={200: ("With Prefer: wait, the ended execution.", schemas.Execution)},
)
async def enqueue(
    request: AnyRequest,
    data: JSONBody[schemas.EnqueueInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    book: NamedDependency[RequestBook],
    principal: NamedDependency[Principal],
) -> Response[SubmittedExecution]:
    """Execute a stored request: a draft, or one again whose execution has ended."""

    async def prepare(tx: Tx) -> NewExecution:
        return await book.open_draft(
            tx,
            request_id=RequestId(parse_id("req", data.request_id) or UUID(int=0)),
            client_id=principal.visible_client(),
            key_id=principal.key_id,
            parameters=data.parameters,
        )

    return await submit_at_once(request, prepare, db=db, resources=resources, caller=principal)


# Looking and ending.


async def show_execution(
    text: str, *, db: Database, resources: Resources, caller: Principal
) -> Response[schemas.Execution]:
    """Answer with an execution, or a request's latest, as it is now."""
    async with db.begin() as tx:
        return shown(await execution_by_any_id(tx, resources, text, caller))


def shown(found: ExecutionView) -> Response[schemas.Execution]:
    """Return an execution as an answer."""
    headers = {"X-Cost-Usd": f"{usd(found.spent_nano):f}"} if found.state.final else {}
    return JsonResponse(schemas.execution_of(found), headers=headers)


@get("/api/execution/{execution_id:str}", roles=WORK_READERS, worker_scope=EXECUTE, tags=["Execution"])
async def get_execution(
    execution_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[schemas.Execution]:
    """Show an execution (or a request's latest): state, stages, progress, cost so far."""
    return await show_execution(execution_id, db=db, resources=resources, caller=principal)


@post(
    "/api/execution/{execution_id:str}/cancel",
    roles=EXECUTORS,
    worker_scope=EXECUTE,
    status_code=200,
    tags=["Execution"],
)
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


@delete("/api/queue/{execution_id:str}", roles=WRITERS, status_code=200, tags=["Queue"], refusals=[409])
async def dequeue(
    execution_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> schemas.Execution:
    """Take a request out of the queue if nothing of it has started yet, else 409; doing it twice is fine."""
    async with db.begin() as tx:
        found = await execution_by_any_id(tx, resources, execution_id, principal)
        state, started = await views.lock_state(tx, found.id)
        if started or state not in (ExecutionState.QUEUED, ExecutionState.CANCELLED):
            message = "It is in no queue any more; POST /api/execution/{id}/cancel ends what runs."
            raise AlreadyStarted(f"This execution is {state}. {message}", current_state=state)
        ended = await resources.cancel(tx, found.id)
    return schemas.execution_of(ended)


@get("/api/cost/{execution_id:str}", roles=MONEY_READERS, tags=["Cost"])
async def get_cost(
    execution_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Cost:
    """Show what an execution was estimated to cost, holds, and really cost, by stage and call by call."""
    async with db.begin() as tx:
        found = await execution_by_any_id(tx, resources, execution_id, principal)
        held = await views.outstanding_hold(tx, found.id)
        calls = await views.calls_of(tx, found.id)
    return cost_of(found, calls, held)


ROUTES: list[HTTPRouteHandler] = [
    execute,
    retry_execution,
    enqueue,
    get_execution,
    cancel_execution,
    dequeue,
    get_cost,
]
