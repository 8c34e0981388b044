"""Trees in the database, and a source's whole way through the real worker."""

from typing import Any

import msgspec
import pytest
from tests.factories import QUIZ, World, assert_problem, made_tree, store_tree

from aifactory.granulation import queries
from aifactory.granulation.exports import EXPORTS
from aifactory.kernel.db import Database
from aifactory.kernel.ids import ClientId, ExecutionId, TreeId, new_id, parse_id, text_id

pytestmark = pytest.mark.anyio


async def test_a_stored_tree_is_read_back_as_it_was_written(database: Database) -> None:
    tree, assessment = made_tree()
    text = await store_tree(database, ClientId(new_id()))
    tree_id = TreeId(parse_id("tree", text) or new_id())
    async with database.begin() as tx:
        stored = await queries.find_tree(tx, client_id=None, tree_id=tree_id)
        assert stored is not None
        assert await queries.load_tree(tx, stored) == tree
        rows = await queries.violations_of(tx, tree_id)
    assert [row["rule"] for row in rows] == [one.rule for one in assessment.violations]
    assert float(stored.score or 0) == assessment.score.score


async def test_the_exports_of_a_tree_say_what_they_lose(world: World) -> None:
    tree_id = await store_tree(world.database, world.ours.client_id)
    as_json = await world.ask("GET", f"/api/jobs/{tree_id}/export", world.ours.key)
    assert as_json.headers["x-export-losses"] == "0"
    assert msgspec.json.decode(as_json.content, type=dict[str, Any])
    as_markdown = await world.ask("GET", f"/api/jobs/{tree_id}/export?format=markdown", world.ours.key)
    assert as_markdown.headers["content-type"].startswith("text/markdown")
    tree, _ = made_tree()
    assert int(as_markdown.headers["x-export-losses"]) == len(EXPORTS["markdown"].losses(tree))
    assert tree.title in as_markdown.text
    as_html = await world.ask("GET", f"/api/jobs/{tree_id}/export?format=html", world.ours.key)
    assert as_html.headers["content-type"].startswith("text/html")
    # The server's own policy would forbid the page its style.
    assert as_html.headers["content-security-policy"] == EXPORTS["html"].security()  # type: ignore[misc]
    assert int(as_html.headers["x-export-losses"]) == len(EXPORTS["html"].losses(tree))
    assert_problem(await world.ask("GET", f"/api/jobs/{tree_id}/export?format=scorm", world.ours.key), 422)


async def test_trees_are_listed_by_execution_and_only_to_their_client(world: World) -> None:
    tree_id = await store_tree(world.database, world.ours.client_id)
    shown = (await world.ask("GET", f"/api/jobs/{tree_id}", world.ours.key)).json()
    path = f"/api/jobs?executionId={shown['executionId']}"
    ours = (await world.ask("GET", path, world.ours.key)).json()
    theirs = (await world.ask("GET", path, world.theirs.key)).json()
    assert [one["id"] for one in ours["data"]] == [tree_id]
    assert theirs["data"] == []


async def test_trees_are_listed_by_the_request_too_and_a_draft_has_none(world: World) -> None:
    body = {"template": QUIZ, "parameters": {"topic": "x"}}
    made = (await world.ask("POST", "/requests", world.ours.key, json=body)).json()
    draft = await world.ask("POST", "/requests", world.ours.key, json=body | {"execute": False})
    execution = parse_id("exec", made["executionId"])
    assert execution is not None
    tree_id = await store_tree(world.database, world.ours.client_id, ExecutionId(execution))

    async def listed(wanted: str, key: str) -> list[str]:
        answer = await world.ask("GET", f"/api/jobs?executionId={wanted}", key)
        return [one["id"] for one in answer.json()["data"]]

    assert await listed(made["id"], world.ours.key) == [tree_id]
    assert await listed(made["id"], world.theirs.key) == []
    assert await listed(draft.json()["id"], world.ours.key) == []
    assert await listed(text_id("req", new_id()), world.ours.key) == []
    refused = await world.ask("GET", f"/api/jobs?executionId={tree_id}", world.ours.key)
    assert "req_" in assert_problem(refused, 422)["errors"][0]["message"]
