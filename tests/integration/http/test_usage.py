"""What a client sees of its budget and its work."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.factories import QUIZ, World, assert_problem

from aifactory.kernel.ids import new_id
from aifactory.resources import usage_schemas

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


# Reports of days.

DAY = """
    INSERT INTO daily_usage (day, client_id, template, provider, model, calls, failed_calls, input_units,
        cached_input_units, output_units, cost_nano, operator_nano)
    VALUES ($1, $2, $3, $4, $5, 2, 1, 30, 20, 10, $6, $7)
    """
SUMS = {"calls": 2, "failedCalls": 1, "inputUnits": 30, "cachedInputUnits": 20, "outputUnits": 10}


async def add_days(world: World, count: int = 3) -> list[str]:
    """Use two models for two templates on some days, up to today; return the days."""
    async with world.database.begin() as tx:
        today = tx.now.astimezone(UTC).date()
        days = [today - timedelta(days=ago) for ago in reversed(range(count))]
        rows = [
            (day, world.ours.client_id, template, provider, model, 10**9 + 1, -1)
            for day in days
            for template, provider, model in (("=t", "p", "m"), ("u", "q", "m"))
        ]
        rows.append((today, world.theirs.client_id, "u", "q", "m", 5, 0))
        await tx.execute_many(DAY, rows)
    return [day.isoformat() for day in days]


async def report(world: World, query: str, who: dict[str, str] | None = None, whose: str = "") -> Any:
    path = f"/api/usage/{whose or world.ours.id}?{query}"
    answer = await world.ask("GET", path, who or world.ours.key)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_report_sums_whole_days_by_what_is_asked_for(world: World) -> None:
    first, second, third = await add_days(world)
    since = f"from={first}"
    found = await report(world, since)
    assert found["groupBy"] == ["day"]
    assert [row["day"] for row in found["data"]] == [first, second, third]
    assert found["data"][0] == {
        "day": first,
        **{name: 2 * count for name, count in SUMS.items()},
        "costUsd": 2.000000002,
    }
    assert found["totals"] == {**{name: 6 * count for name, count in SUMS.items()}, "costUsd": 6.000000006}
    assert (found["hasMore"], found["nextCursor"], found["clientId"]) == (False, None, world.ours.id)
    assert found["from"] == f"{first}T00:00:00Z"

    by_call = await report(world, f"{since}&groupBy=template,provider,model&to={third}")
    assert [(row["template"], row["provider"], row["model"]) for row in by_call["data"]] == [
        ("=t", "p", "m"),
        ("u", "q", "m"),
    ]
    assert [row["calls"] for row in by_call["data"]] == [4, 4]
    assert by_call["to"] == f"{third}T00:00:00Z"
    assert "day" not in by_call["data"][0]
    (whole,) = (await report(world, f"{since}&groupBy=client"))["data"]
    assert (whole["clientId"], whole["calls"]) == (world.ours.id, 12)
    assert (await report(world, f"from={third}&groupBy=model"))["totals"]["calls"] == 4
    assert (await report(world, "to=2020-02-01"))["data"] == []


async def test_the_operator_sees_every_client_and_its_own_costs_and_nobody_else_does(world: World) -> None:
    first, *_ = await add_days(world)
    query = f"from={first}&groupBy=client"
    found = await report(world, query, world.admin, "all")
    assert found["clientId"] == "all"
    rows = {row["clientId"]: row for row in found["data"]}
    assert rows.keys() == {world.ours.id, world.theirs.id}
    assert (rows[world.ours.id]["operatorUsd"], rows[world.theirs.id]["costUsd"]) == (-6e-9, 5e-9)
    assert found["totals"]["calls"] == 14
    assert (await report(world, query, world.admin))["totals"]["operatorUsd"] == -6e-9
    assert "operatorUsd" not in (await report(world, query))["data"][0]
    assert_problem(await world.ask("GET", "/api/usage/all", world.ours.key), 404, "client_not_found")


async def test_long_reports_come_in_pages_and_as_csv_that_is_no_formula(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_schemas, "ROWS_PER_PAGE", 4)
    days = await add_days(world)
    query, found, cursor = f"from={days[0]}&groupBy=template,day", [], ""
    while True:
        page = await report(world, f"{query}{cursor}")
        found += page["data"]
        assert page["totals"]["calls"] == 12
        if not page["hasMore"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
    keys = [(row["template"], row["day"]) for row in found]
    assert keys == [(template, day) for template in ("=t", "u") for day in days]
    for answer in (
        await world.ask("GET", f"/api/usage/{world.ours.id}?{query}&format=csv", world.admin),
        await world.ask("GET", f"/api/usage/{world.ours.id}?{query}", {**world.admin, "Accept": "text/csv"}),
    ):
        assert answer.headers["content-type"].startswith("text/csv")
        head, *lines = answer.text.splitlines()
        assert head == (
            "template,day,calls,failedCalls,inputUnits,cachedInputUnits,outputUnits,costUsd,operatorUsd"
        )
        assert lines[0] == f"'=t,{days[0]},2,1,30,20,10,1.000000001,-0.000000001"
        assert [line.split(",")[:2] for line in lines] == [[t, day] for day in days for t in ("'=t", "u")]
    whole = await world.ask(
        "GET", f"/api/usage/all?from={days[0]}&groupBy=template,client&format=csv", world.admin
    )
    assert whole.text.splitlines()[1:] == [
        f"'=t,{world.ours.id},6,3,90,60,30,3.000000003,-0.000000003",
        f"u,{world.ours.id},6,3,90,60,30,3.000000003,-0.000000003",
        f"u,{world.theirs.id},2,1,30,20,10,0.000000005,0",
    ]
    (line, *_) = (
        await world.ask("GET", f"/api/usage/{world.ours.id}?format=csv", world.ours.key)
    ).text.split()
    assert line.endswith(",costUsd")


async def test_what_is_no_report_is_refused(world: World) -> None:
    for query in ("groupBy=hour", "from=x", "from=2020-01-01", "cursor=x", "format=pdf", "to=2020-01-00"):
        answer = await world.ask("GET", f"/api/usage/{world.ours.id}?{query}", world.ours.key)
        assert assert_problem(answer, 422)["errors"], query
