"""HTTP of master templates."""

from typing import Any

from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody

from aifactory.accounts import queries, templates
from aifactory.accounts.template_schemas import (
    NewTemplateInput,
    PricedTemplateView,
    TemplateInput,
    TemplateView,
    priced_template_view,
    template_view,
)
from aifactory.kernel.db import Database
from aifactory.kernel.errors import invalid
from aifactory.kernel.etags import version_etag
from aifactory.kernel.http import (
    JsonResponse,
    created_response,
    creation_call,
    encode,
)
from aifactory.kernel.idempotency import Answer, once
from aifactory.kernel.page import Page, page_of, page_request
from aifactory.kernel.principal import OPERATORS, READERS, Principal
from aifactory.resources.interface import Resources
from aifactory.resources.interface.http import price_of, tier_of

AnyRequest = Request[Any, Any, Any]


@get("/api/master-templates", roles=READERS, tags=["Master templates"])
async def list_master_templates(
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[PricedTemplateView]:
    """List templates with the tier that each needs and its estimated cost at the caller's tier."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        tier = await tier_of(tx, resources, principal)
        rows = await queries.list_templates(tx, page)
        views = []
        for row in rows:
            flow = templates.read_flow(row.flow)
            found = await price_of(tx, resources, flow, tier)
            views.append(priced_template_view(row, flow, tier, found))
    return page_of(views, [row.id for row in rows], page)


@post("/api/master-templates", roles=OPERATORS, status_code=201, tags=["Master templates"], creates=True)
async def create_master_template(
    request: AnyRequest,
    data: JSONBody[NewTemplateInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[TemplateView]:
    """Make a template. Its flow is checked, with the workers that it names."""
    new = templates.NewTemplate(
        name=data.name, title=data.title, description=data.description, flow=tuple(data.flow)
    )
    call = await creation_call(request, principal)
    async with db.begin() as tx:

        async def work() -> Answer:
            row = await templates.create_template(tx, resources=resources, new=new, actor=principal)
            view = template_view(row, new.flow)
            return Answer(status=201, body=encode(view), location=f"/api/master-templates/{row.name}")

        answer = await once(tx, call, work)
    return created_response(answer)


@get("/api/master-templates/{name:str}", roles=READERS, tags=["Master templates"])
async def get_master_template(
    name: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
    version: FromQuery[int | None] = None,
) -> Response[PricedTemplateView]:
    """Show a template, by default its newest active version, with its price at the caller's tier."""
    if version is not None and not 1 <= version < 2**31:
        raise invalid("/version", "out_of_range", "version is a positive number.")
    async with db.begin() as tx:
        row = await templates.get_template_row(tx, name, version)
        tier = await tier_of(tx, resources, principal)
        flow = templates.read_flow(row.flow)
        found = await price_of(tx, resources, flow, tier)
    view = priced_template_view(row, flow, tier, found)
    return JsonResponse(view, headers={"ETag": version_etag(row.version)})


@get("/api/master-templates/{name:str}/versions", roles=READERS, tags=["Master templates"])
async def list_master_template_versions(
    name: FromPath[str],
    db: NamedDependency[Database],
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[TemplateView]:
    """List the versions of a template, newest first; a running execution keeps its own."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        if await queries.find_newest_template(tx, name) is None:
            await templates.get_template_row(tx, name)
        rows = await queries.list_template_versions(tx, name, page)
    views = [template_view(row, templates.read_flow(row.flow)) for row in rows]
    return page_of(views, [row.id for row in rows], page)


@put("/api/master-templates/{name:str}", roles=OPERATORS, tags=["Master templates"], refusals=[412])
async def replace_master_template(
    request: AnyRequest,
    name: FromPath[str],
    data: JSONBody[TemplateInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[TemplateView]:
    """Store the next version of a template. ``If-Match`` with the ETag of the newest guards against races."""
    new = templates.NewTemplate(
        name=name,
        title=data.title,
        description=data.description,
        flow=tuple(data.flow),
        active=data.active,
    )
    if_match = request.headers.get("if-match")
    async with db.begin() as tx:
        row = await templates.replace_template(
            tx, resources=resources, new=new, if_match=if_match, actor=principal
        )
    return JsonResponse(template_view(row, new.flow), headers={"ETag": version_etag(row.version)})


ROUTES: list[HTTPRouteHandler] = [
    list_master_templates,
    create_master_template,
    get_master_template,
    list_master_template_versions,
    replace_master_template,
]
