"""Bring a database to the schema of this code; safe when several processes start at once."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

import aifactory
from aifactory.kernel.db import CONNECTION_FAULTS, Database, DatabaseUnavailable

if TYPE_CHECKING:  # nearly every start finds nothing to migrate, and Alembic takes long to load
    from alembic.config import Config

_LOCK = 0x61696661_6D696772  # "aifamigr"
_OLDEST = 150000


class MigrationRefused(Exception):
    """The database can't be used by this code; the text says why and what to do."""


async def migrate(database: Database) -> str:
    """Run what is missing, under a lock, on a connection of its own; return the revision.

    Raises MigrationRefused for a server before PostgreSQL 15 or a schema newer than the code.
    """
    engine = create_async_engine(database.engine.url, poolclass=pool.NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_upgrade)
    except CONNECTION_FAULTS as error:
        raise DatabaseUnavailable("The database can't be reached for its migrations.") from error
    finally:
        await engine.dispose()


async def require_schema(database: Database) -> None:
    """Pass when the database has exactly the schema of this code; change nothing. Raises MigrationRefused."""
    async with database.begin() as tx:
        present = None
        if await tx.raw.fetchval("SELECT to_regclass('alembic_version')") is not None:
            present = await tx.raw.fetchval("SELECT version_num FROM alembic_version")
    if present is None:
        raise MigrationRefused(
            "This database is empty: no AI Factory has used it. Check AIFACTORY_DATABASE_URL or "
            "AIFACTORY_DATA_DIR; `aifactory serve` or `aifactory migrate` makes a new one."
        )
    if present != head_revision():
        raise MigrationRefused(
            f"The database has schema {present} and this version works with {head_revision()}. If it is "
            "older, run `aifactory migrate` first; if it is newer, use the newer version."
        )


def script_folder() -> Path:
    """Return where the migrations are: in the wheel, or beside ``src``."""
    package = Path(aifactory.__file__).parent
    shipped = package / "_alembic"
    return shipped if shipped.is_dir() else package.parent.parent / "alembic"


def head_revision() -> str:
    """Return the newest revision that this code knows, from the names of the migrations' files."""
    return max(path.name.split("_")[1] for path in (script_folder() / "versions").glob("*.py"))


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(script_folder()).replace("%", "%%"))
    return config


def _upgrade(connection: Connection) -> str:
    version = int(connection.scalar(text("SHOW server_version_num")) or 0)
    if version < _OLDEST:
        raise MigrationRefused(
            f"PostgreSQL 15 or newer is needed; this server is {version // 10000}.{version % 10000}."
        )
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
    connection.commit()
    try:
        present = _present_revision(connection)
        if present != head_revision():
            _run_missing(connection, present)
        return head_revision()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
        connection.commit()


def _run_missing(connection: Connection, present: str | None) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if present is not None and present not in known:
        raise MigrationRefused(
            f"The database has schema {present}, which this version does not know: it is newer than "
            "the code. Start the newer version, or restore a backup."
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()


def _present_revision(connection: Connection) -> str | None:
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    connection.commit()
    return None if revision is None else str(revision)
