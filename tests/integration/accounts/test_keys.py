"""API keys: shown once, stored hashed, scoped, expiring, rotated with overlap."""

from datetime import timedelta

import anyio
import pytest
from tests.factories import World, assert_problem, make_key
from tests.waiting import until_blocked

from aifactory.accounts import clients, keys, queries

pytestmark = pytest.mark.anyio


async def me(world: World, who: dict[str, str]) -> int:
    return (await world.ask("GET", "/auth/session", who)).status_code


async def test_a_key_is_shown_once_and_stored_as_its_hash(world: World) -> None:
    path = f"/clients/{world.ours.id}/api-keys"
    made = (await world.ask("POST", path, world.admin, json={"name": "k"})).json()
    text = made["key"]
    assert made["scopes"] == ["read", "write"]
    assert await me(world, {"X-API-Key": text}) == 200
    assert await me(world, {"Authorization": f"Bearer {text}"}) == 200
    listed = (await world.ask("GET", path, world.admin)).json()["data"]
    assert listed[0]["id"] == made["id"]
    assert "key" not in listed[0]
    async with world.database.begin() as tx:
        stored = await tx.raw.fetchval(
            "SELECT (SELECT string_agg(k::text, '') FROM api_keys k) "
            "|| (SELECT string_agg(a::text, '') FROM audit_log a)"
        )
        row = await tx.raw.fetchrow("SELECT * FROM api_keys ORDER BY id DESC LIMIT 1")
    parsed = keys.parse_key(text)
    assert parsed is not None
    assert parsed.secret not in stored
    assert row["secret_sha256"] == parsed.sha256


async def test_a_damaged_key_costs_no_look_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise AssertionError("looked up")

    monkeypatch.setattr(queries, "find_key", fail)
    text = world.ours.key["X-API-Key"]
    damaged = text[:-1] + ("0" if text[-1] != "0" else "1")
    for bad in (damaged, text[:-1], text + "0", "aif_", "x", text.upper()):
        assert_problem(await world.ask("GET", "/auth/session", {"X-API-Key": bad}), 401, "not_authenticated")


async def test_a_well_formed_key_with_another_secret_is_unknown(world: World) -> None:
    real = keys.parse_key(world.ours.key["X-API-Key"])
    assert real is not None
    head = f"aif_{real.public_id}_{'0' * 43}"
    forged = head + keys._checksum(head)
    assert keys.parse_key(forged) is not None
    assert_problem(await world.ask("GET", "/auth/session", {"X-API-Key": forged}), 401)


async def test_expiry_revocation_and_rotation_with_overlap(world: World) -> None:
    client = world.ours.client_id
    _, short = await make_key(world.database, client, ["read"], timedelta(hours=1))
    old_id, old = await make_key(world.database, client, ["read"])
    path = f"/clients/{world.ours.id}/api-keys/{old_id}"
    rotated = await world.ask("POST", f"{path}/rotate", world.admin, json={"overlapMs": 7_200_000})
    new = {"X-API-Key": rotated.json()["key"]}
    assert rotated.json()["scopes"] == ["read"]
    assert [await me(world, who) for who in (short, old, new)] == [200, 200, 200]
    world.database.clock_offset = timedelta(minutes=90)
    assert [await me(world, who) for who in (short, old, new)] == [401, 200, 200]
    world.database.clock_offset = timedelta(minutes=121)
    assert [await me(world, who) for who in (short, old, new)] == [401, 401, 200]
    again = await world.ask("POST", f"{path}/rotate", world.ours.session, json={})
    assert_problem(again, 409, "key_not_live")
    new_path = f"/clients/{world.ours.id}/api-keys/{rotated.json()['id']}"
    for _ in range(2):
        assert (await world.ask("DELETE", new_path, world.ours.session)).status_code == 204
    assert await me(world, new) == 401


async def test_last_use_is_noted_at_most_once_a_minute(world: World) -> None:
    async def last_used() -> object:
        async with world.database.begin() as tx:
            return await tx.raw.fetchval(
                "SELECT last_used_at FROM api_keys WHERE client_id = $1", world.ours.client_id
            )

    assert await last_used() is None
    await me(world, world.ours.key)
    first = await last_used()
    await me(world, world.ours.key)
    assert await last_used() == first is not None
    world.database.clock_offset = timedelta(seconds=61)
    await me(world, world.ours.key)
    assert await last_used() != first


async def test_scopes_bound_what_a_key_may_do_and_give_on(world: World) -> None:
    path = f"/clients/{world.ours.id}/api-keys"
    refused = assert_problem(
        await world.ask("POST", path, world.ours.key, json={"name": "k"}), 403, "scope_missing"
    )
    assert refused["requiredScope"] == "keys"
    _, maker = await make_key(world.database, world.ours.client_id, ["read", "keys"])
    more = {"name": "k", "scopes": ["write"]}
    assert_problem(await world.ask("POST", path, maker, json=more), 403, "not_allowed")
    same = {"name": "k", "scopes": ["read"]}
    assert (await world.ask("POST", path, maker, json=same)).status_code == 201
    writer_id, _ = await make_key(world.database, world.ours.client_id, ["read", "write"])
    assert_problem(await world.ask("POST", f"{path}/{writer_id}/rotate", maker, json={}), 403)


async def test_rotations_at_once_leave_at_most_twice_the_keys_that_a_client_may_have(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, path = world.ours.client_id, f"/clients/{world.ours.id}/api-keys"
    made = [(await make_key(world.database, client, ["read"]))[0] for _ in range(3)]
    monkeypatch.setattr(clients, "MAX_LIVE_KEYS", 4)  # with the client's first key
    refused = await world.ask("POST", path, world.admin, json={"name": "k"})
    assert_problem(refused, 409, "too_many_keys")

    statuses: list[int] = []

    async def rotate(key_id: str) -> None:
        body = {"overlapMs": 3_600_000}
        answer = await world.ask("POST", f"{path}/{key_id}/rotate", world.admin, json=body)
        statuses.append(answer.status_code)

    for _ in range(3):
        await rotate(made[0])
    assert statuses == [201] * 3
    async with anyio.create_task_group() as tasks, world.database.begin() as tx:
        await queries.find_client(tx, client, lock=True)
        for key_id in made:
            tasks.start_soon(rotate, key_id)
        await until_blocked(world, len(made))
    assert sorted(statuses[3:]) == [201, 409, 409]
    world.database.clock_offset = timedelta(hours=2)
    async with world.database.begin() as tx:
        assert await queries.count_live_keys(tx, client) == 4


async def test_a_key_that_has_expired_already_is_refused(world: World) -> None:
    body = {"name": "k", "expiresAt": "2001-01-01T00:00:00Z"}
    path = f"/clients/{world.ours.id}/api-keys"
    problem = assert_problem(await world.ask("POST", path, world.admin, json=body), 422)
    assert problem["errors"][0]["pointer"] == "/expiresAt"
    naive = {"name": "k", "expiresAt": "2999-01-01T00:00:00"}
    assert_problem(await world.ask("POST", path, world.admin, json=naive), 422)


async def test_two_credentials_at_once_are_refused(world: World) -> None:
    assert_problem(await world.ask("GET", "/auth/session", {**world.ours.key, **world.admin}), 401)


@pytest.mark.parametrize("expires_at", ["9999-12-31T23:59:59-23:59", "2999-01-01T00:00:00Z"])
async def test_a_key_that_would_last_for_ever_is_refused(world: World, expires_at: str) -> None:
    path = f"/clients/{world.ours.id}/api-keys"
    answer = await world.ask("POST", path, world.admin, json={"name": "k", "expiresAt": expires_at})
    assert assert_problem(answer, 422)["errors"][0]["pointer"] == "/expiresAt"
