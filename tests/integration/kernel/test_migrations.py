"""Migrations: from nothing, at once from several processes, never backwards."""

import anyio
import pytest

from aifactory.kernel.db import Database, DatabaseUnavailable
from aifactory.kernel.migrations import MigrationRefused, head_revision, migrate

pytestmark = pytest.mark.anyio


async def test_several_processes_migrate_an_empty_database_once(empty_database_url: str) -> None:
    database = Database(url=empty_database_url)
    found: list[str] = []

    async def start() -> None:
        found.append(await migrate(database))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(start)
    assert found == [head_revision()] * 3
    async with database.begin() as tx:
        assert await tx.raw.fetchval("SELECT version_num FROM alembic_version") == head_revision()
        assert await tx.raw.fetchval("SELECT count(*) FROM tiers") == 4
    await database.close()


async def test_a_database_newer_than_the_code_is_refused(database: Database) -> None:
    async with database.begin() as tx:
        await tx.raw.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MigrationRefused, match="newer than the code"):
        await migrate(database)


async def test_a_database_that_is_away_is_said_to_be_away() -> None:
    database = Database(url="postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseUnavailable):
        await migrate(database)
    await database.close()
