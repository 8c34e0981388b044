"""The first start makes an admin and a demo client, once."""

import anyio
import pytest
from tests.factories import FakeWorker, ResourceService, open_world

from aifactory.accounts.seeds import FirstSecrets, seed_first_start
from aifactory.kernel.db import Database

pytestmark = pytest.mark.anyio


def resources() -> ResourceService:
    return ResourceService(workers={"granulation": FakeWorker()}, wake=lambda: None, abort=lambda _: None)


async def test_two_processes_that_start_at_once_seed_once(database: Database) -> None:
    found: list[FirstSecrets | None] = []

    async def start() -> None:
        found.append(await seed_first_start(database, resources=resources()))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(start)
    seeded = [secrets for secrets in found if secrets is not None]
    assert len(seeded) == 1
    assert await seed_first_start(database, resources=resources()) is None
    async with database.begin() as tx:
        assert await tx.raw.fetchval("SELECT count(*) FROM users") == 1
        assert await tx.raw.fetchval("SELECT count(*) FROM clients") == 1


async def test_the_seeded_secrets_work(database: Database) -> None:
    secrets = await seed_first_start(database, resources=resources())
    assert secrets is not None
    async with open_world(database) as world:
        me = (await world.ask("GET", "/auth/session", {"X-API-Key": secrets.api_key})).json()
        assert me["role"] == "client"
        client = await world.ask("GET", f"/clients/{me['clientId']}", {"X-API-Key": secrets.api_key})
        assert (client.json()["name"], client.json()["tier"]) == ("Demo", "premium")
        login = {"login": secrets.login, "password": secrets.password}
        assert (await world.ask("POST", "/auth/login", json=login)).json()["user"]["role"] == "admin"
