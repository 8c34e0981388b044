"""PostgreSQL servers of the proofs' own: one of many databases that leaves nothing, and one that is kept."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import anyio
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
        async with _serving(Path(folder), FAST) as url:
            yield Databases(url=url, template=await _make_template(url))


@contextlib.asynccontextmanager
async def open_place(folder: Path) -> AsyncIterator[Database]:
    """Keep a server in a folder, with one database: a proof that is interrupted goes on there.

    It notes when each transaction was committed, which tells who ran beside whom.
    """
    await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
    async with _serving(folder, {**FAST, "track_commit_timestamp": "on"}) as url:
        database = Database(url=url)
        await migrate(database)
        try:
            yield database
        finally:
            await database.close()


async def empty_place(database: Database) -> None:
    """Forget all that a place holds: the next proof begins anew."""
    async with database.begin() as tx:
        await tx.raw.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


@contextlib.asynccontextmanager
async def _serving(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[str]:
    server = EmbeddedPostgres(folder=folder, settings=settings)
    url = await anyio.to_thread.run_sync(server.start)
    try:
        yield url
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
