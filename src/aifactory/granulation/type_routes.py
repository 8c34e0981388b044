"""HTTP of structure types: those of the package, and those that an operator adds while the server runs."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from aifactory.granulation import type_changes, type_queries, types
from aifactory.granulation.specs import StructureSpec
from aifactory.granulation.type_schemas import (
    StructureTypeSummary,
    StructureTypeVersion,
    type_summary,
    version_view,
)
from aifactory.kernel.db import Database
from aifactory.kernel.etags import version_etag
from aifactory.kernel.http import JsonResponse, created_response, creation_call, encode
from aifactory.kernel.idempotency import Answer, once
from aifactory.kernel.page import Page, page_of, page_request
from aifactory.kernel.principal import OPERATORS, READERS, Principal

AnyRequest = Request[Any, Any, Any]


@get("/api/structure-types", roles=READERS, tags=["Granulation"])
async def list_structure_types(
    db: NamedDependency[Database],
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[StructureTypeSummary]:
    """List the structure types in use by name: what trees there are, and their levels."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        # A name's place in the list makes the cursor.
        start = 0 if page.before is None else page.before.int + 1
        places = list(enumerate(await types.known_types(tx)))[start : start + page.limit + 1]
        specs = await types.specs_named(tx, [name for _, name in places])
    rows = [type_summary(specs[name]) for _, name in places]
    return page_of(rows, [UUID(int=place) for place, _ in places], page)


@post("/api/structure-types", roles=OPERATORS, status_code=201, tags=["Granulation"], creates=True)
async def create_structure_type(
    request: AnyRequest,
    data: JSONBody[StructureSpec],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> Response[StructureTypeVersion]:
    """Add a structure type; worker templates can name it at once. What can't be used is told whole."""
    call = await creation_call(request, principal)
    async with db.begin() as tx:

        async def work() -> Answer:
            stored = await type_changes.create_type(tx, spec=data, actor=principal)
            location = f"/api/structure-types/{stored.structure_type}"
            return Answer(status=201, body=encode(version_view(stored)), location=location)

        answer = await once(tx, call, work)
    return created_response(answer)


@get("/api/structure-types/{structure_type:str}", roles=READERS, tags=["Granulation"])
async def get_structure_type(
    structure_type: FromPath[str], db: NamedDependency[Database]
) -> Response[StructureSpec]:
    """Show a structure type as data: levels, fields, rules, presets, weights of the score."""
    async with db.begin() as tx:
        stored = await types.find_own_type(tx, structure_type)
        spec = await types.get_type(tx, structure_type) if stored is None else stored.spec
    headers = {} if stored is None else {"ETag": version_etag(stored.version)}
    return JsonResponse(msgspec.to_builtins(spec), headers=headers)


@get("/api/structure-types/{structure_type:str}/versions", roles=READERS, tags=["Granulation"])
async def list_structure_type_versions(
    structure_type: FromPath[str],
    db: NamedDependency[Database],
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[StructureTypeVersion]:
    """List the versions of a type that an operator made, newest first; one of the package has none."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        found = await type_queries.list_type_versions(tx, structure_type, page)
        if not found and page.before is None:
            await types.get_type(tx, structure_type)
    return page_of([version_view(one) for one in found], [one.id for one in found], page)


@put(
    "/api/structure-types/{structure_type:str}",
    roles=OPERATORS,
    tags=["Granulation"],
    refusals=[409, 412],
)
async def replace_structure_type(
    request: AnyRequest,
    structure_type: FromPath[str],
    data: JSONBody[StructureSpec],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
    active: FromQuery[bool] = True,
) -> Response[StructureTypeVersion]:
    """Store the next version of a type; ``active=false`` takes it out of use, and what runs keeps its own.

    ``If-Match`` with the ETag of the newest version guards against races.
    """
    async with db.begin() as tx:
        stored = await type_changes.replace_type(
            tx,
            name=structure_type,
            spec=data,
            active=active,
            if_match=request.headers.get("if-match"),
            actor=principal,
        )
    return JsonResponse(version_view(stored), headers={"ETag": version_etag(stored.version)})


ROUTES = [
    list_structure_types,
    create_structure_type,
    get_structure_type,
    list_structure_type_versions,
    replace_structure_type,
]
