"""Structure types of an operator's own: added, changed and used as data while servers run."""

import copy
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest
from tests.factories import World, assert_problem, make_tenant
from tests.integration.granulation.test_tiers import real, real_world
from tests.integration.granulation.test_worker import TIDES
from tests.integration.http.test_access import STRUCTURE_TYPE, WORKER_TEMPLATE

from aifactory.granulation import checking
from aifactory.granulation.late_calls import LateCalls
from aifactory.granulation.service import Granulation
from aifactory.granulation.specs import StructureSpec, builtin_specs
from aifactory.kernel.errors import Invalid
from aifactory.resources.audit import audit
from aifactory.resources.interface import FlowStage, Model, ModelChoice, StageInputs, Tier

pytestmark = pytest.mark.anyio
__all__ = ["real"]

PATH = "/api/structure-types"
# Another shape of the same type: other kinds, one level more.
SECOND = {
    **STRUCTURE_TYPE,
    "title": "Rounds",
    "levels": [
        {"kind": "round", "title": "Round", "min": 1, "max": 6, "summary": "required"},
        {"kind": "stop", "title": "Stop", "min": 1, "max": 8, "fields": {"note": {"type": "text"}}},
    ],
    "presets": {"1": [2, 2], "3": [3, 3]},
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """Return the type with one value replaced or added."""
    spec: Any = copy.deepcopy(STRUCTURE_TYPE)
    *parents, last = place.split("/")
    inner = spec
    for step in parents:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    inner[last] = value
    return dict(spec)


async def add(world: World, spec: Any = STRUCTURE_TYPE) -> Any:
    made = await world.ask("POST", PATH, world.admin, json=spec)
    assert made.status_code == 201, made.text
    return made


async def put(world: World, spec: Any, query: str = "", **headers: str) -> Any:
    who = {**world.admin, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await world.ask("PUT", f"{PATH}/checklist{query}", who, json=spec)


async def offer(world: World) -> None:
    """Make a worker template of the type and the master template that is it alone."""
    template = {**WORKER_TEMPLATE, "name": "checklist_v1", "structureType": "checklist"}
    template["defaultParameters"] = {"granularityLevel": 1}
    flow = [{"worker": "granulation", "templateRef": "checklist_v1"}]
    master = {"name": "content_granulation_checklist", "title": "Checklist", "flow": flow}
    for path, body in (("/api/templates", template), ("/api/master-templates", master)):
        made = await world.ask("POST", path, world.admin, json=body)
        assert made.status_code == 201, made.text


async def ask_for_one(world: World) -> Any:
    source = {"text": TIDES, "format": "text", "name": "tides.txt"}
    body = {"type": "checklist", "source": source, "validation": {"threshold": 0}}
    asked = await world.ask("POST", "/api/granulate", world.ours.key, json=body)
    assert asked.status_code == 202, asked.text
    return asked.json()["id"]


async def ended(world: World, execution_id: str) -> Any:
    with anyio.fail_after(60):
        while True:
            found = (await world.ask("GET", f"/api/execution/{execution_id}", world.ours.key)).json()
            if found["state"] not in ("queued", "running", "waiting"):
                return found
            await anyio.sleep(0.02)


async def here(function: Callable[..., Any], *given: Any, **_: Any) -> Any:
    """Do in this process what a worker process would do."""
    return checking.examine(*given) if function is checking.run_undisturbed else given[0](*given[1])


# Used.


async def test_types_templates_and_flows_added_now_run_by_the_version_that_they_began_with(
    real: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anyio.to_process, "run_sync", here)
    real.ours = await make_tenant(real, "Small", Tier.BASIC)
    async with real_world(real.database, admin="other") as other:  # which has run all the while
        other.ours = real.ours
        await add(real)
        await offer(other)
        first = await ask_for_one(real)
        assert (await put(other, SECOND)).status_code == 200
        second = await ask_for_one(other)
        async with real.engine.start():
            done = [await ended(real, one) for one in (first, second)]
        assert [one["state"] for one in done] == ["succeeded", "succeeded"], done
        trees = [one["result"]["treeId"] for one in done]
        kinds = []
        for tree in trees:
            job = f"/api/jobs/{tree}"
            told = (await other.ask("GET", f"{job}/export?format=json", real.ours.key)).json()["tree"]
            assert told["structureType"] == "checklist"
            kinds.append({told["nodes"][0]["kind"], told["nodes"][0]["children"][0]["kind"]})
            assert all(leaf["sources"] for node in told["nodes"] for leaf in node["children"])
            text = (await other.ask("GET", f"{job}/export?format=markdown", real.ours.key)).text
            assert told["title"] in text
            assert told["nodes"][0]["children"][0]["title"] in text
        assert kinds == [{"area", "check"}, {"round", "stop"}]
        await checks_against_the_newest(other, trees)
    stats = (await real.ask("GET", "/api/stats", real.ours.key)).json()
    assert "checklist" in msgspec.json.encode(stats).decode()
    progress = await real.ask("GET", f"/api/progress/{first}", real.ours.key)
    assert progress.status_code == 200, progress.text
    assert (await audit(real.database)).differences == []


async def checks_against_the_newest(world: World, trees: list[str]) -> None:
    async def gates(tree: str, **more: Any) -> Any:
        body = {"treeId": tree, **more}
        answer = await world.ask("POST", "/api/validate", world.ours.key, json=body)
        return answer.json()["gatesFailed"] if answer.status_code == 200 else assert_problem(answer, 422)

    assert await gates(trees[0])
    assert await gates(trees[1]) == []
    assert await gates(trees[1], structureType="checklist") == []
    assert (await gates(trees[1], structureType="quiz"))["errors"][0]["code"] == "wrong_type"
    # Out of use, nothing new is made of it; what was made can still be checked.
    assert (await put(world, SECOND, "?active=false")).status_code == 200
    assert await gates(trees[1]) == []
    shown = (await world.ask("GET", "/api/templates/checklist_v1", world.ours.key)).json()
    assert (shown["allowed"], shown["estimatedCostUsd"]) == (True, None)
    source = {"text": TIDES, "format": "text"}
    body = {"type": "checklist", "source": source}
    answer = await world.ask("POST", "/api/granulate", world.ours.key, json=body)
    assert_problem(answer, 404, "structure_type_not_found")


async def test_a_type_that_models_are_not_asked_for_is_made_offline_and_says_why(world: World) -> None:
    linked = changed("levels/1/fields/after/required", True)
    await add(world, {**linked, "type": "linked"})
    await add(world)
    worker = Granulation(processes=1, calls=LateCalls(environ={}))
    model = Model(
        provider="p",
        model="m",
        pool="p",
        context_tokens=100_000,
        max_output_tokens=8_000,
        input_nano_per_million=1,
        output_nano_per_million=1,
    )
    resolved = {}
    for name in ("linked", "checklist"):
        template = {**WORKER_TEMPLATE, "name": f"{name}_v1", "structureType": name}
        await world.ask("POST", "/api/templates", world.admin, json=template)
        stage = FlowStage(worker="granulation", template_ref=f"{name}_v1")
        async with world.database.begin() as tx:
            choice = ModelChoice(models=(model,))
            resolved[name] = await worker.resolve(tx, stage, {"topic": "Tides"}, Tier.BASIC, choice)
    assert resolved["checklist"].settings["generator"] is not None
    settings = resolved["linked"].settings
    assert settings["generator"] is None
    assert "check.after" in settings["whyOffline"]
    nothing = StageInputs(source=None, source_words=0)
    with pytest.raises(Invalid) as refused:
        worker.estimate(resolved["linked"], nothing)
    assert refused.value.errors[0].code == "source_required"
    assert settings["whyOffline"] in refused.value.detail
    assert worker.estimate(resolved["checklist"], nothing)
    listed = (await world.ask("GET", PATH, world.ours.key)).json()["data"]
    told = {one["type"]: one["whyOffline"] for one in listed}
    assert (told["linked"], told["checklist"]) == (settings["whyOffline"], None)


# Stored.


async def test_a_type_is_kept_as_it_was_written_and_listed_among_the_others(world: World) -> None:
    made = await add(world)
    assert (made.json()["version"], made.json()["active"]) == (1, True)
    shown = await world.ask("GET", f"{PATH}/checklist", world.ours.key)
    assert made.headers["location"] == f"{PATH}/checklist"
    assert shown.headers["etag"] == '"1"'
    assert shown.json()["levels"] == STRUCTURE_TYPE["levels"]
    fields = list(shown.json()["levels"][1]["fields"])
    assert fields == list(STRUCTURE_TYPE["levels"][1]["fields"]) != sorted(fields)
    listed = (await world.ask("GET", PATH, world.ours.key)).json()
    assert [one["type"] for one in listed["data"]] == sorted([*builtin_specs(), "checklist"])
    ours = {one["type"]: one for one in listed["data"]}
    assert (ours["quiz"]["builtIn"], ours["checklist"]["builtIn"]) == (True, False)
    assert (ours["quiz"]["whyOffline"], ours["course"]["whyOffline"]) == (None, None)
    assert [level["kind"] for level in ours["checklist"]["levels"]] == ["area", "check"]
    first = (await world.ask("GET", f"{PATH}?limit=2", world.ours.key)).json()
    rest = (await world.ask("GET", f"{PATH}?cursor={first['nextCursor']}", world.ours.key)).json()
    assert [*first["data"], *rest["data"]] == listed["data"]


async def test_the_types_of_the_package_are_shown_as_data_and_stay_as_they_are(world: World) -> None:
    shown = (await world.ask("GET", f"{PATH}/quiz", world.ours.key)).content
    quiz = msgspec.json.decode(shown, type=StructureSpec)
    assert quiz == builtin_specs()["quiz"]
    missing = await world.ask("GET", f"{PATH}/quizz", world.ours.key)
    assert "quiz" in assert_problem(missing, 404, "structure_type_not_found")["nearNames"]
    assert (await world.ask("GET", f"{PATH}/quiz/versions", world.ours.key)).json()["data"] == []
    assert_problem(await world.ask("GET", f"{PATH}/quizz/versions", world.ours.key), 404)
    for method, path in (("POST", PATH), ("PUT", f"{PATH}/quiz")):
        answer = await world.ask(method, path, world.admin, json=msgspec.to_builtins(quiz))
        assert_problem(answer, 409, "built_in_type")


async def test_versions_are_kept_and_changes_do_not_overwrite_each_other(world: World) -> None:
    key = {**world.admin, "Idempotency-Key": "once"}
    twice = [await world.ask("POST", PATH, key, json=STRUCTURE_TYPE) for _ in range(2)]
    assert [one.status_code for one in twice] == [201, 201]
    taken = await world.ask("POST", PATH, world.admin, json=STRUCTURE_TYPE)
    assert_problem(taken, 409, "structure_type_exists")
    second = await put(world, SECOND, If_Match='"1"')
    assert (second.json()["version"], second.headers["etag"]) == (2, '"2"')
    stale = assert_problem(await put(world, SECOND, If_Match='"1"'), 412, "version_changed")
    assert stale["currentVersion"] == 2
    renamed = await put(world, {**SECOND, "type": "other"})
    assert assert_problem(renamed, 422)["errors"][0]["pointer"] == "/type"
    theirs = {**world.admin, "If-Match": '"2"'}
    at_once = await world.ask_at_once(3, "PUT", f"{PATH}/checklist", theirs, json=STRUCTURE_TYPE)
    assert at_once == [200, 412, 412]
    await offer(world)
    assert (await put(world, SECOND, "?active=false")).status_code == 200
    assert_problem(await world.ask("GET", f"{PATH}/checklist", world.ours.key), 404)
    template = {**WORKER_TEMPLATE, "name": "another", "structureType": "checklist"}
    refused = await world.ask("POST", "/api/templates", world.admin, json=template)
    assert assert_problem(refused, 422)["errors"][0]["code"] == "unknown_type"
    shown = await world.ask("GET", "/api/templates/checklist_v1", world.ours.key)
    assert (shown.status_code, shown.json()["structureType"]) == (200, "checklist")
    assert (await put(world, STRUCTURE_TYPE)).status_code == 200
    page = (await world.ask("GET", f"{PATH}/checklist/versions?limit=2", world.ours.key)).json()
    cursor = f"limit=9&cursor={page['nextCursor']}"
    more = (await world.ask("GET", f"{PATH}/checklist/versions?{cursor}", world.ours.key)).json()
    versions = [*page["data"], *more["data"]]
    assert [one["version"] for one in versions] == [5, 4, 3, 2, 1]
    assert [one["active"] for one in versions] == [True, False, False, False, False]
    assert [one["spec"]["title"] for one in versions][-2:] == ["Rounds", "Checklist"]
    async with world.database.begin() as tx:
        sql = "SELECT before, after FROM audit_log WHERE object_kind = 'structure_type' ORDER BY id"
        lines = await tx.raw.fetch(sql)
    assert [one["after"]["version"] for one in lines] == [1, 2, 3, 4, 5]
    assert (lines[1]["before"]["spec"]["title"], lines[1]["after"]["spec"]["title"]) == (
        "Checklist",
        "Rounds",
    )
    assert_problem(await world.ask("PUT", f"{PATH}/nothing", world.admin, json=STRUCTURE_TYPE), 404)


# Refused.


async def test_a_type_that_can_not_be_used_is_told_all_its_faults_and_not_stored(world: World) -> None:
    await add(world, {**STRUCTURE_TYPE, "type": "kept"})
    before = await world.count_rows()
    spec = changed("rules", ["order", "nonsense"])
    spec["weights"] = {"coverage": 0.5, "sparkle": 0.2}
    spec["presets"] = {"9": [1]}
    cast = {"type": "object", "fields": {"place": {"type": "reference"}}}
    spec["rootFields"] = {"cast": {"type": "list", "of": cast}}
    spec["levels"][1]["fields"]["frequency"]["choices"] = []
    problem = assert_problem(await world.ask("POST", PATH, world.admin, json=spec), 422)
    assert {one["pointer"] for one in problem["errors"]} == {
        "/rules",
        "/weights",
        "/presets/9",
        "/rootFields/cast/of/fields/place",
        "/levels/1/fields/frequency",
    }
    deep: dict[str, Any] = {"type": "text"}
    for _ in range(400):
        deep = {"type": "list", "of": deep}
    least = {"type": "list", "min": 50, "of": {"type": "list", "min": 50, "of": {"type": "text"}}}
    for refused, pointer in (
        (changed("type", "myChecklist"), "/type"),
        (changed("levels/0/min", "x"), "/levels/0/min"),
        (changed("presets/3", [100, 100]), "/presets/3"),
        (changed("levels/0/fields", {"many": least}), "/levels/0/fields/many"),
        (changed("description", "x" * 40_000), ""),
    ):
        answer = await world.ask("POST", PATH, world.admin, json=refused)
        assert [one["pointer"] for one in assert_problem(answer, 422)["errors"]] == [pointer]
    answer = await world.ask("POST", PATH, world.admin, json=changed("rootFields", {"deep": deep}))
    assert_problem(answer, 422)
    body = msgspec.json.encode({"nodes": [], "structureType": "\u0000"})
    json = {"Content-Type": "application/json"}
    content = b'{"tree": ' + body + b"}"
    answer = await world.ask("POST", "/api/validate", {**world.ours.key, **json}, content=content)
    assert_problem(answer)
    assert await world.count_rows() == before
