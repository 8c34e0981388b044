"""Logging in: what it gives, how often one may try, and what happens meanwhile."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
from argon2 import PasswordHasher
from tests.factories import World, assert_problem, make_user, open_world
from tests.integration.accounts.conftest import RecordingHasher

from aifactory.accounts import logins, passwords, user_queries, users
from aifactory.accounts.attempts import Limit, LoginLimits, TooManyAttempts
from aifactory.accounts.interface import BadLogin
from aifactory.accounts.passwords import hash_password
from aifactory.kernel.db import Database
from aifactory.kernel.guard import SESSION_HEADER
from aifactory.kernel.ids import UserId
from aifactory.kernel.principal import Role
from aifactory.kernel.visitors import Networks, Visitor
from aifactory.settings import Settings

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse"
LIVE_SESSIONS = """
    SELECT count(*) FROM user_sessions JOIN users ON users.id = user_id WHERE login = $1 AND ended_at IS NULL
    """
PAUSE = timedelta(seconds=60)
LIMITS = LoginLimits(
    address=Limit(burst=6, pause=PAUSE),
    account_here=Limit(burst=3, pause=PAUSE),
    account=Limit(burst=8, pause=PAUSE),
)


@pytest.fixture
async def world(database: Database, hasher: RecordingHasher) -> AsyncIterator[World]:
    settings = Settings(scheduler=False, trusted_proxies=Networks("127.0.0.1"))
    async with open_world(database, settings=settings, login_limits=LIMITS) as opened:
        await make_user(database, "ada", Role.ADMIN, password_hash=await hash_password(PASSWORD))
        yield opened


async def log_in(
    world: World, login: str = "ada", password: str = PASSWORD, address: str = "9.9.9.9"
) -> tuple[int, Any]:
    body = {"login": login, "password": password}
    answer = await world.ask("POST", "/auth/login", json=body, headers={"X-Forwarded-For": address})
    if answer.status_code != 200:
        assert_problem(answer)
    return answer.status_code, answer.json()


async def guess(world: World, times: int, login: str = "ada", address: str = "9.9.9.9") -> list[int]:
    return [(await log_in(world, login, "wrong", address))[0] for _ in range(times)]


async def test_a_login_starts_a_session_of_a_day(world: World) -> None:
    status, session = await log_in(world, " ADA ")
    assert (status, session["csrfToken"]) == (200, None)
    me = (await world.ask("GET", "/auth/session", {SESSION_HEADER: session["token"]})).json()
    assert (me["user"]["login"], me["sessionExpiresAt"]) == ("ada", session["expiresAt"])
    world.database.clock_offset = timedelta(hours=25)
    assert_problem(await world.ask("GET", "/auth/session", {SESSION_HEADER: session["token"]}), 401)


async def test_unknown_login_and_wrong_password_look_the_same(world: World) -> None:
    answers = [await log_in(world, login, "wrong") for login in ("ada", "nobody", "root")]
    for _, problem in answers:
        del problem["requestId"]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][1]["code"] == "bad_login"


async def test_an_unknown_login_is_the_same_work_as_a_wrong_password(
    world: World, hasher: RecordingHasher
) -> None:
    for login in ("ada", "nobody", "root"):  # the last has no hash that could match
        await log_in(world, login, "wrong")
    assert hasher.done[-3:] == ["verify", "hash", "hash"]


# How often.


async def test_attempts_are_limited_by_account_and_address(world: World) -> None:
    assert await guess(world, 4) == [401, 401, 401, 429]
    status, problem = await log_in(world)
    assert (status, problem["code"]) == (429, "too_many_attempts")
    assert [(await log_in(world, f"user{n}", "wrong"))[0] for n in range(4)] == [401, 401, 401, 429]
    world.database.clock_offset = PAUSE
    assert await guess(world, 2) == [401, 429]


async def test_a_refusal_says_when_to_come_back_and_counts_nothing(world: World) -> None:
    await guess(world, 3)
    for _ in range(5):
        body = {"login": "ada", "password": "wrong"}
        answer = await world.ask("POST", "/auth/login", json=body, headers={"X-Forwarded-For": "9.9.9.9"})
        assert_problem(answer, 429, "too_many_attempts")
    wait = int(answer.headers["retry-after"])
    assert 50 <= wait <= 60
    world.database.clock_offset = timedelta(seconds=wait)
    assert (await log_in(world))[0] == 200


async def test_successes_do_not_count_and_empty_the_account_here(world: World) -> None:
    assert {(await log_in(world))[0] for _ in range(9)} == {200}
    assert await guess(world, 2) == [401, 401]
    assert (await log_in(world))[0] == 200
    assert await guess(world, 4) == [401, 401, 401, 429]


async def test_many_at_once_in_two_processes_do_not_slip_through(world: World) -> None:
    other = Database(url=world.database.url)
    outcomes: list[str] = []
    visitor = Visitor(address="9.9.9.9", secure=False, host="")

    async def attempt(database: Database) -> None:
        try:
            await logins.log_in(database, limits=LIMITS, visitor=visitor, login="ada", password="wrong")
        except (BadLogin, TooManyAttempts) as error:
            outcomes.append(error.code)

    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(attempt, other if number % 2 else world.database)
    await other.close()
    assert outcomes.count("bad_login") == 3
    assert outcomes.count("too_many_attempts") == 13


async def test_nobody_is_locked_out_from_elsewhere_where_they_logged_in_before(world: World) -> None:
    assert (await log_in(world, address="1.1.1.1"))[0] == 200
    for number in range(4):
        await guess(world, 2, address=f"8.8.8.{number}")
    assert (await log_in(world, address="8.8.8.9"))[0] == 429  # the account pauses for strangers
    assert (await log_in(world, address="1.1.1.1"))[0] == 200
    assert await guess(world, 4, address="1.1.1.1") == [401, 401, 401, 429]
    world.database.clock_offset = PAUSE
    assert (await log_in(world, address="8.8.8.9"))[0] == 200


async def test_an_address_is_forgotten_after_a_month(world: World) -> None:
    assert (await log_in(world, address="1.1.1.1"))[0] == 200
    world.database.clock_offset = timedelta(days=31)
    for number in range(4):
        await guess(world, 2, address=f"8.8.8.{number}")
    assert (await log_in(world, address="1.1.1.1"))[0] == 429


async def test_counts_tell_nothing_of_who_tried_and_are_forgotten(world: World) -> None:
    await guess(world, 1, login="ada")
    async with world.database.begin() as tx:
        stored = await tx.raw.fetchval("SELECT string_agg(a::text, '') FROM login_attempts a")
        assert await tx.raw.fetchval("SELECT count(*) FROM login_attempts") == 3
    assert "ada" not in stored
    assert "9.9.9.9" not in stored
    world.database.clock_offset = timedelta(hours=1)
    await guess(world, 1, login="eve", address="7.7.7.7")
    async with world.database.begin() as tx:
        assert await tx.raw.fetchval("SELECT count(*) FROM login_attempts") == 3


async def test_a_flood_is_turned_away_at_once_and_not_counted(world: World) -> None:
    with contextlib.ExitStack() as taken:
        for _ in range(passwords.MOST_PLACES):
            taken.enter_context(passwords.turn())
        answer = await world.ask("POST", "/auth/login", json={"login": "ada", "password": PASSWORD})
        assert_problem(answer, 503, "logins_busy")
        assert answer.headers["retry-after"] == "2"
        assert (await world.ask("GET", "/auth/session", world.admin)).status_code == 200
    assert await guess(world, 3) == [401, 401, 401]
    assert (await log_in(world, address="1.1.1.1"))[0] == 200


async def test_who_may_not_try_any_more_takes_no_place_from_others(world: World) -> None:
    assert await guess(world, 4) == [401, 401, 401, 429]
    with contextlib.ExitStack() as taken:
        for _ in range(passwords.MOST_PLACES):
            taken.enter_context(passwords.turn())
        assert await guess(world, 1) == [429]
    async with passwords.line("9.9.9.9"):
        assert (await log_in(world, address="1.1.1.1"))[0] == 200


# Meanwhile.


async def deactivate(tx: Any, user_id: UserId) -> None:
    await users.change_user(tx, user_id, users.UserChanges(active=False), actor="test")


async def set_password(tx: Any, user_id: UserId) -> None:
    changes = users.UserChanges(password_hash="$argon2id$another")
    await users.change_user(tx, user_id, changes, actor="test")


async def delete(tx: Any, user_id: UserId) -> None:
    await users.delete_user(tx, user_id, actor="test")


@pytest.mark.parametrize("change", [deactivate, set_password, delete])
async def test_a_change_while_the_password_is_checked_wins(
    world: World, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, UserId], Awaitable[None]]
) -> None:
    check = passwords.check_password

    async def check_and_change(password: str, stored: str | None) -> bool:
        matches = await check(password, stored)
        async with world.database.begin() as tx:
            user = await user_queries.find_user_by_login(tx, "ada")
            assert user is not None
            await change(tx, UserId(user.id))
        return matches

    monkeypatch.setattr(passwords, "check_password", check_and_change)
    assert (await log_in(world))[0] == 401
    async with world.database.begin() as tx:
        assert await tx.raw.fetchval(LIVE_SESSIONS, "ada") == 0


async def test_a_hash_of_old_parameters_is_renewed_by_logins_at_once(world: World) -> None:
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=2).hash(PASSWORD)
    await make_user(world.database, "eve", Role.SUPPORT, password_hash=old)
    statuses: list[int] = []

    async def attempt() -> None:
        statuses.append((await log_in(world, "eve"))[0])

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(attempt)
    assert statuses == [200, 200, 200]
    async with world.database.begin() as tx:
        stored = await tx.raw.fetchval("SELECT password_hash FROM users WHERE login = 'eve'")
    assert stored != old
    assert not passwords.is_outdated(stored)
    assert (await log_in(world, "eve"))[0] == 200


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


async def test_old_sessions_are_forgotten(world: World) -> None:
    await log_in(world)
    world.database.clock_offset = timedelta(days=32)
    await log_in(world)
    async with world.database.begin() as tx:
        assert await tx.raw.fetchval("SELECT count(*) FROM user_sessions") == 1


async def test_neither_password_nor_token_is_stored(world: World) -> None:
    _, session = await log_in(world)
    async with world.database.begin() as tx:
        people = await tx.raw.fetchval("SELECT string_agg(u::text, '') FROM users u")
        sessions = await tx.raw.fetchval("SELECT string_agg(s::text, '') FROM user_sessions s")
        audit = await tx.raw.fetchval("SELECT string_agg(a::text, '') FROM audit_log a")
    assert PASSWORD not in people
    assert "$argon2id$" in people
    assert session["token"] not in sessions + audit


async def test_a_bad_token_is_401(world: World) -> None:
    for token in ("", "x", "aifs_short", "aifs_" + "0" * 43, "aif_" + "0" * 60, "é"):
        headers = [(SESSION_HEADER.encode(), token.encode("latin-1"))]
        assert_problem(await world.http.get("/auth/session", headers=headers), 401)


async def test_what_looks_the_same_logs_in_and_what_is_too_long_does_not(world: World) -> None:
    assert (await log_in(world, "\uff21da"))[0] == 200  # a full-width A
    stored = await hash_password("Zo\u00eb and the \ufb01sh")
    await make_user(world.database, "zoë", Role.SUPPORT, password_hash=stored)
    assert (await log_in(world, "ZOE\u0308", "Zoe\u0308 and the fish"))[0] == 200
    assert (await log_in(world, "ada", "x" * 1000))[0] == 401
    assert (await log_in(world, "ada", "x" * 1001))[0] == 422
    assert (await log_in(world, "ada", "💥" * 1000))[0] == 401
