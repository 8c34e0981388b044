"""A database that explains every statement before it is sent, under both kinds of plan, where it is sent.

Each is explained in a savepoint that is rolled back: it reads and locks what it will read and lock a moment
later, and leaves nothing behind.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import asyncpg
import msgspec

from aifactory.kernel.db import Database, Tx

MODES = ("force_custom_plan", "force_generic_plan")
_EXPLAINED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
_OPTIONS = "ANALYZE, BUFFERS, TIMING OFF, COSTS OFF, SUMMARY OFF, FORMAT JSON"


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What one node of a plan read of a table: ``whole`` if nothing but its end limits it."""

    table: str
    index: str | None
    node: str
    whole: bool
    rows: int


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One statement under one kind of plan; ``blocks``: shared buffers that it touched; ``keys``: how many
    it was given in its longest list.
    """

    work: str
    sql: str
    mode: str
    blocks: int
    keys: int
    scans: tuple[Scan, ...]

    @property
    def title(self) -> str:
        """Return the statement's beginning, on one line."""
        return " ".join(self.sql.split())[:90]


class Watched(Database):
    """A database whose transactions explain each statement once for each kind of work that sends it."""

    def __init__(self, *, url: str, tables_of_indexes: dict[str, str]) -> None:
        super().__init__(url=url)
        self._found: list[Explained] = []
        self.tables_of_indexes = tables_of_indexes
        self._work: str | None = None
        self._seen: set[str] = set()

    @contextlib.contextmanager
    def watch(self, work: str) -> Iterator[None]:
        """Explain what is sent meanwhile, as part of this work."""
        self._work, self._seen = work, set()
        try:
            yield
        finally:
            self._work = None

    def taken(self) -> list[Explained]:
        """Return what was explained since the last time."""
        found, self._found = self._found, []
        return found

    async def _run(self, connection: Any, raw: "asyncpg.Connection[Any]") -> Tx:
        tx = await super()._run(connection, raw)
        tx.raw = _Explaining(raw, self)  # type: ignore[assignment]
        return tx

    async def explain(self, raw: "asyncpg.Connection[Any]", sql: str, values: Sequence[Any]) -> None:
        """Explain a statement with these values, unless this work has sent it before."""
        work = self._work
        if work is None or sql in self._seen or not sql.lstrip(" (\n").upper().startswith(_EXPLAINED):
            return
        self._seen.add(sql)
        literals = await _literals(raw, sql, values)
        keys = max((len(value) for value in values if isinstance(value, list | tuple)), default=1)
        for mode in MODES:
            plan = await _plan(raw, sql, literals, mode)
            blocks = plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0)
            scans = tuple(_scans(plan, self.tables_of_indexes))
            self._found.append(
                Explained(work=work, sql=sql, mode=mode, blocks=blocks, keys=max(1, keys), scans=scans)
            )


class _Explaining:
    """A connection that explains before it sends; all else is the connection's own."""

    def __init__(self, raw: "asyncpg.Connection[Any]", watched: Watched) -> None:
        self._raw = raw
        self._watched = watched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    async def fetch(self, sql: str, *values: Any, **options: Any) -> Any:
        await self._watched.explain(self._raw, sql, values)
        return await self._raw.fetch(sql, *values, **options)

    async def fetchrow(self, sql: str, *values: Any, **options: Any) -> Any:
        await self._watched.explain(self._raw, sql, values)
        return await self._raw.fetchrow(sql, *values, **options)

    async def fetchval(self, sql: str, *values: Any, **options: Any) -> Any:
        await self._watched.explain(self._raw, sql, values)
        return await self._raw.fetchval(sql, *values, **options)

    async def execute(self, sql: str, *values: Any, **options: Any) -> Any:
        await self._watched.explain(self._raw, sql, values)
        return await self._raw.execute(sql, *values, **options)

    async def executemany(self, sql: str, rows: Sequence[Sequence[Any]], **options: Any) -> Any:
        await self._watched.explain(self._raw, sql, rows[0])
        return await self._raw.executemany(sql, rows, **options)


@contextlib.asynccontextmanager
async def open_watched(database: Database) -> AsyncIterator[Watched]:
    """Watch a database by connections of its own."""
    async with database.begin() as tx:
        rows = await tx.raw.fetch(
            "SELECT indexrelid::regclass::text, indrelid::regclass::text FROM pg_catalog.pg_index"
        )
    watched = Watched(url=database.url, tables_of_indexes=dict(rows))
    watched.clock_offset = database.clock_offset
    try:
        yield watched
    finally:
        await watched.close()


async def _literals(raw: "asyncpg.Connection[Any]", sql: str, values: Sequence[Any]) -> list[str]:
    """Return values as SQL, each cast to the type that the statement takes."""
    if not values:
        return []
    types = [one.name for one in (await raw.prepare(sql)).get_parameters()]
    quotes = ", ".join(f"quote_nullable(${n}::{name}::text)" for n, name in enumerate(types, 1))
    row = await raw.fetchrow(f"SELECT {quotes}", *values)
    assert row is not None
    return [f"{literal}::{name}" for literal, name in zip(row, types, strict=True)]


async def _plan(raw: "asyncpg.Connection[Any]", sql: str, literals: list[str], mode: str) -> dict[str, Any]:
    await raw.execute(f"SAVEPOINT watched; SET LOCAL plan_cache_mode = {mode}; PREPARE watched AS {sql}")
    given = f"({', '.join(literals)})" if literals else ""
    try:
        found = await raw.fetchval(f"EXPLAIN ({_OPTIONS}) EXECUTE watched{given}")
    finally:
        await raw.execute("ROLLBACK TO watched; RELEASE watched; DEALLOCATE watched")
    plan: dict[str, Any] = found[0]["Plan"]
    return plan


def _scans(plan: dict[str, Any], tables: dict[str, str], limited: bool = False) -> Iterator[Scan]:
    """Walk a plan. Whoever reads one row, or what a limit lets pass, and drops none, has not read all."""
    node = plan["Node Type"]
    if node.endswith("Scan") and (
        table := plan.get("Relation Name") or tables.get(plan.get("Index Name", ""))
    ):
        removed = sum(value for name, value in plan.items() if name.startswith("Rows Removed"))
        rows = round((plan["Actual Rows"] + removed) * plan["Actual Loops"])
        reads_all = node == "Seq Scan" or ("Index" in node and "Index Cond" not in plan)
        stops = not removed and (limited or rows <= 1)
        index, whole = plan.get("Index Name"), reads_all and not stops
        yield Scan(table=table, index=index, node=node, whole=whole, rows=rows)
    for part in plan.get("Plans", ()):
        yield from _scans(part, tables, limited=node == "Limit")
