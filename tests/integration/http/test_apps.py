"""An app that goes from world to world holds nothing of the one before (see tests/apps.py)."""

import gc
import weakref
from typing import Any

import pytest
from tests.factories import People, assert_problem, open_world

from aifactory.kernel.db import Database
from aifactory.kernel.health import PartHealth
from aifactory.settings import Settings

pytestmark = pytest.mark.anyio


async def test_an_app_of_a_world_before_knows_the_new_world_only(database: Database, people: People) -> None:
    async def ill() -> PartHealth:
        return PartHealth(ok=False)

    metrics: dict[str, Any] = {"headers": {"Authorization": "Bearer a monitor's long secret token"}}
    settings = Settings(scheduler=False, metrics_token="a monitor's long secret token")
    async with open_world(database, settings=settings, people=people, health={"part": ill}) as first:
        app, state = first.app, first.app.state
        assert_problem(await first.ask("GET", "/health/ready"), 503)
        assert (await first.ask("GET", "/metrics", **metrics)).status_code == 200
        async with open_world(database, people=people) as other:
            assert other.app is not app, "two worlds at once have two apps"
    remembered = [weakref.ref(one) for one in (first.engine, first.resources, state.authenticator)]
    del first, other, state
    gc.collect()
    assert [one() for one in remembered] == [None] * len(remembered)

    async with (
        open_world(database, people=people) as second,
        open_world(database, people=people) as third,
    ):
        worlds = [world for world in (second, third) if world.app is app]
        assert len(worlds) == 1, "it was lent again"
        (again,) = worlds
        assert (await again.ask("GET", "/health/ready")).status_code == 200
        assert_problem(await again.ask("GET", "/metrics", **metrics), 401)
        assert again.app.dependencies["engine"].dependency() is again.engine
        assert again.app.dependencies["settings"].dependency() is again.factory.settings
        assert (await again.ask("GET", "/requests", people.ours.key)).status_code == 200


async def test_an_app_that_nobody_has_answers_nothing(database: Database, people: People) -> None:
    async with open_world(database, people=people) as world:
        app = world.app
    with pytest.raises(AssertionError, match="world has ended"):
        app.dependencies["db"].dependency()
    assert dict(app.state) == {}
