"""A real HTTP server in the test's own loop, for what a client sees of open connections."""

import contextlib
import socket
from collections.abc import AsyncIterator

import anyio
import uvicorn
from litestar import Litestar

from aifactory.server import _Server


@contextlib.asynccontextmanager
async def serving(app: Litestar, *, grace_seconds: int = 5) -> AsyncIterator[tuple[str, _Server]]:
    """Serve with the app's lifespan on a free port; give the address and the server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app,
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=grace_seconds,
        )
        server = _Server(config, app.state.shutdown)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server._serve, [listener])
            while not server.started:
                await anyio.lowlevel.checkpoint()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
            finally:
                server.shutdown_notice.request()
                server.should_exit = True
