"""The real worker: what it refuses before anything is held, and whole executions through the engine."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from aifactory.accounts import clients
from aifactory.factory import Factory, build_factory
from aifactory.granulation import queries
from aifactory.granulation.tree import leaves
from aifactory.kernel.db import Database
from aifactory.kernel.errors import AppError
from aifactory.kernel.ids import ClientId, TreeId, new_id, parse_id
from aifactory.resources.audit import audit
from aifactory.resources.interface import ExecutionState, ExecutionView, NewRequest, Tier
from aifactory.settings import Settings

pytestmark = pytest.mark.anyio

TIDES = (Path(__file__).parents[3] / "examples" / "tides.txt").read_text()
QUIZ, COURSE = "content_granulation_quiz", "content_granulation_course"


@pytest.fixture
async def factory(database: Database) -> Factory:
    """A factory whose engine is not started."""
    return build_factory(Settings(local_workers=1), database)


async def make_client(factory: Factory, tier: Tier = Tier.PREMIUM) -> ClientId:
    async with factory.database.begin() as tx:
        new = clients.NewClient(name="C", contact="", tier=tier)
        row, _ = await clients.create_client(tx, resources=factory.resources, new=new, actor="test")
    return ClientId(row.id)


async def submit(factory: Factory, client_id: ClientId, template: str, **parameters: Any) -> Any:
    request = NewRequest(client_id=client_id, key_id=None, template=template, parameters=parameters)
    async with factory.database.begin() as tx:
        new = await factory.book.open_request(tx, request)
        return await factory.resources.submit(tx, new)


async def run(factory: Factory, template: str, **parameters: Any) -> ExecutionView:
    """Execute a request to its end; the books must balance afterwards."""
    client_id = await make_client(factory)
    async with factory.engine.start():
        submitted = await submit(factory, client_id, template, **parameters)
        with anyio.fail_after(60):
            while True:
                async with factory.database.begin() as tx:
                    found = await factory.resources.find_execution(
                        tx, client_id=client_id, execution_id=submitted.execution_id
                    )
                assert found is not None
                if found.state.final:
                    break
                await anyio.sleep(0.02)
    assert (await audit(factory.database)).differences == []
    return found


def text(content: str = TIDES) -> dict[str, Any]:
    return {"text": content, "format": "text", "name": "tides.txt"}


async def test_a_source_becomes_a_scored_tree_whose_leaves_point_into_it(factory: Factory) -> None:
    execution = await run(factory, COURSE, source=text(), granularityLevel=2)
    assert execution.state is ExecutionState.SUCCEEDED
    assert execution.result is not None
    tree_id = TreeId(parse_id("tree", execution.result["treeId"]) or new_id())
    async with factory.database.begin() as tx:
        stored = await queries.find_tree(tx, client_id=execution.client_id, tree_id=tree_id)
        assert stored is not None
        tree = await queries.load_tree(tx, stored)
    spans = [span for _, leaf in leaves(tree) for span in leaf.sources]
    assert len(spans) >= len(list(leaves(tree)))
    assert all(TIDES[span.start : span.end] == span.quote for span in spans)
    assert 0 < execution.spent_nano < execution.held_nano


async def test_a_topic_alone_becomes_a_frame_that_says_so_and_costs_less(factory: Factory) -> None:
    execution = await run(factory, COURSE, topic="tides", mode="offline", granularityLevel=2)
    assert execution.state is ExecutionState.SUCCEEDED
    assert execution.stages[0].jobs_done == 2
    assert execution.result is not None
    assert execution.result["score"] == 60
    assert "from the topic alone" in execution.result["notice"]
    tree_id = TreeId(parse_id("tree", execution.result["treeId"]) or new_id())
    async with factory.database.begin() as tx:
        stored = await queries.find_tree(tx, client_id=execution.client_id, tree_id=tree_id)
        assert stored is not None
        tree = await queries.load_tree(tx, stored)
    assert stored.assessment["templateGrade"] is True
    assert tree.source is None
    assert "without a source" in tree.summary
    assert 0 < execution.spent_nano < execution.held_nano


async def test_a_score_below_the_caller_s_threshold_is_partial_and_says_so(factory: Factory) -> None:
    execution = await run(factory, QUIZ, source=text(), validation={"threshold": 100})
    assert execution.state is ExecutionState.PARTIAL
    assert [reason.code for reason in execution.reasons] == ["below_threshold"]
    assert execution.result is not None


async def test_a_source_that_is_no_prose_fails_with_the_reason_and_is_not_retried(factory: Factory) -> None:
    execution = await run(factory, QUIZ, source=text("12 34 56 78 " * 200))
    assert execution.state is ExecutionState.FAILED
    assert execution.reasons[0].code.startswith("source_")
    assert execution.stages[0].jobs_done == 1


async def test_a_source_in_another_language_than_asked_for_is_refused_and_not_mislabelled(
    factory: Factory,
) -> None:
    execution = await run(factory, QUIZ, source=text(), language="de")
    assert execution.state is ExecutionState.FAILED
    assert [reason.code for reason in execution.reasons] == ["language_mismatch"]


@pytest.mark.parametrize(
    ("template", "parameters", "code"),
    [
        (QUIZ, {"topic": "Gezeiten", "language": "de"}, "source_required"),
        (QUIZ, {}, "topic_required"),
        (QUIZ, {"source": text("Far too short.")}, "source_too_short"),
        (QUIZ, {"source": text(), "structureType": "course"}, "wrong_type"),
        (QUIZ, {"source": text(), "granularityLevel": 6}, ""),
        (QUIZ, {"source": text(), "noSuchParameter": 1}, ""),
        (COURSE, {"source": text(), "size": {"perLevel": [100, 100, 100]}}, "bad_size"),
    ],
)
async def test_what_cannot_be_made_is_refused_before_anything_is_held(
    factory: Factory, template: str, parameters: dict[str, Any], code: str
) -> None:
    client_id = await make_client(factory)
    with pytest.raises(AppError) as refused:
        await submit(factory, client_id, template, **parameters)
    assert refused.value.status == 422
    assert refused.value.errors[0].pointer.startswith("/parameters")
    assert code in ("", refused.value.errors[0].code)
    async with factory.database.begin() as tx:
        assert await tx.raw.fetchval("SELECT count(*) FROM executions") == 0
        assert await tx.raw.fetchval("SELECT count(*) FROM cost_tracking") == 0
        assert await tx.raw.fetchval("SELECT count(*) FROM client_requests") == 0


async def test_the_tier_is_checked_at_execution(factory: Factory) -> None:
    client_id = await make_client(factory, Tier.BASIC)
    with pytest.raises(AppError) as refused:
        await submit(factory, client_id, COURSE, source=text())
    assert (refused.value.status, refused.value.code) == (403, "tier_too_low")
    assert refused.value.extras["requiredTier"] == Tier.STANDARD
    await submit(factory, client_id, QUIZ, source=text())


async def test_an_unknown_worker_template_is_answered_with_the_near_names(factory: Factory) -> None:
    client_id = await make_client(factory)
    async with factory.database.begin() as tx:
        await tx.raw.execute(
            "UPDATE master_templates SET flow = jsonb_set(flow, '{0,templateRef}', '\"quiz_basics\"')"
        )
    with pytest.raises(AppError) as refused:
        await submit(factory, client_id, QUIZ, source=text())
    assert refused.value.status == 404
    assert refused.value.extras["near_names"][0] == "quiz_basic_v1"
