"""Runs migrations on the connection that the caller gives, or on AIFACTORY_DATABASE_URL."""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection, make_url, pool
from sqlalchemy.ext.asyncio import create_async_engine


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()


async def run_by_url() -> None:
    url = os.environ.get("AIFACTORY_DATABASE_URL")
    if not url:
        raise SystemExit("Set AIFACTORY_DATABASE_URL, or run `aifactory migrate` for the embedded database.")
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_by_url())
