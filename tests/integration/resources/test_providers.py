"""Providers at start and over HTTP, and what becomes of work on models that are not set up."""

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.factories import World, assert_problem, open_world
from tests.fake_worker import MODEL
from tests.fleet import Fleet

from aifactory.factory import register_providers
from aifactory.kernel.db import Database, Tx
from aifactory.kernel.errors import Unavailable
from aifactory.kernel.ids import DataId, new_id
from aifactory.resources.interface import (
    BudgetExceeded,
    EndedJob,
    ExecutionState,
    NewJob,
    Route,
    UnstoredSource,
)
from aifactory.resources.queries import control
from aifactory.settings import Settings, SettingsError
from prove.plain_worker import new_job

pytestmark = pytest.mark.anyio

FILE = """
[providers.alpha]
base_url = "http://localhost:1/v1"
api_key_variable = "ALPHA_KEY"
[providers.alpha.models.large]
pool = "wide"
input_usd_per_million = 2
output_usd_per_million = 8
[providers.alpha.models.small]
input_usd_per_million = 0.5
output_usd_per_million = 1

[pools.wide]
capacity = 500000
refill_per_second = 1000
requests_per_minute = 60
"""
BODY: dict[str, Any] = {
    "baseUrl": "http://localhost:2/v1",
    "apiKeyVariable": "BETA_KEY",
    "models": [{"model": "m", "inputUsdPerMillion": 1, "outputUsdPerMillion": 2.5}],
}


class Start:
    """A process that starts, again and again."""

    def __init__(self, database: Database, path: Path) -> None:
        self.database = database
        self.path = path

    async def __call__(self, text: str | None = FILE, environ: Mapping[str, str] | None = None) -> None:
        if text is not None:
            self.path.write_text(text)
        settings = Settings(providers_file=None if text is None else self.path)
        await register_providers(settings, self.database, environ or {})

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        async with self.database.begin() as tx:
            return list(await tx.raw.fetch(sql, *values))

    async def providers(self) -> dict[str, Any]:
        return {row["provider"]: row for row in await self.rows("SELECT * FROM providers")}

    async def models(self) -> dict[str, Any]:
        return {
            row["model"]: row for row in await self.rows("SELECT * FROM models WHERE provider <> 'local'")
        }

    async def usable(self) -> list[tuple[str, str]]:
        async with self.database.begin() as tx:
            return [(model.provider, model.model) for model in await control.usable_models(tx, None)]


@pytest.fixture
def start(database: Database, tmp_path: Path) -> Start:
    return Start(database, tmp_path / "providers.toml")


# The file and the environment, at start.


async def test_a_start_stores_the_files_providers_models_and_missing_pools(start: Start) -> None:
    await start(environ={"ALPHA_KEY": "secret"})
    alpha, large = (await start.providers())["alpha"], (await start.models())["large"]
    assert (alpha["source"], alpha["active"], alpha["key_present"]) == ("file", True, True)
    assert (large["pool"], large["input_nano_per_million"], large["output_nano_per_million"]) == (
        "wide",
        2_000_000_000,
        8_000_000_000,
    )
    assert large["price_source"] == "providers file"
    (pool,) = await start.rows("SELECT * FROM resource_pools WHERE pool = 'wide'")
    assert (pool["level_micro"], pool["requests_micro"]) == (500_000 * 10**6, 60 * 10**6)
    assert await start.usable() == [("alpha", "small"), ("alpha", "large")]


async def test_a_provider_without_its_key_is_stored_but_not_usable(start: Start) -> None:
    await start()
    assert (await start.providers())["alpha"]["key_present"] is False
    assert await start.usable() == []


async def test_starting_again_leaves_circuits_pools_and_price_dates_alone(start: Start) -> None:
    await start()
    before = (await start.models())["large"]["price_at"]
    await start.rows("UPDATE providers SET circuit = 'open', failures = 7, circuit_until = now() RETURNING 1")
    await start.rows(
        "UPDATE resource_pools SET level_micro = 5, capacity = 77 WHERE pool = 'wide' RETURNING 1"
    )
    await start()
    alpha = (await start.providers())["alpha"]
    assert (alpha["circuit"], alpha["failures"]) == ("open", 7)
    (pool,) = await start.rows("SELECT * FROM resource_pools WHERE pool = 'wide'")
    assert (pool["level_micro"], pool["capacity"]) == (5, 77)
    assert (await start.models())["large"]["price_at"] == before


async def test_a_changed_price_gets_a_new_date_and_the_other_keeps_its_own(start: Start) -> None:
    await start()
    before = await start.models()
    await start(FILE.replace("= 8", "= 9"))
    after = await start.models()
    assert after["large"]["output_nano_per_million"] == 9_000_000_000
    assert after["large"]["price_at"] > before["large"]["price_at"]
    assert after["small"]["price_at"] == before["small"]["price_at"]


async def test_what_vanished_from_the_file_becomes_inactive_and_comes_back(start: Start) -> None:
    key = {"ALPHA_KEY": "x"}
    await start(environ=key)
    head, _, rest = FILE.partition("[providers.alpha.models.large]")
    await start(head + "[providers.alpha.models.small]" + rest.partition("models.small]")[2], key)
    assert await start.usable() == [("alpha", "small")]
    await start("", key)
    assert await start.usable() == []
    assert set(await start.models()) == {"large", "small"}
    await start(environ=key)
    assert await start.usable() == [("alpha", "small"), ("alpha", "large")]


async def test_a_start_without_a_file_leaves_what_a_file_defined(start: Start) -> None:
    await start()
    await start(None, {"ALPHA_KEY": "x"})
    assert await start.usable() == [("alpha", "small"), ("alpha", "large")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n[providers alpha]\n", "line 2"),
        (FILE + "[providers.b]\nbase_url = 'nowhere'", r"providers\.b\.base_url"),
        (FILE + "[providers.b]\nbase_url = 'http://x'\n[providers.b.models.m]", "price is unknown"),
        (FILE.replace('"wide"', '"narrow"'), r"providers\.alpha\.models\.large\.pool: There is no such pool"),
    ],
)
async def test_a_bad_file_stops_the_start_and_nothing_is_stored(start: Start, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as refused:
        await start(text, {"OPENAI_API_KEY": "x"})
    assert str(refused.value).startswith(f"AIFACTORY_PROVIDERS_FILE={start.path}: ")
    assert set(await start.providers()) == {"local"}
    assert not await start.rows("SELECT 1 FROM resource_pools WHERE pool = 'wide'")


async def test_the_key_alone_switches_openai_on_and_its_absence_off(start: Start) -> None:
    await start(None)
    assert "openai" not in await start.providers()
    await start(None, {"OPENAI_API_KEY": "x"})
    openai = (await start.providers())["openai"]
    assert (openai["source"], openai["active"], openai["key_present"]) == ("built_in", True, True)
    assert ("openai", "gpt-4.1-nano") in await start.usable()
    assert re.fullmatch(r"genai-prices \d.*", (await start.models())["gpt-4o"]["price_source"])
    await start(None)
    assert (await start.providers())["openai"]["active"] is False
    assert await start.usable() == []
    assert not any(row["active"] for row in (await start.models()).values())


async def test_a_file_may_define_openai_itself(start: Start) -> None:
    own = FILE.replace("alpha", "openai").replace("ALPHA_KEY", "OPENAI_API_KEY")
    await start(None, {"OPENAI_API_KEY": "x"})
    await start(own, {"OPENAI_API_KEY": "x"})
    assert (await start.providers())["openai"]["source"] == "file"
    assert await start.usable() == [("openai", "small"), ("openai", "large")]
    await start("", {"OPENAI_API_KEY": "x"})
    assert (await start.providers())["openai"]["source"] == "built_in"
    assert ("openai", "gpt-4o") in await start.usable()


async def test_many_processes_may_start_at_once(start: Start) -> None:
    start.path.write_text(FILE)
    reversed_file = start.path.with_name("reversed.toml")
    names = [f"p{n}" for n in range(60)]
    table = '[providers.{name}]\nbase_url = "http://localhost:1/v1"\n'
    start.path.write_text("".join(table.format(name=name) for name in names))
    reversed_file.write_text("".join(table.format(name=name) for name in reversed(names)))
    settings = [Settings(providers_file=path) for path in (start.path, reversed_file)] * 5
    await asyncio.gather(*(register_providers(one, start.database, {}) for one in settings))
    assert set(await start.providers()) == {"local", *names}


# Over HTTP.


async def put(world: World, name: str = "beta", **changes: Any) -> Any:
    return await world.ask("PUT", f"/admin/providers/{name}", world.admin, json=BODY | changes)


async def test_an_operators_provider_is_made_replaced_and_switched_off(world: World) -> None:
    made = await put(world)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    view = made.json()
    assert (view["source"], view["readOnly"], view["keyPresent"]) == ("api", False, False)
    assert view["models"][0]["outputUsdPerMillion"] == 2.5
    assert [pool["pool"] for pool in view["pools"]] == ["default"]
    models = [{"model": "n", "inputUsdPerMillion": 0, "outputUsdPerMillion": 0}]
    view = (await put(world, models=models, active=False)).json()
    assert view["active"] is False
    assert {model["model"]: model["active"] for model in view["models"]} == {"m": False, "n": True}
    listed = (await world.ask("GET", "/admin/providers", world.support)).json()["data"]
    assert [one["name"] for one in listed] == ["beta", "local"]


async def test_the_key_is_seen_but_never_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETA_KEY", "hunter2-hunter2")
    made = await put(world)
    assert made.json()["keyPresent"] is True
    listed = await world.ask("GET", "/admin/providers", world.admin)
    assert "hunter2" not in made.text + listed.text
    async with world.database.begin() as tx:
        audited = await tx.raw.fetch("SELECT before, after FROM audit_log WHERE object_kind = 'provider'")
    assert "hunter2" not in str([dict(row) for row in audited])


async def test_changes_are_audited_with_before_and_after(world: World) -> None:
    await put(world)
    await put(world, title="Other")
    async with world.database.begin() as tx:
        first, second = await tx.raw.fetch(
            "SELECT before, after FROM audit_log WHERE action = 'provider.stored' ORDER BY id"
        )
    assert first["before"] is None
    assert (second["before"]["title"], second["after"]["title"]) == ("", "Other")
    assert second["after"]["models"][0]["outputUsdPerMillion"] == "2.5"


async def test_if_match_guards_against_races(world: World) -> None:
    path = "/admin/providers/beta"

    async def match(etag: str) -> Any:
        return await world.ask("PUT", path, world.admin, json=BODY, headers={"If-Match": etag})

    assert_problem(await match('"1"'), 412, "version_changed")
    assert (await put(world)).status_code == 201
    assert (await match('"1"')).status_code == 200
    problem = assert_problem(await match('"1"'), 412, "version_changed")
    assert problem["currentVersion"] == 2
    assert (await match("*")).status_code == 200


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"baseUrl": "http://u:hunter2@x/v1"}, "/baseUrl", "bad_url"),
        ({"apiKeyVariable": "sk-hunter2"}, "/apiKeyVariable", "bad_variable"),
        ({"models": [{"model": "m"}]}, "/models/0", "unknown_price"),
        ({"models": [BODY["models"][0] | {"pool": "no-such"}]}, "/models/0/pool", "unknown_pool"),
        ({"models": BODY["models"] * 2}, "/models/1/model", "duplicate"),
        ({"models": [{"model": "m", "inputUsdPerMillion": 1}]}, "/models/0", "half_a_price"),
    ],
)
async def test_a_bad_provider_is_refused_by_field_and_nothing_is_stored(
    world: World, changes: Any, pointer: str, code: str
) -> None:
    before = await world.count_rows()
    answer = await put(world, **changes)
    problem = assert_problem(answer, 422)
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [(pointer, code)]
    assert "hunter2" not in answer.text
    assert await world.count_rows() == before


async def test_what_is_defined_elsewhere_is_read_only_here(database: Database, start: Start) -> None:
    await start(environ={"OPENAI_API_KEY": "x"})
    settings = Settings(scheduler=False, providers_file=start.path)
    async with open_world(database, settings=settings) as world:
        for name, told in (("alpha", "file"), ("openai", "OPENAI_API_KEY")):
            problem = assert_problem(await put(world, name), 409, "provider_read_only")
            assert told in problem["detail"]
        listed = (await world.ask("GET", "/admin/providers", world.admin)).json()["data"]
        assert {one["name"]: one["readOnly"] for one in listed} == {
            "alpha": True,
            "local": True,
            "openai": True,
        }


async def test_what_a_file_defined_is_the_operators_once_no_file_is_named(world: World, start: Start) -> None:
    await start()
    assert (await put(world, "alpha")).json()["source"] == "api"
    await start()
    assert (await start.providers())["alpha"]["source"] == "file"


async def test_a_reset_closes_the_circuit_and_half_open_is_shown(world: World) -> None:
    await put(world)

    async def state(until: timedelta) -> str:
        async with world.database.begin() as tx:
            await tx.raw.execute(
                "UPDATE providers SET circuit = 'open', failures = 5, openings = 2, circuit_until = $1 "
                "WHERE provider = 'beta'",
                tx.now + until,
            )
        found = (await world.ask("GET", "/admin/providers/beta", world.admin)).json()
        return str(found["circuit"]["state"])

    assert await state(timedelta(minutes=-1)) == "half_open"
    assert await state(timedelta(minutes=1)) == "open"
    reset = (await world.ask("POST", "/admin/providers/beta/reset", world.admin)).json()["circuit"]
    assert (reset["state"], reset["failures"], reset["openings"], reset["openUntil"]) == (
        "closed",
        0,
        0,
        None,
    )
    assert_problem(await world.ask("POST", "/admin/providers/none/reset", world.admin), 404)


async def test_health_tells_an_open_circuit_and_the_service_stays_ready(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BETA_KEY", "x")
    await put(world)
    await put(world, "gamma", apiKeyVariable="GAMMA_KEY", active=False)
    health = (await world.ask("GET", "/health")).json()
    assert (health["status"], health["parts"]["providers"]["detail"]) == ("ok", {"beta": "reachable"})
    async with world.database.begin() as tx:
        await tx.raw.execute(
            "UPDATE providers SET circuit = 'open', circuit_until = $1 WHERE provider = 'beta'",
            tx.now + timedelta(minutes=1),
        )
    health = (await world.ask("GET", "/health")).json()
    assert (health["status"], health["parts"]["providers"]["detail"]) == (
        "degraded",
        {"beta": "circuit open"},
    )
    assert (await world.ask("GET", "/health/ready")).status_code == 200


# Work on models and pools that are not there, or too small.


async def test_a_model_that_is_not_set_up_is_refused_by_name(fleet: Fleet) -> None:
    nowhere = msgspec.structs.replace(MODEL, model="forgotten")
    fleet.script({"write": 1}, route=Route(hops=(MODEL, nowhere)))
    with pytest.raises(Unavailable, match="Model forgotten of provider test"):
        await fleet.submit(await fleet.client())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"input_bound": 1_000_000, "output_limit": 1}, "exceeds_pool"),
        ({"input_bound": 900_000, "output_limit": 1}, "exceeds_pool"),
        ({"input_bound": 899_999, "output_limit": 1}, None),
        ({"route": Route(hops=(msgspec.structs.replace(MODEL, model="forgotten"),))}, "unknown_model"),
        ({"route": Route(hops=(msgspec.structs.replace(MODEL, pool="nowhere"),))}, "exceeds_pool"),
    ],
)
async def test_a_later_job_that_could_never_start_is_refused(
    fleet: Fleet, changes: dict[str, Any], code: str | None
) -> None:
    worker = fleet.script({"write": 1})
    given = {"route": Route(hops=(MODEL,)), "input_bound": 10, "output_limit": 10} | changes

    async def patch(_: Tx, job: EndedJob) -> list[NewJob]:
        return [NewJob(kind="patch", line=None, payload={}, **given)] if job.kind == "write" else []

    worker.on_record = patch
    client, process = await fleet.client(), await fleet.process()
    execution = await fleet.submit(client)
    await process.work()
    faults = [job.fault.code for job in worker.recorded if job.fault is not None]
    assert faults == ([] if code is None else [code])
    assert (await fleet.view(execution)).state.final
    assert (await fleet.budget(client))[0] == 0


async def test_a_refused_job_may_be_followed_by_a_smaller_one(fleet: Fleet) -> None:
    worker = fleet.script({"write": 1})
    route = Route(hops=(MODEL,))

    async def split(_: Tx, job: EndedJob) -> list[NewJob]:
        if job.kind == "write":
            return [new_job("x", line=None, route=route, input_bound=10**7, output_limit=1)]
        if job.fault is not None:
            return [new_job("part", line=None, route=route, input_bound=10, output_limit=1)] * 2
        return []

    worker.on_record = split
    process = await fleet.process()
    execution = await fleet.submit(await fleet.client())
    await process.work()
    assert [job.kind for job in worker.ran] == ["write", "part", "part"]
    assert (await fleet.view(execution)).state is not ExecutionState.RUNNING


async def test_a_source_that_is_brought_along_is_stored_with_what_is_admitted_alone(fleet: Fleet) -> None:
    brought = UnstoredSource(name="n", media_type="text/plain", content=b"some words")
    poor, client = await fleet.client(monthly_budget_nano=1), await fleet.client()
    with pytest.raises(BudgetExceeded):
        await fleet.submit(poor, source=DataId(new_id()), unstored_source=brought)
    data_id = DataId(new_id())
    await fleet.submit(client, source=data_id, unstored_source=brought)
    rows = await fleet.fetch("SELECT id, client_id, name, media_type, words, expires_at FROM data_references")
    assert [tuple(row) for row in rows] == [(data_id, client, "n", "text/plain", 2, None)]
