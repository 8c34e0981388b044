"""Everything that one process needs, wired and opened in order: database, domains, engine."""

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import structlog
from sqlalchemy.exc import ArgumentError

from aifactory.accounts.content import Requests
from aifactory.accounts.late_sender import LateSender
from aifactory.accounts.service import AccountsBook
from aifactory.accounts.webhook_delivery import Deliveries
from aifactory.granulation.content import Trees
from aifactory.granulation.late_calls import LateCalls
from aifactory.granulation.service import Granulation
from aifactory.kernel.db import Database
from aifactory.kernel.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from aifactory.kernel.ids import JobId
from aifactory.kernel.migrations import migrate, require_schema
from aifactory.kernel.notices import Notices
from aifactory.resources import provider_store
from aifactory.resources.batching import Batcher
from aifactory.resources.engine import Engine
from aifactory.resources.event_feed import EventFeed
from aifactory.resources.expected import Expectations
from aifactory.resources.interface import Worker
from aifactory.resources.off_peak import OffPeak
from aifactory.resources.outlook import Outlooks
from aifactory.resources.providers import BadProviders
from aifactory.resources.retention import Retention
from aifactory.resources.service import ResourceService
from aifactory.settings import Settings, SettingsError

log = structlog.get_logger()

WATCH_SECONDS = 1.0


class CannotListen(Exception):
    """The address of the server can't be had; the text says why and what to do."""


class Factory(msgspec.Struct, frozen=True, kw_only=True):
    """One process's parts. Their loops run only inside ``run()``, the engine's in ``engine.start()``."""

    settings: Settings
    database: Database
    resources: ResourceService
    book: AccountsBook
    engine: Engine
    granulation: Granulation
    retention: Retention
    notices: Notices
    feed: EventFeed
    outlooks: Outlooks
    deliveries: Deliveries
    submissions: Batcher

    def alive(self) -> dict[str, bool]:
        """Tell of the loops that every process runs whether they do, and lately did a good round."""
        return {health.name: health.alive for health in (self.notices.health, self.feed.health)}

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run this process's loops, the engine too unless the settings leave it out."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.granulation.close)
            stack.push_async_callback(self.submissions.close)
            await stack.enter_async_context(self.notices.listen())
            await stack.enter_async_context(self.feed.run())
            if self.settings.scheduler:
                await stack.enter_async_context(self.deliveries.start())
                await stack.enter_async_context(self._run_engine())
            yield

    @contextlib.asynccontextmanager
    async def _run_engine(self) -> AsyncIterator[None]:
        """Run the engine, with what its first jobs need warming up meanwhile."""
        async with self.engine.start(), anyio.create_task_group() as tasks:
            tasks.start_soon(self.granulation.warm_up)
            yield
            tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def open_database(settings: Settings, *, existing: bool = False) -> AsyncIterator[Database]:
    """Give the configured database, or an embedded one that is started, watched and stopped here; migrated.

    ``existing``: it must be there with this version's schema; nothing is made or migrated.

    Raises SettingsError, EmbeddedPostgresError, DatabaseUnavailable or MigrationRefused, all with advice.
    """
    async with contextlib.AsyncExitStack() as stack:
        url = settings.database_url
        if url is None:
            folder = settings.data_dir.absolute() / "postgres"
            if existing and not (folder / "data" / "PG_VERSION").exists():
                raise SettingsError(
                    f"There is no database in {folder.parent}. Set AIFACTORY_DATA_DIR to the folder of the "
                    "one that you mean, or AIFACTORY_DATABASE_URL; `aifactory serve` makes a new one."
                )
            url = await stack.enter_async_context(_embedded(folder))
        try:
            database = Database(url=url, pool_size=settings.pool_size)
        except (ArgumentError, ValueError) as error:
            raise SettingsError(
                "AIFACTORY_DATABASE_URL is no URL like postgresql://user@host/name."
            ) from error
        stack.push_async_callback(database.close)
        await (require_schema if existing else migrate)(database)
        yield database


@contextlib.asynccontextmanager
async def _embedded(folder: Path) -> AsyncIterator[str]:
    server = EmbeddedPostgres(folder=folder)
    dsn = await anyio.to_thread.run_sync(server.start)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch, server)
            yield dsn
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(server.stop)


async def _watch(server: EmbeddedPostgres) -> None:
    """Start the server again when the process that owned it has gone."""
    while True:
        await anyio.sleep(WATCH_SECONDS)
        try:
            await server.ensure_running()
        except EmbeddedPostgresError as error:
            log.error("embedded_postgres.not_running", error=str(error))


async def register_providers(settings: Settings, database: Database, environ: Mapping[str, str]) -> None:
    """Bring the providers into step with the file and the environment, all or nothing.

    Raises SettingsError for a file that can't be used.
    """
    try:
        start = await anyio.to_thread.run_sync(provider_store.read_start, settings.providers_file, environ)
        async with database.begin() as tx:
            await provider_store.register(tx, start)
    except BadProviders as error:
        raise SettingsError(f"AIFACTORY_PROVIDERS_FILE={settings.providers_file}: {error}") from error


def build_factory(
    settings: Settings, database: Database, environ: Mapping[str, str] | None = None
) -> Factory:
    """Wire the domains. Providers' keys are looked up in ``environ`` (the process's own) at each claim and
    each call.
    """
    environ = os.environ if environ is None else environ
    calls = LateCalls(environ=environ)
    granulation = Granulation(processes=settings.local_workers, calls=calls)
    workers: dict[str, Worker] = {granulation.name: granulation}
    engine = Engine(
        database=database,
        workers=workers,
        slots=settings.max_in_flight,
        local_slots=settings.local_workers,
        grace_seconds=settings.grace_seconds,
        environ=environ,
        retain=lambda: retention.round(),
    )
    notices = Notices(database=database)
    database.on_tell = notices.tell
    feed = EventFeed(database=database, notices=notices)
    outlooks = Outlooks(database=database)
    resources = ResourceService(
        workers=workers,
        wake=engine.wake,
        abort=engine.abort,
        until_ended=feed.until_ended,
        off_peak=OffPeak(window=settings.off_peak, zone=settings.time_zone),
        expectations=Expectations(outlooks),
    )
    book = AccountsBook(resources=resources)
    notices.subscribe("work", lambda _: engine.wake())
    notices.subscribe("abort", lambda keys: engine.abort([JobId(key) for key in keys or ()]))
    retention = Retention(database=database, keepers=[Requests(resources=resources), Trees()])
    return Factory(
        settings=settings,
        database=database,
        resources=resources,
        book=book,
        engine=engine,
        granulation=granulation,
        retention=retention,
        notices=notices,
        feed=feed,
        outlooks=outlooks,
        submissions=Batcher(
            database=database, submit_many=resources.submit_many, store_requests=book.store_requests
        ),
        deliveries=Deliveries(
            database=database,
            resources=resources,
            notices=notices,
            sender=LateSender(private_allowed=settings.webhooks_to_private),
        ),
    )
