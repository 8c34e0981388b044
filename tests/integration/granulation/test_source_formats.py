"""A page as a source, through the engine."""

import re
from html import escape

import pytest
from tests.integration.granulation.test_flashcards_document import DOCUMENT, WATER, stored_tree
from tests.integration.granulation.test_worker import factory, run

from aifactory.factory import Factory
from aifactory.resources.interface import ExecutionState

pytestmark = pytest.mark.anyio
__all__ = ["factory"]

# No blank line in it and no mark of a heading: only a reader of HTML finds its sections.
PAGE = "<nav><a href='/'>Home</a></nav>" + "".join(
    f"<h{len(found[1])}>{escape(found[2])}</h{len(found[1])}>"
    if (found := re.match(r"(#+) (.*)", part))
    else f"<p>{escape(part)}</p>"
    for part in WATER.split("\n\n")
)


async def test_a_page_that_is_sent_along_becomes_a_tree_of_its_sections(factory: Factory) -> None:
    execution = await run(factory, DOCUMENT, source={"text": PAGE, "format": "html", "name": "water.html"})
    assert execution.state is ExecutionState.SUCCEEDED
    tree = await stored_tree(factory, execution)
    titles = [node.title for node in tree.nodes]
    assert len(titles) >= 3
    assert not any("<" in title for title in titles)
    assert all(f">{escape(title)}</h2>" in PAGE for title in titles[:2])
