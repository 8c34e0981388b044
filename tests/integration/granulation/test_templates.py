"""Worker templates: what is seeded, how a name is matched, versions, checks, prices."""

from typing import Any

import pytest
from tests.factories import World, assert_problem
from tests.integration.http.test_access import WORKER_TEMPLATE

from aifactory.granulation import template_queries, templates
from aifactory.granulation.parameter_schema import schema_of_type
from aifactory.granulation.parameters import counts_of, read_parameters
from aifactory.granulation.specs import builtin_specs
from aifactory.kernel.db import Database
from aifactory.kernel.errors import Invalid
from aifactory.kernel.page import PageRequest
from aifactory.resources.interface import Tier

pytestmark = pytest.mark.anyio


def template(name: str = "my_quiz", **changes: Any) -> dict[str, Any]:
    return {"name": name, **WORKER_TEMPLATE, **changes}


async def make(world: World, name: str = "my_quiz", **changes: Any) -> Any:
    made = await world.ask("POST", "/api/templates", world.admin, json=template(name, **changes))
    assert made.status_code == 201, made.text
    return made.json()


async def replace(world: World, name: str, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    body = {**WORKER_TEMPLATE, **changes}
    who = {**world.admin, **(headers or {})}
    return await world.ask("PUT", f"/api/templates/{name}", who, json=body)


async def matched(database: Database, name: str, tier: Tier = Tier.ENTERPRISE) -> str:
    async with database.begin() as tx:
        return (await templates.match_template(tx, name, tier)).name


# Seeds.


async def test_every_seeded_template_is_complete_and_its_schema_is_the_types_own(database: Database) -> None:
    async with database.begin() as tx:
        seeded = await template_queries.list_templates(
            tx, structure_type=None, tier=None, page=PageRequest(limit=100)
        )
    small, large = {"quiz_basic_v1", "course_structure_v1"}, {"quiz_generator_v1", "course_structure_v2"}
    assert small | large <= {one.name for one in seeded}
    for one in seeded:
        spec = builtin_specs()[one.structure_type]
        assert one.title, one.name
        assert one.description, one.name
        assert one.tokens_min <= one.tokens_avg <= one.tokens_max
        # When Parameters change, a migration gives the stored schemas what is new.
        assert one.parameter_schema == schema_of_type(spec), one.name
        read_parameters(templates.effective_parameters(one, spec, {}, {}), spec)


async def test_a_larger_template_is_larger_and_stricter_than_its_sibling(world: World) -> None:
    listed = (await world.ask("GET", "/api/templates?limit=100", world.admin)).json()["data"]
    found = {one["name"]: one for one in listed}
    for small, large in (
        ("course_structure_v1", "course_structure_v2"),
        ("quiz_basic_v1", "quiz_generator_v1"),
    ):
        less, more = found[small], found[large]
        spec = builtin_specs()[more["structureType"]]
        sizes = [counts_of(read_parameters(one["defaultParameters"], spec), spec) for one in (less, more)]
        assert all(few < many for few, many in zip(*(one.per_level for one in sizes), strict=True))
        assert sizes[1].nodes > 3 * sizes[0].nodes
        for name in ("tokensMin", "tokensAvg", "tokensMax", "maxInputTokens", "expectedSeconds", "memoryMb"):
            assert more[name] > less[name], name
        assert more["validation"]["threshold"] == spec.bands.accept > less["validation"]["threshold"]
        assert more["validation"]["level"] > less["validation"]["level"]
        assert more["offlineFallback"]


# Matching.


async def test_a_name_means_itself_then_a_structure_type_then_a_part_of_a_name(world: World) -> None:
    await make(world, "quiz")
    await make(world, "another_quiz_for_school")
    assert await matched(world.database, "quiz") == "quiz"
    assert await matched(world.database, "for_school") == "another_quiz_for_school"
    assert await matched(world.database, "FOR_School") == "another_quiz_for_school"
    assert await matched(world.database, "course") == "course_structure_v1"
    await make(world, "a_course_like_a_quiz", structureType="course")
    async with world.database.begin() as tx:
        await template_queries.count_use(tx, "a_course_like_a_quiz", 1)
    assert await matched(world.database, "like_a_quiz") == "a_course_like_a_quiz"
    await replace(world, "quiz", active=False)
    assert await matched(world.database, "quiz") == "another_quiz_for_school"


async def test_of_the_templates_of_a_type_the_most_used_is_meant(world: World) -> None:
    await make(world, "a_quiz")
    assert await matched(world.database, "quiz") == "a_quiz"
    async with world.database.begin() as tx:
        await template_queries.count_use(tx, "quiz_basic_v1", 1)
    assert await matched(world.database, "quiz") == "quiz_basic_v1"
    async with world.database.begin() as tx:
        await template_queries.count_use(tx, "a_quiz", 1)
        await template_queries.count_use(tx, "a_quiz", 1)
    await replace(world, "a_quiz")
    assert await matched(world.database, "quiz") == "a_quiz"


async def test_counting_a_use_waits_for_nobody(database: Database) -> None:
    async def uses() -> int:
        async with database.begin() as tx:
            found = await template_queries.find_template(tx, "quiz_basic_v1")
        assert found is not None
        return found.uses

    async with database.begin() as one:
        await template_queries.count_use(one, "quiz_basic_v1", 1)
        async with database.begin() as other:
            await other.raw.execute("SET LOCAL lock_timeout = '5s'")
            await template_queries.count_use(other, "quiz_basic_v1", 1)
    assert await uses() == 1


@pytest.mark.parametrize(
    "name", ["quizz_basic_v1", "course_structure_v9", "%", "quiz%v1", "' OR 1=1 --", "x" * 3000]
)
async def test_a_name_that_means_nothing_is_a_404_with_near_names(world: World, name: str) -> None:
    answer = await world.ask("GET", f"/api/templates/{name}", world.ours.key)
    problem = assert_problem(answer, 404, "worker_template_not_found")
    assert problem["nearNames"]
    if name.startswith("quizz"):
        assert problem["nearNames"][0] == "quiz_basic_v1"
    if name.startswith("course"):
        assert set(problem["nearNames"][:2]) == {"course_structure_v1", "course_structure_v2"}


# Reading.


async def test_the_list_shows_what_the_caller_may_use_and_what_it_costs(world: World) -> None:
    await make(world, "premium_quiz", minimumTier="premium", tierReason="long")
    listed = (await world.ask("GET", "/api/templates", world.ours.key)).json()["data"]
    found = {one["name"]: one for one in listed}
    assert (found["premium_quiz"]["allowed"], found["premium_quiz"]["requiredTier"]) == (False, "premium")
    assert (found["quiz_basic_v1"]["allowed"], found["quiz_basic_v1"]["requiredTier"]) == (True, None)
    for one in listed:
        assert 0 < one["estimatedCostUsd"] <= one["worstCostUsd"]
    operators = (await world.ask("GET", "/api/templates?tier=premium", world.admin)).json()["data"]
    assert {one["name"]: one["allowed"] for one in operators} == {
        "premium_quiz": True,
        "course_structure_v2": True,
        "knowledge_map_v1": True,
        "novel_structure_v1": True,
    }


async def test_the_list_is_filtered_and_paged(world: World) -> None:
    async def names(query: str) -> list[str]:
        page = (await world.ask("GET", f"/api/templates?{query}", world.ours.key)).json()
        return [one["name"] for one in page["data"]]

    assert sorted(await names("type=course")) == ["course_structure_v1", "course_structure_v2"]
    assert "course_structure_v1" in await names("tier=standard")
    assert "course_structure_v1" not in await names("tier=basic")
    assert await names("type=nonsense") == []
    everything = await names("limit=100")
    first = (await world.ask("GET", "/api/templates?limit=1", world.ours.key)).json()
    rest = await names(f"limit=100&cursor={first['nextCursor']}")
    assert [first["data"][0]["name"], *rest] == everything
    assert_problem(await world.ask("GET", "/api/templates?tier=gold", world.ours.key), 422)


# Storing.


async def test_a_new_template_is_usable_at_once_and_complete(world: World) -> None:
    made = await make(
        world,
        defaultParameters={"granularityLevel": 2},
        parameterSchema={"properties": {"granularityLevel": {"maximum": 2}}},
        validation={"threshold": 75},
        models=["sim-small", "simulated/sim-large"],
        offlineFallback=False,
    )
    shown = (await world.ask("GET", "/api/templates/my_quiz", world.ours.key)).json()
    assert made.items() <= shown.items()
    assert made["validation"] == {"enabled": True, "level": 1, "threshold": 75}
    assert made["validationRules"] == list(builtin_specs()["quiz"].rules)
    assert (made["version"], made["active"], made["uses"]) == (1, True, 0)


async def test_without_a_schema_of_its_own_a_template_gets_the_types(world: World) -> None:
    assert (await make(world))["parameterSchema"] == schema_of_type(builtin_specs()["quiz"])


async def test_a_taken_name_is_a_conflict_and_a_repeated_creation_is_not(world: World) -> None:
    key = {**world.admin, "Idempotency-Key": "once"}
    first = await world.ask("POST", "/api/templates", key, json=template())
    again = await world.ask("POST", "/api/templates", key, json=template())
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    taken = await world.ask("POST", "/api/templates", world.admin, json=template())
    assert_problem(taken, 409, "worker_template_exists")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": "Bad Name"}, "/name"),
        ({"structureType": "opera"}, "/structureType"),
        ({"minimumTier": "gold"}, "/minimumTier"),
        ({"tokensMin": 5}, "/tokensAvg"),
        ({"tokensMax": 1}, "/tokensAvg"),
        ({"tokensMin": 0}, "/tokensMin"),
        ({"validation": {"threshold": 101}}, "/validation/threshold"),
        ({"validation": {"level": 4}}, "/validation/level"),
        ({"models": ["a", "a"]}, "/models"),
        ({"models": ["no name"]}, "/models/0"),
        ({"defaultParameters": {"granularityLevel": 6}}, "/defaultParameters/granularityLevel"),
        ({"defaultParameters": {"size": {"perLevel": [100, 100]}}}, "/defaultParameters/size"),
        ({"defaultParameters": {"structureType": "course"}}, "/defaultParameters/structureType"),
        ({"defaultParameters": {"source": {"dataRef": "x"}}}, "/defaultParameters/source"),
        ({"defaultParameters": {"validation": {}}}, "/defaultParameters/validation"),
        ({"parameterSchema": {"type": "obj"}}, "/parameterSchema/type"),
        ({"parameterSchema": {"required": ["topic"]}}, "/defaultParameters/topic"),
        ({"parameterSchema": {"$ref": "https://example.com"}}, "/parameterSchema/$ref"),
    ],
)
async def test_what_can_not_work_is_not_stored(world: World, changes: Any, pointer: str) -> None:
    before = await world.count_rows()
    answer = await world.ask("POST", "/api/templates", world.admin, json=template(**changes))
    assert assert_problem(answer, 422)["errors"][0]["pointer"] == pointer
    assert await world.count_rows() == before


async def test_versions_are_kept_and_the_newest_active_one_is_used(world: World) -> None:
    await make(world)
    second = await replace(world, "my_quiz", title="Second")
    assert (second.json()["version"], second.headers["etag"]) == (2, '"2"')
    shown = await world.ask("GET", "/api/templates/my_quiz", world.ours.key)
    assert (shown.json()["title"], shown.headers["etag"]) == ("Second", '"2"')
    first = (await world.ask("GET", "/api/templates/my_quiz/versions?limit=1", world.ours.key)).json()
    assert [one["version"] for one in first["data"]] == [2]
    path = f"/api/templates/my_quiz/versions?cursor={first['nextCursor']}"
    rest = (await world.ask("GET", path, world.ours.key)).json()
    assert [(one["version"], one["title"]) for one in rest["data"]] == [(1, "T")]
    await replace(world, "my_quiz", active=False)
    assert_problem(await world.ask("GET", "/api/templates/my_quiz", world.ours.key), 404)
    versions = (await world.ask("GET", "/api/templates/my_quiz/versions", world.ours.key)).json()
    assert [one["active"] for one in versions["data"]] == [False, False, False]
    await replace(world, "my_quiz")
    assert (await world.ask("GET", "/api/templates/my_quiz", world.ours.key)).json()["version"] == 4


async def test_if_match_guards_against_lost_changes(world: World) -> None:
    await make(world)
    assert (await replace(world, "my_quiz", {"If-Match": '"1"'})).status_code == 200
    problem = assert_problem(await replace(world, "my_quiz", {"If-Match": '"1"'}), 412, "version_changed")
    assert problem["currentVersion"] == 2
    assert (await replace(world, "my_quiz", {"If-Match": "*"})).status_code == 200
    assert_problem(await replace(world, "nothing_here"), 404, "worker_template_not_found")


async def test_of_changes_at_once_each_counts_or_is_refused_in_words(world: World) -> None:
    path, body = "/api/templates/my_quiz", template()
    del body["name"]
    made = await world.ask_at_once(4, "POST", "/api/templates", world.admin, json=template())
    assert made == [201, 409, 409, 409]
    ours = {**world.admin, "If-Match": '"1"'}
    assert await world.ask_at_once(4, "PUT", path, ours, json=body) == [200, 412, 412, 412]
    assert await world.ask_at_once(4, "PUT", path, world.admin, json=body) == [200] * 4
    assert (await world.ask("GET", path, world.admin)).json()["version"] == 6


async def test_changes_are_audited_with_what_was_before(world: World) -> None:
    await make(world)
    await replace(world, "my_quiz", title="Second")
    async with world.database.begin() as tx:
        rows = await tx.raw.fetch(
            "SELECT before, after FROM audit_log WHERE object_kind = 'worker_template' ORDER BY id"
        )
    assert rows[0]["before"] is None
    assert (rows[1]["before"]["title"], rows[1]["after"]["title"]) == ("T", "Second")
    assert (rows[1]["before"]["version"], rows[1]["after"]["version"]) == (1, 2)


async def test_a_templates_own_schema_restricts_what_a_client_may_ask(world: World) -> None:
    await make(
        world,
        defaultParameters={"depth": 1},
        parameterSchema={"properties": {"depth": {"maximum": 1}}},
        validation={"threshold": 80},
    )
    async with world.database.begin() as tx:
        found = await templates.match_template(tx, "my_quiz", Tier.BASIC)
    quiz = builtin_specs()["quiz"]
    merged = templates.effective_parameters(found, quiz, {"validation": {"level": 2}}, {"topic": "x"})
    assert merged["validation"] == {"enabled": True, "level": 2, "threshold": 80}
    assert (merged["depth"], merged["topic"]) == (1, "x")
    with pytest.raises(Invalid) as caught:
        templates.effective_parameters(found, quiz, {"depth": 2}, {})
    assert [one.pointer for one in caught.value.errors] == ["/parameters/depth"]
