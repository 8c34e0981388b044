"""HTTP of the Orchestrator's older paths, as thin aliases; its handshake and process."""

import hashlib
from functools import partial
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.errors import invalid
from aifactory.kernel.http import (
    MAX_SOURCE_BODY,
    JsonResponse,
    created_response,
    creation_call,
    encode,
    wait_for,
)
from aifactory.kernel.idempotency import Answer, once
from aifactory.kernel.ids import text_id
from aifactory.kernel.money import usd
from aifactory.kernel.principal import EXECUTORS, READERS, WORK_READERS, Principal
from aifactory.resources import orchestrator, schemas
from aifactory.resources.execution_routes import EXECUTE, execute_input, show_execution, shown
from aifactory.resources.interface import (
    ExecutionNotFound,
    ExecutionState,
    ExecutionView,
    NewRequest,
    OutlineSource,
    RequestBook,
    Resources,
    Submissions,
)
from aifactory.resources.interface.http import client_of
from aifactory.resources.orchestrator_schemas import (
    HandshakeInput,
    HandshakeView,
    PipelineInput,
    ProcessInput,
    ProcessMetrics,
    ProcessResult,
    ProcessView,
    as_execute_input,
    camel_names,
)
from aifactory.resources.queries import handshakes as queries
from aifactory.resources.queries import views
from aifactory.resources.queries.handshakes import Handshake
from aifactory.resources.submitted_schemas import SubmittedExecution

AnyRequest = Request[Any, Any, Any]

WORKER, ACTION = "granulation", "granulate"
LONGEST_WAIT_SECONDS = 60.0
STATUSES = {ExecutionState.SUCCEEDED: "completed", ExecutionState.PARTIAL: "partial"}


@post(
    "/api/pipelines/execute",
    roles=EXECUTORS,
    worker_scope=EXECUTE,
    status_code=202,
    tags=["Orchestrator"],
    request_max_body_size=MAX_SOURCE_BODY,
    creates=True,
    waits=True,
    refusals=[402, 404, 429],
    also={200: ("With Prefer: wait, the ended execution.", schemas.Execution)},
)
async def execute_pipeline(
    request: AnyRequest,
    data: JSONBody[PipelineInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    book: NamedDependency[RequestBook],
    submissions: NamedDependency[Submissions],
    principal: NamedDependency[Principal],
) -> Response[SubmittedExecution]:
    """Do what ``POST /api/execute`` does; ``inputData`` are the parameters, in camelCase or snake_case."""
    wanted = as_execute_input(data)
    return await execute_input(
        request, wanted, db=db, resources=resources, book=book, submissions=submissions, caller=principal
    )


@get(
    "/api/executions/{execution_id:str}",
    roles=WORK_READERS,
    worker_scope=EXECUTE,
    tags=["Orchestrator"],
)
async def get_pipeline_execution(
    execution_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[schemas.Execution]:
    """Do what ``GET /api/execution/{id}`` does; it knows the names that were given in handshakes, too."""
    async with db.begin() as tx:
        scope = orchestrator.scope_of(principal)
        if (held := await queries.find_handshake(tx, scope=scope, name=execution_id)) is not None:
            return shown(await _find(tx, resources, held))
    return await show_execution(execution_id, db=db, resources=resources, caller=principal)


@get("/api/queue", roles=READERS, tags=["Orchestrator"])
async def get_queue(
    db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> schemas.QueueStatus:
    """Do what ``GET /api/queue/status`` does."""
    async with db.begin() as tx:
        rows = await views.queue_depths(tx, principal.visible_client())
    return schemas.QueueStatus(queues=[schemas.queue_depth_of(row, tx.now) for row in rows])


@post(
    "/api/handshake",
    roles=EXECUTORS,
    worker_scope=EXECUTE,
    status_code=200,
    tags=["Orchestrator"],
    request_max_body_size=MAX_SOURCE_BODY,
    creates=True,
    refusals=[404, 409],
)
async def shake_hands(
    request: AnyRequest,
    data: JSONBody[HandshakeInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    book: NamedDependency[RequestBook],
    principal: NamedDependency[Principal],
) -> Response[HandshakeView]:
    """Check pool, cap and budget and hold the worst-case cost for 60 s, until ``POST /api/process``.

    What can't be had now is answered ``accepted: false`` with its ``reason``: pool, cap or budget.
    """
    call = await creation_call(request, principal)
    digest = hashlib.sha256(msgspec.json.encode(data, order="deterministic")).digest()
    async with db.begin() as tx:

        async def work() -> Answer:
            asked = orchestrator.Asked(
                scope=orchestrator.scope_of(principal),
                name=data.execution_id,
                body_sha256=digest,
                timeout_ms=data.resource_requirements.timeout_ms,
                request=await _request_of(tx, data, resources, book, principal),
            )
            view = await orchestrator.shake_hands(tx, resources=resources, book=book, asked=asked)
            return Answer(status=200, body=encode(view))

        answer = await once(tx, call, work)
    return created_response(answer)


async def _request_of(
    tx: Tx, data: HandshakeInput, resources: Resources, book: RequestBook, caller: Principal
) -> NewRequest:
    if data.action != ACTION:
        raise invalid("/action", "unknown_action", f"/action: there is {ACTION}.")
    parameters = camel_names(data.input_data)
    name = parameters.pop("templateName", None)
    kind = parameters.get("structureType")
    wanted = kind if name is None else name
    if not (isinstance(wanted, str) and 1 <= len(wanted) <= 64):
        message = "Name the work: inputData.template_name, or inputData.structure_type."
        raise invalid("/inputData/template_name", "missing_field", message)
    if name is None:
        template = f"content_granulation_{kind}"
    else:
        template = await book.find_template_of(tx, worker=WORKER, template_ref=name) or name
    return NewRequest(
        client_id=await client_of(tx, resources, data.client_id, caller),
        key_id=caller.key_id,
        template=template,
        parameters=parameters,
        metadata={"stageId": data.stage_id} if data.stage_id else {},
    )


@post(
    "/api/process",
    roles=EXECUTORS,
    worker_scope=EXECUTE,
    status_code=200,
    tags=["Orchestrator"],
    refusals=[404, 409],
    also={202: ("It has not ended within the handshake's timeoutMs.", ProcessView)},
)
async def process(
    request: AnyRequest,
    data: JSONBody[ProcessInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    outlines: NamedDependency[OutlineSource],
    principal: NamedDependency[Principal],
) -> Response[ProcessView]:
    """Run what a handshake holds, wait for its end up to the handshake's ``timeoutMs``, and answer with it.

    Doing it twice runs it once; both get the result. After the timeout: 202, and it goes on.
    """
    async with db.begin() as tx:
        scope = orchestrator.scope_of(principal)
        held = await orchestrator.begin(tx, scope=scope, name=data.execution_id)

    async def look() -> ProcessView | None:
        async with db.begin() as tx:
            found = await _find(tx, resources, held)
            return await _ended_view(tx, found, held, outlines) if found.state.final else None

    seconds = min(held.timeout_ms / 1000, LONGEST_WAIT_SECONDS)
    ended = await look() or await wait_for(
        request, look, seconds=seconds, until_then=partial(resources.wait_for_end, held.execution_id)
    )
    if ended is not None:
        return JsonResponse(ended, headers={"X-Cost-Usd": f"{ended.metrics.cost_usd:f}"})
    async with db.begin() as tx:
        view = await _running_view(tx, await _find(tx, resources, held), held)
    location = f"/api/execution/{text_id('exec', held.execution_id)}"
    return JsonResponse(view, status_code=202, headers={"Location": location})


async def _find(tx: Tx, resources: Resources, held: Handshake) -> ExecutionView:
    found = await resources.find_execution(tx, client_id=None, execution_id=held.execution_id)
    if found is None:
        raise ExecutionNotFound("The execution of this handshake is not there any more.")
    return found


async def _running_view(tx: Tx, found: ExecutionView, held: Handshake) -> ProcessView:
    began, ends = held.processed_at or tx.now, found.finished_at or tx.now
    return ProcessView(
        execution_id=held.name,
        status="processing",
        result=None,
        metrics=ProcessMetrics(
            tokens_used=await queries.tokens_used(tx, found.id),
            processing_time_ms=max(0, round((ends - began).total_seconds() * 1000)),
            cost_usd=usd(found.spent_nano),
        ),
    )


async def _ended_view(tx: Tx, found: ExecutionView, held: Handshake, outlines: OutlineSource) -> ProcessView:
    outputs = found.result or {}
    tree_id, score = outputs.get("treeId"), outputs.get("score")
    outline = None
    if isinstance(tree_id, str):
        outline = await outlines.find_outline(tx, client_id=found.client_id, tree_id=tree_id)
    result = ProcessResult(job_id=tree_id, structure=outline, quality_score=score)
    return msgspec.structs.replace(
        await _running_view(tx, found, held),
        status=STATUSES.get(found.state, "failed"),
        result=result if outputs else None,
        reasons=found.reasons,
    )


ROUTES: list[HTTPRouteHandler] = [
    execute_pipeline,
    get_pipeline_execution,
    get_queue,
    shake_hands,
    process,
]
