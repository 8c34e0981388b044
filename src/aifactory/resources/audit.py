"""``aifactory audit``: rebuild every balance and counter from what it is made of; print the differences."""

import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import asyncpg
import msgspec

from aifactory.kernel.db import Database
from aifactory.resources.queries.invariants import INVARIANTS, Invariant

SMALL = 100_000  #: entries that one connection reads fast enough
# Two connections share the work. Parallel workers would each build the hash tables again: common ones need
# more shared memory than a container often has. Groups are few beside rows, but the planner fears many: it
# would sort all rows first, which takes twice as long.
SETTINGS = {
    "enable_sort": "off",
    "work_mem": "'256MB'",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Difference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A figure that does not equal what it is rebuilt from."""

    check: str
    object_id: str
    stored: int
    rebuilt: int


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was rebuilt, from how many entries, and the differences.

    ``checks``: the seconds of each statement, by the first of its checks; ``seconds``: of all.
    """

    entries: int
    checks: dict[str, float]
    seconds: float
    differences: list[Difference]


async def audit(database: Database) -> Report:
    """Check every invariant in one snapshot; changes nothing. Differences: none, or something is wrong."""
    started = time.monotonic()
    checks: dict[str, float] = {}
    differences: list[Difference] = []
    waiting = deque(INVARIANTS)

    async def check_some(connection: "asyncpg.Connection[Any]") -> None:
        while waiting:
            invariant, begun = waiting.popleft(), time.monotonic()
            differences.extend(map(_difference, await connection.fetch(invariant.sql)))
            checks[invariant.checks[0]] = round(time.monotonic() - begun, 3)

    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(_reading(database, None))
        snapshot = await first.fetchval("SELECT pg_export_snapshot()")
        entries = await first.fetchval("SELECT count(*) FROM cost_tracking")
        if entries <= SMALL:
            await check_some(first)
        else:
            second = await stack.enter_async_context(_reading(database, snapshot))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(check_some, first)
                tasks.start_soon(check_some, second)
    seconds = round(time.monotonic() - started, 3)
    return Report(
        entries=entries,
        checks={one.checks[0]: checks[one.checks[0]] for one in INVARIANTS},
        seconds=seconds,
        differences=sorted(differences, key=lambda found: (found.check, found.object_id)),
    )


@contextlib.asynccontextmanager
async def _reading(database: Database, snapshot: str | None) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Open a connection of its own that reads one snapshot: a new one, or another connection's."""
    connection = await database.own_connection()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if snapshot is not None:
                await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            for setting, value in SETTINGS.items():
                await connection.execute(f"SET LOCAL {setting} = {value}")
            yield connection
    finally:
        await connection.close()


def _difference(row: Any) -> Difference:
    check, object_id, stored, rebuilt = row
    return Difference(check=check, object_id=object_id, stored=int(stored), rebuilt=int(rebuilt))


def invariants_script() -> str:
    """Return the invariants as SQL for psql: each statement returns one row per difference."""
    return "\n".join([*_head(), *(_commented(invariant) for invariant in INVARIANTS), "COMMIT;"])


def _head() -> Iterator[str]:
    yield "-- What must hold in the books: each statement returns one row per difference, or none."
    yield f"{BEGIN};"
    for setting, value in SETTINGS.items():
        yield f"SET LOCAL {setting} = {value};"


def _commented(invariant: Invariant) -> str:
    return f"\n-- {', '.join(invariant.checks)}: {invariant.meaning}{invariant.sql};"
