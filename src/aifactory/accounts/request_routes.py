"""HTTP of requests."""

from decimal import Decimal
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from aifactory.accounts import queries, service
from aifactory.accounts.interface import DRAFT, RequestNotFinished
from aifactory.accounts.models import ClientRequestRow
from aifactory.accounts.request_schemas import (
    ExecuteInput,
    NewRequestInput,
    QuoteView,
    RequestDetail,
    RequestStatus,
    RequestView,
    ResultView,
    SubmittedRequest,
    later_view,
    quote_view,
    request_detail,
    request_status,
    request_view,
    result_view,
    submitted_view,
)
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.http import (
    MAX_SOURCE_BODY,
    JsonResponse,
    created_or_ended,
    creation_call,
    encode,
    path_id,
)
from aifactory.kernel.idempotency import Answer, once
from aifactory.kernel.ids import ClientId, RequestId, text_id
from aifactory.kernel.page import Page, PageRequest, page_as, page_of, page_request
from aifactory.kernel.principal import READERS, WRITERS, Principal
from aifactory.resources.interface import (
    CheckedRequest,
    ExecutionState,
    ExecutionView,
    NewRequest,
    Resources,
    Submissions,
    Submitted,
    refuse_erased,
)
from aifactory.resources.interface.http import client_of, create_once

AnyRequest = Request[Any, Any, Any]


@post(
    "/requests",
    roles=WRITERS,
    status_code=202,
    tags=["Requests"],
    request_max_body_size=MAX_SOURCE_BODY,
    creates=True,
    waits=True,
    refusals=[402, 404, 429],
    also={
        200: ("A price (dryRun) or, with Prefer: wait, the result.", QuoteView, ResultView),
        201: ("A draft.", RequestView),
    },
)
async def create_request(
    request: AnyRequest,
    data: JSONBody[NewRequestInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    submissions: NamedDependency[Submissions],
    principal: NamedDependency[Principal],
    dry_run: Annotated[bool, QueryParameter(name="dryRun")] = False,
) -> Response[SubmittedRequest]:
    """Store a request and execute it: 202, or 201 as a draft with ``execute: false``.

    ``dryRun=true`` checks and prices it and stores nothing (200). ``Prefer: wait=N`` answers with the
    result (200) if the execution ends within N seconds.
    """

    async def check(tx: Tx) -> CheckedRequest:
        new = await _read_request(tx, resources, data, principal)
        return await service.check_request(tx, resources=resources, new=new, timeout_ms=data.timeout_ms)

    def accept(checked: CheckedRequest, submitted: Submitted) -> Answer:
        return _created(checked.row, checked.new.template_version, submitted)

    if dry_run:
        async with db.begin() as tx:
            described = (await check(tx)).new
            quote = await resources.quote(tx, described)
        return JsonResponse[Any](quote_view(described, quote), status_code=200)
    if data.execute:
        answer = await create_once(request, check, accept, submissions=submissions, caller=principal)
    else:
        answer = await _store_draft(request, data, db=db, resources=resources, caller=principal)
    return await _answer(request, answer, db, resources)


async def _store_draft(
    request: AnyRequest, data: NewRequestInput, *, db: Database, resources: Resources, caller: Principal
) -> Answer:
    call = await creation_call(request, caller)
    async with db.begin() as tx:

        async def work() -> Answer:
            new = await _read_request(tx, resources, data, caller)
            row, version = await service.store_draft(
                tx, resources=resources, new=new, timeout_ms=data.timeout_ms
            )
            return _created(row, version, None)

        return await once(tx, call, work)


def _created(row: ClientRequestRow, template_version: int, submitted: Submitted | None) -> Answer:
    return Answer(
        status=201 if submitted is None else 202,
        body=encode(submitted_view(row, template_version, submitted)),
        location=f"/requests/{text_id('req', row.id)}",
    )


async def _read_request(tx: Tx, resources: Resources, data: NewRequestInput, caller: Principal) -> NewRequest:
    return NewRequest(
        client_id=await client_of(tx, resources, data.client_id, caller),
        key_id=caller.key_id,
        template=data.template,
        parameters=data.parameters,
        urgency=data.urgency,
        accuracy=data.accuracy,
        run_after=data.run_after,
        deadline=data.deadline,
        off_peak=data.optimization.off_peak,
        metadata=data.metadata,
    )


async def _answer(request: AnyRequest, answer: Answer, db: Database, resources: Resources) -> Response[Any]:
    request_id = RequestId(path_id("req", (answer.location or "").split("/")[2]))

    async def look() -> tuple[ResultView, Decimal] | None:
        async with db.begin() as tx:
            latest = await _latest(tx, resources, request_id)
            if latest is None or not latest.state.final:
                return None
            row = await service.get_request(tx, request_id=request_id, client_id=None)
        view = result_view(row, latest)
        return view, view.cost_usd

    async def current() -> RequestView:
        async with db.begin() as tx:
            row = await service.get_request(tx, request_id=request_id, client_id=None)
            return later_view(row, await _latest(tx, resources, request_id))

    async def until_ended(seconds: float) -> None:
        async with db.begin() as tx:
            latest = await _latest(tx, resources, request_id)
        if latest is not None and not latest.state.final:
            await resources.wait_for_end(latest.id, seconds)

    return await created_or_ended(request, answer, look, current, until_ended=until_ended)


async def _latest(tx: Tx, resources: Resources, request_id: RequestId) -> ExecutionView | None:
    return (await resources.latest_executions(tx, [request_id])).get(request_id)


async def _find(
    text: str, db: Database, resources: Resources, caller: Principal
) -> tuple[ClientRequestRow, ExecutionView | None]:
    """Return a request that the caller may see, and its latest execution. Raises RequestNotFound."""
    wanted = RequestId(path_id("req", text))
    async with db.begin() as tx:
        row = await service.get_request(tx, request_id=wanted, client_id=caller.visible_client())
        return row, await _latest(tx, resources, wanted)


@get("/requests", roles=READERS, tags=["Requests"])
async def list_requests(
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
    state_: Annotated[ExecutionState | None, QueryParameter(name="state")] = None,
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[RequestView]:
    """List requests, newest first, with their latest execution.

    With ``state``: the executions in this state, each with its request.
    """
    page, visible = page_request(limit, cursor), principal.visible_client()
    async with db.begin() as tx:
        if state_ is not None:
            return await _list_by_state(tx, resources, visible, state_, page)
        rows = await queries.list_requests(tx, client_id=visible, page=page)
        latest = await resources.latest_executions(tx, [RequestId(row.id) for row in rows])
    views = [request_view(row, latest.get(RequestId(row.id))) for row in rows]
    return page_of(views, [row.id for row in rows], page)


async def _list_by_state(
    tx: Tx,
    resources: Resources,
    visible: ClientId | None,
    state: ExecutionState,
    page: PageRequest,
) -> Page[RequestView]:
    found = await resources.list_executions(tx, client_id=visible, state=state, page=page)
    rows = await queries.load_requests(tx, [execution.request_id for execution in found.data])
    views = [
        request_view(rows[execution.request_id], execution)
        for execution in found.data
        if execution.request_id in rows
    ]
    return page_as(found, views)


@get("/requests/{request_id:str}", roles=READERS, tags=["Requests"])
async def get_request(
    request_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> RequestDetail:
    """Show a request with its parameters and its latest execution."""
    return request_detail(*await _find(request_id, db, resources, principal))


@post(
    "/requests/{request_id:str}/execute",
    roles=WRITERS,
    status_code=202,
    tags=["Requests"],
    request_max_body_size=MAX_SOURCE_BODY,
    creates=True,
    waits=True,
    refusals=[402, 410, 429],
    also={200: ("With Prefer: wait, the result.", ResultView)},
)
async def execute_request(
    request: AnyRequest,
    request_id: FromPath[str],
    data: JSONBody[ExecuteInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[SubmittedRequest]:
    """Execute a draft, or a request again whose execution has ended, with parameters over the stored ones."""
    wanted = RequestId(path_id("req", request_id))
    call = await creation_call(request, principal)
    async with db.begin() as tx:

        async def work() -> Answer:
            row, new, submitted = await service.execute_request(
                tx,
                resources=resources,
                request_id=wanted,
                caller=principal,
                parameters=data.parameters,
            )
            return _created(row, new.template_version, submitted)

        answer = await once(tx, call, work)
    return await _answer(request, answer, db, resources)


@post("/requests/{request_id:str}/cancel", roles=WRITERS, status_code=200, tags=["Requests"])
async def cancel_request(
    request_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> RequestView:
    """End a request's execution now and give back what it holds; cancelling twice answers the same."""
    wanted = RequestId(path_id("req", request_id))
    async with db.begin() as tx:
        row, execution = await service.cancel_request(
            tx, resources=resources, request_id=wanted, client_id=principal.visible_client()
        )
        return request_view(row, execution)


@get("/requests/{request_id:str}/status", roles=READERS, tags=["Requests"])
async def get_request_status(
    request_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> RequestStatus:
    """Say where a request is: its state, its stages, its progress and what it has cost so far."""
    return request_status(*await _find(request_id, db, resources, principal))


@get("/requests/{request_id:str}/result", roles=READERS, tags=["Requests"], refusals=[409, 410])
async def get_request_result(
    request_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[ResultView]:
    """Show how a request ended and what it brought; 409 ``not_finished`` until then.

    410 ``content_erased`` when its tier keeps it no longer, or the operator has erased it.
    """
    row, latest = await _find(request_id, db, resources, principal)
    if latest is None or not latest.state.final:
        state = DRAFT if latest is None else latest.state.value
        raise RequestNotFinished(f"This request is {state}; there is no result yet.", current_state=state)
    refuse_erased(latest.erased_at, latest.erasure)
    view = result_view(row, latest)
    return JsonResponse(view, headers={"X-Cost-Usd": f"{view.cost_usd:f}"})


ROUTES: list[HTTPRouteHandler] = [
    create_request,
    list_requests,
    get_request,
    execute_request,
    cancel_request,
    get_request_status,
    get_request_result,
]
