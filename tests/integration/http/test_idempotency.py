"""The same creation asked for twice happens once."""

import anyio
import pytest
from tests.factories import QUIZ, World, assert_problem, make_key

from aifactory.kernel.db import Database
from aifactory.kernel.idempotency import (
    Answer,
    Call,
    IdempotencyInProgress,
    IdempotencyMismatch,
    forget_old,
    once,
)

pytestmark = pytest.mark.anyio

REQUEST = {"template": QUIZ, "parameters": {"topic": "x"}}
CALL = Call(scope="client:1", route="POST /things", key="k", body=b"{}")


def key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": text}


async def test_a_replay_gives_the_same_bytes_and_makes_nothing(world: World) -> None:
    first = await world.ask("POST", "/requests", world.ours.key, json=REQUEST, headers=key("a"))
    rows = await world.count_rows()
    again = await world.ask("POST", "/requests", world.ours.key, json=REQUEST, headers=key("a"))
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert await world.count_rows() == rows


async def test_another_body_is_refused(world: World) -> None:
    await world.ask("POST", "/requests", world.ours.key, json=REQUEST, headers=key("a"))
    other = {**REQUEST, "urgency": "low"}
    answer = await world.ask("POST", "/requests", world.ours.key, json=other, headers=key("a"))
    assert_problem(answer, 422, "idempotency_mismatch")


async def test_a_key_belongs_to_its_client_and_route(world: World) -> None:
    first = await world.ask("POST", "/requests", world.ours.key, json=REQUEST, headers=key("a"))
    theirs = await world.ask("POST", "/requests", world.theirs.key, json=REQUEST, headers=key("a"))
    assert theirs.json()["id"] != first.json()["id"]
    draft = await world.ask("POST", "/requests", world.ours.key, json={**REQUEST, "execute": False})
    path = f"/requests/{draft.json()['id']}/execute"
    assert (await world.ask("POST", path, world.ours.key, json={}, headers=key("a"))).status_code == 202


async def test_a_refused_creation_leaves_the_key_free(world: World) -> None:
    wrong = {"template": "no_such_template", "parameters": {}}
    answer = await world.ask("POST", "/requests", world.ours.key, json=wrong, headers=key("a"))
    assert_problem(answer, 404, "template_not_found")
    assert (await world.ask("POST", "/requests", world.ours.key, json=REQUEST, headers=key("a"))).is_success


@pytest.mark.parametrize("text", ["", "x" * 256, "a b", "\x7f", "ä"])
async def test_a_key_must_be_visible_ascii(world: World, text: str) -> None:
    headers = [(b"Idempotency-Key", text.encode("latin-1")), (b"Content-Type", b"application/json")]
    headers.append((b"X-API-Key", world.ours.key["X-API-Key"].encode()))
    answer = await world.http.post("/requests", content=b'{"template":"x","parameters":{}}', headers=headers)
    assert_problem(answer, 422)


async def test_a_replay_never_shows_a_secret(world: World) -> None:
    _, who = await make_key(world.database, world.ours.client_id, ["read", "write", "keys"])
    path = f"/clients/{world.ours.id}/api-keys"
    first = await world.ask("POST", path, who, json={"name": "k"}, headers=key("a"))
    again = await world.ask("POST", path, who, json={"name": "k"}, headers=key("a"))
    secret = first.json()["key"]
    assert secret.startswith("aif_")
    assert again.json() == {**first.json(), "key": None}
    async with world.database.begin() as tx:
        stored = await tx.raw.fetchval("SELECT string_agg(body::text, '') FROM idempotency_keys")
    assert secret not in stored
    assert secret.split("_")[2][:43] not in stored


async def test_a_running_twin_makes_the_second_wait_a_second_and_then_409(database: Database) -> None:
    entered, finish = anyio.Event(), anyio.Event()

    async def slow() -> Answer:
        entered.set()
        await finish.wait()
        return Answer(status=201, body=b"{}")

    async def first() -> None:
        async with database.begin() as tx:
            await once(tx, CALL, slow)

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await entered.wait()
        started = anyio.current_time()
        with pytest.raises(IdempotencyInProgress):
            async with database.begin() as tx:
                await once(tx, CALL, slow)
        assert 0.8 < anyio.current_time() - started < 1.9
        finish.set()


async def test_a_twin_that_ends_in_time_is_replayed(database: Database) -> None:
    done: list[str] = []
    entered = anyio.Event()

    async def work() -> Answer:
        entered.set()
        done.append("done")
        await anyio.sleep(0.2)
        return Answer(status=201, body=b'{"n": 1.10}', location="/things/1")

    answers: list[Answer] = []

    async def ask() -> None:
        async with database.begin() as tx:
            answers.append(await once(tx, CALL, work))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await entered.wait()
        group.start_soon(ask)
    assert done == ["done"]
    assert [answer.replayed for answer in answers] == [False, True]
    assert answers[1].body == b'{"n": 1.10}'


async def test_a_twin_that_fails_lets_the_second_do_the_work(database: Database) -> None:
    entered = anyio.Event()

    async def fail() -> Answer:
        entered.set()
        await anyio.sleep(0.2)
        raise ValueError

    async def first() -> None:
        with pytest.raises(ValueError):  # noqa: PT011
            async with database.begin() as tx:
                await once(tx, CALL, fail)

    async def work() -> Answer:
        return Answer(status=201, body=b"{}")

    async with anyio.create_task_group() as group:
        group.start_soon(first)
        await entered.wait()
        async with database.begin() as tx:
            assert (await once(tx, CALL, work)).replayed is False


async def test_mismatch_and_forgetting(database: Database) -> None:
    async def work() -> Answer:
        return Answer(status=201, body=b"{}")

    async with database.begin() as tx:
        await once(tx, CALL, work)
    with pytest.raises(IdempotencyMismatch):
        async with database.begin() as tx:
            await once(tx, Call(scope=CALL.scope, route=CALL.route, key="k", body=b"[]"), work)
    async with database.begin() as tx:
        assert await forget_old(tx, 10) == 0
        await tx.raw.execute("UPDATE idempotency_keys SET created_at = created_at - interval '49 hours'")
        assert await forget_old(tx, 10) == 1


async def test_fifty_twins_make_one_request(world: World) -> None:
    answers: list[int] = []

    async def ask() -> None:
        answer = await world.ask("POST", "/requests", world.ours.key, json=REQUEST, headers=key("a"))
        answers.append(answer.status_code)

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(ask)
    assert set(answers) <= {202, 409}
    assert 202 in answers
    assert (await world.count_rows())["client_requests"] == 1
