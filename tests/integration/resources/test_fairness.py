"""A bounded version of ``python -m prove fairness``, and broken twins that it must catch."""

import pytest

from aifactory.kernel.db import Database
from aifactory.resources import policy
from prove import fairness
from prove.fairness_ground import CASES, SIZES, Terms, open_ground

pytestmark = pytest.mark.anyio

TERMS = Terms(
    backlog=200, own=5, cases=CASES[:2], clients=10, sizes=SIZES[:2], starts=240, flooded=3
)  # fmt: skip


async def test_small_clients_tiers_queues_and_urgent_work_get_what_is_published(database: Database) -> None:
    tables = await fairness.run(database, TERMS)
    for table in tables:
        print(table.title, *table.rows, sep="\n")
    assert {table.title: table.broken for table in tables if table.broken} == {}
    assert [len(table.rows) for table in tables] == [3, 3, 4, 5, 6, 4]


async def test_a_scheduler_without_its_guard_or_its_fair_queue_is_caught(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_ground(database, TERMS) as ground:
        with monkeypatch.context() as broken:
            broken.setattr(policy, "GUARD_EVERY", 10**9)
            assert len((await fairness.bound_of_guard(ground)).broken) == 2
        await ground.turns.execute("UPDATE queues SET policy = 'score'")
        assert (await fairness.small_behind_large(ground)).broken
