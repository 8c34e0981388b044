"""API requests a minute: exact, per key and per user, told in every authenticated answer, cheap to refuse."""

import re
from datetime import timedelta
from typing import Any

import anyio
import httpx
import pytest
from litestar.connection import ASGIConnection
from tests.factories import World, assert_problem, make_key, make_worker

from aifactory.accounts import keys, queries
from aifactory.kernel.db import Database
from aifactory.kernel.guard import Authenticator

pytestmark = pytest.mark.anyio

PATH = "/api/structure-types"


async def allow(world: World, per_minute: int | None) -> None:
    """Give our client a limit of its own; None: its tier's. Every count begins anew."""
    async with world.database.begin() as tx:
        await tx.raw.execute(
            "UPDATE client_resource_limits SET requests_per_minute = $1 WHERE client_id = $2",
            per_minute,
            world.ours.client_id,
        )
        await tx.raw.execute("DELETE FROM request_rates")


def left_of(answer: httpx.Response) -> tuple[int, int]:
    """Return the quota and what is left of it; the fields must be there and well formed."""
    policy = re.fullmatch(r'"requests";q=(\d+);w=60', answer.headers["ratelimit-policy"])
    found = re.fullmatch(r'"requests";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
    assert policy is not None
    assert found is not None
    assert int(found[2]) <= 60
    return int(policy[1]), int(found[1])


async def counts(world: World) -> list[Any]:
    async with world.database.begin() as tx:
        return list(await tx.raw.fetch("SELECT * FROM request_rates ORDER BY holder"))


async def test_a_key_gets_a_minutes_worth_then_429_and_more_as_time_goes_by(world: World) -> None:
    await allow(world, 5)
    answers = [await world.ask("GET", PATH, world.ours.key) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert [left_of(answer) for answer in answers] == [(5, left) for left in (4, 3, 2, 1, 0, 0)]
    problem = assert_problem(answers[-1], 429, "rate_limited")
    assert problem["retryable"] is True
    assert problem["requestsPerMinute"] == 5
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 12

    # A refusal changes nothing, and a wrong secret is not counted against the key whose name it has.
    before, rows = await counts(world), await world.count_rows()
    made = await world.ask("POST", "/requests", world.ours.key, json={"template": "x", "parameters": {}})
    assert_problem(made, 429, "rate_limited")
    assert (await counts(world), await world.count_rows()) == (before, rows)

    # Another key of the client, and its user by all sessions, have their own.
    _, other = await make_key(world.database, world.ours.client_id, ["read"])
    assert left_of(await world.ask("GET", PATH, other)) == (5, 4)
    assert left_of(await world.ask("GET", PATH, world.ours.session)) == (5, 4)
    assert left_of(await world.ask("GET", PATH, world.ours.session)) == (5, 3)

    # 12 s bring one back; an idle hour brings a minute's worth and no more.
    world.database.clock_offset = timedelta(seconds=12)
    answers = [await world.ask("GET", PATH, world.ours.key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    world.database.clock_offset = timedelta(hours=1)
    assert left_of(await world.ask("GET", PATH, world.ours.key)) == (5, 4)

    # A clock that is put back by an hour locks nobody out.
    world.database.clock_offset = timedelta()
    assert left_of(await world.ask("GET", PATH, world.ours.key)) == (5, 4)
    # Other limits hold from the next request on.
    async with world.database.begin() as tx:
        await tx.raw.execute("UPDATE client_resource_limits SET requests_per_minute = NULL")
    assert left_of(await world.ask("GET", PATH, world.ours.key))[0] == 120


async def test_every_authenticated_answer_tells_and_only_good_credentials_count(world: World) -> None:
    await allow(world, 5)
    _, reader = await make_key(world.database, world.ours.client_id, ["read"])
    refused = [("GET", "/requests/req_x", 404), ("POST", "/requests", 403), ("GET", "/clients", 403)]
    for used, (method, path, status) in enumerate(refused, 1):
        answer = await world.ask(method, path, reader, json=None if method == "GET" else {})
        assert (answer.status_code, left_of(answer)) == (status, (5, 5 - used))

    before = await counts(world)
    stranger = keys.make_key()
    known = keys.parse_key(reader["X-API-Key"])
    assert known is not None
    head = f"aif_{known.public_id}_{stranger.secret}"
    guess = {"X-API-Key": head + keys._checksum(head)}
    for who in ({}, {"X-API-Key": stranger.text}, guess, world.ours.key | world.ours.session):
        answer = await world.ask("GET", PATH, who)
        assert (answer.status_code, "ratelimit" in answer.headers) == (401, False)
    assert "ratelimit" not in (await world.ask("GET", "/health")).headers
    assert await counts(world) == before

    async with world.database.begin() as tx:
        await tx.raw.execute("UPDATE api_keys SET revoked_at = $1", tx.now)
    assert_problem(await world.ask("GET", PATH, reader), 401)
    assert await counts(world) == before

    worker = await make_worker(world.database, "outside", ["execute"])
    for who, path, quota in (
        (world.admin, "/clients", 6_000),
        (world.support, "/clients", 6_000),
        (worker, "/auth/session", 60_000),
    ):
        assert left_of(await world.ask("GET", path, who)) == (quota, quota - 1)
    before = await counts(world)
    wrong_name = await world.ask("GET", "/auth/session", worker | {"X-Worker-ID": "other"})
    assert wrong_name.status_code == 401
    assert await counts(world) == before


async def test_processes_together_admit_exactly_the_limit(world: World) -> None:
    await allow(world, 7)
    key = keys.parse_key(world.ours.key["X-API-Key"])
    assert key is not None
    admitted: list[bool] = []

    async def ask(database: Database) -> None:
        async with database.lend() as raw:
            found = await queries.find_key(raw, key, offset=timedelta(), counts=True)
        assert found is not None
        admitted.append(found[1].wait_seconds is None)

    other = Database(url=world.database.url)
    try:
        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(ask, (world.database, other)[number % 2])
    finally:
        await other.close()
    assert (sum(admitted), len(admitted)) == (7, 30)


async def test_a_stream_that_looks_again_whether_it_may_go_on_is_not_counted(world: World) -> None:
    await allow(world, 5)
    authenticator: Authenticator = world.app.state.authenticator
    headers = [(b"x-api-key", world.ours.key["X-API-Key"].encode())]
    connection: ASGIConnection[Any, Any, Any, Any] = ASGIConnection(
        {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}  # type: ignore[typeddict-item]
    )
    for _ in range(8):
        caller = await authenticator.authenticate(connection)
        assert caller is not None
        assert (caller.client_id, caller.allowance) == (world.ours.client_id, None)
    assert await counts(world) == []
