"""What a request would cost and need, asked before anything is stored."""

from datetime import timedelta
from typing import Any

import pytest
from tests.factories import QUIZ, World, assert_problem

from aifactory.kernel.ids import new_id

pytestmark = pytest.mark.anyio

PATHS = ["/api/cost/estimate", "/api/resources/estimate"]
REQUEST = {"template": QUIZ, "parameters": {"topic": "x"}}
WORST_USD, EXPECTED_USD = 0.00002, 0.00001  # of the fake worker's one line, 1,000 words in and out


async def ask(world: World, path: str = PATHS[0], **changes: Any) -> Any:
    return await world.ask("POST", path, world.ours.key, json=REQUEST | changes)


async def cost(world: World, **changes: Any) -> Any:
    answer = await ask(world, **changes)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def needs(world: World, **changes: Any) -> Any:
    answer = await ask(world, PATHS[1], **changes)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def sql(world: World, statement: str, *values: Any) -> None:
    async with world.database.begin() as tx:
        await tx.raw.execute(statement, *values)


async def template_for(world: World, tier: str) -> str:
    name = f"for_{tier}"
    body = {
        "name": name,
        "title": "T",
        "flow": [{"worker": "granulation", "templateRef": f"{tier}_things"}],
    }
    made = await world.ask("POST", "/api/master-templates", world.admin, json=body)
    assert made.status_code == 201, made.text
    return name


async def test_an_estimate_names_every_line_with_its_bounds_and_price(world: World) -> None:
    found = await cost(world)
    (stage,) = found["stages"]
    assert (stage["name"], stage["estimatedCostUsd"], stage["worstCostUsd"]) == (
        None,
        EXPECTED_USD,
        WORST_USD,
    )
    (line,) = stage["lines"]
    assert (line["kind"], line["count"], line["provider"], line["pool"]) == ("work", 1, "local", "compute")
    assert (line["inputBound"], line["outputLimit"], line["expectedInput"]) == (1000, 1000, 500)
    assert (line["estimatedCostUsd"], line["worstCostUsd"]) == (EXPECTED_USD, WORST_USD)
    assert (found["estimatedCostUsd"], found["worstCostUsd"]) == (EXPECTED_USD, WORST_USD)
    assert found["fits"] is True


async def test_an_estimate_is_what_a_dry_run_says_and_what_a_submission_holds(world: World) -> None:
    estimate = await cost(world)
    dry = await world.ask("POST", "/requests?dryRun=true", world.ours.key, json=REQUEST)
    made = await world.ask("POST", "/api/execute", world.ours.key, json=REQUEST)
    assert dry.json()["worstCostUsd"] == made.json()["heldCostUsd"] == estimate["worstCostUsd"]
    after = await cost(world)
    assert after["budget"]["heldUsd"] == estimate["worstCostUsd"]
    assert after["budget"]["leftUsd"] == round(500 - WORST_USD, 9)


@pytest.mark.parametrize("path", PATHS)
async def test_estimating_stores_nothing_not_even_a_source(world: World, path: str) -> None:
    before = await world.count_rows()
    source = {"text": "word " * 2000, "format": "text"}
    assert (await ask(world, path, parameters={"source": source})).status_code == 200
    assert await world.count_rows() == before


async def test_a_source_that_is_stored_may_be_named_and_a_foreign_one_may_not(world: World) -> None:
    made = await world.ask(
        "POST", "/requests", world.ours.key, json=REQUEST | {"parameters": {"source": {"text": "some words"}}}
    )
    detail = (await world.ask("GET", f"/requests/{made.json()['id']}", world.ours.key)).json()
    parameters = {"source": {"dataRef": detail["parameters"]["source"]["dataRef"]}}
    assert (await ask(world, parameters=parameters)).status_code == 200
    answer = await world.ask("POST", PATHS[0], world.theirs.key, json=REQUEST | {"parameters": parameters})
    assert_problem(answer, 404, "data_not_found")


async def test_every_tier_says_whether_it_allows_the_request(world: World) -> None:
    found = await cost(world, template=await template_for(world, "premium"))
    assert (found["requiredTier"], found["fits"]) == ("premium", False)
    assert found["worstCostUsd"] == WORST_USD
    assert {one["tier"]: (one["allowed"], one["refusal"], one["fits"]) for one in found["tiers"]} == {
        "basic": (False, "tier_too_low", False),
        "standard": (False, "tier_too_low", False),
        "premium": (True, None, True),
        "enterprise": (True, None, True),
    }
    assert [one["monthlyBudgetUsd"] for one in found["tiers"]] == [100, 500, 1000, None]


async def test_an_allowed_request_that_the_budget_does_not_pay_for_does_not_fit(world: World) -> None:
    limits = {"limits": {"monthlyBudgetUsd": 0.00001}}
    changed = await world.ask("PATCH", f"/clients/{world.ours.id}", world.admin, json=limits)
    assert changed.status_code == 200, changed.text
    found = await cost(world)
    assert (found["fits"], found["requiredTier"], found["budget"]["limitUsd"]) == (False, None, 0.00001)


async def test_an_admin_estimates_for_the_client_that_is_named(world: World) -> None:
    body = REQUEST | {"clientId": world.theirs.id}
    answer = await world.ask("POST", PATHS[0], world.admin, json=body)
    assert answer.json()["clientId"] == world.theirs.id
    assert_problem(await world.ask("POST", PATHS[0], world.support, json=body), 403)  # it sees no money
    assert_problem(await world.ask("POST", PATHS[0], world.ours.key, json=body), 404, "client_not_found")


async def test_what_a_submission_would_refuse_an_estimate_refuses(world: World) -> None:
    assert_problem(await ask(world, template="none"), 404, "template_not_found")
    assert_problem(await ask(world, deadline="2001-01-01T00:00:00Z"), 422, "invalid")
    await sql(world, "UPDATE resource_pools SET level_micro = 0, capacity = 1500 WHERE pool = 'compute'")
    for path in PATHS:
        assert_problem(await ask(world, path), 422, "exceeds_pool")
    await sql(world, "DELETE FROM models")
    assert_problem(await ask(world), 503, "unavailable")


async def test_a_pool_says_what_it_must_give_and_that_it_has_it(world: World) -> None:
    (pool,) = (await needs(world))["pools"]
    assert (pool["pool"], pool["jobs"], pool["largestJobUnits"], pool["totalUnits"]) == (
        "compute",
        1,
        2000,
        2000,
    )
    assert (pool["availableNow"], pool["obstacle"]) == (True, None)


async def test_an_empty_pool_says_when_it_will_be_full_enough(world: World) -> None:
    # A million words, a tenth of them reserved: 102,000 must be there, and 1,000 come back a second.
    async with world.database.begin() as tx:
        moment = tx.now + timedelta(days=1)  # an as_of ahead keeps the level from rising meanwhile
        await tx.raw.execute(
            "UPDATE resource_pools SET level_micro = 0, refill_per_second = 1000, as_of = $1 "
            "WHERE pool = 'compute'",
            moment,
        )
        now = tx.now
    (pool,) = (await needs(world))["pools"]
    assert pool["availableNow"] is False
    assert f"{now + timedelta(seconds=102):%Y-%m-%dT%H:%M}" <= pool["availableAt"][:16]
    urgent = (await needs(world, urgency="urgent"))["pools"][0]
    assert urgent["availableAt"] < pool["availableAt"]


async def test_a_pool_that_is_paused_blocked_or_someone_elses_is_told(world: World) -> None:
    await sql(world, "UPDATE resource_pools SET paused = true WHERE pool = 'compute'")
    pool = (await needs(world))["pools"][0]
    assert (pool["availableNow"], pool["availableAt"], pool["obstacle"]) == (False, None, "paused")
    await sql(
        world,
        "UPDATE resource_pools SET paused = false, dedicated_client_id = $1 WHERE pool = 'compute'",
        new_id(),
    )
    assert (await needs(world))["pools"][0]["obstacle"] == "dedicated"
    await sql(
        world,
        "UPDATE resource_pools SET dedicated_client_id = NULL, blocked_until = '2999-01-01Z' "
        "WHERE pool = 'compute'",
    )
    pool = (await needs(world))["pools"][0]
    assert (pool["availableNow"], pool["availableAt"]) == (False, "2999-01-01T00:00:00Z")
