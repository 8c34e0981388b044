"""Budgets and limits over HTTP: who sees and sets what, and what a change does."""

from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.factories import QUIZ, World, assert_problem

from aifactory.resources.queries import tick

pytestmark = pytest.mark.anyio

REQUEST = {"template": QUIZ, "parameters": {"topic": "x"}}
NO_LIMITS: dict[str, Any] = {"monthlyUsd": None, "dailyUsd": None, "keys": [], "templates": []}
NO_QUOTAS: dict[str, Any] = {"maxRunning": None, "requestsPerMinute": None, "quotas": []}


async def put(
    world: World, what: str, body: dict[str, Any], status: int = 200, etag: str | None = None
) -> Any:
    headers = {} if etag is None else {"If-Match": etag}
    path = f"/clients/{world.ours.id}/{what}"
    answer = await world.ask("PUT", path, world.admin, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


async def show(world: World, what: str) -> httpx.Response:
    answer = await world.ask("GET", f"/clients/{world.ours.id}/{what}", world.ours.key)
    assert answer.status_code == 200, answer.text
    return answer


async def pointers(world: World, what: str, body: dict[str, Any]) -> list[tuple[str, str]]:
    problem = await put(world, what, body, 422)
    return [(error["pointer"], error["code"]) for error in problem["errors"]]


def by_scope(view: Any) -> dict[str, Any]:
    return {budget["scope"]: budget for budget in reversed(view["budgets"])}


async def audited(world: World, action: str) -> list[Any]:
    async with world.database.begin() as tx:
        sql = "SELECT actor, object_id, before, after FROM audit_log WHERE action = $1 ORDER BY id"
        return [tuple(row) for row in await tx.raw.fetch(sql, action)]


async def test_budgets_are_set_shown_held_and_kept_by_edits(world: World) -> None:
    made = (await world.ask("POST", "/requests", world.ours.key, json=REQUEST)).json()
    worst = Decimal(str(made["heldCostUsd"]))
    first = await show(world, "budgets")
    assert first.json() | {"budgets": None} == NO_LIMITS | {
        "clientId": world.ours.id,
        "tier": "standard",
        "timeZone": "UTC",
        "budgets": None,
    }
    (own,) = first.json()["budgets"]
    assert (own["scope"], own["scopeKey"], own["limitUsd"]) == ("client", None, 500)
    assert Decimal(str(own["heldUsd"])) == worst

    limits = {
        "monthlyUsd": 50,
        "dailyUsd": 4,
        "keys": [{"keyId": world.ours.key_id, "monthlyUsd": 3}],
        "templates": [{"template": QUIZ, "monthlyUsd": 2}, {"template": "inline", "monthlyUsd": 0}],
    }
    stored = await put(world, "budgets", limits, etag=first.headers["etag"])
    assert {name: stored[name] for name in limits} == limits
    await put(world, "budgets", limits, 412, etag=first.headers["etag"])
    again = await show(world, "budgets")
    assert [budget["scope"] for budget in again.json()["budgets"]] == [
        "client",
        "day",
        "key",
        "template",
        "template",
    ]
    shown = by_scope(again.json())
    assert (shown["key"]["scopeKey"], shown["template"]["leftUsd"]) == (world.ours.key_id, 2)
    assert Decimal(str(shown["client"]["heldUsd"])) == worst  # kept
    assert shown["day"]["heldUsd"] == 0  # counts from now on

    await world.ask("POST", "/requests", world.ours.key, json=REQUEST)
    shown = by_scope(await put(world, "budgets", limits | {"dailyUsd": 0}))
    assert Decimal(str(shown["day"]["heldUsd"])) == worst
    assert shown["day"]["leftUsd"] == 0
    answer = await world.ask("POST", "/requests", world.ours.key, json=REQUEST)
    problem = assert_problem(answer, 402, "budget_exceeded")
    assert (problem["scope"], problem["retryable"], problem["scopeKey"]) == ("day", False, None)
    assert Decimal(str(problem["shortfallUsd"])) == worst

    lines = await audited(world, "client.budgets_set")
    assert len(lines) == 2
    actor, subject, before, after = lines[0]
    assert actor.startswith("user_")
    assert (subject, before["monthlyUsd"], after["monthlyUsd"]) == (world.ours.id, None, "50")
    assert after["keys"] == [{"keyId": world.ours.key_id, "monthlyUsd": "3"}]


async def test_what_only_own_work_keeps_out_is_retryable_and_says_when_it_clears(world: World) -> None:
    made = (await world.ask("POST", "/requests", world.ours.key, json=REQUEST)).json()
    monthly = float(Decimal(str(made["heldCostUsd"])) * 3 / 2)
    await put(world, "budgets", NO_LIMITS | {"monthlyUsd": round(monthly, 9)})
    answer = await world.ask("POST", "/requests", world.ours.key, json=REQUEST)
    problem = assert_problem(answer, 402, "budget_in_use")
    assert problem["retryable"]
    assert problem["earliestDeadline"] <= problem["clearsAt"] or problem["clearsAt"] == problem["resetsAt"]
    await world.ask("POST", f"/requests/{made['id']}/cancel", world.ours.key)
    answer = await world.ask("POST", "/requests", world.ours.key, json=REQUEST)
    assert answer.status_code == 202


async def test_senseless_limits_are_refused_by_name_and_change_nothing(world: World) -> None:
    key = {"keyId": world.ours.key_id, "monthlyUsd": 1}
    theirs = {"keyId": world.theirs.key_id, "monthlyUsd": 1}
    quiz = {"template": QUIZ, "monthlyUsd": 1}
    cases = [
        ({"monthlyUsd": -1}, "/monthlyUsd", "out_of_range"),
        ({"dailyUsd": 0.0000000001}, "/dailyUsd", "too_precise"),
        ({"dailyUsd": 10**300}, "/dailyUsd", "out_of_range"),
        ({"keys": [key, key]}, "/keys/1/keyId", "named_twice"),
        ({"keys": [key, theirs]}, "/keys/1/keyId", "unknown_key"),
        ({"keys": [key | {"keyId": "key_x"}]}, "/keys/0/keyId", "unknown_key"),
        ({"keys": [key | {"monthlyUsd": -1}]}, "/keys/0/monthlyUsd", "out_of_range"),
        ({"templates": [quiz, quiz]}, "/templates/1/template", "named_twice"),
        ({"templates": [quiz | {"template": "no_such"}]}, "/templates/0/template", "unknown_template"),
    ]
    before = (await show(world, "budgets")).headers["etag"]
    for change, pointer, code in cases:
        assert await pointers(world, "budgets", NO_LIMITS | change) == [(pointer, code)]
    await world.ask(
        "PATCH",
        f"/clients/{world.ours.id}",
        world.admin,
        json={"tier": "enterprise", "limits": {"monthlyBudgetUsd": 5}},
    )
    assert await pointers(world, "budgets", NO_LIMITS) == [("/monthlyUsd", "missing_field")]
    limits_before = (await show(world, "limits")).headers["etag"]
    quota = {"pool": "default", "period": "day", "units": 5}
    for body, pointer, code in (
        ({"timeZone": "Mars/Olympus"}, "/timeZone", "unknown_time_zone"),
        ({"timeZone": "localtime"}, "/timeZone", "unknown_time_zone"),  # another one on each machine
        ({"quotas": [quota, quota]}, "/quotas/1", "named_twice"),
        ({"quotas": [quota | {"pool": "no_such"}]}, "/quotas", "unknown_pool"),
    ):
        assert await pointers(world, "limits", NO_QUOTAS | body) == [(pointer, code)]
    assert (await show(world, "limits")).headers["etag"] == limits_before
    assert await audited(world, "client.budgets_set") == []
    assert (await show(world, "budgets")).headers["etag"] != before  # by the PATCH above


async def test_a_limit_of_a_key_outlives_its_rotation_and_of_a_template_its_end(world: World) -> None:
    key = {"keyId": world.ours.key_id, "monthlyUsd": 1}
    stored = await put(world, "budgets", NO_LIMITS | {"keys": [key]})
    path = f"/clients/{world.ours.id}/api-keys/{world.ours.key_id}/rotate"
    made = (await world.ask("POST", path, world.admin, json={})).json()
    assert stored["keys"] == [key]
    both = [key, {"keyId": made["id"], "monthlyUsd": 2}]
    assert await pointers(world, "budgets", NO_LIMITS | {"keys": both}) == [("/keys/1/keyId", "named_twice")]
    stored = await put(world, "budgets", NO_LIMITS | {"keys": [{"keyId": made["id"], "monthlyUsd": 0}]})
    assert stored["keys"] == [key | {"monthlyUsd": 0}]
    for who in (world.ours.key, {"X-API-Key": made["key"]}):
        answer = await world.ask("POST", "/requests", who, json=REQUEST)
        assert assert_problem(answer, 402, "budget_exceeded")["scopeKey"] == world.ours.key_id


async def test_limits_are_set_and_shown_beside_those_of_the_tier(world: World) -> None:
    first = await show(world, "limits")
    view = first.json()
    assert (view["tier"], view["maxRunning"], view["timeZone"], view["quotas"]) == (
        "standard",
        None,
        "UTC",
        [],
    )
    assert view["tierLimits"] == {"maxRunning": 20, "requestsPerMinute": 120, "monthlyUsd": 500}
    quota = {"pool": "default", "period": "month", "units": 7}
    body = {"maxRunning": 0, "requestsPerMinute": 5, "timeZone": "Asia/Tokyo", "quotas": [quota]}
    stored = await put(world, "limits", body, etag=first.headers["etag"])
    assert {name: stored[name] for name in ("maxRunning", "requestsPerMinute", "timeZone")} == {
        "maxRunning": 0,
        "requestsPerMinute": 5,
        "timeZone": "Asia/Tokyo",
    }
    (shown,) = stored["quotas"]
    assert {name: shown[name] for name in (*quota, "unitsUsed")} == quota | {"unitsUsed": 0}
    await put(world, "limits", body, 412, etag=first.headers["etag"])
    stored = await put(world, "limits", NO_QUOTAS)
    assert (stored["timeZone"], stored["quotas"], stored["maxRunning"]) == ("Asia/Tokyo", [], None)
    ((_, _, before, after), _) = await audited(world, "client.limits_set")
    assert (before["quotas"], after["quotas"], after["timeZone"]) == ([], [quota], "Asia/Tokyo")
    async with world.database.begin() as decider:  # one that has stopped holds up who sets quotas only
        assert await tick.try_decider_lock(decider)
        assert (await put(world, "limits", NO_QUOTAS | {"maxRunning": 3}))["maxRunning"] == 3
    answer = await world.ask("PUT", f"/clients/{world.ours.id}/limits", world.admin, json={"tier": "basic"})
    assert_problem(answer, 422)


async def test_the_operator_pages_over_all_clients_or_those_that_are_nearly_out_of_money(
    world: World,
) -> None:
    await world.ask("POST", "/requests", world.ours.key, json=REQUEST)

    async def listed(query: str, who: dict[str, str]) -> list[str]:
        answer = await world.ask("GET", f"/api/budgets{query}", who)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        if found["hasMore"]:
            more = f"?limit=1&cursor={found['nextCursor']}{query.partition('limit=1')[2]}"
            return [*(one["clientId"] for one in found["data"]), *(await listed(more, who))]
        return [one["clientId"] for one in found["data"]]

    both = [world.theirs.id, world.ours.id]
    assert [one for one in await listed("", world.admin) if one in both] == both
    assert [one for one in await listed("?limit=1", world.admin) if one in both] == both
    assert await listed("", world.ours.key) == [world.ours.id]
    assert await listed("?over=80", world.admin) == []
    await put(world, "budgets", NO_LIMITS | {"templates": [{"template": QUIZ, "monthlyUsd": 0}]})
    assert await listed("?limit=1&over=80", world.admin) == [world.ours.id]
    assert await listed("?over=80", world.theirs.key) == []
    for query in ("?over=-1", "?over=1001", "?over=x", "?limit=0", "?cursor=%00"):
        assert (await world.ask("GET", f"/api/budgets{query}", world.admin)).status_code in (400, 422)
