"""Deliveries of webhooks, driven round by round, and what is stored of them."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import anyio
from tests.fleet import until

from aifactory.accounts import webhooks
from aifactory.accounts.webhook_delivery import Deliveries
from aifactory.accounts.webhook_rules import EVENT_TYPES
from aifactory.accounts.webhook_sending import WebhookSender
from aifactory.kernel.clock import utc_now
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.ids import ClientId, new_id, text_id
from aifactory.kernel.notices import Notices
from aifactory.resources.interface import EventMessage


class Endings:
    """Endings of executions that a test makes up."""

    def __init__(self, *endings: EventMessage) -> None:
        self.endings = list(endings)

    async def take_endings(self, _: Tx, limit: int) -> list[EventMessage]:
        taken, self.endings = self.endings[:limit], self.endings[limit:]
        return taken


@contextlib.asynccontextmanager
async def sending(
    database: Database, resources: Any = None, patience: float = 5
) -> AsyncIterator[Deliveries]:
    """One process's deliveries, whose rounds the test calls."""
    deliveries = Deliveries(
        database=database,
        resources=resources or Endings(),
        notices=Notices(database=database),
        sender=WebhookSender(private_allowed=True, patience_seconds=patience),
    )
    async with anyio.create_task_group() as tasks:
        deliveries._tasks = tasks
        yield deliveries
        tasks.cancel_scope.cancel()


async def send(deliveries: Deliveries) -> None:
    """Send what is due and wait for the end."""
    await deliveries.send_round()
    await until(lambda: deliveries.idle)


async def make(
    database: Database, client_id: ClientId, url: str, events: tuple[str, ...] = EVENT_TYPES
) -> tuple[UUID, str]:
    """Make an endpoint; return its id and secret."""
    async with database.begin() as tx:
        new = webhooks.NewWebhook(client_id=client_id, url=url, events=list(events), description="")
        row = await webhooks.create_webhook(tx, new=new, private_allowed=True, actor="test")
        return row.id, row.secret


def ending(client_id: UUID, type_: str = "execution.succeeded", **members: Any) -> EventMessage:
    data = {"clientId": text_id("client", client_id), **members}
    return EventMessage(type=type_, timestamp=utc_now(), data=data)


async def queue(database: Database, client_id: UUID, *endings: EventMessage) -> None:
    async with database.begin() as tx:
        await webhooks.fan_out(tx, Endings(*endings or (ending(client_id),)), limit=100)  # type: ignore[arg-type]


async def rows(database: Database, statement: str, *values: Any) -> list[dict[str, Any]]:
    async with database.begin() as tx:
        return [dict(row) for row in await tx.raw.fetch(statement, *values)]


async def deliveries_of(database: Database, webhook_id: UUID) -> list[dict[str, Any]]:
    statement = "SELECT * FROM webhook_deliveries WHERE webhook_id = $1 ORDER BY id"
    return await rows(database, statement, webhook_id)


async def endpoint(database: Database, webhook_id: UUID) -> dict[str, Any]:
    return (await rows(database, "SELECT * FROM webhooks WHERE id = $1", webhook_id))[0]


async def attempts(database: Database) -> list[dict[str, Any]]:
    return await rows(database, "SELECT * FROM webhook_attempts ORDER BY delivery_id, number")


async def make_client(database: Database) -> ClientId:
    """Make a client, without tier or credentials: nothing here asks for them."""
    client_id = ClientId(new_id())
    async with database.begin() as tx:
        await tx.raw.execute(
            "INSERT INTO clients (id, name, created_at) VALUES ($1, 'c', $2)", client_id, tx.now
        )
    return client_id
