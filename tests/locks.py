"""Order forced by row locks: what a test starts waits behind them, and goes on one after the other."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from tests.fleet import Fleet, until

Action = Callable[[], Awaitable[Any]]


async def blocked(fleet: Fleet, count: int) -> None:
    """Wait until so many backends wait for a lock."""
    sql = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
        """

    async def enough() -> bool:
        return bool(await fleet.value(sql) >= count)

    await until(enough, 10)


@asynccontextmanager
async def locked(fleet: Fleet, table: str) -> AsyncIterator[None]:
    """Hold the row locks of a table's rows; what needs them queues up behind in the order of its coming."""
    connection = await fleet.database.own_connection()
    try:
        async with connection.transaction():
            await connection.execute(f"SELECT FROM {table} FOR UPDATE")
            yield
    finally:
        await connection.close()


async def in_order(fleet: Fleet, *actions: Action, table: str = "executions") -> None:
    """Start actions one after the other against a row lock, and let them go in that order."""
    async with anyio.create_task_group() as tasks, locked(fleet, table):
        for number, action in enumerate(actions, start=1):
            tasks.start_soon(action)
            await blocked(fleet, number)
