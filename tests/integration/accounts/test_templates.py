"""Master templates: versions, checks, prices per tier."""

from typing import Any

import pytest
from tests.factories import FLOW, QUIZ, World, assert_problem

pytestmark = pytest.mark.anyio


def template(name: str = "my_template", **changes: Any) -> dict[str, Any]:
    return {"name": name, "title": "Mine", "description": "", "flow": FLOW} | changes


async def test_the_list_shows_tier_and_cost_for_the_caller(world: World) -> None:
    premium = [{"worker": "granulation", "templateRef": "premium_things"}]
    await world.ask("POST", "/api/master-templates", world.admin, json=template(flow=premium))
    listed = (await world.ask("GET", "/api/master-templates", world.ours.key)).json()["data"]
    mine = next(one for one in listed if one["name"] == "my_template")
    assert (mine["requiredTier"], mine["allowed"]) == ("premium", False)
    quiz = next(one for one in listed if one["name"] == QUIZ)
    assert quiz["allowed"]
    assert 0 < quiz["estimatedCostUsd"] <= quiz["worstCostUsd"]
    request = {"template": "my_template", "parameters": {}}
    refused = assert_problem(
        await world.ask("POST", "/requests", world.ours.key, json=request), 403, "tier_too_low"
    )
    assert refused["requiredTier"] == "premium"


async def test_versions_are_kept_and_the_newest_active_one_runs(world: World) -> None:
    await world.ask("POST", "/api/master-templates", world.admin, json=template())
    path = "/api/master-templates/my_template"
    body = template()
    del body["name"]
    second = await world.ask("PUT", path, world.admin, json={**body, "title": "Second"})
    assert (second.json()["version"], second.headers["etag"]) == (2, '"2"')
    shown = await world.ask("GET", path, world.ours.key)
    assert (shown.json()["title"], shown.headers["etag"]) == ("Second", '"2"')
    assert (await world.ask("GET", f"{path}?version=1", world.ours.key)).json()["title"] == "Mine"
    versions = (await world.ask("GET", f"{path}/versions?limit=1", world.ours.key)).json()
    assert [one["version"] for one in versions["data"]] == [2]
    rest = await world.ask("GET", f"{path}/versions?cursor={versions['nextCursor']}", world.ours.key)
    assert [one["version"] for one in rest.json()["data"]] == [1]


async def test_a_withdrawn_template_can_not_be_used_until_the_next_version(world: World) -> None:
    await world.ask("POST", "/api/master-templates", world.admin, json=template())
    path = "/api/master-templates/my_template"
    body = template()
    del body["name"]
    await world.ask("PUT", path, world.admin, json={**body, "active": False})
    request = {"template": "my_template", "parameters": {}}
    assert_problem(await world.ask("POST", "/requests", world.ours.key, json=request), 404)
    listed = (await world.ask("GET", "/api/master-templates", world.ours.key)).json()["data"]
    assert "my_template" not in [one["name"] for one in listed]
    await world.ask("PUT", path, world.admin, json=body)
    assert (await world.ask("POST", "/requests", world.ours.key, json=request)).status_code == 202


async def test_if_match_guards_against_lost_changes(world: World) -> None:
    await world.ask("POST", "/api/master-templates", world.admin, json=template())
    body = template()
    del body["name"]
    path, ours = "/api/master-templates/my_template", {**world.admin, "If-Match": '"1"'}
    assert (await world.ask("PUT", path, ours, json=body)).status_code == 200
    problem = assert_problem(await world.ask("PUT", path, ours, json=body), 412, "version_changed")
    assert problem["currentVersion"] == 2


async def test_of_changes_at_once_each_counts_or_is_refused_in_words(world: World) -> None:
    path, body, new = "/api/master-templates/my_template", template(), template()
    del body["name"]
    ours = {**world.admin, "If-Match": '"1"'}
    assert await world.ask_at_once(4, "POST", "/api/master-templates", world.admin, json=new) == [
        201,
        409,
        409,
        409,
    ]
    assert await world.ask_at_once(4, "PUT", path, ours, json=body) == [200, 412, 412, 412]
    assert await world.ask_at_once(4, "PUT", path, world.admin, json=body) == [200] * 4
    assert (await world.ask("GET", path, world.admin)).json()["version"] == 6


async def test_a_taken_name_and_an_unknown_one(world: World) -> None:
    answer = await world.ask("POST", "/api/master-templates", world.admin, json=template(QUIZ))
    assert_problem(answer, 409, "template_exists")
    missing = assert_problem(
        await world.ask("GET", "/api/master-templates/content_granulation_quizz", world.ours.key),
        404,
        "template_not_found",
    )
    assert QUIZ in missing["nearNames"]


STAGE = FLOW[0]


@pytest.mark.parametrize(
    ("flow", "pointer"),
    [
        ([], "/flow"),
        ([STAGE] * 21, "/flow"),
        ([{**STAGE, "worker": "Bad Name"}], "/flow/0/worker"),
        ([{**STAGE, "retries": 11}], "/flow/0/retries"),
        ([{**STAGE, "onFailure": "explode"}], "/flow/0/onFailure"),
        ([{**STAGE, "surprise": 1}], "/flow/0/surprise"),
        ([{**STAGE, "inputMapping": {"a": "/stages/0/x"}}], "/flow/0/inputMapping/a"),
        ([{**STAGE, "inputMapping": {"a": "x"}}], "/flow/0/inputMapping/a"),
        ([{**STAGE, "condition": {"path": "/request/x"}}], "/flow/0/condition"),
        ([{**STAGE, "condition": {"or": [{"path": "/request/x", "op": "eval"}]}}], "/flow/0/condition/or/0"),
        ([{**STAGE, "worker": "unheard_of"}], "/flow/0/worker"),
        ([STAGE, {**STAGE, "templateRef": "missing"}], "/flow/1/templateRef"),
    ],
)
async def test_a_flow_that_can_not_run_is_refused(world: World, flow: Any, pointer: str) -> None:
    before = await world.count_rows()
    answer = await world.ask("POST", "/api/master-templates", world.admin, json=template(flow=flow))
    assert assert_problem(answer, 422)["errors"][0]["pointer"] == pointer
    assert await world.count_rows() == before


async def test_a_flow_with_everything_is_kept(world: World) -> None:
    flow = [
        {**STAGE, "paramsOverride": {"depth": 2}, "retries": 0, "required": False, "onFailure": "skip"},
        {
            **STAGE,
            "name": "second",
            "inputMapping": {"objectives": "/stages/0/outputs/tree", "topic": "/request/parameters/a~1b"},
            "condition": {
                "and": [
                    {"path": "/stages/0/outputs/score", "op": "ge", "value": 60},
                    {
                        "or": [
                            {"path": "/request/x", "op": "exists"},
                            {"path": "/request/x", "op": "in", "value": ["a", 1, None, True]},
                        ]
                    },
                ]
            },
        },
    ]
    made = await world.ask("POST", "/api/master-templates", world.admin, json=template(flow=flow))
    assert made.status_code == 201, made.text
    for given, stored in zip(flow, made.json()["flow"], strict=True):
        assert given.items() <= stored.items()
