"""Decks and documents through the engine: executed, scored, stored; thin sources refused with a reason."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.integration.granulation.test_worker import factory, make_client, run, submit

from aifactory.factory import Factory
from aifactory.granulation import queries
from aifactory.granulation.exports import EXPORTS
from aifactory.granulation.tree import Tree, leaves, walk
from aifactory.kernel.errors import AppError
from aifactory.kernel.ids import TreeId, new_id, parse_id
from aifactory.resources.interface import ExecutionState, ExecutionView, Tier

pytestmark = pytest.mark.anyio
__all__ = ["factory"]

WATER = (Path(__file__).parents[3] / "examples" / "drinking-water.md").read_text()
FLASHCARDS, DOCUMENT = "content_granulation_flashcards", "content_granulation_document"


def source(content: str = WATER) -> dict[str, Any]:
    return {"text": content, "format": "markdown", "name": "drinking-water.md"}


async def stored_tree(factory: Factory, execution: ExecutionView) -> Tree:
    assert execution.result is not None
    tree_id = TreeId(parse_id("tree", execution.result["treeId"]) or new_id())
    async with factory.database.begin() as tx:
        stored = await queries.find_tree(tx, client_id=execution.client_id, tree_id=tree_id)
        assert stored is not None
        return await queries.load_tree(tx, stored)


@pytest.mark.parametrize(
    ("template", "kinds"),
    [(FLASHCARDS, {"group", "card"}), (DOCUMENT, {"section", "subsection", "point"})],
)
async def test_a_source_becomes_a_tree_that_is_accepted_and_leaves_in_every_format(
    factory: Factory, template: str, kinds: set[str]
) -> None:
    execution = await run(factory, template, source=source())
    assert execution.state is ExecutionState.SUCCEEDED
    assert execution.result is not None
    assert execution.result["score"] >= 75
    tree = await stored_tree(factory, execution)
    assert {node.kind for _, node in walk(tree)} == kinds
    assert all(
        WATER[span.start : span.end] == span.quote for _, leaf in leaves(tree) for span in leaf.sources
    )
    for export in EXPORTS.values():
        written = export.write(tree)
        assert written == export.write(msgspec.json.decode(msgspec.json.encode(tree), type=Tree))
    assert 0 < execution.spent_nano < execution.held_nano


@pytest.mark.parametrize("template", [FLASHCARDS, DOCUMENT])
async def test_a_source_with_too_little_in_it_says_so(factory: Factory, template: str) -> None:
    thin = "The tide rises. " * 30 + "Nothing more can be said about it here, however long one tries."
    execution = await run(factory, template, source=source(thin))
    assert execution.state is ExecutionState.FAILED
    assert [reason.code for reason in execution.reasons] == ["source_too_thin"]


async def test_the_smallest_tier_may_have_both(factory: Factory) -> None:
    client_id = await make_client(factory, Tier.BASIC)
    for template in (FLASHCARDS, DOCUMENT):
        await submit(factory, client_id, template, source=source())


async def test_a_deck_that_is_too_large_is_refused(factory: Factory) -> None:
    client_id = await make_client(factory)
    with pytest.raises(AppError) as refused:
        await submit(factory, client_id, FLASHCARDS, source=source(), size={"perLevel": [60, 60]})
    assert refused.value.errors[0].code == "bad_size"
