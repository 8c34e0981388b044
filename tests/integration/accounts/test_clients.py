"""Clients, their tier and their limits."""

import json
from decimal import Decimal

import pytest
from tests.factories import QUIZ, TESTS_PER_MINUTE, World, assert_problem

pytestmark = pytest.mark.anyio


async def test_a_client_is_made_with_its_tiers_limits_or_its_own(world: World) -> None:
    body = {"name": "Acme", "tier": "enterprise", "limits": {"monthlyBudgetUsd": 12345.678901234}}
    made = await world.ask("POST", "/clients", world.admin, json=body)
    assert made.status_code == 201
    exact = json.loads(made.text, parse_float=Decimal)
    assert exact["limits"]["monthlyBudgetUsd"] == Decimal("12345.678901234")
    assert made.headers["location"] == f"/clients/{exact['id']}"
    again = await world.ask("GET", made.headers["location"], world.admin)
    assert again.json() == made.json()


async def test_an_enterprise_client_needs_a_budget(world: World) -> None:
    problem = assert_problem(
        await world.ask("POST", "/clients", world.admin, json={"name": "Acme", "tier": "enterprise"}), 422
    )
    assert problem["errors"][0]["pointer"] == "/limits/monthlyBudgetUsd"
    path = f"/clients/{world.ours.id}"
    assert_problem(await world.ask("PATCH", path, world.admin, json={"tier": "enterprise"}), 422)


@pytest.mark.parametrize(
    "amount", ["1E999999999", "1e-999999999", "-1", "1e10", "0.0000000001", '"NaN"', '"x"']
)
async def test_a_senseless_budget_is_refused(world: World, amount: str) -> None:
    content = f'{{"name": "Acme", "limits": {{"monthlyBudgetUsd": {amount}}}}}'
    answer = await world.ask(
        "POST", "/clients", world.admin, content=content, headers={"Content-Type": "application/json"}
    )
    assert_problem(answer, 422)


async def test_a_change_leaves_the_rest_and_null_goes_back_to_the_tier(world: World) -> None:
    path = f"/clients/{world.ours.id}"
    changes = {"limits": {"maxRunning": 3, "monthlyBudgetUsd": 5}, "contact": "someone"}
    changed = (await world.ask("PATCH", path, world.admin, json=changes)).json()
    assert changed["limits"] == {
        "maxRunning": 3,
        "monthlyBudgetUsd": 5,
        "requestsPerMinute": TESTS_PER_MINUTE,
    }
    assert (changed["name"], changed["tier"]) == ("Ours", "standard")
    changes = {"limits": {"maxRunning": None}, "name": "Renamed", "tier": "premium"}
    told: list[str] = []
    world.database.on_tell = lambda topic, _keys: told.append(topic)
    changed = (await world.ask("PATCH", path, world.admin, json=changes)).json()
    assert told == ["work"]  # whoever schedules looks at once
    assert changed["limits"]["maxRunning"] is None
    assert changed["limits"]["monthlyBudgetUsd"] == 5
    assert (changed["name"], changed["contact"], changed["tier"]) == ("Renamed", "someone", "premium")
    assert (await world.ask("GET", path, world.ours.key)).json() == changed


async def test_a_suspended_client_reads_but_starts_nothing(world: World) -> None:
    await world.ask("PATCH", f"/clients/{world.ours.id}", world.admin, json={"suspended": True})
    request = {"template": QUIZ, "parameters": {}}
    assert_problem(
        await world.ask("POST", "/requests", world.ours.key, json=request), 403, "client_suspended"
    )
    assert (await world.ask("GET", "/requests", world.ours.key)).status_code == 200


async def test_time_zones_are_checked(world: World) -> None:
    for zone in ("Mars/Olympus", "../../etc/passwd", "UTC\n"):
        answer = await world.ask("POST", "/clients", world.admin, json={"name": "A", "timeZone": zone})
        assert assert_problem(answer, 422)["errors"][0]["pointer"] == "/timeZone"
    good = {"name": "A", "timeZone": "Europe/Berlin"}
    assert (await world.ask("POST", "/clients", world.admin, json=good)).status_code == 201


async def test_clients_are_listed_page_by_page_newest_first(world: World) -> None:
    for number in range(5):
        await world.ask("POST", "/clients", world.admin, json={"name": f"C{number}"})
    names, cursor = [], ""
    while True:
        query = f"/clients?limit=3{cursor}"
        page = (await world.ask("GET", query, world.admin)).json()
        names += [client["name"] for client in page["data"]]
        if not page["hasMore"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert names == ["C4", "C3", "C2", "C1", "C0", "Theirs", "Ours"]
    assert page["nextCursor"] is None


async def test_changes_are_audited_without_secrets(world: World) -> None:
    await world.ask("PATCH", f"/clients/{world.ours.id}", world.admin, json={"tier": "basic"})
    async with world.database.begin() as tx:
        row = await tx.raw.fetchrow("SELECT * FROM audit_log WHERE action = 'client.changed'")
    assert (row["before"]["tier"], row["after"]["tier"]) == ("standard", "basic")
    assert row["actor"].startswith("user_")
    assert row["object_id"] == world.ours.id


async def test_a_hostile_name_is_kept_as_it_is(world: World) -> None:
    name = '"><img src=x onerror=alert(1)> \U0001f4a5 \u202e'
    made = await world.ask("POST", "/clients", world.admin, json={"name": name})
    assert made.json()["name"] == name
    assert made.headers["content-type"] == "application/json"
