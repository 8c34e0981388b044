"""Requests: fetch, decide, store. The caller's transaction, never a commit."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from aifactory.accounts import queries, templates
from aifactory.accounts.interface import (
    DRAFT,
    NothingToRetry,
    RequestNotFound,
    RequestNotStarted,
    RequestRunning,
)
from aifactory.accounts.models import ClientRequestRow
from aifactory.accounts.parameters import SourceFormat, check_parameters, read_source
from aifactory.accounts.request_times import check_off_peak, check_times
from aifactory.accounts.sources import find_source, reference_to, store_source
from aifactory.kernel import ids
from aifactory.kernel.db import Tx
from aifactory.kernel.ids import ClientId, DataId, KeyId, RequestId
from aifactory.kernel.principal import Principal
from aifactory.resources.interface import (
    INLINE,
    Accuracy,
    CheckedRequest,
    ExecutionState,
    ExecutionView,
    FlowStage,
    NamedTemplate,
    NewExecution,
    NewRequest,
    Resources,
    Submitted,
    UnstoredSource,
    Urgency,
    refuse_erased,
)


class AccountsBook:
    """Accounts as the Resource Manager sees them."""

    def __init__(self, *, resources: Resources) -> None:
        self.resources = resources

    async def get_template(self, tx: Tx, name: str) -> NamedTemplate:
        """Return the newest active version. Raises NotFound."""
        return await templates.get_template(tx, name)

    async def owns_key(self, tx: Tx, *, client_id: ClientId, key_id: KeyId) -> bool:
        """See ``RequestBook.owns_key``."""
        return await queries.find_client_key(tx, client_id=client_id, key_id=key_id) is not None

    async def open_request(self, tx: Tx, new: NewRequest) -> NewExecution:
        """See ``RequestBook.open_request``."""
        checked = await self.check_request(tx, new)
        await self.store_requests(tx, [checked])
        return checked.new

    async def check_request(self, tx: Tx, new: NewRequest) -> CheckedRequest:
        """See ``RequestBook.check_request``."""
        return await check_request(tx, resources=self.resources, new=new)

    async def store_requests(self, tx: Tx, checked: Sequence[CheckedRequest]) -> None:
        """See ``RequestBook.store_requests``."""
        await queries.insert_requests(tx, [one.row for one in checked if one.row is not None])

    async def open_draft(
        self,
        tx: Tx,
        *,
        request_id: RequestId,
        client_id: ClientId | None,
        key_id: KeyId | None,
        parameters: dict[str, Any],
    ) -> NewExecution:
        """See ``RequestBook.open_draft``."""
        _, new = await _open_stored(
            tx,
            resources=self.resources,
            request_id=request_id,
            client_id=client_id,
            key_id=key_id,
            parameters=parameters,
        )
        return new

    async def retry_request(
        self, tx: Tx, *, request_id: RequestId, client_id: ClientId | None, key_id: KeyId | None
    ) -> NewExecution:
        """See ``RequestBook.retry_request``."""
        return await _retry(
            tx, resources=self.resources, request_id=request_id, client_id=client_id, key_id=key_id
        )

    async def find_template_of(self, tx: Tx, *, worker: str, template_ref: str) -> str | None:
        """Name an active master template that is this one stage and no other; None if there is none."""
        return await queries.find_template_of_stage(tx, worker=worker, template_ref=template_ref)


async def store_draft(
    tx: Tx, *, resources: Resources, new: NewRequest, timeout_ms: int | None
) -> tuple[ClientRequestRow, int]:
    """Check and store a request, and its source, that is not executed yet; also give its template's version.

    Raises TemplateNotFound, DataNotFound, Invalid or TooLarge.
    """
    template = await _check(tx, new, timeout_ms)
    parameters, data_id = await store_source(tx, resources, new.client_id, new.parameters)
    row = _row_of(new, template, parameters, data_id, timeout_ms=timeout_ms, now=tx.now)
    row.executed = False
    tx.session.add(row)
    await tx.flush()
    return row, template.version


async def check_request(
    tx: Tx, *, resources: Resources, new: NewRequest, timeout_ms: int | None = None
) -> CheckedRequest:
    """Check a request and say what is to be submitted for it; stores nothing.

    Raises TemplateNotFound, DataNotFound, Invalid or TooLarge.
    """
    template = await _check(tx, new, timeout_ms)
    parameters, data_id = new.parameters, None
    source, unstored = read_source(new.parameters), None
    if source is not None and source.text is not None:
        data_id = DataId(ids.new_id())
        written = source.format or SourceFormat.MARKDOWN
        unstored = UnstoredSource(
            name=source.name or "source", media_type=written.media_type, content=source.text.encode()
        )
        parameters = parameters | {"source": reference_to(data_id, written, unstored.name)}
    elif source is not None:
        reference, data_id = await find_source(tx, resources, new.client_id, source)
        parameters = parameters | {"source": reference}
    row = _row_of(new, template, parameters, data_id, timeout_ms=timeout_ms, now=tx.now)
    submitted = as_execution(row, template, now=tx.now)
    return CheckedRequest(new=msgspec.structs.replace(submitted, unstored_source=unstored), row=row)


async def _check(tx: Tx, new: NewRequest, timeout_ms: int | None) -> NamedTemplate:
    template = await _template_of(tx, new.template, new.flow)
    check_parameters(new.parameters)
    check_times(new.run_after, new.deadline, tx.now)
    if new.off_peak:
        check_off_peak(new.urgency, timeout_ms)
    return template


async def _template_of(tx: Tx, name: str, flow: tuple[FlowStage, ...] | None) -> NamedTemplate:
    """Return the template that a request names, or the flow that it brought along, checked as one's."""
    if flow is None:
        return await templates.get_template(tx, name)
    templates.check_flow(flow)
    return NamedTemplate(name=INLINE, version=1, flow=flow)


def _row_of(
    new: NewRequest,
    template: NamedTemplate,
    parameters: dict[str, Any],
    data_id: DataId | None,
    *,
    timeout_ms: int | None,
    now: datetime,
) -> ClientRequestRow:
    return ClientRequestRow(
        id=ids.new_id(),
        client_id=new.client_id,
        key_id=new.key_id,
        template=template.name,
        parameters=parameters,
        source_data_id=data_id,
        urgency=new.urgency.value,
        accuracy=new.accuracy.value,
        run_after=new.run_after,
        deadline=new.deadline,
        timeout_ms=timeout_ms,
        off_peak=new.off_peak,
        executed=True,
        flow=None if new.flow is None else msgspec.to_builtins(new.flow),
        labels=dict(new.metadata),
        created_at=now,
    )


async def execute_request(
    tx: Tx, *, resources: Resources, request_id: RequestId, caller: Principal, parameters: dict[str, Any]
) -> tuple[ClientRequestRow, NewExecution, Submitted]:
    """Submit a stored request, with ``parameters`` over its own. Raises RequestRunning while one runs."""
    row, new = await _open_stored(
        tx,
        resources=resources,
        request_id=request_id,
        client_id=caller.visible_client(),
        key_id=caller.key_id,
        parameters=parameters,
    )
    return row, new, await resources.submit(tx, new)


async def _open_stored(
    tx: Tx,
    *,
    resources: Resources,
    request_id: RequestId,
    client_id: ClientId | None,
    key_id: KeyId | None,
    parameters: dict[str, Any],
) -> tuple[ClientRequestRow, NewExecution]:
    check_parameters(parameters)
    read_source(parameters)
    row = await get_request(tx, request_id=request_id, client_id=client_id, lock=True)
    latest = (await resources.latest_executions(tx, [request_id])).get(request_id)
    if latest is not None and not latest.state.final:
        message = "Its execution has not ended; wait for it or cancel it."
        raise RequestRunning(message, current_state=latest.state)
    refuse_erased(row.erased_at, row.erasure)
    check_times(None, row.deadline, tx.now)
    template = await _template_of(tx, row.template, _own_flow(row))
    added, data_id = await store_source(tx, resources, ClientId(row.client_id), parameters)
    merged = row.parameters | added
    source = data_id if "source" in added else row.source_data_id
    new = as_execution(row, template, now=tx.now, parameters=merged, source=source, key_id=key_id)
    row.executed = True
    return row, new


async def _retry(
    tx: Tx,
    *,
    resources: Resources,
    request_id: RequestId,
    client_id: ClientId | None,
    key_id: KeyId | None,
) -> NewExecution:
    """Do the latest execution again as it was submitted; a deadline that has passed is not taken over."""
    row = await get_request(tx, request_id=request_id, client_id=client_id, lock=True)
    latest = (await resources.latest_executions(tx, [request_id])).get(request_id)
    if latest is None or not latest.state.final or latest.state is ExecutionState.SUCCEEDED:
        state = DRAFT if latest is None else latest.state.value
        message = "Only what ended without success is retried; POST /requests/{id}/execute does the rest."
        raise NothingToRetry(f"The latest execution is {state}. {message}", current_state=state)
    refuse_erased(latest.erased_at, latest.erasure)
    parameters = await resources.input_of(tx, latest.id)
    source = read_source(parameters)
    template = await _template_of(tx, row.template, _own_flow(row))
    new = as_execution(
        row,
        template,
        now=tx.now,
        parameters=parameters,
        source=None if source is None else ids.parse_id("data", source.data_ref or ""),
        key_id=key_id,
    )
    passed = new.deadline is not None and new.deadline <= tx.now
    return msgspec.structs.replace(new, deadline=None) if passed else new


def _own_flow(row: ClientRequestRow) -> tuple[FlowStage, ...] | None:
    return None if row.flow is None else templates.read_flow(row.flow)


async def cancel_request(
    tx: Tx, *, resources: Resources, request_id: RequestId, client_id: ClientId | None
) -> tuple[ClientRequestRow, ExecutionView]:
    """End a request's latest execution; one that has ended is returned unchanged."""
    row, latest = await get_started_request(
        tx, resources=resources, request_id=request_id, client_id=client_id
    )
    return row, await resources.cancel(tx, latest.id)


async def get_request(
    tx: Tx, *, request_id: RequestId, client_id: ClientId | None, lock: bool = False
) -> ClientRequestRow:
    """Return a request that the caller may see. Raises RequestNotFound."""
    row = await queries.find_request(tx, request_id=request_id, client_id=client_id, lock=lock)
    if row is None:
        raise RequestNotFound("There is no request with this id.")
    return row


async def get_started_request(
    tx: Tx, *, resources: Resources, request_id: RequestId, client_id: ClientId | None
) -> tuple[ClientRequestRow, ExecutionView]:
    """Return a request and its latest execution. Raises RequestNotFound or RequestNotStarted."""
    row = await get_request(tx, request_id=request_id, client_id=client_id)
    latest = (await resources.latest_executions(tx, [request_id])).get(request_id)
    if latest is None:
        raise RequestNotStarted("This request is a draft; POST …/execute starts it.", current_state=DRAFT)
    return row, latest


def as_execution(
    row: ClientRequestRow,
    template: NamedTemplate,
    *,
    now: datetime,
    parameters: dict[str, Any] | None = None,
    source: Any = msgspec.UNSET,
    key_id: KeyId | None = None,
) -> NewExecution:
    """Return what is to be submitted for a stored request; its time-out counts from ``now``. Pure."""
    data_id = row.source_data_id if source is msgspec.UNSET else source
    deadline = row.deadline
    if row.timeout_ms is not None:
        start = max(now, row.run_after) if row.run_after else now
        ends = start + timedelta(milliseconds=row.timeout_ms)
        deadline = ends if deadline is None else min(ends, deadline)
    return NewExecution(
        request_id=RequestId(row.id),
        client_id=ClientId(row.client_id),
        key_id=key_id or (None if row.key_id is None else KeyId(row.key_id)),
        template=template.name,
        template_version=template.version,
        flow=template.flow,
        parameters=row.parameters if parameters is None else parameters,
        source=None if data_id is None else DataId(data_id),
        urgency=Urgency(row.urgency),
        accuracy=Accuracy(row.accuracy),
        run_after=row.run_after,
        deadline=deadline,
        off_peak=row.off_peak,
        metadata=row.labels,
    )
