"""Logging in, sessions and their ends."""

from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import pytest
from tests.factories import World, assert_problem, make_user, open_world

from aifactory.accounts.attempts import Attempts
from aifactory.accounts.passwords import hash_password
from aifactory.accounts.sessions import LoginLimits
from aifactory.kernel.db import Database
from aifactory.kernel.http import SESSION_HEADER
from aifactory.kernel.principal import Role

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse"


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    limits = LoginLimits(
        address=Attempts(limit=6, window_seconds=60), account=Attempts(limit=3, window_seconds=60)
    )
    async with open_world(database, login_limits=limits) as opened:
        await make_user(database, "ada", Role.ADMIN, password_hash=await hash_password(PASSWORD))
        yield opened


async def log_in(world: World, login: str = "ada", password: str = PASSWORD) -> tuple[int, dict[str, str]]:
    answer = await world.ask("POST", "/auth/login", json={"login": login, "password": password})
    if answer.status_code != 200:
        assert_problem(answer)
    return answer.status_code, answer.json()


async def test_a_login_starts_a_session_of_a_day(world: World) -> None:
    status, session = await log_in(world, " ADA ")
    assert status == 200
    me = await world.ask("GET", "/auth/session", {SESSION_HEADER: session["token"]})
    assert me.json()["user"]["login"] == "ada"
    world.database.clock_offset = timedelta(hours=25)
    assert_problem(await world.ask("GET", "/auth/session", {SESSION_HEADER: session["token"]}), 401)


async def test_unknown_login_and_wrong_password_look_the_same(world: World) -> None:
    answers = [await log_in(world, "ada", "wrong"), await log_in(world, "nobody", "wrong")]
    for _, problem in answers:
        del problem["requestId"]
    assert answers[0] == answers[1]
    assert answers[0][1]["code"] == "bad_login"


async def test_unknown_login_takes_as_long_as_a_wrong_password(world: World) -> None:
    times = []
    for login in ("ada", "nobody"):
        started = anyio.current_time()
        await log_in(world, login, "wrong")
        times.append(anyio.current_time() - started)
    assert min(times) > 0.02  # both did the hashing


async def test_attempts_are_limited_by_account_and_address(world: World) -> None:
    assert [(await log_in(world, "ada", "wrong"))[0] for _ in range(4)] == [401, 401, 401, 429]
    status, problem = await log_in(world)
    assert (status, problem["code"]) == (429, "too_many_attempts")
    assert [(await log_in(world, f"user{n}", "wrong"))[0] for n in range(3)] == [401, 429, 429]


async def test_successes_do_not_count(world: World) -> None:
    assert {(await log_in(world))[0] for _ in range(8)} == {200}


async def test_logging_out_ends_one_session_or_all(world: World) -> None:
    tokens = [{SESSION_HEADER: (await log_in(world))[1]["token"]} for _ in range(3)]
    assert (await world.ask("POST", "/auth/logout", tokens[0])).status_code == 204
    assert [(await world.ask("GET", "/auth/session", who)).status_code for who in tokens] == [401, 200, 200]
    assert (await world.ask("POST", "/auth/logout-all", tokens[1])).status_code == 204
    assert [(await world.ask("GET", "/auth/session", who)).status_code for who in tokens] == [401, 401, 401]


async def test_an_inactive_user_is_out_at_once(world: World) -> None:
    who = {SESSION_HEADER: (await log_in(world))[1]["token"]}
    async with world.database.begin() as tx:
        await tx.raw.execute("UPDATE users SET active = false WHERE login = 'ada'")
    assert_problem(await world.ask("GET", "/auth/session", who), 401)
    assert (await log_in(world))[0] == 401


async def test_neither_password_nor_token_is_stored(world: World) -> None:
    _, session = await log_in(world)
    async with world.database.begin() as tx:
        users = await tx.raw.fetchval("SELECT string_agg(u::text, '') FROM users u")
        sessions = await tx.raw.fetchval("SELECT string_agg(s::text, '') FROM user_sessions s")
        audit = await tx.raw.fetchval("SELECT string_agg(a::text, '') FROM audit_log a")
    assert PASSWORD not in users
    assert "$argon2id$" in users
    assert session["token"] not in sessions + audit


@pytest.mark.parametrize("token", ["", "x", "aifs_short", "aifs_" + "0" * 43, "aif_" + "0" * 60, "é"])
async def test_a_bad_token_is_401(world: World, token: str) -> None:
    headers = [(SESSION_HEADER.encode(), token.encode("latin-1"))]
    assert_problem(await world.http.get("/auth/session", headers=headers), 401)
