"""Requests and executions: what is asked of the server, and what is made of its answers."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from aifactory.client.calls import checked_id, create, get, given, moment, post
from aifactory.client.catalogue import Estimate, ExecutionProgress
from aifactory.client.exchange import Call, Plan, Session, exchange, fetch, read
from aifactory.client.models import Execution, Page, Request, RequestStatus, Result
from aifactory.client.sources import Source, prepare

LONGEST_PREFERRED_WAIT = 60
_WAIT_MARGIN_SECONDS = 30.0


def submit(
    session: Session,
    template: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    source: Source | None = None,
    urgency: str | None = None,
    accuracy: str | None = None,
    deadline: datetime | timedelta | None = None,
    run_after: datetime | timedelta | None = None,
    metadata: Mapping[str, str] | None = None,
    client_id: str | None = None,
    execute: bool | None = None,
    wait: float | None = None,
    dry_run: bool = False,
    idempotency_key: str | None = None,
) -> Plan[Request]:
    """Store a request and execute it.

    ``source``: a ``Path``, the text itself, or an upload. ``wait``: seconds (at most 60) that the answer may
    take if the work ends in that time; the request then has its ``result``. ``dry_run``: price it only.
    ``execute=False``: a draft. ``deadline``, ``run_after``: a time, or a span from now. The same
    ``idempotency_key`` again gives the same request again.
    """
    body = given(
        template=template,
        parameters=(yield from prepare(session, dict(parameters or {}), source)),
        urgency=urgency,
        accuracy=accuracy,
        deadline=moment(deadline),
        run_after=moment(run_after),
        metadata=None if metadata is None else dict(metadata),
        client_id=client_id,
        execute=execute,
    )
    call = _waiting(create(session, "/requests", body, key=idempotency_key), wait)
    if dry_run:
        call = msgspec.structs.replace(call, query={"dryRun": "true"})
    return (yield from fetch(session, call, Request))


def _waiting(call: Call, seconds: float | None) -> Call:
    if not seconds or seconds < 1:
        return call
    whole = min(int(seconds), LONGEST_PREFERRED_WAIT)
    headers = call.headers | {"Prefer": f"wait={whole}"}
    return msgspec.structs.replace(call, headers=headers, read_seconds=whole + _WAIT_MARGIN_SECONDS)


def execute(
    session: Session,
    request_id: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    wait: float | None = None,
    idempotency_key: str | None = None,
) -> Plan[Request]:
    """Execute a draft, or a request again that has ended, with parameters over the stored ones."""
    path = f"/requests/{checked_id(request_id)}/execute"
    call = create(session, path, {"parameters": dict(parameters or {})}, key=idempotency_key)
    return (yield from fetch(session, _waiting(call, wait), Request))


def request(session: Session, request_id: str) -> Plan[Request]:
    """Return a request with its parameters."""
    return fetch(session, get(f"/requests/{checked_id(request_id)}"), Request)


def list_requests(
    session: Session, *, state: str | None = None, limit: int | None = None, cursor: str | None = None
) -> Plan[Page[Request]]:
    """Return a page of requests, newest first; those whose execution is in a ``state``."""
    return fetch(session, get("/requests", state=state, limit=limit, cursor=cursor), Page[Request])


def status(session: Session, request_id: str) -> Plan[RequestStatus]:
    """Say where a request is."""
    return fetch(session, get(f"/requests/{checked_id(request_id)}/status"), RequestStatus)


def execution(session: Session, wanted: str) -> Plan[Execution]:
    """Return an execution, or a request's latest one."""
    return fetch(session, get(f"/api/execution/{checked_id(wanted)}"), Execution)


def progress(session: Session, wanted: str) -> Plan[ExecutionProgress]:
    """Return how far an execution is, with the content as far as it is written."""
    return fetch(session, get(f"/api/progress/{checked_id(wanted)}"), ExecutionProgress)


def result(session: Session, wanted: str) -> Plan[Result]:
    """Return how a request, or an execution's request, ended. Raises Conflict until it has."""
    request_id = yield from _request_of(session, wanted)
    return (yield from fetch(session, get(f"/requests/{request_id}/result"), Result))


def _request_of(session: Session, wanted: str) -> Plan[str]:
    if checked_id(wanted).startswith("exec_"):
        return (yield from execution(session, wanted)).request_id
    return wanted


def cancel(session: Session, wanted: str) -> Plan[Execution]:
    """End an execution, or a request's latest one, and give back what it holds; twice is the same."""
    return fetch(session, post(f"/api/execution/{checked_id(wanted)}/cancel"), Execution)


def retry(session: Session, wanted: str, *, idempotency_key: str | None = None) -> Plan[Execution]:
    """Execute again what ended without success. Raises Conflict for anything else."""
    call = create(session, f"/api/execution/{checked_id(wanted)}/retry", {}, key=idempotency_key)
    return read((yield from exchange(session, call)), Execution)


def estimate(
    session: Session,
    template: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    source: Source | None = None,
    urgency: str | None = None,
    client_id: str | None = None,
) -> Plan[Estimate]:
    """Say what a request would cost at each tier, and whether it fits the budget now; nothing is stored."""
    body = given(
        template=template,
        parameters=(yield from prepare(session, dict(parameters or {}), source)),
        urgency=urgency,
        client_id=client_id,
    )
    return (yield from fetch(session, post("/api/cost/estimate", body), Estimate))
