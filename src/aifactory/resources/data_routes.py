"""HTTP of data references: uploads that requests refer to instead of bringing the text along."""

from typing import Annotated, Any

import anyio.to_thread
import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter

from aifactory.kernel.db import Database
from aifactory.kernel.etags import is_known
from aifactory.kernel.http import created_response, creation_call, encode
from aifactory.kernel.idempotency import Answer, once
from aifactory.kernel.ids import DataId, parse_id
from aifactory.kernel.page import Page, page_as, page_request
from aifactory.kernel.principal import READERS, WRITERS, Principal
from aifactory.resources import storage
from aifactory.resources.data_schemas import (
    MAX_DATA_BYTES,
    MEDIA_TYPES,
    Data,
    check_name,
    data_of,
    disposition,
    media_type_of,
    read_upload,
)
from aifactory.resources.interface import DataNotFound, Resources, refuse_erased
from aifactory.resources.interface.http import client_of
from aifactory.resources.queries import data as queries

AnyRequest = Request[Any, Any, Any]


@post(
    "/api/data",
    roles=WRITERS,
    status_code=201,
    tags=["Data"],
    request_max_body_size=MAX_DATA_BYTES,
    creates=True,
    takes=MEDIA_TYPES,
    refusals=[404, 409, 413, 415],
)
async def upload_data(
    request: AnyRequest,
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
    name: FromQuery[str] = "data",
    client_id: Annotated[str | None, QueryParameter(name="clientId")] = None,
) -> Response[Data]:
    """Store a text, sent as the body itself, to be used as ``parameters.source.dataRef``.

    At most 5 MiB of UTF-8. It is kept 30 days after its last use. An admin names the client: ``clientId``.
    """
    check_name(name)
    media_type = media_type_of(request.headers.get("content-type"), request.headers.get("content-encoding"))
    content = await request.body()
    call = await creation_call(request, principal)
    call = msgspec.structs.replace(call, body=encode([name, media_type, client_id]) + call.body)
    upload = await anyio.to_thread.run_sync(read_upload, content, media_type)
    async with db.begin() as tx:
        owner = await client_of(tx, resources, client_id, principal)

        async def work() -> Answer:
            stored = await storage.upload(
                tx,
                client_id=owner,
                name=name,
                media_type=media_type,
                blob=upload.blob,
                words=upload.words,
            )
            view = data_of(stored)
            return Answer(status=201, body=encode(view), location=f"/api/data/{view.id}")

        answer = await once(tx, call, work)
    return created_response(answer)


@get("/api/data", roles=READERS, tags=["Data"])
async def list_data(
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[Data]:
    """List what is stored: uploads, and the sources that requests brought along; newest first."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        found = await queries.list_data(tx, client_id=principal.visible_client(), page=page)
    return page_as(found, [data_of(stored) for stored in found.data])


@get("/api/data/{data_id:str}", roles=READERS, tags=["Data"], gives=MEDIA_TYPES, refusals=[410])
async def get_data(
    request: AnyRequest,
    data_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> Response[bytes]:
    """Give the content back as it was stored, byte for byte, with its media type; ``ETag`` is its SHA-256."""
    wanted = _data_id(data_id)
    async with db.begin() as tx:
        stored = await storage.get(tx, client_id=principal.visible_client(), data_id=wanted)
        refuse_erased(stored.erased_at, stored.erasure)
        etag = f'"{stored.sha256.hex()}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if is_known(etag, request.headers.get("if-none-match")):
            return Response(b"", status_code=304, headers=headers)
        content = await storage.load(tx, wanted)
    headers["Content-Disposition"] = disposition(stored.name)
    return Response(content, media_type=stored.media_type, headers=headers)


@delete("/api/data/{data_id:str}", roles=WRITERS, status_code=204, tags=["Data"], refusals=[409])
async def delete_data(
    data_id: FromPath[str], db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> None:
    """Delete stored data; 409 while an unfinished execution works from it."""
    async with db.begin() as tx:
        await storage.delete(tx, client_id=principal.visible_client(), data_id=_data_id(data_id))


def _data_id(text: str) -> DataId:
    found = parse_id("data", text)
    if found is None:
        raise DataNotFound(storage.UNKNOWN)
    return DataId(found)


ROUTES: list[HTTPRouteHandler] = [upload_data, list_data, get_data, delete_data]
