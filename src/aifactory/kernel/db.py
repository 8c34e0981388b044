"""The database: a pool, and ``Tx``, one connection in one transaction that both query styles share."""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
import asyncpg
import msgspec
import structlog
from sqlalchemy import event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine

from aifactory.kernel.errors import Unavailable

log = structlog.get_logger()

COPY_FROM = 5
ANSWER_SECONDS = 10.0  #: longer than any statement may take: the server hangs, or the network has gone silent
# A stopped process can't hold its locks for longer than the time limits. The hot rows are in memory or on a
# disk without arms: at the price for one with arms, a thousand probes look dearer than reading it all.
_SERVER_SETTINGS = {
    "application_name": "aifactory",
    "idle_in_transaction_session_timeout": "2000",
    "statement_timeout": "5000",
    "random_page_cost": "1.1",
    # A plan is kept, and would go on reading a table whole that was tiny when it was made.
    "enable_seqscan": "off",
    "jit": "off",
}
CONNECTION_FAULTS = (
    OSError,
    PoolTimeout,
    InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


Tell = Callable[[str, Collection[UUID]], None]


class DatabaseUnavailable(Unavailable):
    """No connection, or it broke before the answer; nothing was decided."""

    code = "database_unavailable"
    title = "The database can't be reached"


class Tx:
    """One connection in one transaction, and the one moment at which it happens."""

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        raw: "asyncpg.Connection[Any]",
        now: datetime,
        clock_offset: timedelta,
        on_tell: Tell,
        kept: dict[str, Any],
    ) -> None:
        self.raw = raw
        self.now = now
        self._clock_offset = clock_offset
        self.kept = kept  #: what the process has read and nobody ever changes
        self._on_tell = on_tell
        self._connection = connection
        self._session: AsyncSession | None = None
        self._after_commit: list[Callable[[], None]] = []
        self._depth = 0

    @property
    def session(self) -> AsyncSession:
        """The SQLAlchemy session on this connection; commits belong to whoever opened the Tx."""
        if self._session is None:
            self._session = AsyncSession(bind=self._connection, expire_on_commit=False, autoflush=True)
        return self._session

    async def read_clock(self) -> None:
        """Let the transaction happen now, after it has waited and before it has decided anything."""
        now: datetime = await self.raw.fetchval("SELECT clock_timestamp()")
        self.now = now + self._clock_offset

    def after_commit(self, action: Callable[[], None]) -> None:
        """Call ``action`` once the transaction is durable; never if it is not."""
        self._after_commit.append(action)

    def tell(self, topic: str, keys: Collection[UUID]) -> None:
        """Send a notice about these keys once the transaction is durable; none for no keys."""
        if keys:
            self.after_commit(lambda: self._on_tell(topic, keys))

    def announce(self, topic: str) -> None:
        """Send a notice that is about no key, but for everyone, once the transaction is durable."""
        self.after_commit(lambda: self._on_tell(topic, ()))

    @contextlib.asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo everything inside, and only that, when the block raises."""
        await self.flush()
        planned = len(self._after_commit)
        self._depth += 1
        name = f"s{self._depth}"
        await self.raw.execute(f"SAVEPOINT {name}")
        try:
            yield
            await self.flush()
        except BaseException:
            del self._after_commit[planned:]
            if self._session is not None:
                self._session.expunge_all()
            await self.raw.execute(f"ROLLBACK TO {name}; RELEASE {name}")
            raise
        else:
            await self.raw.execute(f"RELEASE {name}")
        finally:
            self._depth -= 1

    async def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each row, in one round trip; none for no rows."""
        if rows:
            await self.raw.executemany(statement, rows)

    async def execute_set(self, statement: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement once over all rows, which it reads from ``json_to_recordset($1) AS n (…)``.

        A third of the server's work of ``execute_many``, half of ours; but rows are locked in no order.
        Joined by ``id = ANY(ARRAY[n.id])`` each row is a probe of an index: what is no plain equality is not
        hashed, and no table is read whole while there is another way (``enable_seqscan``).
        """
        if rows:
            await self.raw.execute(statement, encode_json(rows))

    async def insert_rows(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows; many of them by COPY, which costs a round trip more and half of the work a row."""
        names = [name.strip() for name in columns.split(",")]
        if len(rows) >= COPY_FROM:
            await self.raw.copy_records_to_table(table, columns=names, records=rows)
        else:
            marks = ", ".join(f"${number}" for number in range(1, len(names) + 1))
            await self.execute_many(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)

    async def flush(self) -> None:
        """Send what the session still holds back."""
        if self._session is not None:
            await self._session.flush()

    async def _close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _committed(self) -> None:
        """Do what waited for the commit; what is stored must not look as if it were not."""
        for action in self._after_commit:
            try:
                action()
            except Exception:
                log.exception("db.after_commit_failed")


class Database:
    """The pool of one process. ``clock_offset`` shifts the database's clock and is set by tests only.

    ``on_tell`` takes the notices of its transactions after commit; nobody does at first.
    """

    def __init__(self, *, url: str, pool_size: int = 20, clock_offset: timedelta = timedelta()) -> None:
        self.url = url
        self.clock_offset = clock_offset
        self.on_tell: Tell = _unheard
        self._kept: dict[str, Any] = {}
        self.engine = create_async_engine(
            _sqlalchemy_url(url),
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5,
            pool_use_lifo=True,
            json_serializer=_encode_json,
            json_deserializer=msgspec.json.decode,
            connect_args={
                "server_settings": _SERVER_SETTINGS,
                "timeout": 5,
                "command_timeout": ANSWER_SECONDS,
            },
        )
        event.listen(self.engine.sync_engine, "connect", _accept_json_bytes)

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        """Open a short transaction; commit when the block ends, roll back when it raises.

        Raises DatabaseUnavailable when there is no connection or it breaks, whatever the block was doing.
        """
        try:
            async with self.engine.connect() as connection:
                raw = await _living(connection)
                try:
                    tx = await self._run(connection, raw)
                    try:
                        yield tx
                        await tx.flush()
                    except BaseException:
                        await self._roll_back(raw)
                        raise
                    finally:
                        await tx._close()
                    if await raw.execute("COMMIT") != "COMMIT":
                        raise RuntimeError("A failed statement was swallowed; all was rolled back.")
                finally:
                    if raw.is_closed():
                        await connection.invalidate()
        except (*CONNECTION_FAULTS, DBAPIError) as error:
            if not _is_connection_fault(error):
                raise
            raise _unavailable() from error
        tx._committed()

    @contextlib.asynccontextmanager
    async def lend(self) -> "AsyncIterator[asyncpg.Connection[Any]]":
        """Lend a pooled connection for single statements, outside any transaction.

        Raises DatabaseUnavailable when there is none or it breaks.
        """
        try:
            async with self.engine.connect() as connection:
                raw = await _living(connection)
                try:
                    yield raw
                except CONNECTION_FAULTS:
                    raw.terminate()  # an answer that did not come in time may still come
                    raise
                finally:
                    if raw.is_closed():
                        await connection.invalidate()
        except CONNECTION_FAULTS as error:
            raise _unavailable() from error

    async def _run(self, connection: AsyncConnection, raw: "asyncpg.Connection[Any]") -> Tx:
        await raw.execute("BEGIN")
        now: datetime = await raw.fetchval("SELECT clock_timestamp()")
        return Tx(
            connection=connection,
            raw=raw,
            now=now + self.clock_offset,
            clock_offset=self.clock_offset,
            on_tell=self.on_tell,
            kept=self._kept,
        )

    async def _roll_back(self, raw: "asyncpg.Connection[Any]") -> None:
        with anyio.move_on_after(2, shield=True):
            if not raw.is_closed():
                with contextlib.suppress(*CONNECTION_FAULTS):
                    await raw.execute("ROLLBACK")
                    return
        raw.terminate()  # a connection in an unknown state must not go back to the pool

    async def own_connection(self) -> "asyncpg.Connection[Any]":
        """Open a connection outside the pool and without time limits, for listeners and long work."""
        try:
            return await asyncpg.connect(_asyncpg_dsn(self.url), timeout=5, server_settings={"jit": "off"})
        except CONNECTION_FAULTS as error:
            raise _unavailable() from error

    async def close(self) -> None:
        """Close every pooled connection."""
        await self.engine.dispose()


def _unheard(_topic: str, _keys: Collection[UUID]) -> None:
    """Nobody hears."""


def _unavailable() -> DatabaseUnavailable:
    return DatabaseUnavailable(
        "The database can't be reached; try again shortly.", headers={"Retry-After": "1"}
    )


def _is_connection_fault(error: BaseException | None) -> bool:
    """Tell whether a fault is, or wraps, one of the connection."""
    while error is not None:
        invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
        if invalidated or isinstance(error, CONNECTION_FAULTS):
            return True
        error = error.__cause__ or (error.orig if isinstance(error, DBAPIError) else None)
    return False


async def _living(connection: AsyncConnection) -> "asyncpg.Connection[Any]":
    """Return the driver's connection; one that was cut while it lay in the pool is replaced first."""
    raw: asyncpg.Connection[Any] | None = (await connection.get_raw_connection()).driver_connection
    if raw is None or raw.is_closed():
        await connection.invalidate()
        raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    return raw


def encode_json(value: Any) -> bytes:
    """Return a value as the bytes that a raw statement takes for ``jsonb``."""
    return msgspec.json.encode(value)


def _encode_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _accept_json_bytes(dbapi_connection: Any, _record: Any) -> None:
    """Let raw statements pass encoded bytes for json and jsonb, and read them back as Python values."""

    async def register(connection: "asyncpg.Connection[Any]") -> None:
        await connection.set_type_codec(
            "jsonb",
            schema="pg_catalog",
            encoder=lambda text: b"\x01" + (text if isinstance(text, bytes) else text.encode()),
            decoder=lambda data: msgspec.json.decode(data[1:]),
            format="binary",
        )
        await connection.set_type_codec(
            "json", schema="pg_catalog", encoder=bytes, decoder=msgspec.json.decode, format="binary"
        )

    dbapi_connection.run_async(register)


def _sqlalchemy_url(url: str) -> Any:
    return make_url(url).set(drivername="postgresql+asyncpg")


def _asyncpg_dsn(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
