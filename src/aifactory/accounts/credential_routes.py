"""HTTP of workers' credentials."""

from datetime import timedelta
from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from aifactory.accounts import credential_queries, credentials
from aifactory.accounts.credentials import NewCredential
from aifactory.accounts.user_schemas import (
    CredentialView,
    NewCredentialInput,
    NewCredentialView,
    credential_view,
    new_credential_view,
)
from aifactory.kernel.db import Database
from aifactory.kernel.http import created_response, creation_call, encode, path_id
from aifactory.kernel.idempotency import Answer, once
from aifactory.kernel.ids import CredentialId
from aifactory.kernel.page import Page, page_of, page_request
from aifactory.kernel.principal import OPERATORS, Principal


@get("/api/worker-credentials", roles=OPERATORS, tags=["Worker credentials"])
async def list_worker_credentials(
    db: NamedDependency[Database],
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[CredentialView]:
    """List the credentials of outside workers, newest first, without their secrets."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        rows = await credential_queries.list_credentials(tx, page)
    return page_of([credential_view(row) for row in rows], [row.id for row in rows], page)


@post("/api/worker-credentials", roles=OPERATORS, status_code=201, tags=["Worker credentials"], creates=True)
async def create_worker_credential(
    request: Request[Any, Any, Any],
    data: JSONBody[NewCredentialInput],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> Response[NewCredentialView]:
    """Make an outside worker's secret, or replace it. It is shown this once, not in a replay.

    The worker sends it as ``Authorization: Bearer``, and its name as ``X-Worker-ID``.
    """
    overlap = None if data.overlap_ms is None else timedelta(milliseconds=data.overlap_ms)
    new = NewCredential(
        worker=data.worker, scopes=list(data.scopes), expires_at=data.expires_at, overlap=overlap
    )
    call = await creation_call(request, principal)
    async with db.begin() as tx:

        async def work() -> Answer:
            row, secret = await credentials.create_credential(tx, new, actor=principal.label)
            shown, again = new_credential_view(row, secret.text), new_credential_view(row, None)
            return Answer(status=201, body=encode(shown), shown_again=encode(again))

        answer = await once(tx, call, work)
    return created_response(answer)


@delete(
    "/api/worker-credentials/{credential_id:str}",
    roles=OPERATORS,
    status_code=204,
    tags=["Worker credentials"],
)
async def revoke_worker_credential(
    credential_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> None:
    """End a worker's secret now."""
    wanted = CredentialId(path_id("wcred", credential_id))
    async with db.begin() as tx:
        await credentials.revoke_credential(tx, wanted, actor=principal.label)


ROUTES: list[HTTPRouteHandler] = [
    list_worker_credentials,
    create_worker_credential,
    revoke_worker_credential,
]
