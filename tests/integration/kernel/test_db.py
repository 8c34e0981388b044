"""Transactions and lent connections, when what is around them fails."""

import anyio
import pytest

from aifactory.kernel import db
from aifactory.kernel.db import Database, DatabaseUnavailable

pytestmark = pytest.mark.anyio


async def end_backends(database: Database, pids: list[int]) -> None:
    """End connections as a restart of the server does."""
    connection = await database.own_connection()
    await connection.fetch("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid", pids)
    await connection.close()


async def fill_pool(database: Database, size: int) -> list[int]:
    """Let the pool keep some connections; return their backends."""
    pids: list[int] = []
    there = anyio.Event()

    async def hold() -> None:
        async with database.lend() as raw:
            pids.append(await raw.fetchval("SELECT pg_backend_pid()"))
            if len(pids) == size:
                there.set()
            await there.wait()

    async with anyio.create_task_group() as tasks:
        for _ in range(size):
            tasks.start_soon(hold)
    return pids


async def test_no_request_fails_on_a_connection_that_was_cut_while_it_lay_in_the_pool(
    database: Database,
) -> None:
    pids = await fill_pool(database, 4)
    await end_backends(database, pids)
    for _ in pids:
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
