"""Waiting for a result outlives a database that goes away, and ends with the process."""

from types import SimpleNamespace
from typing import Any

import anyio.lowlevel
import pytest

from aifactory.kernel.db import DatabaseUnavailable
from aifactory.kernel.http import Shutdown, wait_for

pytestmark = pytest.mark.anyio


async def at_once(_seconds: float) -> None:
    await anyio.lowlevel.checkpoint()


def request(shutdown: Shutdown) -> Any:
    return SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(shutdown=shutdown)))


async def test_a_look_that_finds_no_database_is_one_look_less() -> None:
    looks: list[int] = []

    async def look() -> str | None:
        looks.append(1)
        if len(looks) < 3:
            raise DatabaseUnavailable("away")
        return "there"

    assert await wait_for(request(Shutdown()), look, seconds=30, until_then=at_once) == "there"
    assert len(looks) == 3


async def test_a_database_that_stays_away_ends_in_nothing_and_not_in_a_fault() -> None:
    async def look() -> str | None:
        raise DatabaseUnavailable("away")

    assert await wait_for(request(Shutdown()), look, seconds=0.3, until_then=at_once) is None


async def test_a_process_that_is_to_end_lets_its_callers_go_at_once() -> None:
    shutdown = Shutdown()

    async def look() -> str | None:
        shutdown.request()
        return None

    assert await wait_for(request(shutdown), look, seconds=3600, until_then=at_once) is None
