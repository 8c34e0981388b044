"""Migrations: from nothing, at once from several processes, never backwards."""

import runpy
from pathlib import Path
from uuid import UUID

import anyio
import pytest
from alembic.script import ScriptDirectory

from aifactory.kernel import audit
from aifactory.kernel.audit import AuditFilter
from aifactory.kernel.db import Database, DatabaseUnavailable
from aifactory.kernel.ids import new_id, text_id
from aifactory.kernel.migrations import (
    MigrationRefused,
    head_revision,
    migrate,
    require_schema,
    script_folder,
)

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]


async def test_several_processes_migrate_an_empty_database_once(empty_database_url: str) -> None:
    database = Database(url=empty_database_url)
    with pytest.raises(MigrationRefused, match="no AI Factory has used it"):
        await require_schema(database)
    found: list[str] = []

    async def start() -> None:
        found.append(await migrate(database))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(start)
    assert found == [head_revision()] * 3
    await require_schema(database)
    async with database.begin() as tx:
        assert await tx.raw.fetchval("SELECT version_num FROM alembic_version") == head_revision()
        assert await tx.raw.fetchval("SELECT count(*) FROM tiers") == 4
    await database.close()


def test_the_newest_of_the_migrations_is_found_without_alembic() -> None:
    script = ScriptDirectory(str(script_folder()))
    assert script.get_current_head() == head_revision()
    assert all(f"_{one.revision}_" in Path(one.path).name for one in script.walk_revisions())


async def test_a_database_newer_than_the_code_is_refused(database: Database) -> None:
    async with database.begin() as tx:
        await tx.raw.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MigrationRefused, match="newer than the code"):
        await migrate(database)
    with pytest.raises(MigrationRefused, match="schema 9999"):
        await require_schema(database)


async def test_a_database_that_is_away_is_said_to_be_away() -> None:
    database = Database(url="postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseUnavailable):
        await migrate(database)
    await database.close()


async def test_actors_of_older_lines_get_the_ids_that_the_api_shows(database: Database) -> None:
    path = next((ROOT / "alembic" / "versions").glob("*_0018_*.py"))
    statements = runpy.run_path(str(path))["STATEMENTS"].split(";\n\n")
    rewriting = [
        one for one in statements if "FUNCTION pg_temp" in one or "UPDATE audit_log SET actor" in one
    ]
    assert len(rewriting) == 2
    users, client = [UUID(int=0), UUID(int=2**128 - 1), *(new_id() for _ in range(20))], new_id()
    async with database.begin() as tx:
        await tx.raw.execute("DROP TRIGGER audit_log_append_only ON audit_log")
        for actor in [*(f"user:{user}" for user in users), f"client:{client}", "worker:user:x", "system"]:
            await audit.record(tx, actor=actor, action="a", object_kind="k", object_id="o")
        for statement in rewriting:
            await tx.raw.execute(statement)
        lines = await audit.list_lines(tx, AuditFilter(object_kind="k"), limit=100)
    wanted = {text_id("user", user) for user in users} | {text_id("client", client)}
    assert {line.actor for line in lines} == wanted | {"worker:user:x", "system"}
