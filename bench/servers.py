"""The PostgreSQL server of a run: durable, on a disk, a fresh database for each measure of each system."""

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import make_url

from aifactory.kernel.db import Database
from aifactory.kernel.embedded_postgres import EmbeddedPostgres
from aifactory.kernel.migrations import migrate

# As it comes otherwise: fsync, full_page_writes and synchronous_commit are on.
SETTINGS = {"max_connections": "200"}
TEMPLATE = "bench_template"
_NAMES = itertools.count(1)


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server, its log, and a migrated database to copy."""

    url: str
    log: Path

    @contextlib.contextmanager
    def database(self, *, ours: bool, settings: dict[str, str] | None = None) -> Iterator[str]:
        """Give the address of a fresh database, ours migrated; ``settings`` are its sessions' defaults."""
        name = f"bench_{next(_NAMES)}"
        copy = f" TEMPLATE {TEMPLATE} STRATEGY FILE_COPY" if ours else ""
        statements = [f"CREATE DATABASE {name}{copy}"]
        statements += [f"ALTER DATABASE {name} SET {key} = '{to}'" for key, to in (settings or {}).items()]
        self.run(*statements, "CHECKPOINT")
        try:
            yield make_url(self.url).set(database=name).render_as_string(hide_password=False)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)", "CHECKPOINT")

    def run(self, *statements: str) -> None:
        """Run statements, each in its own transaction."""
        asyncio.run(_run(self.url, statements))

    def fetch(self, statement: str) -> list[Any]:
        """Return the rows of a query."""
        return asyncio.run(_fetch(self.url, statement))


@contextlib.contextmanager
def open_server(folder: Path) -> Iterator[Server]:
    """Run a new server somewhere in a folder; nothing of it stays."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="postgres-", dir=folder) as place:
        server = EmbeddedPostgres(folder=Path(place), settings=SETTINGS)
        try:
            url = server.start()
            asyncio.run(_make_template(url))
            yield Server(url=url, log=Path(place) / "postgres.log")
        finally:
            server.stop()


async def _make_template(url: str) -> None:
    await _run(url, (f"CREATE DATABASE {TEMPLATE}",))
    database = Database(url=make_url(url).set(database=TEMPLATE).render_as_string(hide_password=False))
    try:
        await migrate(database)
    finally:
        await database.close()


async def _run(url: str, statements: tuple[str, ...] | list[str]) -> None:
    connection = await asyncpg.connect(_dsn(url))
    try:
        for statement in statements:
            await connection.execute(statement, timeout=600)
    finally:
        await connection.close()


async def _fetch(url: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(_dsn(url))
    try:
        return list(await connection.fetch(statement))
    finally:
        await connection.close()


def _dsn(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
