"""The short way to an execution, and checking trees: brought along or stored."""

from typing import Any

import msgspec
import pytest
from tests.factories import QUIZ, World, assert_problem, made_tree, store_tree
from tests.integration.http.test_access import WORKER_TEMPLATE

from aifactory.granulation.granulate_schemas import PARAMETER_NAMES, GranulateInput
from aifactory.granulation.parameters import Parameters
from aifactory.kernel.ids import ClientId, parse_id

pytestmark = pytest.mark.anyio

TEXT = "The tide rises and falls twice a day. " * 20


async def granulate(world: World, **body: Any) -> Any:
    headers = body.pop("headers", {})
    return await world.ask("POST", "/api/granulate", world.ours.key, json=body, headers=headers)


async def stored_request(world: World) -> tuple[str, dict[str, Any]]:
    async with world.database.begin() as tx:
        row = await tx.raw.fetchrow("SELECT template, parameters FROM client_requests ORDER BY id DESC")
    assert row is not None
    return row["template"], row["parameters"]


# Granulating.


async def test_a_type_is_the_master_template_of_that_type(world: World) -> None:
    answer = await granulate(world, type="quiz", topic="Tides", source={"text": TEXT}, granularityLevel=3)
    assert answer.status_code == 202
    execution = answer.json()
    assert answer.headers["location"] == f"/api/execution/{execution['id']}"
    assert execution["template"] == QUIZ
    template, parameters = await stored_request(world)
    assert template == QUIZ
    assert set(parameters) == {"topic", "source", "granularityLevel"}
    assert set(parameters["source"]) == {"dataRef", "format", "name"}


async def test_a_worker_template_is_the_master_template_that_is_it_alone(world: World) -> None:
    for name in ("quiz_basic_v1", "quiz", "basic_v1"):
        assert (
            (await granulate(world, template=name, topic="x"))
            .json()["template"]
            .startswith("content_granulation_")
        )
    assert (await granulate(world, template="quiz", topic="x")).json()["template"] == QUIZ


async def test_a_worker_template_that_no_master_template_is_alone_says_what_to_do(world: World) -> None:
    body = {"name": "my_quiz", **WORKER_TEMPLATE}
    await world.ask("POST", "/api/templates", world.admin, json=body)
    stage = {"worker": "granulation", "templateRef": "my_quiz"}
    two = {"name": "two", "title": "Two", "flow": [stage, {**stage, "templateRef": "quiz_basic_v1"}]}
    await world.ask("POST", "/api/master-templates", world.admin, json=two)
    problem = assert_problem(await granulate(world, template="my_quiz"), 404, "no_master_template")
    assert "/api/master-templates" in problem["detail"]
    one = {"name": "mine", "title": "Mine", "flow": [stage]}
    await world.ask("POST", "/api/master-templates", world.admin, json=one)
    assert (await granulate(world, template="my_quiz")).json()["template"] == "mine"


async def test_unknown_types_and_templates_are_404_with_near_names(world: World) -> None:
    problem = assert_problem(await granulate(world, type="quizz"), 404, "template_not_found")
    assert QUIZ in problem["nearNames"]
    problem = assert_problem(await granulate(world, template="nothing"), 404, "worker_template_not_found")
    assert problem["nearNames"]


async def test_one_of_type_and_template_is_needed(world: World) -> None:
    for body in ({}, {"type": "quiz", "template": "quiz"}):
        assert assert_problem(await granulate(world, **body), 422)["errors"][0]["code"] == "one_of"


async def test_structure_type_is_as_good_as_type_but_may_not_differ_from_it(world: World) -> None:
    made = await granulate(world, structureType="quiz", topic="x")
    assert (made.status_code, made.json()["template"]) == (202, QUIZ)
    assert (await granulate(world, structureType="quiz", type="quiz", topic="x")).status_code == 202
    problem = assert_problem(await granulate(world, type="quiz", structureType="course", topic="x"), 422)
    assert problem["errors"][0]["pointer"] == "/structureType"


async def test_faults_of_parameters_point_into_this_body(world: World) -> None:
    async def pointer(**body: Any) -> str:
        before = await world.count_rows()
        problem = assert_problem(await granulate(world, type="quiz", **body), 422)
        assert await world.count_rows() == before
        return str(problem["errors"][0]["pointer"])

    assert await pointer(depth=9) == "/depth"
    assert await pointer(size={"perLevel": ["x"]}) == "/size/perLevel/0"
    assert await pointer(source={"text": "x", "dataRef": "y"}) == "/source"
    assert await pointer(source={"text": " "}) == "/source/text"
    assert await pointer(parameters={}) == "/parameters"


async def test_the_same_key_granulates_once(world: World) -> None:
    headers = {"Idempotency-Key": "once"}
    first = await granulate(world, type="quiz", topic="x", headers=headers)
    again = await granulate(world, type="quiz", topic="x", headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json() == again.json()
    other = await granulate(world, type="quiz", topic="y", headers=headers)
    assert_problem(other, 422, "idempotency_mismatch")


async def test_with_prefer_wait_the_ended_execution_is_the_answer(world: World) -> None:
    async with world.engine.start():
        answer = await granulate(world, type="quiz", topic="x", headers={"Prefer": "wait=30"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "succeeded"
    assert "x-cost-usd" in answer.headers


async def test_a_wait_that_runs_out_is_answered_by_how_it_is_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scheduled_meanwhile(*_: Any, **__: Any) -> None:
        async with world.database.begin() as tx:
            await tx.raw.execute("UPDATE executions SET state = 'running', queue = 'fast'")

    monkeypatch.setattr("aifactory.kernel.http.wait_for", scheduled_meanwhile)
    headers = {"Prefer": "wait=1", "Idempotency-Key": "once"}
    first = await granulate(world, type="quiz", topic="x", headers=headers)
    assert (first.status_code, first.json()["state"], first.json()["queue"]) == (202, "running", "fast")
    assert first.headers["preference-applied"] == "wait=1"
    assert first.headers["location"].endswith(first.json()["id"])
    replay = await granulate(world, type="quiz", topic="x", headers=headers)
    assert (replay.status_code, replay.json()["state"]) == (202, "queued")


def test_every_parameter_can_be_sent_and_none_hides_a_field_of_the_request() -> None:
    own = {field.encode_name for field in msgspec.structs.fields(GranulateInput)}
    assert {field.encode_name for field in msgspec.structs.fields(Parameters)} == set(PARAMETER_NAMES) <= own
    assert not {"type", "template", "urgency", "accuracy", "runAfter", "deadline", "metadata", "clientId"} & {
        *PARAMETER_NAMES
    }


# Checking.


async def validate(world: World, who: dict[str, str] | None = None, **body: Any) -> Any:
    return await world.ask("POST", "/api/validate", who or world.ours.key, json=body)


def tree() -> Any:
    return msgspec.json.decode(msgspec.json.encode(made_tree()[0]))


async def test_a_tree_is_scored_and_nothing_is_stored(world: World) -> None:
    before = await world.count_rows()
    answer = await validate(world, tree=tree(), parameters={"size": {"perLevel": [2, 3]}}, threshold=10)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["state"], found["passed"], found["threshold"]) == ("valid", True, 10)
    assert 0 < found["score"] <= 100
    assert found["violationCount"] == len(found["violations"])
    assert all(one["pointer"] is not None and one["rule"] for one in found["violations"])
    assert (found["validation"], found["validationReason"]) == ("rules", None)
    assert await world.count_rows() == before


async def test_the_threshold_decides_and_a_broken_gate_never_passes(world: World) -> None:
    assert not (await validate(world, tree=tree(), threshold=100)).json()["passed"]
    broken = tree()
    broken["nodes"][1]["id"] = broken["nodes"][0]["id"]
    found = (await validate(world, tree=broken, threshold=0)).json()
    assert (found["state"], found["score"], found["passed"]) == ("invalid", None, False)
    assert "ids.unique" in found["gatesFailed"]
    assert found["violations"][0]["severity"] == "gate"
    found = (await validate(world, tree={**tree(), "nodes": []}, threshold=0)).json()
    assert (found["score"], found["passed"]) == (0, False)


@pytest.mark.parametrize("asked", [{"level": 2}, {"parameters": {"validation": {"level": 3}}}])
async def test_a_judge_is_never_pretended(world: World, asked: Any) -> None:
    found = (await validate(world, tree=tree(), **asked)).json()
    assert found["validation"] == "unverified"
    assert "judge" in found["checksSkipped"]
    assert found["validationReason"]


async def test_a_stored_tree_is_checked_only_for_its_client(world: World) -> None:
    tree_id = await store_tree(world.database, world.ours.client_id)
    found = (await validate(world, treeId=tree_id)).json()
    stored = (await world.ask("GET", f"/api/jobs/{tree_id}", world.ours.key)).json()
    assert (found["treeId"], found["title"]) == (tree_id, stored["title"])
    assert_problem(await validate(world, world.theirs.key, treeId=tree_id), 404, "tree_not_found")


async def test_a_check_says_that_it_did_not_use_the_source_of_the_tree(world: World) -> None:
    tree_id = await store_tree(world.database, world.ours.client_id)
    found = (await validate(world, treeId=tree_id)).json()
    assert "made from 'tides.txt'" in found["checksSkipped"]["source"]
    assert "dataRef" in found["checksSkipped"]["source"]
    assert (
        "source" not in (await validate(world, treeId=tree_id, source={"text": TEXT})).json()["checksSkipped"]
    )
    own = {name: value for name, value in tree().items() if name != "source"}
    assert "source" not in (await validate(world, tree=own)).json()["checksSkipped"]


async def test_a_source_is_a_text_or_own_data(world: World) -> None:
    assert "spans" in (await validate(world, tree=tree(), source={"text": TEXT})).json()["checksRun"]
    made = await granulate(world, type="quiz", topic="x", source={"text": TEXT})
    assert made.status_code == 202
    reference = (await stored_request(world))[1]["source"]["dataRef"]
    found = await validate(world, tree=tree(), source={"dataRef": reference})
    assert "spans" in found.json()["checksRun"]
    for who, wanted in ((world.theirs.key, reference), (world.ours.key, "data_x")):
        answer = await validate(world, who, tree=tree(), source={"dataRef": wanted})
        assert_problem(answer, 404, "data_not_found")
    both = await validate(world, tree=tree(), source={"text": "x", "dataRef": reference})
    assert assert_problem(both, 422)["errors"][0]["pointer"] == "/source"


async def test_a_tree_that_can_not_be_read_is_refused_with_its_place(world: World) -> None:
    async def fault(**body: Any) -> tuple[str, str]:
        (one, *_) = assert_problem(await validate(world, **body), 422)["errors"]
        return one["pointer"], one["code"]

    assert await fault() == ("/tree", "one_of")
    assert await fault(tree=tree(), treeId="tree_x") == ("/tree", "one_of")
    assert await fault(tree={**tree(), "nodes": [5]}) == ("/tree/nodes/0", "wrong_type")
    assert await fault(tree=tree(), parameters={"depth": 9}) == ("/parameters/depth", "out_of_range")
    assert await fault(tree=tree(), threshold=101) == ("/threshold", "out_of_range")


# What is stored.


async def test_violations_are_filtered_and_paged(world: World) -> None:
    tree_id = await store_tree(world.database, world.ours.client_id)
    known = [("gate", "a"), ("error", "b"), ("error", "c"), ("warning", "b"), ("warning", "d")]
    async with world.database.begin() as tx:
        await tx.raw.execute("DELETE FROM validation_results")
        for position, (severity, rule) in enumerate(known):
            await tx.raw.execute(
                "INSERT INTO validation_results (tree_id, position, severity, rule, path, message) "
                "VALUES ($1, $2, $3, $4, '1', 'm')",
                parse_id("tree", tree_id),
                position,
                severity,
                rule,
            )

    async def ask(query: str = "") -> Any:
        return (await world.ask("GET", f"/api/jobs/{tree_id}/validations?{query}", world.ours.key)).json()

    async def rules(query: str) -> list[str]:
        return [one["rule"] for one in (await ask(query))["data"]]

    everything = (await ask("limit=100"))["data"]
    assert [(one["severity"], one["rule"]) for one in everything] == known
    assert await rules("rule=b") == ["b", "b"]
    assert await rules("severity=warning") == ["b", "d"]
    assert await rules("severity=error&rule=b") == ["b"]
    assert await rules("rule=nothing") == []
    paged: list[Any] = []
    cursor = ""
    while True:
        page = await ask(f"limit=2{cursor}")
        paged += page["data"]
        if not page["hasMore"]:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert paged == everything
    answer = await world.ask("GET", f"/api/jobs/{tree_id}/validations?severity=bad", world.ours.key)
    assert_problem(answer, 422)


async def test_stats_count_the_callers_trees(world: World) -> None:
    empty = (await world.ask("GET", "/api/stats", world.ours.key)).json()
    assert (empty["trees"], empty["complete"], empty["meanScore"]) == (0, True, None)
    for _ in range(2):
        await store_tree(world.database, world.ours.client_id)
    await store_tree(world.database, ClientId(world.theirs.client_id))
    ours = (await world.ask("GET", "/api/stats", world.ours.key)).json()
    score = made_tree()[1].score.score
    assert ours == {
        "trees": 2,
        "complete": True,
        "byType": {"quiz": 2},
        "byState": {"valid": 2},
        "byOrigin": {"offline": 2},
        "meanScore": score,
    }
    assert (await world.ask("GET", "/api/stats", world.admin)).json()["trees"] == 3
