"""What a client sees of its budget and its work."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.factories import QUIZ, World, assert_problem

from aifactory.kernel.ids import new_id

pytestmark = pytest.mark.anyio

REQUEST = {"template": QUIZ, "parameters": {"topic": "x"}}


async def usage(world: World, who: dict[str, str] | None = None, client_id: str | None = None) -> Any:
    path = f"/api/usage/{client_id or world.ours.id}/current"
    answer = await world.ask("GET", path, who or world.ours.key)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_month_without_any_work_has_its_whole_budget(world: World) -> None:
    async with world.database.begin() as tx:
        assert await tx.raw.fetchval("SELECT count(*) FROM budgets") == 0
        now = tx.now
    found = await usage(world)
    start, end = (datetime.fromisoformat(found[name]) for name in ("periodStart", "periodEnd"))
    assert start <= now < end
    assert found | {"periodStart": "", "periodEnd": ""} == {
        "clientId": world.ours.id,
        "periodStart": "",
        "periodEnd": "",
        "timeZone": "UTC",
        "limitUsd": 500,
        "heldUsd": 0,
        "spentUsd": 0,
        "leftUsd": 500,
        "unfinishedExecutions": 0,
        "runningJobs": 0,
    }


async def test_held_money_and_unfinished_work_are_counted_and_given_back_by_cancel(world: World) -> None:
    made = (await world.ask("POST", "/requests", world.ours.key, json=REQUEST)).json()
    held = await usage(world)
    assert Decimal(str(held["heldUsd"])) == Decimal(str(made["heldCostUsd"])) > 0
    assert Decimal(str(held["leftUsd"])) + Decimal(str(held["heldUsd"])) == 500
    assert held["unfinishedExecutions"] == 1
    await world.ask("POST", f"/requests/{made['id']}/cancel", world.ours.key)
    after = await usage(world)
    assert (after["heldUsd"], after["leftUsd"], after["unfinishedExecutions"]) == (0, 500, 0)


async def test_another_clients_work_is_not_counted(world: World) -> None:
    await world.ask("POST", "/requests", world.theirs.key, json=REQUEST)
    assert (await usage(world))["heldUsd"] == 0
    assert (await usage(world, world.admin, world.theirs.id))["unfinishedExecutions"] == 1


async def test_the_period_is_the_month_of_the_clients_time_zone(world: World) -> None:
    changes = {"timeZone": "Pacific/Auckland"}
    await world.ask("PATCH", f"/clients/{world.ours.id}", world.admin, json=changes)
    found = await usage(world)
    assert found["timeZone"] == "Pacific/Auckland"
    start = datetime.fromisoformat(found["periodStart"]).astimezone(UTC)
    assert start.hour in (11, 12)
    assert datetime.fromisoformat(found["periodEnd"]) - start > timedelta(days=27)


async def test_a_limit_below_what_is_spent_leaves_nothing_rather_than_less(world: World) -> None:
    await world.ask("POST", "/requests", world.ours.key, json=REQUEST)
    limits = {"limits": {"monthlyBudgetUsd": 0}}
    await world.ask("PATCH", f"/clients/{world.ours.id}", world.admin, json=limits)
    found = await usage(world)
    assert (found["limitUsd"], found["leftUsd"]) == (0, 0)


async def test_running_jobs_are_counted(world: World) -> None:
    async with world.database.begin() as tx:
        await tx.raw.execute(
            """
            INSERT INTO running_jobs (job_id, token, process_id, client_id, worker, pool, provider, model,
                local, lane_id, units, attempt, started_at, deadline)
            VALUES ($1, $1, $1, $2, 'w', 'p', 'local', 'm', true, 1, 1, 1, $3, $3)
            """,
            new_id(),
            world.ours.client_id,
            tx.now,
        )
    assert (await usage(world))["runningJobs"] == 1
    assert (await usage(world, world.theirs.key, world.theirs.id))["runningJobs"] == 0


@pytest.mark.parametrize("client_id", ["client_01k7sc0k6se3tqhf4v8nbcaaaa", "client_x", "req_1"])
async def test_an_unknown_client_is_not_found(world: World, client_id: str) -> None:
    for who in (world.ours.key, world.admin):
        answer = await world.ask("GET", f"/api/usage/{client_id}/current", who)
        assert_problem(answer, 404, "client_not_found")
