"""``aifactory serve``: the app under uvicorn, started and stopped in order."""

import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import Any

import uvicorn
from litestar import Litestar
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aifactory.accounts import content_routes
from aifactory.accounts.seeds import FirstSecrets, seed_first_start
from aifactory.accounts.webhook_delivery import Deliveries
from aifactory.app import create_app
from aifactory.factory import CannotListen, Factory, build_factory, open_database, register_providers
from aifactory.granulation import granulate_routes, progress_routes, type_routes
from aifactory.granulation import routes as granulation_routes
from aifactory.granulation import template_routes as worker_template_routes
from aifactory.granulation.outlines import Outlines
from aifactory.granulation.progress_trees import GrowingTrees
from aifactory.kernel.errors import Unreadable
from aifactory.kernel.health import HealthCheck, PartHealth
from aifactory.kernel.http import Shutdown, encode
from aifactory.kernel.ids import new_id
from aifactory.kernel.problems import PROBLEM_MEDIA_TYPE
from aifactory.resources import (
    availability_routes,
    budget_routes,
    data_routes,
    estimate_routes,
    event_routes,
    execution_routes,
    ledger_routes,
    metrics_routes,
    orchestrator_routes,
    pool_routes,
    position_routes,
    provider_routes,
    queue_routes,
    tier_routes,
    usage_routes,
)
from aifactory.resources import routes as resource_routes
from aifactory.resources.engine import Engine
from aifactory.settings import Settings

_ROUTES = [
    *content_routes.ROUTES,
    *execution_routes.ROUTES,
    *resource_routes.ROUTES,
    *provider_routes.ROUTES,
    *estimate_routes.ROUTES,
    *availability_routes.ROUTES,
    *position_routes.ROUTES,
    *usage_routes.ROUTES,
    *budget_routes.ROUTES,
    *ledger_routes.ROUTES,
    *pool_routes.ROUTES,
    *queue_routes.ROUTES,
    *tier_routes.ROUTES,
    *event_routes.ROUTES,
    *data_routes.ROUTES,
    *orchestrator_routes.ROUTES,
    *metrics_routes.ROUTES,
    *granulation_routes.ROUTES,
    *worker_template_routes.ROUTES,
    *type_routes.ROUTES,
    *granulate_routes.ROUTES,
    *progress_routes.ROUTES,
]


def build_app(factory: Factory, **changes: Any) -> Litestar:
    """Return the whole app of a factory; its lifespan runs the loops. ``changes`` go to ``create_app``."""

    @contextlib.asynccontextmanager
    async def run_loops(_: Litestar) -> AsyncIterator[None]:
        async with factory.run():
            yield

    checks = {
        "providers": provider_routes.providers_check(factory.database),
        "events": loops_check(factory),
    }
    if factory.settings.scheduler:
        checks["scheduler"] = loops_check(factory.engine)
        checks["webhooks"] = loops_check(factory.deliveries)
    parts: dict[str, Any] = {
        "routes": _ROUTES,
        "dependencies": {
            "engine": factory.engine,
            "feed": factory.feed,
            "book": factory.book,
            "granulation": factory.granulation,
            "outlines": Outlines(),
            "outlooks": factory.outlooks,
            "eraser": factory.retention,
            "growing_trees": GrowingTrees(),
        },
        "health": checks,
        "lifespan": [run_loops],
    }
    app = create_app(
        settings=factory.settings,
        database=factory.database,
        resources=factory.resources,
        submissions=factory.submissions,
        **{**parts, **changes},
    )
    app.state.stream_limits = event_routes.StreamLimits()
    app.state.shutdown.then(factory.feed.close)
    app.state.shutdown.then(factory.engine.ask_to_stop)
    return app


def loops_check(runner: Engine | Deliveries | Factory) -> HealthCheck:
    """Return a check that fails when a loop is dead or late."""

    async def check() -> PartHealth:
        loops = runner.alive()
        return PartHealth(ok=all(loops.values()), detail={"loops": loops})

    return check


async def serve(settings: Settings, *, announce: Callable[[FirstSecrets | None], None]) -> None:
    """Open everything, tell the first start's secrets, serve until SIGINT or SIGTERM. Raises CannotListen."""
    with _bind(settings) as listener:
        async with open_database(settings) as database:
            await register_providers(settings, database, os.environ)
            factory = build_factory(settings, database)
            secrets = await seed_first_start(database, resources=factory.resources)
            app = build_app(factory)
            config = uvicorn.Config(
                app,
                http=_Http,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # it would believe any process on this machine; see Proxies
                date_header=True,
                timeout_graceful_shutdown=settings.grace_seconds,
            )
            gc.collect()
            gc.freeze()  # what lives as long as the process is not looked through again and again
            announce(secrets)
            await _Server(config, app.state.shutdown).serve(sockets=[listener])


def _bind(settings: Settings) -> socket.socket:
    """Take the address before anything is opened, so that a busy one is told at once."""
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise CannotListen(
            f"Can't listen on {settings.host}:{settings.port}: {error.strerror}. Set AIFACTORY_HOST or "
            "AIFACTORY_PORT to another address."
        ) from error
    return listener


class _Http(HttpToolsProtocol):
    """Refuses what is no HTTP as everything is refused here: by a problem document."""

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that can't be read as a request."""
        problem = {
            "type": "/docs/errors#unreadable",
            "title": Unreadable.title,
            "status": 400,
            "detail": "This is no HTTP request that can be read.",
            "code": Unreadable.code,
            "requestId": str(new_id()),
            "retryable": False,
            "errors": [],
        }
        body = encode(problem)
        head = (
            f"HTTP/1.1 400 Bad Request\r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {problem['requestId']}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class _Server(uvicorn.Server):
    """Returns after a signal. uvicorn would raise it again, and cut what is around it short."""

    def __init__(self, config: uvicorn.Config, shutdown: Shutdown) -> None:
        super().__init__(config)
        self.shutdown_notice = shutdown

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ask for the end; a second Ctrl-C asks for it now."""
        is_first = not self.should_exit
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self.shutdown_notice.request()
        if is_first:
            told = "Stopping: running steps get a few seconds; what is unfinished goes on at the next start."
            with contextlib.suppress(OSError, ValueError):  # nobody may be reading any more
                print(told, file=sys.stderr, flush=True)
