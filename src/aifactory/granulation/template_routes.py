"""HTTP of worker templates."""

from typing import Annotated, Any

from litestar import Request, Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from aifactory.granulation import template_queries, templates, types
from aifactory.granulation.template_queries import WorkerTemplate
from aifactory.granulation.template_schemas import (
    NewTemplateInput,
    PricedWorkerTemplateView,
    TemplateInput,
    WorkerTemplateView,
    priced_template_view,
    template_view,
)
from aifactory.granulation.templates import TemplateContent
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.etags import version_etag
from aifactory.kernel.http import JsonResponse, created_response, creation_call, encode
from aifactory.kernel.idempotency import Answer, once
from aifactory.kernel.page import Page, page_as, page_of, page_request
from aifactory.kernel.principal import OPERATORS, READERS, Principal
from aifactory.resources.interface import FlowStage, Quote, Resources, Tier
from aifactory.resources.interface.http import price_of, tier_of

WORKER = "granulation"

AnyRequest = Request[Any, Any, Any]


@get("/api/templates", roles=READERS, tags=["Worker templates"])
async def list_worker_templates(
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
    structure_type: Annotated[str | None, QueryParameter(name="type")] = None,
    tier: FromQuery[Tier | None] = None,
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[PricedWorkerTemplateView]:
    """List worker templates: of one structure ``type``, of one minimum ``tier``; what the defaults cost."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        callers = await tier_of(tx, resources, principal)
        found = await template_queries.list_templates(tx, structure_type=structure_type, tier=tier, page=page)
        shown = found[: page.limit]
        specs = await types.specs_named(tx, {one.structure_type for one in shown})
        views = [
            priced_template_view(one, specs[one.structure_type], callers, await _quote(tx, resources, one))
            for one in shown
        ]
    return page_as(page_of(found, [one.id for one in found], page), views)


async def _quote(tx: Tx, resources: Resources, template: WorkerTemplate) -> Quote | None:
    """Return what a template's defaults cost, or None when it can't run at present."""
    stage = FlowStage(worker=WORKER, template_ref=template.name)
    priced = await price_of(tx, resources, (stage,), Tier.ENTERPRISE)
    return None if priced is None else priced[1]


@post("/api/templates", roles=OPERATORS, status_code=201, tags=["Worker templates"], creates=True)
async def create_worker_template(
    request: AnyRequest,
    data: JSONBody[NewTemplateInput],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> Response[WorkerTemplateView]:
    """Make a worker template; it can be used at once."""
    call = await creation_call(request, principal)
    async with db.begin() as tx:

        async def work() -> Answer:
            made = await templates.create_template(
                tx, name=data.name, content=_content(data), actor=principal
            )
            body = encode(await _view(tx, made))
            return Answer(status=201, body=body, location=f"/api/templates/{made.name}")

        answer = await once(tx, call, work)
    return created_response(answer)


async def _view(tx: Tx, template: WorkerTemplate) -> WorkerTemplateView:
    specs = await types.specs_named(tx, {template.structure_type})
    return template_view(template, specs[template.structure_type])


def _content(data: TemplateContent) -> TemplateContent:
    names = TemplateContent.__struct_fields__
    return TemplateContent(**{name: getattr(data, name) for name in names})


@get("/api/templates/{name:str}", roles=READERS, tags=["Worker templates"])
async def get_worker_template(
    name: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
) -> Response[PricedWorkerTemplateView]:
    """Show the template that a name means: exactly, else by structure type, else by a part of its name."""
    async with db.begin() as tx:
        callers = await tier_of(tx, resources, principal)
        found = await templates.match_template(tx, name, callers)
        specs = await types.specs_named(tx, {found.structure_type})
        quote = await _quote(tx, resources, found)
    view = priced_template_view(found, specs[found.structure_type], callers, quote)
    headers = {"ETag": version_etag(found.version), "Content-Location": f"/api/templates/{found.name}"}
    return JsonResponse(view, headers=headers)


@get("/api/templates/{name:str}/versions", roles=READERS, tags=["Worker templates"])
async def list_worker_template_versions(
    name: FromPath[str],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[WorkerTemplateView]:
    """List the versions of a template, newest first; a running execution keeps its own."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        if await template_queries.find_newest_template(tx, name) is None:
            callers = await tier_of(tx, resources, principal)
            name = (await templates.match_template(tx, name, callers)).name
        found = await template_queries.list_template_versions(tx, name, page)
        specs = await types.specs_named(tx, {one.structure_type for one in found})
    views = [template_view(one, specs[one.structure_type]) for one in found]
    return page_of(views, [one.id for one in found], page)


@put("/api/templates/{name:str}", roles=OPERATORS, tags=["Worker templates"], refusals=[412])
async def replace_worker_template(
    request: AnyRequest,
    name: FromPath[str],
    data: JSONBody[TemplateInput],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> Response[WorkerTemplateView]:
    """Store the next version of a template. ``If-Match`` with the ETag of the newest guards against races."""
    async with db.begin() as tx:
        stored = await templates.replace_template(
            tx,
            name=name,
            content=_content(data),
            active=data.active,
            if_match=request.headers.get("if-match"),
            actor=principal,
        )
        view = await _view(tx, stored)
    return JsonResponse(view, headers={"ETag": version_etag(stored.version)})


ROUTES = [
    list_worker_templates,
    create_worker_template,
    get_worker_template,
    list_worker_template_versions,
    replace_worker_template,
]
