"""Liveness, readiness and the name of the service."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler

from aifactory.kernel.db import Database
from aifactory.kernel.errors import AppError, Unavailable
from aifactory.kernel.principal import PUBLIC

_PATIENCE_SECONDS = 2.0


class PartHealth(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One part of the service: whether it works, whether requests need it, and what it says of itself."""

    ok: bool
    needed: bool = True
    detail: dict[str, Any] = {}


class Health(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The service: ``ok``, or ``degraded`` when a part does not work."""

    status: str
    version: str
    parts: dict[str, PartHealth]


class Name(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What answers here."""

    name: str
    version: str
    docs: str


class NotReady(Unavailable):
    """A part that requests need is down; ``parts`` says which."""

    code, title = "not_ready", "The service is not ready"


HealthCheck = Callable[[], Awaitable[PartHealth]]


def database_check(database: Database) -> HealthCheck:
    """Return a check that asks the database for its time."""

    async def check() -> PartHealth:
        async with database.begin() as tx:
            return PartHealth(ok=True, detail={"time": tx.now})

    return check


def health_routes(*, name: str, version: str, checks: Mapping[str, HealthCheck]) -> list[HTTPRouteHandler]:
    """Return ``/``, ``/health`` and ``/health/ready``."""

    async def look() -> Health:
        parts: dict[str, PartHealth] = {}

        async def run(part: str, check: HealthCheck) -> None:
            parts[part] = PartHealth(ok=False, detail={"error": "no answer in time"})
            try:
                with anyio.move_on_after(_PATIENCE_SECONDS):
                    parts[part] = await check()
            except AppError as error:
                parts[part] = PartHealth(ok=False, detail={"error": error.code})

        async with anyio.create_task_group() as group:
            for part, check in checks.items():
                group.start_soon(run, part, check)
        status = "ok" if all(part.ok for part in parts.values()) else "degraded"
        return Health(status=status, version=version, parts=dict(sorted(parts.items())))

    @get("/", roles=PUBLIC, tags=["Health"], sync_to_thread=False)
    def get_name() -> Name:
        """Say what answers here, and its version."""
        return Name(name=name, version=version, docs="/docs")

    @get("/health", roles=PUBLIC, tags=["Health"])
    async def get_health() -> Health:
        """Say that the process is up, and how its parts are. Always 200."""
        return await look()

    @get("/health/ready", roles=PUBLIC, tags=["Health"])
    async def get_readiness() -> Health:
        """Say whether requests can be served: 503 when a part that they need is down."""
        health = await look()
        if down := [part for part, found in health.parts.items() if found.needed and not found.ok]:
            raise NotReady(f"Not working: {', '.join(down)}.", parts=msgspec.to_builtins(health.parts))
        return health

    return [get_name, get_health, get_readiness]
