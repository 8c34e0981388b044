"""Sessions by cookie: what is set, what other sites' pages can't do, and one credential at a time."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.factories import World, assert_problem, make_user, make_worker, open_world
from tests.integration.accounts.conftest import RecordingHasher

from aifactory.accounts.passwords import hash_password
from aifactory.kernel.db import Database
from aifactory.kernel.guard import SESSION_HEADER
from aifactory.kernel.principal import Role
from aifactory.kernel.visitors import Networks
from aifactory.settings import Settings

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse"
CHANGE = {"json": {"name": "New"}}


@pytest.fixture
async def world(database: Database, hasher: RecordingHasher) -> AsyncIterator[World]:
    settings = Settings(scheduler=False, trusted_proxies=Networks("127.0.0.1"))
    async with open_world(database, settings=settings) as opened:
        await make_user(database, "ada", Role.ADMIN, password_hash=await hash_password(PASSWORD))
        yield opened


async def log_in(world: World, **headers: str) -> httpx.Response:
    body = {"login": "ada", "password": PASSWORD, "cookie": True}
    answer = await world.ask("POST", "/auth/login", json=body, headers=headers)
    world.http.cookies.clear()  # each test sends its own
    return answer


async def cookie_of(world: World) -> tuple[dict[str, str], str]:
    """Log in; return the headers that a browser would send, and the CSRF token."""
    answer = await log_in(world)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    return {"Cookie": cookie}, answer.json()["csrfToken"]


async def test_a_cookie_is_set_when_asked_for_and_the_token_stays_out_of_the_scripts_reach(
    world: World,
) -> None:
    answer = await log_in(world)
    session = answer.json()
    assert session["token"] is None
    name, _, rest = answer.headers["set-cookie"].partition("=")
    assert name == "aifactory_session"
    assert rest.partition("; ")[2] == "Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"
    without = await world.ask("POST", "/auth/login", json={"login": "ada", "password": PASSWORD})
    assert "set-cookie" not in without.headers


async def test_a_cookie_by_https_is_secure_and_another_is_not_taken(world: World) -> None:
    by_https = {"X-Forwarded-Proto": "https"}
    cookie = (await log_in(world, **by_https)).headers["set-cookie"]
    assert cookie.startswith("__Host-aifactory_session=")
    assert cookie.endswith("; Secure")
    who = {"Cookie": cookie.partition(";")[0]}
    assert (await world.ask("GET", "/auth/session", who, headers=by_https)).status_code == 200
    assert_problem(await world.ask("GET", "/auth/session", who), 401)
    planted = {"Cookie": who["Cookie"].removeprefix("__Host-")}
    assert_problem(await world.ask("GET", "/auth/session", planted, headers=by_https), 401)


async def test_reading_needs_the_cookie_only_and_a_change_its_csrf_token(world: World) -> None:
    who, csrf = await cookie_of(world)
    me = (await world.ask("GET", "/auth/session", who)).json()
    assert (me["role"], me["csrfToken"]) == ("admin", csrf)
    assert (await world.ask("GET", "/clients", who)).status_code == 200
    _, another = await cookie_of(world)
    before = await world.count_rows()
    for headers in ({}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": another}):
        refused = await world.ask("POST", "/clients", who, headers=headers, **CHANGE)
        assert_problem(refused, 403, "csrf_failed")
    assert await world.count_rows() == before
    made = await world.ask("POST", "/clients", who, headers={"X-CSRF-Token": csrf}, **CHANGE)
    assert made.status_code == 201


ORIGINS: list[tuple[dict[str, str], int]] = [
    ({"Origin": "http://test"}, 201),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "http://test"}, 201),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://test"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Origin": "https://factory.example", "X-Forwarded-Host": "factory.example"}, 201),
]


async def test_a_change_that_the_browser_ascribes_to_another_site_is_refused(world: World) -> None:
    who, csrf = await cookie_of(world)
    for headers, status in ORIGINS:
        sent = {**headers, "X-CSRF-Token": csrf}
        answer = await world.ask("POST", "/clients", who, headers=sent, **CHANGE)
        assert answer.status_code == status, answer.text


async def test_no_other_site_can_log_a_browser_in(world: World) -> None:
    assert_problem(await log_in(world, **{"Sec-Fetch-Site": "cross-site"}), 403, "csrf_failed")
    assert_problem(await log_in(world, Origin="http://evil.example"), 403, "csrf_failed")


async def test_header_credentials_need_no_csrf_token(world: World) -> None:
    headers = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    answer = await world.ask("POST", "/clients", world.admin, headers=headers, **CHANGE)
    assert answer.status_code == 201


async def test_logging_out_ends_the_session_and_removes_the_cookie(world: World) -> None:
    for path in ("/auth/logout", "/auth/logout-all"):
        who, csrf = await cookie_of(world)
        assert_problem(await world.ask("POST", path, who), 403, "csrf_failed")
        out = await world.ask("POST", path, who, headers={"X-CSRF-Token": csrf})
        assert out.status_code == 204
        assert out.headers["set-cookie"].startswith("aifactory_session=; Path=/; Max-Age=0")
        ended = await world.ask("GET", "/auth/session", who)
        assert_problem(ended, 401)
        assert ended.headers["set-cookie"].startswith("aifactory_session=; Path=/; Max-Age=0")


async def test_a_session_by_cookie_ends_after_a_day(world: World) -> None:
    who, _ = await cookie_of(world)
    world.database.clock_offset = timedelta(hours=24, minutes=1)
    assert_problem(await world.ask("GET", "/auth/session", who), 401)


async def test_a_senseless_cookie_is_401(world: World) -> None:
    for value in ("", "x", "aifs_" + "0" * 43, '"aifs_"', "é", "x" * 5000, "a=b; c=d"):
        headers = [(b"Cookie", b"aifactory_session=" + value.encode())]
        assert_problem(await world.http.get("/auth/session", headers=headers), 401, "not_authenticated")


async def test_two_credentials_at_once_are_refused_and_the_same_key_twice_is_one(world: World) -> None:
    by_cookie, csrf = await cookie_of(world)
    key = world.ours.key["X-API-Key"]
    worker = await make_worker(world.database, "outside", ["execute"])
    kinds: list[dict[str, Any]] = [
        {"X-API-Key": key},
        {SESSION_HEADER: world.admin[SESSION_HEADER]},
        {**by_cookie, "X-CSRF-Token": csrf},
        worker,
    ]
    for one in kinds:
        assert (await world.ask("GET", "/auth/session", one)).status_code == 200
        for other in kinds:
            if one is not other:
                refused = await world.ask("GET", "/auth/session", {**one, **other})
                assert_problem(refused, 401, "not_authenticated")
    bearer = {"Authorization": f"Bearer {key}"}
    assert (await world.ask("GET", "/auth/session", bearer)).json()["role"] == "client"
    assert (await world.ask("GET", "/auth/session", {**bearer, "X-API-Key": key})).status_code == 200
    theirs = {**bearer, "X-API-Key": world.theirs.key["X-API-Key"]}
    assert_problem(await world.ask("GET", "/auth/session", theirs), 401)
    both = [key, world.theirs.key["X-API-Key"]]
    twice = [[("X-API-Key", one) for one in both], [("Authorization", f"Bearer {one}") for one in both]]
    for headers in twice:
        assert_problem(await world.http.get("/auth/session", headers=headers), 401, "not_authenticated")


# One's own password.


async def change_password(world: World, who: dict[str, str], old: str, new: str) -> httpx.Response:
    return await world.ask("POST", "/auth/password", who, json={"password": old, "newPassword": new})


async def test_changing_ones_own_password_ends_the_other_sessions(world: World) -> None:
    login = {"login": "ada", "password": PASSWORD}
    tokens = [(await world.ask("POST", "/auth/login", json=login)).json()["token"] for _ in range(2)]
    mine, other = ({SESSION_HEADER: token} for token in tokens)
    assert_problem(await change_password(world, mine, "wrong", "a better one"), 403, "wrong_password")
    assert (await change_password(world, mine, PASSWORD, "a better one")).status_code == 204
    assert (await world.ask("GET", "/auth/session", mine)).status_code == 200
    assert_problem(await world.ask("GET", "/auth/session", other), 401)
    assert_problem(await world.ask("POST", "/auth/login", json=login), 401)
    assert (
        await world.ask("POST", "/auth/login", json={**login, "password": "a better one"})
    ).status_code == 200
    async with world.database.begin() as tx:
        lines = await tx.raw.fetchval("SELECT string_agg(a::text, '') FROM audit_log a")
    assert "user.password_changed" in lines
    assert "a better one" not in lines


async def test_a_stolen_session_can_not_try_out_passwords(world: World) -> None:
    login = {"login": "ada", "password": PASSWORD}
    token = (await world.ask("POST", "/auth/login", json=login)).json()["token"]
    statuses = [
        (await change_password(world, {SESSION_HEADER: token}, "wrong", "a better one")).status_code
        for _ in range(12)
    ]
    assert statuses == [403] * 10 + [429] * 2
    assert_problem(await world.ask("POST", "/auth/login", json=login), 429)


async def test_a_poor_password_is_refused(world: World) -> None:
    login = {"login": "ada", "password": PASSWORD}
    token = (await world.ask("POST", "/auth/login", json=login)).json()["token"]
    poor: list[Any] = ["short", "x" * 1001, "aaaaaaaaaaaa", None, 5, "a\x00bcdefghijk"]
    for new in poor:
        assert_problem(await change_password(world, {SESSION_HEADER: token}, PASSWORD, new), 422)
