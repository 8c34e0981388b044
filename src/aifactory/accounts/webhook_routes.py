"""HTTP of webhooks."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from aifactory.accounts import webhook_queries, webhooks
from aifactory.accounts.webhook_models import DeliveryRow, WebhookRow
from aifactory.accounts.webhook_rules import DeliveryState
from aifactory.accounts.webhook_schemas import (
    DeliveryView,
    NewWebhookInput,
    NewWebhookView,
    WebhookChanges,
    WebhookView,
    delivery_view,
    new_webhook_view,
    webhook_changes,
    webhook_view,
)
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.http import created_response, creation_call, encode, path_id
from aifactory.kernel.idempotency import Answer, once
from aifactory.kernel.ids import text_id
from aifactory.kernel.page import Page, page_of, page_request
from aifactory.kernel.principal import READERS, WRITERS, Principal
from aifactory.resources.interface import Resources
from aifactory.resources.interface.http import client_of, named_client
from aifactory.settings import Settings

AnyRequest = Request[Any, Any, Any]

ATTEMPTS_SHOWN = 20
_TAGS = ["Webhooks"]


async def _get(tx: Tx, caller: Principal, text: str, *, lock: bool = False) -> WebhookRow:
    return await webhooks.get_webhook(
        tx, webhook_id=path_id("whk", text), client_id=caller.visible_client(), lock=lock
    )


async def _show(tx: Tx, row: DeliveryRow) -> DeliveryView:
    attempts = await webhook_queries.load_attempts(tx, [row.id], newest=ATTEMPTS_SHOWN)
    return delivery_view(row, attempts[row.id])


# Endpoints.


@get("/api/webhooks", roles=READERS, tags=_TAGS, refusals=[404])
async def list_webhooks(
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
    client_id: Annotated[str | None, QueryParameter(name="clientId")] = None,
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[WebhookView]:
    """List the caller's webhooks, newest first, without their secrets; the operator's: all, or a client's."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        wanted = await named_client(tx, resources, client_id, principal)
        rows = await webhook_queries.list_webhooks(tx, client_id=wanted, page=page)
        views = [webhook_view(row, tx.now) for row in rows]
    return page_of(views, [row.id for row in rows], page)


@post("/api/webhooks", roles=WRITERS, status_code=201, tags=_TAGS, creates=True, refusals=[404])
async def create_webhook(
    request: AnyRequest,
    data: JSONBody[NewWebhookInput],
    db: NamedDependency[Database],
    resources: NamedDependency[Resources],
    settings: NamedDependency[Settings],
    principal: NamedDependency[Principal],
) -> Response[NewWebhookView]:
    """Make a webhook. Its secret is shown this once, also when the request is replayed."""
    call = await creation_call(request, principal)
    async with db.begin() as tx:

        async def work() -> Answer:
            new = webhooks.NewWebhook(
                client_id=await client_of(tx, resources, data.client_id, principal),
                url=data.url,
                events=list(data.events),
                description=data.description,
            )
            row = await webhooks.create_webhook(
                tx, new=new, private_allowed=settings.webhooks_to_private, actor=principal.label
            )
            return _with_secret(tx, row)

        answer = await once(tx, call, work)
    return created_response(answer)


def _with_secret(tx: Tx, row: WebhookRow) -> Answer:
    shown, again = new_webhook_view(row, tx.now, row.secret), new_webhook_view(row, tx.now, None)
    location = f"/api/webhooks/{text_id('whk', row.id)}"
    return Answer(status=201, body=encode(shown), shown_again=encode(again), location=location)


@get("/api/webhooks/{webhook_id:str}", roles=READERS, tags=_TAGS)
async def get_webhook(
    webhook_id: FromPath[str], db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> WebhookView:
    """Show a webhook without its secret."""
    async with db.begin() as tx:
        return webhook_view(await _get(tx, principal, webhook_id), tx.now)


@patch("/api/webhooks/{webhook_id:str}", roles=WRITERS, tags=_TAGS)
async def change_webhook(
    webhook_id: FromPath[str],
    data: JSONBody[WebhookChanges],
    db: NamedDependency[Database],
    settings: NamedDependency[Settings],
    principal: NamedDependency[Principal],
) -> WebhookView:
    """Change a webhook. ``active: false`` gives up what is on its way; ``active: true`` forgets failures."""
    async with db.begin() as tx:
        row = await _get(tx, principal, webhook_id, lock=True)
        await webhooks.change_webhook(
            tx,
            row,
            changes=webhook_changes(data),
            private_allowed=settings.webhooks_to_private,
            actor=principal.label,
        )
        return webhook_view(row, tx.now)


@delete("/api/webhooks/{webhook_id:str}", roles=WRITERS, status_code=204, tags=_TAGS)
async def delete_webhook(
    webhook_id: FromPath[str], db: NamedDependency[Database], principal: NamedDependency[Principal]
) -> None:
    """Delete a webhook with its deliveries."""
    async with db.begin() as tx:
        row = await _get(tx, principal, webhook_id, lock=True)
        await webhooks.delete_webhook(tx, row, actor=principal.label)


@post(
    "/api/webhooks/{webhook_id:str}/rotate-secret",
    roles=WRITERS,
    status_code=201,
    tags=_TAGS,
    creates=True,
)
async def rotate_webhook_secret(
    request: AnyRequest,
    webhook_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> Response[NewWebhookView]:
    """Make a new secret, shown this once; for 24 hours messages are signed with the old one too."""
    call = await creation_call(request, principal)
    async with db.begin() as tx:

        async def work() -> Answer:
            row = await _get(tx, principal, webhook_id, lock=True)
            await webhooks.rotate_secret(tx, row, actor=principal.label)
            return _with_secret(tx, row)

        answer = await once(tx, call, work)
    return created_response(answer)


# Deliveries.


@get("/api/webhooks/{webhook_id:str}/deliveries", roles=READERS, tags=_TAGS)
async def list_deliveries(
    webhook_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
    delivery_state: Annotated[DeliveryState | None, QueryParameter(name="state")] = None,
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Page[DeliveryView]:
    """List a webhook's deliveries of 30 days, newest first, each with its newest attempts."""
    page = page_request(limit, cursor)
    async with db.begin() as tx:
        webhook = await _get(tx, principal, webhook_id)
        rows = await webhook_queries.list_deliveries(
            tx, webhook_id=webhook.id, state=delivery_state, page=page
        )
        ids = [row.id for row in rows]
        attempts = await webhook_queries.load_attempts(tx, ids, newest=ATTEMPTS_SHOWN)
    return page_of([delivery_view(row, attempts[row.id]) for row in rows], ids, page)


@get("/api/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}", roles=READERS, tags=_TAGS)
async def get_delivery(
    webhook_id: FromPath[str],
    delivery_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> DeliveryView:
    """Show a delivery with its newest attempts."""
    wanted: UUID = path_id("dlv", delivery_id)
    async with db.begin() as tx:
        webhook = await _get(tx, principal, webhook_id)
        return await _show(tx, await webhooks.get_delivery(tx, webhook, delivery_id=wanted))


@post(
    "/api/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}/resend",
    roles=WRITERS,
    status_code=202,
    tags=_TAGS,
    refusals=[410],
)
async def resend_delivery(
    webhook_id: FromPath[str],
    delivery_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> DeliveryView:
    """Send a delivery again, under the same ``webhook-id``; one that waits for its next try is sent now."""
    wanted: UUID = path_id("dlv", delivery_id)
    async with db.begin() as tx:
        webhook = await _get(tx, principal, webhook_id, lock=True)
        return await _show(tx, await webhooks.resend(tx, webhook, delivery_id=wanted))


@post("/api/webhooks/{webhook_id:str}/test", roles=WRITERS, status_code=202, tags=_TAGS, creates=True)
async def send_test(
    request: AnyRequest,
    webhook_id: FromPath[str],
    db: NamedDependency[Database],
    principal: NamedDependency[Principal],
) -> Response[DeliveryView]:
    """Send a message of type ``webhook.test``, once; its delivery shows what came of it."""
    call = await creation_call(request, principal)
    async with db.begin() as tx:

        async def work() -> Answer:
            row = await _get(tx, principal, webhook_id, lock=True)
            view = await _show(tx, await webhooks.send_test(tx, row))
            return Answer(status=202, body=encode(view), location=_location(view))

        answer = await once(tx, call, work)
    return created_response(answer)


def _location(view: DeliveryView) -> str:
    return f"/api/webhooks/{view.webhook_id}/deliveries/{view.id}"


ROUTES: list[HTTPRouteHandler] = [
    list_webhooks,
    create_webhook,
    get_webhook,
    change_webhook,
    delete_webhook,
    rotate_webhook_secret,
    list_deliveries,
    get_delivery,
    resend_delivery,
    send_test,
]
