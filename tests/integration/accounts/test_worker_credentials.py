"""Credentials of outside workers: one secret each, shown once, replaced with an overlap."""

from datetime import timedelta
from typing import Any

import anyio
import httpx
import pytest
from litestar import get, post
from tests.factories import World, assert_problem, bare_app, make_worker, open_world

from aifactory.accounts import keys
from aifactory.kernel.clock import utc_now
from aifactory.kernel.db import Database
from aifactory.kernel.guard import UndeclaredRoles
from aifactory.kernel.principal import Role

pytestmark = pytest.mark.anyio


async def make(world: World, **body: Any) -> httpx.Response:
    asked = {"worker": "outside", "scopes": ["execute", "execute", "result"]} | body
    return await world.ask("POST", "/api/worker-credentials", world.admin, json=asked)


def as_worker(secret: str, worker: str | None = "outside") -> dict[str, str]:
    named = {} if worker is None else {"X-Worker-ID": worker}
    return {"Authorization": f"Bearer {secret}", **named}


async def status(world: World, who: dict[str, str]) -> int:
    return (await world.ask("GET", "/auth/session", who)).status_code


async def test_a_secret_says_which_worker_calls_and_what_it_may(world: World) -> None:
    made = await make(world)
    credential = made.json()
    assert made.status_code == 201
    assert credential["secret"].startswith(credential["prefix"] + "_")
    assert len(credential["secret"]) == len("aifw_") + 10 + 1 + 43 + 6
    me = (await world.ask("GET", "/auth/session", as_worker(credential["secret"]))).json()
    assert (me["role"], me["worker"], me["scopes"]) == ("worker", "outside", ["execute", "result"])
    assert (me["clientId"], me["user"]) == (None, None)
    listed = (await world.ask("GET", "/api/worker-credentials", world.admin)).json()["data"]
    assert [row["id"] for row in listed] == [credential["id"]]
    assert listed[0]["lastUsedAt"] is not None
    assert "secret" not in listed[0]


async def test_a_secret_is_shown_once_and_stored_as_a_hash(world: World) -> None:
    headers = {"Idempotency-Key": "k"}
    body = {"worker": "outside", "scopes": ["result"]}
    path = "/api/worker-credentials"
    first = await world.ask("POST", path, world.admin, headers=headers, json=body)
    again = await world.ask("POST", path, world.admin, headers=headers, json=body)
    assert again.json() == {**first.json(), "secret": None}
    async with world.database.begin() as tx:
        for table in ("worker_credentials", "audit_log", "idempotency_keys"):
            text = await tx.raw.fetchval(f"SELECT string_agg(t::text, '') FROM {table} t")
            assert first.json()["secret"][15:] not in text
        actions = await tx.raw.fetch("SELECT action FROM audit_log WHERE object_id = $1", first.json()["id"])
    assert [row["action"] for row in actions] == ["worker_credential.created"]


async def test_what_is_no_secret_of_this_worker_is_401(world: World) -> None:
    secret = (await make(world)).json()["secret"]
    wrong = secret[:-7] + ("a" if secret[-7] != "a" else "b") + secret[-6:]
    for who in (
        as_worker(secret, None),
        as_worker(secret, "another"),
        as_worker(secret, "Outside"),
        as_worker(wrong),
        as_worker(keys.make_key(keys.WORKER_SECRET).text),
        as_worker("aifw_"),
        {"X-API-Key": secret, "X-Worker-ID": "outside"},
    ):
        assert_problem(await world.ask("GET", "/auth/session", who), 401, "not_authenticated")
    client = {"Authorization": f"Bearer {world.ours.key['X-API-Key']}", "X-Worker-ID": "outside"}
    assert (await world.ask("GET", "/auth/session", client)).json()["role"] == "client"


async def test_a_secret_ends_when_it_is_revoked_or_expires(world: World) -> None:
    credential = (await make(world)).json()
    path = f"/api/worker-credentials/{credential['id']}"
    for _ in range(2):
        assert (await world.ask("DELETE", path, world.admin)).status_code == 204
    assert await status(world, as_worker(credential["secret"])) == 401
    soon = (utc_now() + timedelta(hours=1)).isoformat()
    short = (await make(world, expiresAt=soon)).json()
    assert await status(world, as_worker(short["secret"])) == 200
    world.database.clock_offset = timedelta(hours=2)
    assert await status(world, as_worker(short["secret"])) == 401
    assert (await make(world)).status_code == 201  # an expired one is in nobody's way
    assert_problem(await world.ask("DELETE", path[:-1] + "x", world.admin), 404)


async def test_a_worker_has_one_secret_and_its_replacement_overlaps(world: World) -> None:
    first = (await make(world)).json()
    assert_problem(await make(world), 409, "worker_has_credential")
    assert (await make(world, worker="other")).status_code == 201
    second = (await make(world, overlapMs=60_000)).json()
    works = [await status(world, as_worker(one["secret"])) for one in (first, second)]
    assert works == [200, 200]
    third = (await make(world, overlapMs=60_000)).json()
    works = [await status(world, as_worker(one["secret"])) for one in (first, second, third)]
    assert works == [401, 200, 200]  # at most two at a time
    world.database.clock_offset = timedelta(seconds=61)
    works = [await status(world, as_worker(one["secret"])) for one in (second, third)]
    assert works == [401, 200]
    assert (await make(world, overlapMs=0)).status_code == 201
    assert await status(world, as_worker(third["secret"])) == 401


async def test_of_many_made_at_once_one_is_made(world: World) -> None:
    statuses: list[int] = []

    async def attempt() -> None:
        statuses.append((await make(world)).status_code)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(attempt)
    assert sorted(statuses) == [201] + [409] * 5


SENSELESS: list[dict[str, Any]] = [
    {"worker": ""},
    {"worker": "a b"},
    {"worker": "x\n"},
    {"worker": "é"},
    {"worker": "x" * 64},
    {"scopes": []},
    {"scopes": ["write"]},
    {"scopes": ["execute"] * 9},
    {"expiresAt": "2020-01-01T00:00:00Z"},
    {"expiresAt": "2999-01-01T00:00:00Z"},
    {"overlapMs": -1},
]


async def test_a_senseless_credential_is_refused(world: World) -> None:
    before = await world.count_rows()
    for body in SENSELESS:
        assert_problem(await make(world, **body), 422)
    assert await world.count_rows() == before


async def test_a_worker_needs_the_scope_that_a_route_names(database: Database) -> None:
    @post("/work", roles=frozenset({Role.WORKER, Role.CLIENT}), worker_scope="reserve", status_code=200)
    async def work() -> str:
        """Do it."""
        return "done"

    async with open_world(database, routes=[work]) as world:
        weak = await make_worker(database, "weak", ["execute"])
        strong = await make_worker(database, "strong", ["reserve"])
        problem = assert_problem(await world.ask("POST", "/work", weak), 403, "scope_missing")
        assert problem["requiredScope"] == "reserve"
        assert (await world.ask("POST", "/work", strong)).status_code == 200
        assert (await world.ask("POST", "/work", world.ours.key)).status_code == 200


async def test_a_route_for_workers_without_a_scope_stops_the_start(world: World) -> None:
    @get("/open", roles=frozenset({Role.WORKER}))
    async def forgotten() -> None:
        """Declare no scope."""

    with pytest.raises(UndeclaredRoles, match="/open"):
        bare_app(world.database, world.resources, routes=[forgotten])
