"""The tier that a template needs is checked where work starts, by whatever way it starts."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_process
import httpx
import msgspec
import pytest
from tests.apps import lent_app
from tests.factories import Tenant, World, assert_problem, make_tenant, make_user
from tests.fleet import Process, until
from tests.integration.granulation.test_worker import TIDES

from aifactory.factory import build_factory
from aifactory.granulation import template_queries
from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId, RequestId, new_id, text_id
from aifactory.kernel.principal import Role
from aifactory.resources.audit import audit
from aifactory.resources.interface import ClientLimits, FlowStage, NewExecution, Tier, TierTooLow
from aifactory.server import build_app
from aifactory.settings import Settings

pytestmark = pytest.mark.anyio

TEXT = "The tide rises and falls twice a day because the moon pulls at the water of the sea. " * 30
PARAMETERS = {"topic": "Tides", "source": {"text": TEXT, "format": "text"}}
SOURCE = TIDES[:4000].rpartition(".")[0] + "."
# A text that tells how to do something: a workflow is made of nothing else.
PROCEDURE = (Path(__file__).parents[3] / "examples" / "sourdough.md").read_text()
CAPS = {Tier.BASIC: 2, Tier.STANDARD: 3, Tier.PREMIUM: 4, Tier.ENTERPRISE: 5}
# What each seeded template needs: a pipeline as much as the stage that needs most.
NEEDED = {
    "/api/templates": {
        "course_structure_v1": Tier.STANDARD,
        "course_structure_v2": Tier.PREMIUM,
        "quiz_basic_v1": Tier.BASIC,
        "quiz_generator_v1": Tier.ENTERPRISE,
        "flashcards_basic_v1": Tier.BASIC,
        "document_basic_v1": Tier.BASIC,
        "workflow_standard_v1": Tier.STANDARD,
        "novel_structure_v1": Tier.PREMIUM,
        "knowledge_map_v1": Tier.PREMIUM,
        "learning_path_v1": Tier.ENTERPRISE,
    },
    "/api/master-templates": {
        "content_granulation_course": Tier.STANDARD,
        "content_granulation_quiz": Tier.BASIC,
        "content_granulation_flashcards": Tier.BASIC,
        "content_granulation_document": Tier.BASIC,
        "content_granulation_workflow": Tier.STANDARD,
        "content_granulation_novel": Tier.PREMIUM,
        "content_granulation_knowledge_map": Tier.PREMIUM,
        "content_granulation_learning_path": Tier.ENTERPRISE,
        "course_with_quiz": Tier.STANDARD,
        "complete_education_pipeline": Tier.STANDARD,
        "document_with_extras": Tier.BASIC,
        "large_course": Tier.PREMIUM,
        "large_quiz": Tier.ENTERPRISE,
    },
}
# Offered by the operator: no seeded master template is one of these alone.
OFFERED = {"large_course": "course_structure_v2", "large_quiz": "quiz_generator_v1"}


@contextlib.asynccontextmanager
async def real_world(database: Database, *, admin: str = "root") -> AsyncIterator[World]:
    """A world with the real worker, whose engine is not started, and an admin of its own."""
    factory = build_factory(Settings(scheduler=False, local_workers=1), database)
    with lent_app(lambda: build_app(factory)) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            world = World(database, app, factory.engine, http)
            world.resources = factory.resources
            world.admin = await make_user(database, admin, Role.ADMIN)
            yield world


@pytest.fixture
async def real(database: Database) -> AsyncIterator[World]:
    async with real_world(database) as world:
        yield world


async def tenant_of(world: World, tier: Tier) -> Tenant:
    tenant = await make_tenant(world, tier.value, Tier.PREMIUM)
    limits = ClientLimits(
        client_id=tenant.client_id, name=tier.value, tier=tier, monthly_budget_nano=1_000_000_000_000
    )
    async with world.database.begin() as tx:
        await world.resources.set_client(tx, limits)
    return tenant


async def unfinished(world: World) -> int:
    async with world.database.begin() as tx:
        found: int = await tx.raw.fetchval("SELECT count(*) FROM executions")
        return found


async def offer_larger(world: World) -> None:
    """Make the master templates by which clients reach the larger worker templates."""
    for name, ref in OFFERED.items():
        flow = [{"worker": "granulation", "templateRef": ref}]
        body = {"name": name, "title": name, "flow": flow}
        made = await world.ask("POST", "/api/master-templates", world.admin, json=body)
        assert made.status_code == 201, made.text


async def send_all(world: World, tier: Tier) -> ClientId:
    """Ask for every seeded template as a tenant of a tier; what is above the tier is refused."""
    tenant = await tenant_of(world, tier)
    for path, name, listing in (
        ("/api/granulate", "template", "/api/templates"),
        ("/api/execute", "template", "/api/master-templates"),
    ):
        listed = (await world.ask("GET", f"{listing}?limit=100", tenant.key)).json()["data"]
        assert {one["name"] for one in listed} == set(NEEDED[listing])
        for one in listed:
            needed = NEEDED[listing][one["name"]]
            assert 0 < one["estimatedCostUsd"] <= one["worstCostUsd"], one["name"]
            text = PROCEDURE if "workflow" in one["name"] else SOURCE
            parameters = {"source": {"text": text, "format": "text"}, "granularityLevel": 1}
            body = parameters if path == "/api/granulate" else {"parameters": parameters}
            answer = await world.ask("POST", path, tenant.key, json={name: one["name"], **body})
            if needed.rank <= tier.rank:
                assert answer.status_code == 202, (one["name"], answer.text)
                assert one["allowed"] is True
            else:
                problem = assert_problem(answer, 403, "tier_too_low")
                assert problem["requiredTier"] == one["requiredTier"] == needed
                assert one["allowed"] is False
    return tenant.client_id


async def use(world: World, name: str) -> None:
    async with world.database.begin() as tx:
        await template_queries.count_use(tx, name, 1)


def at_once() -> Callable[..., Any]:
    """Do in this process what worker processes would do, each thing once: a step is pure."""
    made: dict[bytes, Any] = {}

    async def run(_: Any, step: Callable[..., Any], arguments: tuple[Any, ...], **options: Any) -> Any:
        key = msgspec.msgpack.encode((step.__name__, arguments))
        if key not in made:
            made[key] = step(*arguments)
        return made[key]

    return run


async def test_every_seeded_template_is_refused_below_its_tier_else_runs_to_its_end_within_its_tiers_cap(
    real: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anyio.to_process, "run_sync", at_once())
    async with real.database.begin() as tx:
        await tx.raw.executemany("UPDATE tiers SET max_running = $2 WHERE tier = $1", list(CAPS.items()))
    await offer_larger(real)
    clients = {tier: await send_all(real, tier) for tier in Tier}
    most = dict.fromkeys(Tier, 0)
    engine = real.engine
    engine.lease.local_slots = 2 * sum(CAPS.values())  # the caps are what is in the way
    await engine.lease.round()
    async with anyio.create_task_group() as tasks:
        process = Process(engine, tasks)
        while (await process.tick()).claimed:
            await engine.lease.round()
            await until(lambda: engine.runner.idle)  # before a transaction: it would wait for all the steps
            async with real.database.begin() as tx:
                sql = "SELECT client_id, count(*) FROM running_jobs GROUP BY client_id"
                running = dict(await tx.raw.fetch(sql))
            most = {tier: max(most[tier], running.get(clients[tier], 0)) for tier in Tier}
            await process.settle()
    await engine.lease.release()
    assert most == CAPS
    async with real.database.begin() as tx:
        sql = "SELECT client_id, state, count(*) FROM executions GROUP BY client_id, state"
        ended = {(row[0], row[1]): row[2] for row in await tx.raw.fetch(sql)}
    allowed = {
        tier: sum(needed.rank <= tier.rank for names in NEEDED.values() for needed in names.values())
        for tier in Tier
    }
    assert ended == {(clients[tier], "succeeded"): allowed[tier] for tier in Tier}
    assert [*allowed.values()] == [7, 13, 19, 23]
    assert (await audit(real.database)).differences == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/execute", {"template": "content_granulation_course", "parameters": PARAMETERS}),
        ("/requests", {"template": "content_granulation_course", "parameters": PARAMETERS}),
        ("/requests?dryRun=true", {"template": "content_granulation_course", "parameters": PARAMETERS}),
        ("/api/granulate", {"type": "course", **PARAMETERS}),
        ("/api/granulate", {"template": "course_structure_v1", **PARAMETERS}),
    ],
    ids=["execute", "requests", "dry run", "granulate type", "granulate template"],
)
async def test_a_basic_client_is_refused_a_course_on_every_way(real: World, path: str, body: Any) -> None:
    basic = await make_tenant(real, "Small", Tier.BASIC)
    problem = assert_problem(await real.ask("POST", path, basic.key, json=body), 403, "tier_too_low")
    assert (problem["requiredTier"], problem["tier"]) == ("standard", "basic")
    assert await unfinished(real) == 0


async def test_a_draft_is_refused_when_it_is_executed(real: World) -> None:
    basic = await make_tenant(real, "Small", Tier.BASIC)
    body = {"template": "content_granulation_course", "parameters": PARAMETERS, "execute": False}
    draft = (await real.ask("POST", "/requests", basic.key, json=body)).json()
    answer = await real.ask("POST", f"/requests/{draft['id']}/execute", basic.key, json={})
    assert assert_problem(answer, 403, "tier_too_low")["requiredTier"] == "standard"
    assert await unfinished(real) == 0


@pytest.mark.parametrize("name", ["course_structure_v1", "course", "structure_v1", "structure"])
async def test_a_flow_without_a_template_is_refused_too_whatever_it_calls_the_stage(
    real: World, name: str
) -> None:
    basic = await make_tenant(real, "Small", Tier.BASIC)
    await use(real, "course_structure_v2")  # which only a premium client means by a name that both have
    new = NewExecution(
        request_id=RequestId(new_id()),
        client_id=basic.client_id,
        key_id=None,
        template="inline",
        template_version=1,
        flow=(FlowStage(worker="granulation", template_ref=name),),
        parameters={},
    )
    async with real.database.begin() as tx:
        with pytest.raises(TierTooLow) as caught:
            await real.resources.submit(tx, new)
    assert caught.value.extras["requiredTier"] == "standard"


async def test_a_name_that_is_not_exact_means_what_the_clients_tier_allows(real: World) -> None:
    await use(real, "course_structure_v2")
    await use(real, "quiz_generator_v1")
    await offer_larger(real)
    meant = {}
    for tier in Tier:
        tenant = await tenant_of(real, tier)
        shown = [await real.ask("GET", f"/api/templates/{name}", tenant.key) for name in ("course", "quiz")]
        meant[tier] = [one.json()["name"] for one in shown]
        asked = await real.ask("POST", "/api/granulate", tenant.key, json={"template": "quiz", **PARAMETERS})
        assert asked.status_code == 202, asked.text
        assert asked.json()["stages"][0]["template"] == meant[tier][1]
    small, large = ["course_structure_v1", "quiz_basic_v1"], ["course_structure_v2", "quiz_generator_v1"]
    assert [*meant.values()] == [small, small, [large[0], small[1]], large]


async def test_a_larger_template_costs_more_and_is_reached_as_the_operator_offers_it(real: World) -> None:
    tenant = await tenant_of(real, Tier.ENTERPRISE)
    listed = (await real.ask("GET", "/api/templates", tenant.key)).json()["data"]
    costs = {one["name"]: one["estimatedCostUsd"] for one in listed}
    assert costs["course_structure_v2"] > 2 * costs["course_structure_v1"]
    assert costs["quiz_generator_v1"] > 2 * costs["quiz_basic_v1"]
    for name in OFFERED.values():
        body = {"template": name, **PARAMETERS}
        answer = await real.ask("POST", "/api/granulate", tenant.key, json=body)
        assert "/api/master-templates" in assert_problem(answer, 404, "no_master_template")["detail"]
        action = {"worker": "granulation", "templateRef": name, "action": "granulate"}
        body = {"action": action, "parameters": PARAMETERS, "clientId": text_id("client", tenant.client_id)}
        theirs = await real.ask("POST", "/api/execute", real.admin, json=body)
        assert theirs.status_code == 202, theirs.text
        assert theirs.json()["stages"][0]["template"] == name


async def test_a_template_made_now_needs_its_tier_at_once_and_a_raised_one_too(real: World) -> None:
    basic = await make_tenant(real, "Small", Tier.BASIC)
    shown = (await real.ask("GET", "/api/templates/quiz_basic_v1", real.admin)).json()
    content = msgspec.convert(shown, dict[str, Any])
    names = ("title", "description", "structureType", "minimumTier", "tierReason", "tokensMin", "tokensAvg")
    names += ("tokensMax", "expectedSeconds", "memoryMb", "defaultParameters", "parameterSchema")
    body = {name: content[name] for name in names}

    async def ask() -> httpx.Response:
        return await real.ask("POST", "/api/granulate", basic.key, json={"type": "quiz", **PARAMETERS})

    assert (await ask()).status_code == 202
    raised = {**body, "minimumTier": "enterprise"}
    answer = await real.ask("PUT", "/api/templates/quiz_basic_v1", real.admin, json=raised)
    assert answer.status_code == 200, answer.text
    assert assert_problem(await ask(), 403, "tier_too_low")["requiredTier"] == "enterprise"
    await real.ask("PUT", "/api/templates/quiz_basic_v1", real.admin, json=body)
    assert (await ask()).status_code == 202
