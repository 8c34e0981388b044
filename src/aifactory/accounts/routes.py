"""HTTP of clients and their keys."""

from datetime import timedelta
from typing import Any

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from aifactory.accounts import clients, queries
from aifactory.accounts.keys import ApiKey
from aifactory.accounts.models import ApiKeyRow
from aifactory.accounts.schemas import (
    ClientChanges,
    ClientView,
    KeyView,
    NewClientInput,
    NewKeyInput,
    NewKeyView,
    RotationInput,
    client_changes,
    client_view,
    key_view,
    limit_changes,
    new_key_view,
)
from aifactory.kernel.db import Database
from aifactory.kernel.http import created_response, creation_call, encode, path_id
from aifactory.kernel.idempotency import Answer, once
from aifactory.kernel.ids import ClientId, KeyId, text_id
from aifactory.kernel.page import Page, page_of, page_request
from aifactory.kernel.principal import OPERATOR_READERS, OPERATORS, READERS, WRITERS, Principal
from aifactory.kernel.time_zones import check_time_zone
from aifactory.resources.interface import ClientNotFound, Resources

AnyRequest = Request[Any, Any, Any]


def own_client(caller: Principal, text: str) -> ClientId:
    """Return the client in a path if the caller may see it. Raises ClientNotFound."""
    client_id = ClientId(path_id("client", text))
    visible = caller.visible_client()
    if visible is not None and visible != client_id:
        raise ClientNotFound("There is no client with this id.")
    return client_id


# Clients.


@get("/clients", roles=OPERATOR_READERS, tags=["Clients"])
async def list_clients(
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[ClientView]:
    """List clients, newest first."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        rows = await queries.list_clients(tx, page)
        limits = [await resources.get_client(tx, ClientId(row.id)) for row in rows]
    views = [client_view(row, limit) for row, limit in zip(rows, limits, strict=True)]
    return page_of(views, [row.id for row in rows], page)


@post("/clients", roles=OPERATORS, status_code=201, tags=["Clients"], creates=True)
async def create_client(
    request: AnyRequest,
    data: JSONBody[NewClientInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[ClientView]:
    """Make a client with a tier; limits left out are the tier's."""
    check_time_zone(data.time_zone)
    new = clients.NewClient(
        name=data.name,
        contact=data.contact,
        tier=data.tier,
        time_zone=data.time_zone,
        **limit_changes(data.limits),
    )
    call = await creation_call(request, principal)
    async with db.begin() as tx:

        async def work() -> Answer:
            row, limits = await clients.create_client(tx, resources=resources, new=new, actor=principal.label)
            location = f"/clients/{text_id('client', row.id)}"
            return Answer(status=201, body=encode(client_view(row, limits)), location=location)

        answer = await once(tx, call, work)
    return created_response(answer)


@get("/clients/{client_id:str}", roles=READERS, tags=["Clients"])
async def get_client(
    client_id: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> ClientView:
    """Show a client: the caller's own, or any to the operator."""
    wanted = own_client(principal, client_id)
    async with db.begin() as tx:
        row = await clients.get_client(tx, wanted)
        return client_view(row, await resources.get_client(tx, wanted))


@patch("/clients/{client_id:str}", roles=OPERATORS, tags=["Clients"])
async def change_client(
    client_id: FromPath[str],
    data: JSONBody[ClientChanges],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> ClientView:
    """Change a client's name, tier, suspension or limits; a suspended client starts no new work."""
    wanted, changes = own_client(principal, client_id), client_changes(data)
    async with db.begin() as tx:
        row, limits = await clients.change_client(
            tx, resources=resources, client_id=wanted, changes=changes, actor=principal.label
        )
        tx.announce("work")  # a higher cap or tier, or an end of a suspension, lets more start
        return client_view(row, limits)


# API keys.


@get("/clients/{client_id:str}/api-keys", roles=WRITERS, tags=["API keys"])
async def list_keys(
    client_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[KeyView]:
    """List a client's API keys, newest first, without their secrets."""
    wanted, page = own_client(principal, client_id), page_request(limit, cursor)
    async with db.begin() as tx:
        await clients.get_client(tx, wanted)
        rows = await queries.list_keys(tx, wanted, page)
    return page_of([key_view(row) for row in rows], [row.id for row in rows], page)


@post(
    "/clients/{client_id:str}/api-keys",
    roles=WRITERS,
    status_code=201,
    scope="keys",
    tags=["API keys"],
    creates=True,
)
async def create_key(
    request: AnyRequest,
    client_id: FromPath[str],
    data: JSONBody[NewKeyInput],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> Response[NewKeyView]:
    """Make an API key. It is shown this once, also when the request is replayed."""
    wanted = own_client(principal, client_id)
    call = await creation_call(request, principal)
    async with db.begin() as tx:

        async def work() -> Answer:
            row, key = await clients.create_key(
                tx,
                client_id=wanted,
                name=data.name,
                scopes=list(data.scopes),
                expires_at=data.expires_at,
                actor=principal,
            )
            return _with_key(row, key)

        answer = await once(tx, call, work)
    return created_response(answer)


def _with_key(row: ApiKeyRow, key: ApiKey) -> Answer:
    shown, again = new_key_view(row, key.text), new_key_view(row, None)
    return Answer(status=201, body=encode(shown), shown_again=encode(again))


@post(
    "/clients/{client_id:str}/api-keys/{key_id:str}/rotate",
    roles=WRITERS,
    status_code=201,
    scope="keys",
    tags=["API keys"],
    creates=True,
)
async def rotate_key(
    request: AnyRequest,
    client_id: FromPath[str],
    key_id: FromPath[str],
    data: JSONBody[RotationInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[NewKeyView]:
    """Make a key like this one; the old one goes on working for ``overlapMs``."""
    wanted, old = own_client(principal, client_id), KeyId(path_id("key", key_id))
    call = await creation_call(request, principal)
    async with db.begin() as tx:

        async def work() -> Answer:
            overlap = timedelta(milliseconds=data.overlap_ms)
            row, key = await clients.rotate_key(
                tx,
                resources=resources,
                client_id=wanted,
                key_id=old,
                overlap=overlap,
                actor=principal,
            )
            return _with_key(row, key)

        answer = await once(tx, call, work)
    return created_response(answer)


@delete(
    "/clients/{client_id:str}/api-keys/{key_id:str}",
    roles=WRITERS,
    status_code=204,
    scope="keys",
    tags=["API keys"],
)
async def revoke_key(
    client_id: FromPath[str],
    key_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> None:
    """End an API key now."""
    wanted, key = own_client(principal, client_id), KeyId(path_id("key", key_id))
    async with db.begin() as tx:
        await clients.revoke_key(tx, client_id=wanted, key_id=key, actor=principal.label)


ROUTES: list[HTTPRouteHandler] = [
    list_clients,
    create_client,
    get_client,
    change_client,
    list_keys,
    create_key,
    rotate_key,
    revoke_key,
]
