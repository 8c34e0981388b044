"""Fixtures of integration tests."""

from collections.abc import AsyncIterator

import pytest
from tests.factories import World, open_world

from aifactory.kernel.db import Database


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with open_world(database) as opened:
        yield opened
