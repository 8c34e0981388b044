"""What routes share: for whom work is, what a flow costs, how work is started, found and answered."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any

from litestar import Request, Response

from aifactory.kernel.db import Database, Tx
from aifactory.kernel.errors import AppError, invalid
from aifactory.kernel.http import created_or_ended, creation_call, encode, path_id
from aifactory.kernel.idempotency import Answer, once
from aifactory.kernel.ids import ClientId, ExecutionId, RequestId, parse_id, text_id
from aifactory.kernel.money import usd
from aifactory.kernel.principal import Principal
from aifactory.resources.interface.door import ExecutionView, NewExecution, Quote, Resources, Submitted
from aifactory.resources.interface.given import CheckedRequest, NewRequest, RequestBook
from aifactory.resources.interface.refusals import ClientNotFound, ExecutionNotFound
from aifactory.resources.interface.states import Tier
from aifactory.resources.interface.together import Creation, Submissions
from aifactory.resources.interface.work import FlowStage
from aifactory.resources.schemas import Execution, execution_of
from aifactory.resources.submitted_schemas import SubmittedExecution, submitted_of

ALONE_FROM = 64 * 1024  #: bytes of a body whose request is stored in a transaction of its own


async def client_of(tx: Tx, resources: Resources, text: str | None, caller: Principal) -> ClientId:
    """Return for whom work is done: the caller's client, or the one that an admin or a worker names.

    Raises ClientNotFound, or Invalid when an admin or a worker names none.
    """
    visible = caller.visible_work()
    if text is None:
        if visible is None:
            raise invalid("/clientId", "missing_field", "Name the client for whom this is: clientId.")
        return visible
    named = parse_id("client", text)
    if named is None or (visible is not None and visible != named):
        raise ClientNotFound("There is no client with this id.")
    return (await resources.get_client(tx, ClientId(named))).client_id


async def execution_by_any_id(tx: Tx, resources: Resources, text: str, caller: Principal) -> ExecutionView:
    """Return an execution by its id, or the latest one of a request. Raises ExecutionNotFound."""
    visible, found = caller.visible_work(), None
    if (request_id := parse_id("req", text)) is not None:
        latest = await resources.latest_executions(tx, [RequestId(request_id)])
        found = latest.get(RequestId(request_id))
    elif (execution_id := parse_id("exec", text)) is not None:
        found = await resources.find_execution(tx, client_id=visible, execution_id=ExecutionId(execution_id))
    if found is None or visible not in (None, found.client_id):
        raise ExecutionNotFound("There is no execution with this id.")
    return found


async def named_client(tx: Tx, resources: Resources, text: str | None, caller: Principal) -> ClientId | None:
    """Return whose things are asked for: the caller's client's, or those of whom an admin names; None: all.

    Raises ClientNotFound.
    """
    return caller.visible_client() if text is None else await client_of(tx, resources, text, caller)


async def tier_of(tx: Tx, resources: Resources, caller: Principal) -> Tier:
    """Return the tier at which a caller's work is priced; whoever has no client may do everything."""
    if caller.client_id is None:
        return Tier.ENTERPRISE
    return (await resources.get_client(tx, caller.client_id)).tier


async def price_of(
    tx: Tx, resources: Resources, flow: tuple[FlowStage, ...], tier: Tier
) -> tuple[Tier, Quote] | None:
    """Return what a flow needs and costs, or None when it can't run at present."""
    try:
        async with tx.savepoint():
            return await resources.describe_flow(tx, flow, tier)
    except AppError as error:
        if error.status >= 500:
            raise
        return None


async def create_once(
    request: Request[Any, Any, Any],
    check: Callable[[Tx], Awaitable[CheckedRequest]],
    answer: Callable[[CheckedRequest, Submitted], Answer],
    *,
    submissions: Submissions,
    caller: Principal,
) -> Answer:
    """Store and submit what ``check`` gives, once, together with what others send at the same time."""
    call = await creation_call(request, caller)
    alone = len(await request.body()) >= ALONE_FROM
    return await submissions.create(Creation(call=call, check=check, answer=answer, alone=alone))


async def execute_at_once(
    request: Request[Any, Any, Any],
    read: Callable[[Tx], Awaitable[NewRequest]],
    *,
    db: Database,
    resources: Resources,
    book: RequestBook,
    submissions: Submissions,
    caller: Principal,
) -> Response[SubmittedExecution]:
    """Store what ``read`` gives as a request, submit it and answer: 202, or 200 with ``Prefer: wait``."""

    async def check(tx: Tx) -> CheckedRequest:
        return await book.check_request(tx, await read(tx))

    def accept(_: CheckedRequest, submitted: Submitted) -> Answer:
        return _accepted(submitted)

    answer = await create_once(request, check, accept, submissions=submissions, caller=caller)
    return await _answer(request, answer, db, resources)


async def submit_at_once(
    request: Request[Any, Any, Any],
    prepare: Callable[[Tx], Awaitable[NewExecution]],
    *,
    db: Database,
    resources: Resources,
    caller: Principal,
) -> Response[SubmittedExecution]:
    """Submit what ``prepare`` gives, once, and answer: 202, or 200 with ``Prefer: wait``."""
    call = await creation_call(request, caller)
    async with db.begin() as tx:

        async def work() -> Answer:
            return _accepted(await resources.submit(tx, await prepare(tx)))

        answer = await once(tx, call, work)
    return await _answer(request, answer, db, resources)


def _accepted(submitted: Submitted) -> Answer:
    location = f"/api/execution/{text_id('exec', submitted.execution_id)}"
    return Answer(status=202, body=encode(submitted_of(submitted.execution, submitted)), location=location)


async def _answer(
    request: Request[Any, Any, Any], answer: Answer, db: Database, resources: Resources
) -> Response[SubmittedExecution]:
    execution_id = ExecutionId(path_id("exec", (answer.location or "").rpartition("/")[2]))

    async def find() -> ExecutionView | None:
        async with db.begin() as tx:
            return await resources.find_execution(tx, client_id=None, execution_id=execution_id)

    async def look() -> tuple[Execution, Decimal] | None:
        found = await find()
        if found is None or not found.state.final:
            return None
        return execution_of(found), usd(found.spent_nano)

    async def current() -> SubmittedExecution | None:
        found = await find()
        return None if found is None else submitted_of(found, None)

    wait = partial(resources.wait_for_end, execution_id)
    return await created_or_ended(request, answer, look, current, until_ended=wait)
