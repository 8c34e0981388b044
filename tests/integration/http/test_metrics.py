"""The metrics: who may read them, what they say, and that no caller can make them grow."""

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from tests.factories import QUIZ, World, assert_problem, open_world

from aifactory.kernel import metrics
from aifactory.kernel.db import Database
from aifactory.settings import Settings

pytestmark = pytest.mark.anyio

TOKEN = "a-token-of-the-tests"


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_prometheus_reads_what_the_fleet_and_the_process_do(world: World) -> None:
    await world.ask("GET", "/clients", world.admin)
    answer = await world.ask("GET", "/metrics", world.admin)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(answer.text)
    assert found["aifactory_queue_ready_jobs", (("queue", "normal"),)] == 0
    assert found["aifactory_pool_capacity_units", (("pool", "compute"),)] == 1_000_000
    assert found["aifactory_scheduler_enabled", ()] == 1
    listed = (("method", "GET"), ("route", "/clients"), ("status", "200"))
    assert found["aifactory_http_requests_total", listed] >= 1
    assert found["process_resident_memory_bytes", ()] > 0


async def test_json_has_costs_by_client_and_no_label_names_one(world: World) -> None:
    assert (
        await world.ask(
            "POST", "/requests", world.ours.key, json={"template": QUIZ, "parameters": {"topic": "Tides"}}
        )
    ).status_code == 202
    answer = await world.ask("GET", "/metrics", world.admin, headers={"Accept": "application/json"})
    shown = answer.json()
    assert {one["clientId"] for one in shown["costByClient"]} == {world.ours.id}
    assert shown["costByClient"][0]["heldUsd"] > 0
    assert world.ours.id not in str(shown["process"]) + str(shown["fleet"])
    ready = {one["labels"]["queue"]: one["value"] for one in shown["fleet"]["aifactory_queue_ready_jobs"]}
    assert ready["normal"] == 1


async def test_the_metrics_token_reads_the_metrics_and_nothing_else(database: Database) -> None:
    settings = Settings(scheduler=False, metrics_token=TOKEN)
    async with open_world(database, settings=settings) as world:
        for text, status in ((TOKEN, 200), (f"{TOKEN}s", 401), ("", 401)):
            answer = await world.ask("GET", "/metrics", {"Authorization": f"Bearer {text}"})
            assert answer.status_code == status, text
        assert_problem(await world.ask("GET", "/clients", {"Authorization": f"Bearer {TOKEN}"}), 403)
        beside = {"Authorization": f"Bearer {TOKEN}"} | world.admin
        assert_problem(await world.ask("GET", "/metrics", beside), 401)


async def test_without_a_token_only_the_admin_may_read_them(world: World) -> None:
    for who in (world.ours.key, world.ours.session, world.support):
        assert_problem(await world.ask("GET", "/metrics", who), 403)
    assert_problem(await world.ask("GET", "/metrics"), 401)
    assert_problem(await world.ask("GET", "/metrics", {"Authorization": "Bearer None"}), 401)


async def test_no_path_method_or_name_that_somebody_invents_becomes_a_label(world: World) -> None:
    for number in range(30):
        await world.ask("GET", f"/invented/{number}")
        await world.ask("GET", f"/requests/req_{number}", world.ours.key)
    await world.ask("BREW", "/")
    await world.ask("POST", "/requests", world.ours.key, json={"template": f"{QUIZ}_no", "parameters": {}})
    text = (await world.ask("GET", "/metrics", world.admin)).text
    assert "invented" not in text
    assert "BREW" not in text
    assert "req_1" not in text
    assert f"{QUIZ}_no" not in text
    assert 'route="other"' in text


def test_a_label_has_so_many_values_and_no_more() -> None:
    values = {metrics.bounded("a label of this test", f"value {number}") for number in range(1000)}
    assert len(values) == metrics.MANY + 1
    assert metrics.OTHER in values
    assert metrics.bounded("a label of this test", "value 3") == "value 3"


def test_a_loop_that_never_failed_is_told_so_that_the_first_failure_shows() -> None:
    with metrics.timed_round("a loop of this test"):
        pass
    assert REGISTRY.get_sample_value("aifactory_loop_failures_total", {"loop": "a loop of this test"}) == 0


async def test_the_reference_says_that_metrics_are_text_unless_json_is_asked_for(world: World) -> None:
    document = (await world.ask("GET", "/openapi.json")).json()
    answer = document["paths"]["/metrics"]["get"]["responses"]["200"]
    assert set(answer["content"]) == {"text/plain", "application/json"}
