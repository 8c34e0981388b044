"""Who sees the progress of what, and what a poll costs."""

import pytest
from tests.factories import QUIZ, World, assert_problem

pytestmark = pytest.mark.anyio
REQUEST = {"template": QUIZ, "parameters": {"topic": "x"}}


async def submitted(world: World) -> tuple[str, str]:
    """Submit a request; return its id and its execution's."""
    response = await world.ask("POST", "/api/execute", world.ours.key, json=REQUEST)
    assert response.status_code == 202, response.text
    return response.json()["requestId"], response.json()["id"]


async def test_progress_is_had_by_request_and_by_execution_and_by_nobody_else(world: World) -> None:
    for one in await submitted(world):
        ours = await world.ask("GET", f"/api/progress/{one}", world.ours.key)
        assert ours.status_code == 200, ours.text
        for visible in (world.admin, world.ours.session):
            assert (await world.ask("GET", f"/api/progress/{one}", visible)).json() == ours.json()
        without_money = {name: value for name, value in ours.json().items() if name != "costUsd"}
        assert (await world.ask("GET", f"/api/progress/{one}", world.support)).json() == without_money
        theirs = await world.ask("GET", f"/api/progress/{one}", world.theirs.key)
        unknown = await world.ask(
            "GET", f"/api/progress/{one[:-1]}{'0' if one[-1] != '0' else '1'}", world.ours.key
        )
        for refused in (theirs, unknown):
            problem = assert_problem(refused, 404)
            assert problem["detail"] == "There is no execution with this id."
        assert theirs.json()["code"] == unknown.json()["code"]


async def test_what_waits_is_at_its_beginning(world: World) -> None:
    request_id, execution_id = await submitted(world)
    body = (await world.ask("GET", f"/api/progress/{execution_id}", world.ours.key)).json()
    assert body["requestId"] == request_id
    assert (body["state"], body["percent"], body["jobsDone"]) == ("queued", 0, 0)
    assert (body["startedAt"], body["elapsedMs"], body["estimatedRemainingMs"]) == (None, None, None)
    assert body["costUsd"] == 0
    assert body["tree"] is None
    assert [stage["ordinal"] for stage in body["stages"]] == [0]
    assert body["stages"][0]["treeId"] is None


async def test_a_poll_that_brings_nothing_new_is_a_304_without_a_body(world: World) -> None:
    _, execution_id = await submitted(world)
    path = f"/api/progress/{execution_id}"
    first = await world.ask("GET", path, world.ours.key)
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    for named in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        again = await world.ask("GET", path, world.ours.key, headers={"If-None-Match": named})
        assert (again.status_code, again.content) == (304, b""), named
        assert again.headers["etag"] == etag
    for named in ('"other"', "", ",,", "W/"):
        again = await world.ask("GET", path, world.ours.key, headers={"If-None-Match": named})
        assert again.status_code == 200, named
    theirs = await world.ask("GET", path, world.theirs.key, headers={"If-None-Match": "*"})
    assert_problem(theirs, 404)
    without = await world.ask("GET", f"{path}?tree=false", world.ours.key, headers={"If-None-Match": etag})
    assert without.status_code == 200, "another answer has another ETag"
    await world.ask("POST", f"/api/execution/{execution_id}/cancel", world.ours.key)
    ended = await world.ask("GET", path, world.ours.key, headers={"If-None-Match": etag})
    assert (ended.json()["state"], ended.json()["percent"]) == ("cancelled", 100)


async def test_a_job_that_ends_makes_another_etag_even_when_it_costs_nothing(world: World) -> None:
    _, execution_id = await submitted(world)
    path = f"/api/progress/{execution_id}"
    etag = (await world.ask("GET", path, world.ours.key)).headers["etag"]
    async with world.database.begin() as tx:
        await tx.raw.execute("UPDATE stage_executions SET open_jobs = 0")
    after = await world.ask("GET", path, world.ours.key, headers={"If-None-Match": etag})
    assert after.status_code == 200
    assert after.json()["jobsDone"] == 1


@pytest.mark.parametrize("value", ["maybe", "2", ""])
async def test_tree_is_yes_or_no(world: World, value: str) -> None:
    _, execution_id = await submitted(world)
    assert_problem(await world.ask("GET", f"/api/progress/{execution_id}?tree={value}", world.ours.key), 422)
