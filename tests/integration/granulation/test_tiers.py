"""The tier that a template needs is checked where work starts, by whatever way it starts."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from tests.factories import Tenant, World, assert_problem, make_tenant, make_user

from aifactory.factory import build_factory
from aifactory.granulation import template_queries
from aifactory.granulation.template_queries import WorkerTemplate
from aifactory.kernel.db import Database
from aifactory.kernel.ids import RequestId, new_id
from aifactory.kernel.page import PageRequest
from aifactory.kernel.principal import Role
from aifactory.resources.interface import ClientLimits, FlowStage, NewExecution, Tier, TierTooLow
from aifactory.server import build_app
from aifactory.settings import Settings

pytestmark = pytest.mark.anyio

TEXT = "The tide rises and falls twice a day because the moon pulls at the water of the sea. " * 30
PARAMETERS = {"topic": "Tides", "source": {"text": TEXT, "format": "text"}}


@contextlib.asynccontextmanager
async def real_world(database: Database) -> AsyncIterator[World]:
    """A world with the real worker, whose engine is not started."""
    factory = build_factory(Settings(scheduler=False, local_workers=1), database)
    transport = httpx.ASGITransport(build_app(factory), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        world = World(database, build_app(factory), factory.engine, http)
        world.resources = factory.resources
        world.admin = await make_user(database, "root", Role.ADMIN)
        yield world


@pytest.fixture
async def real(database: Database) -> AsyncIterator[World]:
    async with real_world(database) as world:
        yield world


async def seeded(database: Database) -> list[WorkerTemplate]:
    async with database.begin() as tx:
        return await template_queries.list_templates(
            tx, structure_type=None, tier=None, page=PageRequest(limit=100)
        )


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


@pytest.mark.parametrize("tier", list(Tier))
async def test_every_seeded_template_runs_from_its_tier_up_and_not_below(real: World, tier: Tier) -> None:
    tenant = await tenant_of(real, tier)
    templates = await seeded(real.database)
    assert len(templates) >= 2
    listed = (await real.ask("GET", "/api/templates?limit=100", tenant.key)).json()["data"]
    shown = {one["name"]: (one["allowed"], one["requiredTier"]) for one in listed}
    for template in templates:
        answer = await real.ask(
            "POST", "/api/granulate", tenant.key, json={"template": template.name, **PARAMETERS}
        )
        if template.minimum_tier.rank <= tier.rank:
            assert answer.status_code == 202, (template.name, answer.text)
            assert shown[template.name] == (True, None)
        else:
            problem = assert_problem(answer, 403, "tier_too_low")
            assert problem["requiredTier"] == template.minimum_tier
            assert shown[template.name] == (False, template.minimum_tier)


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


@pytest.mark.parametrize("name", ["course_structure_v1", "course", "structure_v1"])
async def test_a_flow_without_a_template_is_refused_too_whatever_it_calls_the_stage(
    real: World, name: str
) -> None:
    basic = await make_tenant(real, "Small", Tier.BASIC)
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
