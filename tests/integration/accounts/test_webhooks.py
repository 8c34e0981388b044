"""Webhook endpoints over HTTP: made, changed, rotated, deleted; secrets shown once; limits."""

from typing import Any

import anyio
import pytest
from tests.factories import Tenant, World, assert_problem, make_key, open_world

from aifactory.accounts.webhook_rules import EVENT_TYPES, MAX_WEBHOOKS
from aifactory.kernel.db import Database
from aifactory.settings import Settings

pytestmark = pytest.mark.anyio

PATH = "/api/webhooks"
URL = "https://hooks.example.com/in?token=t0ps3cret"


async def make(world: World, who: Tenant, **members: Any) -> dict[str, Any]:
    answer = await world.ask("POST", PATH, who.key, json={"url": URL, **members})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    return made


async def test_a_secret_is_shown_once_and_neither_it_nor_the_url_is_audited(world: World) -> None:
    made = await make(world, world.ours)
    assert made["secret"].startswith("whsec_")
    assert (made["events"], made["active"], made["clientId"]) == (sorted(EVENT_TYPES), True, world.ours.id)
    shown = (await world.ask("GET", f"{PATH}/{made['id']}", world.ours.key)).json()
    listed = (await world.ask("GET", PATH, world.ours.key)).json()["data"]
    assert listed == [shown]
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    rotated = (await world.ask("POST", f"{PATH}/{made['id']}/rotate-secret", world.ours.key)).json()
    assert rotated["secret"] not in (None, made["secret"])
    assert rotated["previousSecretUntil"] is not None
    await world.ask("PATCH", f"{PATH}/{made['id']}", world.ours.key, json={"active": False})
    await world.ask("DELETE", f"{PATH}/{made['id']}", world.ours.key)
    async with world.database.begin() as tx:
        audited = await tx.raw.fetch("SELECT action, a::text FROM audit_log a WHERE object_kind = 'webhook'")
        kept = await tx.raw.fetchval("SELECT string_agg(secret, '') FROM webhooks")
    assert [row["action"] for row in audited] == [
        f"webhook.{what}" for what in ("created", "secret_rotated", "changed", "deleted")
    ]
    for secret in (made["secret"], rotated["secret"], "t0ps3cret"):
        assert all(secret not in row["a"] for row in audited)
    assert kept == ""


async def test_a_replayed_creation_gives_the_same_endpoint_without_the_secret(world: World) -> None:
    headers = {"Idempotency-Key": "k1"}
    first, second = [
        (await world.ask("POST", PATH, world.ours.key, json={"url": URL}, headers=headers)).json()
        for _ in range(2)
    ]
    assert first.pop("secret")
    assert second.pop("secret") is None
    assert first == second
    path = f"{PATH}/{first['id']}/rotate-secret"
    new, again = [(await world.ask("POST", path, world.ours.key, headers=headers)).json() for _ in range(2)]
    assert (new.pop("secret") is None, again.pop("secret")) == (False, None)
    assert new == again


async def test_a_client_has_ten_endpoints_at_most_also_when_it_makes_them_at_once(world: World) -> None:
    statuses = []

    async def post() -> None:
        statuses.append((await world.ask("POST", PATH, world.ours.key, json={"url": URL})).status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(MAX_WEBHOOKS + 4):
            tasks.start_soon(post)
    assert sorted(statuses) == [201] * MAX_WEBHOOKS + [409] * 4
    refused = await world.ask("POST", PATH, world.ours.key, json={"url": URL})
    assert_problem(refused, 409, "too_many_webhooks")
    listed = (await world.ask("GET", PATH, world.ours.key)).json()["data"]
    await world.ask("DELETE", f"{PATH}/{listed[0]['id']}", world.ours.key)
    await make(world, world.ours)


async def test_what_is_changed_changes_and_the_rest_stays(world: World) -> None:
    made = await make(world, world.ours, description="d", events=["execution.failed", "execution.failed"])
    path = f"{PATH}/{made['id']}"
    assert made["events"] == ["execution.failed"]

    async def change(**changes: Any) -> dict[str, Any]:
        answer = await world.ask("PATCH", path, world.ours.key, json=changes)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    before = {name: value for name, value in made.items() if name != "secret"}
    assert await change() == before
    assert await change(description="other") == before | {"description": "other"}
    assert (await change(url="https://example.com/new"))["url"] == "https://example.com/new"
    assert (await change(events=["execution.expired"]))["events"] == ["execution.expired"]
    assert (await change(active=False))["active"] is False


HTTP_AND_INSIDE = ["http://hooks.example.com", "https://127.0.0.1/", "https://0x7f.1/", "https://localhost/"]
HTTP_AND_INSIDE += ["https://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest", "https://example.com:22/"]
HTTP_AND_INSIDE += ["https://u:p@example.com/", "ftp://example.com/"]


async def test_an_address_that_may_not_be_called_is_refused_when_made_and_when_changed(world: World) -> None:
    made = await make(world, world.ours)
    for url in HTTP_AND_INSIDE:
        for method, path in (("POST", PATH), ("PATCH", f"{PATH}/{made['id']}")):
            problem = assert_problem(await world.ask(method, path, world.ours.key, json={"url": url}), 422)
            fault = problem["errors"][0]
            assert (url, fault["pointer"], fault["code"]) == (url, "/url", "not_callable")
    assert (await world.ask("GET", f"{PATH}/{made['id']}", world.ours.key)).json()["url"] == URL


async def test_an_admin_names_the_client_and_sees_all(world: World) -> None:
    for_ours = {"url": URL, "clientId": world.ours.id}
    assert (await world.ask("POST", PATH, world.admin, json=for_ours)).status_code == 201
    assert_problem(await world.ask("POST", PATH, world.admin, json={"url": URL}), 422)
    assert_problem(await world.ask("POST", PATH, world.theirs.key, json=for_ours), 404, "client_not_found")
    theirs = await make(world, world.theirs)
    assert len((await world.ask("GET", PATH, world.admin)).json()["data"]) == 2
    of_ours = (await world.ask("GET", f"{PATH}?clientId={world.ours.id}", world.admin)).json()["data"]
    assert [one["clientId"] for one in of_ours] == [world.ours.id]
    foreign = await world.ask("GET", f"{PATH}?clientId={world.theirs.id}", world.ours.key)
    assert_problem(foreign, 404, "client_not_found")
    path = f"{PATH}/{theirs['id']}"
    assert_problem(await world.ask("GET", path, world.ours.key), 404, "webhook_not_found")


async def test_lists_are_paged_and_filtered(world: World) -> None:
    made = [await make(world, world.ours) for _ in range(3)]
    first = (await world.ask("GET", f"{PATH}?limit=2", world.ours.key)).json()
    second = (await world.ask("GET", f"{PATH}?limit=2&cursor={first['nextCursor']}", world.ours.key)).json()
    found = [one["id"] for one in first["data"] + second["data"]]
    assert found == [one["id"] for one in reversed(made)]
    path = f"{PATH}/{made[0]['id']}"
    test = (await world.ask("POST", f"{path}/test", world.ours.key)).json()
    for state, ids in (("pending", [test["id"]]), ("failed", []), ("delivered", [])):
        page = (await world.ask("GET", f"{path}/deliveries?state={state}", world.ours.key)).json()
        assert [one["id"] for one in page["data"]] == ids
    assert_problem(await world.ask("GET", f"{path}/deliveries?state=lost", world.ours.key), 422)
    other = f"{PATH}/{made[1]['id']}/deliveries/{test['id']}"
    assert_problem(await world.ask("GET", other, world.ours.key), 404, "delivery_not_found")


async def test_a_deleted_endpoint_is_gone_by_every_route(world: World) -> None:
    made = await make(world, world.ours)
    path = f"{PATH}/{made['id']}"
    test = (await world.ask("POST", f"{path}/test", world.ours.key)).json()
    assert (await world.ask("DELETE", path, world.ours.key)).status_code == 204
    for method, rest in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/test"),
        ("POST", "/rotate-secret"),
        ("GET", "/deliveries"),
        ("GET", f"/deliveries/{test['id']}"),
        ("POST", f"/deliveries/{test['id']}/resend"),
    ):
        assert_problem(await world.ask(method, path + rest, world.ours.key), 404, "webhook_not_found")
    assert (await world.ask("GET", PATH, world.ours.key)).json()["data"] == []


async def test_a_key_that_only_reads_can_neither_make_nor_rotate(world: World) -> None:
    made = await make(world, world.ours)
    _, reader = await make_key(world.database, world.ours.client_id, ["read"])
    refused = await world.ask("POST", PATH, reader, json={"url": URL})
    assert assert_problem(refused, 403, "scope_missing")["requiredScope"] == "write"
    assert_problem(await world.ask("POST", f"{PATH}/{made['id']}/rotate-secret", reader), 403)


async def test_development_takes_local_addresses(database: Database) -> None:
    settings = Settings(scheduler=False, webhooks_to_private=True)
    async with open_world(database, settings=settings) as world:
        made = await make(world, world.ours, url="http://localhost:3000/hook")
        assert made["url"] == "http://localhost:3000/hook"
        refused = await world.ask("POST", PATH, world.ours.key, json={"url": "http://169.254.169.254/latest"})
        assert_problem(refused, 422)
