"""The seeded pipelines, with the offline generator and with models, through whole engines."""

import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.factories import make_user
from tests.integration.granulation.test_model_path import assert_books_agree, simulated
from tests.integration.granulation.test_worker import make_client, submit, text

from aifactory.factory import Factory, build_factory
from aifactory.granulation import queries
from aifactory.granulation.tree import Tree, walk
from aifactory.kernel.db import Database
from aifactory.kernel.errors import Invalid
from aifactory.kernel.ids import TreeId, parse_id, text_id
from aifactory.kernel.principal import Role
from aifactory.resources.audit import audit
from aifactory.resources.interface import ExecutionState, ExecutionView, FlowStage, NewRequest, Tier
from aifactory.server import build_app
from aifactory.settings import Settings
from devprovider.running import Running
from prove.ground import Ground

pytestmark = pytest.mark.anyio

COURSE_WITH_QUIZ, COMPLETE = "course_with_quiz", "complete_education_pipeline"
EXTRAS = "document_with_extras"
GUIDE = Path(__file__).parents[3] / "docs" / "pipelines.md"
SMALL = {"granularityLevel": 1}


@pytest.fixture
async def factory(database: Database) -> Factory:
    """A factory whose engine is not started."""
    return build_factory(Settings(local_workers=1), database)


async def trees_of(database: Database, view: ExecutionView) -> dict[str, Tree]:
    """Load the tree of every stage that made one."""
    found: dict[str, Tree] = {}
    async with database.begin() as tx:
        for name, outputs in (view.result or {}).items():
            tree_id = parse_id("tree", outputs["treeId"])
            assert tree_id is not None
            stored = await queries.find_tree(tx, client_id=view.client_id, tree_id=TreeId(tree_id))
            assert stored is not None
            found[name] = await queries.load_tree(tx, stored)
    return found


def objectives_of(tree: Tree) -> dict[str, tuple[str, str]]:
    """The objectives of a tree, at its root or in its nodes, by id."""
    own = list(tree.fields.get("objectives", ()))
    for _, node in walk(tree):
        own += node.fields.get("objectives", ())
    return {one["id"]: (one["text"], one["bloom"]) for one in own}


def assert_quiz_tests_course(quiz: Tree, course: Tree) -> None:
    """The quiz's objectives are the course's, word for word, and every item tests one of them."""
    taught, tested = objectives_of(course), objectives_of(quiz)
    assert len(tested) >= 3
    assert tested.items() <= taught.items()
    items = [item for _, node in walk(quiz) for item in node.items]
    assert len(items) >= 6
    assert {name for item in items for name in item.objective_ids} == tested.keys()
    assert {name for node in quiz.nodes for name in node.fields["objectiveIds"]} == tested.keys()
    assert {row["objectiveId"] for row in quiz.fields["blueprint"]} <= tested.keys()


def states(view: ExecutionView) -> dict[str | None, str]:
    return {stage.name: stage.state.value for stage in view.stages}


async def run_all(factory: Factory, asked: list[tuple[str, dict[str, Any]]]) -> list[ExecutionView]:
    """Execute requests for one source side by side; the books must balance afterwards."""
    client_id = await make_client(factory)
    async with factory.engine.start():
        given = [
            await submit(factory, client_id, template, source=text(), **SMALL, **parameters)
            for template, parameters in asked
        ]
        ground = Ground(factory=factory, provider=Running(), client_id=client_id)
        ids = [one.execution_id for one in given]
        views = await ground.ended(ids, 60)
    assert (await audit(factory.database)).differences == []
    return [views[one] for one in ids]


async def test_pipelines_of_the_offline_generator(factory: Factory) -> None:
    german = {"stages": {"flashcards": {"language": "de"}}}
    titled = {"stages": {"flashcards": {"granularityLevel": 2, "title": "Tide cards"}}}
    asked = [(COMPLETE, titled), (EXTRAS, {}), (EXTRAS, {"stages": {"quiz": {}}}), (EXTRAS, german)]
    whole, small, with_quiz, without_cards = await run_all(factory, asked)
    await assert_complete(factory, whole)

    # A quiz is made of a small document only if it is asked for, and costs nothing if it is not.
    assert small.state is with_quiz.state is ExecutionState.SUCCEEDED, small.reasons
    assert ([one.code for one in small.stages[2].reasons], small.reasons) == (["not_wanted"], ())
    assert states(small) == {"document": "succeeded", "flashcards": "succeeded", "quiz": "skipped"}
    assert set(small.result or {}) == {"document", "flashcards"}
    assert states(with_quiz) == dict.fromkeys(("document", "flashcards", "quiz"), "succeeded")
    assert small.held_nano == with_quiz.held_nano
    assert small.spent_nano < with_quiz.spent_nano

    # An optional stage that fails leaves a partial result that says which.
    assert without_cards.state is ExecutionState.PARTIAL
    assert states(without_cards) == {"document": "succeeded", "flashcards": "failed", "quiz": "skipped"}
    assert [one.code for one in without_cards.reasons] == ["language_mismatch"]
    assert without_cards.reasons[0].message.startswith("Stage flashcards: ")


async def assert_complete(factory: Factory, view: ExecutionView) -> None:
    """One source has become a course, a quiz on its objectives, and cards with parameters of their own."""
    assert view.state is ExecutionState.SUCCEEDED, view.reasons
    assert states(view) == dict.fromkeys(("course", "quiz", "flashcards"), "succeeded")
    trees = await trees_of(factory.database, view)
    assert_quiz_tests_course(trees["quiz"], trees["course"])
    assert trees["flashcards"].title == "Tide cards"
    assert trees["course"].title == trees["quiz"].title != "Tide cards"
    assert (len(trees["course"].nodes), len(trees["flashcards"].nodes)) == (3, 3)
    course = (view.result or {})["course"]
    assert course["counts"]["module"] == len(trees["course"].nodes)
    assert course["language"] == "en"


BAD_PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"stages": {"quizz": {}}}, "/parameters/stages/quizz"),
    ({"stages": {"quiz": {"depth": 9}}}, "/parameters/stages/quiz/depth"),
    ({"stages": {"quiz": {"size": {"perLevel": [900, 900]}}}}, "/parameters/stages/quiz/size"),
    ({"stages": {"quiz": {"surprise": 1}}}, "/parameters/stages/quiz/surprise"),
    ({"structureType": "course"}, "/parameters/structureType"),
    ({"depth": 9}, "/parameters/depth"),
]


async def test_parameters_that_a_stage_can_not_take_are_refused_with_its_name(factory: Factory) -> None:
    client_id = await make_client(factory)
    for parameters, pointer in BAD_PARAMETERS:
        with pytest.raises(Invalid) as refused:
            await submit(factory, client_id, COURSE_WITH_QUIZ, source=text(), **parameters)
        assert [one.pointer for one in refused.value.errors] == [pointer]
        assert "quiz" in refused.value.detail or "course" in refused.value.detail
    async with factory.database.begin() as tx:
        assert await tx.raw.fetchval("SELECT count(*) FROM executions") == 0


async def test_the_list_prices_all_stages_and_asks_for_the_highest_tier(factory: Factory) -> None:
    async with factory.database.begin() as tx:
        told = {}
        for name in ("content_granulation_course", "content_granulation_quiz", COURSE_WITH_QUIZ, COMPLETE):
            template = await factory.book.get_template(tx, name)
            told[name] = await factory.resources.describe_flow(tx, template.flow, Tier.ENTERPRISE)
    course, quiz, both, whole = told.values()
    assert both[0] is whole[0] is Tier.STANDARD
    together = course[1].estimated_nano + quiz[1].estimated_nano
    assert together < both[1].estimated_nano < 2 * together
    assert both[1].worst_nano < whole[1].worst_nano


async def submitted(factory: Factory, flow: list[dict[str, Any]], **parameters: Any) -> Any:
    """Submit a flow of one's own for a new client."""
    client_id = await make_client(factory)
    request = NewRequest(client_id=client_id, key_id=None, template=COMPLETE, parameters=parameters)
    async with factory.database.begin() as tx:
        new = await factory.book.open_request(tx, request)
        own = msgspec.convert([{"worker": "granulation", **one} for one in flow], tuple[FlowStage, ...])
        return await factory.resources.submit(tx, msgspec.structs.replace(new, flow=own))


async def test_models_write_a_quiz_for_their_course_and_cards_from_their_document(database: Database) -> None:
    flow = [
        {"name": "document", "templateRef": "document_basic_v1"},
        {
            "name": "cards",
            "templateRef": "flashcards_basic_v1",
            "inputMapping": {"source": "/stages/document/outputs/tree"},
        },
    ]
    topic = {"topic": "Safe water at home", **SMALL, "validation": {"threshold": 0}}
    async with simulated(database) as ground:
        client_id = await make_client(ground.factory)
        taught = (await submit(ground.factory, client_id, COURSE_WITH_QUIZ, **topic)).execution_id
        read = (await submitted(ground.factory, flow, **topic)).execution_id
        views = await ground.ended([taught, read], 60)
        for view in views.values():
            assert view.state is ExecutionState.SUCCEEDED, view.reasons
        trees = await trees_of(database, views[taught])
        assert_quiz_tests_course(trees["quiz"], trees["course"])
        assert trees["quiz"].origin == "simulated"
        trees = await trees_of(database, views[read])
        source = trees["cards"].source
        assert source is not None
        assert source.name == trees["document"].title
        assert any(node.sources for _, node in walk(trees["cards"]))
    await assert_books_agree(ground)


async def test_where_models_fail_the_offline_generator_takes_a_stage_over_if_its_flow_says_so(
    database: Database,
) -> None:
    async with simulated(database, faults={"garbage": 1.0}) as ground:
        async with database.begin() as tx:
            await tx.raw.execute("UPDATE granulator_templates SET offline_fallback = false")
        ids = []
        for on_failure in ("offline", "fail"):
            flow = [{"templateRef": "quiz_basic_v1", "onFailure": on_failure, "retries": 0}]
            ids.append((await submitted(ground.factory, flow, source=text(), **SMALL)).execution_id)
        views = await ground.ended(ids, 60)
        taken_over, failed = views[ids[0]], views[ids[1]]
        assert taken_over.state is ExecutionState.PARTIAL
        assert [one.code for one in taken_over.reasons] == ["written_offline"]
        assert (taken_over.result or {})["origin"] == "offline"
        assert failed.state is ExecutionState.FAILED
        assert [one.code for one in failed.reasons] == ["unreadable"]
    await assert_books_agree(ground)


async def test_the_examples_of_the_documentation_work(factory: Factory) -> None:
    asked, template = map(msgspec.json.decode, re.findall(r"```json\n(.*?)```", GUIDE.read_text(), re.DOTALL))
    app = build_app(factory)
    admin = await make_user(factory.database, "root", Role.ADMIN)
    client_id = text_id("client", await make_client(factory))
    asked["parameters"]["source"]["text"] = text()["text"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        made = await http.post("/api/master-templates", json=template, headers=admin)
        assert made.status_code == 201, made.text
        for given, stored in zip(template["flow"], made.json()["flow"], strict=True):
            assert given.items() <= stored.items()
        shown = (await http.get("/api/master-templates/handbook", headers=admin)).json()
        assert shown["requiredTier"] == "basic"
        assert 0 < shown["estimatedCostUsd"] < shown["worstCostUsd"]
        for name in (asked["template"], "handbook"):
            body = {**asked, "template": name, "clientId": client_id}
            body["parameters"] = {**asked["parameters"], "stages": {"quiz": {"depth": 2}}}
            answer = await http.post("/requests", json=body, headers=admin)
            assert answer.status_code == 202, answer.text
        answer = await http.post("/requests", json={**asked, "clientId": client_id}, headers=admin)
        assert answer.status_code == 202, answer.text
        status = (await http.get(f"/requests/{answer.json()['id']}/status", headers=admin)).json()
        assert [one["name"] for one in status["stages"]] == ["course", "quiz", "flashcards"]


GRANULATED: dict[str, Any] = {"worker": "granulation", "templateRef": "quiz_basic_v1"}


BAD_STAGES: list[tuple[dict[str, Any], str, str]] = [
    ({"templateRef": "quizz_basic_v1"}, "/flow/1/templateRef", "worker_template_not_found"),
    ({"action": "granulated"}, "/flow/1/action", "unknown_action"),
    ({"paramsOverride": {"dept": 2}}, "/flow/1/paramsOverride/dept", "unknown_field"),
    ({"inputMapping": {"words": "/request/x"}}, "/flow/1/inputMapping/words", "unknown_target"),
    ({"inputMapping": {"objectives": "/request/x"}}, "/flow/1/inputMapping/objectives", "wrong_kind"),
]


async def test_a_flow_that_granulation_can_not_run_is_refused_when_it_is_stored(factory: Factory) -> None:
    async with factory.database.begin() as tx:
        for changes, pointer, code in BAD_STAGES:
            flow = msgspec.convert([GRANULATED, {**GRANULATED, **changes}], tuple[FlowStage, ...])
            with pytest.raises(Invalid) as refused:
                await factory.resources.describe_flow(tx, flow, Tier.ENTERPRISE)
            assert [(one.pointer, one.code) for one in refused.value.errors] == [(pointer, code)]
