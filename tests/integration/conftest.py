"""Fixtures of integration tests."""

import asyncio
import copy
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import make_url
from tests.conftest import Clerk
from tests.factories import People, World, make_people, open_world
from tests.fakes import FakeWorker

from aifactory.kernel.db import Database
from aifactory.resources.service import ResourceService


@pytest.fixture(scope="session")
def peopled_database(clerk: Clerk, template_database: str) -> Iterator[tuple[str, People]]:
    """The name of a database to copy for a world, and who is in it."""
    workers = {"granulation": FakeWorker()}
    resources = ResourceService(workers=workers, wake=lambda: None, abort=lambda _: None)

    async def prepare(url: str) -> People:
        database = Database(url=url)
        people = await make_people(database, resources)
        await database.close()
        return people

    with clerk.made("peopled", copy_of=template_database) as url:
        people = asyncio.run(prepare(url))
        yield str(make_url(url).database), people


@pytest.fixture
def people(peopled_database: tuple[str, People]) -> People:
    """The usual people; they are in the test's database from its beginning."""
    return copy.deepcopy(peopled_database[1])


@pytest.fixture
async def world(database: Database, people: People) -> AsyncIterator[World]:
    async with open_world(database, people=people) as opened:
        yield opened


@pytest.fixture(scope="module")
def standing_database_url(clerk: Clerk, peopled_database: tuple[str, People]) -> Iterator[str]:
    with clerk.made("standing", copy_of=peopled_database[0]) as url:
        yield url


@pytest.fixture(scope="module")
async def standing_world(
    standing_database_url: str, peopled_database: tuple[str, People]
) -> AsyncIterator[World]:
    """A world for all tests of a module that only look, or are refused: it must be after each as before."""
    database = Database(url=standing_database_url)
    async with open_world(database, people=copy.deepcopy(peopled_database[1])) as opened:
        yield opened
    await database.close()
