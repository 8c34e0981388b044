"""Users: making, changing and deleting them, and that somebody stays in charge."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest
from litestar.routes import HTTPRoute
from tests.factories import World, assert_problem, make_user, open_world
from tests.fleet import until
from tests.integration.accounts.conftest import RecordingHasher

from aifactory.accounts import user_queries
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.guard import SESSION_HEADER, is_automatic_options
from aifactory.kernel.principal import Role

pytestmark = pytest.mark.anyio

PASSWORD = "some long words"
# What support may send besides reading: it changes nothing of anyone else's.
HARMLESS = {
    "POST /auth/logout",
    "POST /auth/logout-all",
    "POST /auth/password",
    "POST /api/validate",
    "POST /api/cost/estimate",
    "POST /api/resources/estimate",
    "POST /api/resources/check",
}


WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
    """


@pytest.fixture
async def world(database: Database, hasher: RecordingHasher) -> AsyncIterator[World]:
    async with open_world(database) as opened:
        yield opened


async def make(world: World, **body: Any) -> httpx.Response:
    return await world.ask("POST", "/users", world.admin, json={"login": "eve", "role": "support"} | body)


async def change(world: World, user_id: str, **body: Any) -> httpx.Response:
    return await world.ask("PATCH", f"/users/{user_id}", world.admin, json=body)


async def log_in(world: World, login: str, password: str) -> dict[str, str]:
    answer = await world.ask("POST", "/auth/login", json={"login": login, "password": password})
    assert answer.status_code == 200, answer.text
    return {SESSION_HEADER: answer.json()["token"]}


async def is_in(world: World, who: dict[str, str]) -> bool:
    return (await world.ask("GET", "/auth/session", who)).status_code == 200


async def my_id(world: World, who: dict[str, str]) -> str:
    found: str = (await world.ask("GET", "/auth/session", who)).json()["user"]["id"]
    return found


async def test_a_user_is_made_with_a_given_password_or_one_that_is_shown_once(world: World) -> None:
    given = await make(world, login=" EVE ", password=PASSWORD)
    assert (given.status_code, given.json()["login"], given.json()["password"]) == (201, "eve", None)
    await log_in(world, "eve", PASSWORD)
    headers = {**world.admin, "Idempotency-Key": "k"}
    body = {"login": "bob", "role": "client", "clientId": world.ours.id}
    first = await world.ask("POST", "/users", headers, json=body)
    again = await world.ask("POST", "/users", headers, json=body)
    assert (again.json()["password"], again.headers["idempotent-replayed"]) == (None, "true")
    assert again.json()["id"] == first.json()["id"]
    who = await log_in(world, "bob", first.json()["password"])
    assert (await world.ask("GET", f"/clients/{world.ours.id}", who)).status_code == 200
    assert_problem(await world.ask("GET", f"/clients/{world.theirs.id}", who), 404)
    listed = (await world.ask("GET", "/users?limit=2", world.admin)).json()
    assert [user["login"] for user in listed["data"]] == ["bob", "eve"]
    shown = await world.ask("GET", first.headers["location"], world.admin)
    assert shown.json()["clientId"] == world.ours.id
    assert "password" not in shown.json()


async def test_nothing_stored_tells_a_password_not_even_the_idempotency_key(world: World) -> None:
    headers = {"Idempotency-Key": "k"}
    body = {"login": "eve", "role": "support", "password": PASSWORD}
    assert (await world.ask("POST", "/users", world.admin, headers=headers, json=body)).status_code == 201
    other = {**body, "password": "some other words"}
    replayed = await world.ask("POST", "/users", world.admin, headers=headers, json=other)
    assert replayed.headers["idempotent-replayed"] == "true"  # what is kept of the body has no password
    async with world.database.begin() as tx:
        for table in ("users", "audit_log", "idempotency_keys"):
            assert PASSWORD not in await tx.raw.fetchval(f"SELECT string_agg(t::text, '') FROM {table} t")
    await log_in(world, "eve", PASSWORD)


SENSELESS: list[tuple[dict[str, Any], str]] = [
    ({"role": "client"}, "/clientId"),
    ({"role": "client", "clientId": "client_01k7sc0k6se3tqhf4v8nbcaaaa"}, "/clientId"),
    ({"role": "client", "clientId": "x"}, "/clientId"),
    ({"role": "support", "clientId": "ours"}, "/clientId"),
    ({"role": "worker"}, "/role"),
    ({"role": None}, "/role"),
    ({"login": "  "}, "/login"),
    ({"login": "a b"}, "/login"),
    ({"login": "a\u200bb"}, "/login"),
    ({"login": "x" * 201}, "/login"),
    ({"login": "some-login-1", "password": "SOME-login-1"}, "/password"),
    ({"password": "short"}, "/password"),
    ({"password": "ababababab"}, "/password"),
    ({"active": False}, "/active"),
]


async def test_a_senseless_user_is_refused(world: World) -> None:
    before = await world.count_rows()
    for body, pointer in SENSELESS:
        if body.get("clientId") == "ours":
            body = {**body, "clientId": world.ours.id}
        problem = assert_problem(await make(world, **body), 422)
        assert problem["errors"][0]["pointer"] == pointer
    assert await world.count_rows() == before


async def test_a_login_is_unique_however_it_is_written(world: World) -> None:
    eve = (await make(world)).json()
    assert_problem(await make(world, login="\uff25VE"), 409, "login_taken")
    bob = (await make(world, login="bob")).json()
    assert_problem(await change(world, bob["id"], login="Eve"), 409, "login_taken")
    assert (await change(world, eve["id"], login="EVE")).json()["login"] == "eve"


async def test_what_changes_a_users_powers_ends_the_sessions(world: World) -> None:
    eve, password = (await make(world, password=PASSWORD)).json(), PASSWORD
    changes: list[dict[str, Any]] = [
        {"role": "admin"},
        {"password": "another long one"},
        {"password": None},
        {"active": False},
    ]
    for body in changes:
        who = await log_in(world, "eve", password)
        changed = await change(world, eve["id"], **body)
        assert changed.status_code == 200
        assert not await is_in(world, who)
        if "password" in body:
            password = body["password"] or changed.json()["password"]


async def test_what_changes_nothing_of_them_does_not(world: World) -> None:
    eve = (await make(world, password=PASSWORD)).json()
    who = await log_in(world, "eve", PASSWORD)
    for body in ({}, {"login": "eva"}, {"active": True}, {"role": "support"}):
        assert (await change(world, eve["id"], **body)).status_code == 200
    assert await is_in(world, who)


async def test_a_role_and_its_client_change_together(world: World) -> None:
    eve = (await make(world, role="client", clientId=world.ours.id)).json()
    moved = await change(world, eve["id"], clientId=world.theirs.id)
    assert moved.json()["clientId"] == world.theirs.id
    assert (await change(world, eve["id"], role="support")).json()["clientId"] is None
    assert_problem(await change(world, eve["id"], role="client"), 422)
    assert_problem(await change(world, eve["id"], clientId=world.ours.id), 422)
    back = await change(world, eve["id"], role="client", clientId=world.ours.id)
    assert back.json()["clientId"] == world.ours.id


async def test_a_deleted_user_is_out_and_every_change_is_in_the_audit_log(world: World) -> None:
    eve = (await make(world, password=PASSWORD)).json()
    who = await log_in(world, "eve", PASSWORD)
    await change(world, eve["id"], role="admin", password="another long one")
    assert (await world.ask("DELETE", f"/users/{eve['id']}", world.admin)).status_code == 204
    assert not await is_in(world, who)
    assert_problem(await world.ask("DELETE", f"/users/{eve['id']}", world.admin), 404, "user_not_found")
    assert_problem(await change(world, eve["id"], active=True), 404)
    async with world.database.begin() as tx:
        lines = await tx.raw.fetch(
            "SELECT action, before, after FROM audit_log WHERE object_id = $1 ORDER BY id", eve["id"]
        )
    assert [line["action"] for line in lines] == [
        "user.created",
        "login",
        "user.changed",
        "user.password_changed",
        "user.deleted",
    ]
    assert (lines[2]["before"]["role"], lines[2]["after"]["role"]) == ("support", "admin")
    assert not any("password" in (line["after"] or {}) for line in lines)


# Somebody stays in charge.


async def test_the_last_active_admin_stays(world: World) -> None:
    mine = await my_id(world, world.admin)
    sleeping = (await make(world, role="admin")).json()
    await change(world, sleeping["id"], active=False)
    for body in ({"role": "support"}, {"active": False}, {"role": "client", "clientId": world.ours.id}):
        assert_problem(await change(world, mine, **body), 409, "last_admin")
    assert_problem(await world.ask("DELETE", f"/users/{mine}", world.admin), 409, "last_admin")
    assert await is_in(world, world.admin)
    assert (await change(world, mine, login="boss")).status_code == 200
    await change(world, sleeping["id"], active=True)
    assert (await world.ask("DELETE", f"/users/{mine}", world.admin)).status_code == 204
    assert not await is_in(world, world.admin)


Leave = Callable[[World, dict[str, str], str], Awaitable[httpx.Response]]


async def demote(world: World, who: dict[str, str], user_id: str) -> httpx.Response:
    return await world.ask("PATCH", f"/users/{user_id}", who, json={"role": "support"})


async def deactivate(world: World, who: dict[str, str], user_id: str) -> httpx.Response:
    return await world.ask("PATCH", f"/users/{user_id}", who, json={"active": False})


async def delete(world: World, who: dict[str, str], user_id: str) -> httpx.Response:
    return await world.ask("DELETE", f"/users/{user_id}", who)


@pytest.mark.parametrize("ways", [(demote, demote), (deactivate, delete)])
async def test_of_two_last_admins_who_remove_each_other_at_once_one_stays(
    world: World, monkeypatch: pytest.MonkeyPatch, ways: tuple[Leave, Leave]
) -> None:
    second = await make_user(world.database, "second", Role.ADMIN)
    people = [world.admin, second]
    ids = [await my_id(world, who) for who in people]
    statuses: list[int] = []
    counted: list[Tx] = []
    count = user_queries.count_admins

    async def both_are_there() -> bool:
        return len(counted) == 2 or bool(await counted[0].raw.fetchval(WAITING))

    async def count_together(tx: Tx) -> int:
        """Go on with the count when the other has counted as well, unless it waits for a lock."""
        found = await count(tx)
        counted.append(tx)
        if counted[0] is tx:
            await until(both_are_there, 10)
        return found

    async def remove(way: Leave, who: dict[str, str], user_id: str) -> None:
        statuses.append((await way(world, who, user_id)).status_code)

    monkeypatch.setattr(user_queries, "count_admins", count_together)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(remove, ways[0], people[0], ids[1])
        tasks.start_soon(remove, ways[1], people[1], ids[0])
    assert len(counted) == 2
    assert sorted(statuses) in ([200, 409], [204, 409])
    async with world.database.begin() as tx:
        assert await tx.raw.fetchval("SELECT count(*) FROM users WHERE role = 'admin' AND active") == 1


# Roles.


async def test_support_reads_and_changes_nothing_and_sees_no_secrets(world: World) -> None:
    for route in world.app.routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                name, roles = f"{method} {route.path_format}", handler.opt.get("roles") or ()
                if is_automatic_options(handler) or Role.SUPPORT not in roles or Role.PUBLIC in roles:
                    continue
                assert method == "GET" or name in HARMLESS, name
                assert not any(part in name for part in ("api-keys", "/users", "credentials")), name
