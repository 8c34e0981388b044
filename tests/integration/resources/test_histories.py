"""Random histories: steps interleaved statement by statement, with deaths between any two statements.

The broken twins show that they would be seen: each takes one guard out, and a history must not hold then.
"""

from collections.abc import Callable

import pytest

from aifactory.kernel.db import Database
from prove.databases import Databases
from prove.gates import Terms, run
from prove.histories import twins
from prove.histories.history import tell

pytestmark = pytest.mark.anyio

ROUNDS, SEEDS = 40, 30  #: how far a twin may get, in so many histories: when which runs is not ours to say


async def test_whatever_happens_in_whatever_order_every_limit_and_balance_holds(
    database: Database,
) -> None:
    story = await tell(database, 1, 60)
    assert not story.broken, story.told()
    assert story.starts > 10
    assert story.cuts > 5


@pytest.mark.parametrize("twin", twins.SEEN_SOON)
async def test_a_broken_twin_is_caught(
    server_url: str, template_database: str, twin: Callable[[], twins.Twin]
) -> None:
    databases = Databases(url=server_url, template=template_database)
    found = twins.WHERE_FOUND.get(twin, twins.Found())
    for seed in range(found.seed, found.seed + SEEDS):
        async with databases.fresh() as database:
            with twin():
                story = await tell(database, seed, ROUNDS, actions=found.actions, deaths=found.deaths)
        if story.broken:
            return
    pytest.fail("nobody saw it")


async def test_deciders_that_are_killed_all_the_time_pass_no_gate(database: Database) -> None:
    terms = Terms(starts=150, deciders=3, clients=4, unfinished=6, kill_seconds=0.4, cut_seconds=0.4, kills=2)
    report = await run(database, terms)
    assert report.broken == []
    assert report.starts >= 150
    assert report.kills >= 2
