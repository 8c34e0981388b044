"""What a client may use now, whether its work could start, and work that waits for the off-peak window."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.factories import QUIZ, World, assert_problem

from aifactory.kernel.ids import new_id
from aifactory.resources.queries.quotas import set_quotas

pytestmark = pytest.mark.anyio

REQUEST = {"template": QUIZ, "parameters": {"topic": "x"}}
OFF_PEAK = {**REQUEST, "urgency": "low", "optimization": {"offPeak": True}}


async def sql(world: World, statement: str, *values: Any) -> None:
    async with world.database.begin() as tx:
        await tx.raw.execute(statement, *values)


async def add_process(world: World, local_slots: int = 2) -> None:
    """A process of the fleet that has its lease for an hour."""
    async with world.database.begin() as tx:
        await tx.raw.execute(
            """
            INSERT INTO processes (id, host, pid, lock_key, started_at, renewed_at, lease_until, slots,
                local_slots) VALUES ($1, 'here', 1, 1, $2, $3, $4, 8, $5)
            """,
            new_id(),
            tx.now,
            tx.now + timedelta(minutes=59),
            tx.now + timedelta(hours=1),
            local_slots,
        )


async def run_jobs(world: World, count: int) -> None:
    """Let jobs of our client run somewhere."""
    async with world.database.begin() as tx:
        for _ in range(count):
            await tx.raw.execute(
                """
                INSERT INTO running_jobs (job_id, token, process_id, client_id, worker, pool, provider, model,
                    local, lane_id, units, attempt, started_at, deadline)
                VALUES ($1, $1, $1, $2, 'granulation', 'compute', 'local', 'offline', true, 1, 5, 1, $3, $3)
                """,
                new_id(),
                world.ours.client_id,
                tx.now,
            )


async def check(world: World, **changes: Any) -> Any:
    answer = await world.ask("POST", "/api/resources/check", world.ours.key, json=REQUEST | changes)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def gates(world: World, **changes: Any) -> dict[str, tuple[int | None, int | None]]:
    """The closed gates, each with what is needed and what there is."""
    found = await check(world, **changes)
    assert found["canStartNow"] is not any(one["first"] for one in found["blockedBy"])
    return {one["gate"]: (one["needed"], one["available"]) for one in found["blockedBy"]}


async def test_availability_is_the_clients_own_and_shows_no_one_elses(world: World) -> None:
    await run_jobs(world, 3)
    async with world.database.begin() as tx:
        await set_quotas(tx, world.ours.client_id, {("email", "day"): 5})
    found = (await world.ask("GET", "/api/resources/availability", world.ours.key)).json()
    pools = {pool["pool"]: pool for pool in found["pools"]}
    assert pools["compute"] == {
        "pool": "compute",
        "unit": "words",
        "capacity": 1_000_000,
        "level": 1_000_000,
        "refillPerSecond": 50_000,
        "paused": False,
        "blockedUntil": None,
        "spendable": 1_000_000,
        "requestsPerMinute": None,
        "requestsLeft": None,
        "dedicated": False,
        "ownRunning": 3,
    }
    own = found["client"]
    (quota,) = own.pop("quotas")
    assert own == {"clientId": world.ours.id, "running": 3, "maxRunning": 20, "suspended": False}
    assert {key: quota[key] for key in ("pool", "period", "limit", "used", "left")} == {
        "pool": "email", "period": "day", "limit": 5, "used": 0, "left": 5
    }  # fmt: skip
    theirs = (await world.ask("GET", "/api/resources/availability", world.theirs.key)).json()
    assert {pool["ownRunning"] for pool in theirs["pools"]} == {0}
    assert (theirs["client"]["running"], theirs["client"]["quotas"]) == (0, [])
    path = f"/api/resources/availability?clientId={world.ours.id}"
    assert (await world.ask("GET", path, world.support)).json()["client"]["running"] == 3
    assert (await world.ask("GET", "/api/resources/availability", world.admin)).json()["client"] is None
    assert_problem(await world.ask("GET", path, world.theirs.key), 404, "client_not_found")


async def test_a_check_names_every_gate_with_what_is_needed_and_what_there_is(world: World) -> None:
    assert await gates(world) == {"slots": (None, None)}  # no process runs
    await add_process(world)
    before = await world.count_rows()
    free = await check(world)
    assert (free["canStartNow"], free["fits"], free["blockedBy"]) == (True, True, [])
    assert free["worstCostUsd"] == 0.00002
    await run_jobs(world, 1)
    await sql(
        world,
        "UPDATE resource_pools SET level_micro = 500000000, refill_per_second = 10, requests_per_minute = 6, "
        "as_of = $1 WHERE pool = 'compute'",
        datetime.fromisoformat("2999-01-01T00:00:00Z"),  # so that nothing is refilled meanwhile
    )
    await sql(world, "UPDATE client_resource_limits SET max_running = 1")
    await sql(world, "UPDATE queues SET paused = true WHERE queue = 'normal'")
    await sql(world, "UPDATE scheduler_control SET enabled = false")
    async with world.database.begin() as tx:
        await set_quotas(tx, world.ours.client_id, {("compute", "day"): 3000})
    await sql(world, "UPDATE quotas SET units_used = 1500")
    found = await check(world)
    assert {one["gate"]: (one["pool"], one["needed"], one["available"]) for one in found["blockedBy"]} == {
        "scheduler_off": (None, None, None),
        "queue_paused": (None, None, None),
        "client_cap": (None, 1, 0),
        "quota": ("compute", 2000, 1500),
        "units": ("compute", 2000, 500),
        "requests": ("compute", 1, 0),
    }
    (units,) = [one for one in found["blockedBy"] if one["gate"] == "units"]
    async with world.database.begin() as tx:
        seconds = (datetime.fromisoformat(units["opensAt"]) - tx.now).total_seconds()
    assert 100 <= seconds <= 150.1  # 1,500 more units at 10 a second
    assert (units["steps"], units["first"]) == (["work"], True)
    assert found["canStartNow"] is False
    after = await world.count_rows()
    assert {table: after[table] for table in before if after[table] != before[table]} == {
        "running_jobs": 1, "quotas": 1
    }  # fmt: skip


async def test_a_check_says_what_refuses_the_whole_of_it(world: World) -> None:
    await add_process(world)
    await sql(world, "UPDATE resource_pools SET paused = true WHERE pool = 'compute'")
    found = await check(world)
    assert [(one["gate"], one["pool"], one["opensAt"]) for one in found["blockedBy"]] == [
        ("no_hop", "compute", None)
    ]
    await sql(world, "UPDATE resource_pools SET paused = false")
    await sql(world, "UPDATE client_resource_limits SET monthly_budget_nano = 1")
    assert await gates(world) == {"budget": (None, None)}
    assert (await check(world))["fits"] is False
    await sql(world, "UPDATE client_resource_limits SET monthly_budget_nano = NULL")
    later = "2026-12-24T20:00:00Z"
    found = await check(world, runAfter=later, urgency="low")
    assert [(one["gate"], one["opensAt"]) for one in found["blockedBy"]] == [("not_due", later)]
    body = {
        "name": "dear",
        "title": "T",
        "flow": [{"worker": "granulation", "templateRef": "premium_things"}],
    }
    await world.ask("POST", "/api/master-templates", world.admin, json=body)
    found = await check(world, template="dear")
    assert (found["requiredTier"], found["blockedBy"][0]["gate"]) == ("premium", "tier")
    assert_problem(
        await world.ask("POST", "/api/resources/check", world.ours.key, json={**REQUEST, "template": "none"}),
        404,
    )


async def test_off_peak_work_waits_in_the_deferred_queue_for_the_window(world: World) -> None:
    async with world.database.begin() as tx:
        now = tx.now
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
    world.database.clock_offset += noon - now
    night = noon.replace(hour=22)
    made = await world.ask("POST", "/api/execute", world.ours.key, json=OFF_PEAK)
    assert (made.status_code, made.json()["queue"]) == (202, "deferred")
    assert datetime.fromisoformat(made.json()["dueAt"]) == night
    asked = await world.ask("POST", "/requests", world.ours.key, json=OFF_PEAK)
    assert (asked.status_code, asked.json()["queue"]) == (202, "deferred")
    async with world.database.begin() as tx:
        due = await tx.raw.fetch("SELECT due_at, aged_from, queue FROM queue_due")
        deadlines = await tx.raw.fetch("SELECT deadline FROM executions")
    assert [tuple(row) for row in due] == [(night, night, "deferred")] * 2  # it ages from when it is due
    assert {row["deadline"] for row in deadlines} == {night + timedelta(hours=24)}
    status = (await world.ask("GET", "/api/queue/status", world.ours.key)).json()["queues"][4]
    assert (status["queue"], status["scheduled"], status["ready"]) == ("deferred", 2, 0)
    await add_process(world)
    found = await check(world, **OFF_PEAK)
    assert [one["gate"] for one in found["blockedBy"]] == ["not_due"]
    assert datetime.fromisoformat(found["blockedBy"][0]["opensAt"]) == night
    soon = {**OFF_PEAK, "deadline": (night + timedelta(minutes=5)).isoformat()}
    at_once = await world.ask("POST", "/api/execute", world.ours.key, json=soon)
    assert (at_once.json()["queue"], at_once.json()["dueAt"]) == (
        "batch",
        None,
    )  # its deadline is too near for the window
    world.database.clock_offset += timedelta(hours=11)
    inside = await world.ask("POST", "/api/execute", world.ours.key, json=OFF_PEAK)
    assert inside.json()["queue"] == "batch"


async def test_only_low_urgency_waits_for_off_peak_and_a_draft_remembers_it(world: World) -> None:
    for path in ("/api/execute", "/requests", "/requests?dryRun=true", "/api/resources/check"):
        body = {**OFF_PEAK, "urgency": "normal"}
        refused = assert_problem(await world.ask("POST", path, world.ours.key, json=body), 422)
        assert [(one["pointer"], one["code"]) for one in refused["errors"]] == [
            ("/optimization/offPeak", "not_low_urgency")
        ]
    timed = await world.ask("POST", "/requests", world.ours.key, json={**OFF_PEAK, "timeoutMs": 5000})
    assert assert_problem(timed, 422)["errors"][0]["pointer"] == "/timeoutMs"
    draft = await world.ask("POST", "/requests", world.ours.key, json={**OFF_PEAK, "execute": False})
    async with world.database.begin() as tx:
        now = tx.now
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
    world.database.clock_offset += noon - now
    path = f"/requests/{draft.json()['id']}/execute"
    assert (await world.ask("POST", path, world.ours.key, json={})).json()["queue"] == "deferred"
