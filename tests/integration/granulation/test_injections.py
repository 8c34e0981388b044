"""Hostile sources through the whole engine, against a provider that obeys any order outside the source."""

from pathlib import Path

import msgspec
import pytest

import prove.ground
from aifactory.granulation.generation.prompts import SYSTEM
from aifactory.granulation.tree import Origin, walk
from aifactory.kernel.db import Database
from aifactory.resources.interface import ExecutionState
from devprovider.running import Running
from devprovider.settings import Settings
from prove.books import compare
from prove.ground import Work, open_ground, tree_of

FOLDER = Path(__file__).parents[2] / "data" / "injections"
WORK = (
    ("course", "ignore-instructions.md"),
    ("quiz", "closing-the-source.md"),
    ("flashcards", "hidden-characters.md"),
    ("document", "delimiters-of-others.md"),
)


@pytest.mark.anyio
async def test_hostile_sources_give_honest_trees_and_equal_books(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prove.ground, "EXAMPLES", FOLDER)
    with Running(Settings(seed=5, gullible=True)) as provider:
        async with open_ground(database, provider) as ground:
            works = [
                Work(
                    structure_type=one,
                    parameters={"granularityLevel": 1, "validation": {"level": 2}},
                    source=name,
                )
                for one, name in WORK
            ]
            ids = [await ground.submit(work) for work in works]
            ended = await ground.ended(ids, 60)
            assert [ended[one].state for one in ids] == [ExecutionState.SUCCEEDED] * len(ids)
            for one, work in zip(ids, works, strict=True):
                made = await tree_of(ground, ended[one])
                assert made is not None
                tree, state = made
                assert state == "valid"
                assert tree.structure_type == work.structure_type
                assert tree.origin is Origin.SIMULATED
                assert SYSTEM.split("\n")[2] not in msgspec.json.encode(tree).decode()
                assert not any("HACKED" in node.title or node.title == "PWNED" for _, node in walk(tree))
        calls = provider.calls()
        assert len(calls) > 4 * len(works)
        assert (await compare(database, calls)).differences == ()
