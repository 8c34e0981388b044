"""The composition root: the only place that wires the domains together."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ControllerRouterHandler

import aifactory
from aifactory.accounts import (
    audit_routes,
    credential_routes,
    request_routes,
    routes,
    session_routes,
    template_routes,
    user_routes,
    webhook_routes,
)
from aifactory.accounts.attempts import LoginLimits
from aifactory.accounts.auth import AccountsAuthenticator
from aifactory.kernel.db import Database
from aifactory.kernel.errors import AppError
from aifactory.kernel.guard import Authenticator, check_roles, guard, provide_principal
from aifactory.kernel.health import HealthCheck, database_check, health_routes
from aifactory.kernel.http import (
    MAX_BODY,
    JsonResponse,
    Shutdown,
    StrictRequest,
    problem_response,
)
from aifactory.kernel.openapi import documentation_routes, openapi_config
from aifactory.kernel.request_context import RequestContext
from aifactory.kernel.static import StaticFiles, static_route
from aifactory.kernel.visitors import Proxies
from aifactory.resources.interface import Resources, Submissions
from aifactory.settings import Settings

NAME = "AI Factory"
_DESCRIPTION = (
    "Turns clients' requests into structured, validated, costed content. Every refusal is a problem "
    "document (`application/problem+json`) with a stable `code`; see [/docs/errors](/docs/errors). Users of "
    "the role `support` see no money: members and headers whose names say `Usd` are left out for them."
)

Lifespan = Callable[[Litestar], contextlib.AbstractAsyncContextManager[None]]


def create_app(
    *,
    settings: Settings,
    database: Database,
    resources: Resources,
    submissions: Submissions,
    routes: Sequence[ControllerRouterHandler] = (),
    authenticator: Authenticator | None = None,
    dependencies: Mapping[str, Any] | None = None,
    health: Mapping[str, HealthCheck] | None = None,
    static_folders: Sequence[Path] = (),
    login_limits: LoginLimits | None = None,
    lifespan: Sequence[Lifespan] = (),
) -> Litestar:
    """Return the app: accounts, health, documentation, and the ``routes`` of the other domains.

    ``dependencies`` are objects that routes name as ``NamedDependency``; ``db``, ``resources``,
    ``submissions``, ``settings`` and ``principal`` are there already. Raises UndeclaredRoles when a route
    does not declare ``roles=``.
    """
    files = StaticFiles(Path(aifactory.__file__).parent / "static", *static_folders)
    proxies = Proxies(trusted=settings.trusted_proxies, always_https=settings.secure_cookies)
    checks = {"database": database_check(database), **(health or {})}
    given = {
        "db": database,
        "resources": resources,
        "submissions": submissions,
        "settings": settings,
        "proxies": proxies,
        "login_limits": login_limits or LoginLimits(),
        "static_files": files,
        **(dependencies or {}),
    }
    app = _App(
        route_handlers=[
            *health_routes(name=NAME, version=aifactory.__version__, checks=checks),
            *_ACCOUNTS,
            *documentation_routes(files),
            static_route(files),
            *routes,
        ],
        dependencies={name: _provide(value) for name, value in given.items()}
        | {"principal": Provide(provide_principal, sync_to_thread=False)},
        guards=[guard],
        exception_handlers=dict.fromkeys((AppError, HTTPException, Exception), problem_response),
        request_class=StrictRequest,
        response_class=JsonResponse,
        request_max_body_size=MAX_BODY,
        openapi_config=openapi_config(title=NAME, version=aifactory.__version__, description=_DESCRIPTION),
        state=State(
            {
                "authenticator": authenticator
                or AccountsAuthenticator(
                    database=database, proxies=proxies, metrics_token=settings.metrics_token
                ),
                "shutdown": Shutdown(),
            }
        ),
        lifespan=[*lifespan],
        logging_config=None,
        debug=False,
    )
    check_roles(app)
    app.asgi_handler = RequestContext(app.asgi_handler)
    return app


class _App(Litestar):
    """Litestar without its support for Pydantic and attrs: nothing here is of them, and they load slowly."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


_ACCOUNTS = [
    *session_routes.ROUTES,
    *routes.ROUTES,
    *user_routes.ROUTES,
    *credential_routes.ROUTES,
    *template_routes.ROUTES,
    *request_routes.ROUTES,
    *webhook_routes.ROUTES,
    *audit_routes.ROUTES,
]


def _provide(value: Any) -> Provide:
    return Provide(lambda: value, sync_to_thread=False)
