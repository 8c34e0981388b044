"""A PostgreSQL server of a proof's own, and fresh databases on it; nothing of it stays."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
import asyncpg
import msgspec
from sqlalchemy import make_url

from aifactory.kernel.db import Database
from aifactory.kernel.embedded_postgres import EmbeddedPostgres
from aifactory.kernel.ids import new_id
from aifactory.kernel.migrations import migrate

# Nobody will miss such a cluster after a power cut.
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "200"}


class Databases(msgspec.Struct, frozen=True, kw_only=True):
    """A server with a migrated database to copy."""

    url: str
    template: str

    @contextlib.asynccontextmanager
    async def fresh(self) -> AsyncIterator[Database]:
        """Give a migrated database that nothing else uses."""
        name = f"proof_{new_id().hex}"
        await _run_sql(self.url, f"CREATE DATABASE {name} TEMPLATE {self.template} STRATEGY FILE_COPY")
        database = Database(url=_named(self.url, name))
        try:
            yield database
        finally:
            await database.close()
            await _run_sql(self.url, f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.asynccontextmanager
async def open_databases() -> AsyncIterator[Databases]:
    """Run a server in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="aifactory-proof-") as folder:
        server = EmbeddedPostgres(folder=Path(folder), settings=FAST)
        url = await anyio.to_thread.run_sync(server.start)
        try:
            yield Databases(url=url, template=await _make_template(url))
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(server.stop)


async def _make_template(url: str) -> str:
    await _run_sql(url, "CREATE DATABASE proof_template")
    database = Database(url=_named(url, "proof_template"))
    await migrate(database)
    await database.close()
    return "proof_template"


def _named(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


async def _run_sql(url: str, statement: str) -> None:
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
