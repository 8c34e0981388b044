"""One server per process of tests, a fresh database per test; who only looks may share a world."""

import asyncio
import contextlib
import functools
import gc
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx._transports.default
import httpx2._transports.default
import hypothesis
import pytest
import structlog
from argon2 import PasswordHasher
from sqlalchemy import make_url
from tests.places import fast_place

from aifactory.accounts import passwords
from aifactory.kernel.db import Database
from aifactory.kernel.embedded_postgres import EmbeddedPostgres
from aifactory.kernel.migrations import migrate

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

_FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "200"}

# Each client would read the certificates that it trusts anew: 0.03 s of CPU, and tests make a thousand.
for transports in (httpx._transports.default, httpx2._transports.default):
    transports.create_ssl_context = functools.cache(transports.create_ssl_context)

# A real hash takes 0.1 s of CPU; processes that tests start make real ones.
passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

# The default draws in colour, and tracebacks in frames, which takes a second each.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(),
    ]
)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL server for this run, or the one that AIFACTORY_TEST_DATABASE_URL names."""
    given = os.environ.get("AIFACTORY_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="aifactory-tests-", dir=fast_place()) as folder:
        server = EmbeddedPostgres(folder=Path(folder), settings=_FAST)
        try:
            yield server.start()
        finally:
            server.stop()


@pytest.fixture(scope="session")
def template_database(server_url: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    name = f"aifactory_template_{uuid.uuid4().hex[:12]}"

    async def prepare() -> None:
        await run_sql(server_url, f"CREATE DATABASE {name}")
        database = Database(url=database_url(server_url, name))
        await migrate(database)
        await database.close()

    asyncio.run(prepare())
    yield name
    asyncio.run(run_sql(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


class Clerk:
    """Makes and drops databases, on one connection for all tests: its loop runs only while it works."""

    def __init__(self, server_url: str) -> None:
        self.server_url = server_url
        self._loop = asyncio.new_event_loop()
        self._connection = self._loop.run_until_complete(connect(server_url))

    @contextlib.contextmanager
    def made(self, kind: str, copy_of: str = "") -> Iterator[str]:
        """Give the URL of a new database, and drop it at the end whoever is still connected."""
        name = f"aifactory_{kind}_{uuid.uuid4().hex[:12]}"
        self.run(f"CREATE DATABASE {name}" + (f" TEMPLATE {copy_of} STRATEGY FILE_COPY" if copy_of else ""))
        yield database_url(self.server_url, name)
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def run(self, statement: str) -> None:
        self._loop.run_until_complete(self._connection.execute(statement))

    def close(self) -> None:
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()


@pytest.fixture(scope="session")
def clerk(server_url: str) -> Iterator[Clerk]:
    opened = Clerk(server_url)
    yield opened
    opened.close()


@pytest.fixture
def fresh_database_url(clerk: Clerk, template_database: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated database that only this test has; the usual people are in it if it wants them."""
    if "people" in request.fixturenames:
        template_database, _ = request.getfixturevalue("peopled_database")
    with clerk.made("test", copy_of=template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(clerk: Clerk) -> Iterator[str]:
    """The URL of a database without any table."""
    with clerk.made("empty") as url:
        yield url


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """A migrated database that only this test has."""
    opened = Database(url=fresh_database_url)
    yield opened
    await opened.close()


async def connect(url: str) -> "asyncpg.Connection[Any]":
    return await asyncpg.connect(
        make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    )


def database_url(server_url: str, name: str) -> str:
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


async def run_sql(url: str, statement: str) -> None:
    connection = await connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Look for garbage less often, and never among modules: it took a fifth of the time of the tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name functions by their names: an address in a test's id would differ in every process."""
    return getattr(val, "__name__", None) if callable(val) else None
