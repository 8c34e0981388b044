"""Transactions and lent connections, when what is around them fails."""

from typing import Any

import anyio
import pytest
from tests.fleet import until

from aifactory.kernel import db
from aifactory.kernel.db import Database, DatabaseUnavailable

pytestmark = pytest.mark.anyio


async def fill_pool(database: Database, size: int) -> list[Any]:
    """Let the pool keep some connections; return them."""
    connections: list[Any] = []
    there = anyio.Event()

    async def hold() -> None:
        async with database.lend() as raw:
            connections.append(raw)
            if len(connections) == size:
                there.set()
            await there.wait()

    async with anyio.create_task_group() as tasks:
        for _ in range(size):
            tasks.start_soon(hold)
    return connections


async def cut(database: Database, connections: list[Any]) -> None:
    """End connections as a restart of the server does, and wait until this process has heard of it."""
    pids = [connection.get_server_pid() for connection in connections]
    own = await database.own_connection()
    await own.fetch("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid", pids)
    await own.close()
    await until(lambda: all(connection.is_closed() for connection in connections))


async def test_no_request_fails_on_a_connection_that_was_cut_while_it_lay_in_the_pool(
    database: Database,
) -> None:
    connections = await fill_pool(database, 4)
    await cut(database, connections)
    for _ in connections:
        async with database.lend() as raw:
            assert await raw.fetchval("SELECT 1") == 1


async def test_what_is_stored_is_not_told_as_failed_because_of_what_comes_after(database: Database) -> None:
    done: list[int] = []

    def fail() -> None:
        raise ValueError("planted")

    async with database.begin() as tx:
        tx.after_commit(fail)
        tx.after_commit(lambda: done.append(1))
    assert done == [1]


async def sleep_in(database: Database, how: str) -> None:
    if how == "begin":
        async with database.begin() as tx:
            await tx.raw.execute("SELECT pg_sleep(20)")
    else:
        async with database.lend() as raw:
            await raw.execute("SELECT pg_sleep(20)")


@pytest.mark.parametrize("how", ["begin", "lend"])
async def test_a_server_that_does_not_answer_is_taken_as_away(
    how: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "ANSWER_SECONDS", 0.2)
    hasty = Database(url=database.url, pool_size=1)
    try:
        with anyio.fail_after(10), pytest.raises(DatabaseUnavailable):
            await sleep_in(hasty, how)
        async with hasty.begin() as tx:  # the pool's only place is free, with a connection that answers
            assert await tx.raw.fetchval("SELECT 1") == 1
    finally:
        await hasty.close()
