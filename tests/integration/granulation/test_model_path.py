"""Stages that models write, on a real database and over real HTTP to a simulated provider."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aifactory.granulation import queries
from aifactory.granulation.tree import Origin, walk
from aifactory.kernel.db import Database
from aifactory.kernel.errors import Invalid
from aifactory.kernel.ids import TreeId, parse_id
from aifactory.resources.audit import audit
from aifactory.resources.interface import ExecutionState, ExecutionView
from devprovider.running import Running
from prove.books import compare
from prove.ground import Ground, Work, open_ground, tree_of

pytestmark = pytest.mark.anyio
TIDES = "tides.txt"
TOPIC = {"topic": "Safe water at home", "granularityLevel": 1}


@contextlib.asynccontextmanager
async def simulated(database: Database, **knobs: Any) -> AsyncIterator[Ground]:
    with Running() as provider:
        provider.configure(**knobs)
        async with open_ground(database, provider, first_token_seconds=2, idle_seconds=2) as ground:
            yield ground


async def made(ground: Ground, kind: str, source: str | None = None, **parameters: Any) -> ExecutionView:
    work = Work(structure_type=kind, parameters={**TOPIC, **parameters}, source=source)
    execution_id = await ground.submit(work)
    return (await ground.ended([execution_id], 60))[execution_id]


async def made_of_all(
    ground: Ground,
    source: str | None = None,
    kinds: tuple[str, ...] = ("course", "quiz", "flashcards", "document"),
    **given: Any,
) -> dict[str, ExecutionView]:
    """Make a tree of each kind at once; return what became of them by kind."""
    works = {kind: Work(structure_type=kind, parameters={**TOPIC, **given}, source=source) for kind in kinds}
    ids = {kind: await ground.submit(work) for kind, work in works.items()}
    ended = await ground.ended(list(ids.values()), 60)
    return {kind: ended[execution_id] for kind, execution_id in ids.items()}


async def kinds_of_jobs(ground: Ground, view: ExecutionView) -> dict[str, list[str]]:
    """Return the states of an execution's jobs by kind, in order."""
    async with ground.database.begin() as tx:
        rows = await tx.raw.fetch("SELECT kind, state FROM jobs WHERE execution_id = $1 ORDER BY id", view.id)
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["kind"], []).append(row["state"])
    return found


async def assert_books_agree(ground: Ground) -> None:
    assert (await compare(ground.database, ground.provider.calls())).differences == ()
    assert (await audit(ground.database)).differences == []


async def test_a_topic_alone_becomes_a_tree_with_its_models_named(database: Database) -> None:
    async with simulated(database) as ground:
        for kind, view in (await made_of_all(ground, validation={"threshold": 0})).items():
            assert view.state is ExecutionState.SUCCEEDED, (kind, view.reasons)
            assert view.result is not None
            assert view.result["origin"] == "simulated"
            assert view.result["models"] == ["simulated/sim-small"]
            assert "not by a model" in view.result["notice"]
            assert view.spent_nano > 0
            jobs = await kinds_of_jobs(ground, view)
            assert "read" not in jobs, kind
            assert jobs["outline"] == ["succeeded"], kind
    await assert_books_agree(ground)


async def test_types_whose_nodes_refer_to_one_another_are_written_whole_at_level_three(
    database: Database,
) -> None:
    async with simulated(database, faults={"garbage": 0.1, "truncated": 0.1}) as ground:
        kinds = ("learning_path", "knowledge_map", "workflow", "novel")
        given = {"validation": {"threshold": 0}, "granularityLevel": 3}
        for kind, view in (await made_of_all(ground, TIDES, kinds, **given)).items():
            assert view.state is ExecutionState.SUCCEEDED, (kind, view.reasons)
            assert view.result is not None
            assert view.result["origin"] == "simulated"
            stored = await tree_of(ground, view)
            assert stored is not None
            assert max(node.level for _, node in walk(stored[0])) == 3
    await assert_books_agree(ground)


async def test_a_judge_is_asked_from_level_two_on_and_changes_no_score(database: Database) -> None:
    async with simulated(database) as ground:
        view = await made(ground, "quiz", TIDES, validation={"level": 3, "threshold": 0})
        assert view.result is not None
        assert view.result["validation"] == "judged"
        stored = await stored_tree(ground, view)
        assert stored.judgement is not None
        assert {one["key"] for one in stored.judgement["grades"]} == {"coverage", "flow", "audience"}
        assert stored.judgement["model"] == "simulated/sim-small"


async def stored_tree(ground: Ground, view: ExecutionView) -> queries.StoredTree:
    assert view.result is not None
    tree_id = parse_id("tree", view.result["treeId"])
    assert tree_id is not None
    async with ground.database.begin() as tx:
        stored = await queries.find_tree(tx, client_id=None, tree_id=TreeId(tree_id))
    assert stored is not None
    return stored


async def test_cut_answers_are_split_and_never_asked_again_as_they_were(database: Database) -> None:
    async with simulated(database, faults={"truncated": 0.5}) as ground:
        view = await made(ground, "course", TIDES, granularityLevel=2, validation={"threshold": 0})
        assert view.state in (ExecutionState.SUCCEEDED, ExecutionState.PARTIAL), view.reasons
        found = await tree_of(ground, view)
        assert found is not None
        assert max(node.level for _, node in walk(found[0])) == 3
        calls = ground.provider.calls()
        cut = [call for call in calls if call.fault == "truncated"]
        assert cut
        assert all(sum(one.prompt_hash == call.prompt_hash for one in calls) == 1 for call in cut)
    await assert_books_agree(ground)


async def test_when_no_outline_comes_the_offline_generator_writes_and_says_so(database: Database) -> None:
    async with simulated(database, faults={"garbage": 1.0}) as ground:
        view = await made(ground, "quiz", TIDES)
        assert view.state is ExecutionState.PARTIAL
        assert [one.code for one in view.reasons] == ["written_offline"]
        assert view.result is not None
        assert view.result["origin"] == Origin.OFFLINE
        assert view.result["models"] == []
    await assert_books_agree(ground)


async def test_without_a_source_garbage_for_ever_fails_with_the_reason(database: Database) -> None:
    async with simulated(database, faults={"garbage": 1.0}) as ground:
        view = await made(ground, "quiz")
        assert view.state is ExecutionState.FAILED
        assert [one.code for one in view.reasons] == ["unreadable"]
        assert view.result is None
    await assert_books_agree(ground)


async def test_offline_mode_calls_no_model(database: Database) -> None:
    async with simulated(database) as ground:
        view = await made(ground, "quiz", TIDES, mode="offline")
        assert view.state is ExecutionState.SUCCEEDED
        assert view.result is not None
        assert view.result["origin"] == Origin.OFFLINE
        assert ground.provider.calls() == []


async def test_fast_mode_writes_one_child_a_call(database: Database) -> None:
    async with simulated(database) as ground:
        view = await made(ground, "course", TIDES, granularityLevel=2, mode="fast")
        jobs = await kinds_of_jobs(ground, view)
        assert len(jobs["expand"]) == 12
        found = await tree_of(ground, view)
        assert found is not None
        assert [len(node.children) for node in found[0].nodes] == [3, 3, 3, 3]


async def test_a_judge_that_gives_no_answer_leaves_the_result_unverified(database: Database) -> None:
    # An outline and two expansions come; what is asked after them is refused.
    async with simulated(database, script=["", "", "", *["refusal"] * 12]) as ground:
        view = await made(ground, "quiz", TIDES, validation={"level": 2, "threshold": 0})
        assert view.state is ExecutionState.SUCCEEDED, view.reasons
        assert view.result is not None
        assert view.result["validation"] == "unverified"
        assert (await stored_tree(ground, view)).judgement is None
    await assert_books_agree(ground)


async def test_a_repair_that_the_budget_refuses_is_left_out_and_nothing_else_is_lost(
    database: Database,
) -> None:
    async with simulated(database, quality={"titles.duplicate": 1.0, "items.two_keys": 1.0}) as ground:
        execution_id = await ground.submit(
            Work(structure_type="quiz", parameters={**TOPIC, "validation": {"threshold": 0}}, source=TIDES)
        )
        async with ground.database.begin() as tx:  # nothing can be held from now on
            await tx.raw.execute("UPDATE client_resource_limits SET monthly_budget_nano = 0")
        view = (await ground.ended([execution_id], 60))[execution_id]
        assert view.state is ExecutionState.SUCCEEDED, view.reasons
        jobs = await kinds_of_jobs(ground, view)
        assert jobs["patch"] == ["failed"]
        async with ground.database.begin() as tx:
            error = await tx.raw.fetchval("SELECT error->>'code' FROM jobs WHERE kind = 'patch'")
        assert error == "no_money"
    await assert_books_agree(ground)


async def test_what_was_changed_between_answer_and_tree_can_be_read(database: Database) -> None:
    async with simulated(database, quality={"titles.duplicate": 1.0}) as ground:
        view = await made(ground, "quiz", TIDES, validation={"threshold": 0})
        stored = await stored_tree(ground, view)
        patched = [one for one in stored.repairs if one["by"] == "patch"]
        assert patched
        assert all(one["before"] != one["after"] for one in patched)


async def test_the_larger_templates_are_written_whole_and_judged(database: Database) -> None:
    async with simulated(database) as ground:
        works = [
            Work(structure_type=kind, parameters=parameters, source=TIDES, template=template)
            for kind, parameters, template in (
                ("course", TOPIC, "course_structure_v2"),
                ("quiz", {}, "quiz_generator_v1"),
            )
        ]
        course, quiz = [await ground.submit(work) for work in works]
        views = await ground.ended([course, quiz], 60)
        for view in views.values():
            assert view.state is ExecutionState.SUCCEEDED, view.reasons
            assert view.result is not None
            assert (view.result["origin"], view.result["validation"]) == ("simulated", "judged")
            assert view.result["score"] >= 75
            found = await tree_of(ground, view)
            assert found is not None
            assert len({one.kind for _, node in walk(found[0]) for one in node.items}) >= 2
        counts = {one: (view.result or {})["counts"] for one, view in views.items()}
        assert counts[course]["activity"] >= 6  # the third level, which a small course of this size has not
        assert (counts[quiz]["section"], counts[quiz]["item"]) == (8, 80)


async def test_one_level_is_an_outline_and_costs_no_failed_call(database: Database) -> None:
    async with simulated(database) as ground:
        views = await made_of_all(ground, TIDES, depth=1, validation={"threshold": 0})
        for kind, view in views.items():
            assert view.state is ExecutionState.SUCCEEDED, (kind, view.reasons)
            jobs = await kinds_of_jobs(ground, view)
            assert {state for states in jobs.values() for state in states} == {"succeeded"}, kind


async def test_what_no_answer_could_hold_is_refused_before_anything_is_held(database: Database) -> None:
    async with simulated(database) as ground:
        with pytest.raises(Invalid) as refused:
            await made(ground, "course", size={"perLevel": [1500]})
        assert refused.value.errors[0].code == "too_large_for_model"
        assert "offline" not in refused.value.errors[0].message  # which needs a source
        with pytest.raises(Invalid, match="mode: offline"):
            await made(ground, "course", TIDES, size={"perLevel": [1500]})
