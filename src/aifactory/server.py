"""``aifactory serve``: the app under uvicorn, started and stopped in order."""

import contextlib
from collections.abc import AsyncIterator, Callable

import uvicorn
from litestar import Litestar

from aifactory.accounts.seeds import FirstSecrets, seed_first_start
from aifactory.app import create_app
from aifactory.factory import Factory, build_factory, open_database
from aifactory.granulation import routes as granulation_routes
from aifactory.kernel.health import HealthCheck, PartHealth
from aifactory.resources import routes as resource_routes
from aifactory.resources.engine import Engine
from aifactory.settings import Settings


def build_app(factory: Factory) -> Litestar:
    """Return the whole app of a factory; its lifespan runs the engine."""

    @contextlib.asynccontextmanager
    async def run_engine(_: Litestar) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if factory.settings.scheduler:
                await stack.enter_async_context(factory.run())
            yield

    return create_app(
        settings=factory.settings,
        database=factory.database,
        resources=factory.resources,
        routes=[*resource_routes.ROUTES, *granulation_routes.ROUTES],
        dependencies={"engine": factory.engine, "book": factory.book},
        health={"scheduler": engine_check(factory.engine)} if factory.settings.scheduler else {},
        lifespan=[run_engine],
    )


def engine_check(engine: Engine) -> HealthCheck:
    """Return a check that fails when a loop of the engine is dead or late."""

    async def check() -> PartHealth:
        loops = engine.alive()
        return PartHealth(ok=all(loops.values()), detail={"loops": loops})

    return check


async def serve(settings: Settings, *, announce: Callable[[FirstSecrets | None], None]) -> None:
    """Open everything, tell the first start's secrets, serve until SIGINT or SIGTERM."""
    async with open_database(settings) as database:
        factory = build_factory(settings, database)
        secrets = await seed_first_start(database, resources=factory.resources)
        config = uvicorn.Config(
            build_app(factory),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            timeout_graceful_shutdown=settings.grace_seconds,
        )
        server = uvicorn.Server(config)
        announce(secrets)
        await server.serve()
