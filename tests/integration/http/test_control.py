"""The operator's pools, queues and tiers: edited without losing usage, guarded against races, audited."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import anyio
import pytest
from tests.factories import QUIZ, World, assert_problem
from tests.fleet import until

from aifactory.resources.queries import control_edit

pytestmark = pytest.mark.anyio

POOL = {"unit": "tokens", "capacity": 1000, "refillPerSecond": 10, "priceUsdPerThousand": 0}
EDITED = {
    "points": 21,
    "weight": 7,
    "maxRunning": 3,
    "monthlyBudgetUsd": 12.5,
    "requestsPerMinute": 99,
    "retentionDays": None,
}


async def audited(world: World, kind: str) -> list[tuple[str, str, Any, Any]]:
    async with world.database.begin() as tx:
        rows = await tx.raw.fetch("SELECT * FROM audit_log WHERE object_kind = $1 ORDER BY id", kind)
    return [(row["action"], row["object_id"], row["before"], row["after"]) for row in rows]


def decoded(content: bytes) -> Any:
    """Read an answer with its numbers exact."""
    return json.loads(content, parse_float=Decimal)


async def test_a_pool_is_made_full_edited_paused_and_audited(world: World) -> None:
    path, told = "/admin/pools/own-model", list[Any]()
    world.database.on_tell = lambda topic, keys: told.append((topic, keys))
    assert_problem(await world.ask("GET", path, world.admin), 404, "pool_not_found")
    assert_problem(await world.ask("PUT", path, world.admin, json=POOL, headers={"If-Match": "*"}), 412)
    made = await world.ask("PUT", path, world.admin, json={**POOL, "requestsPerMinute": 30})
    assert made.status_code == 201
    assert made.json() == {
        "pool": "own-model",
        "unit": "tokens",
        "capacity": 1000,
        "level": 1000,
        "refillPerSecond": 10,
        "paused": False,
        "blockedUntil": None,
        "priceUsdPerThousand": 0,
        "requestsPerMinute": 30,
        "reservedPercent": 10,
        "dedicatedClientId": None,
        "spendable": 1000,
        "reserved": 100,
        "reserveLent": True,
        "recallSeconds": 10,
        "requestsLeft": 30,
        "bigJob": None,
        "waitingJobs": 0,
        "runningJobs": 0,
        "activeClients": 0,
    }
    paused = await world.ask("POST", path + "/pause", world.admin)
    assert (paused.status_code, paused.json()["paused"]) == (200, True)
    assert paused.headers["etag"] != made.headers["etag"]
    stale = {"If-Match": made.headers["etag"]}
    assert_problem(await world.ask("PUT", path, world.admin, json=POOL, headers=stale), 412)
    resumed = await world.ask("POST", path + "/resume", world.admin)
    assert resumed.headers["etag"] == made.headers["etag"]
    same = {**POOL, "requestsPerMinute": 30}
    again = await world.ask("PUT", path, world.admin, json=same, headers=stale)
    assert (again.status_code, again.headers["etag"]) == (200, made.headers["etag"])
    log = await audited(world, "pool")
    assert [line[:2] for line in log] == [
        (f"pool.{done}", "own-model") for done in ("stored", "paused", "resumed")
    ]
    assert log[0][2] is None
    assert (log[1][2]["paused"], log[1][3]["paused"]) == (False, True)
    assert told == [("work", ())] * 4  # whoever waits for it looks again
    for missing in ("/admin/pools/nothing/pause", "/admin/pools/nothing/resume"):
        assert_problem(await world.ask("POST", missing, world.admin), 404, "pool_not_found")


async def test_editing_a_pool_keeps_what_was_used_and_refills_by_the_old_rate(world: World) -> None:
    path = "/admin/pools/own-model"
    await world.ask("PUT", path, world.admin, json={**POOL, "requestsPerMinute": 60})
    async with world.database.begin() as tx:
        await tx.raw.execute(
            """
            UPDATE resource_pools SET level_micro = 200500000, requests_micro = 1000000, as_of = $1,
                blocked_until = $2, start_seq = 7, recent_starts = 'nnb', last_urgent_at = $1
            WHERE pool = 'own-model'
            """,
            now := tx.now,
            tx.now + timedelta(hours=1),
        )
    world.database.clock_offset += timedelta(seconds=20)
    shown = (await world.ask("GET", path, world.admin)).json()
    assert 400 <= shown["level"] <= 420
    assert shown["level"] - shown["spendable"] in (99, 100)  # urgent work ran lately: the reserve is kept
    assert (shown["reserveLent"], shown["reserved"]) == (False, 100)
    faster = {**POOL, "capacity": 2000, "refillPerSecond": 10**9, "requestsPerMinute": 6}
    assert (await world.ask("PUT", path, world.admin, json=faster)).status_code == 200
    async with world.database.begin() as tx:
        row = await control_edit.find_pool(tx, "own-model")
        assert row is not None
        elapsed = (row["as_of"] - now).total_seconds()
        assert row["level_micro"] == 200_500_000 + round(elapsed * 10_000_000)
        assert row["requests_micro"] == 6_000_000  # 21 had come back; now six are the most
        assert (row["start_seq"], row["recent_starts"]) == (7, "nnb")
        assert row["blocked_until"] == now + timedelta(hours=1)
    small = {**POOL, "capacity": 50}
    assert (await world.ask("PUT", path, world.admin, json=small)).json()["level"] == 50
    limited = (await world.ask("PUT", path, world.admin, json={**small, "requestsPerMinute": 6})).json()
    assert limited["requestsLeft"] == 0  # nobody knows how many the last minute had


async def test_a_pool_goes_when_nothing_names_it_and_shrinks_when_nothing_waits_for_more(
    world: World,
) -> None:
    path = "/admin/pools/mistyped"
    made = await world.ask("PUT", path, world.admin, json=POOL)
    quota = {"pool": "mistyped", "period": "day", "units": 5}
    limits = {"maxRunning": None, "requestsPerMinute": None, "quotas": [quota]}
    limits_path = f"/clients/{world.ours.id}/limits"
    assert (await world.ask("PUT", limits_path, world.admin, json=limits)).status_code == 200
    used = assert_problem(await world.ask("DELETE", path, world.admin), 409, "pool_in_use")
    assert (used["quotas"], used["models"], used["executions"]) == (1, [], 0)
    await world.ask("PUT", limits_path, world.admin, json={**limits, "quotas": []})
    stale = {"If-Match": '"other"'}
    assert_problem(await world.ask("DELETE", path, world.admin, headers=stale), 412, "version_changed")
    read = {"If-Match": made.headers["etag"]}
    assert (await world.ask("DELETE", path, world.admin, headers=read)).status_code == 204
    assert_problem(await world.ask("DELETE", path, world.admin), 404, "pool_not_found")
    last = (await audited(world, "pool"))[-1]
    assert (last[0], last[1], last[2]["capacity"], last[3]) == ("pool.deleted", "mistyped", 1000, None)
    assert (await world.ask("PUT", path, world.admin, json=POOL)).status_code == 201

    request = {"template": QUIZ, "parameters": {"topic": "x"}}
    made = await world.ask("POST", "/api/execute", world.ours.key, json=request)
    used = assert_problem(await world.ask("DELETE", "/admin/pools/compute", world.admin), 409, "pool_in_use")
    assert (used["models"], used["executions"], used["quotas"]) == (["local/offline"], 1, 0)
    async with world.database.begin() as tx:
        units = await tx.raw.fetchval("SELECT max(units) FROM resource_queue")
    path, fits = "/admin/pools/compute", {**POOL, "unit": "words", "capacity": units, "reservedPercent": 0}
    for too_small in ({**fits, "capacity": units - 1}, {**fits, "reservedPercent": 90}):
        refused = assert_problem(await world.ask("PUT", path, world.admin, json=too_small), 409)
        assert (refused["code"], refused["stuckJobs"]) == ("work_outgrown", 1)
    assert (await world.ask("PUT", path, world.admin, json=fits)).status_code == 200
    too_small = {**fits, "capacity": units - 1}
    forced = await world.ask("PUT", f"{path}?force=true", world.admin, json=too_small)
    assert (forced.status_code, forced.json()["capacity"]) == (200, units - 1)
    too_small["capacity"] -= 1  # what is stuck already is no reason to refuse
    assert (await world.ask("PUT", path, world.admin, json=too_small)).status_code == 200

    enterprise = {"tier": "enterprise", "limits": {"monthlyBudgetUsd": 5}}
    for client in (world.ours, world.theirs):
        await world.ask("PATCH", f"/clients/{client.id}", world.admin, json=enterprise)
    assert (await world.ask("PUT", path, world.admin, json=fits)).status_code == 200
    for client, status in ((world.ours, 200), (world.theirs, 409)):  # its own jobs are not stuck
        answer = await world.ask("PUT", path, world.admin, json={**fits, "dedicatedClientId": client.id})
        assert answer.status_code == status
    assert (answer.json()["code"], answer.json()["stuckJobs"]) == ("work_outgrown", 1)
    theirs = {**fits, "dedicatedClientId": world.theirs.id}
    forced = await world.ask("PUT", f"{path}?force=true", world.admin, json=theirs)
    assert forced.json()["dedicatedClientId"] == world.theirs.id


async def test_the_price_of_local_work_is_its_pools(world: World) -> None:
    before = decoded((await world.ask("GET", "/admin/pools/compute", world.admin)).content)
    assert before["priceUsdPerThousand"] == Decimal("0.00001")
    changed = {**POOL, "unit": "words", "capacity": 1_000_000, "priceUsdPerThousand": 0.000025}
    answer = await world.ask("PUT", "/admin/pools/compute", world.admin, json=changed)
    assert decoded(answer.content)["priceUsdPerThousand"] == Decimal("0.000025")
    async with world.database.begin() as tx:
        prices = await tx.raw.fetch(
            "SELECT input_nano_per_million, cached_nano_per_million, output_nano_per_million, price_at, "
            "price_source FROM models WHERE provider = 'local'"
        )
    assert [tuple(row)[:3] for row in prices] == [(25_000_000,) * 3]
    ((_, _, old, new),) = await audited(world, "pool")
    assert (old["priceUsdPerThousand"], new["priceUsdPerThousand"]) == ("0.00001", "0.000025")
    refusals = [(-1, "out_of_range"), (1001, "out_of_range"), (1e-13, "too_precise"), ("0.5", "wrong_type")]
    for price, code in refusals:
        body = {**changed, "priceUsdPerThousand": price}
        refused = assert_problem(await world.ask("PUT", "/admin/pools/compute", world.admin, json=body), 422)
        assert refused["errors"][0]["code"] == code


async def test_pools_have_plain_names_and_are_dedicated_to_enterprise_clients_only(world: World) -> None:
    for name in ("Upper", "1st", "a b", "x" * 65, "ä"):
        refused = await world.ask("PUT", f"/admin/pools/{name}", world.admin, json=POOL)
        assert assert_problem(refused, 422)["errors"][0]["code"] == "bad_name"
    path, ours = "/admin/pools/their-own", {**POOL, "dedicatedClientId": world.ours.id}
    for client_id, code in ((world.ours.id, "not_enterprise"), ("client_x", "unknown_client")):
        body = {**POOL, "dedicatedClientId": client_id}
        refused = await world.ask("PUT", path, world.admin, json=body)
        assert assert_problem(refused, 422)["errors"][0]["code"] == code
    limits = {"tier": "enterprise", "limits": {"monthlyBudgetUsd": 5}}
    await world.ask("PATCH", f"/clients/{world.ours.id}", world.admin, json=limits)
    assert (await world.ask("PUT", path, world.admin, json=ours)).json()["dedicatedClientId"] == world.ours.id
    refused = await world.ask("PATCH", f"/clients/{world.ours.id}", world.admin, json={"tier": "basic"})
    assert assert_problem(refused, 422)["errors"][0]["code"] == "dedicated_pool"
    pools = (await world.ask("GET", "/admin/pools", world.admin)).json()["data"]
    assert [pool["pool"] for pool in pools] == sorted(pool["pool"] for pool in pools)
    assert "their-own" in {pool["pool"] for pool in pools}

    async def available(who: dict[str, str]) -> set[str]:
        answer = await world.ask("GET", "/api/resources/availability", who)
        return {pool["pool"] for pool in answer.json()["pools"]}

    assert "their-own" in await available(world.ours.key)
    assert "their-own" in await available(world.admin)
    assert "their-own" not in await available(world.theirs.key)


async def test_queues_are_edited_within_half_of_all_starts_paused_and_audited(world: World) -> None:
    told: list[Any] = []
    world.database.on_tell = lambda topic, keys: told.append((topic, keys))
    listed = (await world.ask("GET", "/admin/queues", world.support)).json()["data"]
    assert [(one["queue"], one["sharePercent"], one["policy"]) for one in listed] == [
        ("immediate", 0, "score"),
        ("fast", 25, "score"),
        ("normal", 15, "fair"),
        ("batch", 8, "fair"),
        ("deferred", 2, "fair"),
    ]
    path = "/admin/queues/batch"
    terms = {"policy": "score", "sharePercent": 9, "fullAgeSeconds": 60}
    refused = assert_problem(await world.ask("PUT", path, world.admin, json=terms), 422)
    assert refused["errors"][0]["code"] == "shares_too_large"
    read = await world.ask("GET", path, world.admin)
    terms["sharePercent"] = 8
    put = await world.ask("PUT", path, world.admin, json=terms, headers={"If-Match": read.headers["etag"]})
    assert (put.status_code, put.json()["policy"], put.json()["fullAgeSeconds"]) == (200, "score", 60)
    stale = {"If-Match": read.headers["etag"]}
    assert_problem(await world.ask("PUT", path, world.admin, json=terms, headers=stale), 412)
    for action, paused in (("pause", True), ("pause", True), ("resume", False)):
        answer = await world.ask("POST", f"{path}/{action}", world.admin)
        assert (answer.json()["paused"], answer.headers["etag"]) == (paused, put.headers["etag"])
    log = await audited(world, "queue")
    assert [line[0] for line in log] == ["queue.stored", "queue.paused", "queue.resumed"]
    assert log[0][2:] == (
        {"policy": "fair", "sharePercent": 8, "fullAgeSeconds": 7200},
        {"policy": "score", "sharePercent": 8, "fullAgeSeconds": 60},
    )
    assert told == [("work", ())] * 4
    assert_problem(await world.ask("POST", "/admin/queues/slow/pause", world.admin), 404, "queue_not_found")
    status = (await world.ask("GET", "/api/queue/status", world.ours.key)).json()["queues"]
    assert status[3] == {
        "queue": "batch",
        "paused": False,
        "policy": "score",
        "sharePercent": 8,
        "fullAgeSeconds": 60,
        "ready": 0,
        "scheduled": 0,
        "running": 0,
        "oldestWaitingMs": None,
    }


async def test_two_operators_at_once_cant_share_out_more_than_half(world: World) -> None:
    def terms(share: int) -> dict[str, Any]:
        return {"policy": "score", "sharePercent": share, "fullAgeSeconds": 60}

    assert (await world.ask("PUT", "/admin/queues/fast", world.admin, json=terms(20))).status_code == 200
    statuses: list[int] = []

    async def raise_share(queue: str, share: int) -> None:
        answer = await world.ask("PUT", f"/admin/queues/{queue}", world.admin, json=terms(share))
        statuses.append(answer.status_code)

    async def both_wait() -> bool:
        async with world.database.begin() as tx:
            return bool(
                await tx.raw.fetchval(
                    "SELECT count(*) = 2 FROM pg_stat_activity "
                    "WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
            )

    async with anyio.create_task_group() as tasks, world.database.begin() as tx:
        await tx.raw.execute("SELECT 1 FROM queues FOR UPDATE")  # which reading does not wait for
        tasks.start_soon(raise_share, "normal", 20)
        tasks.start_soon(raise_share, "batch", 13)
        await until(both_wait)
    assert sorted(statuses) == [200, 422]


async def test_tiers_are_edited_at_once_for_all_who_have_them(world: World) -> None:
    tiers = (await world.ask("GET", "/admin/tiers", world.admin)).json()["data"]
    assert [one["tier"] for one in tiers] == ["enterprise", "premium", "standard", "basic"]
    assert (tiers[0]["monthlyBudgetUsd"], tiers[2]["clients"], tiers[2]["monthlyBudgetUsd"]) == (None, 1, 500)
    path = "/admin/tiers/standard"
    read = await world.ask("GET", path, world.admin)
    stale = {"If-Match": read.headers["etag"]}
    answer = await world.ask("PUT", path, world.admin, json=EDITED, headers=stale)
    assert answer.json() == {**EDITED, "tier": "standard", "clients": 1}
    assert_problem(await world.ask("PUT", path, world.admin, json=EDITED, headers=stale), 412)
    assert (await world.ask("PUT", path, world.admin, json=EDITED)).status_code == 200
    async with world.database.begin() as tx:
        assert (await tx.raw.fetchrow("SELECT * FROM tiers WHERE tier = 'standard'"))["max_running"] == 3
    ((action, name, old, new),) = await audited(world, "tier")
    assert (action, name, old["monthlyBudgetUsd"], new["monthlyBudgetUsd"]) == (
        "tier.stored", "standard", "500", "12.5"
    )  # fmt: skip
    for tier, budget, code in (
        ("standard", None, "missing_budget"),
        ("standard", -1, "out_of_range"),
        ("standard", 1e-10, "too_precise"),
        ("enterprise", 5, "own_budgets"),
    ):
        body = {**EDITED, "monthlyBudgetUsd": budget}
        refused = assert_problem(await world.ask("PUT", f"/admin/tiers/{tier}", world.admin, json=body), 422)
        assert refused["errors"][0]["code"] == code
    assert_problem(await world.ask("GET", "/admin/tiers/gold", world.admin), 404, "tier_not_found")
