"""One server per test run, one migrated template, a fresh database per test: nothing is shared."""

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url

from aifactory.kernel.db import Database
from aifactory.kernel.embedded_postgres import EmbeddedPostgres
from aifactory.kernel.migrations import migrate

_FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "200"}


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def _fast_place() -> str | None:
    """Where a cluster that nobody will miss is kept: in memory, if there is plenty for files there."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30 else None


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL server for this run, or the one that AIFACTORY_TEST_DATABASE_URL names."""
    given = os.environ.get("AIFACTORY_TEST_DATABASE_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="aifactory-tests-", dir=_fast_place()) as folder:
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


@pytest.fixture
async def fresh_database_url(server_url: str, template_database: str) -> AsyncIterator[str]:
    """The URL of a migrated database that only this test has."""
    name = f"aifactory_test_{uuid.uuid4().hex[:12]}"
    await run_sql(server_url, f"CREATE DATABASE {name} TEMPLATE {template_database} STRATEGY FILE_COPY")
    yield database_url(server_url, name)
    await run_sql(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """The URL of a database without any table."""
    name = f"aifactory_empty_{uuid.uuid4().hex[:12]}"
    await run_sql(server_url, f"CREATE DATABASE {name}")
    yield database_url(server_url, name)
    await run_sql(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    """A migrated database that only this test has."""
    opened = Database(url=fresh_database_url)
    yield opened
    await opened.close()


def database_url(server_url: str, name: str) -> str:
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


async def run_sql(url: str, statement: str) -> None:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name functions by their names: an address in a test's id would differ in every process."""
    return getattr(val, "__name__", None) if callable(val) else None
